//! What makes a function run: shown, added, changed, removed.
//!
//! - `list`: all triggers of a function, wherever they are written.
//! - `told`: one of them in words.
//! - `expression`: what a schedule expression comes to.
//!
//! Changed are `Events` of a `function.yaml`. Function URLs and event source mappings that were made
//! by the Lambda API are changed by it.

mod expression;
mod list;
mod told;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use serde_json::Value;

use super::Console;
use super::error::ViewError;
use super::sent::{known_revision, whole};
use crate::control_plane::Routes;
use crate::control_plane::Scope::{Deploy, Read};
use crate::deployment::{EventChange, ResolveError};
use list::Listed;

/// More than any event has.
const LARGEST: usize = 256 << 10;

pub fn routes() -> Routes<Console> {
    Routes::new()
        .at("/_handlerd/functions/{name}/triggers")
        .get(Read, all)
        .at("/_handlerd/functions/{name}/triggers/{id}")
        .put(Deploy, put)
        .delete(Deploy, delete)
        .at("/_handlerd/expression")
        .post(Read, expression::expression)
}

async fn all(State(console): State<Console>, Path(name): Path<String>) -> Result<Response, ViewError> {
    let Listed { revision, triggers } = list::all(&console, &name).await?;
    Ok(with_revision(Json(Value::Array(triggers)), revision))
}

async fn put(
    State(console): State<Console>,
    Path((name, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ViewError> {
    is_there(&console, &name).await?;
    let body = whole(body, LARGEST).await?;
    let event: Value = serde_json::from_slice(&body)
        .map_err(|error| ViewError::invalid(format!("the event is no JSON: {error}")).hint(SHAPE))?;
    if !event.get("Type").is_some_and(Value::is_string) {
        return Err(ViewError::invalid("the event has no `Type`, such as `HttpApi`").hint(SHAPE));
    }
    let change = EventChange { id: id.clone(), event: Some(event), revision: known_revision(&headers) };
    console.0.invoker.deployments().set_event(&name, change).await?;
    let Listed { revision, triggers } = list::all(&console, &name).await?;
    let trigger = triggers.into_iter().find(|trigger| trigger["editable"] == true && trigger["id"] == *id);
    let trigger = trigger.ok_or_else(|| {
        ViewError::conflict(format!("`{id}` was written, and somebody else has taken it out again"))
    })?;
    Ok(with_revision(Json(trigger), revision))
}

const SHAPE: &str =
    "an event of SAM: {\"Type\": \"Schedule\", \"Properties\": {\"Schedule\": \"rate(1 hour)\"}}";

async fn delete(
    State(console): State<Console>,
    Path((name, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<StatusCode, ViewError> {
    is_there(&console, &name).await?;
    let made_by_the_api = list::mappings(&console, &name).await?.iter().any(|mapping| mapping.uuid == id);
    if made_by_the_api {
        return Err(ViewError::conflict(format!("{id} was made by the Lambda API"))
            .hint(format!("DELETE /2015-03-31/event-source-mappings/{id} removes it")));
    }
    let change = EventChange { id, event: None, revision: known_revision(&headers) };
    console.0.invoker.deployments().set_event(&name, change).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Waits for what is being saved. A function that cannot run is there, too.
async fn is_there(console: &Console, name: &str) -> Result<(), ViewError> {
    match console.0.invoker.deployments().resolve(name).await {
        Ok(_) | Err(ResolveError::Broken { .. }) => Ok(()),
        Err(ResolveError::NotFound(_)) => {
            Err(ViewError::not_found(format!("there is no function `{}`", crate::logs::escape_control(name))))
        }
    }
}

fn with_revision(body: impl IntoResponse, revision: Option<String>) -> Response {
    let mut response = body.into_response();
    if let Some(tag) = revision.and_then(|revision| format!("\"{revision}\"").parse().ok()) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

//! Named events of a function, kept as files; samples for every event source.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde::Serialize;
use serde_json::value::RawValue;

use super::Console;
use super::error::ViewError;
use super::sent::whole;
use crate::control_plane::Routes;
use crate::control_plane::Scope::{Deploy, Read};
use crate::deployment::{LARGEST_TEST_EVENT, TestEvent};
use crate::samples::SAMPLES;

pub fn routes() -> Routes<Console> {
    Routes::new()
        .at("/_handlerd/functions/{name}/test-events")
        .get(Read, all)
        .at("/_handlerd/functions/{name}/test-events/{event}")
        .get(Read, get)
        .put(Deploy, put)
        .delete(Deploy, delete)
        .at("/_handlerd/samples")
        .get(Read, samples)
}

#[derive(Serialize)]
struct All {
    events: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
    name: String,
    event: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

async fn all(State(console): State<Console>, Path(name): Path<String>) -> Result<Json<All>, ViewError> {
    let events = console.0.invoker.deployments().test_events(&name).await?;
    let listed = |TestEvent { name, event, problem }| Listed { name, event, problem };
    Ok(Json(All { events: events.into_iter().map(listed).collect() }))
}

async fn get(
    State(console): State<Console>,
    Path((name, event)): Path<(String, String)>,
) -> Result<Response, ViewError> {
    let event = console.0.invoker.deployments().test_event(&name, &event).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], event.get().to_owned()).into_response())
}

async fn put(
    State(console): State<Console>,
    Path((name, event)): Path<(String, String)>,
    body: Body,
) -> Result<StatusCode, ViewError> {
    let body = whole(body, LARGEST_TEST_EVENT).await?;
    console.0.invoker.deployments().put_test_event(&name, &event, &body).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn delete(
    State(console): State<Console>,
    Path((name, event)): Path<(String, String)>,
) -> Result<StatusCode, ViewError> {
    console.0.invoker.deployments().delete_test_event(&name, &event).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize)]
struct Sample {
    name: &'static str,
    title: &'static str,
    event: &'static RawValue,
}

async fn samples() -> Result<Json<Vec<Sample>>, ViewError> {
    let read = SAMPLES.iter().map(|sample| {
        let event = serde_json::from_str(sample.event.trim());
        event.map(|event| Sample { name: sample.kind, title: sample.source, event })
    });
    read.collect::<Result<Vec<_>, _>>()
        .map(Json)
        .map_err(|error| ViewError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

//! `/_handlerd/queue`: the queue of asynchronous invocations, for `handlerd queue`. Not part of AWS's API.

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Deserialize;

use super::LambdaApi;
use super::error::ApiError;
use crate::control_plane::Routes;
use crate::control_plane::Scope::{Deploy, Read};
use crate::invoker::Changed;
use crate::store::{Chosen, Overview, Shown};

/// Rows that are listed, at most and unless said otherwise.
const LIMIT: usize = 1000;

pub fn routes() -> Routes<LambdaApi> {
    Routes::new()
        .at("/_handlerd/queue")
        .get(Read, list)
        .at("/_handlerd/queue/{id}")
        .get(Read, show)
        .at("/_handlerd/queue/retry")
        .post(Deploy, retry)
        .at("/_handlerd/queue/discard")
        .post(Deploy, discard)
}

#[derive(Deserialize)]
struct Parameters {
    function: Option<String>,
    limit: Option<usize>,
}

async fn list(
    State(api): State<LambdaApi>,
    Query(parameters): Query<Parameters>,
) -> Result<Json<Overview>, ApiError> {
    let limit = parameters.limit.unwrap_or(LIMIT).min(LIMIT);
    Ok(Json(api.invoker.queue_overview(parameters.function, limit).await?))
}

async fn show(State(api): State<LambdaApi>, Path(id): Path<String>) -> Result<Json<Shown>, ApiError> {
    let shown = api.invoker.queue_entry(&id).await?;
    shown.map(Json).ok_or_else(|| ApiError::NotFound(format!("There is no event {id} in the queue.")))
}

async fn retry(State(api): State<LambdaApi>, body: String) -> Result<Json<Changed>, ApiError> {
    Ok(Json(api.invoker.retry(chosen(&body)?).await?))
}

async fn discard(State(api): State<LambdaApi>, body: String) -> Result<Json<Changed>, ApiError> {
    Ok(Json(api.invoker.discard(chosen(&body)?).await?))
}

fn chosen(body: &str) -> Result<Chosen, ApiError> {
    serde_json::from_str(body).map_err(|error| ApiError::InvalidContent(error.to_string()))
}

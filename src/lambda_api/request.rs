//! What operations on published things have in common: reading a body, finding what is meant, and the
//! words in which AWS refuses.

use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::LambdaApi;
use super::error::ApiError;
use super::functions::edit_error;
use super::name::{self, Named};
use crate::function::{LATEST, Version};

/// Of an operation that carries no code.
const BODY_LIMIT: usize = 1024 * 1024;

#[derive(Debug, Default, Deserialize)]
pub struct Qualified {
    #[serde(rename = "Qualifier")]
    pub qualifier: Option<String>,
}

/// How long a client may take to send all of a body: what is large waits in a short line, and whoever
/// sends a byte now and then must not hold a place in it.
const PATIENCE: Duration = Duration::from_secs(60);

/// The whole body, if it is not too large and comes in time.
pub async fn bytes(body: Body, limit: usize, operation: &str) -> Result<Vec<u8>, ApiError> {
    bytes_within(PATIENCE, body, limit, operation).await
}

async fn bytes_within(
    patience: Duration,
    body: Body,
    limit: usize,
    operation: &str,
) -> Result<Vec<u8>, ApiError> {
    let too_large = || ApiError::Exceeded {
        code: "RequestEntityTooLargeException",
        message: format!("Request must be smaller than {limit} bytes for the {operation} operation"),
    };
    if http_body::Body::size_hint(&body).lower() > limit as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(patience, read(body, limit)).await {
        Ok(Ok(Some(bytes))) => Ok(bytes),
        Ok(Ok(None)) => Err(too_large()),
        Ok(Err(error)) => Err(ApiError::InvalidContent(format!("The request body ended early: {error}"))),
        Err(_) => Err(ApiError::Exception {
            status: StatusCode::REQUEST_TIMEOUT,
            code: "RequestTimeoutException",
            message: format!("The request body did not arrive within {} seconds", patience.as_secs()),
        }),
    }
}

/// `None`: there is more of it. Copied as it comes, as this thread has others to serve than those who
/// send tens of megabytes.
async fn read(mut body: Body, limit: usize) -> Result<Option<Vec<u8>>, axum::Error> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if data.len() > limit - bytes.len() {
            return Ok(None);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Some(bytes))
}

/// A body of JSON; nothing at all is an empty object.
pub async fn json<T: DeserializeOwned>(body: Body, operation: &str) -> Result<T, ApiError> {
    parse(&bytes(body, BODY_LIMIT, operation).await?)
}

pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body)
        .map_err(|error| ApiError::InvalidContent(format!("Could not parse request body into json: {error}")))
}

/// The function that is meant; it must be deployed, if perhaps in no state to run.
pub fn function(
    api: &LambdaApi,
    headers: &HeaderMap,
    text: &str,
    qualifier: Option<&str>,
) -> Result<Named, ApiError> {
    let named = name::parse(api, headers, text, qualifier)?;
    match exists(api, &named) {
        true => Ok(named),
        false => Err(ApiError::FunctionNotFound { arn: named.arn }),
    }
}

pub fn exists(api: &LambdaApi, named: &Named) -> bool {
    api.invoker.deployments().current().functions.contains_key(named.name.as_str())
}

/// What was named beside the function must be there too, or declared by the template.
pub fn check_qualifier(api: &LambdaApi, named: &Named) -> Result<(), ApiError> {
    let Some(qualifier) = named.qualifier.as_deref().filter(|qualifier| *qualifier != LATEST) else {
        return Ok(());
    };
    if api.invoker.published().has(&named.name, qualifier)
        || api.invoker.deployments().current().declares(&named.name, qualifier)
    {
        return Ok(());
    }
    match qualifier.parse::<Version>() {
        Ok(_) => Err(ApiError::FunctionNotFound { arn: named.invoked_arn() }),
        Err(_) => Err(ApiError::NotFound(format!("Cannot find alias arn: {}", named.invoked_arn()))),
    }
}

/// One value that is not as it must be.
pub fn violation(value: &str, field: &str, constraint: &str) -> ApiError {
    ApiError::Validation(format!(
        "1 validation error detected: Value '{value}' at '{field}' failed to satisfy constraint: {constraint}"
    ))
}

/// A value that is one of a set.
pub fn check_choice(value: &str, field: &str, choices: &[&str]) -> Result<(), ApiError> {
    if choices.contains(&value) {
        return Ok(());
    }
    let choices = choices.join(", ");
    Err(violation(value, field, &format!("Member must satisfy enum value set: [{choices}]")))
}

pub fn check_length(value: &str, field: &str, most: usize) -> Result<(), ApiError> {
    if value.chars().count() <= most {
        return Ok(());
    }
    Err(violation(value, field, &format!("Member must have length less than or equal to {most}")))
}

pub fn check_range(value: i64, field: &str, least: i64, most: i64) -> Result<(), ApiError> {
    let constraint = match value {
        _ if value < least => format!("Member must have value greater than or equal to {least}"),
        _ if value > most => format!("Member must have value less than or equal to {most}"),
        _ => return Ok(()),
    };
    Err(violation(&value.to_string(), field, &constraint))
}

/// What the caller knows is not what is there now. `operation`: how to find out.
pub fn outdated(operation: &str) -> ApiError {
    ApiError::PreconditionFailed(format!(
        "The Revision Id provided does not match the latest Revision Id. Call the {operation} API to retrieve the \
         latest Revision Id"
    ))
}

pub fn conflict(message: impl Into<String>) -> ApiError {
    ApiError::Exception {
        status: StatusCode::CONFLICT,
        code: "ResourceConflictException",
        message: message.into(),
    }
}

/// `2025-11-25T02:38:45.123+0000`
pub fn timestamp(milliseconds: u64) -> String {
    let time = jiff::Timestamp::from_millisecond(milliseconds as i64).unwrap_or_default();
    time.to_zoned(jiff::tz::TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string()
}

pub fn now_ms() -> u64 {
    jiff::Timestamp::now().as_millisecond().max(0) as u64
}

/// Changes what `function.yaml` says of the function itself; the answer is given when that is deployed.
pub async fn set_property(
    api: &LambdaApi,
    named: &Named,
    property: &'static str,
    value: Option<serde_json::Value>,
) -> Result<(), ApiError> {
    let changed = api.invoker.deployments().set_properties(&named.name, vec![(property, value)]).await;
    changed.map_err(|error| edit_error(error, named))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_that_does_not_end_is_not_waited_for() {
        let (_kept_open, body) = tokio::sync::oneshot::channel::<Result<Vec<u8>, std::io::Error>>();
        let body = Body::from_stream(futures_util::stream::once(async move { body.await.unwrap() }));
        let error = bytes_within(Duration::ZERO, body, 100, "Test").await.unwrap_err();
        assert!(
            matches!(error, ApiError::Exception { status: StatusCode::REQUEST_TIMEOUT, .. }),
            "{error:?}"
        );
    }

    #[tokio::test]
    async fn too_much_and_too_little_are_told_apart() {
        let error = bytes(Body::from(vec![0; 101]), 100, "Test").await.unwrap_err();
        assert!(matches!(error, ApiError::Exceeded { .. }), "{error:?}");
        let parts = [vec![0; 60], vec![0; 60]].map(Ok::<_, std::io::Error>);
        let error =
            bytes(Body::from_stream(futures_util::stream::iter(parts)), 100, "Test").await.unwrap_err();
        assert!(matches!(error, ApiError::Exceeded { .. }), "{error:?}");
        let parts = [Ok(vec![0; 60]), Err(std::io::Error::other("gone"))];
        let error =
            bytes(Body::from_stream(futures_util::stream::iter(parts)), 100, "Test").await.unwrap_err();
        assert!(matches!(error, ApiError::InvalidContent(_)), "{error:?}");
    }
}

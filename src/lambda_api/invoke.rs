//! `POST /2015-03-31/functions/NAME/invocations`

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::LambdaApi;
use super::error::ApiError;
use super::name::{self, Named};
use crate::defences;
use crate::invocation::{Asker, Completed, Invocation, Outcome, TraceId};

const PAYLOAD_LIMIT: usize = 6_291_456;
const EVENT_LIMIT: usize = 1_048_576;
const INVOKE_ASYNC_LIMIT: usize = 262_144;
const CLIENT_CONTEXT_LIMIT: usize = 3583;
/// Of the log, as much as `LogType=Tail` returns.
const TAIL: usize = 4096;

#[derive(Deserialize)]
pub struct Parameters {
    #[serde(rename = "Qualifier")]
    pub qualifier: Option<String>,
}

pub async fn invoke(
    State(api): State<LambdaApi>,
    Path(function): Path<String>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let began = std::time::Instant::now();
    let kinds = ["RequestResponse", "Event", "DryRun"];
    let asked = match ask(&api, &function, &parameters, &headers, body, &kinds).await? {
        Some(asked) => asked,
        None => return Ok(dry_run()),
    };
    if text(&headers, "x-amz-invocation-type") == Some("Event") {
        let response = StatusCode::ACCEPTED.into_response();
        return accept(&api, asked, EVENT_LIMIT, response).await;
    }
    let Asked { named, invocation, trace, tail } = asked;
    let request_id = invocation.request_id.clone();
    let completed = api.invoker.invoke(&named.target(), invocation).await;
    let completed = completed.map_err(|error| ApiError::of(error, named.arn.clone()))?;
    log(&named.name, &request_id, began, completed.outcome.failure().is_some());
    Ok(respond(completed, &request_id, &trace, tail))
}

/// `POST /2014-11-13/functions/NAME/invoke-async`, which `InvocationType=Event` has taken the place of.
pub async fn invoke_async(
    State(api): State<LambdaApi>,
    Path(function): Path<String>,
    Query(parameters): Query<Parameters>,
    mut headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    headers.insert("x-amz-invocation-type", HeaderValue::from_static("Event"));
    let Some(asked) = ask(&api, &function, &parameters, &headers, body, &["Event"]).await? else {
        return Ok(dry_run());
    };
    let json = [(header::CONTENT_TYPE, "application/json")];
    let response = (StatusCode::ACCEPTED, json, r#"{"Status":202}"#).into_response();
    accept(&api, asked, INVOKE_ASYNC_LIMIT, response).await
}

/// Answers when the event is on the disk, and not before.
async fn accept(
    api: &LambdaApi,
    asked: Asked,
    limit: usize,
    mut response: Response,
) -> Result<Response, ApiError> {
    let Asked { named, mut invocation, trace, .. } = asked;
    if invocation.event.len() > limit {
        return Err(event_too_large(invocation.event.len() as u64, limit));
    }
    let began = std::time::Instant::now();
    let request_id = invocation.request_id.clone();
    // On AWS, too, only those who wait for an answer send one.
    invocation.client_context = None;
    let name = match &named.qualifier {
        Some(qualifier) => format!("{}:{qualifier}", named.name),
        None => named.name.clone(),
    };
    let accepted = api.invoker.accept(&name, invocation).await;
    accepted.map_err(|error| ApiError::of_event(error, named.arn.clone()))?;
    let ms = began.elapsed().as_micros() as f64 / 1000.0;
    let function = &named.name;
    tracing::info!(target: "request", function, ms, request_id, "event for {function} accepted {ms:.1} ms");
    let trace = HeaderValue::from_str(&format!("root={};sampled=0", trace.root));
    response.headers_mut().insert("x-amzn-trace-id", trace.expect("a trace is a valid header"));
    Ok(with_request_id(response, &request_id))
}

fn event_too_large(length: u64, limit: usize) -> ApiError {
    ApiError::Exceeded {
        code: "RequestEntityTooLargeException",
        message: format!(
            "{length} byte payload is too large for the Event invocation type (limit {limit} bytes)"
        ),
    }
}

/// One line on the terminal.
pub fn log(function: &str, request_id: &str, began: std::time::Instant, failed: bool) {
    let ms = began.elapsed().as_micros() as f64 / 1000.0;
    let result = if failed { "function error" } else { "ok" };
    tracing::info!(target: "request", function, ms, request_id, "invoke {function} {result} {ms:.1} ms");
}

/// What a caller wants, in order.
pub struct Asked {
    pub named: Named,
    pub invocation: Invocation,
    pub trace: TraceId,
    /// The end of the log is wanted too.
    pub tail: bool,
}

/// Reads and checks a request of one of these invocation types. `None`: it was a dry run, and went well.
pub async fn ask(
    api: &LambdaApi,
    function: &str,
    parameters: &Parameters,
    headers: &HeaderMap,
    body: Body,
    kinds: &[&str],
) -> Result<Option<Asked>, ApiError> {
    let named = name::parse(api, headers, function, parameters.qualifier.as_deref())?;
    let kind = text(headers, "x-amz-invocation-type").unwrap_or("RequestResponse");
    let tail = text(headers, "x-amz-log-type") == Some("Tail");
    if !kinds.contains(&kind) {
        return Err(ApiError::Validation(format!(
            "1 validation error detected: Value '{kind}' at 'invocationType' failed to satisfy constraint: Member must \
             satisfy enum value set: [{}]",
            kinds.join(", ")
        )));
    }
    // Announced: not waited for.
    let announced = http_body::Body::size_hint(&body).lower();
    if kind == "Event" && announced > EVENT_LIMIT as u64 {
        return Err(event_too_large(announced, EVENT_LIMIT));
    }
    let limit = if defences::off("event-limit") { usize::MAX } else { PAYLOAD_LIMIT };
    if announced > limit as u64 {
        return Err(ApiError::TooLarge);
    }
    let body = Limited::new(body, limit).collect().await.map_err(|_| ApiError::TooLarge)?.to_bytes();
    if kind == "DryRun" {
        let resolved = api.invoker.resolve(&named.target()).await;
        resolved.map_err(|error| ApiError::of(error, named.arn.clone()))?;
        return Ok(None);
    }
    let event = if body.is_empty() { b"{}".to_vec() } else { body.to_vec() };
    check_json(&event)?;
    let client_context = client_context(headers)?;
    let trace = trace(headers);
    let invocation = Invocation {
        request_id: Invocation::new_request_id(),
        trace_id: trace.for_function(),
        function_arn: named.invoked_arn(),
        client_context,
        event,
        asker: Asker::Invoke,
    };
    Ok(Some(Asked { named, invocation, trace, tail }))
}

pub fn dry_run() -> Response {
    with_request_id(StatusCode::NO_CONTENT.into_response(), &Invocation::new_request_id())
}

fn respond(completed: Completed, request_id: &str, trace: &TraceId, tail: bool) -> Response {
    let log = tail.then(|| log_tail(&completed));
    let failed = completed.outcome.failure().is_some();
    let (payload, content_type) = match completed.outcome {
        Outcome::Returned { payload, raw: true } => (payload, "application/unknown"),
        Outcome::Returned { payload, .. } | Outcome::Failed { payload, .. } => (payload, "application/json"),
    };
    let mut response = Response::new(Body::from(payload));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    let mut set = |name: &'static str, value: &str| {
        headers
            .insert(name, HeaderValue::from_str(value).expect("ids, base64 and versions are valid headers"));
    };
    set("x-amz-executed-version", &completed.executed_version);
    set("x-amzn-trace-id", &format!("root={};sampled=0", trace.root));
    if failed {
        set("x-amz-function-error", "Unhandled");
    }
    if let Some(log) = log {
        set("x-amz-log-result", &log);
    }
    with_request_id(response, request_id)
}

/// The last part of the log, as base64.
pub fn log_tail(completed: &Completed) -> String {
    BASE64.encode(&completed.log[completed.log.len().saturating_sub(TAIL)..])
}

pub fn with_request_id(mut response: Response, request_id: &str) -> Response {
    let id = HeaderValue::from_str(request_id).expect("a UUID is a valid header");
    response.headers_mut().insert("x-amzn-requestid", id);
    response
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The caller's trace, or a new one.
fn trace(headers: &HeaderMap) -> TraceId {
    Invocation::new_trace_id(jiff::Timestamp::now().as_second().max(0) as u64)
        .continuing(text(headers, "x-amzn-trace-id"))
}

fn client_context(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(encoded) = headers.get("x-amz-client-context") else { return Ok(None) };
    let invalid =
        || ApiError::InvalidContent("Client context must be a valid Base64-encoded JSON object.".to_owned());
    if encoded.len() > CLIENT_CONTEXT_LIMIT {
        return Err(ApiError::InvalidContent(format!(
            "Client context must be at most {CLIENT_CONTEXT_LIMIT} bytes of base64."
        )));
    }
    let decoded = BASE64.decode(encoded.as_bytes()).map_err(|_| invalid())?;
    let text = String::from_utf8(decoded).map_err(|_| invalid())?;
    serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text).map_err(|_| invalid())?;
    Ok(Some(text))
}

/// Lambda refuses what is not JSON before the function sees it.
fn check_json(event: &[u8]) -> Result<(), ApiError> {
    let error = match serde_json::from_slice::<IgnoredAny>(event) {
        // Strings are skipped unread above.
        Ok(_) => match std::str::from_utf8(event) {
            Ok(_) => return Ok(()),
            Err(error) => return Err(invalid_utf8(event[error.valid_up_to()])),
        },
        // Deep nesting is refused by this parser only; the function's own takes more.
        Err(error) if error.to_string().contains("recursion limit") => return Ok(()),
        Err(error) => error,
    };
    if let Err(error) = std::str::from_utf8(event) {
        return Err(invalid_utf8(event[error.valid_up_to()]));
    }
    let (line, column) = (error.line(), error.column());
    let offender = event.split(|&byte| byte == b'\n').nth(line.saturating_sub(1));
    let offender = offender.and_then(|line| line.get(column.saturating_sub(1)).copied());
    let what = match offender {
        _ if error.is_eof() => "Unexpected end-of-input".to_owned(),
        Some(byte) if byte < 0x20 => format!("Illegal character ((CTRL-CHAR, code {byte}))"),
        Some(byte) => format!("Unexpected character ('{}' (code {byte}))", char::from(byte)),
        None => "Unexpected end-of-input".to_owned(),
    };
    let expected =
        "expected a valid value (JSON String, Number, Array, Object or token 'null', 'true' or 'false')";
    Err(ApiError::InvalidContent(format!(
        "Could not parse request body into json: Could not parse payload into json: {what}: {expected}\n at [Source: \
         REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: {line}, column: {column}]"
    )))
}

fn invalid_utf8(byte: u8) -> ApiError {
    ApiError::InvalidContent(format!(
        "Could not parse request body into json: Could not parse payload into json: Invalid UTF-8 start byte \
         0x{byte:02x}\n at [Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: 1, \
         column: 1]"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_any_json_and_nothing_else() {
        for good in [
            "{}",
            "null",
            "5",
            "\"x\"",
            " [1] ",
            r#""\ud800""#,
            "1e400",
            &("[".repeat(500) + &"]".repeat(500)),
        ] {
            assert!(check_json(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in ["{", "x", "NaN", "{} {}", "'a'", "[1,]"] {
            assert!(check_json(bad.as_bytes()).is_err(), "{bad}");
        }
        let ApiError::InvalidContent(message) = check_json(b"\x99").unwrap_err() else { panic!() };
        assert!(message.contains("Invalid UTF-8 start byte 0x99"), "{message}");
    }
}

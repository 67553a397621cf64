//! The last invocations of a function: what they were asked, and what they answered.

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Console;
use super::error::ViewError;
use crate::control_plane::Routes;
use crate::control_plane::Scope::Read;
use crate::history::{Entry, Part};

/// The most that is listed at once; no more are kept.
const MOST: usize = 100;
const USUAL: usize = 50;

pub fn routes() -> Routes<Console> {
    Routes::new()
        .at("/_handlerd/functions/{name}/invocations")
        .get(Read, list)
        .at("/_handlerd/functions/{name}/invocations/{request_id}")
        .get(Read, one)
}

#[derive(Deserialize)]
struct Asked {
    limit: Option<usize>,
    before: Option<String>,
}

async fn list(
    State(console): State<Console>,
    Path(name): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Json<Vec<Value>>, ViewError> {
    let history = console.0.invoker.history();
    let limit = asked.limit.unwrap_or(USUAL).min(MOST);
    let entries = history.of(&name, asked.before.as_deref(), limit).ok_or_else(|| {
        let before = asked.before.as_deref().unwrap_or_default();
        ViewError::not_found(format!("the invocation {} of {name} is not kept any more", shown(before)))
    })?;
    Ok(Json(entries.iter().map(|entry| Value::Object(summary(entry))).collect()))
}

async fn one(
    State(console): State<Console>,
    Path((name, request_id)): Path<(String, String)>,
) -> Result<Json<Value>, ViewError> {
    let entry = console.0.invoker.history().get(&name, &request_id).ok_or_else(|| {
        let message = format!("{} has no invocation {}", shown(&name), shown(&request_id));
        ViewError::not_found(message).hint("the last 100 of a function are kept, until the gateway ends")
    })?;
    let mut told = summary(&entry);
    told.insert("event".to_owned(), value(&entry.event));
    told.insert("result".to_owned(), value(&entry.result));
    told.insert("log".to_owned(), String::from_utf8_lossy(&entry.log.bytes).into());
    if entry.event.cut || entry.result.cut || entry.log.cut {
        told.insert("truncated".to_owned(), true.into());
    }
    Ok(Json(told.into()))
}

/// A part as JSON; as text if it is none, or not whole.
fn value(part: &Part) -> Value {
    let whole = (!part.cut).then(|| serde_json::from_slice(&part.bytes).ok()).flatten();
    whole.unwrap_or_else(|| String::from_utf8_lossy(&part.bytes).into())
}

fn summary(entry: &Entry) -> Map<String, Value> {
    let milliseconds = |duration: std::time::Duration| (duration.as_secs_f64() * 1e5).round() / 100.0;
    let time = entry.time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let mut told = json!({
        "request_id": entry.request_id,
        "time_ms": time.as_millis() as u64,
        "trigger": entry.trigger(),
        "qualifier": qualifier(entry),
        "version": entry.version,
        "ok": entry.ok,
        "duration_ms": milliseconds(entry.usage.duration),
        "billed_ms": entry.usage.billed_ms(),
        "max_memory_mb": entry.usage.max_memory_mb,
        "cold": entry.cold,
    });
    if let Some(error_type) = &entry.error_type {
        told["error_type"] = error_type.as_str().into();
    }
    if let Some(init) = entry.usage.init_duration {
        told["init_ms"] = milliseconds(init).into();
    }
    match told {
        Value::Object(told) => told,
        _ => Map::new(),
    }
}

/// `arn:aws:lambda:REGION:ACCOUNT:function:NAME:QUALIFIER`; without one it is the latest.
fn qualifier(entry: &Entry) -> &str {
    entry.function_arn.splitn(8, ':').nth(7).unwrap_or(&entry.version)
}

/// Of what was asked for, as much as a message takes.
fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

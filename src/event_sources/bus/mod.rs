//! The event bus: PutEvents of EventBridge, and the rules that match.
//!
//! An entry has its id when all functions that are to have it have it on the disk.

mod input;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::Surroundings;
use crate::control_plane::Routes;
use crate::control_plane::Scope::Invoke;
use crate::invocation::Invocation;
use crate::trigger::{Kind, Rule};
use input::Facts;

const MOST_ENTRIES: usize = 10;
/// Of all entries together, as AWS counts.
const LONGEST: usize = 1024 * 1024;
/// Of the request: JSON inside JSON is written longer than it is.
const LONGEST_REQUEST: usize = 8 * 1024 * 1024;

pub fn routes(surroundings: &Surroundings) -> Routes {
    Routes::new()
        .at("/")
        .post(Invoke, ask)
        .layer(DefaultBodyLimit::max(LONGEST_REQUEST))
        .with_state(surroundings.clone())
}

/// Why the whole request is refused.
struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refusal {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code, message: message.into() }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response =
            (self.status, json!({"__type": self.code, "message": self.message}).to_string()).into_response();
        response.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(self.code));
        as_json(response)
    }
}

fn as_json(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
    let id = Invocation::new_request_id();
    headers.insert("x-amzn-requestid", HeaderValue::from_str(&id).expect("a UUID is a valid header"));
    response
}

async fn ask(
    State(surroundings): State<Surroundings>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    match target.split_once('.') {
        Some(("AWSEvents", "PutEvents")) => {}
        Some(("AWSEvents", operation)) => {
            let declared = ["Rule", "Target", "EventBus"].iter().any(|noun| operation.contains(noun));
            let hint = if declared {
                "; declare rules as events of a function (`EventBridgeRule`) in its function.yaml or in the template"
            } else {
                "; of EventBridge it has PutEvents"
            };
            return Err(Refusal {
                status: StatusCode::NOT_IMPLEMENTED,
                code: "NotImplementedException",
                message: format!("handlerd does not support {operation}{hint}"),
            });
        }
        _ => {
            let message = format!("`{target}` is no operation that is served here (X-Amz-Target)");
            return Err(Refusal::new("UnknownOperationException", message));
        }
    }
    let entries = entries(&body)?;
    let mut results = Vec::with_capacity(entries.len());
    for entry in &entries {
        results.push(put(&surroundings, entry).await);
    }
    let failed = results.iter().filter(|result| result.is_err()).count();
    let results: Vec<Value> = results
        .into_iter()
        .map(|result| match result {
            Ok(id) => json!({"EventId": id}),
            Err((code, message)) => json!({"ErrorCode": code, "ErrorMessage": message}),
        })
        .collect();
    let answer = json!({"FailedEntryCount": failed, "Entries": results});
    Ok(as_json(answer.to_string().into_response()))
}

/// The entries of a request, few and short enough.
fn entries(body: &[u8]) -> Result<Vec<Map<String, Value>>, Refusal> {
    let body: Value = serde_json::from_slice(body).map_err(|error| {
        Refusal::new("SerializationException", format!("the request is no JSON: {error}"))
    })?;
    let Some(entries) = body.get("Entries").and_then(Value::as_array) else {
        let message = "1 validation error detected: Value null at 'entries' failed to satisfy constraint: Member must \
                       not be null";
        return Err(Refusal::new("ValidationException", message));
    };
    if entries.is_empty() || entries.len() > MOST_ENTRIES {
        let (how, bound) = if entries.is_empty() {
            ("greater than or equal to", 1)
        } else {
            ("less than or equal to", MOST_ENTRIES)
        };
        return Err(Refusal::new(
            "ValidationException",
            format!(
                "1 validation error detected: Value '[PutEventsRequestEntry]' at 'entries' failed to satisfy \
                 constraint: Member must have length {how} {bound}"
            ),
        ));
    }
    let entries: Option<Vec<_>> = entries.iter().map(|entry| entry.as_object().cloned()).collect();
    let entries = entries.ok_or_else(|| Refusal::new("SerializationException", "an entry is no object"))?;
    if entries.iter().map(length).sum::<usize>() > LONGEST {
        return Err(Refusal::new(
            "ValidationException",
            "Total size of the entries in the request is over the limit.",
        ));
    }
    Ok(entries)
}

/// As AWS counts: a time is 14 bytes.
fn length(entry: &Map<String, Value>) -> usize {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).map_or(0, str::len);
    let resources = entry.get("Resources").and_then(Value::as_array).into_iter().flatten();
    let resources: usize = resources.filter_map(Value::as_str).map(str::len).sum();
    let time = if entry.contains_key("Time") { 14 } else { 0 };
    time + text("Source") + text("DetailType") + text("Detail") + resources
}

type EntryError = (&'static str, String);

/// Hands one event to all whose rule matches; its id.
async fn put(surroundings: &Surroundings, entry: &Map<String, Value>) -> Result<String, EntryError> {
    let event = event(surroundings, entry)?;
    let bus = entry.get("EventBusName").and_then(Value::as_str).unwrap_or("default");
    // By name or ARN.
    let bus = bus.rsplit_once(":event-bus/").map_or(bus, |(_, name)| name);
    let account = surroundings.invoker.account();
    let now = event["time"].as_str().unwrap_or_default().to_owned();
    for trigger in surroundings.triggers() {
        let Kind::Rule(Rule { bus: own, pattern, input: how }) = &trigger.kind else { continue };
        let own = own.rsplit_once(":event-bus/").map_or(own.as_str(), |(_, name)| name);
        if !trigger.enabled || own != bus || !pattern.matches(&event) {
            continue;
        }
        let place = if bus == "default" { String::new() } else { format!("{bus}/") };
        let arn = format!("arn:aws:events:{}:{}:rule/{place}{}", account.region, account.id, trigger.name);
        let facts = Facts { rule_name: &trigger.name, rule_arn: &arn, ingestion_time: &now };
        let payload = match input::input(how, &event, &facts) {
            Ok(payload) => payload,
            Err(reason) => {
                tracing::error!("rule {} does not invoke {}: {reason}", trigger.name, trigger.function);
                continue;
            }
        };
        let mut invocation = surroundings.invocation(&trigger.function, payload);
        if let Some(trace) = entry.get("TraceHeader").and_then(Value::as_str) {
            let seconds = Timestamp::now().as_second().max(0) as u64;
            invocation.trace_id = Invocation::new_trace_id(seconds).continuing(Some(trace)).for_function();
        }
        match surroundings.invoker.accept(&trigger.function, invocation).await {
            Ok(()) => tracing::info!("rule {} invokes {}", trigger.name, trigger.function),
            // Not the sender's mistake, and nothing is lost of the others.
            Err(crate::invoker::AcceptError::Store(error)) => {
                return Err(("InternalFailure", error.to_string()));
            }
            Err(error) => {
                tracing::error!("rule {} could not invoke {}: {error}", trigger.name, trigger.function);
            }
        }
    }
    Ok(event["id"].as_str().unwrap_or_default().to_owned())
}

/// The event that an entry describes, in AWS's order.
fn event(surroundings: &Surroundings, entry: &Map<String, Value>) -> Result<Value, EntryError> {
    let required = |name: &str| {
        let text = entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        text.ok_or_else(|| {
            let message = format!("Parameter {name} is not valid. Reason: {name} is a required argument.");
            ("InvalidArgument", message)
        })
    };
    let (source, detail_type, detail) = (required("Source")?, required("DetailType")?, required("Detail")?);
    if source.starts_with("aws.") {
        return Err(("NotAuthorizedForSourceException", "Not authorized for the source.".to_owned()));
    }
    let detail = match serde_json::from_str(detail) {
        Ok(Value::Object(detail)) => Value::Object(detail),
        _ => return Err(("MalformedDetail", "Detail is malformed.".to_owned())),
    };
    let time = match entry.get("Time") {
        None | Some(Value::Null) => Timestamp::now(),
        Some(time) => {
            let seconds = time.as_f64().map(|seconds| seconds as i64);
            let time = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
            let time = time.or_else(|| time_text(entry));
            time.ok_or_else(|| ("InvalidArgument", "Parameter Time is not valid.".to_owned()))?
        }
    };
    let account = surroundings.invoker.account();
    Ok(json!({
        "version": "0",
        "id": Invocation::new_request_id(),
        "detail-type": detail_type,
        "source": source,
        "account": account.id,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "region": account.region,
        "resources": entry.get("Resources").filter(|list| list.is_array()).cloned().unwrap_or_else(|| json!([])),
        "detail": detail,
    }))
}

/// Some clients write it out.
fn time_text(entry: &Map<String, Value>) -> Option<Timestamp> {
    entry.get("Time")?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_bounded() {
        let body = |entries: Value| json!({"Entries": entries}).to_string();
        let entry = json!({"Source": "a", "DetailType": "b", "Detail": "{}"});
        assert_eq!(entries(body(json!([entry])).as_bytes()).ok().map(|entries| entries.len()), Some(1));
        for (request, code) in [
            ("{".to_owned(), "SerializationException"),
            ("{}".to_owned(), "ValidationException"),
            (body(json!([])), "ValidationException"),
            (body(json!(vec![entry.clone(); 11])), "ValidationException"),
            (body(json!([1])), "SerializationException"),
            (body(json!([{"Detail": "x".repeat(LONGEST + 1)}])), "ValidationException"),
        ] {
            assert_eq!(entries(request.as_bytes()).err().map(|refusal| refusal.code), Some(code));
        }
    }
}

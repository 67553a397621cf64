//! An invocation as a span, in the words of OpenTelemetry's conventions for functions.
//! <https://opentelemetry.io/docs/specs/semconv/faas/>

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::settings::Settings;
use crate::history::Entry;
use crate::invocation::Asker;

const INTERNAL: u8 = 1;
const SERVER: u8 = 2;
const CONSUMER: u8 = 5;
const FAILED: u8 = 2;
const ERROR_TYPE_LIMIT: usize = 200;

/// What is kept of an invocation until it is sent; nothing of what it was asked or has answered.
#[derive(Debug, Clone)]
pub struct Span {
    resource: Resource,
    trace: String,
    parent: Option<String>,
    id: String,
    began: SystemTime,
    duration: Duration,
    init: Option<(SystemTime, Duration)>,
    cold: bool,
    request_id: String,
    /// As the caller named the function.
    invoked_arn: String,
    is_awaited: bool,
    trigger: &'static str,
    /// `None`: it went well.
    error_type: Option<String>,
}

/// Spans of one version of a function are told together.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Resource {
    function: String,
    version: String,
    arn: String,
    memory_mb: u32,
}

impl Span {
    pub fn of(entry: &Entry) -> Self {
        let (trace, parent) = trace_of(&entry.trace_id);
        let unqualified = entry.function_arn.splitn(8, ':').take(7).collect::<Vec<_>>().join(":");
        let arn = match entry.version.as_str() {
            "$LATEST" => unqualified,
            version => format!("{unqualified}:{version}"),
        };
        // A handler names its errors as it likes.
        let named = entry.error_type.as_deref().filter(|name| !name.is_empty()).unwrap_or("_OTHER");
        let failed = || named.chars().take(ERROR_TYPE_LIMIT).collect();
        Self {
            resource: Resource {
                function: entry.function.to_string(),
                version: entry.version.clone(),
                arn,
                memory_mb: entry.memory_mb,
            },
            trace,
            parent,
            id: new_id(),
            began: entry.time,
            duration: entry.usage.duration,
            init: entry.init_began.zip(entry.usage.init_duration),
            cold: entry.cold,
            request_id: entry.request_id.clone(),
            invoked_arn: entry.function_arn.clone(),
            is_awaited: matches!(entry.asker, Asker::Http | Asker::Invoke),
            trigger: faas_trigger(entry.trigger()),
            error_type: (!entry.ok).then(failed),
        }
    }

    /// The invocation, and its init phase if it has waited for one.
    fn json(&self) -> Vec<Value> {
        let mut attributes = vec![
            text("faas.invocation_id", &self.request_id),
            flag("faas.coldstart", self.cold),
            text("faas.trigger", self.trigger),
            text("aws.lambda.invoked_arn", &self.invoked_arn),
        ];
        let mut status = json!({});
        if let Some(error_type) = &self.error_type {
            attributes.push(text("error.type", error_type));
            status = json!({"code": FAILED, "message": error_type});
        }
        let kind = if self.is_awaited { SERVER } else { CONSUMER };
        let mut span = self.span(&self.id, &self.resource.function, kind, self.began, self.duration);
        span["attributes"] = attributes.into();
        span["status"] = status;
        if let Some(parent) = &self.parent {
            span["parentSpanId"] = parent.as_str().into();
        }
        let mut spans = vec![span];
        if let Some((began, duration)) = self.init {
            let mut init = self.span(&new_id(), "init", INTERNAL, began, duration);
            init["parentSpanId"] = self.id.as_str().into();
            spans.push(init);
        }
        spans
    }

    fn span(&self, id: &str, name: &str, kind: u8, began: SystemTime, duration: Duration) -> Value {
        let nanoseconds = |time: SystemTime| {
            let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            since.as_nanos().to_string()
        };
        json!({
            "traceId": self.trace, "spanId": id, "name": name, "kind": kind,
            "startTimeUnixNano": nanoseconds(began),
            "endTimeUnixNano": nanoseconds(began + duration),
            "attributes": [], "status": {},
        })
    }
}

/// `ExportTraceServiceRequest`: ids are hexadecimal in JSON, and 64-bit numbers are text.
pub fn request(spans: &[Span], settings: &Settings) -> Value {
    let mut groups: Vec<(&Resource, Vec<Value>)> = Vec::new();
    for span in spans {
        match groups.iter_mut().find(|(resource, _)| **resource == span.resource) {
            Some((_, group)) => group.extend(span.json()),
            None => groups.push((&span.resource, span.json())),
        }
    }
    let groups: Vec<Value> = groups
        .into_iter()
        .map(|(resource, spans)| {
            let scope = json!({"name": "handlerd", "version": env!("CARGO_PKG_VERSION")});
            json!({
                "resource": {"attributes": resource.attributes(settings)},
                "scopeSpans": [{"scope": scope, "spans": spans}],
            })
        })
        .collect();
    json!({ "resourceSpans": groups })
}

impl Resource {
    fn attributes(&self, settings: &Settings) -> Vec<Value> {
        let part = |index: usize| self.arn.split(':').nth(index).unwrap_or_default();
        let bytes = u64::from(self.memory_mb) * 1024 * 1024;
        let mut attributes = vec![
            text("service.name", settings.service.as_deref().unwrap_or(&self.function)),
            text("telemetry.sdk.name", "handlerd"),
            text("telemetry.sdk.language", "rust"),
            text("telemetry.sdk.version", env!("CARGO_PKG_VERSION")),
            text("faas.name", &self.function),
            text("faas.version", &self.version),
            json!({"key": "faas.max_memory", "value": {"intValue": bytes.to_string()}}),
            text("cloud.region", part(3)),
            text("cloud.account.id", part(4)),
            text("cloud.resource_id", &self.arn),
        ];
        for (key, value) in &settings.attributes {
            // Who sets it knows better.
            attributes.retain(|known| known["key"] != key.as_str());
            attributes.push(text(key, value));
        }
        attributes
    }
}

fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

fn flag(key: &str, value: bool) -> Value {
    json!({"key": key, "value": {"boolValue": value}})
}

fn faas_trigger(trigger: &str) -> &'static str {
    match trigger {
        "http" => "http",
        "schedule" => "timer",
        "sqs" | "sns" | "rule" | "kinesis" => "pubsub",
        "s3" | "dynamodb" => "datasource",
        _ => "other",
    }
}

/// Trace and parent of `Root=1-8hex-24hex;Parent=16hex;...`. A parent that the gateway has made itself is no
/// span of anybody's; it shares its digits with the end of the root (see `Invocation::new_trace_id`).
fn trace_of(header: &str) -> (String, Option<String>) {
    let part = |name: &str| header.split(';').find_map(|part| part.strip_prefix(name));
    let root = part("Root=").and_then(|root| {
        let mut parts = root.strip_prefix("1-")?.split('-');
        let (seconds, random) = (parts.next()?, parts.next()?);
        let is_whole = seconds.len() == 8 && random.len() == 24 && parts.next().is_none();
        let root = format!("{seconds}{random}");
        (is_whole && is_id(&root)).then(|| root.to_ascii_lowercase())
    });
    let Some(root) = root else {
        return (uuid::Uuid::new_v4().simple().to_string(), None);
    };
    let parent = part("Parent=").filter(|parent| parent.len() == 16 && is_id(parent));
    let parent = parent.map(str::to_ascii_lowercase).filter(|parent| !root.ends_with(&parent[..8]));
    (root, parent)
}

/// Hexadecimal, and not all zeros, which would mean none.
fn is_id(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit()) && text.bytes().any(|byte| byte != b'0')
}

fn new_id() -> String {
    // The version's digit is among them: never all zeros.
    uuid::Uuid::new_v4().simple().to_string()[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::invocation::Invocation;

    #[test]
    fn traces_go_on() {
        let root = "1-67891233-abcdef012345678912345678";
        let id = "67891233abcdef012345678912345678";
        let (trace, parent) = trace_of(&format!("Root={root};Parent=463ac35c9f6413ad;Sampled=1"));
        assert_eq!((&*trace, parent.as_deref()), (id, Some("463ac35c9f6413ad")));
        assert_eq!(
            trace_of(&format!("Root={};Parent=0000000000000000", root.to_uppercase())),
            (id.into(), None)
        );
        let own = Invocation::new_trace_id(0x6789_1233);
        let (trace, parent) = trace_of(&own.for_function());
        assert_eq!((trace, parent), (own.root[2..].replace('-', ""), None));
        for other in
            ["", "Root=x", "Root=1-0-0", "Root=1-00000000-000000000000000000000000;Parent=463ac35c9f6413ad"]
        {
            let (trace, parent) = trace_of(other);
            assert!(trace.len() == 32 && is_id(&trace) && parent.is_none(), "{other}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_caller_sends_ids_are_ids(header in "(Root=[0-9a-fA-F1é-]{0,40};)?(Parent=[0-9a-fé]{0,20})?.{0,8}") {
            let (trace, parent) = trace_of(&header);
            prop_assert!(trace.len() == 32 && is_id(&trace));
            prop_assert!(parent.is_none_or(|parent| parent.len() == 16 && is_id(&parent)));
        }
    }
}

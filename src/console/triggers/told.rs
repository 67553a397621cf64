//! A trigger in words.

use serde_json::{Value, json};

use crate::api::{Api, Authorization, Kind as ApiKind, Route, Source};
use crate::destination::Destination;
use crate::trigger::{Kind, Mapping, SourceArn, Trigger};

/// One entry of the list; what is `None` is left out.
pub struct Told {
    pub id: String,
    pub kind: &'static str,
    pub title: String,
    pub detail: String,
    pub url: Option<String>,
    pub enabled: bool,
    pub next: Option<Vec<String>>,
    pub editable: bool,
    pub source: Option<Source>,
    pub event: Option<Value>,
}

impl Told {
    pub fn json(self) -> Value {
        let mut told = json!({
            "id": self.id, "kind": self.kind, "title": self.title, "detail": self.detail,
            "enabled": self.enabled, "editable": self.editable,
        });
        if let Some(url) = self.url {
            told["url"] = url.into();
        }
        if let Some(next) = self.next {
            told["next"] = next.into();
        }
        if let Some(Source { path, line: Some(line) }) = self.source {
            told["source"] = json!({"path": path.to_string_lossy(), "line": line});
        }
        if let Some(event) = self.event {
            told["event"] = event;
        }
        told
    }
}

/// The contract's word, the title and what more there is to say.
pub fn trigger(trigger: &Trigger) -> (&'static str, String, String) {
    match &trigger.kind {
        Kind::Schedule(schedule) => {
            let zone = schedule.time_zone.as_deref().map(|zone| format!(", {zone}")).unwrap_or_default();
            let service = if schedule.scheduler { "EventBridge Scheduler" } else { "EventBridge rule" };
            let mut detail = format!("{}{zone} · {service}", schedule.expression.text);
            if let Some(end) = schedule.end {
                detail.push_str(&format!(" · until {end}"));
            }
            if let Some(window) = schedule.flexible_window {
                detail.push_str(&format!(" · up to {} min later", window.as_secs() / 60));
            }
            ("schedule", schedule.expression.describe(), detail)
        }
        Kind::Rule(rule) => ("rule", format!("events of bus {}", rule.bus), rule.pattern.text.clone()),
        Kind::Mapping(mapping) => self::mapping(mapping),
        Kind::Bucket(bucket) => {
            let mut detail = bucket.events.join(" ");
            for (name, value) in [("prefix", &bucket.prefix), ("suffix", &bucket.suffix)] {
                if let Some(value) = value {
                    detail.push_str(&format!(" · {name} {value}"));
                }
            }
            ("s3", bucket.bucket.clone(), detail)
        }
        Kind::Topic(topic) => {
            let name = topic.topic_arn.rsplit(':').next().unwrap_or_default().to_owned();
            let filter =
                topic.filter.as_ref().map(|filter| format!(" · {}", filter.text)).unwrap_or_default();
            ("sns", name, format!("{}{filter}", topic.topic_arn))
        }
    }
}

/// The same of an event source mapping.
pub fn mapping(mapping: &Mapping) -> (&'static str, String, String) {
    let source = SourceArn::parse(&mapping.source_arn);
    let kind = if source.as_ref().is_some_and(|source| source.kind.is_stream()) { "stream" } else { "sqs" };
    let title = source.map_or_else(|| mapping.source_arn.clone(), |source| source.name);
    let mut detail = format!("{} · batches of up to {}", mapping.source_arn, mapping.batch_size);
    if !mapping.batching_window.is_zero() {
        detail.push_str(&format!(" within {} s", mapping.batching_window.as_secs()));
    }
    if !mapping.filters.is_empty() {
        detail.push_str(&format!(" · {} filters", mapping.filters.len()));
    }
    if let Some(failure) = mapping.stream.on_failure.as_ref().map(Destination::to_string) {
        detail.push_str(&format!(" · what failed goes to {failure}"));
    }
    (kind, title, detail)
}

/// `HTTP API Shop, asks for AWS_IAM`
pub fn route(kind: ApiKind, api: Option<&Api>, route: &Route, authorizer: Option<&str>) -> String {
    let mut text = kind.name().to_owned();
    if let Some(api) = api {
        if kind != ApiKind::FunctionUrl && !api.name.is_empty() {
            text.push_str(&format!(" {}", api.name));
        }
        if let Some(stage) = api.stages.iter().find(|stage| !stage.is_default()) {
            text.push_str(&format!(", stage {}", stage.name));
        }
    }
    let authorizer = authorizer.or(match &route.authorization {
        Authorization::None => None,
        Authorization::Iam => Some("AWS_IAM"),
        Authorization::Authorizer { name, .. } => Some(name),
    });
    if let Some(authorizer) = authorizer.filter(|name| *name != "NONE") {
        text.push_str(&format!(", asks for {authorizer}"));
    }
    if route.api_key_required {
        text.push_str(", asks for an API key");
    }
    if api.is_some_and(|api| api.cors.is_some()) {
        text.push_str(", CORS");
    }
    text
}

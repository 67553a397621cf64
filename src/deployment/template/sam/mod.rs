//! `AWS::Serverless::*`: functions, APIs, and the routes that functions ask for.
//!
//! | file | what it reads |
//! |---|---|
//! | `function` | `Function`, with `function_url`, `events`, `destinations` and `layer` |
//! | `api`, `http_api`, `web_socket_api` | the APIs |
//! | `routes` | the routes of an API: its definition, and events of functions |
//! | `auth`, `usage_plan` | who may call them |
//! | `cors` | the OPTIONS methods of a REST API |
//! | `domain`, `throttle` | custom domains; limits of stages and routes |
//! | `table` | every property of every resource, and what becomes of it |

mod api;
mod auth;
mod cors;
mod destinations;
mod domain;
mod events;
mod function;
mod function_url;
mod http_api;
mod layer;
mod routes;
mod table;
#[cfg(test)]
mod tests;
mod throttle;
mod usage_plan;
mod web_socket_api;

use std::collections::BTreeMap;

use super::super::Severity;
use super::super::convention;
use super::super::yaml::{Node, Value};
use super::triggers::Place;
use super::{Builder, Resource, Stack, Status};
use crate::api::Kind;
use crate::trigger::Trigger;

pub use events::RouteEvent;
pub use function_url::FunctionUrl;
pub use layer::published;
pub use table::{FUNCTION, Row, report};

/// The APIs that SAM makes for events that name none.
const IMPLICIT_REST: &str = "ServerlessRestApi";
const IMPLICIT_HTTP: &str = "ServerlessHttpApi";

/// Resources of SAM that no request can reach, and what to do about them.
const OTHERS: [(&str, &str); 9] = [
    ("AWS::Serverless::Application", "nested applications are not read; serve their templates themselves"),
    ("AWS::Serverless::CapacityProvider", "means nothing on one machine"),
    ("AWS::Serverless::Connector", "functions run as you: there are no permissions to be given"),
    ("AWS::Serverless::GraphQLApi", "AppSync is not served"),
    ("AWS::Serverless::MicroVMImage", "means nothing on one machine"),
    ("AWS::Serverless::NetworkConnector", "means nothing on one machine"),
    (
        "AWS::Serverless::SimpleTable",
        "no table is made: set AWS_ENDPOINT_URL_DYNAMODB to a local DynamoDB, or use the one in your account",
    ),
    ("AWS::Serverless::StateMachine", "state machines are not run"),
    ("AWS::Serverless::WebFunction", "only handlers are run, no web servers"),
];
const READ: [&str; 5] = [
    "AWS::Serverless::Api",
    "AWS::Serverless::Function",
    "AWS::Serverless::HttpApi",
    "AWS::Serverless::LayerVersion",
    "AWS::Serverless::WebSocketApi",
];

pub fn read(stack: &Stack, builder: &mut Builder) {
    name_resources(stack, builder);
    let layers = layer::read(stack, builder);
    let mut asked: BTreeMap<String, Vec<RouteEvent>> = BTreeMap::new();
    for resource in stack.of_kind("AWS::Serverless::Function") {
        for event in function::read(stack, resource, &layers, builder) {
            if let Some(api) = api_of(stack, &event, builder) {
                asked.entry(api).or_default().push(event);
            }
        }
    }
    for resource in &stack.resources {
        let events = asked.remove(&resource.logical_id).unwrap_or_default();
        read_api(stack, resource, &events, builder);
    }
    for (logical_id, events) in asked {
        let origin = format!("{}#{logical_id}", stack.path.display());
        let api = implicit(stack, &logical_id, &convention::id(&origin), &events);
        read_api(stack, &api, &events, builder);
    }
}

fn read_api(stack: &Stack, resource: &Resource, events: &[RouteEvent], builder: &mut Builder) {
    match resource.kind.as_str() {
        "AWS::Serverless::Api" => api::read(stack, resource, events, builder),
        "AWS::Serverless::HttpApi" => http_api::read(stack, resource, events, builder),
        "AWS::Serverless::WebSocketApi" => web_socket_api::read(stack, resource, builder),
        _ => {}
    }
}

/// The implicit APIs of functions that no template holds: they share one of each kind.
/// `events`: with the path of the file that each is written in.
pub fn read_implicit(events: &[RouteEvent], origin: &str, builder: &mut Builder) {
    for (kind, logical_id) in [(Kind::Rest, IMPLICIT_REST), (Kind::Http, IMPLICIT_HTTP)] {
        let mut asked: Vec<RouteEvent> = Vec::new();
        for event in events.iter().filter(|event| event.kind == kind) {
            if event.api.is_some() {
                let text = format!(
                    "event `{}` names an API, which takes a whole template\nhint: leave it out: the routes of all \
                     functions share one API, or serve a template with `--template`",
                    event.name
                );
                builder.problem_at(Severity::Error, &event.route.source, text);
                continue;
            }
            asked.push(event.clone());
        }
        if !asked.is_empty() {
            let stack = Stack::default();
            let id = convention::id(&format!("{origin}#{logical_id}"));
            read_api(&stack, &implicit(&stack, logical_id, &id, &asked), &asked, builder);
        }
    }
}

/// What one function asks for.
pub fn read_events(
    resource: &Resource,
    function: &str,
    place: Place<'_>,
    builder: &mut Builder,
) -> (Vec<RouteEvent>, Vec<Trigger>) {
    events::read(resource, function, place, builder)
}

/// One line for each resource, and for each property of those that are not read.
fn name_resources(stack: &Stack, builder: &mut Builder) {
    for resource in &stack.resources {
        let kind = resource.kind.as_str();
        if READ.contains(&kind) {
            builder.finding(Status::Supported, resource, "", resource.line, "");
            continue;
        }
        if !kind.starts_with("AWS::Serverless::") {
            continue;
        }
        let text = match OTHERS.iter().find(|(other, _)| *other == kind) {
            Some((_, text)) => (*text).to_owned(),
            None => {
                let known = OTHERS.iter().map(|(other, _)| *other).chain(READ);
                let hint = super::super::nearest::hint(kind, known);
                let text = format!("`{kind}` is no type of resource that SAM knows");
                builder.problem(Severity::Warning, resource.line, format!("{text}{hint}"));
                text
            }
        };
        builder.finding(Status::Ignored, resource, "", resource.line, &text);
        for (key, _) in resource.properties.mapping().unwrap_or_default() {
            if let Some(name) = key.text() {
                builder.finding(Status::Ignored, resource, name, key.line, "with its resource");
            }
        }
    }
}

/// The logical id of the API that an event belongs to.
fn api_of(stack: &Stack, event: &RouteEvent, builder: &mut Builder) -> Option<String> {
    let (kind, property, implicit) = match event.kind {
        Kind::Rest => ("AWS::Serverless::Api", "RestApiId", IMPLICIT_REST),
        _ => ("AWS::Serverless::HttpApi", "ApiId", IMPLICIT_HTTP),
    };
    let Some(written) = &event.api else { return Some(implicit.to_owned()) };
    match stack.find(written) {
        Some(resource) if resource.kind == kind => Some(resource.logical_id.clone()),
        _ if written == implicit => Some(implicit.to_owned()),
        Some(resource) => {
            let text = format!(
                "event `{}`: `{property}` means `{}`, which is a {}, not a {kind}",
                event.name, resource.logical_id, resource.kind
            );
            builder.problem_at(Severity::Error, &event.route.source, text);
            None
        }
        None => {
            let text = format!(
                "event `{}`: `{property}` must mean a {kind} of this template, not `{written}`",
                event.name
            );
            builder.problem_at(Severity::Error, &event.route.source, text);
            None
        }
    }
}

/// The resource that SAM would make: with the Globals of its kind, and a stage of its own.
fn implicit(stack: &Stack, logical_id: &str, id: &str, events: &[RouteEvent]) -> Resource {
    let rest = logical_id == IMPLICIT_REST;
    let line = events.first().and_then(|event| event.route.source.line).unwrap_or(1);
    let mut entries = Vec::new();
    if let Some(Value::Mapping(globals)) =
        stack.globals.get(if rest { "Api" } else { "HttpApi" }).map(|node| &node.value)
    {
        entries.extend(globals.iter().filter(|(key, _)| !(rest && key.text() == Some("StageName"))).cloned());
    }
    if rest {
        entries.push((Node::scalar("StageName", line), Node::scalar("Prod", line)));
    }
    Resource {
        logical_id: logical_id.to_owned(),
        kind: if rest { "AWS::Serverless::Api" } else { "AWS::Serverless::HttpApi" }.to_owned(),
        line,
        properties: Node { line, tag: None, value: Value::Mapping(entries) },
        physical_id: id.to_owned(),
        arn: String::new(),
    }
}

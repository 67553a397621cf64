//! Destinations that SAM makes itself: a queue or topic, where only the type is said.

use super::super::super::yaml::{Node, Value};
use super::super::section::Section;
use super::super::{Builder, Resource, Stack, Status};

/// `EventInvokeConfig` with what SAM would make put in; it is not made here, which is told.
pub fn complete(resource: &Resource, stack: &Stack, builder: &mut Builder) -> Option<Node> {
    let properties = Section::properties(resource);
    let mut config = properties.get("EventInvokeConfig")?.clone();
    let Some(destinations) = entry(&mut config, "DestinationConfig") else { return Some(config) };
    for when in ["OnSuccess", "OnFailure"] {
        let Some(destination) = entry(destinations, when) else { continue };
        let is_said = destination.get("Destination").is_some_and(|said| !said.is_null());
        let (service, what) = match destination.get("Type").and_then(Node::text) {
            Some("SQS") if !is_said => ("sqs", "Queue"),
            Some("SNS") if !is_said => ("sns", "Topic"),
            _ => continue,
        };
        let id = format!("{}EventInvokeConfig{when}{what}", resource.logical_id);
        let arn = format!("arn:aws:{service}:{}:{}:{id}", stack.region, stack.account);
        let line = destination.line;
        let (what, variable) = (what.to_lowercase(), service.to_uppercase());
        let text = format!(
            "SAM makes a {what} for it, which is not made here: make one called `{id}` where AWS_ENDPOINT_URL_{variable} \
             points, or give a `Destination`"
        );
        let property = format!("EventInvokeConfig.DestinationConfig.{when}");
        builder.finding(Status::Different, resource, &property, line, &text);
        if let Value::Mapping(entries) = &mut destination.value {
            entries.retain(|(key, _)| key.text() != Some("Destination"));
            entries.push((Node::scalar("Destination", line), Node::scalar(&arn, line)));
        }
    }
    Some(config)
}

fn entry<'n>(node: &'n mut Node, name: &str) -> Option<&'n mut Node> {
    let Value::Mapping(entries) = &mut node.value else { return None };
    entries.iter_mut().find(|(key, _)| key.text() == Some(name)).map(|(_, value)| value)
}

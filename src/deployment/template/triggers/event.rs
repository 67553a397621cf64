//! One of `Events` of a function that is no route.

use super::super::section::Section;
use super::super::{Builder, Resource};
use super::{Context, Place, Said, bucket, errors, mapping, rule, schedule, topic};
use crate::trigger::Trigger;

/// Types of events that are triggers.
pub const KINDS: [&str; 9] = [
    "CloudWatchEvent",
    "DynamoDB",
    "EventBridgeRule",
    "Kinesis",
    "S3",
    "SNS",
    "SQS",
    "Schedule",
    "ScheduleV2",
];

/// What an event is called, and where.
pub struct Name<'a> {
    pub event: &'a str,
    /// One of `KINDS`.
    pub kind: &'a str,
    pub line: usize,
}

/// `None`: it cannot be served, and the problems say why. `function`: what it leads to, with its alias
/// if it has one.
pub fn read(
    name: &Name<'_>,
    properties: &Section<'_>,
    resource: &Resource,
    function: &str,
    place: Place<'_>,
    builder: &mut Builder,
) -> Option<Trigger> {
    let before = errors(builder);
    let context = Context { resource, place };
    let id = format!("{}{}", resource.logical_id, name.event);
    let said = match name.kind {
        "Schedule" => schedule::of_rule(properties, context, builder),
        "ScheduleV2" => schedule::of_scheduler(properties, context, builder),
        "CloudWatchEvent" | "EventBridgeRule" => rule::of_event(properties, context, builder),
        "S3" => bucket::of_event(properties, context, builder),
        "SNS" => topic::of_event(&id, properties, context, builder),
        _ => mapping::of_event(name.kind, properties, context, builder),
    };
    let Said { name: called, enabled, kind } = said.filter(|_| errors(builder) == before)?;
    let (function, source) = (function.to_owned(), builder.source(name.line));
    Some(Trigger { name: called.unwrap_or(id), function, enabled, kind, source })
}

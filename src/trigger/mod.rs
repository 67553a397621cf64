//! A trigger makes invocations that no HTTP request asks for: a schedule, a queue, a stream, a
//! bucket, a topic, a rule of a bus. Parsed when it is deployed, so that what cannot work is told then.
//!
//! - `expression`: `rate(...)`, `cron(...)`, `at(...)`, and when they are due.
//! - `cron`: the fields of a cron, and their times on a calendar.
//! - `pattern`: event patterns, of rules and filters.
//! - `mapping`: event source mappings, as the Lambda API says them.
//! - `course`: from when on, and until when, a schedule is due.
//! - `told`: triggers in words.
//! - `matcher`: what a pattern compares one value with.

mod course;
mod cron;
mod expression;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod mapping;
mod matcher;
mod pattern;
mod told;

use std::time::Duration;

use crate::api::Source;
use crate::destination::Destination;

pub use course::Course;
pub use expression::{Expression, time_zone};
pub use mapping::{Invalid, SourceArn, SourceKind, UNKNOWN_LABEL};
pub use pattern::Pattern;

#[derive(Debug, Clone, PartialEq)]
pub struct Trigger {
    /// Unique among the triggers of a deployment: `FunctionLogicalIdEventName`, as SAM makes it.
    pub name: String,
    /// `NAME` or `NAME:ALIAS`.
    pub function: String,
    pub enabled: bool,
    pub kind: Kind,
    /// Where it is written.
    pub source: Source,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    Schedule(Schedule),
    Rule(Rule),
    /// An SQS queue, a Kinesis stream or the stream of a DynamoDB table: polled.
    Mapping(Box<Mapping>),
    Bucket(Bucket),
    Topic(Topic),
}

/// Invokes at certain times.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    pub expression: Expression,
    /// By EventBridge Scheduler (`ScheduleV2`), not by a rule: time zones, `at`, another event.
    pub scheduler: bool,
    /// IANA name; `None`: UTC.
    pub time_zone: Option<String>,
    /// Of EventBridge Scheduler; `default` unless said otherwise.
    pub group: String,
    pub start: Option<jiff::Timestamp>,
    pub end: Option<jiff::Timestamp>,
    /// Up to how much later than its time it may fire.
    pub flexible_window: Option<Duration>,
    /// JSON that takes the place of the event.
    pub input: Option<String>,
}

/// Events of a bus that match a pattern.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// `default` unless said otherwise.
    pub bus: String,
    pub pattern: Pattern,
    pub input: RuleInput,
}

/// What the function gets of a matching event.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum RuleInput {
    #[default]
    Event,
    /// JSON that takes its place.
    Constant(String),
    /// A part of it, by JSON path.
    Path(String),
    /// Values by JSON path, put into a template at `<name>`.
    Transformer { paths: Vec<(String, String)>, template: String },
}

/// An event source mapping.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapping {
    /// Of the queue or stream: tells its kind.
    pub source_arn: String,
    pub batch_size: u32,
    pub batching_window: Duration,
    /// An event is polled for if one of them matches, or if there are none.
    pub filters: Vec<Pattern>,
    /// `FunctionResponseTypes: [ReportBatchItemFailures]`
    pub reports_item_failures: bool,
    /// SQS: `ScalingConfig.MaximumConcurrency`.
    pub maximum_concurrency: Option<u32>,
    /// Streams only.
    pub stream: Stream,
}

/// How a stream is read.
#[derive(Debug, Clone, PartialEq)]
pub struct Stream {
    pub starting_position: StartingPosition,
    pub parallelization_factor: u32,
    /// `None`: whatever their age.
    pub maximum_record_age: Option<Duration>,
    /// `None`: for ever.
    pub maximum_retries: Option<u32>,
    pub bisects: bool,
    pub tumbling_window: Option<Duration>,
    pub on_failure: Option<Destination>,
}

impl Default for Stream {
    fn default() -> Self {
        Self {
            starting_position: StartingPosition::TrimHorizon,
            parallelization_factor: 1,
            maximum_record_age: None,
            maximum_retries: None,
            bisects: false,
            tumbling_window: None,
            on_failure: None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum StartingPosition {
    TrimHorizon,
    Latest,
    /// Kinesis only.
    AtTimestamp(jiff::Timestamp),
}

/// Objects of an S3 bucket, which a local folder stands for.
#[derive(Debug, Clone, PartialEq)]
pub struct Bucket {
    pub bucket: String,
    /// `s3:ObjectCreated:*`, `s3:ObjectRemoved:Delete`, ...
    pub events: Vec<String>,
    pub prefix: Option<String>,
    pub suffix: Option<String>,
}

/// Messages of an SNS topic.
#[derive(Debug, Clone, PartialEq)]
pub struct Topic {
    pub topic_arn: String,
    pub filter: Option<Pattern>,
    /// `FilterPolicyScope: MessageBody`; else the message's attributes are matched.
    pub filters_body: bool,
}

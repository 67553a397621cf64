//! Event source mappings: SQS queues, Kinesis streams and the streams of DynamoDB tables.

use std::time::Duration;

use jiff::Timestamp;

use super::super::section::Section;
use super::super::{Builder, Status};
use super::arn::{self, Of};
use super::{Context, Said};
use crate::destination::Destination;
use crate::trigger::{Kind, Mapping, Pattern, StartingPosition, Stream};

/// Filters of one mapping.
const MOST_FILTERS: usize = 5;
/// Bytes of one filter.
const LONGEST_FILTER: usize = 4096;
/// Of a FIFO queue's batch.
const MOST_OF_FIFO: i64 = 10;
const MOST: i64 = 10_000;

/// Of every mapping.
pub const COMMON: [&str; 9] = [
    "BatchSize",
    "Enabled",
    "FilterCriteria",
    "FunctionResponseTypes",
    "KmsKeyArn",
    "LoggingConfig",
    "MaximumBatchingWindowInSeconds",
    "MetricsConfig",
    "ProvisionedPollerConfig",
];
pub const OF_QUEUES: [&str; 1] = ["ScalingConfig"];
pub const OF_STREAMS: [&str; 8] = [
    "BisectBatchOnFunctionError",
    "DestinationConfig",
    "MaximumRecordAgeInSeconds",
    "MaximumRetryAttempts",
    "ParallelizationFactor",
    "StartingPosition",
    "StartingPositionTimestamp",
    "TumblingWindowInSeconds",
];

/// SAM's `SQS`, `Kinesis` and `DynamoDB`.
pub fn of_event(
    kind: &str,
    section: &Section<'_>,
    context: Context<'_>,
    builder: &mut Builder,
) -> Option<Said> {
    let (of, key) = match kind {
        "SQS" => (Of::Queue, "Queue"),
        "Kinesis" => (Of::Stream, "Stream"),
        _ => (Of::TableStream, "Stream"),
    };
    let special: &[&str] = if of == Of::Queue { &OF_QUEUES } else { &OF_STREAMS };
    let known: Vec<&str> = COMMON.iter().chain(special).copied().chain([key]).collect();
    section.only(&known, builder);
    let source = arn::read(section, key, of, context.place, builder);
    read(section, &source?, context, builder)
}

/// What all mappings say by the same names.
pub fn read(
    section: &Section<'_>,
    source_arn: &str,
    context: Context<'_>,
    builder: &mut Builder,
) -> Option<Said> {
    let of = arn::kind(source_arn).filter(|of| *of != Of::Topic)?;
    let is_queue = of == Of::Queue;
    let fifo = is_queue && source_arn.ends_with(".fifo");
    let enabled = section.boolean("Enabled", builder).unwrap_or(true);
    let filters = filters(section, builder);
    let reports_item_failures = response_types(section, builder);
    for (key, text) in [
        ("KmsKeyArn", "nothing is encrypted here"),
        ("LoggingConfig", "what a mapping does is told in the terminal"),
        ("MetricsConfig", "there are no metrics here"),
        ("ProvisionedPollerConfig", "pollers are started as they are needed"),
    ] {
        section.finding(key, Status::Ignored, text, context.resource, builder);
    }
    let most = if fifo { MOST_OF_FIFO } else { MOST };
    let default = if is_queue { 10 } else { 100 };
    let batch_size = section.number("BatchSize", 1, most, builder).unwrap_or(default);
    let window = section.number("MaximumBatchingWindowInSeconds", 0, 300, builder).unwrap_or(0);
    if fifo && window > 0 {
        let text =
            format!("`{}` cannot be given for a FIFO queue", section.name("MaximumBatchingWindowInSeconds"));
        section.error("MaximumBatchingWindowInSeconds", text, builder);
    }
    if is_queue && batch_size > 10 && window == 0 {
        let text = format!(
            "`{}`: more than 10 messages need `MaximumBatchingWindowInSeconds`, at least 1",
            section.name("BatchSize")
        );
        section.error("BatchSize", text, builder);
    }
    let maximum_concurrency = is_queue.then(|| scaling(section, builder)).flatten();
    let stream = if is_queue { Stream::default() } else { stream(section, of, context, builder) };
    let others: &[&str] = if is_queue { &OF_STREAMS } else { &OF_QUEUES };
    for key in others.iter().filter(|key| section.get(key).is_some()) {
        let what = if is_queue { "a queue" } else { "a stream" };
        section.error(key, format!("`{}` cannot be given for {what}", section.name(key)), builder);
    }
    let mapping = Mapping {
        source_arn: source_arn.to_owned(),
        batch_size: batch_size as u32,
        batching_window: Duration::from_secs(window as u64),
        filters,
        reports_item_failures,
        maximum_concurrency,
        stream,
    };
    Some(Said { name: None, enabled, kind: Kind::Mapping(Box::new(mapping)) })
}

fn response_types(section: &Section<'_>, builder: &mut Builder) -> bool {
    let types = section.texts("FunctionResponseTypes", builder).unwrap_or_default();
    if let Some(other) = types.iter().find(|kind| *kind != "ReportBatchItemFailures") {
        let name = section.name("FunctionResponseTypes");
        let text = format!("`{name}` can only hold `ReportBatchItemFailures`, not `{other}`");
        section.error("FunctionResponseTypes", text, builder);
    }
    !types.is_empty()
}

fn scaling(section: &Section<'_>, builder: &mut Builder) -> Option<u32> {
    let scaling = section.section("ScalingConfig", builder)?;
    scaling.only(&["MaximumConcurrency"], builder);
    scaling.number("MaximumConcurrency", 2, 1000, builder).map(|most| most as u32)
}

fn filters(section: &Section<'_>, builder: &mut Builder) -> Vec<Pattern> {
    let Some(criteria) = section.section("FilterCriteria", builder) else { return Vec::new() };
    criteria.only(&["Filters"], builder);
    let Some(list) = criteria.get("Filters") else { return Vec::new() };
    let Some(items) = list.items() else {
        let text = format!("`{}` must be a list, not {}", criteria.name("Filters"), list.kind());
        criteria.error("Filters", text, builder);
        return Vec::new();
    };
    if items.len() > MOST_FILTERS {
        let text = format!("`{}` has {} filters; AWS allows {MOST_FILTERS}", criteria.at, items.len());
        criteria.error("Filters", text, builder);
    }
    let mut patterns = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let filter = criteria.below(&format!("Filters[{index}]"), item);
        if !filter.is_map(builder) {
            continue;
        }
        filter.only(&["Pattern"], builder);
        if filter.get("Pattern").is_some_and(|pattern| pattern.mapping().is_some()) {
            let text = format!(
                "`{}` must be JSON in a text, not a map\nhint: `Pattern: '{{\"body\": {{\"a\": [1]}}}}'`",
                filter.name("Pattern")
            );
            filter.error("Pattern", text, builder);
            continue;
        }
        let Some(text) = filter.required("Pattern", builder) else { continue };
        if text.len() > LONGEST_FILTER {
            let text = format!(
                "`{}` takes {} bytes; AWS allows {LONGEST_FILTER}",
                filter.name("Pattern"),
                text.len()
            );
            filter.error("Pattern", text, builder);
            continue;
        }
        patterns.extend(super::rule::pattern(&filter, "Pattern", builder));
    }
    patterns
}

fn stream(section: &Section<'_>, of: Of, context: Context<'_>, builder: &mut Builder) -> Stream {
    let age = section.number("MaximumRecordAgeInSeconds", -1, 604_800, builder).filter(|age| *age != -1);
    if age.is_some_and(|age| age < 60) {
        let text = format!("`{}` must be -1, or 60 to 604800", section.name("MaximumRecordAgeInSeconds"));
        section.error("MaximumRecordAgeInSeconds", text, builder);
    }
    let retries = section.number("MaximumRetryAttempts", -1, MOST, builder).filter(|retries| *retries != -1);
    let tumbling = section.number("TumblingWindowInSeconds", 0, 900, builder).filter(|window| *window > 0);
    let parallelization_factor = section.number("ParallelizationFactor", 1, 10, builder).unwrap_or(1) as u32;
    Stream {
        starting_position: starting_position(section, of, builder),
        parallelization_factor,
        maximum_record_age: age.map(|age| Duration::from_secs(age.unsigned_abs())),
        maximum_retries: retries.and_then(|retries| u32::try_from(retries).ok()),
        bisects: section.boolean("BisectBatchOnFunctionError", builder).unwrap_or(false),
        tumbling_window: tumbling.map(|window| Duration::from_secs(window.unsigned_abs())),
        on_failure: on_failure(section, context, builder),
    }
}

fn starting_position(section: &Section<'_>, of: Of, builder: &mut Builder) -> StartingPosition {
    let words: &[&'static str] = match of {
        Of::Stream => &["TRIM_HORIZON", "LATEST", "AT_TIMESTAMP"],
        _ => &["TRIM_HORIZON", "LATEST"],
    };
    let key = "StartingPositionTimestamp";
    let written = section.text(key, builder);
    if section.get("StartingPosition").is_none() {
        let text = format!("`{}` has no `StartingPosition`: `TRIM_HORIZON` or `LATEST`", section.owner());
        section.error("", text, builder);
    }
    let word = section.word("StartingPosition", words, builder);
    if word != Some("AT_TIMESTAMP") {
        if word.is_some() && written.is_some() {
            let text = format!("`{}` needs `StartingPosition: AT_TIMESTAMP`", section.name(key));
            section.error(key, text, builder);
        }
        return if word == Some("LATEST") { StartingPosition::Latest } else { StartingPosition::TrimHorizon };
    }
    // Seconds since 1970, as CloudFormation has it.
    let seconds = written.and_then(|text| text.parse::<f64>().ok()).filter(|seconds| *seconds >= 0.0);
    let time = seconds.and_then(|seconds| Timestamp::from_millisecond((seconds * 1000.0) as i64).ok());
    match time {
        Some(time) => StartingPosition::AtTimestamp(time),
        None => {
            let text = format!(
                "`StartingPosition: AT_TIMESTAMP` needs `{}`, in seconds since 1970",
                section.name(key)
            );
            section.error("StartingPosition", text, builder);
            StartingPosition::TrimHorizon
        }
    }
}

/// Where the description of a batch goes that was given up.
fn on_failure(section: &Section<'_>, context: Context<'_>, builder: &mut Builder) -> Option<Destination> {
    let config = section.section("DestinationConfig", builder)?;
    config.only(&["OnFailure"], builder);
    let failure = config.section("OnFailure", builder)?;
    failure.only(&["Destination", "Type"], builder);
    if failure.get("Type").is_some() {
        failure.word("Type", &["SQS", "SNS", "S3"], builder);
    }
    let text = failure.required("Destination", builder)?;
    if text.starts_with("arn:") && text.split(':').nth(2) == Some("s3") {
        let told = "what was given up is not put into buckets; a queue or a topic gets it";
        failure.finding("Destination", Status::Ignored, told, context.resource, builder);
        return None;
    }
    match Destination::parse(text) {
        Ok(Destination::Bus { .. }) => {
            let text =
                format!("`{}`: Lambda puts what was given up into no bus", failure.name("Destination"));
            failure.error("Destination", text, builder);
            None
        }
        Ok(destination) => Some(destination),
        Err(reason) => {
            failure.error("Destination", format!("`{}`: {reason}", failure.name("Destination")), builder);
            None
        }
    }
}

//! An event source mapping in the words of the Lambda API: `BatchSize`, `StartingPosition`, ..., checked
//! as AWS checks them, and back.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Mapping, Pattern, StartingPosition, Stream};
use crate::destination::Destination;

/// More than AWS's 5: its quota can be raised to 10.
const MOST_FILTERS: usize = 10;

/// What a mapping reads from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    Queue { fifo: bool },
    Kinesis,
    DynamoDb,
}

impl SourceKind {
    pub fn is_stream(self) -> bool {
        !matches!(self, Self::Queue { .. })
    }
}

/// What stands in a template's `StreamArn` for the time at which the stream of a table was made.
pub const UNKNOWN_LABEL: &str = "/stream/2024-01-01T00:00:00.000";

/// The ARN of a queue or a stream, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceArn {
    pub kind: SourceKind,
    pub region: String,
    pub account: String,
    /// The queue's or the stream's name; of DynamoDB, the table's.
    pub name: String,
}

impl SourceArn {
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let ["arn", _, service, region, account, resource] = parts[..] else { return None };
        let (kind, name) = match service {
            "sqs" if !resource.contains([':', '/']) => {
                (SourceKind::Queue { fifo: resource.ends_with(".fifo") }, resource)
            }
            "kinesis" => {
                (SourceKind::Kinesis, resource.strip_prefix("stream/").filter(|n| !n.contains('/'))?)
            }
            "dynamodb" => {
                let (table, label) = resource.strip_prefix("table/")?.split_once("/stream/")?;
                (SourceKind::DynamoDb, Some(table).filter(|_| !label.is_empty())?)
            }
            _ => return None,
        };
        let valid = [region, account, name].iter().all(|part| !part.is_empty());
        let owned = |part: &str| part.to_owned();
        valid.then(|| Self { kind, region: owned(region), account: owned(account), name: owned(name) })
    }
}

/// Why properties are no mapping, by the exception that AWS answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invalid {
    /// `ValidationException`
    Constraint(String),
    /// `InvalidParameterValueException`
    Parameter(String),
    /// AWS has it; handlerd does not.
    Unsupported(String),
}

/// Of the service model, and nothing that is done here.
const UNSUPPORTED: [&str; 9] = [
    "AmazonManagedKafkaEventSourceConfig",
    "DocumentDBEventSourceConfig",
    "KMSKeyArn",
    "LoggingConfig",
    "MetricsConfig",
    "ProvisionedPollerConfig",
    "SelfManagedEventSource",
    "SelfManagedKafkaEventSourceConfig",
    "SourceAccessConfigurations",
];

/// Only for streams.
const OF_STREAMS: [&str; 6] = [
    "ParallelizationFactor",
    "MaximumRecordAgeInSeconds",
    "MaximumRetryAttempts",
    "BisectBatchOnFunctionError",
    "TumblingWindowInSeconds",
    "DestinationConfig",
];

impl Mapping {
    /// Of a request's body, with AWS's defaults for what it does not say.
    pub fn from_properties(properties: &Map<String, Value>) -> Result<Self, Invalid> {
        let given = |name: &str| properties.get(name).filter(|value| !is_nothing(value));
        if let Some(name) =
            UNSUPPORTED.into_iter().chain(["Queues", "Topics"]).find(|name| given(name).is_some())
        {
            return Err(Invalid::Unsupported(format!("{name} of event source mappings")));
        }
        let parameter = |text: &str| Invalid::Parameter(text.to_owned());
        let source_arn = given("EventSourceArn").and_then(Value::as_str).unwrap_or_default().to_owned();
        if source_arn.starts_with("arn:")
            && source_arn.contains(":kinesis:")
            && source_arn.contains("/consumer/")
        {
            return Err(Invalid::Unsupported("enhanced fan-out (the ARN of a stream's consumer)".to_owned()));
        }
        let source = SourceArn::parse(&source_arn).ok_or_else(|| parameter("Unrecognized event source."))?;
        let kind = source.kind;
        let foreign = match kind {
            SourceKind::Queue { .. } => OF_STREAMS.into_iter().find(|name| given(name).is_some()),
            _ => Some("ScalingConfig").filter(|name| given(name).is_some()),
        };
        if let Some(name) = foreign {
            let text = format!("Unsupported {name} parameter for given event source mapping type.");
            return Err(Invalid::Parameter(text));
        }
        let integer = |name: &str, least: i64, most: i64| integer(properties, name, least, most);
        let default = if kind.is_stream() { 100 } else { 10 };
        let batch_size = integer("BatchSize", 1, 10_000)?.unwrap_or(default);
        let window = integer("MaximumBatchingWindowInSeconds", 0, 300)?.unwrap_or(0);
        if kind == (SourceKind::Queue { fifo: true }) {
            if batch_size > 10 {
                return Err(parameter("Maximum batch size for FIFO queues is 10."));
            }
            if window > 0 {
                return Err(parameter("Batching window is not supported for FIFO queues"));
            }
        }
        if !kind.is_stream() && batch_size > 10 && window == 0 {
            let text = "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10";
            return Err(parameter(text));
        }
        Ok(Self {
            source_arn,
            batch_size: batch_size as u32,
            batching_window: Duration::from_secs(window as u64),
            filters: filters(given("FilterCriteria"))?,
            reports_item_failures: response_types(given("FunctionResponseTypes"))?,
            maximum_concurrency: match given("ScalingConfig") {
                Some(Value::Object(scaling)) => {
                    self::integer(scaling, "MaximumConcurrency", 2, 1000)?.map(|number| number as u32)
                }
                Some(other) => return Err(no_object("ScalingConfig", other)),
                None => None,
            },
            stream: match kind {
                SourceKind::Queue { .. } if given("StartingPosition").is_some() => {
                    return Err(parameter("StartingPosition is not valid for SQS event sources."));
                }
                SourceKind::Queue { .. } => Stream::default(),
                _ => stream(properties, kind)?,
            },
        })
    }

    /// All that is said of it, in the order in which AWS answers.
    pub fn properties(&self) -> Map<String, Value> {
        let mut all = Map::new();
        let mut set = |name: &str, value: Value| drop(all.insert(name.to_owned(), value));
        let is_stream = SourceArn::parse(&self.source_arn).is_some_and(|source| source.kind.is_stream());
        if is_stream {
            let (position, timestamp) = match self.stream.starting_position {
                StartingPosition::TrimHorizon => ("TRIM_HORIZON", None),
                StartingPosition::Latest => ("LATEST", None),
                StartingPosition::AtTimestamp(time) => ("AT_TIMESTAMP", Some(time)),
            };
            set("StartingPosition", position.into());
            if let Some(time) = timestamp {
                set("StartingPositionTimestamp", json!(time.as_millisecond() as f64 / 1000.0));
            }
        }
        set("BatchSize", self.batch_size.into());
        set("MaximumBatchingWindowInSeconds", self.batching_window.as_secs().into());
        if is_stream {
            set("ParallelizationFactor", self.stream.parallelization_factor.into());
        }
        set("EventSourceArn", self.source_arn.clone().into());
        if !self.filters.is_empty() {
            let filters: Vec<Value> =
                self.filters.iter().map(|filter| json!({"Pattern": filter.text})).collect();
            set("FilterCriteria", json!({"Filters": filters}));
        }
        if is_stream {
            let Stream { maximum_record_age, maximum_retries, bisects, tumbling_window, on_failure, .. } =
                &self.stream;
            let on_failure = match on_failure {
                Some(destination) => json!({"Destination": destination.to_string()}),
                None => json!({}),
            };
            set("DestinationConfig", json!({"OnFailure": on_failure}));
            let age = maximum_record_age.map_or(-1, |age| age.as_secs() as i64);
            set("MaximumRecordAgeInSeconds", age.into());
            set("BisectBatchOnFunctionError", (*bisects).into());
            set("MaximumRetryAttempts", maximum_retries.map_or(-1, i64::from).into());
            set("TumblingWindowInSeconds", tumbling_window.unwrap_or_default().as_secs().into());
        }
        let types: &[&str] = if self.reports_item_failures { &["ReportBatchItemFailures"] } else { &[] };
        set("FunctionResponseTypes", json!(types));
        if let Some(most) = self.maximum_concurrency {
            set("ScalingConfig", json!({"MaximumConcurrency": most}));
        }
        all
    }
}

/// As good as not said.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

fn stream(properties: &Map<String, Value>, kind: SourceKind) -> Result<Stream, Invalid> {
    let integer = |name: &str, least: i64, most: i64| integer(properties, name, least, most);
    let factor = integer("ParallelizationFactor", 1, 10)?.unwrap_or(1) as u32;
    let age = integer("MaximumRecordAgeInSeconds", -1, 604_800)?.filter(|age| *age != -1);
    if age.is_some_and(|age| age < 60) {
        let text = "Maximum record age in seconds must be -1 or a value between 60 and 604800";
        return Err(Invalid::Parameter(text.to_owned()));
    }
    let window = integer("TumblingWindowInSeconds", 0, 900)?.filter(|window| *window > 0);
    if window.is_some() && factor > 1 {
        return Err(Invalid::Unsupported(
            "a tumbling window together with a ParallelizationFactor above 1".to_owned(),
        ));
    }
    let bisects = match properties.get("BisectBatchOnFunctionError") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(bisects)) => *bisects,
        Some(other) => {
            let text = format!("BisectBatchOnFunctionError must be true or false, not {other}");
            return Err(Invalid::Constraint(text));
        }
    };
    Ok(Stream {
        starting_position: starting_position(properties, kind)?,
        parallelization_factor: factor,
        maximum_record_age: age.map(|age| Duration::from_secs(age as u64)),
        maximum_retries: integer("MaximumRetryAttempts", -1, 10_000)?.and_then(|most| most.try_into().ok()),
        bisects,
        tumbling_window: window.map(|window| Duration::from_secs(window as u64)),
        on_failure: on_failure(properties.get("DestinationConfig"))?,
    })
}

fn starting_position(properties: &Map<String, Value>, kind: SourceKind) -> Result<StartingPosition, Invalid> {
    let wanted = properties.get("StartingPosition").filter(|value| !value.is_null());
    match wanted.map(|value| value.as_str().unwrap_or_default()) {
        None => Err(Invalid::Constraint(
            "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: Member must not \
             be null."
                .to_owned(),
        )),
        Some("TRIM_HORIZON") => Ok(StartingPosition::TrimHorizon),
        Some("LATEST") => Ok(StartingPosition::Latest),
        Some("AT_TIMESTAMP") if kind == SourceKind::Kinesis => {
            let seconds = properties.get("StartingPositionTimestamp").and_then(Value::as_f64);
            let time = seconds.and_then(|seconds| jiff::Timestamp::from_millisecond((seconds * 1000.0).round() as i64).ok());
            time.map(StartingPosition::AtTimestamp).ok_or_else(|| {
                Invalid::Parameter("StartingPositionTimestamp must not be null with AT_TIMESTAMP.".to_owned())
            })
        }
        Some("AT_TIMESTAMP") => {
            Err(Invalid::Parameter("Unsupported starting position for arn type: AT_TIMESTAMP".to_owned()))
        }
        Some(_) => Err(Invalid::Constraint(format!(
            "1 validation error detected: Value '{}' at 'startingPosition' failed to satisfy constraint: Member must \
             satisfy enum value set: [LATEST, AT_TIMESTAMP, TRIM_HORIZON]",
            shown(wanted.expect("it was given"))
        ))),
    }
}

fn on_failure(config: Option<&Value>) -> Result<Option<Destination>, Invalid> {
    let config = match config {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(config)) => config,
        Some(other) => return Err(no_object("DestinationConfig", other)),
    };
    if config.get("OnSuccess").is_some_and(|value| !is_nothing(value)) {
        let text = "Unsupported DestinationConfig parameter for given event source mapping type.";
        return Err(Invalid::Parameter(text.to_owned()));
    }
    let destination = config.get("OnFailure").and_then(|on_failure| on_failure.get("Destination"));
    match destination.filter(|value| !value.is_null()) {
        None => Ok(None),
        Some(Value::String(text)) => Destination::parse(text).map(Some).map_err(Invalid::Parameter),
        Some(other) => Err(Invalid::Constraint(format!("a Destination is text, not {other}"))),
    }
}

fn filters(criteria: Option<&Value>) -> Result<Vec<Pattern>, Invalid> {
    let filters = match criteria.map(|criteria| (criteria, criteria.get("Filters"))) {
        None => return Ok(Vec::new()),
        Some((Value::Object(_), None | Some(Value::Null))) => return Ok(Vec::new()),
        Some((Value::Object(_), Some(Value::Array(filters)))) => filters,
        Some((other, _)) => return Err(no_object("FilterCriteria", other)),
    };
    if filters.len() > MOST_FILTERS {
        return Err(Invalid::Parameter(format!("At most {MOST_FILTERS} filters are supported.")));
    }
    let pattern = |filter: &Value| match filter.get("Pattern").and_then(Value::as_str) {
        Some(text) => Pattern::parse(text)
            .map_err(|reason| Invalid::Parameter(format!("Invalid filter pattern definition. {reason}"))),
        None => Err(Invalid::Parameter("Invalid filter pattern definition.".to_owned())),
    };
    filters.iter().map(pattern).collect()
}

fn response_types(types: Option<&Value>) -> Result<bool, Invalid> {
    let Some(types) = types else { return Ok(false) };
    let known = |value: &Value| value.as_str() == Some("ReportBatchItemFailures");
    match types.as_array() {
        Some(types) if types.iter().all(known) => Ok(true),
        _ => Err(Invalid::Constraint(format!(
            "1 validation error detected: Value '{}' at 'functionResponseTypes' failed to satisfy constraint: Member \
             must satisfy constraint: [Member must satisfy enum value set: [ReportBatchItemFailures]]",
            shown(types)
        ))),
    }
}

fn no_object(name: &str, value: &Value) -> Invalid {
    Invalid::Constraint(format!("{name} must be an object, not {value}"))
}

/// Lists as AWS prints them: `[a, b]`.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

fn integer(
    properties: &Map<String, Value>,
    name: &str,
    least: i64,
    most: i64,
) -> Result<Option<i64>, Invalid> {
    let value = match properties.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value,
    };
    let mut member = name.to_owned();
    member[..1].make_ascii_lowercase();
    let constraint = match value.as_i64() {
        Some(number) if number < least => format!("have value greater than or equal to {least}"),
        Some(number) if number > most => format!("have value less than or equal to {most}"),
        Some(number) => return Ok(Some(number)),
        None => "be an integer".to_owned(),
    };
    Err(Invalid::Constraint(format!(
        "1 validation error detected: Value '{}' at '{member}' failed to satisfy constraint: Member must {constraint}",
        shown(value)
    )))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const QUEUE: &str = "arn:aws:sqs:us-east-1:123456789012:orders";
    const STREAM: &str = "arn:aws:kinesis:us-east-1:123456789012:stream/orders";
    const TABLE: &str = "arn:aws:dynamodb:us-east-1:123456789012:table/orders/stream/2025-11-24T23:00:00.000";

    fn parse(properties: Value) -> Result<Mapping, Invalid> {
        Mapping::from_properties(properties.as_object().unwrap())
    }

    #[test]
    fn sources_are_told_by_their_arns() {
        let kind = |arn: &str| SourceArn::parse(arn).map(|source| (source.kind, source.name));
        assert_eq!(kind(QUEUE), Some((SourceKind::Queue { fifo: false }, "orders".into())));
        assert_eq!(
            kind(&format!("{QUEUE}.fifo")),
            Some((SourceKind::Queue { fifo: true }, "orders.fifo".into()))
        );
        assert_eq!(kind(STREAM), Some((SourceKind::Kinesis, "orders".into())));
        assert_eq!(kind(TABLE), Some((SourceKind::DynamoDb, "orders".into())));
        for other in
            ["", "orders", "arn:aws:sqs:us-east-1:123456789012:", "arn:aws:dynamodb:r:a:table/orders"]
        {
            assert_eq!(kind(other), None, "{other}");
        }
    }

    #[test]
    fn defaults_are_those_of_the_source() {
        let queue = parse(json!({"EventSourceArn": QUEUE})).unwrap();
        assert_eq!(
            Value::Object(queue.properties()),
            json!({"BatchSize": 10, "MaximumBatchingWindowInSeconds": 0, "EventSourceArn": QUEUE,
                   "FunctionResponseTypes": []})
        );
        let stream = parse(json!({"EventSourceArn": STREAM, "StartingPosition": "LATEST"})).unwrap();
        assert_eq!(
            Value::Object(stream.properties()),
            json!({"StartingPosition": "LATEST", "BatchSize": 100, "MaximumBatchingWindowInSeconds": 0,
                   "ParallelizationFactor": 1, "EventSourceArn": STREAM, "DestinationConfig": {"OnFailure": {}},
                   "MaximumRecordAgeInSeconds": -1, "BisectBatchOnFunctionError": false,
                   "MaximumRetryAttempts": -1, "TumblingWindowInSeconds": 0, "FunctionResponseTypes": []})
        );
    }

    #[test]
    fn what_aws_refuses_is_refused_in_its_words() {
        let message = |properties: Value| match parse(properties).unwrap_err() {
            Invalid::Constraint(text) | Invalid::Parameter(text) | Invalid::Unsupported(text) => text,
        };
        assert_eq!(message(json!({"EventSourceArn": "arn:aws:s3:::b"})), "Unrecognized event source.");
        assert_eq!(
            message(json!({"EventSourceArn": QUEUE, "BatchSize": 11})),
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"
        );
        assert_eq!(
            message(json!({"EventSourceArn": QUEUE, "BatchSize": 0})),
            "1 validation error detected: Value '0' at 'batchSize' failed to satisfy constraint: Member must have value \
             greater than or equal to 1"
        );
        assert_eq!(
            message(json!({"EventSourceArn": STREAM})),
            "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: Member must not \
             be null."
        );
        assert_eq!(
            message(json!({"EventSourceArn": TABLE, "StartingPosition": "AT_TIMESTAMP"})),
            "Unsupported starting position for arn type: AT_TIMESTAMP"
        );
        let config = json!({"OnFailure": {"Destination": QUEUE}});
        assert_eq!(
            message(json!({"EventSourceArn": QUEUE, "DestinationConfig": config})),
            "Unsupported DestinationConfig parameter for given event source mapping type."
        );
    }

    proptest! {
        #[test]
        fn what_is_described_is_read_again(
            size in 1..10_000u32, window in 1..300u64, factor in 1..10u32, retries in -1..10_000i64,
            bisects: bool, reports: bool, seconds in 0..2_000_000_000i64, millis in 0..1000i64,
        ) {
            let mapping = parse(json!({
                "EventSourceArn": STREAM, "BatchSize": size, "MaximumBatchingWindowInSeconds": window,
                "ParallelizationFactor": factor, "MaximumRetryAttempts": retries,
                "BisectBatchOnFunctionError": bisects, "StartingPosition": "AT_TIMESTAMP",
                "StartingPositionTimestamp": (seconds * 1000 + millis) as f64 / 1000.0,
                "FunctionResponseTypes": if reports { json!(["ReportBatchItemFailures"]) } else { json!([]) },
                "DestinationConfig": {"OnFailure": {"Destination": QUEUE}},
            })).unwrap();
            let described = mapping.properties();
            let again = Mapping::from_properties(&described).unwrap();
            prop_assert_eq!(again.properties(), described);
        }

        #[test]
        fn nothing_that_is_sent_panics(name in "[A-Za-z]{1,30}", text in ".{0,20}", number: i64) {
            for value in [json!(text), json!(number), json!([text]), json!({"Filters": [text]}), json!(1e300)] {
                let _ = parse(json!({"EventSourceArn": STREAM, "StartingPosition": "LATEST", name.clone(): value.clone()}));
                for known in ["BatchSize", "FilterCriteria", "ScalingConfig", "DestinationConfig",
                              "FunctionResponseTypes", "StartingPositionTimestamp"] {
                    let _ = parse(json!({"EventSourceArn": STREAM, "StartingPosition": "AT_TIMESTAMP", known: value.clone()}));
                }
            }
            let _ = SourceArn::parse(&text);
        }
    }
}

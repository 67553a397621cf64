//! What stands beside a function: triggers as `Events`, and the properties of asynchronous events,
//! concurrency and tags.

use serde_json::{Map, Value, json};

use super::{Writer, logical_id};
use crate::destination::Destination;
use crate::function::{Asynchronous, Attached, Configuration, Function, RecursiveLoop};
use crate::trigger::{
    Bucket, Kind, Mapping, Pattern, Rule, RuleInput, Schedule, StartingPosition, Stream, Topic, Trigger,
};

impl Writer {
    /// Of a version: what is kept and told.
    pub(super) fn told(&mut self, configuration: &Configuration, properties: &mut Map<String, Value>) {
        if let Some(role) = configuration.role.as_ref().filter(|role| role.starts_with("arn:")) {
            properties.insert("Role".into(), json!(role));
        }
        if let Some(target) = &configuration.dead_letter {
            let kind = if target.contains(":sqs:") { "SQS" } else { "SNS" };
            properties.insert("DeadLetterQueue".into(), json!({"Type": kind, "TargetArn": target}));
        }
        if configuration.traced {
            properties.insert("Tracing".into(), "Active".into());
        }
        if configuration.ephemeral_storage_mb != 512 {
            properties.insert("EphemeralStorage".into(), json!({"Size": configuration.ephemeral_storage_mb}));
        }
        if configuration.snap_start {
            properties.insert("SnapStart".into(), json!({"ApplyOn": "PublishedVersions"}));
        }
    }

    pub(super) fn attached(&mut self, function: &Function, attached: &Attached) {
        let name = function.name.as_str();
        let id = self.names[name].clone();
        let mut properties = Map::new();
        if let Some(reserved) = attached.reserved_concurrency {
            properties.insert("ReservedConcurrentExecutions".into(), reserved.into());
        }
        if attached.recursive_loop == RecursiveLoop::Allow {
            properties.insert("RecursiveLoop".into(), "Allow".into());
        }
        if !attached.tags.is_empty() {
            let tags: Map<String, Value> =
                attached.tags.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
            properties.insert("Tags".into(), tags.into());
        }
        if let Some(alias) = &attached.auto_publish_alias {
            properties.insert("AutoPublishAlias".into(), alias.as_str().into());
        }
        if let Some(config) = self.asynchronous(name, &attached.asynchronous) {
            properties.insert("EventInvokeConfig".into(), config);
        }
        let mut events = Map::new();
        for trigger in &attached.triggers {
            let qualifier = trigger.function.split_once(':').map(|(_, qualifier)| qualifier);
            if qualifier.is_some() && qualifier != attached.auto_publish_alias.as_deref() {
                let text = format!("{}: it leads to {}, which events cannot", trigger.name, trigger.function);
                self.left_out.push(text);
                continue;
            }
            let (name, event) = self.event(&id, trigger);
            events.insert(name, event);
        }
        if !events.is_empty() {
            properties.insert("Events".into(), events.into());
        }
        if let Some(Value::Object(known)) =
            self.resources.get_mut(&id).map(|resource| &mut resource["Properties"])
        {
            known.extend(properties);
        }
    }

    fn asynchronous(&mut self, name: &str, asynchronous: &Asynchronous) -> Option<Value> {
        let mut config = Map::new();
        if let Some(age) = asynchronous.maximum_age {
            config.insert("MaximumEventAgeInSeconds".into(), age.as_secs().into());
        }
        if let Some(retries) = asynchronous.maximum_retries {
            config.insert("MaximumRetryAttempts".into(), retries.into());
        }
        let mut destinations = Map::new();
        for (when, destination) in
            [("OnSuccess", &asynchronous.on_success), ("OnFailure", &asynchronous.on_failure)]
        {
            let Some(destination) = destination else { continue };
            match kind_of(destination) {
                Some(kind) => {
                    let value = json!({"Type": kind, "Destination": destination.to_string()});
                    destinations.insert(when.into(), value);
                }
                None => self
                    .left_out
                    .push(format!("{name}: AWS has no destination such as {} ({when})", destination.shown())),
            }
        }
        if !destinations.is_empty() {
            config.insert("DestinationConfig".into(), destinations.into());
        }
        (!config.is_empty()).then(|| config.into())
    }

    /// The name of an event and the event: SAM calls the trigger by the function's and the event's name.
    fn event(&mut self, id: &str, trigger: &Trigger) -> (String, Value) {
        let rest = trigger.name.strip_prefix(id);
        let plain = |rest: &&str| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_alphanumeric());
        let name = rest.filter(plain).map_or_else(|| logical_id(&trigger.name), str::to_owned);
        let mut properties = Map::new();
        let is_called_so = format!("{id}{name}") == trigger.name;
        // Of a rule with several targets only the first has its name.
        let own_name = trigger.name.split('/').next().filter(|_| !is_called_so);
        let kind = match &trigger.kind {
            Kind::Schedule(schedule) => write_schedule(schedule, own_name, trigger.enabled, &mut properties),
            Kind::Rule(rule) => {
                properties.extend(own_name.map(|name| ("RuleName".to_owned(), json!(name))));
                write_rule(rule, trigger.enabled, &mut properties);
                "EventBridgeRule"
            }
            Kind::Mapping(mapping) => write_mapping(mapping, trigger.enabled, &mut properties),
            Kind::Bucket(bucket) => {
                let bucket_id = self.bucket(&bucket.bucket);
                properties.insert("Bucket".into(), json!({ "Ref": bucket_id }));
                write_bucket(bucket, &mut properties);
                "S3"
            }
            Kind::Topic(topic) => {
                write_topic(topic, &mut properties);
                "SNS"
            }
        };
        (name, json!({"Type": kind, "Properties": properties}))
    }

    /// SAM wants a bucket of the same template.
    fn bucket(&mut self, name: &str) -> String {
        let named = |resource: &Value| resource["Properties"]["BucketName"] == name;
        if let Some((id, _)) = self.resources.iter().find(|(_, resource)| named(resource)) {
            return id.clone();
        }
        let mut id = format!("{}Bucket", logical_id(name));
        while self.resources.contains_key(&id) {
            id.push_str("Bucket");
        }
        self.add(&id, "AWS::S3::Bucket", json!({ "BucketName": name }));
        id
    }
}

/// SAM's word for it.
fn kind_of(destination: &Destination) -> Option<&'static str> {
    match destination {
        Destination::Function { .. } => Some("Lambda"),
        Destination::Queue { .. } => Some("SQS"),
        Destination::Topic { .. } => Some("SNS"),
        Destination::Bus { .. } => Some("EventBridge"),
        Destination::Url(_) | Destination::Table { .. } => None,
    }
}

fn write_schedule(
    schedule: &Schedule,
    name: Option<&str>,
    enabled: bool,
    properties: &mut Map<String, Value>,
) -> &'static str {
    properties.extend(name.map(|name| ("Name".to_owned(), json!(name))));
    properties.extend(schedule.input.as_ref().map(|input| ("Input".to_owned(), json!(input))));
    if !enabled {
        properties.insert("State".into(), "DISABLED".into());
    }
    if !schedule.scheduler {
        properties.insert("Schedule".into(), json!(schedule.expression.text));
        return "Schedule";
    }
    properties.insert("ScheduleExpression".into(), json!(schedule.expression.text));
    if let Some(zone) = &schedule.time_zone {
        properties.insert("ScheduleExpressionTimezone".into(), json!(zone));
    }
    if schedule.group != "default" {
        properties.insert("GroupName".into(), json!(schedule.group));
    }
    for (key, time) in [("StartDate", schedule.start), ("EndDate", schedule.end)] {
        properties.extend(time.map(|time| (key.to_owned(), json!(time.to_string()))));
    }
    if let Some(window) = schedule.flexible_window {
        let window = json!({"Mode": "FLEXIBLE", "MaximumWindowInMinutes": window.as_secs() / 60});
        properties.insert("FlexibleTimeWindow".into(), window);
    }
    "ScheduleV2"
}

fn write_rule(rule: &Rule, enabled: bool, properties: &mut Map<String, Value>) {
    if rule.bus != "default" {
        properties.insert("EventBusName".into(), json!(rule.bus));
    }
    properties.insert("Pattern".into(), json_of(&rule.pattern));
    match &rule.input {
        RuleInput::Event => {}
        RuleInput::Constant(text) => drop(properties.insert("Input".into(), json!(text))),
        RuleInput::Path(path) => drop(properties.insert("InputPath".into(), json!(path))),
        RuleInput::Transformer { paths, template } => {
            let mut transformer = json!({ "InputTemplate": template });
            if !paths.is_empty() {
                let paths: Map<String, Value> =
                    paths.iter().map(|(name, path)| (name.clone(), json!(path))).collect();
                transformer["InputPathsMap"] = paths.into();
            }
            properties.insert("InputTransformer".into(), transformer);
        }
    }
    if !enabled {
        properties.insert("State".into(), "DISABLED".into());
    }
}

fn write_mapping(mapping: &Mapping, enabled: bool, properties: &mut Map<String, Value>) -> &'static str {
    let (kind, key) = match mapping.source_arn.split(':').nth(2) {
        Some("sqs") => ("SQS", "Queue"),
        Some("kinesis") => ("Kinesis", "Stream"),
        _ => ("DynamoDB", "Stream"),
    };
    properties.insert(key.into(), json!(mapping.source_arn));
    properties.insert("BatchSize".into(), mapping.batch_size.into());
    if !mapping.batching_window.is_zero() {
        properties.insert("MaximumBatchingWindowInSeconds".into(), mapping.batching_window.as_secs().into());
    }
    if !enabled {
        properties.insert("Enabled".into(), false.into());
    }
    if !mapping.filters.is_empty() {
        let filters: Vec<Value> =
            mapping.filters.iter().map(|pattern| json!({"Pattern": pattern.text})).collect();
        properties.insert("FilterCriteria".into(), json!({ "Filters": filters }));
    }
    if mapping.reports_item_failures {
        properties.insert("FunctionResponseTypes".into(), json!(["ReportBatchItemFailures"]));
    }
    if let Some(most) = mapping.maximum_concurrency {
        properties.insert("ScalingConfig".into(), json!({ "MaximumConcurrency": most }));
    }
    if kind != "SQS" {
        write_stream(&mapping.stream, properties);
    }
    kind
}

fn write_stream(stream: &Stream, properties: &mut Map<String, Value>) {
    let position = match stream.starting_position {
        StartingPosition::TrimHorizon => "TRIM_HORIZON",
        StartingPosition::Latest => "LATEST",
        StartingPosition::AtTimestamp(time) => {
            let seconds = time.as_millisecond() as f64 / 1000.0;
            let seconds = if seconds.fract() == 0.0 { json!(seconds as i64) } else { json!(seconds) };
            properties.insert("StartingPositionTimestamp".into(), seconds);
            "AT_TIMESTAMP"
        }
    };
    properties.insert("StartingPosition".into(), position.into());
    if stream.parallelization_factor != 1 {
        properties.insert("ParallelizationFactor".into(), stream.parallelization_factor.into());
    }
    if let Some(age) = stream.maximum_record_age {
        properties.insert("MaximumRecordAgeInSeconds".into(), age.as_secs().into());
    }
    if let Some(retries) = stream.maximum_retries {
        properties.insert("MaximumRetryAttempts".into(), retries.into());
    }
    if stream.bisects {
        properties.insert("BisectBatchOnFunctionError".into(), true.into());
    }
    if let Some(window) = stream.tumbling_window {
        properties.insert("TumblingWindowInSeconds".into(), window.as_secs().into());
    }
    if let Some(destination) = &stream.on_failure {
        let mut failure = json!({"Destination": destination.to_string()});
        if let Some(kind @ ("SQS" | "SNS")) = kind_of(destination) {
            failure["Type"] = kind.into();
        }
        properties.insert("DestinationConfig".into(), json!({ "OnFailure": failure }));
    }
}

fn write_bucket(bucket: &Bucket, properties: &mut Map<String, Value>) {
    properties.insert("Events".into(), json!(bucket.events));
    let rules: Vec<Value> = [("prefix", &bucket.prefix), ("suffix", &bucket.suffix)]
        .into_iter()
        .filter_map(|(name, value)| Some(json!({"Name": name, "Value": value.as_ref()?})))
        .collect();
    if !rules.is_empty() {
        properties.insert("Filter".into(), json!({"S3Key": {"Rules": rules}}));
    }
}

fn write_topic(topic: &Topic, properties: &mut Map<String, Value>) {
    properties.insert("Topic".into(), json!(topic.topic_arn));
    if let Some(filter) = &topic.filter {
        properties.insert("FilterPolicy".into(), json_of(filter));
        if topic.filters_body {
            properties.insert("FilterPolicyScope".into(), "MessageBody".into());
        }
    }
}

/// A pattern has been read from JSON.
fn json_of(pattern: &Pattern) -> Value {
    serde_json::from_str(&pattern.text).unwrap_or_default()
}

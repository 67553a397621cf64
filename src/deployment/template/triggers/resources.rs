//! Triggers that are resources of their own: those of CloudFormation.

use super::super::sam::{Row, report};
use super::super::section::Section;
use super::super::{Builder, Resource, Stack, Status, reference};
use super::arn::{self, Of};
use super::{Context, Place, Said, bucket, delivery, enabled, errors, mapping, rule, schedule, topic};
use crate::deployment::properties;
use crate::deployment::yaml::{Node, Value};
use crate::deployment::{Problem, Severity};
use crate::function::Configuration;
use crate::trigger::{Bucket, Kind, Rule, RuleInput, Topic, Trigger};
use Status::{Different, Ignored, Supported};

const OF_OTHERS: &str = "is only for sources that are not polled here";
const TAGS: &str = "there is nothing to tag";

const MAPPING: [Row; 28] = [
    ("AmazonManagedKafkaEventSourceConfig", Ignored, OF_OTHERS),
    ("BatchSize", Supported, ""),
    ("BisectBatchOnFunctionError", Supported, ""),
    ("DestinationConfig", Supported, ""),
    ("DocumentDBEventSourceConfig", Ignored, OF_OTHERS),
    ("Enabled", Supported, ""),
    ("EventSourceArn", Supported, ""),
    ("FilterCriteria", Supported, ""),
    ("FunctionName", Supported, ""),
    ("FunctionResponseTypes", Supported, ""),
    ("KmsKeyArn", Ignored, "nothing is encrypted here"),
    ("LoggingConfig", Ignored, "what a mapping does is told in the terminal"),
    ("MaximumBatchingWindowInSeconds", Supported, ""),
    ("MaximumRecordAgeInSeconds", Supported, ""),
    ("MaximumRetryAttempts", Supported, ""),
    ("MetricsConfig", Ignored, "there are no metrics here"),
    ("ParallelizationFactor", Supported, ""),
    ("ProvisionedPollerConfig", Ignored, "pollers are started as they are needed"),
    ("Queues", Ignored, OF_OTHERS),
    ("ScalingConfig", Supported, ""),
    ("SelfManagedEventSource", Ignored, OF_OTHERS),
    ("SelfManagedKafkaEventSourceConfig", Ignored, OF_OTHERS),
    ("SourceAccessConfigurations", Ignored, OF_OTHERS),
    ("StartingPosition", Supported, ""),
    ("StartingPositionTimestamp", Supported, ""),
    ("Tags", Ignored, TAGS),
    ("Topics", Ignored, OF_OTHERS),
    ("TumblingWindowInSeconds", Supported, ""),
];
const RULE: [Row; 9] = [
    ("Description", Supported, ""),
    ("EventBusName", Supported, ""),
    ("EventPattern", Supported, ""),
    ("Name", Supported, ""),
    ("RoleArn", Ignored, "functions run as you: there are no roles here"),
    ("ScheduleExpression", Supported, ""),
    ("State", Supported, ""),
    ("Tags", Ignored, TAGS),
    ("Targets", Supported, ""),
];
const SCHEDULE: [Row; 11] = [
    ("Description", Supported, ""),
    ("EndDate", Supported, ""),
    ("FlexibleTimeWindow", Supported, ""),
    ("GroupName", Supported, ""),
    ("KmsKeyArn", Ignored, "nothing is encrypted here"),
    ("Name", Supported, ""),
    ("ScheduleExpression", Supported, ""),
    ("ScheduleExpressionTimezone", Supported, ""),
    ("StartDate", Supported, ""),
    ("State", Supported, ""),
    ("Target", Supported, ""),
];
const SUBSCRIPTION: [Row; 11] = [
    ("DeliveryPolicy", Ignored, "what is delivered is kept until the function has had it"),
    ("Endpoint", Supported, ""),
    ("FilterPolicy", Supported, ""),
    ("FilterPolicyScope", Supported, ""),
    ("Protocol", Supported, ""),
    ("RawMessageDelivery", Ignored, "functions get messages as SNS sends them"),
    ("RedrivePolicy", Ignored, "what is delivered is kept until the function has had it"),
    ("Region", Ignored, "the region is that of the topic's ARN"),
    ("ReplayPolicy", Ignored, "messages of the past are not delivered again"),
    ("SubscriptionRoleArn", Ignored, "functions run as you: there are no roles here"),
    ("TopicArn", Supported, ""),
];

/// After all functions have been declared.
pub fn read(stack: &Stack, builder: &mut Builder) {
    for resource in &stack.resources {
        let reader = Reader { stack, context: Context { resource, place: Place::of(stack) } };
        match resource.kind.as_str() {
            "AWS::Lambda::EventSourceMapping" => reader.mapping(builder),
            "AWS::Events::Rule" => reader.rule(builder),
            "AWS::Scheduler::Schedule" => reader.schedule(builder),
            "AWS::SNS::Subscription" => reader.subscription(builder),
            "AWS::SNS::Topic" => reader.topic(builder),
            "AWS::S3::Bucket" => reader.bucket(builder),
            _ => {}
        }
    }
}

struct Reader<'a> {
    stack: &'a Stack,
    context: Context<'a>,
}

impl<'a> Reader<'a> {
    fn resource(&self) -> &'a Resource {
        self.context.resource
    }

    fn properties(&self) -> Section<'a> {
        Section::properties(self.resource())
    }

    /// What became of the resource as a whole.
    fn whole(&self, status: Status, text: &str, builder: &mut Builder) {
        builder.finding(status, self.resource(), "", self.resource().line, text);
    }

    fn refused(&self, builder: &mut Builder) {
        self.whole(Ignored, "cannot be served; see the problems", builder);
    }

    /// The function that a text means; what it says else is a problem.
    fn function(&self, section: &Section<'_>, key: &str, builder: &mut Builder) -> Option<String> {
        let text = section.required(key, builder)?;
        match reference::function(self.stack, text) {
            Ok(function) => Some(function),
            Err(reason) => {
                section.error(
                    key,
                    format!("`{}` leads nowhere: {reason}", self.resource().logical_id),
                    builder,
                );
                None
            }
        }
    }

    fn attach(&self, trigger: Trigger, builder: &mut Builder) {
        let base = trigger.function.split(':').next().unwrap_or_default();
        let declared = builder.reading.functions.iter_mut().find(|declared| declared.name.as_str() == base);
        // One that could not be declared has been reported.
        if let Some(declared) = declared {
            declared.attached.triggers.push(trigger);
        }
    }

    /// A trigger that is written at this line.
    fn trigger(&self, name: &str, function: String, kind: Kind, line: usize, builder: &Builder) -> Trigger {
        Trigger { name: name.to_owned(), function, enabled: true, kind, source: builder.source(line) }
    }

    fn mapping(&self, builder: &mut Builder) {
        let (before, properties) = (errors(builder), self.properties());
        report(self.resource(), &MAPPING, builder);
        let Some(source) = properties.text("EventSourceArn", builder) else {
            let text = "it has no `EventSourceArn`: only SQS, Kinesis and DynamoDB streams are polled here";
            return self.whole(Ignored, text, builder);
        };
        match arn::kind(source) {
            None | Some(Of::Topic) => {
                let of_other = source.split(':').nth(2).filter(|service| Of::service(service).is_none());
                match of_other {
                    Some(service) if source.starts_with("arn:") => {
                        let text = format!(
                            "{service} is not polled here: only SQS, Kinesis and DynamoDB streams are"
                        );
                        self.whole(Ignored, &text, builder);
                    }
                    _ => {
                        let text = format!(
                            "`EventSourceArn` must be the ARN of a queue or stream, not `{source}`\nhint: refer to it, \
                             such as `!GetAtt MyQueue.Arn` or `!GetAtt MyTable.StreamArn`"
                        );
                        properties.error("EventSourceArn", text, builder);
                        self.refused(builder);
                    }
                }
            }
            Some(_) => {
                let function = self.function(&properties, "FunctionName", builder);
                let said = mapping::read(&properties, source, self.context, builder);
                match (function, said) {
                    (Some(function), Some(Said { enabled, kind, .. })) if errors(builder) == before => {
                        self.whole(Supported, "", builder);
                        let (id, line) = (&self.resource().logical_id, self.resource().line);
                        let trigger = self.trigger(id, function, kind, line, builder);
                        self.attach(Trigger { enabled, ..trigger }, builder);
                    }
                    _ => self.refused(builder),
                }
            }
        }
    }

    fn rule(&self, builder: &mut Builder) {
        let (before, properties) = (errors(builder), self.properties());
        report(self.resource(), &RULE, builder);
        let enabled = enabled(&properties, builder);
        let bus = rule::bus(&properties, builder);
        let expression = properties.get("ScheduleExpression");
        let expression =
            expression.and_then(|_| schedule::expression(&properties, "ScheduleExpression", false, builder));
        let pattern = rule::pattern(&properties, "EventPattern", builder);
        if expression.is_some() && bus != "default" {
            let text = "`ScheduleExpression` is supported only on the default event bus";
            properties.error("ScheduleExpression", text, builder);
        }
        if properties.get("ScheduleExpression").is_none() && properties.get("EventPattern").is_none() {
            let text = format!(
                "`{}` has neither `EventPattern` nor `ScheduleExpression`",
                self.resource().logical_id
            );
            properties.error("", text, builder);
        }
        // Each with a name of its own: only the first one's is the rule's.
        let mut found: Vec<(usize, Trigger)> = Vec::new();
        for (index, target) in self.maps(&properties, "Targets", builder).into_iter().enumerate() {
            let Some((id, function, input)) = self.target(&target, builder) else { continue };
            let line = target.node.line;
            let mut kinds = Vec::new();
            if let Some(expression) = &expression {
                match as_event(&input) {
                    Ok(input) => kinds.push(Kind::Schedule(schedule::plain(expression.clone(), input))),
                    Err(reason) => target.error("", format!("`{}`: {reason}", target.at), builder),
                }
            }
            if let Some(pattern) = &pattern {
                let (bus, pattern, input) = (bus.clone(), pattern.clone(), input.clone());
                kinds.push(Kind::Rule(Rule { bus, pattern, input }));
            }
            for kind in kinds {
                let rule = self.resource().physical_id.clone();
                let name = match found.len() {
                    0 => rule,
                    _ if found.iter().any(|(of, _)| *of == index) => format!("{rule}/{id}/pattern"),
                    _ => format!("{rule}/{id}"),
                };
                let (function, source) = (function.clone(), builder.source(line));
                found.push((index, Trigger { name, function, enabled, kind, source }));
            }
        }
        if errors(builder) != before {
            return self.refused(builder);
        }
        match found.is_empty() {
            true => self.whole(Ignored, "none of its targets is a function of this template", builder),
            false => self.whole(Supported, "", builder),
        }
        for (_, trigger) in found {
            self.attach(trigger, builder);
        }
    }

    /// A target that is a function: its id, the function, and what it gets.
    fn target(&self, target: &Section<'_>, builder: &mut Builder) -> Option<(String, String, RuleInput)> {
        let id = target.text("Id", builder).unwrap_or("target").to_owned();
        let text = target.required("Arn", builder)?;
        let function = match reference::function(self.stack, text) {
            Ok(function) => function,
            Err(_) if !text.contains(":lambda:") || !text.contains(":function:") => {
                let told = format!("`{text}` is no function: nothing is sent to it here");
                target.finding("Arn", Ignored, &told, self.resource(), builder);
                return None;
            }
            Err(reason) => {
                target.error("Arn", format!("`{}` leads nowhere: {reason}", target.at), builder);
                return None;
            }
        };
        delivery(target, self.context, builder);
        Some((id, function, rule::input(target, builder)))
    }

    fn schedule(&self, builder: &mut Builder) {
        let (before, properties) = (errors(builder), self.properties());
        report(self.resource(), &SCHEDULE, builder);
        if properties.get("FlexibleTimeWindow").is_none() {
            let text = format!(
                "`{}` has no `FlexibleTimeWindow`, such as `Mode: \"OFF\"`",
                self.resource().logical_id
            );
            properties.error("", text, builder);
        }
        let Some(target) = properties.section("Target", builder) else {
            properties.error("", format!("`{}` has no `Target`", self.resource().logical_id), builder);
            return self.refused(builder);
        };
        delivery(&target, self.context, builder);
        let text = target.required("Arn", builder).unwrap_or_default();
        if text.starts_with("arn:") && !text.contains(":function:") {
            let told = format!("`{text}` is no function: nothing is sent to it here");
            return self.whole(Ignored, &told, builder);
        }
        let function = self.function(&target, "Arn", builder);
        let input = schedule::scheduler_input(&target, builder);
        let schedule = schedule::scheduler(&properties, input, builder);
        match (function, schedule) {
            (Some(function), Some((enabled, schedule))) if errors(builder) == before => {
                self.whole(Supported, "", builder);
                let name = properties.text("Name", builder).unwrap_or(&self.resource().logical_id);
                let line = self.resource().line;
                let trigger = self.trigger(name, function, Kind::Schedule(schedule), line, builder);
                self.attach(Trigger { enabled, ..trigger }, builder);
            }
            _ => self.refused(builder),
        }
    }

    fn subscription(&self, builder: &mut Builder) {
        let (before, properties) = (errors(builder), self.properties());
        report(self.resource(), &SUBSCRIPTION, builder);
        match properties.text("Protocol", builder) {
            Some("lambda") => {}
            Some(other) => {
                let text = format!("only functions are subscribed here, not `{other}`");
                return self.whole(Ignored, &text, builder);
            }
            None => {
                properties.required("Protocol", builder);
                return self.refused(builder);
            }
        }
        let topic_arn = arn::read(&properties, "TopicArn", Of::Topic, self.context.place, builder);
        topic::check(&properties, "TopicArn", topic_arn.as_deref(), builder);
        let function = self.function(&properties, "Endpoint", builder);
        let topic = topic::read(&properties, topic_arn.unwrap_or_default(), builder);
        match function {
            Some(function) if errors(builder) == before => {
                self.whole(Supported, "", builder);
                let (id, line) = (&self.resource().logical_id, self.resource().line);
                self.attach(self.trigger(id, function, Kind::Topic(topic), line, builder), builder);
            }
            _ => self.refused(builder),
        }
    }

    /// Subscriptions that stand in the topic itself.
    fn topic(&self, builder: &mut Builder) {
        let properties = self.properties();
        self.whole(Ignored, "topics are not made here; point AWS_ENDPOINT_URL_SNS at a local one", builder);
        for (index, subscription) in self.maps(&properties, "Subscription", builder).into_iter().enumerate() {
            if subscription.text("Protocol", builder) != Some("lambda") {
                continue;
            }
            let Some(function) = self.function(&subscription, "Endpoint", builder) else { continue };
            let topic_arn = self.resource().arn.clone();
            let kind = Kind::Topic(Topic { topic_arn, filter: None, filters_body: false });
            let name = format!("{}/{index}", self.resource().logical_id);
            let line = subscription.node.line;
            let text = "functions are subscribed where AWS_ENDPOINT_URL_SNS points";
            builder.finding(Supported, self.resource(), &subscription.at, line, text);
            self.attach(self.trigger(&name, function, kind, line, builder), builder);
        }
    }

    /// Notifications of functions.
    fn bucket(&self, builder: &mut Builder) {
        let properties = self.properties();
        let bucket = &self.resource().physical_id;
        let folder = format!("a folder stands for it: `buckets/{bucket}`; whatever else it says is ignored");
        let is_used = |trigger: &Trigger| matches!(&trigger.kind, Kind::Bucket(of) if of.bucket == *bucket);
        let by_event =
            builder.reading.functions.iter().any(|declared| declared.attached.triggers.iter().any(is_used));
        let mut used = by_event;
        if let Some(config) = properties.section("NotificationConfiguration", builder) {
            for key in ["EventBridgeConfiguration", "QueueConfigurations", "TopicConfigurations"] {
                let text = "only functions are told of what happens in a bucket";
                config.finding(key, Ignored, text, self.resource(), builder);
            }
            for (index, entry) in self.maps(&config, "LambdaConfigurations", builder).into_iter().enumerate()
            {
                used |= self.notification(index, &entry, builder);
            }
        }
        match used {
            true => self.whole(Different, &folder, builder),
            false => {
                let text = "buckets are not made here; point AWS_ENDPOINT_URL_S3 at a local one";
                self.whole(Ignored, text, builder);
            }
        }
    }

    fn notification(&self, index: usize, entry: &Section<'_>, builder: &mut Builder) -> bool {
        let before = errors(builder);
        entry.only(&["Event", "Filter", "Function"], builder);
        let events = bucket::events(entry, "Event", self.context, builder);
        let (prefix, suffix) = bucket::filter(entry, builder);
        let function = self.function(entry, "Function", builder);
        let line = entry.node.line;
        let Some(function) = function.filter(|_| errors(builder) == before) else {
            let text = "cannot be served; see the problems";
            builder.finding(Ignored, self.resource(), &entry.at, line, text);
            return false;
        };
        let bucket = self.resource().physical_id.clone();
        builder.finding(Supported, self.resource(), &entry.at, line, &events.join(", "));
        let name = format!("{}/{index}", self.resource().logical_id);
        let kind = Kind::Bucket(Bucket { bucket, events, prefix, suffix });
        self.attach(self.trigger(&name, function, kind, line, builder), builder);
        true
    }

    /// The maps of a list.
    fn maps<'s>(&self, section: &Section<'s>, key: &str, builder: &mut Builder) -> Vec<Section<'s>> {
        let Some(node) = section.get(key) else { return Vec::new() };
        let items = node.items().unwrap_or(std::slice::from_ref(node));
        let sections = items.iter().enumerate();
        let sections = sections.map(|(index, item)| section.below(&format!("{key}[{index}]"), item));
        sections.filter(|section| section.is_map(builder)).collect()
    }
}

/// A schedule's event has one form, which only a constant can take the place of.
fn as_event(input: &RuleInput) -> Result<Option<String>, String> {
    match input {
        RuleInput::Event => Ok(None),
        RuleInput::Constant(text) => Ok(Some(text.clone())),
        RuleInput::Path(_) | RuleInput::Transformer { .. } => {
            Err("`InputPath` and `InputTransformer` are not followed for schedules\nhint: give `Input`"
                .to_owned())
        }
    }
}

/// `AWS::Lambda::EventInvokeConfig`: what becomes of asynchronous events of a function.
pub fn event_invoke(resource: &Resource, stack: &Stack, builder: &mut Builder) {
    let (before, properties) = (errors(builder), Section::properties(resource));
    let rows: [Row; 5] = [
        ("DestinationConfig", Supported, ""),
        ("FunctionName", Supported, ""),
        ("MaximumEventAgeInSeconds", Supported, ""),
        ("MaximumRetryAttempts", Supported, ""),
        ("Qualifier", Supported, ""),
    ];
    report(resource, &rows, builder);
    let reader = Reader { stack, context: Context { resource, place: Place::of(stack) } };
    let function = reader.function(&properties, "FunctionName", builder);
    let qualifier = properties.required("Qualifier", builder).map(str::to_owned);
    let of_sam = |(key, _): &&(Node, Node)| !matches!(key.text(), Some("FunctionName" | "Qualifier"));
    let entries = resource.properties.mapping().unwrap_or_default().iter().filter(of_sam).cloned().collect();
    let node = Node { line: resource.line, tag: None, value: Value::Mapping(entries) };
    let mut problems: Vec<Problem> = Vec::new();
    let path = builder.path.clone();
    let mut read = properties::Reader::new(&path, &mut problems, Configuration::default());
    read.property("EventInvokeConfig", &node);
    let asynchronous = read.attached.asynchronous;
    let failed = problems.iter().any(|problem| problem.severity == Severity::Error);
    builder.reading.problems.extend(problems);
    let (Some(function), Some(qualifier)) = (function, qualifier) else { return reader.refused(builder) };
    if failed || errors(builder) != before {
        return reader.refused(builder);
    }
    let base = function.split(':').next().unwrap_or_default();
    let declared = builder.reading.functions.iter_mut().find(|declared| declared.name.as_str() == base);
    let Some(declared) = declared else { return };
    declared.attached.asynchronous = asynchronous;
    match qualifier.as_str() {
        "$LATEST" => reader.whole(Supported, "", builder),
        qualifier => {
            let text = format!("it counts for the function as a whole, not only for `{qualifier}`");
            reader.whole(Different, &text, builder);
        }
    }
}

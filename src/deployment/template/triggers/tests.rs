//! What events and resources come to.

use std::time::Duration;

use super::super::super::yaml;
use super::super::fixture::{self, findings, problems};
use super::super::{Builder, Resource, sam};
use super::Place;
use crate::trigger::{Kind, Mapping, RuleInput, StartingPosition, Trigger};

const ACCOUNT: &str = "arn:aws:sqs:eu-west-1:123456789012";

/// Of one function, from `function.yaml`: `Name: {Type, Properties}` a line.
fn events(events: &str) -> (Vec<Trigger>, Builder) {
    let indented: String = events.lines().map(|line| format!("  {line}\n")).collect();
    let properties = yaml::parse(&format!("Events:\n{indented}")).unwrap().unwrap();
    let resource = Resource {
        logical_id: "Fn".into(),
        kind: "AWS::Serverless::Function".into(),
        line: 1,
        properties,
        physical_id: "fn".into(),
        arn: String::new(),
    };
    let mut builder = Builder { path: "/project/handlers/fn/function.yaml".into(), ..Builder::default() };
    let place = Place { account: "123456789012", region: "eu-west-1", stack: None };
    let (routes, triggers) = sam::read_events(&resource, "fn", place, &mut builder);
    assert!(routes.is_empty());
    (triggers, builder)
}

/// The one trigger of an event that is as it should be.
fn one(text: &str) -> Trigger {
    let (triggers, builder) = events(text);
    assert_eq!(problems(&builder), Vec::<String>::new(), "{text}");
    let [trigger] = &triggers[..] else { panic!("{text}: {triggers:?}") };
    trigger.clone()
}

fn mapping(text: &str) -> Mapping {
    match one(text).kind {
        Kind::Mapping(mapping) => *mapping,
        other => panic!("{other:?}"),
    }
}

#[test]
fn schedules_of_rules() {
    let trigger = one(
        "Hourly: {Type: Schedule, Properties: {Schedule: rate(1 hour), Input: '{\"a\": 1}', Enabled: false}}",
    );
    assert_eq!((trigger.name.as_str(), trigger.function.as_str()), ("FnHourly", "fn"));
    assert_eq!((trigger.enabled, trigger.source.line), (false, Some(2)));
    let Kind::Schedule(schedule) = trigger.kind else { panic!() };
    assert_eq!(schedule.expression.text, "rate(1 hour)");
    assert_eq!(schedule.input.as_deref(), Some("{\"a\": 1}"));
    assert!(!schedule.scheduler && schedule.group == "default" && schedule.time_zone.is_none());
    let named = one("X: {Type: Schedule, Properties: {Schedule: rate(1 hour), Name: mine, State: ENABLED}}");
    assert_eq!((named.name.as_str(), named.enabled), ("mine", true));
}

#[test]
fn schedules_of_the_scheduler() {
    let trigger = one("Late:
  Type: ScheduleV2
  Properties:
    ScheduleExpression: at(2030-12-31T23:59:59)
    ScheduleExpressionTimezone: Europe/Berlin
    FlexibleTimeWindow: {Mode: FLEXIBLE, MaximumWindowInMinutes: 15}
    StartDate: 2026-01-01T00:00:00Z
    EndDate: 2031-01-01T00:00:00
    GroupName: mine
    Input: '{\"at\": \"<aws.scheduler.scheduled-time>\"}'
    State: DISABLED
    RetryPolicy: {MaximumRetryAttempts: 3}");
    let Kind::Schedule(schedule) = trigger.kind else { panic!() };
    assert!(schedule.scheduler && !trigger.enabled);
    assert_eq!(schedule.time_zone.as_deref(), Some("Europe/Berlin"));
    assert_eq!(schedule.group, "mine");
    assert_eq!(schedule.flexible_window, Some(Duration::from_secs(900)));
    assert_eq!(schedule.start.unwrap().to_string(), "2026-01-01T00:00:00Z");
    assert_eq!(schedule.end.unwrap().to_string(), "2031-01-01T00:00:00Z");
}

#[test]
fn rules() {
    let trigger = one("Ordered:
  Type: EventBridgeRule
  Properties:
    EventBusName: arn:aws:events:eu-west-1:123456789012:event-bus/shop
    Pattern: {source: [shop], detail: {count: [1], open: [true], name: ['1']}}
    InputTransformer: {InputPathsMap: {id: $.detail.id}, InputTemplate: '{\"id\": <id>}'}");
    let Kind::Rule(rule) = trigger.kind else { panic!() };
    assert_eq!(rule.bus, "shop");
    let expected = r#"{"source":["shop"],"detail":{"count":[1],"open":[true],"name":["1"]}}"#;
    let parsed = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(parsed(&rule.pattern.text), parsed(expected));
    let paths = vec![("id".to_owned(), "$.detail.id".to_owned())];
    assert_eq!(rule.input, RuleInput::Transformer { paths, template: "{\"id\": <id>}".into() });
    let of = |more: &str| match one(&format!(
        "A: {{Type: CloudWatchEvent, Properties: {{Pattern: {{source: [a]}}, {more}}}}}"
    ))
    .kind
    {
        Kind::Rule(rule) => rule.input,
        other => panic!("{other:?}"),
    };
    assert_eq!(of("InputPath: $.detail"), RuleInput::Path("$.detail".into()));
    assert_eq!(of("Input: '[1]'"), RuleInput::Constant("[1]".into()));
    assert_eq!(of("State: ENABLED"), RuleInput::Event);
}

#[test]
fn queues_by_name_and_arn() {
    let read = mapping("Work: {Type: SQS, Properties: {Queue: jobs}}");
    assert_eq!(read.source_arn, format!("{ACCOUNT}:jobs"));
    assert_eq!((read.batch_size, read.batching_window), (10, Duration::ZERO));
    let read = mapping(
        "Work:
  Type: SQS
  Properties:
    Queue: arn:aws:sqs:us-east-1:1:jobs
    BatchSize: 10000
    MaximumBatchingWindowInSeconds: 300
    FunctionResponseTypes: [ReportBatchItemFailures]
    FilterCriteria: {Filters: [{Pattern: '{\"body\": {\"a\": [1]}}'}]}
    ScalingConfig: {MaximumConcurrency: 2}",
    );
    assert_eq!((read.batch_size, read.batching_window.as_secs()), (10_000, 300));
    assert!(read.reports_item_failures && read.filters.len() == 1 && read.maximum_concurrency == Some(2));
}

#[test]
fn streams() {
    let read = mapping(
        "Feed:
  Type: Kinesis
  Properties:
    Stream: clicks
    StartingPosition: AT_TIMESTAMP
    StartingPositionTimestamp: 1767225600.5
    ParallelizationFactor: 10
    MaximumRecordAgeInSeconds: 60
    MaximumRetryAttempts: 0
    BisectBatchOnFunctionError: true
    TumblingWindowInSeconds: 30
    DestinationConfig: {OnFailure: {Type: SQS, Destination: 'arn:aws:sqs:eu-west-1:123456789012:dead'}}",
    );
    assert_eq!(read.source_arn, "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks");
    assert_eq!(read.batch_size, 100);
    let stream = read.stream;
    let StartingPosition::AtTimestamp(time) = stream.starting_position else { panic!() };
    assert_eq!(time.as_millisecond(), 1_767_225_600_500);
    assert_eq!((stream.parallelization_factor, stream.maximum_retries), (10, Some(0)));
    assert_eq!(stream.maximum_record_age, Some(Duration::from_secs(60)));
    assert_eq!(stream.tumbling_window, Some(Duration::from_secs(30)));
    assert!(stream.bisects && stream.on_failure.is_some());
    let read = mapping(
        "Feed: {Type: DynamoDB, Properties: {Stream: Orders.v1, StartingPosition: LATEST, MaximumRetryAttempts: -1, \
         MaximumRecordAgeInSeconds: -1}}",
    );
    assert!(read.source_arn.starts_with("arn:aws:dynamodb:eu-west-1:123456789012:table/Orders.v1/stream/"));
    assert_eq!((read.stream.maximum_retries, read.stream.maximum_record_age), (None, None));
    assert_eq!(read.stream.starting_position, StartingPosition::Latest);
}

#[test]
fn buckets_and_topics() {
    let Kind::Bucket(bucket) = one("Put:
  Type: S3
  Properties:
    Bucket: pictures
    Events: s3:ObjectCreated:*
    Filter: {S3Key: {Rules: [{Name: prefix, Value: in/}, {Name: Suffix, Value: .png}]}}")
    .kind
    else {
        panic!()
    };
    assert_eq!(
        (bucket.bucket.as_str(), bucket.events.as_slice()),
        ("pictures", ["s3:ObjectCreated:*".into()].as_slice())
    );
    assert_eq!((bucket.prefix.as_deref(), bucket.suffix.as_deref()), (Some("in/"), Some(".png")));
    let Kind::Topic(topic) = one("News: {Type: SNS, Properties: {Topic: news, FilterPolicy: {kind: [a]}, \
         FilterPolicyScope: MessageBody}}")
    .kind
    else {
        panic!()
    };
    assert_eq!(topic.topic_arn, "arn:aws:sns:eu-west-1:123456789012:news");
    assert!(topic.filters_body && topic.filter.is_some());
    let read = mapping("News: {Type: SNS, Properties: {Topic: news, SqsSubscription: true}}");
    assert_eq!(read.source_arn, format!("{ACCOUNT}:FnNewsQueue"));
    let read = mapping(
        "News: {Type: SNS, Properties: {Topic: news, SqsSubscription: {QueueArn: 'arn:aws:sqs:eu-west-1:1:q', BatchSize: 5}}}",
    );
    assert_eq!((read.source_arn.as_str(), read.batch_size), ("arn:aws:sqs:eu-west-1:1:q", 5));
}

#[test]
fn what_aws_refuses_is_refused_by_line() {
    for (event, expected) in [
        ("Schedule, Properties: {}", "`Events.X.Properties` has no `Schedule`"),
        ("Schedule, Properties: {Schedule: at(2030-01-01T00:00:00)}", "a rule has no single time"),
        ("Schedule, Properties: {Schedule: rate(1 hour), Input: hello}", "must be JSON"),
        ("Schedule, Properties: {Schedule: rate(1 hour), Enabled: true, State: ENABLED}", "has both"),
        (
            "Schedule, Properties: {Schedule: rate(1 hour), RetryPolicy: {MaximumRetryAttempts: 186}}",
            "from 0 to 185",
        ),
        (
            "ScheduleV2, Properties: {ScheduleExpression: rate(1 hour), ScheduleExpressionTimezone: Mars/Base}",
            "no time zone",
        ),
        (
            "ScheduleV2, Properties: {ScheduleExpression: rate(1 hour), StartDate: soon}",
            "must be a time such as",
        ),
        (
            "ScheduleV2, Properties: {ScheduleExpression: rate(1 hour), StartDate: 2030-01-02T00:00:00Z, EndDate: 2030-01-01T00:00:00Z}",
            "must be later than",
        ),
        (
            "ScheduleV2, Properties: {ScheduleExpression: rate(1 hour), FlexibleTimeWindow: {Mode: FLEXIBLE}}",
            "needs `MaximumWindowInMinutes`",
        ),
        ("EventBridgeRule, Properties: {}", "has no `Pattern`"),
        ("EventBridgeRule, Properties: {Pattern: '[1]'}", "is a JSON object"),
        ("EventBridgeRule, Properties: {Pattern: {source: [a]}, Input: '1', InputPath: $.a}", "only one of"),
        ("EventBridgeRule, Properties: {Pattern: {source: [a]}, InputPath: detail}", "must be a JSON path"),
        (
            "EventBridgeRule, Properties: {Pattern: {source: [a]}, InputTransformer: {}}",
            "has no `InputTemplate`",
        ),
        ("SQS, Properties: {}", "has no `Queue`"),
        (
            "SQS, Properties: {Queue: 'https://sqs.eu-west-1.amazonaws.com/1/q'}",
            "must be the ARN of an SQS queue",
        ),
        ("SQS, Properties: {Queue: 'arn:aws:sns:eu-west-1:1:q'}", "must be the ARN of an SQS queue"),
        ("SQS, Properties: {Queue: q, BatchSize: 11}", "need `MaximumBatchingWindowInSeconds`"),
        ("SQS, Properties: {Queue: q, BatchSize: 10001}", "from 1 to 10000"),
        ("SQS, Properties: {Queue: q.fifo, BatchSize: 11}", "from 1 to 10"),
        (
            "SQS, Properties: {Queue: q.fifo, MaximumBatchingWindowInSeconds: 1}",
            "cannot be given for a FIFO queue",
        ),
        ("SQS, Properties: {Queue: q, MaximumBatchingWindowInSeconds: 301}", "from 0 to 300"),
        ("SQS, Properties: {Queue: q, ScalingConfig: {MaximumConcurrency: 1}}", "from 2 to 1000"),
        ("SQS, Properties: {Queue: q, StartingPosition: LATEST}", "cannot be given for a queue"),
        (
            "SQS, Properties: {Queue: q, FunctionResponseTypes: [All]}",
            "can only hold `ReportBatchItemFailures`",
        ),
        (
            "SQS, Properties: {Queue: q, FilterCriteria: {Filters: [{Pattern: {a: [1]}}]}}",
            "must be JSON in a text",
        ),
        ("SQS, Properties: {Queue: q, FilterCriteria: {Filters: [{Pattern: '{'}]}}", "is a JSON object"),
        ("SQS, Properties: {Queue: q, FilterCriteria: {Filters: [{}, {}, {}, {}, {}, {}]}}", "has 6 filters"),
        ("Kinesis, Properties: {Stream: s}", "has no `StartingPosition`"),
        ("Kinesis, Properties: {Stream: s, StartingPosition: AT_TIMESTAMP}", "in seconds since 1970"),
        (
            "Kinesis, Properties: {Stream: s, StartingPosition: LATEST, ScalingConfig: {}}",
            "cannot be given for a stream",
        ),
        (
            "Kinesis, Properties: {Stream: s, StartingPosition: LATEST, ParallelizationFactor: 11}",
            "from 1 to 10",
        ),
        (
            "Kinesis, Properties: {Stream: s, StartingPosition: LATEST, MaximumRecordAgeInSeconds: 59}",
            "must be -1, or 60 to 604800",
        ),
        (
            "DynamoDB, Properties: {Stream: t, StartingPosition: AT_TIMESTAMP, StartingPositionTimestamp: 1}",
            "`TRIM_HORIZON` or `LATEST`",
        ),
        (
            "DynamoDB, Properties: {Stream: t, StartingPosition: LATEST, TumblingWindowInSeconds: 901}",
            "from 0 to 900",
        ),
        ("S3, Properties: {Bucket: ../x, Events: s3:ObjectCreated:*}", "cannot be the name of a bucket"),
        ("S3, Properties: {Bucket: pictures}", "has no `Events`"),
        (
            "S3, Properties: {Bucket: pictures, Events: s3:ObjectCreate:*}",
            "did you mean `s3:ObjectCreated:*`?",
        ),
        (
            "S3, Properties: {Bucket: pictures, Events: s3:ObjectCreated:*, Filter: {S3Key: {Rules: [{Name: infix, Value: a}]}}}",
            "`prefix` or `suffix`",
        ),
        ("SNS, Properties: {Topic: a b}", "must be the ARN of an SNS topic"),
        ("SNS, Properties: {Topic: t.fifo}", "cannot subscribe to a FIFO topic"),
        ("SNS, Properties: {Topic: t, FilterPolicyScope: Body}", "`MessageAttributes` or `MessageBody`"),
        ("Scheduled, Properties: {}", "did you mean `Schedule`?"),
    ] {
        let (triggers, builder) =
            events(&format!("Fine: {{Type: SQS, Properties: {{Queue: q}}}}\nX: {{Type: {event}}}"));
        assert_eq!(triggers.len(), 1, "{event}: {triggers:?}");
        let found = problems(&builder);
        assert!(
            found.iter().any(|problem| problem.starts_with("3 ") && problem.contains(expected)),
            "{event}: {found:#?}"
        );
    }
}

#[test]
fn what_is_not_known_is_told_and_what_is_not_served_too() {
    let (triggers, builder) = events(
        "A: {Type: SQS, Properties: {Queue: q, BatchSise: 5}}\nB: {Type: MSK}\nC: {Type: S3, Properties: {Bucket: abc, Events: [s3:ObjectAcl:Put]}}",
    );
    assert_eq!(triggers.len(), 2);
    let found = problems(&builder);
    assert!(found[0].contains("did you mean `BatchSize`?"), "{found:?}");
    let found = findings(&builder);
    assert!(
        found.iter().any(|line| line.starts_with("3 Ignored Events.B MSK: not served yet")),
        "{found:#?}"
    );
    assert!(found.iter().any(|line| line.contains("never happens in a folder")), "{found:#?}");
}

const FUNCTIONS: &str = "
F: {Type: 'AWS::Lambda::Function', Properties: {Handler: a.b, Code: {ZipFile: x}}}
G: {Type: 'AWS::Lambda::Function', Properties: {Handler: a.b, Code: {ZipFile: y}}}
";

/// `NAME KIND SOURCE -> FUNCTION` of plain CloudFormation.
fn resources(text: &str) -> (Vec<String>, Builder) {
    let builder = fixture::read(&format!("{FUNCTIONS}{text}"));
    let triggers = builder.reading.functions.iter().flat_map(|function| &function.attached.triggers);
    (triggers.map(|trigger| trigger.row().join(" ")).collect(), builder)
}

#[test]
fn resources_lead_to_functions() {
    let (rows, builder) = resources(
        "Feed: {Type: 'AWS::Lambda::EventSourceMapping', Properties: {FunctionName: '${F}', EventSourceArn: 'arn:aws:sqs:us-east-1:1:q', BatchSize: 5}}
Nightly: {Type: 'AWS::Events::Rule', Properties: {ScheduleExpression: rate(1 day), State: DISABLED, Targets: [{Arn: '${F.Arn}', Id: one}, {Arn: '${G.Arn}', Id: two}, {Arn: 'arn:aws:sqs:us-east-1:1:q', Id: three}]}}
Ordered: {Type: 'AWS::Events::Rule', Properties: {EventPattern: {source: [shop]}, EventBusName: shop, Targets: [{Arn: '${G.Arn}', Id: one, InputPath: $.detail}]}}
Once: {Type: 'AWS::Scheduler::Schedule', Properties: {ScheduleExpression: at(2030-01-01T00:00:00), FlexibleTimeWindow: {Mode: 'OFF'}, Target: {Arn: '${F.Arn}', RoleArn: r, Input: '{}'}}}
News: {Type: 'AWS::SNS::Subscription', Properties: {Protocol: lambda, Endpoint: '${F.Arn}', TopicArn: 'arn:aws:sns:us-east-1:1:news', FilterPolicy: {a: [b]}}}
Mail: {Type: 'AWS::SNS::Subscription', Properties: {Protocol: email, Endpoint: a@b.c, TopicArn: 'arn:aws:sns:us-east-1:1:news'}}
Pictures: {Type: 'AWS::S3::Bucket', Properties: {NotificationConfiguration: {LambdaConfigurations: [{Event: s3:ObjectRemoved:*, Function: '${G.Arn}', Filter: {S3Key: {Rules: [{Name: suffix, Value: .png}]}}}]}}}
Kafka: {Type: 'AWS::Lambda::EventSourceMapping', Properties: {FunctionName: '${F}', EventSourceArn: 'arn:aws:kafka:us-east-1:1:cluster/x/y', Topics: [a]}}
",
    );
    assert_eq!(problems(&builder), Vec::<String>::new());
    assert_eq!(
        rows,
        [
            "Feed queue arn:aws:sqs:us-east-1:1:q F",
            "Nightly schedule (off) rate(1 day) F",
            "Once schedule at(2030-01-01T00:00:00) F",
            "News topic arn:aws:sns:us-east-1:1:news F",
            "Nightly/two schedule (off) rate(1 day) G",
            "Ordered rule shop {\"source\":[\"shop\"]} G",
            "Pictures/0 bucket Pictures s3:ObjectRemoved:* G",
        ]
    );
    let found = findings(&builder);
    for expected in [
        "`arn:aws:sqs:us-east-1:1:q` is no function: nothing is sent to it here",
        "only functions are subscribed here, not `email`",
        "kafka is not polled here",
        "a folder stands for it: `buckets/Pictures`",
    ] {
        assert!(found.iter().any(|line| line.contains(expected)), "{expected}: {found:#?}");
    }
}

#[test]
fn resources_that_aws_refuses() {
    for (resource, expected) in [
        (
            "{Type: 'AWS::Lambda::EventSourceMapping', Properties: {FunctionName: gone, EventSourceArn: 'arn:aws:sqs:us-east-1:1:q'}}",
            "leads nowhere: `gone`",
        ),
        (
            "{Type: 'AWS::Lambda::EventSourceMapping', Properties: {FunctionName: '${F}', EventSourceArn: q}}",
            "must be the ARN of a queue or stream",
        ),
        (
            "{Type: 'AWS::Lambda::EventSourceMapping', Properties: {FunctionName: '${F}', EventSourceArn: 'arn:aws:kinesis:us-east-1:1:stream/s'}}",
            "has no `StartingPosition`",
        ),
        (
            "{Type: 'AWS::Events::Rule', Properties: {Targets: []}}",
            "neither `EventPattern` nor `ScheduleExpression`",
        ),
        (
            "{Type: 'AWS::Events::Rule', Properties: {ScheduleExpression: rate(1 day), EventBusName: shop, Targets: [{Arn: '${F.Arn}', Id: a}]}}",
            "only on the default event bus",
        ),
        (
            "{Type: 'AWS::Events::Rule', Properties: {ScheduleExpression: rate(1 day), Targets: [{Arn: '${F.Arn}', Id: a, InputPath: $.a}]}}",
            "are not followed for schedules",
        ),
        (
            "{Type: 'AWS::Scheduler::Schedule', Properties: {ScheduleExpression: rate(1 day), Target: {Arn: '${F.Arn}'}}}",
            "has no `FlexibleTimeWindow`",
        ),
        (
            "{Type: 'AWS::Scheduler::Schedule', Properties: {ScheduleExpression: rate(1 day), FlexibleTimeWindow: {Mode: 'OFF'}}}",
            "has no `Target`",
        ),
        (
            "{Type: 'AWS::SNS::Subscription', Properties: {Protocol: lambda, Endpoint: '${F.Arn}', TopicArn: x}}",
            "must be the ARN of an SNS topic",
        ),
    ] {
        let (rows, builder) = resources(&format!("X: {resource}\n"));
        assert_eq!(rows, Vec::<String>::new(), "{resource}");
        let found = problems(&builder);
        assert!(
            found.iter().any(|problem| problem.starts_with("4 ") && problem.contains(expected)),
            "{resource}: {found:#?}"
        );
    }
}

#[test]
fn what_becomes_of_asynchronous_events_can_be_said_beside_a_function() {
    let builder = fixture::read(&format!(
        "{FUNCTIONS}C: {{Type: 'AWS::Lambda::EventInvokeConfig', Properties: {{FunctionName: '${{F}}', Qualifier: $LATEST, MaximumRetryAttempts: 0, DestinationConfig: {{OnFailure: {{Destination: '${{G.Arn}}'}}}}}}}}
"
    ));
    assert_eq!(problems(&builder), Vec::<String>::new());
    let asynchronous = &builder.reading.functions[0].attached.asynchronous;
    assert_eq!(asynchronous.maximum_retries, Some(0));
    assert!(asynchronous.on_failure.as_ref().unwrap().to_string().ends_with(":function:G"));
}

//! Subscriptions of SNS topics.

use super::super::section::Section;
use super::super::{Builder, Status};
use super::arn::{self, Of};
use super::{Context, Said, mapping};
use crate::trigger::{Kind, Topic};

/// SAM's `SNS`. `id`: what SAM calls it.
pub fn of_event(
    id: &str,
    section: &Section<'_>,
    context: Context<'_>,
    builder: &mut Builder,
) -> Option<Said> {
    let known = [
        "FilterPolicy",
        "FilterPolicyScope",
        "RedrivePolicy",
        "Region",
        "RoleArn",
        "SqsSubscription",
        "Topic",
    ];
    section.only(&known, builder);
    let topic = arn::read(section, "Topic", Of::Topic, context.place, builder);
    notes(section, context, builder);
    let policy = read(section, topic.clone().unwrap_or_default(), builder);
    let between = section.get("SqsSubscription").filter(|node| node.boolean() != Some(false));
    let Some(node) = between else {
        check(section, "Topic", topic.as_deref(), builder);
        return Some(Said {
            name: None,
            enabled: true,
            kind: Kind::Topic(Topic { topic_arn: topic?, ..policy }),
        });
    };
    // The function is fed by a queue, and the queue by the topic.
    let topic = topic?;
    let queue = section.below("SqsSubscription", node);
    let arn = if node.boolean() == Some(true) {
        let place = context.place;
        format!("arn:aws:sqs:{}:{}:{id}Queue", place.region, place.account)
    } else {
        if !queue.is_map(builder) {
            return None;
        }
        queue.only(&["BatchSize", "Enabled", "QueueArn", "QueuePolicyLogicalId", "QueueUrl"], builder);
        arn::read(&queue, "QueueArn", Of::Queue, context.place, builder)?
    };
    let text = format!(
        "the function is fed by the queue `{arn}`; neither it nor its subscription to `{topic}` is made here: make both \
         where AWS_ENDPOINT_URL_SQS and AWS_ENDPOINT_URL_SNS point"
    );
    section.finding("SqsSubscription", Status::Different, &text, context.resource, builder);
    for key in ["FilterPolicy", "FilterPolicyScope"] {
        let text = "belongs to the subscription of the queue, which is not made here";
        section.finding(key, Status::Ignored, text, context.resource, builder);
    }
    mapping::read(&queue, &arn, context, builder)
}

/// What is said of a subscription by the same names everywhere.
pub fn read(section: &Section<'_>, topic_arn: String, builder: &mut Builder) -> Topic {
    let scope = section.word("FilterPolicyScope", &["MessageAttributes", "MessageBody"], builder);
    let filter = super::rule::pattern(section, "FilterPolicy", builder);
    Topic { topic_arn, filter, filters_body: scope == Some("MessageBody") }
}

/// A function can subscribe to a standard topic only.
pub fn check(section: &Section<'_>, key: &str, topic: Option<&str>, builder: &mut Builder) {
    if topic.is_some_and(|topic| topic.ends_with(".fifo")) {
        let text = format!(
            "`{}`: a function cannot subscribe to a FIFO topic\nhint: a FIFO queue can, and the function reads the queue",
            section.name(key)
        );
        section.error(key, text, builder);
    }
}

pub fn notes(section: &Section<'_>, context: Context<'_>, builder: &mut Builder) {
    for (key, text) in [
        ("RedrivePolicy", "what is delivered is kept until the function has had it"),
        ("Region", "the region is that of the topic's ARN"),
        ("RoleArn", "functions run as you: there are no roles here"),
        ("SubscriptionRoleArn", "functions run as you: there are no roles here"),
        ("DeliveryPolicy", "what is delivered is kept until the function has had it"),
        ("ReplayPolicy", "messages of the past are not delivered again"),
        ("RawMessageDelivery", "functions get messages as SNS sends them"),
    ] {
        section.finding(key, Status::Ignored, text, context.resource, builder);
    }
}

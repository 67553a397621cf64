//! Triggers in words, for tables and reports.

use super::{Kind, Trigger};

impl Kind {
    /// What it is.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Schedule(_) => "schedule",
            Self::Rule(_) => "rule",
            Self::Mapping(mapping) => match mapping.source_arn.split(':').nth(2) {
                Some("sqs") => "queue",
                Some("kinesis") => "stream",
                _ => "table",
            },
            Self::Bucket(_) => "bucket",
            Self::Topic(_) => "topic",
        }
    }

    /// Where its events come from.
    pub fn source(&self) -> String {
        match self {
            Self::Schedule(schedule) => match &schedule.time_zone {
                Some(zone) => format!("{} {zone}", schedule.expression.text),
                None => schedule.expression.text.clone(),
            },
            Self::Rule(rule) => format!("{} {}", rule.bus, rule.pattern.text),
            Self::Mapping(mapping) => mapping.source_arn.clone(),
            Self::Bucket(bucket) => format!("{} {}", bucket.bucket, bucket.events.join(" ")),
            Self::Topic(topic) => topic.topic_arn.clone(),
        }
    }
}

impl Trigger {
    /// A row of a table: name, kind, source, function.
    pub fn row(&self) -> Vec<String> {
        let kind =
            if self.enabled { self.kind.name().to_owned() } else { format!("{} (off)", self.kind.name()) };
        vec![self.name.clone(), kind, self.kind.source(), self.function.clone()]
    }
}

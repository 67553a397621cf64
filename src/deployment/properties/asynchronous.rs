//! What becomes of events that nobody waits for: `EventInvokeConfig` and the dead-letter queue.

use std::time::Duration;

use super::Reader;
use crate::deployment::yaml::Node;
use crate::destination::Destination;

impl Reader<'_> {
    /// `typed`: SAM wants to be told what it is.
    pub(super) fn dead_letter(&mut self, name: &str, value: &Node, typed: bool) {
        let known: &[&str] = if typed { &["Type", "TargetArn"] } else { &["TargetArn"] };
        if !self.is_map_of(name, value, known) {
            return;
        }
        let Some(target) = value.get("TargetArn").filter(|target| !target.is_null()) else {
            return self.error(Some(value.line), format!("`{name}` has no `TargetArn`"));
        };
        let is_standard = |target: &&str| {
            let parsed = Destination::parse(target);
            matches!(parsed, Ok(Destination::Queue { .. } | Destination::Topic { .. }))
                && !target.ends_with(".fifo")
        };
        let Some(arn) = target.text().filter(is_standard) else {
            let expected = "the ARN of an SQS queue or SNS topic that is not FIFO";
            self.expected(&format!("{name}.TargetArn"), target, expected);
            return self.hint("events that failed can go elsewhere too: `EventInvokeConfig`, `OnFailure`");
        };
        if typed {
            let service = if arn.contains(":sqs:") { "SQS" } else { "SNS" };
            match value.get("Type") {
                Some(kind) if kind.text() == Some(service) => {}
                Some(kind) => {
                    self.expected(&format!("{name}.Type"), kind, &format!("`{service}`, as `{arn}` is"));
                }
                None => self.error(Some(value.line), format!("`{name}` has no `Type`: `SQS` or `SNS`")),
            }
        }
        self.configuration.dead_letter = Some(arn.to_owned());
    }

    /// `EventInvokeConfig`, by the names that SAM and CloudFormation share.
    pub(super) fn asynchronous(&mut self, value: &Node) {
        let name = "EventInvokeConfig";
        let known = ["DestinationConfig", "MaximumEventAgeInSeconds", "MaximumRetryAttempts"];
        if !self.is_map_of(name, value, &known) {
            return;
        }
        let get = |name: &str| value.get(name).filter(|value| !value.is_null());
        if let Some(age) = get("MaximumEventAgeInSeconds") {
            let (name, expected) = ("MaximumEventAgeInSeconds", "a whole number of seconds from 60 to 21600");
            let seconds = self.number(name, age, 60, 21_600, expected);
            self.attached.asynchronous.maximum_age = seconds.map(Duration::from_secs);
        }
        if let Some(retries) = get("MaximumRetryAttempts") {
            let retries = self.number("MaximumRetryAttempts", retries, 0, 2, "0, 1 or 2");
            self.attached.asynchronous.maximum_retries = retries.map(|retries| retries as u32);
        }
        let Some(destinations) = get("DestinationConfig") else { return };
        let name = format!("{name}.DestinationConfig");
        if !self.is_map_of(&name, destinations, &["OnFailure", "OnSuccess"]) {
            return;
        }
        let get = |name: &str| destinations.get(name).filter(|value| !value.is_null());
        if let Some(value) = get("OnSuccess") {
            self.attached.asynchronous.on_success = self.destination(&format!("{name}.OnSuccess"), value);
        }
        if let Some(value) = get("OnFailure") {
            self.attached.asynchronous.on_failure = self.destination(&format!("{name}.OnFailure"), value);
        }
    }

    /// SAM says beside it of what kind it is; CloudFormation does not, and ours need not.
    fn destination(&mut self, name: &str, value: &Node) -> Option<Destination> {
        if !self.is_map_of(name, value, &["Destination", "Type"]) {
            return None;
        }
        let kind = value.get("Type").filter(|kind| !kind.is_null());
        if kind.and_then(Node::text) == Some("S3Bucket") {
            let text = format!(
                "`{name}` is ignored: events that failed are not put into buckets
hint: `Destination` may also be the \
                 ARN of an SQS queue, an SNS topic, a function or an event bus, or `sqlite:FILE#TABLE`"
            );
            self.warning(value.line, text);
            return None;
        }
        let Some(target) = value.get("Destination").filter(|target| !target.is_null()) else {
            self.error(
                Some(value.line),
                format!("`{name}` has no `Destination`, such as the ARN of a queue"),
            );
            return None;
        };
        let Some(text) = target.text() else {
            self.expected(&format!("{name}.Destination"), target, "text");
            return None;
        };
        let destination = match Destination::parse(text) {
            Ok(destination) => destination,
            Err(reason) => {
                self.error(Some(target.line), format!("`{name}.Destination`: {reason}"));
                return None;
            }
        };
        if text.starts_with("arn:") && text.ends_with(".fifo") {
            let text = format!("`{name}.Destination`: `{text}` is FIFO, which Lambda does not deliver to");
            self.error(Some(target.line), text);
            return None;
        }
        let meant = match &destination {
            Destination::Queue { .. } => Some("SQS"),
            Destination::Topic { .. } => Some("SNS"),
            Destination::Function { .. } => Some("Lambda"),
            Destination::Bus { .. } => Some("EventBridge"),
            Destination::Url(_) | Destination::Table { .. } => None,
        };
        match (kind, meant) {
            (Some(kind), Some(meant)) if kind.text() != Some(meant) => {
                self.expected(&format!("{name}.Type"), kind, &format!("`{meant}`, as `{text}` is"));
                return None;
            }
            (Some(kind), None) => {
                let line = kind.line;
                let text = destination.shown();
                self.error(Some(line), format!("`{name}`: `{text}` has no `Type`\nhint: leave it out"));
                return None;
            }
            _ => {}
        }
        Some(destination)
    }
}

//! What an asynchronous invocation leaves behind: the record for a destination, the message for a
//! dead-letter queue, byte for byte as Lambda makes them.

use serde::{Deserialize, Serialize};

use super::recursion;
use crate::delivery::Message;
use crate::destination::Destination;
use crate::function::LATEST;
use crate::invocation::{Completed, Outcome};
use crate::store::{Added, Kind};

/// Of the error's text, so much is an attribute.
const ERROR_MESSAGE: usize = 1024;

/// Why it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    Success,
    RetriesExhausted,
    EventAgeExceeded,
    ZeroReservedConcurrency,
    /// AWS has no name for it in its documentation.
    RecursiveInvocation,
}

impl Condition {
    fn as_str(self) -> &'static str {
        match self {
            Self::Success => "Success",
            Self::RetriesExhausted => "RetriesExhausted",
            Self::EventAgeExceeded => "EventAgeExceeded",
            Self::ZeroReservedConcurrency => "ZeroReservedConcurrency",
            Self::RecursiveInvocation => "RecursiveInvocation",
        }
    }
}

/// An event, and how it ended.
pub struct Ended<'a> {
    pub event: &'a Added,
    pub condition: Condition,
    /// How often the function was invoked.
    pub attempts: u32,
    /// What came of the last attempt, if the function was reached.
    pub completed: Option<&'a Completed>,
    /// Why it was not, for people.
    pub reason: &'a str,
    /// `2026-11-22T19:00:00.000Z`
    pub timestamp: &'a str,
}

/// A message as it is kept until it is delivered.
#[derive(Serialize, Deserialize)]
struct Kept {
    body: String,
    attributes: Vec<(String, String, String)>,
    succeeded: bool,
}

impl Ended<'_> {
    /// What is to be done for this destination, as rows of the queue.
    pub fn for_destination(&self, destination: &Destination) -> Added {
        match destination {
            Destination::Function { arn, name, qualifier } => Added {
                kind: Kind::Invocation,
                function: name.clone(),
                qualifier: qualifier.clone(),
                // An invocation of its own, of the same chain.
                request_id: crate::invocation::Invocation::new_request_id(),
                trace_id: recursion::follow(&self.event.trace_id, name).0,
                function_arn: arn.clone(),
                body: self.record(),
            },
            other => self.delivery(other, self.record(), Vec::new()),
        }
    }

    /// The event itself, and what was wrong.
    pub fn for_dead_letter_queue(&self, queue: &Destination) -> Added {
        let (code, message) = self.error();
        let attribute =
            |name: &str, kind: &str, value: &str| (name.to_owned(), kind.to_owned(), value.to_owned());
        let attributes = vec![
            attribute("RequestID", "String", &self.event.request_id),
            attribute("ErrorCode", "Number", code),
            // Neither SQS nor SNS takes an empty one.
            attribute(
                "ErrorMessage",
                "String",
                if message.is_empty() { self.condition.as_str() } else { &message },
            ),
        ];
        self.delivery(queue, self.event.body.clone(), attributes)
    }

    fn delivery(
        &self,
        destination: &Destination,
        body: Vec<u8>,
        attributes: Vec<(String, String, String)>,
    ) -> Added {
        let body = String::from_utf8(body)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        let kept = Kept { body, attributes, succeeded: self.condition == Condition::Success };
        Added {
            kind: Kind::Delivery { destination: destination.to_string() },
            function: self.event.function.clone(),
            qualifier: self.event.qualifier.clone(),
            request_id: self.event.request_id.clone(),
            trace_id: self.event.trace_id.clone(),
            function_arn: self.qualified_arn(),
            body: serde_json::to_vec(&kept).expect("texts are JSON"),
        }
    }

    /// The invocation record. Event and result are put in as they are.
    fn record(&self) -> Vec<u8> {
        let text = |value: &str| serde_json::Value::from(value).to_string();
        let mut record = Vec::with_capacity(self.event.body.len() + 1024);
        record.extend_from_slice(
            format!(
                r#"{{"version":"1.0","timestamp":{},"requestContext":{{"requestId":{},"functionArn":{},"condition":{},"approximateInvokeCount":{}}},"requestPayload":"#,
                text(self.timestamp),
                text(&self.event.request_id),
                text(&self.qualified_arn()),
                text(self.condition.as_str()),
                self.attempts,
            )
            .as_bytes(),
        );
        record.extend_from_slice(&self.event.body);
        if let Some(completed) = self.completed {
            let error = match completed.outcome {
                Outcome::Failed { .. } => r#","functionError":"Unhandled""#,
                Outcome::Returned { .. } => "",
            };
            let version = text(&completed.executed_version);
            let context = format!(
                r#","responseContext":{{"statusCode":200,"executedVersion":{version}{error}}},"responsePayload":"#
            );
            record.extend_from_slice(context.as_bytes());
            match &completed.outcome {
                // What is no JSON becomes a JSON text.
                Outcome::Returned { payload, raw: true } => {
                    record.extend_from_slice(text(&String::from_utf8_lossy(payload)).as_bytes());
                }
                outcome if outcome.payload().is_empty() => record.extend_from_slice(b"null"),
                outcome => record.extend_from_slice(outcome.payload()),
            }
        }
        record.push(b'}');
        record
    }

    /// Always with a qualifier.
    fn qualified_arn(&self) -> String {
        let arn = &self.event.function_arn;
        // arn:aws:lambda:REGION:ACCOUNT:function:NAME[:QUALIFIER]
        match arn.split(':').count() {
            ..=7 => format!("{arn}:{}", self.event.qualifier.as_deref().unwrap_or(LATEST)),
            _ => arn.clone(),
        }
    }

    /// Code and text of the error.
    fn error(&self) -> (&'static str, String) {
        let Some(completed) = self.completed else {
            let code = match self.condition {
                Condition::ZeroReservedConcurrency => "429",
                Condition::RecursiveInvocation => "400",
                _ => "500",
            };
            return (code, cut(first_line(self.reason)));
        };
        ("200", cut(&error_message(completed)))
    }
}

/// What the function said of its failure.
pub fn error_message(completed: &Completed) -> String {
    let error: serde_json::Value = serde_json::from_slice(completed.outcome.payload()).unwrap_or_default();
    match error["errorMessage"].as_str() {
        Some(message) => message.to_owned(),
        None => String::from_utf8_lossy(completed.outcome.payload()).into_owned(),
    }
}

/// For people: `ValueError: boom`.
pub fn error_line(completed: &Completed) -> String {
    let error: serde_json::Value = serde_json::from_slice(completed.outcome.payload()).unwrap_or_default();
    let message = error_message(completed);
    let line = match error["errorType"].as_str() {
        Some(kind) => format!("{kind}: {}", first_line(&message)),
        None => first_line(&message).to_owned(),
    };
    cut(&line)
}

/// A delivery that was kept. `Err`: the row is none of ours.
pub fn message_of(delivery: &Added) -> Result<Message, String> {
    let kept: Kept = serde_json::from_slice(&delivery.body).map_err(|error| error.to_string())?;
    Ok(Message {
        body: kept.body,
        attributes: kept.attributes,
        function_arn: delivery.function_arn.clone(),
        request_id: delivery.request_id.clone(),
        succeeded: kept.succeeded,
        trace_id: delivery.trace_id.clone(),
    })
}

pub fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(ERROR_MESSAGE)].to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::invocation::{Failure, Usage};

    fn event() -> Added {
        Added {
            kind: Kind::Invocation,
            function: "orders".into(),
            qualifier: None,
            request_id: "d1e2f3a4-b5c6-4789-8abc-def012345678".into(),
            trace_id: "Root=1;Parent=2;Sampled=0".into(),
            function_arn: "arn:aws:lambda:eu-west-1:123456789012:function:orders".into(),
            body: br#"{"order": 1}"#.to_vec(),
        }
    }

    fn completed(outcome: Outcome) -> Completed {
        Completed { outcome, usage: Usage::default(), log: Vec::new(), executed_version: "$LATEST".into() }
    }

    fn failed(payload: &str) -> Completed {
        completed(Outcome::Failed { payload: payload.into(), failure: Failure::Raised })
    }

    fn ended<'a>(event: &'a Added, condition: Condition, completed: Option<&'a Completed>) -> Ended<'a> {
        let attempts = if condition == Condition::ZeroReservedConcurrency { 0 } else { 3 };
        let timestamp = "2025-11-24T23:15:04.456Z";
        Ended { event, condition, attempts, completed, reason: "no Python\nhint: install it", timestamp }
    }

    #[test]
    fn a_failure_is_recorded_as_lambda_does() {
        let payload = r#"{"errorMessage": "boom", "errorType": "ValueError", "requestId": "d1e2f3a4-b5c6-4789-8abc-def012345678", "stackTrace": ["line"]}"#;
        let (event, completed) = (event(), failed(payload));
        let record = ended(&event, Condition::RetriesExhausted, Some(&completed)).record();
        let expected = format!(
            r#"{{"version":"1.0","timestamp":"2025-11-24T23:15:04.456Z","requestContext":{{"requestId":"d1e2f3a4-b5c6-4789-8abc-def012345678","functionArn":"arn:aws:lambda:eu-west-1:123456789012:function:orders:$LATEST","condition":"RetriesExhausted","approximateInvokeCount":3}},"requestPayload":{{"order": 1}},"responseContext":{{"statusCode":200,"executedVersion":"$LATEST","functionError":"Unhandled"}},"responsePayload":{payload}}}"#
        );
        assert_eq!(String::from_utf8(record).unwrap(), expected);
    }

    #[test]
    fn a_success_has_no_error_and_a_switched_off_function_no_response() {
        let event = event();
        let returned = completed(Outcome::Returned { payload: br#"{"ok": true}"#.to_vec(), raw: false });
        let record: Value =
            serde_json::from_slice(&ended(&event, Condition::Success, Some(&returned)).record()).unwrap();
        assert_eq!(record["responseContext"], json!({"statusCode": 200, "executedVersion": "$LATEST"}));
        assert_eq!(record["responsePayload"], json!({"ok": true}));

        let record: Value =
            serde_json::from_slice(&ended(&event, Condition::ZeroReservedConcurrency, None).record())
                .unwrap();
        assert_eq!(record["requestContext"]["approximateInvokeCount"], 0);
        let fields: Vec<&String> = record.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["version", "timestamp", "requestContext", "requestPayload"]);
    }

    #[test]
    fn what_is_no_json_is_recorded_as_text() {
        let event = event();
        let raw = completed(Outcome::Returned { payload: b"a \"b\" \xff".to_vec(), raw: true });
        let record: Value =
            serde_json::from_slice(&ended(&event, Condition::Success, Some(&raw)).record()).unwrap();
        assert_eq!(record["responsePayload"], "a \"b\" \u{fffd}");
    }

    #[test]
    fn a_dead_letter_is_the_event_with_three_attributes() {
        let queue = Destination::parse("arn:aws:sqs:eu-west-1:123456789012:dead").unwrap();
        let (event, completed) = (event(), failed(&json!({"errorMessage": "é".repeat(1000)}).to_string()));
        let added =
            ended(&event, Condition::RetriesExhausted, Some(&completed)).for_dead_letter_queue(&queue);
        assert_eq!(added.lane(), "> arn:aws:sqs:eu-west-1:123456789012:dead");
        let message = message_of(&added).unwrap();
        assert_eq!(message.body, r#"{"order": 1}"#);
        let names: Vec<&str> = message.attributes.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(names, ["RequestID", "ErrorCode", "ErrorMessage"]);
        assert_eq!(message.attributes[1], ("ErrorCode".into(), "Number".into(), "200".into()));
        assert_eq!(message.attributes[2].2, "é".repeat(512));
        assert!(!message.succeeded);

        let added = ended(&event, Condition::EventAgeExceeded, None).for_dead_letter_queue(&queue);
        assert_eq!(message_of(&added).unwrap().attributes[2].2, "no Python");
    }

    #[test]
    fn a_function_gets_the_record_as_its_event() {
        let arn = "arn:aws:lambda:eu-west-1:123456789012:function:next:live";
        let (event, completed) = (event(), failed("{}"));
        let added = ended(&event, Condition::RetriesExhausted, Some(&completed))
            .for_destination(&Destination::parse(arn).unwrap());
        assert_eq!((added.lane().as_str(), added.qualifier.as_deref()), ("next", Some("live")));
        assert_eq!(added.function_arn, arn);
        assert_ne!(added.request_id, event.request_id);
        assert!(added.trace_id.starts_with("Root=1;Parent=2;Sampled=0;Lineage=1:"), "{}", added.trace_id);
    }
}

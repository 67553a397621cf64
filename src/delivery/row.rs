//! What a record becomes in a table.
//!
//! | column | |
//! |---|---|
//! | `request_id` | the key, so that a record that is sent twice is one row |
//! | `function` | its qualified ARN |
//! | `version` | the one that ran, which an alias may have chosen; none if none ran |
//! | `succeeded` | |
//! | `condition` | `Success`, `RetriesExhausted`, ...; none for a dead letter |
//! | `attempts` | how often it was tried |
//! | `timestamp` | when the last attempt ended |
//! | `request` | the event, as JSON; of a stream's batch, where it was |
//! | `response` | what the function returned, or its error, as JSON |
//!
//! The JSON is kept as it was written: no number, key or order of it changes.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::Message;

/// Their names, in the order of the statements.
pub const COLUMNS: &str =
    "request_id, function, version, succeeded, condition, attempts, timestamp, request, response";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub request_id: String,
    pub function: String,
    pub version: Option<String>,
    pub succeeded: bool,
    pub condition: Option<String>,
    pub attempts: Option<i32>,
    /// `2026-11-24T23:11:12.345Z`
    pub timestamp: String,
    pub request: Option<String>,
    pub response: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Record<'a> {
    timestamp: Option<String>,
    request_context: RequestContext,
    response_context: Option<ResponseContext>,
    #[serde(borrow, deserialize_with = "written")]
    request_payload: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "written")]
    response_payload: Option<&'a RawValue>,
    #[serde(borrow, rename = "KinesisBatchInfo")]
    kinesis: Option<&'a RawValue>,
    #[serde(borrow, rename = "DDBStreamBatchInfo")]
    dynamodb: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct RequestContext {
    condition: Option<String>,
    approximate_invoke_count: Option<i32>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct ResponseContext {
    executed_version: Option<String>,
}

/// `null` is a value like any other: it is what most handlers return.
fn written<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl Row {
    pub fn of(message: &Message) -> Self {
        let record: Option<Record> =
            message.attributes.is_empty().then(|| serde_json::from_str(&message.body).ok()).flatten();
        let text = |json: Option<&RawValue>| json.map(|json| json.get().to_owned());
        let row = Self {
            request_id: message.request_id.clone(),
            function: message.function_arn.clone(),
            version: None,
            succeeded: message.succeeded,
            condition: None,
            attempts: None,
            timestamp: now(),
            request: None,
            response: None,
        };
        match record {
            Some(record) => Self {
                version: record.response_context.and_then(|context| context.executed_version),
                condition: record.request_context.condition,
                attempts: record.request_context.approximate_invoke_count,
                timestamp: record.timestamp.unwrap_or(row.timestamp),
                request: text(record.request_payload.or(record.kinesis).or(record.dynamodb)),
                response: text(record.response_payload),
                ..row
            },
            // A dead letter: the event alone, and why in the attributes.
            None => {
                let reason = message.attributes.iter().find(|(name, ..)| name == "ErrorMessage");
                let response =
                    reason.map(|(.., value)| serde_json::json!({"errorMessage": value}).to_string());
                Self { request: Some(message.body.clone()), response, ..row }
            }
        }
    }
}

fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: &str) -> Message {
        Message {
            body: body.to_owned(),
            attributes: Vec::new(),
            function_arn: "arn:aws:lambda:us-east-1:123456789012:function:f:$LATEST".to_owned(),
            request_id: "1-2-3".to_owned(),
            succeeded: true,
            trace_id: String::new(),
        }
    }

    #[test]
    fn a_record_becomes_its_columns() {
        let body = r#"{"version":"1.0","timestamp":"2025-11-24T23:11:12.345Z","requestContext":{"requestId":"1-2-3","functionArn":"a","condition":"Success","approximateInvokeCount":2},"requestPayload":{"b": 1.00, "a": null},"responseContext":{"statusCode":200,"executedVersion":"7"},"responsePayload":null}"#;
        let row = Row::of(&message(body));
        assert_eq!(row.version.as_deref(), Some("7"));
        assert_eq!((row.condition.as_deref(), row.attempts), (Some("Success"), Some(2)));
        assert_eq!(row.timestamp, "2025-11-24T23:11:12.345Z");
        assert_eq!(row.request.as_deref(), Some(r#"{"b": 1.00, "a": null}"#), "as it was written");
        assert_eq!(row.response.as_deref(), Some("null"), "None is a result too");
    }

    #[test]
    fn of_a_batch_it_is_told_where_it_was() {
        let body = r#"{"requestContext":{"condition":"RetryAttemptsExhausted","approximateInvokeCount":2},"KinesisBatchInfo":{"shardId":"1"}}"#;
        let row = Row::of(&message(body));
        assert_eq!(row.request.as_deref(), Some(r#"{"shardId":"1"}"#));
        assert_eq!(row.response, None);
    }

    #[test]
    fn a_dead_letter_is_its_event() {
        let mut message = message(r#"{"requestContext": "an event may have this too"}"#);
        message.succeeded = false;
        message.attributes = vec![("ErrorMessage".to_owned(), "String".to_owned(), "no \"luck\"".to_owned())];
        let row = Row::of(&message);
        assert_eq!(row.request, Some(message.body));
        assert_eq!(row.response.as_deref(), Some(r#"{"errorMessage":"no \"luck\""}"#));
        assert_eq!(row.condition, None);
    }

    proptest::proptest! {
        #[test]
        fn anything_becomes_a_row(body in "\\PC{0,60}") {
            Row::of(&message(&body));
        }
    }
}

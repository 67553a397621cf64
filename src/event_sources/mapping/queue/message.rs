//! A message as the function sees it: a record of the event, its members in AWS's order.

use serde_json::{Map, Value, json};

use super::super::filter;
use crate::trigger::Pattern;

/// A message that was received.
#[derive(Debug, Clone)]
pub struct Message {
    pub id: String,
    pub receipt: String,
    /// `AWSTraceHeader`, if its sender was traced.
    pub trace: Option<String>,
    /// Its record, as JSON.
    pub record: String,
}

/// System attributes in AWS's order; others follow.
const ATTRIBUTES: [&str; 9] = [
    "ApproximateReceiveCount",
    "AWSTraceHeader",
    "SentTimestamp",
    "SequenceNumber",
    "MessageGroupId",
    "SenderId",
    "MessageDeduplicationId",
    "DeadLetterQueueSourceArn",
    "ApproximateFirstReceiveTimestamp",
];

impl Message {
    /// Of an element of ReceiveMessage's answer, and whether the function is to see it.
    pub fn new(received: &Value, source_arn: &str, region: &str, filters: &[Pattern]) -> (Self, bool) {
        let text = |name: &str| received[name].as_str().unwrap_or_default().to_owned();
        let system = received["Attributes"].as_object().cloned().unwrap_or_default();
        let mut attributes = Map::new();
        for name in ATTRIBUTES {
            if let Some(value) = system.get(name) {
                attributes.insert(name.to_owned(), value.clone());
            }
        }
        for (name, value) in &system {
            attributes.entry(name.clone()).or_insert_with(|| value.clone());
        }
        let custom = received["MessageAttributes"].as_object().into_iter().flatten();
        let custom: Map<String, Value> =
            custom.map(|(name, value)| (name.clone(), message_attribute(value))).collect();
        let record = json!({
            "messageId": text("MessageId"),
            "receiptHandle": text("ReceiptHandle"),
            "body": text("Body"),
            "attributes": attributes,
            "messageAttributes": custom,
            "md5OfMessageAttributes": received.get("MD5OfMessageAttributes").filter(|md5| md5.is_string()),
            "md5OfBody": text("MD5OfBody"),
            "eventSource": "aws:sqs",
            "eventSourceARN": source_arn,
            "awsRegion": region,
        });
        let wanted = filter::passes(filters, || filter::of_queue(&record));
        let trace = system.get("AWSTraceHeader").and_then(Value::as_str).map(str::to_owned);
        let message =
            Self { id: text("MessageId"), receipt: text("ReceiptHandle"), trace, record: record.to_string() };
        (message, wanted)
    }
}

fn message_attribute(value: &Value) -> Value {
    let mut attribute = Map::new();
    for (from, to) in [("StringValue", "stringValue"), ("BinaryValue", "binaryValue")] {
        if let Some(value) = value.get(from).filter(|value| !value.is_null()) {
            attribute.insert(to.to_owned(), value.clone());
        }
    }
    attribute.insert("stringListValues".to_owned(), json!([]));
    attribute.insert("binaryListValues".to_owned(), json!([]));
    attribute.insert("dataType".to_owned(), value["DataType"].clone());
    Value::Object(attribute)
}

/// The event of a batch.
pub fn event(messages: &[Message]) -> Vec<u8> {
    let mut event =
        Vec::with_capacity(messages.iter().map(|message| message.record.len() + 1).sum::<usize>() + 14);
    event.extend_from_slice(br#"{"Records":["#);
    for (place, message) in messages.iter().enumerate() {
        if place > 0 {
            event.push(b',');
        }
        event.extend_from_slice(message.record.as_bytes());
    }
    event.extend_from_slice(b"]}");
    event
}

/// Of the traces of a batch, the one that has come by the most functions: loops are found by it.
pub fn trace(messages: &[Message]) -> Option<&str> {
    let hops = |trace: &&str| -> u64 {
        let lineage = trace.split(';').find_map(|part| part.trim().strip_prefix("Lineage="));
        let counts = lineage.unwrap_or_default().split(['|', ',']);
        counts.filter_map(|hop| hop.rsplit(':').next()?.parse::<u64>().ok()).max().unwrap_or(0)
    };
    let traces = messages.iter().rev().filter_map(|message| message.trace.as_deref());
    traces.max_by_key(hops)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(received: &Value, arn: &str) -> Message {
        Message::new(received, arn, "eu-west-1", &[]).0
    }

    /// The events of `src/samples`, byte for byte as AWS sends them.
    #[test]
    fn the_event_is_the_sample() {
        for (sample, arn) in [
            (include_str!("../../../samples/sqs.json"), "sqs"),
            (include_str!("../../../samples/sqs-fifo.json"), "sqs-fifo"),
        ] {
            let sample: Value = serde_json::from_str(sample).unwrap();
            let messages: Vec<Message> = sample["Records"]
                .as_array()
                .unwrap()
                .iter()
                .map(|record| {
                    let attributes: Map<String, Value> = record["messageAttributes"]
                        .as_object()
                        .unwrap()
                        .iter()
                        .map(|(name, value)| {
                            let received =
                                json!({"DataType": value["dataType"], "StringValue": value["stringValue"]});
                            (name.clone(), received)
                        })
                        .collect();
                    // In another order than the event's.
                    let system: Map<String, Value> =
                        record["attributes"].as_object().unwrap().clone().into_iter().rev().collect();
                    let received = json!({
                        "MessageId": record["messageId"], "ReceiptHandle": record["receiptHandle"],
                        "Body": record["body"], "MD5OfBody": record["md5OfBody"], "Attributes": system,
                        "MessageAttributes": attributes,
                        "MD5OfMessageAttributes": record["md5OfMessageAttributes"],
                    });
                    let (message, wanted) = Message::new(
                        &received,
                        record["eventSourceARN"].as_str().unwrap(),
                        record["awsRegion"].as_str().unwrap(),
                        &[],
                    );
                    assert!(wanted);
                    message
                })
                .collect();
            assert_eq!(String::from_utf8(event(&messages)).unwrap(), sample.to_string(), "{arn}");
        }
    }

    #[test]
    fn the_longest_chain_is_followed() {
        let with = |trace: &str| message(&json!({"Attributes": {"AWSTraceHeader": trace}}), "arn");
        let messages =
            [with("Root=1-a;Lineage=1:aaaaaaaa:2"), with("Root=1-b;Lineage=1:bbbbbbbb:7"), with("Root=1-c")];
        assert_eq!(trace(&messages), Some("Root=1-b;Lineage=1:bbbbbbbb:7"));
        assert_eq!(trace(&messages[2..]), Some("Root=1-c"));
        assert_eq!(trace(&[]), None);
    }

    #[test]
    fn what_an_endpoint_leaves_out_is_empty() {
        let message = message(&json!({}), "arn:aws:sqs:eu-west-1:123456789012:q");
        let record: Value = serde_json::from_str(&message.record).unwrap();
        assert_eq!((&record["body"], &record["md5OfMessageAttributes"]), (&json!(""), &Value::Null));
    }
}

//! `FilterCriteria`: which records a function is to see.
//!
//! Patterns are matched against the record as AWS shows it to them: what a producer wrote (`body` of
//! SQS, `data` of Kinesis) is JSON if it can be, else text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use crate::trigger::Pattern;

/// Whether one of the patterns matches, or there are none.
pub fn passes(filters: &[Pattern], record: impl FnOnce() -> Value) -> bool {
    if filters.is_empty() {
        return true;
    }
    let record = record();
    filters.iter().any(|filter| filter.matches(&record))
}

/// A record of SQS for patterns.
pub fn of_queue(record: &Value) -> Value {
    let mut seen = record.clone();
    if let Some(body) = record["body"].as_str() {
        seen["body"] = written(body);
    }
    seen
}

/// A record of Kinesis for patterns: what stands below `kinesis`, with the data decoded, beside the rest.
pub fn of_kinesis(record: &Value) -> Value {
    let mut seen = record.clone();
    let inner = record["kinesis"].as_object().cloned().unwrap_or_default();
    let decoded = inner.get("data").and_then(Value::as_str).and_then(|data| BASE64.decode(data).ok());
    let Some(object) = seen.as_object_mut() else { return seen };
    object.extend(inner);
    // What is no text matches no pattern for the data.
    let data = decoded.and_then(|data| String::from_utf8(data).ok()).map(|text| written(&text));
    object.insert("data".to_owned(), data.unwrap_or(Value::Null));
    seen
}

/// Objects and lists are JSON; anything else is the text that it is.
fn written(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(value @ (Value::Object(_) | Value::Array(_))) => value,
        _ => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_written_is_json_if_it_can_be() {
        assert_eq!(of_queue(&json!({"body": r#"{"a": 1}"#}))["body"], json!({"a": 1}));
        assert_eq!(of_queue(&json!({"body": "plain"}))["body"], "plain");
        assert_eq!(of_queue(&json!({"body": "12"}))["body"], "12");
        let record = |data: &[u8]| json!({"kinesis": {"partitionKey": "k", "data": BASE64.encode(data)}, "eventName": "x"});
        let seen = of_kinesis(&record(br#"{"order": 1}"#));
        assert_eq!(
            (&seen["data"], &seen["partitionKey"], &seen["eventName"]),
            (&json!({"order": 1}), &json!("k"), &json!("x"))
        );
        assert_eq!(of_kinesis(&record(&[255, 254]))["data"], Value::Null);
        assert!(passes(&[], || unreachable!("nothing is made for nobody")));
    }
}

//! A notification of SNS, as it is posted -> the event that a function gets.

use serde_json::{Map, Value, json};

use crate::trigger::Topic;

/// Whether its filter lets this notification pass.
pub fn passes(topic: &Topic, notification: &Map<String, Value>) -> bool {
    let Some(filter) = &topic.filter else { return true };
    if topic.filters_body {
        let message = notification.get("Message").and_then(Value::as_str).unwrap_or_default();
        let body: Option<Value> = serde_json::from_str(message).ok();
        return body.is_some_and(|body| body.is_object() && filter.matches(&body));
    }
    filter.matches(&attributes(notification))
}

/// The attributes as an object that a filter policy is matched with.
fn attributes(notification: &Map<String, Value>) -> Value {
    let given = notification.get("MessageAttributes").and_then(Value::as_object);
    let attributes = given.into_iter().flatten().filter_map(|(name, attribute)| {
        let text = attribute.get("Value")?.as_str()?;
        let value = match attribute.get("Type")?.as_str()? {
            "Number" => serde_json::from_str::<serde_json::Number>(text).map(Value::Number).ok()?,
            "String.Array" => serde_json::from_str(text).ok()?,
            "Binary" => return None,
            _ => Value::from(text),
        };
        Some((name.clone(), value))
    });
    Value::Object(attributes.collect())
}

/// Lambda's spelling differs from what SNS posts: `SigningCertUrl`, `UnsubscribeUrl`; a subject that
/// is missing is null, and there are always attributes.
pub fn event(notification: &Map<String, Value>, subscription_arn: &str) -> Vec<u8> {
    let get = |name: &str| notification.get(name).cloned().unwrap_or_default();
    let either = |one: &str, other: &str| if notification.contains_key(one) { get(one) } else { get(other) };
    json!({
        "Records": [{
            "EventSource": "aws:sns",
            "EventVersion": "1.0",
            "EventSubscriptionArn": subscription_arn,
            "Sns": {
                "Type": "Notification",
                "MessageId": get("MessageId"),
                "TopicArn": get("TopicArn"),
                "Subject": get("Subject"),
                "Message": get("Message"),
                "Timestamp": get("Timestamp"),
                "SignatureVersion": get("SignatureVersion"),
                "Signature": get("Signature"),
                "SigningCertUrl": either("SigningCertURL", "SigningCertUrl"),
                "UnsubscribeUrl": either("UnsubscribeURL", "UnsubscribeUrl"),
                "MessageAttributes": match get("MessageAttributes") {
                    Value::Object(attributes) => Value::Object(attributes),
                    _ => json!({}),
                },
            },
        }],
    })
    .to_string()
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trigger::Pattern;

    fn notification() -> Map<String, Value> {
        let value = json!({
            "Type": "Notification",
            "MessageId": "95df01b4-ee98-5cb9-9903-4c221d41eb5e",
            "TopicArn": "arn:aws:sns:eu-west-1:123456789012:orders",
            "Message": "{\"order\": 1}",
            "Timestamp": "2025-11-24T23:12:00.123Z",
            "SignatureVersion": "1",
            "Signature": "EXAMPLEsignature==",
            "SigningCertURL": "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-example.pem",
            "UnsubscribeURL": "https://sns.eu-west-1.amazonaws.com/?Action=Unsubscribe",
            "MessageAttributes": {
                "kind": {"Type": "String", "Value": "new"},
                "price": {"Type": "Number", "Value": "9.5"},
                "tags": {"Type": "String.Array", "Value": "[\"a\", 5]"},
                "raw": {"Type": "Binary", "Value": "aGk="},
            },
        });
        value.as_object().unwrap().clone()
    }

    #[test]
    fn events_are_those_of_aws() {
        let arn = "arn:aws:sns:eu-west-1:123456789012:orders:2bcfbf39";
        let event: Value = serde_json::from_slice(&event(&notification(), arn)).unwrap();
        let sample = crate::samples::SAMPLES.iter().find(|sample| sample.kind == "sns").unwrap();
        let sample: Value = serde_json::from_str(sample.event).unwrap();
        let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&event["Records"][0]), names(&sample["Records"][0]));
        assert_eq!(names(&event["Records"][0]["Sns"]), names(&sample["Records"][0]["Sns"]));
        assert_eq!(event["Records"][0]["EventSubscriptionArn"], arn);
        assert_eq!(event["Records"][0]["Sns"]["Subject"], Value::Null);
        assert_eq!(event["Records"][0]["Sns"]["MessageAttributes"]["kind"]["Value"], "new");
    }

    #[test]
    fn filters_look_at_attributes_or_at_the_message() {
        let check = |policy: Value, filters_body: bool| {
            let filter = Some(Pattern::parse(&policy.to_string()).unwrap());
            passes(&Topic { topic_arn: String::new(), filter, filters_body }, &notification())
        };
        assert!(check(json!({"kind": ["new"], "price": [{"numeric": [">", 9]}]}), false));
        assert!(check(json!({"tags": [5]}), false));
        assert!(check(json!({"other": [{"exists": false}]}), false));
        assert!(!check(json!({"kind": ["old"]}), false));
        assert!(!check(json!({"raw": [{"exists": true}]}), false));
        assert!(!check(json!({"order": [1]}), false));
        assert!(check(json!({"order": [1]}), true));
        assert!(!check(json!({"order": [2]}), true));
    }
}

//! The event of one object, as S3 makes it.

use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::store::ObjectState;

/// As in a URL's query: a blank is a plus, a slash is itself.
const KEY: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'*').remove(b'/').remove(b' ');

/// What happened to an object, and when.
#[derive(Debug)]
pub struct Happening<'a> {
    pub bucket: &'a str,
    pub key: &'a str,
    /// `None`: it was removed.
    pub object: Option<&'a ObjectState>,
    pub time: Timestamp,
    /// Grows with each happening.
    pub sequence: u64,
}

impl Happening<'_> {
    /// Without `s3:`.
    pub fn name(&self) -> &'static str {
        if self.object.is_some() { "ObjectCreated:Put" } else { "ObjectRemoved:Delete" }
    }

    /// Whether a notification for `s3:ObjectCreated:*` is meant.
    pub fn is_meant(&self, wanted: &str) -> bool {
        let wanted = wanted.strip_prefix("s3:").unwrap_or(wanted);
        match wanted.strip_suffix('*') {
            Some(prefix) => self.name().starts_with(prefix),
            None => self.name() == wanted,
        }
    }

    pub fn event(&self, configuration: &str, region: &str, request_id: &str) -> Vec<u8> {
        let Self { bucket, key, .. } = self;
        let key = utf8_percent_encode(key, KEY).to_string().replace(' ', "+");
        let mut object = json!({"key": key});
        if let Some(ObjectState { size, etag, .. }) = self.object {
            object["size"] = Value::from(*size);
            object["eTag"] = Value::from(etag.as_str());
        }
        object["sequencer"] = Value::from(format!("{:016X}", self.sequence));
        json!({
            "Records": [{
                "eventVersion": "2.1",
                "eventSource": "aws:s3",
                "awsRegion": region,
                "eventTime": self.time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(),
                "eventName": self.name(),
                "userIdentity": {"principalId": "AWS:HANDLERD"},
                "requestParameters": {"sourceIPAddress": "127.0.0.1"},
                "responseElements": {
                    "x-amz-request-id": request_id.replace('-', "").to_uppercase()[..16],
                    "x-amz-id-2": format!("{}=", request_id.replace('-', "")),
                },
                "s3": {
                    "s3SchemaVersion": "1.0",
                    "configurationId": configuration,
                    "bucket": {
                        "name": bucket,
                        "ownerIdentity": {"principalId": "HANDLERD"},
                        "arn": format!("arn:aws:s3:::{bucket}"),
                    },
                    "object": object,
                },
            }],
        })
        .to_string()
        .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of all fields, in order.
    fn shape(value: &Value) -> String {
        match value {
            Value::Object(fields) => {
                let fields: Vec<String> =
                    fields.iter().map(|(name, value)| format!("{name}:{}", shape(value))).collect();
                format!("{{{}}}", fields.join(","))
            }
            Value::Array(values) => values.iter().map(shape).collect::<Vec<_>>().join(","),
            Value::String(_) => "text".to_owned(),
            other => {
                if other.is_number() {
                    "number".to_owned()
                } else {
                    other.to_string()
                }
            }
        }
    }

    #[test]
    fn events_are_those_of_aws() {
        let state = ObjectState { size: 1024, modified: 0, etag: "d41d8cd98f00b204e9800998ecf8427e".into() };
        for (kind, object) in [("s3-put", Some(&state)), ("s3-delete", None)] {
            let happening = Happening {
                bucket: "orders-bucket",
                key: "in/red flower&é+(1).jpg",
                object,
                time: "2025-11-24T23:12:00.123456Z".parse().unwrap(),
                sequence: 0x55AED6DCD90281E5,
            };
            let id = "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa";
            let event: Value = serde_json::from_slice(&happening.event("upload", "eu-west-1", id)).unwrap();
            let sample = crate::samples::SAMPLES.iter().find(|sample| sample.kind == kind).unwrap();
            assert_eq!(shape(&event), shape(&serde_json::from_str(sample.event).unwrap()));
            let record = &event["Records"][0];
            assert_eq!(record["s3"]["object"]["key"], "in/red+flower%26%C3%A9%2B%281%29.jpg");
            assert_eq!(record["s3"]["object"]["sequencer"], "55AED6DCD90281E5");
            assert_eq!(record["eventTime"], "2025-11-24T23:12:00.123Z");
            assert_eq!(record["eventName"], happening.name());
            assert!(happening.is_meant(&format!("s3:{}", happening.name())));
            assert_eq!(happening.is_meant("s3:ObjectCreated:*"), object.is_some());
            assert_eq!(happening.is_meant("s3:ObjectRemoved:*"), object.is_none());
            assert!(!happening.is_meant("s3:ObjectCreated:Copy"));
        }
    }
}

//! A record as the function sees it, its members in AWS's order.

use serde_json::{Map, Value, json};

use super::super::context::Context;
use super::super::filter;

#[derive(Debug, Clone)]
pub struct Record {
    pub sequence: String,
    /// Records of one key keep their order.
    pub key: String,
    /// When it arrived, in milliseconds since 1970.
    pub arrived: i64,
    /// As JSON.
    pub json: String,
    /// The function is to see it.
    pub wanted: bool,
}

impl Record {
    pub fn of_kinesis(received: &Value, context: &Context, shard: &str, role: &str) -> Self {
        let definition = &context.definition;
        let sequence = received["SequenceNumber"].as_str().unwrap_or_default();
        let arrived = received["ApproximateArrivalTimestamp"].as_f64().unwrap_or_default();
        let key = received["PartitionKey"].as_str().unwrap_or_default();
        let record = kinesis(
            received,
            sequence,
            key,
            arrived,
            Place { shard, role, region: &definition.source.region, arn: &definition.mapping.source_arn },
        );
        Self {
            sequence: sequence.to_owned(),
            key: key.to_owned(),
            arrived: milliseconds(arrived),
            wanted: filter::passes(&definition.mapping.filters, || filter::of_kinesis(&record)),
            json: record.to_string(),
        }
    }

    pub fn of_dynamodb(received: Value, context: &Context) -> Self {
        let definition = &context.definition;
        let record = dynamodb(&received, &definition.source.region, &definition.mapping.source_arn);
        let change = &record["dynamodb"];
        let arrived = change["ApproximateCreationDateTime"].as_f64().unwrap_or_default();
        Self {
            sequence: change["SequenceNumber"].as_str().unwrap_or_default().to_owned(),
            key: change["Keys"].to_string(),
            arrived: milliseconds(arrived),
            wanted: filter::passes(&definition.mapping.filters, || record.clone()),
            json: record.to_string(),
        }
    }
}

struct Place<'a> {
    shard: &'a str,
    role: &'a str,
    region: &'a str,
    arn: &'a str,
}

fn kinesis(received: &Value, sequence: &str, key: &str, arrived: f64, place: Place<'_>) -> Value {
    json!({
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": key,
            "sequenceNumber": sequence,
            "data": received["Data"],
            "approximateArrivalTimestamp": arrived,
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": format!("{}:{sequence}", place.shard),
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": place.role,
        "awsRegion": place.region,
        "eventSourceARN": place.arn,
    })
}

/// Members of the change, in AWS's order; others follow.
const CHANGE: [&str; 7] = [
    "ApproximateCreationDateTime",
    "Keys",
    "NewImage",
    "OldImage",
    "SequenceNumber",
    "SizeBytes",
    "StreamViewType",
];

fn dynamodb(received: &Value, region: &str, arn: &str) -> Value {
    let mut record = Map::new();
    let mut set = |name: &str, value: Value| drop(record.insert(name.to_owned(), value));
    set("eventID", received["eventID"].clone());
    set("eventName", received["eventName"].clone());
    set("eventVersion", received.get("eventVersion").cloned().unwrap_or("1.1".into()));
    set("eventSource", "aws:dynamodb".into());
    set("awsRegion", region.into());
    if let Some(Value::Object(identity)) = received.get("userIdentity") {
        // The API of streams writes these names with capitals; events do not.
        let get = |upper: &str, lower: &str| {
            identity.get(upper).or(identity.get(lower)).cloned().unwrap_or_default()
        };
        set(
            "userIdentity",
            json!({"type": get("Type", "type"), "principalId": get("PrincipalId", "principalId")}),
        );
    }
    let given = received["dynamodb"].as_object().cloned().unwrap_or_default();
    let mut change = Map::new();
    for name in CHANGE {
        if let Some(value) = given.get(name) {
            let seconds = value.as_f64().filter(|_| name == "ApproximateCreationDateTime");
            change.insert(name.to_owned(), seconds.map_or(value.clone(), |seconds| json!(seconds)));
        }
    }
    for (name, value) in given {
        change.entry(name).or_insert(value);
    }
    set("dynamodb", Value::Object(change));
    set("eventSourceARN", arn.into());
    Value::Object(record)
}

fn milliseconds(seconds: f64) -> i64 {
    (seconds * 1000.0).round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_kinesis_are_those_of_the_sample() {
        let sample: Value = serde_json::from_str(include_str!("../../../samples/kinesis.json")).unwrap();
        for expected in sample["Records"].as_array().unwrap() {
            let inner = &expected["kinesis"];
            let received = json!({"Data": inner["data"]});
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let (id, role, arn) = (
                text(&expected["eventID"]),
                text(&expected["invokeIdentityArn"]),
                text(&expected["eventSourceARN"]),
            );
            let place = Place {
                shard: id.split(':').next().unwrap(),
                role: &role,
                region: expected["awsRegion"].as_str().unwrap(),
                arn: &arn,
            };
            let record = kinesis(
                &received,
                inner["sequenceNumber"].as_str().unwrap(),
                inner["partitionKey"].as_str().unwrap(),
                inner["approximateArrivalTimestamp"].as_f64().unwrap(),
                place,
            );
            assert_eq!(record.to_string(), expected.to_string());
        }
    }

    #[test]
    fn records_of_dynamodb_are_those_of_the_sample() {
        let sample: Value = serde_json::from_str(include_str!("../../../samples/dynamodb.json")).unwrap();
        for expected in sample["Records"].as_array().unwrap() {
            let mut received = expected.clone();
            let members = received["dynamodb"].as_object().unwrap().clone();
            received["dynamodb"] = Value::Object(members.into_iter().rev().collect());
            if let Some(identity) = received.get_mut("userIdentity") {
                *identity = json!({"PrincipalId": identity["principalId"], "Type": identity["type"]});
            }
            let record = dynamodb(
                &received,
                expected["awsRegion"].as_str().unwrap(),
                expected["eventSourceARN"].as_str().unwrap(),
            );
            assert_eq!(record.to_string(), expected.to_string());
        }
    }
}

//! EventBridge's PutEvents by boto3, and the rules that match.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::harness::{TestServer, TestServerBuilder};
use crate::python_tools::python_tools;
use crate::schedules::{KEEP, wait_for_events};

const RULE: &str = "Events:\n  New:\n    Type: EventBridgeRule\n    Properties:\n      Pattern:\n        source: [shop]\n        detail:\n          total: [{numeric: ['>', 10]}]\n";

pub async fn ask(server: &TestServer, operation: &str, body: &Value) -> (u16, Value) {
    let request = server
        .client
        .post(format!("{}/", server.api))
        .header("x-amz-target", format!("AWSEvents.{operation}"))
        .header("content-type", "application/x-amz-json-1.1")
        .body(body.to_string());
    let answer = server.send(request).await;
    (answer.status, answer.json())
}

fn entry(detail: &str) -> Value {
    json!({"Source": "shop", "DetailType": "OrderPlaced", "Detail": detail, "Resources": ["r"], "Time": 1764025920})
}

#[tokio::test]
async fn events_that_match_come_to_the_function() {
    let transformed = "Events:\n  New:\n    Type: EventBridgeRule\n    Properties:\n      EventBusName: orders\n      \
        Pattern:\n        source: [{prefix: sh}]\n      InputTransformer:\n        InputPathsMap: {id: $.detail.id}\n        \
        InputTemplate: '{\"order\": <id>}'\n";
    let server = TestServerBuilder::new()
        .handler("big", KEEP)
        .file("big/function.yaml", RULE)
        .handler("other", KEEP)
        .file("other/function.yaml", transformed)
        .start()
        .await;
    let entries = json!({"Entries": [entry(r#"{"id": 1, "total": 5}"#), entry(r#"{"id": 2, "total": 50}"#)]});
    let (status, answer) = ask(&server, "PutEvents", &entries).await;
    assert_eq!((status, &answer["FailedEntryCount"]), (200, &json!(0)), "{answer}");
    let event = wait_for_events(server.folder(), 1)[0].1.clone();
    assert_eq!(
        event.to_string(),
        json!({
            "version": "0",
            "id": answer["Entries"][1]["EventId"],
            "detail-type": "OrderPlaced",
            "source": "shop",
            "account": "123456789012",
            "time": "2025-11-24T23:12:00Z",
            "region": "us-east-1",
            "resources": ["r"],
            "detail": {"id": 2, "total": 50},
        })
        .to_string()
    );
    let mut other = entry(r#"{"id": 3, "total": 50}"#);
    other["EventBusName"] = json!("arn:aws:events:us-east-1:123456789012:event-bus/orders");
    assert_eq!(ask(&server, "PutEvents", &json!({"Entries": [other]})).await.0, 200);
    let events = wait_for_events(server.folder(), 2);
    assert_eq!(events[1].1, json!({"order": 3}), "{events:?}");
    assert_eq!(events.len(), 2);
}

#[tokio::test]
async fn what_is_wrong_is_told_by_entry() {
    let server = TestServer::with_handler("unused", KEEP).await;
    let entries = json!({"Entries": [
        entry("{}"),
        {"DetailType": "x", "Detail": "{}"},
        entry("no json"),
        entry("[]"),
        {"Source": "aws.ec2", "DetailType": "x", "Detail": "{}"},
    ]});
    let (status, answer) = ask(&server, "PutEvents", &entries).await;
    assert_eq!((status, &answer["FailedEntryCount"]), (200, &json!(4)));
    let codes: Vec<&str> =
        answer["Entries"].as_array().unwrap().iter().map(|e| e["ErrorCode"].as_str().unwrap_or("")).collect();
    assert_eq!(
        codes,
        ["", "InvalidArgument", "MalformedDetail", "MalformedDetail", "NotAuthorizedForSourceException"]
    );
    let (status, answer) = ask(&server, "PutEvents", &json!({"Entries": vec![entry("{}"); 11]})).await;
    assert_eq!((status, answer["__type"].as_str()), (400, Some("ValidationException")));
    let (status, answer) = ask(&server, "PutRule", &json!({"Name": "x"})).await;
    assert_eq!(status, 501);
    assert!(answer["message"].as_str().unwrap().contains("function.yaml"), "{answer}");
    let (status, _) = ask(&server, "Nothing", &json!({})).await;
    assert_eq!(status, 501);
}

#[tokio::test]
async fn boto3_puts_events() {
    let Some(tools) = python_tools("boto3_puts_events") else { return };
    let server = TestServerBuilder::new().handler("big", KEEP).file("big/function.yaml", RULE).start().await;
    let script = "import boto3, json, sys\n\
        client = boto3.client('events', endpoint_url=sys.argv[1], region_name='us-east-1',\n\
        \x20   aws_access_key_id='x', aws_secret_access_key='x')\n\
        entry = {'Source': 'shop', 'DetailType': 'OrderPlaced', 'Detail': json.dumps({'total': 11})}\n\
        answer = client.put_events(Entries=[entry, {'Source': 'shop'}])\n\
        print(answer['FailedEntryCount'], answer['Entries'][1]['ErrorCode'])\n\
        try:\n\
        \x20   client.put_rule(Name='x', EventPattern='{}')\n\
        except client.exceptions.ClientError as error:\n\
        \x20   print(error.response['Error']['Code'])\n";
    let output =
        tools.program("python").args(["-c", script, &server.api]).stderr(Stdio::inherit()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1 InvalidArgument\nNotImplementedException\n");
    let events = wait_for_events(server.folder(), 1);
    assert_eq!(events[0].1["detail"], json!({"total": 11}));
}

//! SNS topics of an endpoint: subscribed by HTTP, delivered, filtered, given up.

use serde_json::{Value, json};

use crate::harness::{TestServer, TestServerBuilder, eventually};
use crate::moto::{Moto, moto};
use crate::schedules::{KEEP, wait_for_events};

fn topic(moto: &Moto) -> String {
    let arn = moto.python("print(json.dumps(client('sns').create_topic(Name='orders')['TopicArn']))");
    arn.as_str().unwrap().to_owned()
}

fn subscriptions(moto: &Moto, topic: &str) -> Vec<String> {
    let code = format!(
        "print(json.dumps([s['Endpoint'] for s in \
         client('sns').list_subscriptions_by_topic(TopicArn='{topic}')['Subscriptions']]))"
    );
    serde_json::from_value(moto.python(&code)).unwrap()
}

fn trigger(topic: &str) -> String {
    format!("Events:\n  News:\n    Type: SNS\n    Properties:\n      Topic: {topic}\n")
}

async fn start(moto: &Moto, yaml: &str) -> TestServer {
    let mut builder = TestServerBuilder::new().handler("news", KEEP).file("news/function.yaml", yaml);
    for (name, value) in moto.variables() {
        builder = builder.variable(name, &value);
    }
    let server = builder.start().await;
    server.wait_for_terminal("is subscribed");
    server
}

#[tokio::test]
async fn messages_come_to_the_function_until_its_trigger_goes() {
    let Some(moto) = moto("messages_come_to_the_function_until_its_trigger_goes") else { return };
    let topic = topic(&moto);
    // Moto posts no attributes: the message is looked at.
    let filtered =
        trigger(&topic) + "      FilterPolicyScope: MessageBody\n      FilterPolicy:\n        kind: [new]\n";
    let server = start(&moto, &filtered).await;
    let endpoints = subscriptions(&moto, &topic);
    assert_eq!(endpoints.len(), 1, "{endpoints:?}");
    moto.python(&format!(
        "sns = client('sns')\n\
         for kind in ['old', 'new']:\n\
         \x20   sns.publish(TopicArn='{topic}', Message=json.dumps({{'kind': kind}}), Subject='s')\n"
    ));
    let events = wait_for_events(server.folder(), 1);
    let record = &events[0].1["Records"][0];
    assert_eq!(record["EventSource"], "aws:sns");
    assert!(record["EventSubscriptionArn"].as_str().unwrap().starts_with(&topic));
    assert_eq!(record["Sns"]["Message"], json!(r#"{"kind": "new"}"#));
    assert_eq!((&record["Sns"]["TopicArn"], &record["Sns"]["Subject"]), (&json!(topic), &json!("s")));
    server.write("news/function.yaml", "Timeout: 3\n");
    server.wait_for_terminal("is not subscribed any more");
    eventually("no subscription", || subscriptions(&moto, &topic).is_empty());
}

#[tokio::test]
async fn strangers_are_refused() {
    let Some(moto) = moto("strangers_are_refused") else { return };
    let topic = topic(&moto);
    let server = start(&moto, &trigger(&topic)).await;
    let endpoint = subscriptions(&moto, &topic).remove(0);
    let notification = |topic: &str| json!({"Type": "Notification", "TopicArn": topic, "Message": "m"});
    let post = async |url: &str, body: &Value| {
        server.send(server.client.post(url).body(body.to_string())).await.status
    };
    let guessed = format!("{}/_handlerd/sns/{}", server.api, "0".repeat(64));
    assert_eq!(post(&guessed, &notification(&topic)).await, 404);
    assert_eq!(post(&endpoint, &notification("arn:aws:sns:us-east-1:123456789012:other")).await, 403);
    assert_eq!(post(&endpoint, &json!([])).await, 400);
    assert_eq!(post(&endpoint, &json!({"Type": "Odd", "TopicArn": topic})).await, 400);
    assert_eq!(post(&endpoint, &notification(&topic)).await, 200);
    assert_eq!(wait_for_events(server.folder(), 1).len(), 1);
}

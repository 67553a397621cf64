//! A SAM application that no HTTP request asks: every trigger of its template, and what becomes of an
//! event that fails. Moto stands for the queues, the topic and the table.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::bus::ask;
use crate::harness::{TestServer, TestServerBuilder, eventually, program};
use crate::moto::{Moto, moto};
use crate::schedules::kept;

/// What the template declares, and handlerd does not make.
fn make_resources(moto: &Moto) {
    moto.python(
        "for name in ['jobs', 'results', 'dead']:\n\
         \x20   client('sqs').create_queue(QueueName=name)\n\
         client('sns').create_topic(Name='news')\n\
         client('dynamodb').create_table(TableName='orders', BillingMode='PAY_PER_REQUEST',\n\
         \x20   AttributeDefinitions=[{'AttributeName': 'id', 'AttributeType': 'S'}],\n\
         \x20   KeySchema=[{'AttributeName': 'id', 'KeyType': 'HASH'}],\n\
         \x20   StreamSpecification={'StreamEnabled': True, 'StreamViewType': 'NEW_AND_OLD_IMAGES'})",
    );
}

async fn worker(moto: &Moto) -> TestServer {
    let mut builder = TestServerBuilder::app("worker");
    for (name, value) in moto.variables() {
        builder = builder.variable(name, &value);
    }
    builder.start().await
}

/// `aws:sqs`, `shop`, ...
fn source(event: &Value) -> String {
    let record = &event["Records"][0];
    let source =
        record["eventSource"].as_str().or(record["EventSource"].as_str()).or(event["source"].as_str());
    source.unwrap_or("unknown").to_owned()
}

fn sources(server: &TestServer) -> BTreeSet<String> {
    kept(server.folder()).iter().map(|(_, event)| source(event)).collect()
}

fn run(server: &TestServer, arguments: &[&str]) -> String {
    let output = program().args(arguments).current_dir(server.folder()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn put_event(server: &TestServer, detail: &Value) {
    let entry = json!({"Source": "shop", "DetailType": "OrderPlaced", "Detail": detail.to_string()});
    let (status, answer) = ask(server, "PutEvents", &json!({"Entries": [entry]})).await;
    assert_eq!((status, &answer["FailedEntryCount"]), (200, &json!(0)), "{answer}");
}

/// The first message of a queue, with its attributes.
fn received(moto: &Moto, queue: &str) -> Value {
    moto.python(&format!(
        "sqs = client('sqs')\n\
         messages = []\n\
         while not messages:\n\
         \x20   messages = sqs.receive_message(QueueUrl=sqs.get_queue_url(QueueName='{queue}')['QueueUrl'],\n\
         \x20       WaitTimeSeconds=1, MessageAttributeNames=['All']).get('Messages')\n\
         print(json.dumps(messages[0]))"
    ))
}

#[tokio::test]
async fn every_trigger_of_the_template_fires() {
    let Some(moto) = moto("every_trigger_of_the_template_fires") else { return };
    make_resources(&moto);
    let server = worker(&moto).await;
    server.wait_for_terminal("is subscribed");
    server.wait_for_terminal("bucket worker-uploads is");
    moto.python(
        "sqs = client('sqs')\n\
         url = sqs.get_queue_url(QueueName='jobs')['QueueUrl']\n\
         for kind in ['other', 'wanted']:\n\
         \x20   sqs.send_message(QueueUrl=url, MessageBody=json.dumps({'kind': kind}))\n\
         client('sns').publish(TopicArn=client('sns').create_topic(Name='news')['TopicArn'], Message='m')\n\
         client('dynamodb').put_item(TableName='orders', Item={'id': {'S': 'a'}})",
    );
    std::fs::write(server.folder().join("buckets/worker-uploads/a.txt"), "x").unwrap();
    put_event(&server, &json!({"id": 1})).await;
    let all =
        BTreeSet::from(["aws:dynamodb", "aws:s3", "aws:sns", "aws:sqs", "shop", "tick"].map(str::to_owned));
    eventually("every source has invoked it", || sources(&server) == all);

    let events = kept(server.folder());
    let of = |wanted: &str| -> Vec<&Value> {
        events.iter().map(|(_, event)| event).filter(|event| source(event) == wanted).collect()
    };
    assert_eq!(of("tick"), [&json!({"source": "tick"})]);
    let bodies: Vec<&Value> = of("aws:sqs")
        .iter()
        .flat_map(|event| event["Records"].as_array().unwrap())
        .map(|r| &r["body"])
        .collect();
    assert_eq!(bodies, [&json!(r#"{"kind": "wanted"}"#)], "the other one is left out by the filter");
    assert_eq!(of("aws:s3")[0]["Records"][0]["s3"]["object"]["key"], "a.txt");
    assert_eq!(of("aws:sns")[0]["Records"][0]["Sns"]["Message"], "m");
    assert_eq!(of("aws:dynamodb")[0]["Records"][0]["dynamodb"]["NewImage"], json!({"id": {"S": "a"}}));

    // What is there is told, and goes when the template no longer says it.
    let routes = run(&server, &["routes"]);
    for trigger in ["Nightly", "Tick", "Job", "News", "Upload", "Order", "Row"] {
        assert!(routes.contains(&format!("WorkerFunction{trigger}")), "{trigger}: {routes}");
    }
    let path = server.folder().join("template.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let event =
        "        News:\n          Type: SNS\n          Properties:\n            Topic: !Ref NewsTopic\n";
    assert!(text.contains(event));
    server.write_project("template.yaml", &text.replace(event, ""));
    server.wait_for_terminal("is not subscribed any more");
}

#[tokio::test]
async fn what_fails_is_in_the_destination_and_in_the_dead_letter_queue() {
    let Some(moto) = moto("what_fails_is_in_the_destination_and_in_the_dead_letter_queue") else { return };
    make_resources(&moto);
    let server = worker(&moto).await;
    put_event(&server, &json!({"fails": true})).await;
    let record: Value = serde_json::from_str(received(&moto, "results")["Body"].as_str().unwrap()).unwrap();
    assert_eq!(record["requestContext"]["condition"], "RetriesExhausted");
    assert_eq!(record["requestContext"]["approximateInvokeCount"], 1);
    let arn = record["requestContext"]["functionArn"].as_str().unwrap();
    assert!(arn.ends_with(":function:WorkerFunction:live"), "{arn}");
    assert_eq!(record["requestPayload"]["detail"], json!({"fails": true}));
    assert_eq!(record["responsePayload"]["errorMessage"], "no luck");

    let dead = received(&moto, "dead");
    let event: Value = serde_json::from_str(dead["Body"].as_str().unwrap()).unwrap();
    assert_eq!(event, record["requestPayload"]);
    let attributes = &dead["MessageAttributes"];
    assert_eq!(attributes["RequestID"]["StringValue"], record["requestContext"]["requestId"]);
    assert_eq!(attributes["ErrorMessage"]["StringValue"], "no luck");
}

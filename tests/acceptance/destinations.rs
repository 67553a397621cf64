//! Where records go: queues, topics and buses of a moto server, and URLs. Databases: `databases`.
//!
//! First what is sent, then whole ways: an event is invoked, and its record arrives.

use std::path::PathBuf;

use handlerd::aws::{Client, Endpoints};
use handlerd::delivery::{Delivery, DeliveryError, Message};
use handlerd::destination::Destination;
use serde_json::{Value, json};

use crate::harness::{PATIENCE, TestServer, TestServerBuilder};
use crate::moto::{Moto, moto};

pub const FUNCTION: &str = "arn:aws:lambda:us-east-1:123456789012:function:works:$LATEST";

/// As AWS writes it.
pub fn record(request_id: &str) -> String {
    format!(
        r#"{{"version":"1.0","timestamp":"2026-11-24T23:11:12.345Z","requestContext":{{"requestId":"{request_id}","functionArn":"{FUNCTION}","condition":"Success","approximateInvokeCount":1}},"requestPayload":{{"n":1}},"responseContext":{{"statusCode":200,"executedVersion":"$LATEST"}},"responsePayload":{{"text":"차 & <tea>"}}}}"#
    )
}

pub fn message(request_id: &str) -> Message {
    Message {
        body: record(request_id),
        attributes: Vec::new(),
        function_arn: FUNCTION.to_owned(),
        request_id: request_id.to_owned(),
        succeeded: true,
        trace_id: "Root=1-6745d1c0-aaaaaaaaaaaaaaaaaaaaaaaa;Parent=bbbbbbbbbbbbbbbb;Sampled=0".to_owned(),
    }
}

pub fn dead_letter(request_id: &str, event: &str) -> Message {
    let attribute =
        |name: &str, kind: &str, value: &str| (name.to_owned(), kind.to_owned(), value.to_owned());
    Message {
        body: event.to_owned(),
        attributes: vec![
            attribute("RequestID", "String", request_id),
            attribute("ErrorCode", "Number", "200"),
            attribute("ErrorMessage", "String", "no luck"),
        ],
        succeeded: false,
        ..message(request_id)
    }
}

fn delivery(moto: &Moto) -> Delivery {
    let variables: Vec<(String, String)> =
        moto.variables().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Delivery::new(Client::new(Endpoints::from_environment(&variables)), PathBuf::from("/"))
}

async fn send(delivery: &Delivery, to: &str, message: &Message) -> Result<(), DeliveryError> {
    delivery.send(&Destination::parse(to).unwrap(), message).await
}

/// What is in a queue, with all that it says of itself; asked until there is something.
const RECEIVE: &str = "
import sys
sqs = client('sqs')
url = sqs.get_queue_url(QueueName='results')['QueueUrl']
found = []
while len(found) < 1:
    found += sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5, MaxNumberOfMessages=10,
        MessageAttributeNames=['All'], MessageSystemAttributeNames=['All']).get('Messages', [])
print(json.dumps(found))
";

fn make_queue(moto: &Moto) -> String {
    moto.python("client('sqs').create_queue(QueueName='results')");
    moto.arn("sqs", "results")
}

#[tokio::test]
async fn a_queue_gets_the_record() {
    let Some(moto) = moto("a_queue_gets_the_record") else { return };
    let queue = make_queue(&moto);
    let message = message("r-1");
    send(&delivery(&moto), &queue, &message).await.unwrap();
    let received = moto.python(RECEIVE);
    assert_eq!(received.as_array().unwrap().len(), 1);
    assert_eq!(received[0]["Body"], message.body.as_str());
    assert_eq!(received[0]["Attributes"]["AWSTraceHeader"], message.trace_id.as_str());
    assert_eq!(received[0].get("MessageAttributes"), None, "only dead letters have them");
}

#[tokio::test]
async fn a_dead_letter_queue_gets_the_event() {
    let Some(moto) = moto("a_dead_letter_queue_gets_the_event") else { return };
    let queue = make_queue(&moto);
    send(&delivery(&moto), &queue, &dead_letter("r-2", r#"{"a": 1}"#)).await.unwrap();
    let received = moto.python(RECEIVE);
    assert_eq!(received[0]["Body"], r#"{"a": 1}"#);
    let attributes = &received[0]["MessageAttributes"];
    assert_eq!(attributes["RequestID"], json!({"StringValue": "r-2", "DataType": "String"}));
    assert_eq!(attributes["ErrorCode"], json!({"StringValue": "200", "DataType": "Number"}));
    assert_eq!(attributes["ErrorMessage"], json!({"StringValue": "no luck", "DataType": "String"}));
}

#[tokio::test]
async fn a_queue_that_is_not_there_is_told_and_found_once_it_is() {
    let Some(moto) = moto("a_queue_that_is_not_there_is_told_and_found_once_it_is") else { return };
    let delivery = delivery(&moto);
    let queue = moto.arn("sqs", "results");
    let error = send(&delivery, &queue, &message("r")).await.unwrap_err();
    assert!(!error.transient && error.reason.contains("QueueDoesNotExist"), "{error}");
    make_queue(&moto);
    send(&delivery, &queue, &message("r")).await.unwrap();
    // Removed and made anew: what is remembered of it does not stand in the way.
    moto.python(
        "sqs = client('sqs'); sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName='results')['QueueUrl'])",
    );
    send(&delivery, &queue, &message("r")).await.unwrap_err();
    make_queue(&moto);
    send(&delivery, &queue, &message("again")).await.unwrap();
    assert!(moto.python(RECEIVE)[0]["Body"].as_str().unwrap().contains("again"));
}

#[tokio::test]
async fn fifo_is_refused_in_words() {
    let delivery = Delivery::new(Client::new(Endpoints::default()), PathBuf::from("/"));
    for arn in ["arn:aws:sqs:us-east-1:123456789012:q.fifo", "arn:aws:sns:us-east-1:123456789012:t.fifo"] {
        let error = send(&delivery, arn, &message("r")).await.unwrap_err();
        assert!(!error.transient && error.reason.contains("is a FIFO "), "{error}");
    }
}

#[tokio::test]
async fn a_topic_gets_the_record_and_a_dead_letter() {
    let Some(moto) = moto("a_topic_gets_the_record_and_a_dead_letter") else { return };
    let queue = make_queue(&moto);
    moto.python(&format!(
        "sns = client('sns')\nsns.subscribe(TopicArn=sns.create_topic(Name='news')['TopicArn'], Protocol='sqs', Endpoint='{queue}')"
    ));
    let topic = moto.arn("sns", "news");
    let delivery = delivery(&moto);
    let record = message("r-3");
    send(&delivery, &topic, &record).await.unwrap();
    let received = moto.python(RECEIVE);
    let notification: Value = serde_json::from_str(received[0]["Body"].as_str().unwrap()).unwrap();
    assert_eq!(notification["Message"], record.body.as_str());
    assert_eq!(notification["TopicArn"], topic.as_str());

    moto.python(
        "sqs = client('sqs'); sqs.purge_queue(QueueUrl=sqs.get_queue_url(QueueName='results')['QueueUrl'])",
    );
    send(&delivery, &topic, &dead_letter("r-4", "[1, \"&\"]")).await.unwrap();
    let received = moto.python(RECEIVE);
    let notification: Value = serde_json::from_str(received[0]["Body"].as_str().unwrap()).unwrap();
    assert_eq!(notification["Message"], "[1, \"&\"]");
    assert_eq!(notification["MessageAttributes"]["RequestID"], json!({"Type": "String", "Value": "r-4"}));
    assert_eq!(notification["MessageAttributes"]["ErrorCode"], json!({"Type": "Number", "Value": "200"}));

    let error = send(&delivery, &moto.arn("sns", "nowhere"), &record).await.unwrap_err();
    assert!(!error.transient && error.reason.contains("NotFound"), "{error}");
}

#[tokio::test]
async fn a_bus_gets_the_record_as_an_event() {
    let Some(moto) = moto("a_bus_gets_the_record_as_an_event") else { return };
    let queue = make_queue(&moto);
    moto.python(&format!(
        "events = client('events')
events.create_event_bus(Name='mine')
events.put_rule(Name='all', EventBusName='mine', EventPattern=json.dumps({{'source': ['lambda']}}))
events.put_targets(Rule='all', EventBusName='mine', Targets=[{{'Id': '1', 'Arn': '{queue}'}}])"
    ));
    let bus = moto.arn("events", "event-bus/mine");
    let delivery = delivery(&moto);
    let mut record = message("r-5");
    record.succeeded = false;
    send(&delivery, &bus, &record).await.unwrap();
    let received = moto.python(RECEIVE);
    let event: Value = serde_json::from_str(received[0]["Body"].as_str().unwrap()).unwrap();
    assert_eq!(event["source"], "lambda");
    assert_eq!(event["detail-type"], "Lambda Function Invocation Result - Failure");
    assert_eq!(event["resources"], json!([bus, FUNCTION]));
    assert_eq!(event["detail"], serde_json::from_str::<Value>(&record.body).unwrap());

    // PutEvents answers 200 and says in it what it has not taken.
    record.body = "no JSON".to_owned();
    let error = send(&delivery, &bus, &record).await.unwrap_err();
    assert!(!error.transient && error.reason.contains("Malformed"), "{error}");
}

#[tokio::test]
async fn nobody_at_the_endpoint_is_worth_another_try() {
    let Some(moto) = moto("nobody_at_the_endpoint_is_worth_another_try") else { return };
    let delivery = delivery(&moto);
    let (queue, topic) = (make_queue(&moto), moto.arn("sns", "news"));
    drop(moto);
    for to in [&queue, &topic] {
        let error = send(&delivery, to, &message("r")).await.unwrap_err();
        assert!(error.transient, "{error}");
    }
    crate::catalogue::seen("43", "kept for another try", None);
}

// ---- Whole ways

const WORKS: &str = "
def lambda_handler(event, context):
    if event.get('fails'):
        raise ValueError('no luck')
    return {'doubled': event['n'] * 2, 'id': context.aws_request_id}
";

/// The function `works`, whose records go there, with one attempt only.
pub fn works(destinations: &str) -> TestServerBuilder {
    let properties =
        format!("EventInvokeConfig:\n  MaximumRetryAttempts: 0\n  DestinationConfig:\n{destinations}");
    TestServerBuilder::new().handler("works", WORKS).file("works/function.yaml", &properties)
}

/// Its request id.
pub async fn invoke_later(server: &TestServer, event: &str) -> String {
    let answer = server.invoke_with("works", event, &[("x-amz-invocation-type", "Event")]).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.header("x-amzn-requestid").unwrap().to_owned()
}

#[tokio::test]
async fn a_record_arrives_in_a_queue_and_a_failure_in_another_place() {
    let Some(moto) = moto("a_record_arrives_in_a_queue_and_a_failure_in_another_place") else { return };
    let queue = make_queue(&moto);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/failures", listener.local_addr().unwrap());
    let mut builder = works(&format!(
        "    OnSuccess: {{Type: SQS, Destination: '{queue}'}}\n    OnFailure: {{Destination: '{url}'}}\n"
    ));
    for (name, value) in moto.variables() {
        builder = builder.variable(name, &value);
    }
    let server = builder.start().await;

    let request_id = invoke_later(&server, r#"{"n": 21}"#).await;
    let received = moto.python(RECEIVE);
    let record: Value = serde_json::from_str(received[0]["Body"].as_str().unwrap()).unwrap();
    assert_eq!(record["requestContext"]["requestId"], request_id.as_str());
    assert_eq!(record["requestContext"]["condition"], "Success");
    assert_eq!(record["responsePayload"], json!({"doubled": 42, "id": request_id}));

    let posted = tokio::spawn(post_taken(listener));
    let request_id = invoke_later(&server, r#"{"fails": true}"#).await;
    let request = tokio::time::timeout(PATIENCE, posted).await.expect("it is posted").unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("idempotency-key: {request_id}")), "{head}");
    let record: Value = serde_json::from_str(body).unwrap();
    assert_eq!(record["requestContext"]["condition"], "RetriesExhausted");
    assert_eq!(record["responsePayload"]["errorMessage"], "no luck");
}

/// Takes one POST, refuses it as a server in trouble does, and takes it when it comes again.
async fn post_taken(listener: tokio::net::TcpListener) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    for status in ["503 Service Unavailable", "200 OK"] {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&request).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.split_once("content-length: ").unwrap().1.lines().next().unwrap();
                if body.len() >= length.trim().parse().unwrap() {
                    break;
                }
            }
            assert!(stream.read_buf(&mut request).await.unwrap() > 0, "the request is whole");
        }
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
        if status.starts_with("200") {
            return String::from_utf8(request).unwrap();
        }
    }
    unreachable!("the second one is taken")
}

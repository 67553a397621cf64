//! Queues that functions read: moto's SQS stands for the real one, boto3 sends.

use serde_json::{Value, json};

use crate::event_source_mappings::{Reader, bodies, map, python};
use crate::harness::{TestServer, eventually};
use crate::moto::{Moto, moto};

/// Makes a queue. `attributes`: in Python.
fn queue(moto: &Moto, name: &str, attributes: &str) {
    moto.python(&format!("client('sqs').create_queue(QueueName='{name}', Attributes={{{attributes}}})"));
}

/// Sends messages with these bodies, in order.
fn send(moto: &Moto, name: &str, bodies: &[&str], more: &str) {
    moto.python(&format!(
        "sqs = client('sqs')\n\
         url = sqs.get_queue_url(QueueName='{name}')['QueueUrl']\n\
         for body in {}:\n    sqs.send_message(QueueUrl=url, MessageBody=body, {more})",
        json!(bodies)
    ));
}

/// How many messages the queue holds, visible or not.
fn left(moto: &Moto, name: &str) -> u64 {
    let counts = moto.python(&format!(
        "sqs = client('sqs')\n\
         url = sqs.get_queue_url(QueueName='{name}')['QueueUrl']\n\
         names = ['ApproximateNumberOfMessages', 'ApproximateNumberOfMessagesNotVisible']\n\
         counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)['Attributes']\n\
         print(json.dumps(sum(int(counts[name]) for name in names)))"
    ));
    counts.as_u64().unwrap()
}

fn mapped(moto: &Moto, server: &TestServer, name: &str, more: &str) -> String {
    map(moto, server, &format!("EventSourceArn='{}', {more}", moto.arn("sqs", name)))
}

#[tokio::test]
async fn messages_come_as_on_lambda_and_are_deleted() {
    let Some(moto) = moto("messages_come_as_on_lambda_and_are_deleted") else { return };
    let reader = Reader::new("");
    let server = reader.server(&moto).start().await;
    queue(&moto, "orders", "");
    let attributes = "MessageAttributes={'kind': {'DataType': 'String', 'StringValue': 'new'}, \
                      'raw': {'DataType': 'Binary', 'BinaryValue': b'foo'}}, \
                      MessageSystemAttributes={'AWSTraceHeader': {'DataType': 'String', \
                      'StringValue': 'Root=1-5759e988-bd862e3fe1be46a994272793'}}";
    send(&moto, "orders", &[r#"{"order": 1}"#], attributes);
    send(&moto, "orders", &["plain text"], "");
    mapped(&moto, &server, "orders", "");
    reader.wait_for_bodies(&[r#"{"order": 1}"#, "plain text"]);
    eventually("they are deleted", || left(&moto, "orders") == 0);

    let events = reader.ended();
    let records: Vec<&Value> = events.iter().flat_map(|event| event["Records"].as_array().unwrap()).collect();
    let traced = records.iter().find(|record| record["body"] == r#"{"order": 1}"#).unwrap();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(
        keys(traced),
        "messageId receiptHandle body attributes messageAttributes md5OfMessageAttributes md5OfBody eventSource \
         eventSourceARN awsRegion"
    );
    assert_eq!(
        keys(&traced["attributes"]),
        "ApproximateReceiveCount AWSTraceHeader SentTimestamp SenderId ApproximateFirstReceiveTimestamp"
    );
    assert_eq!(traced["attributes"]["ApproximateReceiveCount"], "1");
    assert_eq!(
        traced["messageAttributes"],
        json!({
            "kind": {"stringValue": "new", "stringListValues": [], "binaryListValues": [], "dataType": "String"},
            "raw": {"binaryValue": "Zm9v", "stringListValues": [], "binaryListValues": [], "dataType": "Binary"},
        })
    );
    assert!(traced["md5OfMessageAttributes"].is_string());
    assert_eq!(traced["eventSourceARN"], moto.arn("sqs", "orders"));
    assert_eq!((&traced["eventSource"], &traced["awsRegion"]), (&json!("aws:sqs"), &json!("us-east-1")));
    let plain = records.iter().find(|record| record["body"] == "plain text").unwrap();
    assert_eq!((&plain["messageAttributes"], &plain["md5OfMessageAttributes"]), (&json!({}), &Value::Null));
}

#[tokio::test]
async fn what_fails_comes_again_and_ends_in_the_queues_own_dead_letters() {
    let Some(moto) = moto("what_fails_comes_again_and_ends_in_the_queues_own_dead_letters") else { return };
    let reader = Reader::new("raise ValueError('no')");
    let server = reader.server(&moto).start().await;
    queue(&moto, "dead", "");
    let redrive = json!({"deadLetterTargetArn": moto.arn("sqs", "dead"), "maxReceiveCount": 2}).to_string();
    queue(&moto, "orders", &format!("'RedrivePolicy': '{redrive}', 'VisibilityTimeout': '25'"));
    mapped(&moto, &server, "orders", "");
    // Shorter than Lambda takes, so that the test need not wait.
    moto.python(
        "sqs = client('sqs')\n\
         sqs.set_queue_attributes(QueueUrl=sqs.get_queue_url(QueueName='orders')['QueueUrl'], \
         Attributes={'VisibilityTimeout': '1'})",
    );
    send(&moto, "orders", &["poison"], "");
    eventually("it is among the dead letters", || left(&moto, "dead") == 1);
    let events = reader.began();
    let counts: Vec<&Value> =
        events.iter().map(|event| &event["Records"][0]["attributes"]["ApproximateReceiveCount"]).collect();
    assert_eq!(counts, ["1", "2"]);
    assert_eq!(left(&moto, "orders"), 0);
    server.wait_for_terminal("-> reader function error");
}

#[tokio::test]
async fn only_what_is_reported_comes_again() {
    let Some(moto) = moto("only_what_is_reported_comes_again") else { return };
    let reader = Reader::new(
        "failed = [r for r in event['Records'] if r['body'] == 'bad' and r['attributes']['ApproximateReceiveCount'] == '1']\n\
         result = {'batchItemFailures': [{'itemIdentifier': r['messageId']} for r in failed]}",
    );
    let server = reader.server(&moto).start().await;
    queue(&moto, "orders", "'VisibilityTimeout': '25'");
    send(&moto, "orders", &["one", "bad", "two"], "");
    let arguments = "BatchSize=10, FunctionResponseTypes=['ReportBatchItemFailures']";
    mapped(&moto, &server, "orders", arguments);
    moto.python(
        "sqs = client('sqs')\n\
         sqs.set_queue_attributes(QueueUrl=sqs.get_queue_url(QueueName='orders')['QueueUrl'], \
         Attributes={'VisibilityTimeout': '1'})",
    );
    eventually("all are deleted", || left(&moto, "orders") == 0);
    let mut bodies = bodies(&reader.ended());
    bodies.sort();
    assert_eq!(bodies, ["bad", "bad", "one", "two"]);
}

#[tokio::test]
async fn a_group_keeps_its_order() {
    let Some(moto) = moto("a_group_keeps_its_order") else { return };
    // The second message fails once.
    let reader = Reader::new(
        "r = event['Records'][0]\n\
         if r['body'] == 'a2' and r['attributes']['ApproximateReceiveCount'] == '1': raise ValueError('again')",
    );
    let server = reader.server(&moto).start().await;
    queue(
        &moto,
        "orders.fifo",
        "'FifoQueue': 'true', 'ContentBasedDeduplication': 'true', 'VisibilityTimeout': '25'",
    );
    mapped(&moto, &server, "orders.fifo", "BatchSize=1");
    moto.python(
        "sqs = client('sqs')\n\
         sqs.set_queue_attributes(QueueUrl=sqs.get_queue_url(QueueName='orders.fifo')['QueueUrl'], \
         Attributes={'VisibilityTimeout': '1'})",
    );
    send(&moto, "orders.fifo", &["a1", "a2", "a3"], "MessageGroupId='a'");
    send(&moto, "orders.fifo", &["b1", "b2"], "MessageGroupId='b'");
    reader.wait_for_bodies(&["a1", "a2", "a3", "b1", "b2"]);
    let handled = bodies(&reader.ended());
    let of = |group: char| handled.iter().filter(|body| body.starts_with(group)).cloned().collect::<Vec<_>>();
    assert_eq!(of('a'), ["a1", "a2", "a3"]);
    assert_eq!(of('b'), ["b1", "b2"]);
    let attributes = &reader.ended()[0]["Records"][0]["attributes"];
    for name in ["MessageGroupId", "MessageDeduplicationId"] {
        assert!(attributes[name].is_string(), "{attributes}");
    }
}

#[tokio::test]
async fn a_window_gathers_a_batch() {
    let Some(moto) = moto("a_window_gathers_a_batch") else { return };
    let reader = Reader::new("");
    let server = reader.server(&moto).start().await;
    queue(&moto, "orders", "");
    let sent: Vec<String> = (0..25).map(|number| format!("m{number}")).collect();
    let sent: Vec<&str> = sent.iter().map(String::as_str).collect();
    send(&moto, "orders", &sent, "");
    mapped(
        &moto,
        &server,
        "orders",
        "BatchSize=25, MaximumBatchingWindowInSeconds=5, ScalingConfig={'MaximumConcurrency': 2}",
    );
    reader.wait_for_bodies(&sent);
    let largest = reader.ended().iter().map(|event| event["Records"].as_array().unwrap().len()).max();
    assert!(largest > Some(10), "more than one receive can bring: {largest:?}");
    eventually("they are deleted", || left(&moto, "orders") == 0);
}

#[tokio::test]
async fn no_more_than_the_maximum_concurrency_run() {
    let Some(moto) = moto("no_more_than_the_maximum_concurrency_run") else { return };
    let reader = Reader::new("import os, time\nwhile not os.path.exists(folder + '/go'): time.sleep(0.01)");
    let server = reader.server(&moto).argument("--concurrency").argument("30").start().await;
    queue(&moto, "few", "");
    let sent: Vec<String> = (0..20).map(|number| format!("m{number}")).collect();
    let sent: Vec<&str> = sent.iter().map(String::as_str).collect();
    send(&moto, "few", &sent, "");
    mapped(&moto, &server, "few", "BatchSize=1, ScalingConfig={'MaximumConcurrency': 3}");
    eventually("three run", || reader.began().len() == 3);
    // Those that run tell how many there were at most; another poller would be at work by the time
    // another queue is.
    queue(&moto, "many", "");
    send(&moto, "many", &sent, "");
    let other = moto.arn("sqs", "many");
    map(&moto, &server, &format!("EventSourceArn='{other}', BatchSize=1"));
    let of = |name: &str| {
        let arn = moto.arn("sqs", name);
        reader.began().iter().filter(|event| event["Records"][0]["eventSourceARN"] == arn.as_str()).count()
    };
    eventually("more than the five that begin", || of("many") > 7);
    assert_eq!(of("few"), 3);
    std::fs::write(reader.path("go"), "").unwrap();
    eventually("all are handled", || reader.ended().len() >= 40);
    eventually("all are deleted", || left(&moto, "few") + left(&moto, "many") == 0);
    assert_eq!(reader.began().len(), 40, "none came twice");
}

#[tokio::test]
async fn a_batch_stays_hidden_while_it_is_handled() {
    let Some(moto) = moto("a_batch_stays_hidden_while_it_is_handled") else { return };
    let reader = Reader::new("import time\ntime.sleep(4)");
    let server = reader.server(&moto).start().await;
    queue(&moto, "orders", "'VisibilityTimeout': '25'");
    mapped(&moto, &server, "orders", "");
    moto.python(
        "sqs = client('sqs')\n\
         sqs.set_queue_attributes(QueueUrl=sqs.get_queue_url(QueueName='orders')['QueueUrl'], \
         Attributes={'VisibilityTimeout': '2'})",
    );
    // The mapping has seen 25 seconds; it looks again when it begins anew.
    let arn = moto.arn("sqs", "orders");
    python(
        &moto,
        &server,
        &format!(
            "uuid = api.list_event_source_mappings(EventSourceArn='{arn}')['EventSourceMappings'][0]['UUID']\n\
         api.update_event_source_mapping(UUID=uuid, BatchSize=5)\nwait_for(uuid, 'Enabled')"
        ),
    );
    send(&moto, "orders", &["slow"], "");
    eventually("it is deleted", || left(&moto, "orders") == 0 && !reader.ended().is_empty());
    assert_eq!(reader.began().len(), 1, "it did not come again meanwhile");
    crate::catalogue::seen("44", "handled once", None);
}

#[tokio::test]
async fn stopping_ends_what_has_begun() {
    let Some(moto) = moto("stopping_ends_what_has_begun") else { return };
    let reader = Reader::new("import os, time\nwhile not os.path.exists(folder + '/go'): time.sleep(0.01)");
    let mut server = reader.server(&moto).start().await;
    queue(&moto, "orders", "");
    mapped(&moto, &server, "orders", "");
    send(&moto, "orders", &["last"], "");
    eventually("it has begun", || reader.began().len() == 1);
    server.signal(rustix::process::Signal::TERM);
    server.wait_for_terminal("stopping");
    std::fs::write(reader.path("go"), "").unwrap();
    assert!(server.wait_for_exit().success());
    assert_eq!((reader.ended().len(), left(&moto, "orders")), (1, 0), "handled and deleted");
}

#[tokio::test]
async fn what_a_killed_gateway_had_begun_comes_again() {
    let Some(moto) = moto("what_a_killed_gateway_had_begun_comes_again") else { return };
    let reader = Reader::new("import time\ntime.sleep(60)");
    let state = tempfile::tempdir().unwrap();
    let begin =
        || reader.server(&moto).argument("--state-dir").argument(state.path().to_str().unwrap()).start();
    let server = begin().await;
    queue(&moto, "orders", "'VisibilityTimeout': '25'");
    mapped(&moto, &server, "orders", "");
    moto.python(
        "sqs = client('sqs')\n\
         sqs.set_queue_attributes(QueueUrl=sqs.get_queue_url(QueueName='orders')['QueueUrl'], \
         Attributes={'VisibilityTimeout': '2'})",
    );
    send(&moto, "orders", &["precious"], "");
    eventually("it has begun", || reader.began().len() == 1);
    drop(server);
    reader.does("");
    let _server = begin().await;
    reader.wait_for_bodies(&["precious"]);
    eventually("it is deleted", || left(&moto, "orders") == 0);
}

//! Streams that functions read: moto's Kinesis and DynamoDB stand for the real ones.

use serde_json::{Value, json};

use crate::event_source_mappings::{Reader, map};
use crate::harness::{TestServer, eventually};
use crate::moto::{Moto, moto};

fn stream(moto: &Moto, shards: usize) -> String {
    moto.python(&format!("client('kinesis').create_stream(StreamName='orders', ShardCount={shards})"));
    moto.arn("kinesis", "stream/orders")
}

/// Puts records with these texts, each under its own key unless it is said.
fn put(moto: &Moto, texts: &[&str], key: Option<&str>) {
    moto.python(&format!(
        "kinesis = client('kinesis')\nkey = {}\n\
         for text in {}:\n    kinesis.put_record(StreamName='orders', Data=text.encode(), PartitionKey=key or text)",
        key.map_or("None".to_owned(), |key| format!("'{key}'")),
        json!(texts)
    ));
}

fn texts(events: &[Value]) -> Vec<String> {
    use base64::Engine;
    let records = events.iter().flat_map(|event| event["Records"].as_array().unwrap());
    let data = records.map(|record| record["kinesis"]["data"].as_str().unwrap());
    let decode = |data| base64::engine::general_purpose::STANDARD.decode(data).unwrap();
    data.map(|data| String::from_utf8(decode(data)).unwrap()).collect()
}

fn mapped(moto: &Moto, server: &TestServer, arn: &str, more: &str) -> String {
    map(moto, server, &format!("EventSourceArn='{arn}', {more}"))
}

#[tokio::test]
async fn a_shard_is_read_in_order_and_goes_on_after_a_kill() {
    let Some(moto) = moto("a_shard_is_read_in_order_and_goes_on_after_a_kill") else { return };
    let reader = Reader::new("");
    let state = tempfile::tempdir().unwrap();
    let begin =
        || reader.server(&moto).argument("--state-dir").argument(state.path().to_str().unwrap()).start();
    let server = begin().await;
    let arn = stream(&moto, 1);
    put(&moto, &["1", "2", "3"], None);
    mapped(&moto, &server, &arn, "StartingPosition='TRIM_HORIZON', BatchSize=2");
    eventually("all are handled", || texts(&reader.ended()).len() == 3);
    let events = reader.ended();
    assert_eq!(texts(&events), ["1", "2", "3"]);
    let record = &events[0]["Records"][0];
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(
        keys(record),
        "kinesis eventSource eventVersion eventID eventName invokeIdentityArn awsRegion eventSourceARN"
    );
    assert_eq!(
        keys(&record["kinesis"]),
        "kinesisSchemaVersion partitionKey sequenceNumber data approximateArrivalTimestamp"
    );
    let sequence = record["kinesis"]["sequenceNumber"].as_str().unwrap();
    assert_eq!(record["eventID"], format!("shardId-000000000000:{sequence}"));
    // The checkpoint follows the last success at once; a moment later it is on the disk.
    put(&moto, &["4"], None);
    eventually("the next is handled", || texts(&reader.ended()).len() == 4);
    drop(server);
    put(&moto, &["5"], None);
    let _server = begin().await;
    eventually("what came meanwhile is handled", || texts(&reader.ended()).contains(&"5".to_owned()));
    let all = texts(&reader.ended());
    assert!(all.len() <= 6, "no more than the last batch comes again: {all:?}");
    assert_eq!(all[..4], ["1", "2", "3", "4"]);
}

#[tokio::test]
async fn the_latest_position_leaves_out_what_was_there() {
    let Some(moto) = moto("the_latest_position_leaves_out_what_was_there") else { return };
    let reader = Reader::new("");
    let server = reader.server(&moto).start().await;
    let arn = stream(&moto, 2);
    put(&moto, &["old"], None);
    mapped(&moto, &server, &arn, "StartingPosition='LATEST'");
    // The iterators are made a moment after the mapping is.
    eventually("new records are read", || {
        put(&moto, &["new"], None);
        !reader.ended().is_empty()
    });
    assert!(texts(&reader.ended()).iter().all(|text| text == "new"));
}

#[tokio::test]
async fn a_poison_record_is_found_by_halving_and_given_up() {
    let Some(moto) = moto("a_poison_record_is_found_by_halving_and_given_up") else { return };
    let reader = Reader::new(
        "import base64\n\
         if any(base64.b64decode(r['kinesis']['data']) == b'poison' for r in event['Records']): raise ValueError('no')",
    );
    let server = reader.server(&moto).start().await;
    let arn = stream(&moto, 1);
    put(&moto, &["1", "2", "poison", "4"], None);
    mapped(
        &moto,
        &server,
        &arn,
        "StartingPosition='TRIM_HORIZON', BisectBatchOnFunctionError=True, MaximumRetryAttempts=1",
    );
    eventually("the others are handled", || texts(&reader.ended()).len() == 3);
    assert_eq!(texts(&reader.ended()), ["1", "2", "4"]);
    let tried: Vec<Vec<String>> =
        reader.began().iter().map(|event| texts(std::slice::from_ref(event))).collect();
    let alone = tried.iter().filter(|batch| **batch == ["poison"]).count();
    assert_eq!(alone, 2, "once, and once more: {tried:?}");
    let line = server.wait_for_terminal("gives up 1 records of shardId-000000000000");
    assert!(line.contains("RetryAttemptsExhausted"), "{line}");
}

#[tokio::test]
async fn what_follows_a_reported_record_comes_again() {
    let Some(moto) = moto("what_follows_a_reported_record_comes_again") else { return };
    let reader = Reader::new(
        "import base64, os\n\
         result = {'batchItemFailures': []}\n\
         for r in event['Records']:\n\
         \x20   if base64.b64decode(r['kinesis']['data']) == b'2' and not os.path.exists(folder + '/failed'):\n\
         \x20       open(folder + '/failed', 'w').close()\n\
         \x20       result = {'batchItemFailures': [{'itemIdentifier': r['kinesis']['sequenceNumber']}]}",
    );
    let server = reader.server(&moto).start().await;
    let arn = stream(&moto, 1);
    put(&moto, &["1", "2", "3"], None);
    mapped(
        &moto,
        &server,
        &arn,
        "StartingPosition='TRIM_HORIZON', FunctionResponseTypes=['ReportBatchItemFailures']",
    );
    eventually("the rest has come again", || reader.ended().len() == 2);
    let batches: Vec<Vec<String>> =
        reader.ended().iter().map(|event| texts(std::slice::from_ref(event))).collect();
    assert_eq!(batches, [vec!["1", "2", "3"], vec!["2", "3"]]);
}

#[tokio::test]
async fn lanes_keep_the_order_of_a_key_and_do_not_wait_for_each_other() {
    let Some(moto) = moto("lanes_keep_the_order_of_a_key_and_do_not_wait_for_each_other") else { return };
    let reader = Reader::new(
        "import os, time\n\
         while any(r['kinesis']['partitionKey'] == 'slow' for r in event['Records']) and not os.path.exists(folder + '/go'): time.sleep(0.01)",
    );
    let server = reader.server(&moto).start().await;
    let arn = stream(&moto, 1);
    put(&moto, &["s1", "s2"], Some("slow"));
    let keys: Vec<String> = (0..12).map(|number| format!("key{number}")).collect();
    for key in &keys {
        put(&moto, &[&format!("{key}-1"), &format!("{key}-2")], Some(key));
    }
    mapped(&moto, &server, &arn, "StartingPosition='TRIM_HORIZON', ParallelizationFactor=10, BatchSize=1");
    // At least some keys are in another lane than the slow one.
    eventually("others are handled meanwhile", || {
        texts(&reader.ended()).iter().any(|text| text.ends_with("-2"))
    });
    std::fs::write(reader.path("go"), "").unwrap();
    eventually("all are handled", || texts(&reader.ended()).len() == 26);
    let all = texts(&reader.ended());
    for key in keys.iter().map(String::as_str).chain(["s"]) {
        let of: Vec<&String> = all
            .iter()
            .filter(|text| text.split('-').next() == Some(key) || (key == "s" && text.len() == 2))
            .collect();
        assert!(of.len() == 2 && of[0].ends_with('1') && of[1].ends_with('2'), "{key}: {of:?}");
    }
}

#[tokio::test]
async fn a_window_hands_its_state_on() {
    let Some(moto) = moto("a_window_hands_its_state_on") else { return };
    let reader =
        Reader::new("result = {'state': {'count': event['state'].get('count', 0) + len(event['Records'])}}");
    let server = reader.server(&moto).start().await;
    let arn = stream(&moto, 1);
    put(&moto, &["1", "2", "3"], None);
    mapped(&moto, &server, &arn, "StartingPosition='TRIM_HORIZON', BatchSize=1, TumblingWindowInSeconds=2");
    eventually("the windows are over", || {
        let events = reader.ended();
        texts(&events).len() == 3
            && events.last().is_some_and(|event| event["isFinalInvokeForWindow"] == true)
    });
    let events = reader.ended();
    let finals: Vec<&Value> = events.iter().filter(|event| event["isFinalInvokeForWindow"] == true).collect();
    let counted: u64 = finals.iter().map(|event| event["state"]["count"].as_u64().unwrap()).sum();
    assert_eq!(counted, 3, "every record is counted in one window: {events:?}");
    for event in &events {
        let keys: Vec<&String> = event.as_object().unwrap().keys().collect();
        assert_eq!(
            keys,
            [
                "Records",
                "window",
                "state",
                "shardId",
                "eventSourceARN",
                "isFinalInvokeForWindow",
                "isWindowTerminatedEarly"
            ]
        );
        assert_eq!(event["shardId"], "shardId-000000000000");
    }
}

/// A Kinesis with what moto does not have: a shard that was split, throttling, iterators that expire,
/// a server that fails.
mod fake {
    use std::collections::HashMap;
    use std::sync::{Arc, Mutex};

    use axum::extract::State;
    use axum::http::{HeaderMap, StatusCode};
    use serde_json::{Value, json};

    pub const ARN: &str = "arn:aws:kinesis:us-east-1:123456789012:stream/orders";

    #[derive(Default)]
    pub struct Shared {
        /// What the next GetRecords answer, before records come: status and code.
        pub failures: Vec<(u16, &'static str)>,
        /// Names of operations, in order.
        pub asked: Vec<String>,
        /// By shard: the sequence numbers behind which it was begun.
        pub begun: HashMap<String, Vec<String>>,
    }

    pub type Fake = Arc<Mutex<Shared>>;

    /// Its URL.
    pub async fn start(fake: Fake) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = axum::Router::new().fallback(answer).with_state(fake);
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        url
    }

    /// Three records in the parent, two in each child.
    fn records(shard: &str) -> &'static [&'static str] {
        match shard {
            "shardId-000000000000" => &["11", "12", "13"],
            "shardId-000000000001" => &["21", "22"],
            _ => &["31", "32"],
        }
    }

    async fn answer(State(fake): State<Fake>, headers: HeaderMap, body: String) -> (StatusCode, String) {
        let operation = headers["x-amz-target"].to_str().unwrap().rsplit('.').next().unwrap().to_owned();
        let body: Value = serde_json::from_str(&body).unwrap();
        let mut fake = fake.lock().unwrap();
        fake.asked.push(operation.clone());
        let answer = match operation.as_str() {
            // The children come first: it is for the reader to find the order.
            "ListShards" => json!({"Shards": [
                {"ShardId": "shardId-000000000001", "ParentShardId": "shardId-000000000000", "SequenceNumberRange": {"StartingSequenceNumber": "20"}},
                {"ShardId": "shardId-000000000002", "ParentShardId": "shardId-000000000000", "SequenceNumberRange": {"StartingSequenceNumber": "30"}},
                {"ShardId": "shardId-000000000000", "SequenceNumberRange": {"StartingSequenceNumber": "10", "EndingSequenceNumber": "19"}},
            ]}),
            "GetShardIterator" => {
                let shard = body["ShardId"].as_str().unwrap();
                let behind = body["StartingSequenceNumber"].as_str().unwrap_or("0");
                fake.begun.entry(shard.to_owned()).or_default().push(behind.to_owned());
                json!({"ShardIterator": format!("{shard} {behind}")})
            }
            "GetRecords" => {
                if !fake.failures.is_empty() {
                    let (status, code) = fake.failures.remove(0);
                    let body = json!({"__type": code, "message": "on purpose"});
                    return (StatusCode::from_u16(status).unwrap(), body.to_string());
                }
                let (shard, behind) = body["ShardIterator"].as_str().unwrap().split_once(' ').unwrap();
                let next = records(shard).iter().find(|sequence| **sequence > behind);
                let last = next.copied().unwrap_or(behind);
                let is_over = shard == "shardId-000000000000" && next.is_none();
                let record = |sequence: &&str| {
                    json!({
                        "SequenceNumber": sequence, "PartitionKey": "k", "Data": "eA==",
                        "ApproximateArrivalTimestamp": 1764025920.123,
                    })
                };
                json!({
                    "Records": next.iter().map(|sequence| record(sequence)).collect::<Vec<_>>(),
                    "NextShardIterator": (!is_over).then(|| format!("{shard} {last}")),
                    "MillisBehindLatest": if next.is_some() { 1000 } else { 0 },
                })
            }
            other => panic!("{other} was asked"),
        };
        (StatusCode::OK, answer.to_string())
    }
}

fn sequences(events: &[Value]) -> Vec<String> {
    let records = events.iter().flat_map(|event| event["Records"].as_array().unwrap());
    records.map(|record| record["kinesis"]["sequenceNumber"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_split_shard_is_read_first_and_through_every_trouble() {
    let Some(moto) = moto("a_split_shard_is_read_first_and_through_every_trouble") else { return };
    let reader = Reader::new("");
    let shared: fake::Fake = std::sync::Arc::default();
    // Two refusals in a row would not be noticed: whoever asks tries three times.
    shared.lock().unwrap().failures = vec![
        (400, "ProvisionedThroughputExceededException"),
        (400, "ProvisionedThroughputExceededException"),
        (400, "ProvisionedThroughputExceededException"),
        (500, "InternalFailure"),
        (400, "ExpiredIteratorException"),
    ];
    let url = fake::start(shared.clone()).await;
    let state = tempfile::tempdir().unwrap();
    let begin = || {
        let builder = reader.server(&moto).variable("AWS_ENDPOINT_URL_KINESIS", &url);
        builder.argument("--state-dir").argument(state.path().to_str().unwrap()).start()
    };
    let mut server = begin().await;
    mapped(&moto, &server, fake::ARN, "StartingPosition='TRIM_HORIZON', BatchSize=1");
    eventually("all shards are handled", || sequences(&reader.ended()).len() == 7);
    let all = sequences(&reader.ended());
    assert_eq!(all[..3], ["11", "12", "13"], "the parent first: {all:?}");
    let of = |first: &str| all.iter().filter(|text| text.starts_with(first)).cloned().collect::<Vec<_>>();
    assert_eq!((of("2"), of("3")), (vec!["21".into(), "22".into()], vec!["31".into(), "32".into()]));
    // Told once for all that went wrong before it was over.
    server.wait_for_terminal("works again");
    let told = server.terminal().matches("it is tried again").count();
    assert!(told <= 3, "{told} times");

    // What has begun comes to its end, its checkpoint included: nothing is asked for again.
    server.signal(rustix::process::Signal::TERM);
    assert!(server.wait_for_exit().success());
    shared.lock().unwrap().begun.clear();
    let _server = begin().await;
    eventually("both children are read on", || shared.lock().unwrap().begun.len() == 2);
    let begun = shared.lock().unwrap().begun.clone();
    assert_eq!(begun["shardId-000000000001"], ["22"]);
    assert_eq!(begun["shardId-000000000002"], ["32"]);
}

#[tokio::test]
async fn changes_of_a_table_come_as_on_lambda() {
    let Some(moto) = moto("changes_of_a_table_come_as_on_lambda") else { return };
    let reader = Reader::new("");
    let server = reader.server(&moto).start().await;
    let arn = moto.python(
        "dynamodb = client('dynamodb')\n\
         table = dynamodb.create_table(TableName='orders', BillingMode='PAY_PER_REQUEST',\n\
             KeySchema=[{'AttributeName': 'id', 'KeyType': 'HASH'}],\n\
             AttributeDefinitions=[{'AttributeName': 'id', 'AttributeType': 'S'}],\n\
             StreamSpecification={'StreamEnabled': True, 'StreamViewType': 'NEW_AND_OLD_IMAGES'})\n\
         item = {'id': {'S': 'order-1'}, 'raw': {'B': b'foobar'}}\n\
         dynamodb.put_item(TableName='orders', Item=item)\n\
         dynamodb.put_item(TableName='orders', Item=item | {'total': {'N': '12'}})\n\
         dynamodb.delete_item(TableName='orders', Key={'id': {'S': 'order-1'}})\n\
         print(json.dumps(table['TableDescription']['LatestStreamArn']))",
    );
    let arn = arn.as_str().unwrap();
    mapped(&moto, &server, arn, "StartingPosition='TRIM_HORIZON'");
    let records = || -> Vec<Value> {
        reader.ended().iter().flat_map(|event| event["Records"].as_array().unwrap().clone()).collect()
    };
    eventually("all changes are handled", || records().len() == 3);
    let records = records();
    let names: Vec<&Value> = records.iter().map(|record| &record["eventName"]).collect();
    assert_eq!(names, ["INSERT", "MODIFY", "REMOVE"]);
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(
        keys(&records[1]),
        "eventID eventName eventVersion eventSource awsRegion dynamodb eventSourceARN"
    );
    assert_eq!(
        keys(&records[1]["dynamodb"]),
        "ApproximateCreationDateTime Keys NewImage OldImage SequenceNumber SizeBytes StreamViewType"
    );
    assert_eq!(records[0]["dynamodb"]["NewImage"]["raw"], json!({"B": "Zm9vYmFy"}));
    assert_eq!(records[0]["eventSourceARN"], arn);
    assert_eq!(records[0]["dynamodb"]["Keys"], json!({"id": {"S": "order-1"}}));
}

//! Folders that stand for buckets: what is put there and removed comes to the function.

use std::io::Write;
use std::path::PathBuf;

use serde_json::Value;

use crate::harness::{TestServer, TestServerBuilder};
use crate::schedules::{KEEP, kept, wait_for_events};

const TRIGGER: &str = "Events:\n  Upload:\n    Type: S3\n    Properties:\n      Bucket: photos\n      Events: ['s3:ObjectCreated:*', 's3:ObjectRemoved:*']\n";

fn photos(server: &TestServer) -> PathBuf {
    server.folder().join("buckets/photos")
}

async fn server() -> TestServer {
    let server =
        TestServerBuilder::new().handler("thumb", KEEP).file("thumb/function.yaml", TRIGGER).start().await;
    server.wait_for_terminal("bucket photos is");
    server
}

/// Name, key, size and ETag.
fn told(event: &Value) -> String {
    let record = &event["Records"][0];
    let object = &record["s3"]["object"];
    format!("{} {} {} {}", record["eventName"], object["key"], object["size"], object["eTag"])
        .replace('"', "")
}

#[tokio::test]
async fn a_file_is_an_object_when_its_writer_has_closed_it() {
    let server = server().await;
    let folder = photos(&server);
    let mut file = std::fs::File::create(folder.join("a b.txt")).unwrap();
    file.write_all(b"hel").unwrap();
    file.sync_all().unwrap();
    // This one is whole; the other is not, and comes behind it however much earlier it was begun.
    std::fs::write(folder.join("whole.txt"), "x").unwrap();
    let events = wait_for_events(server.folder(), 1);
    assert_eq!(told(&events[0].1), "ObjectCreated:Put whole.txt 1 9dd4e461268c8034f5c8564e155c67a6");
    file.write_all(b"lo").unwrap();
    drop(file);
    let events = wait_for_events(server.folder(), 2);
    assert_eq!(told(&events[1].1), "ObjectCreated:Put a+b.txt 5 5d41402abc4b2a76b9719d911017c592");

    // Moved into its place, as careful programs do; in a folder that was not there.
    std::fs::write(folder.join(".part"), "hello").unwrap();
    std::fs::create_dir_all(folder.join("in/deep")).unwrap();
    std::fs::rename(folder.join(".part"), folder.join("in/deep/é.txt")).unwrap();
    let events = wait_for_events(server.folder(), 3);
    assert_eq!(told(&events[2].1), "ObjectCreated:Put in/deep/%C3%A9.txt 5 5d41402abc4b2a76b9719d911017c592");
    std::fs::remove_dir_all(folder.join("in")).unwrap();
    let events = wait_for_events(server.folder(), 4);
    assert_eq!(told(&events[3].1), "ObjectRemoved:Delete in/deep/%C3%A9.txt null null");
    let sequencer = |index: usize| {
        events[index].1["Records"][0]["s3"]["object"]["sequencer"].as_str().unwrap().to_owned()
    };
    assert!(sequencer(0) < sequencer(1) && sequencer(2) < sequencer(3));
    assert_eq!(events.len(), 4);
}

#[tokio::test]
async fn filters_look_at_the_key() {
    let filter = TRIGGER.to_owned()
        + "      Filter:\n        S3Key:\n          Rules:\n            - {Name: prefix, Value: in/}\n            - \
           {Name: suffix, Value: .png}\n";
    let server =
        TestServerBuilder::new().handler("thumb", KEEP).file("thumb/function.yaml", &filter).start().await;
    server.wait_for_terminal("bucket photos is");
    let folder = photos(&server);
    std::fs::create_dir(folder.join("in")).unwrap();
    for name in ["x.png", "in/x.txt", "in/x.png"] {
        std::fs::write(folder.join(name), name).unwrap();
    }
    let events = wait_for_events(server.folder(), 1);
    assert!(told(&events[0].1).starts_with("ObjectCreated:Put in/x.png 8 "), "{events:?}");
    assert_eq!(events.len(), 1);
}

#[tokio::test]
async fn what_happened_while_the_gateway_was_down_is_told_at_the_next_start() {
    let builder = TestServerBuilder::new().handler("thumb", KEEP).file("thumb/function.yaml", TRIGGER);
    std::fs::create_dir_all(builder.folder().join("buckets/photos")).unwrap();
    // There before the bucket was named: no news.
    std::fs::write(builder.folder().join("buckets/photos/old"), "old").unwrap();
    let mut server = builder.start().await;
    server.wait_for_terminal("bucket photos is");
    let folder = photos(&server);
    std::fs::write(folder.join("known"), "1").unwrap();
    wait_for_events(server.folder(), 1);
    // The event is queued before it is remembered: a second one tells that the first was.
    std::fs::write(folder.join("known too"), "1").unwrap();
    wait_for_events(server.folder(), 2);
    server.signal(rustix::process::Signal::TERM);
    server.wait_for_exit();
    std::fs::write(folder.join("new"), "22").unwrap();
    std::fs::remove_file(folder.join("old")).unwrap();
    let again = crate::schedules::Again::start(&server);
    let mut events: Vec<String> =
        wait_for_events(server.folder(), 4)[2..].iter().map(|(_, event)| told(event)).collect();
    events.sort();
    assert_eq!(
        events,
        ["ObjectCreated:Put new 2 b6d767d2f8ed5d21a44b0e5886680cb9", "ObjectRemoved:Delete old null null"]
    );
    again.kill();
    assert_eq!(kept(server.folder()).len(), 4);
}

#[tokio::test]
async fn a_function_reads_the_object_by_its_path() {
    let source = "import os, json\nfrom urllib.parse import unquote_plus\n\
        FILE = os.path.join(os.path.dirname(__file__), '..', '..', 'events.jsonl')\n\
        def lambda_handler(event, context):\n\
        \x20   s3 = event['Records'][0]['s3']\n\
        \x20   path = os.path.join(os.environ['HANDLERD_BUCKETS'], s3['bucket']['name'], unquote_plus(s3['object']['key']))\n\
        \x20   with open(path) as file, open(FILE, 'a') as out:\n\
        \x20       out.write(json.dumps(['', file.read()]) + '\\n')\n";
    let server =
        TestServerBuilder::new().handler("thumb", source).file("thumb/function.yaml", TRIGGER).start().await;
    server.wait_for_terminal("bucket photos is");
    std::fs::write(photos(&server).join("a b+c.txt"), "content").unwrap();
    assert_eq!(wait_for_events(server.folder(), 1)[0].1, "content");
}

//! What needs nothing but this machine: URLs and SQLite. The rest stands in `tests/acceptance`.

use std::path::Path;

use rusqlite::Connection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::aws::Endpoints;

fn delivery(root: &Path) -> Delivery {
    Delivery::new(aws::Client::new(Endpoints::from_environment(&[])), root.to_owned())
}

fn message(request_id: &str) -> Message {
    let body = format!(
        r#"{{"version":"1.0","timestamp":"2026-11-24T23:11:12.345Z","requestContext":{{"requestId":"{request_id}","functionArn":"f","condition":"Success","approximateInvokeCount":1}},"requestPayload":{{"n": 1}},"responseContext":{{"statusCode":200,"executedVersion":"$LATEST"}},"responsePayload":"차"}}"#
    );
    Message {
        body,
        attributes: Vec::new(),
        function_arn: "arn:aws:lambda:us-east-1:123456789012:function:f:$LATEST".to_owned(),
        request_id: request_id.to_owned(),
        succeeded: true,
        trace_id: "Root=1-2-3;Parent=4;Sampled=0".to_owned(),
    }
}

/// Answers each request with the next of these; what it was asked.
async fn receiver(
    answers: &'static [&'static str],
) -> (String, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook?a=1", listener.local_addr().unwrap());
    let (asked, questions) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            let whole = |request: &[u8]| {
                let text = String::from_utf8_lossy(request).into_owned();
                let (head, body) = text.split_once("\r\n\r\n")?;
                let length = head.to_ascii_lowercase().split_once("content-length: ")?.1.to_owned();
                let length: usize = length.lines().next()?.trim().parse().ok()?;
                (body.len() >= length).then_some(text.clone())
            };
            while whole(&request).is_none() {
                let mut part = [0; 4096];
                let read = stream.read(&mut part).await.unwrap();
                assert!(read > 0, "the request is whole");
                request.extend_from_slice(&part[..read]);
            }
            asked.send(whole(&request).unwrap()).unwrap();
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (url, questions)
}

#[tokio::test]
async fn a_url_gets_the_record_and_who_it_is_of() {
    let (url, mut asked) = receiver(&["HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"]).await;
    let message = message("9-9");
    delivery(Path::new("/")).send(&Destination::Url(url), &message).await.unwrap();
    let request = asked.recv().await.unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /hook?a=1 HTTP/1.1\r\n"), "{head}");
    assert_eq!(body, message.body);
    for header in [
        "content-type: application/json",
        "idempotency-key: 9-9",
        "x-amzn-requestid: 9-9",
        "x-amzn-trace-id: Root=1-2-3;Parent=4;Sampled=0",
        "x-amz-invoked-function-arn: arn:aws:lambda:us-east-1:123456789012:function:f:$LATEST",
    ] {
        assert!(head.contains(header), "no `{header}` in {head}");
    }
}

#[tokio::test]
async fn a_dead_letter_says_why_in_its_headers() {
    let (url, mut asked) =
        receiver(&["HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"]).await;
    let mut message = message("9");
    message.attributes = vec![("ErrorMessage".into(), "String".into(), "first\nsecond".into())];
    delivery(Path::new("/")).send(&Destination::Url(url), &message).await.unwrap();
    let request = asked.recv().await.unwrap();
    assert!(request.contains("\r\nx-amz-attribute-errormessage: first second\r\n"), "{request}");
}

#[tokio::test]
async fn what_a_url_answers_says_whether_it_is_worth_another_try() {
    for (answer, transient, says) in [
        (
            "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n\r\nbe\nback  soon",
            true,
            ": be back soon",
        ),
        ("HTTP/1.1 429 Too Many Requests\r\nconnection: close\r\n\r\n", true, "answered 429"),
        ("HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\nno", false, ": no"),
        (
            "HTTP/1.1 302 Found\r\nlocation: http://u:secret@elsewhere/\r\nconnection: close\r\n\r\n",
            false,
            "http://u:***@elsewhere/",
        ),
    ] {
        let answers: &'static [&'static str] = Box::leak(Box::new([answer]));
        let (url, _asked) = receiver(answers).await;
        let error = delivery(Path::new("/")).send(&Destination::Url(url), &message("1")).await.unwrap_err();
        assert_eq!(error.transient, transient, "{error}");
        assert!(error.reason.contains(says), "{error}");
    }
}

#[tokio::test]
async fn a_url_where_nobody_is_may_be_there_later() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://me:secret@{}/", listener.local_addr().unwrap());
    drop(listener);
    let error = delivery(Path::new("/")).send(&Destination::Url(url), &message("1")).await.unwrap_err();
    assert!(error.transient && !error.reason.contains("secret"), "{error}");
}

fn table(path: &str, table: &str) -> Destination {
    Destination::parse(&format!("sqlite:{path}#{table}")).unwrap()
}

#[tokio::test]
async fn a_record_is_one_row_however_often_it_comes() {
    let folder = tempfile::tempdir().unwrap();
    let delivery = delivery(folder.path());
    let to = table("data/results.db", "results");
    for request_id in ["a", "b", "a"] {
        delivery.send(&to, &message(request_id)).await.unwrap();
    }
    let database = Connection::open(folder.path().join("data/results.db")).unwrap();
    let row: (i64, String, String, String, bool, String) = database
        .query_row(
            "SELECT count(*), max(version), max(condition), max(timestamp), min(succeeded), max(response ->> '$') \
             FROM results WHERE request ->> 'n' = 1",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?)),
        )
        .unwrap();
    let expected =
        (2, "$LATEST".into(), "Success".into(), "2026-11-24T23:11:12.345Z".into(), true, "차".into());
    assert_eq!(row, expected);
}

#[tokio::test]
async fn a_file_that_was_removed_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let delivery = delivery(folder.path());
    let (to, path) = (table("r.db", "r"), folder.path().join("r.db"));
    delivery.send(&to, &message("a")).await.unwrap();
    for name in ["r.db", "r.db-wal", "r.db-shm"] {
        let _ = std::fs::remove_file(folder.path().join(name));
    }
    delivery.send(&to, &message("b")).await.unwrap();
    let ids: String =
        Connection::open(path).unwrap().query_row("SELECT request_id FROM r", [], |row| row.get(0)).unwrap();
    assert_eq!(ids, "b");
    // Only the table, too.
    Connection::open(folder.path().join("r.db")).unwrap().execute_batch("DROP TABLE r").unwrap();
    delivery.send(&to, &message("c")).await.unwrap();
}

#[tokio::test]
async fn many_at_once_are_all_written() {
    let folder = tempfile::tempdir().unwrap();
    let delivery = delivery(folder.path());
    let tasks: Vec<_> = (0..40)
        .map(|number| {
            let (delivery, to) = (delivery.clone(), table("r.db", "r"));
            tokio::spawn(async move { delivery.send(&to, &message(&number.to_string())).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let database = Connection::open(folder.path().join("r.db")).unwrap();
    let count: i64 = database.query_row("SELECT count(*) FROM r", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 40);
}

#[tokio::test]
async fn a_table_of_another_shape_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let database = Connection::open(folder.path().join("r.db")).unwrap();
    database
        .execute_batch(
            "CREATE TABLE other (id INTEGER); \
             CREATE TABLE keyless (request_id, function, version, succeeded, condition, attempts, timestamp, request, response);",
        )
        .unwrap();
    for name in ["other", "keyless"] {
        let error = delivery(folder.path()).send(&table("r.db", name), &message("a")).await.unwrap_err();
        assert!(!error.transient && error.reason.contains("hint: the table has another shape"), "{error}");
    }
}

#[tokio::test]
async fn a_database_that_is_busy_may_be_free_later() {
    let folder = tempfile::tempdir().unwrap();
    let database = Connection::open(folder.path().join("r.db")).unwrap();
    database.execute_batch("CREATE TABLE a (b); BEGIN EXCLUSIVE").unwrap();
    let delivery = delivery(folder.path());
    let error = delivery.send(&table("r.db", "r"), &message("a")).await.unwrap_err();
    assert!(error.transient && error.reason.contains("locked"), "{error}");
    database.execute_batch("COMMIT").unwrap();
    delivery.send(&table("r.db", "r"), &message("a")).await.unwrap();
}

#[tokio::test]
async fn what_is_no_database_is_told() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("r.db"), "This is a letter, and no database at all.".repeat(40))
        .unwrap();
    let error = delivery(folder.path()).send(&table("r.db", "r"), &message("a")).await.unwrap_err();
    assert!(!error.transient && error.reason.contains("not a database"), "{error}");
    let error = delivery(folder.path()).send(&table("r.db/inside", "r"), &message("a")).await.unwrap_err();
    assert!(error.reason.contains("cannot be opened"), "{error}");
}

#[tokio::test]
async fn functions_are_none_of_ours() {
    let function = Destination::parse("arn:aws:lambda:us-east-1:123456789012:function:f").unwrap();
    let error = delivery(Path::new("/")).send(&function, &message("a")).await.unwrap_err();
    assert!(!error.transient, "{error}");
}

//! Faults of clients, one defence each: a test that is red soon when that one is gone. Everything that
//! clients can do is in `hostile_clients`, `slow_clients`, `http2_floods` and `crowds`.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::catalogue::seen;
use crate::harness::{TestServer, TestServerBuilder};
use crate::hostile_clients::ECHO;
use crate::raw_http::exchange;

/// With deadlines of a twentieth: half a second for a byte or a header, 1.5 s for the pace of bodies and
/// answers.
const IMPATIENCE: Duration = Duration::from_secs(4);

async fn impatient() -> TestServer {
    let long = "def lambda_handler(event, context):\n    return 'x' * 5_000_000\n";
    let builder = TestServerBuilder::new().handler("echo", ECHO).handler("long", long);
    builder.argument("--deadline-scale").argument("0.05").start().await
}

fn address(server: &TestServer) -> &str {
    server.http.strip_prefix("http://").unwrap()
}

/// Sends this and waits for the server to close; what it said, and how long that took.
fn closed_after(server: &TestServer, bytes: &str) -> (String, Duration) {
    let mut stream = TcpStream::connect(address(server)).unwrap();
    stream.set_read_timeout(Some(IMPATIENCE)).unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    let (began, mut said, mut buffer) = (Instant::now(), Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => said.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("not closed after {:?}: {error}", began.elapsed()),
        }
    }
    (String::from_utf8_lossy(&said).into_owned(), began.elapsed())
}

fn says(row: &[&str], what: &str, took: Duration) {
    for row in row {
        seen(row, format!("{what}, with a twentieth of the deadlines"), took);
    }
}

#[tokio::test]
async fn a_silent_client_is_closed() {
    let (said, took) = closed_after(&impatient().await, "");
    assert_eq!(said, "");
    says(&["26", "T14"], "no byte: closed", took);
}

#[tokio::test]
async fn a_header_without_an_end_is_closed() {
    let (said, took) = closed_after(&impatient().await, "GET /echo HTTP/1.1\r\nHost: l\r\nX-A: a");
    assert_eq!(said, "");
    says(&["26", "T14"], "half a header: closed", took);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_closed() {
    let request = "POST /echo HTTP/1.1\r\nHost: l\r\nContent-Length: 1000\r\n\r\nx";
    let (said, took) = closed_after(&impatient().await, request);
    assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
    says(&["26", "T14"], "half a body: 408 and closed", took);
}

#[tokio::test]
async fn an_answer_that_nobody_takes_is_given_up() {
    let server = impatient().await;
    let mut stream = TcpStream::connect(address(&server)).unwrap();
    stream.write_all("GET /long HTTP/1.1\r\nHost: l\r\n\r\n".repeat(10).as_bytes()).unwrap();
    let began = Instant::now();
    while server.health().await["connections"]["http"]["closedUnreadAnswer"] != 1 {
        assert!(began.elapsed() < IMPATIENCE, "it is still open");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    says(&["26", "T14"], "an answer that is not read: given up", began.elapsed());
}

#[tokio::test]
async fn a_connection_that_rests_too_long_is_closed() {
    let server = impatient().await;
    let (said, took) = closed_after(&server, "GET /echo HTTP/1.1\r\nHost: l\r\n\r\n");
    assert!(said.ends_with("served"), "{said}");
    says(&["T14"], "an idle connection: closed", took);
}

/// Each of these can be understood in two ways; behind it comes what the other way would make a request.
async fn is_refused(what: &str, head: &str) {
    let server = TestServer::with_handler("echo", ECHO).await;
    let request = head.replace('@', address(&server));
    let began = Instant::now();
    let answer = exchange(&server.http, request);
    assert_eq!((answer.status, answer.header("connection")), (400, Some("close")), "{what}");
    for row in ["30", "T15"] {
        seen(row, format!("{what}: 400 and closed"), began.elapsed());
    }
}

#[tokio::test]
async fn a_length_is_said_in_one_way() {
    let head =
        "POST /echo HTTP/1.1\r\nHost: @\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    is_refused("a length and chunks", head).await;
}

#[tokio::test]
async fn lines_end_with_both_characters() {
    is_refused("a bare line feed", "GET /echo HTTP/1.1\r\nHost: @\n\r\n").await;
}

#[tokio::test]
async fn the_target_names_the_same_host() {
    is_refused("another host in the target", "GET http://evil.example/echo HTTP/1.1\r\nHost: @\r\n\r\n")
        .await;
}

//! Clients that are slow: some on purpose, which are closed at each deadline, and some in a train.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::harness::{PATIENCE, TestServer, TestServerBuilder, eventually};
use crate::hostile_clients::{ECHO, ports, read_all, statuses};
use crate::raw_http::{Connection, exchange};

/// Six seconds of it, which is longer than any deadline of these tests.
const STREAM: &str = "
import time
def lambda_handler(event, context):
    for number in range(20):
        yield f'<{number}>'
        time.sleep(.3)
";

/// Deadlines are a twentieth: half a second for a byte or a header, 1.5 s for 30 KiB, 3 s idle.
async fn serve_impatiently() -> TestServer {
    let builder =
        TestServerBuilder::new().handler("echo", ECHO).argument("--deadline-scale").argument("0.05");
    let long = "def lambda_handler(event, context):\n    return 'x' * 5_000_000\n";
    let builder =
        builder.handler("long", long).handler("stream", STREAM).file("stream/function.yaml", "Timeout: 20\n");
    let mut server = builder.start().await;
    // The deadlines are for this one as well, and these tests do not let it see that it is closed.
    server.client = reqwest::Client::builder().pool_max_idle_per_host(0).no_proxy().build().unwrap();
    server
}

/// What has been read before it was closed, and when that was.
fn closed(stream: &mut TcpStream, what: &str) -> (String, Duration) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let began = Instant::now();
    let answer = read_all(stream).unwrap_or_else(|| panic!("{what}: not closed"));
    (answer, began.elapsed())
}

#[tokio::test]
async fn whoever_is_slow_is_closed_at_each_deadline() {
    let server = serve_impatiently().await;
    for port in ports(&server) {
        let connect = || TcpStream::connect(&port.address).unwrap();
        let head = format!("POST {} HTTP/1.1\r\nHost: {}\r\n", port.path, port.address);
        for begun in ["", "G", "PRI * HTTP/2.0\r\n\r\n", "POST /echo HTTP/1.1\r\nHost: l", "\r\n"] {
            let mut stream = connect();
            stream.write_all(begun.as_bytes()).unwrap();
            let (answer, took) = closed(&mut stream, begun);
            assert!(answer.is_empty() && took < Duration::from_secs(2), "{begun:?}: {answer:?} {took:?}");
        }
        // A byte now and then is no progress.
        let mut stream = connect();
        let dripping = std::thread::spawn({
            let mut stream = stream.try_clone().unwrap();
            move || {
                let header = b"GET /echo HTTP/1.1\r\nX-A: ".iter().chain(std::iter::repeat(&b'a'));
                for byte in header {
                    if stream.write_all(&[*byte]).is_err() {
                        return;
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        });
        let (answer, took) = closed(&mut stream, "a dripping header");
        assert!(answer.is_empty() && took < Duration::from_secs(2), "{answer:?} {took:?}");
        drop(stream);
        dripping.join().unwrap();
        // A second header, long after a first request: its time is its own.
        let mut stream = connect();
        write!(stream, "{head}Content-Length: 2\r\n\r\n{{}}").unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        assert_eq!(&status, b"HTTP/1.1 200");
        stream.write_all(b"GET /echo").unwrap();
        let (_, took) = closed(&mut stream, "a second header");
        assert!(took < Duration::from_secs(2), "{took:?}");
        // Idle.
        let mut stream = connect();
        write!(stream, "{head}Content-Length: 2\r\n\r\n{{}}").unwrap();
        let (answer, took) = closed(&mut stream, "idle");
        assert_eq!(statuses(&answer), [200]);
        assert!(took > Duration::from_secs(2) && took < Duration::from_secs(6), "{took:?}");
        // Bodies.
        for framing in ["Content-Length: 1000\r\n\r\nx", "Transfer-Encoding: chunked\r\n\r\n400\r\nx"] {
            let mut stream = connect();
            write!(stream, "{head}{framing}").unwrap();
            let (answer, took) = closed(&mut stream, framing);
            assert_eq!(statuses(&answer), [408], "{}: {framing:?}", port.name);
            assert!(took > Duration::from_secs(1) && took < Duration::from_secs(4), "{took:?}");
        }
        let request = "GET /echo HTTP/1.1\r\nHost: l\r\nConnection: close\r\n\r\n";
        assert_eq!(exchange(&server.http, request).text(), "served");
    }
    for port in ["http", "api"] {
        let counted = server.health().await["connections"][port].clone();
        let seen = |name: &str| counted[name].as_u64().unwrap();
        let closed = ["closedNoFirstByte", "closedSlowHeader", "closedIdle", "closedSlowBody"].map(seen);
        println!("{port}: {counted}");
        assert_eq!(closed, [1, 6, 1, 2], "{counted}");
    }
}

/// A phone in a train: slow, with pauses, but it goes on.
#[tokio::test]
async fn an_honest_slow_upload_is_served() {
    let server = serve_impatiently().await;
    for port in ports(&server) {
        let mut stream = TcpStream::connect(&port.address).unwrap();
        let pieces = 30;
        let piece = "x".repeat(10 * 1024);
        let length = pieces * piece.len() + 2;
        let head = format!("POST {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", port.path, port.address);
        let began = Instant::now();
        write!(stream, "{head}Content-Length: {length}\r\n\r\n\"").unwrap();
        for _ in 0..pieces {
            // 30 KiB take less than the time there is for them; all of it takes much more.
            std::thread::sleep(Duration::from_millis(150));
            stream.write_all(piece.as_bytes()).unwrap();
        }
        stream.write_all(b"\"").unwrap();
        let (answer, _) = closed(&mut stream, "an upload");
        assert_eq!(statuses(&answer), [200], "{}: {answer}", port.name);
        assert!(began.elapsed() > Duration::from_secs(4));
    }
}

/// How many sockets the server has.
fn sockets(server: &TestServer) -> usize {
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().flatten();
    let targets = descriptors.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_given_up() {
    let server = serve_impatiently().await;
    assert_eq!(server.get("/long").await.body.len(), 5_000_000);
    let address = server.http.strip_prefix("http://").unwrap();
    let before = sockets(&server);
    let mut streams: Vec<TcpStream> = (0..4).map(|_| TcpStream::connect(address).unwrap()).collect();
    for stream in &mut streams {
        // More than the kernel keeps on both sides.
        stream.write_all("GET /long HTTP/1.1\r\nHost: l\r\n\r\n".repeat(10).as_bytes()).unwrap();
    }
    eventually("they are connected", || sockets(&server) >= before + 4);
    eventually("they are given up", || sockets(&server) <= before);
    let counted = server.health().await["connections"]["http"].clone();
    assert_eq!(counted["closedUnreadAnswer"], 4, "{counted}");
    drop(streams);
}

/// As slow as may be, and it takes many times a deadline: eight times the pace that is asked for.
#[tokio::test]
async fn whoever_reads_slowly_but_reads_is_served() {
    let server = serve_impatiently().await;
    let mut connection = TcpStream::connect(server.http.strip_prefix("http://").unwrap()).unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    connection.write_all(b"GET /long HTTP/1.1\r\nHost: l\r\nConnection: close\r\n\r\n").unwrap();
    let (mut total, mut buffer) = (0, vec![0; 16 * 1024]);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(8) {
        let length = connection.read(&mut buffer).expect("it is still served");
        assert!(length > 0, "ended after {total} bytes and {:?}", began.elapsed());
        total += length;
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(total < 2_000_000, "that was slow: {total}");
    // And then fast.
    let mut rest = Vec::new();
    connection.read_to_end(&mut rest).expect("it is served to the end");
    assert!(total + rest.len() > 5_000_000, "{total} and {}", rest.len());
}

/// An answer that takes its time is nobody's fault, nor is a connection idle that waits for it.
#[tokio::test]
async fn a_stream_may_be_longer_than_any_deadline() {
    let server = serve_impatiently().await;
    let mut connection = Connection::open(&server.api);
    let address = server.api.strip_prefix("http://").unwrap();
    let path = "/2021-11-15/functions/stream/response-streaming-invocations";
    let began = Instant::now();
    connection.send(format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 2\r\n\r\n{{}}"));
    assert_eq!(connection.answer_without_body().status, 200);
    let mut body = Vec::new();
    while let Some(chunk) = connection.chunk() {
        body.extend_from_slice(&chunk);
    }
    let body = String::from_utf8_lossy(&body);
    assert!((0..20).all(|number| body.contains(&format!("<{number}>"))) && body.contains("InvokeComplete"));
    assert!(began.elapsed() > Duration::from_secs(5), "{:?}", began.elapsed());
    // The connection is as good as new.
    let echo = format!(
        "POST /2015-03-31/functions/echo/invocations HTTP/1.1\r\nHost: {address}\r\nContent-Length: 2\r\n\r\n{{}}"
    );
    connection.send(echo);
    assert_eq!(connection.answer().status, 200);
}

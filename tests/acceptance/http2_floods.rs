//! Floods of HTTP/2, written by hand: no proper client can send them.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::catalogue::seen;
use crate::harness::{PATIENCE, TestServer, TestServerBuilder};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A literal header field, not indexed.
fn field(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    [&[0][..], &text(name), &text(value)].concat()
}

fn head(method: &str, path: &str, more: &[u8]) -> Vec<u8> {
    let fields = [(":method", method), (":scheme", "http"), (":authority", "localhost"), (":path", path)];
    let mut block: Vec<u8> = fields.iter().flat_map(|(name, value)| field(name, value)).collect();
    block.extend_from_slice(more);
    block
}

fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &head("GET", path, b""))
}

fn open(server: &TestServer, settings: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(server.http.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(PREFACE).unwrap();
    stream.write_all(&frame(SETTINGS, 0, 0, settings)).unwrap();
    stream
}

fn resident_kib(server: &TestServer) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Sends this again and again until the server closes, reading what it says or not; how long that took.
fn flood(
    server: &TestServer,
    reads: bool,
    limit: Duration,
    mut next: impl FnMut(u32) -> Vec<u8>,
) -> Option<Duration> {
    let mut stream = open(server, b"");
    let began = Instant::now();
    let reader = reads.then(|| {
        let mut stream = stream.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 64 * 1024];
            while matches!(stream.read(&mut buffer), Ok(1..)) {}
        })
    });
    let mut ended = None;
    for number in 0..2_000_000 {
        let sent = match stream.write_all(&next(number)) {
            Ok(()) => began.elapsed() < limit,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => false,
            Err(_) => {
                ended = Some(began.elapsed());
                false
            }
        };
        if !sent {
            break;
        }
    }
    let _ = stream.shutdown(std::net::Shutdown::Both);
    if let Some(reader) = reader {
        reader.join().unwrap();
    }
    ended
}

const ECHO: &str = "def lambda_handler(event, context):\n    return 'served'\n";

#[tokio::test]
async fn floods_end_and_others_do_not_notice() {
    let server = TestServer::with_handler("echo", ECHO).await;
    assert_eq!(server.get("/echo").await.text(), "served");
    let odd = |number: u32| number * 2 + 1;
    type Next = Box<dyn FnMut(u32) -> Vec<u8>>;
    let floods: Vec<(&str, Next)> = vec![
        (
            "rapid reset",
            Box::new(move |number| {
                [get(odd(number), "/echo"), frame(RST_STREAM, 0, odd(number), &8u32.to_be_bytes())].concat()
            }),
        ),
        (
            // The server is made to reset: a window that grows by nothing is an error of the stream.
            "made you reset",
            Box::new(move |number| {
                let window = frame(WINDOW_UPDATE, 0, odd(number), &0u32.to_be_bytes());
                [get(odd(number), "/echo"), window].concat()
            }),
        ),
        (
            "data on closed streams",
            Box::new(move |number| {
                let data = frame(DATA, 0, odd(number), b"x");
                [get(odd(number), "/echo"), data].concat()
            }),
        ),
        (
            "continuations",
            Box::new(|number| match number {
                0 => frame(HEADERS, END_STREAM, 1, &head("GET", "/echo", b"")),
                _ => frame(CONTINUATION, 0, 1, &field("x-a", &"a".repeat(100))),
            }),
        ),
        (
            "empty continuations",
            Box::new(|number| match number {
                0 => frame(HEADERS, END_STREAM, 1, &head("GET", "/echo", b"")),
                _ => frame(CONTINUATION, 0, 1, b"").repeat(100),
            }),
        ),
        ("pings", Box::new(|_| frame(PING, 0, 0, b"12345678").repeat(100))),
        ("settings", Box::new(|_| frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]).repeat(100))),
        ("priorities", Box::new(|_| frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9]).repeat(100))),
        (
            "empty data",
            Box::new(|number| match number {
                0 => frame(HEADERS, END_HEADERS, 1, &head("POST", "/echo", b"")),
                _ => frame(DATA, 0, 1, b"").repeat(100),
            }),
        ),
        ("frames of no kind", Box::new(|_| frame(0xfa, 0, 0, b"").repeat(100))),
    ];
    for (name, mut next) in floods {
        for reads in [true, false] {
            let before = resident_kib(&server);
            let took = flood(&server, reads, Duration::from_secs(10), &mut next);
            let grown = resident_kib(&server).saturating_sub(before);
            println!(
                "{name}{}: closed after {took:?}, {grown} KiB more",
                if reads { "" } else { ", unread" }
            );
            let took = took.unwrap_or_else(|| panic!("{name}: goes on"));
            assert!(took < Duration::from_secs(1), "{name}: {took:?}");
            if reads {
                for row in ["29", "T16"] {
                    seen(row, format!("{name}: ended, {grown} KiB more"), took);
                }
            }
            assert!(grown < 32 * 1024, "{name}: {grown} KiB");
            let began = Instant::now();
            assert_eq!(server.get("/echo").await.text(), "served");
            assert!(began.elapsed() < Duration::from_secs(1), "{name}: others waited {:?}", began.elapsed());
        }
    }
}

/// One flood, which is to end soon.
async fn ends(next: impl FnMut(u32) -> Vec<u8>) {
    let server = TestServer::with_handler("echo", ECHO).await;
    assert_eq!(server.get("/echo").await.text(), "served");
    let took = flood(&server, true, Duration::from_secs(3), next).expect("it is ended");
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[tokio::test]
async fn streams_that_are_reset_at_once_come_to_an_end() {
    ends(|number| {
        let reset = frame(RST_STREAM, 0, number * 2 + 1, &8u32.to_be_bytes());
        [get(number * 2 + 1, "/echo"), reset].concat()
    })
    .await;
}

#[tokio::test]
async fn pings_come_to_an_end() {
    ends(|_| frame(PING, 0, 0, b"12345678").repeat(100)).await;
}

/// A header that is small on the wire and large in memory: one entry of the table, a thousand times.
#[tokio::test]
async fn a_header_that_unpacks_to_megabytes_is_refused() {
    let server = TestServer::with_handler("echo", ECHO).await;
    let before = resident_kib(&server);
    let began = Instant::now();
    // 68 KB are too much, and 32 MB end the connection.
    for (times, ends) in [(16, false), (8000, true)] {
        let mut streams = Vec::new();
        for _ in 0..20 {
            let mut stream = open(&server, b"");
            // Into the table (literal with indexing): 4,000 bytes; then 62, its index, again and again.
            let mut more = vec![0x40, 3];
            more.extend_from_slice(b"x-a");
            more.extend_from_slice(&[127, 0xa1, 0x1e]);
            more.extend_from_slice(&[b'a'; 4000]);
            more.extend(std::iter::repeat_n(0x80 | 62, times));
            let head = head("GET", "/echo", &more);
            stream.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &head)).unwrap();
            streams.push(stream);
        }
        for stream in &mut streams {
            let mut answer = None;
            until(stream, |kind, id, payload| {
                let is_answer = matches!(kind, HEADERS | RST_STREAM | GOAWAY);
                if is_answer {
                    answer = Some((kind, id, payload.to_vec()));
                }
                is_answer
            });
            let (kind, id, payload) = answer.expect("it has an answer");
            if ends {
                // ENHANCE_YOUR_CALM
                assert_eq!((kind, id, &payload[4..8]), (GOAWAY, 0, &[0, 0, 0, 11][..]));
            } else {
                // A literal value of the indexed name `:status`: 431 in Huffman's code.
                assert!(payload.starts_with(&[0x48, 0x83, 0x69, 0x90, 0xff]), "{kind} {id} {payload:x?}");
            }
        }
    }
    let grown = resident_kib(&server).saturating_sub(before);
    seen("T16", format!("20 headers that unpack to 32 MB each: refused, {grown} KiB more"), began.elapsed());
    assert!(grown < 32 * 1024, "{grown} KiB");
    assert_eq!(server.get("/echo").await.text(), "served");
}

/// Reads frames until one is as wanted; false: the connection ended first (which is as good).
fn until(stream: &mut TcpStream, mut wanted: impl FnMut(u8, u32, &[u8]) -> bool) -> bool {
    loop {
        let mut header = [0; 9];
        match stream.read_exact(&mut header) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return false;
            }
            Err(_) => return true,
        }
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        let mut payload = vec![0; length as usize];
        if stream.read_exact(&mut payload).is_err() {
            return true;
        }
        let id = u32::from_be_bytes(header[5..].try_into().unwrap());
        if wanted(header[3], id, &payload) {
            return true;
        }
    }
}

/// Answers are asked for and not let out of the server; whoever does that has a stall's time.
#[tokio::test]
async fn a_client_that_opens_no_window_is_closed() {
    let long = "def lambda_handler(event, context):\n    return 'x' * 50_000\n";
    let server = TestServerBuilder::new().handler("long", long).argument("--deadline-scale").argument("0.05");
    let mut server = server.start().await;
    // The deadlines are for this one as well, and this test does not let it see that it is closed.
    server.client = reqwest::Client::builder().pool_max_idle_per_host(0).no_proxy().build().unwrap();
    assert_eq!(server.get("/long").await.body.len(), 50_000);
    let before = resident_kib(&server);
    // SETTINGS_INITIAL_WINDOW_SIZE 0, and 1.
    for window in [0, 1] {
        let mut stream = open(&server, &[0, 4, 0, 0, 0, window]);
        let requests: Vec<u8> = (0..100).flat_map(|number| get(number * 2 + 1, "/long")).collect();
        stream.write_all(&requests).unwrap();
        // It stays alive in all other ways.
        let pinging = std::thread::spawn({
            let mut stream = stream.try_clone().unwrap();
            move || {
                while stream.write_all(&frame(PING, 0, 0, b"12345678")).is_ok() {
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
        });
        let began = Instant::now();
        assert!(until(&mut stream, |_, _, _| began.elapsed() > Duration::from_secs(20)), "nothing happens");
        let took = began.elapsed();
        println!("a window of {window}: closed after {took:?}");
        assert!(took > Duration::from_secs(1) && took < Duration::from_secs(10), "{took:?}");
        drop(stream);
        pinging.join().unwrap();
    }
    let grown = resident_kib(&server).saturating_sub(before);
    assert!(grown < 32 * 1024, "{grown} KiB");
    assert_eq!(server.get("/long").await.status, 200);
    assert_eq!(server.health().await["connections"]["http"]["closedUnreadAnswer"], 2);
}

/// A connection that has nothing to do is told so before it ends.
#[tokio::test]
async fn an_idle_connection_gets_a_goaway() {
    let server = TestServerBuilder::new().handler("echo", ECHO).argument("--deadline-scale").argument("0.05");
    let server = server.start().await;
    let mut stream = open(&server, b"");
    stream.write_all(&get(1, "/echo")).unwrap();
    let mut said_goodbye = false;
    let began = Instant::now();
    until(&mut stream, |kind, _, _| {
        said_goodbye |= kind == GOAWAY;
        false
    });
    assert!(said_goodbye, "closed without a GOAWAY");
    assert!(began.elapsed() > Duration::from_secs(2), "{:?}", began.elapsed());
}

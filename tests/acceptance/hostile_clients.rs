//! Clients that speak HTTP/1 in ways that servers understand differently, and those that only seem to.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::catalogue::seen;
use crate::harness::{PATIENCE, TestServer, TestServerBuilder};
use crate::raw_http::Connection;

/// Leaves a trace when it runs, which is never to be seen.
const SMUGGLED: &str = "
import os
def lambda_handler(event, context):
    open(os.path.join(os.environ['LAMBDA_TASK_ROOT'], '..', '..', 'smuggled'), 'w').close()
    return 'smuggled'
";
pub const ECHO: &str = "
def lambda_handler(event, context):
    return {'statusCode': 200, 'body': 'served'}
";

/// A port, and what is asked for there.
pub struct Port {
    pub name: &'static str,
    pub address: String,
    pub path: &'static str,
    /// A request of its own that would run the function `smuggled`.
    smuggled: String,
}

pub fn ports(server: &TestServer) -> [Port; 2] {
    let address = |url: &str| url.strip_prefix("http://").unwrap().to_owned();
    let (http, api) = (address(&server.http), address(&server.api));
    [
        Port {
            name: "HTTP routes",
            smuggled: format!("GET /smuggled HTTP/1.1\r\nHost: {http}\r\n\r\n"),
            address: http,
            path: "/echo",
        },
        Port {
            name: "Lambda API",
            smuggled: format!(
                "POST /2015-03-31/functions/smuggled/invocations HTTP/1.1\r\nHost: {api}\r\nContent-Length: 2\r\n\r\n{{}}"
            ),
            address: api,
            path: "/2015-03-31/functions/echo/invocations",
        },
    ]
}

async fn serve() -> TestServer {
    TestServerBuilder::new().handler("echo", ECHO).handler("smuggled", SMUGGLED).start().await
}

/// Everything that comes until the other side closes. `None`: it does not.
fn all_answers(address: &str, request: &[u8], limit: Duration) -> Option<String> {
    let mut stream = TcpStream::connect(address).expect("the port is open");
    stream.set_read_timeout(Some(limit)).unwrap();
    // It may be closed before all has been sent.
    let _ = stream.write_all(request);
    read_all(&mut stream)
}

pub fn read_all(stream: &mut TcpStream) -> Option<String> {
    let (mut answers, mut buffer) = (Vec::new(), [0; 16 * 1024]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => answers.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return None,
            Err(error) => panic!("{error}"),
        }
    }
    Some(String::from_utf8_lossy(&answers).into_owned())
}

pub fn statuses(answers: &str) -> Vec<u16> {
    answers.split("HTTP/1.").skip(1).map(|rest| rest[2..5].parse().unwrap()).collect()
}

/// What is it, how is it written, which status has the one answer. `@` is the port's own address, and
/// `~` the path. Behind each of them comes a request of its own, which must never run.
const REFUSED: &[(&str, &str, u16)] = &[
    // Host
    ("no Host", "GET ~ HTTP/1.1\r\n\r\n", 400),
    ("no Host, with a body", "POST ~ HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", 400),
    ("two Hosts", "GET ~ HTTP/1.1\r\nHost: @\r\nHost: @\r\n\r\n", 400),
    ("two different Hosts", "GET ~ HTTP/1.1\r\nHost: @\r\nHost: evil.example\r\n\r\n", 400),
    ("two Hosts in different letters", "GET ~ HTTP/1.1\r\nHost: @\r\nhOST: @\r\n\r\n", 400),
    ("two Hosts of HTTP/1.0", "GET ~ HTTP/1.0\r\nHost: @\r\nHost: @\r\n\r\n", 400),
    ("Host behind another line", "GET ~ HTTP/1.1\r\nX: y\r\n Host: @\r\n\r\n", 400),
    // Target
    ("another host in the target", "GET http://evil.example~ HTTP/1.1\r\nHost: @\r\n\r\n", 400),
    ("another port in the target", "GET http://localhost:1~ HTTP/1.1\r\nHost: @\r\n\r\n", 400),
    ("a user in the target", "GET http://USER@~ HTTP/1.1\r\nHost: @\r\n\r\n", 400),
    ("another scheme", "GET ftp://@~ HTTP/1.1\r\nHost: @\r\n\r\n", 400),
    ("an authority", "CONNECT @ HTTP/1.1\r\nHost: @\r\n\r\n", 400),
    ("an authority with GET", "GET @ HTTP/1.1\r\nHost: @\r\n\r\n", 400),
    ("an asterisk", "OPTIONS * HTTP/1.1\r\nHost: @\r\n\r\n", 400),
    ("an asterisk with GET", "GET * HTTP/1.1\r\nHost: @\r\n\r\n", 400),
    ("a relative path", "GET x/y HTTP/1.1\r\nHost: @\r\n\r\n", 400),
    ("a fragment", "GET ~#x HTTP/1.1\r\nHost: @\r\n\r\n", 400),
    ("two spaces", "GET  ~ HTTP/1.1\r\nHost: @\r\n\r\n", 400),
    ("a space behind the path", "GET ~  HTTP/1.1\r\nHost: @\r\n\r\n", 400),
    ("a space in the path", "GET ~ x HTTP/1.1\r\nHost: @\r\n\r\n", 400),
    ("a tab in the path", "GET ~\tx HTTP/1.1\r\nHost: @\r\n\r\n", 400),
    ("a NUL in the path", "GET ~\0 HTTP/1.1\r\nHost: @\r\n\r\n", 400),
    ("no path", "GET HTTP/1.1\r\nHost: @\r\n\r\n", 400),
    // Request line
    ("HTTP/0.9", "GET ~\r\n", 400),
    ("HTTP/0.9 with a header", "GET ~\r\nHost: @\r\n\r\n", 400),
    ("HTTP/1.2", "GET ~ HTTP/1.2\r\nHost: @\r\n\r\n", 400),
    ("HTTP/2.0", "GET ~ HTTP/2.0\r\nHost: @\r\n\r\n", 400),
    ("HTTP/01.1", "GET ~ HTTP/01.1\r\nHost: @\r\n\r\n", 400),
    ("http/1.1", "GET ~ http/1.1\r\nHost: @\r\n\r\n", 400),
    ("another protocol", "GET ~ FTP/1.1\r\nHost: @\r\n\r\n", 400),
    ("a space before the method", " GET ~ HTTP/1.1\r\nHost: @\r\n\r\n", 400),
    ("a method with odd bytes", "G{T ~ HTTP/1.1\r\nHost: @\r\n\r\n", 400),
    ("no method", " ~ HTTP/1.1\r\nHost: @\r\n\r\n", 400),
    ("TLS", "\x16\x03\x01\x02\0\x01\0\x01\r\n\r\n", 400),
    // Ends of lines
    ("LF behind the request line", "GET ~ HTTP/1.1\nHost: @\r\n\r\n", 400),
    ("LF behind a header", "GET ~ HTTP/1.1\r\nHost: @\n\r\n", 400),
    ("LF as the last line", "GET ~ HTTP/1.1\r\nHost: @\r\n\n", 400),
    ("LF everywhere", "GET ~ HTTP/1.1\nHost: @\n\n", 400),
    ("CR within a header", "GET ~ HTTP/1.1\r\nHost: @\r\nX: a\rb\r\n\r\n", 400),
    ("CR behind a header", "GET ~ HTTP/1.1\r\nHost: @\rX: a\r\n\r\n", 400),
    ("two CRs", "GET ~ HTTP/1.1\r\r\nHost: @\r\n\r\n", 400),
    // Header fields
    ("a folded line", "GET ~ HTTP/1.1\r\nHost: @\r\nX: a\r\n b\r\n\r\n", 400),
    ("a line folded with a tab", "GET ~ HTTP/1.1\r\nHost: @\r\nX: a\r\n\tb\r\n\r\n", 400),
    ("a folded first line", "GET ~ HTTP/1.1\r\n X: a\r\nHost: @\r\n\r\n", 400),
    ("a space before the colon", "GET ~ HTTP/1.1\r\nHost: @\r\nX : a\r\n\r\n", 400),
    ("a tab before the colon", "GET ~ HTTP/1.1\r\nHost: @\r\nX\t: a\r\n\r\n", 400),
    ("a space before the colon of Host", "GET ~ HTTP/1.1\r\nHost : @\r\n\r\n", 400),
    (
        "a space before the colon of a length",
        "POST ~ HTTP/1.1\r\nHost: @\r\nContent-Length : 2\r\n\r\n{}",
        400,
    ),
    ("no colon", "GET ~ HTTP/1.1\r\nHost: @\r\nX\r\n\r\n", 400),
    ("no name", "GET ~ HTTP/1.1\r\nHost: @\r\n: a\r\n\r\n", 400),
    ("a name with a space", "GET ~ HTTP/1.1\r\nHost: @\r\nX Y: a\r\n\r\n", 400),
    ("a name with a slash", "GET ~ HTTP/1.1\r\nHost: @\r\nX/Y: a\r\n\r\n", 400),
    ("a name with brackets", "GET ~ HTTP/1.1\r\nHost: @\r\nX(Y): a\r\n\r\n", 400),
    ("a name that is not ASCII", "GET ~ HTTP/1.1\r\nHost: @\r\nÄ: a\r\n\r\n", 400),
    ("a NUL in a name", "GET ~ HTTP/1.1\r\nHost: @\r\nX\0Y: a\r\n\r\n", 400),
    ("a NUL in a value", "GET ~ HTTP/1.1\r\nHost: @\r\nX: a\0b\r\n\r\n", 400),
    ("a control character in a value", "GET ~ HTTP/1.1\r\nHost: @\r\nX: a\x01b\r\n\r\n", 400),
    // How long the body is
    (
        "CL and TE",
        "POST ~ HTTP/1.1\r\nHost: @\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "TE and CL",
        "POST ~ HTTP/1.1\r\nHost: @\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "TE and CL of 0",
        "POST ~ HTTP/1.1\r\nHost: @\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "TE twice",
        "POST ~ HTTP/1.1\r\nHost: @\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "TE, then identity",
        "POST ~ HTTP/1.1\r\nHost: @\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "TE chunked, chunked",
        "POST ~ HTTP/1.1\r\nHost: @\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "TE gzip, chunked",
        "POST ~ HTTP/1.1\r\nHost: @\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "TE chunked, gzip",
        "POST ~ HTTP/1.1\r\nHost: @\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        400,
    ),
    ("TE identity", "POST ~ HTTP/1.1\r\nHost: @\r\nTransfer-Encoding: identity\r\n\r\n", 400),
    ("TE xchunked", "POST ~ HTTP/1.1\r\nHost: @\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
    (
        "TE with a parameter",
        "POST ~ HTTP/1.1\r\nHost: @\r\nTransfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n",
        400,
    ),
    ("TE in quotes", "POST ~ HTTP/1.1\r\nHost: @\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 400),
    (
        "TE with a vertical tab",
        "POST ~ HTTP/1.1\r\nHost: @\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    ("TE of HTTP/1.0", "POST ~ HTTP/1.0\r\nHost: @\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("empty TE", "POST ~ HTTP/1.1\r\nHost: @\r\nTransfer-Encoding:\r\n\r\n", 400),
    ("two lengths", "POST ~ HTTP/1.1\r\nHost: @\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
    (
        "the same length twice",
        "POST ~ HTTP/1.1\r\nHost: @\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
        400,
    ),
    ("a list of lengths", "POST ~ HTTP/1.1\r\nHost: @\r\nContent-Length: 2, 2\r\n\r\n{}", 400),
    ("a length with a sign", "POST ~ HTTP/1.1\r\nHost: @\r\nContent-Length: +2\r\n\r\n{}", 400),
    ("a negative length", "POST ~ HTTP/1.1\r\nHost: @\r\nContent-Length: -2\r\n\r\n{}", 400),
    ("a hexadecimal length", "POST ~ HTTP/1.1\r\nHost: @\r\nContent-Length: 0x2\r\n\r\n{}", 400),
    ("a length with a space", "POST ~ HTTP/1.1\r\nHost: @\r\nContent-Length: 1 2\r\n\r\n{}", 400),
    ("an empty length", "POST ~ HTTP/1.1\r\nHost: @\r\nContent-Length:\r\n\r\n", 400),
    (
        "a length of 2^64 + 2",
        "POST ~ HTTP/1.1\r\nHost: @\r\nContent-Length: 18446744073709551618\r\n\r\n{}",
        400,
    ),
    // Chunks
    (
        "a size that is none",
        "POST ~ HTTP/1.1\r\nHost: @\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n{}\r\n0\r\n\r\n",
        400,
    ),
    (
        "an empty size",
        "POST ~ HTTP/1.1\r\nHost: @\r\nTransfer-Encoding: chunked\r\n\r\n\r\n{}\r\n0\r\n\r\n",
        400,
    ),
    (
        "a negative size",
        "POST ~ HTTP/1.1\r\nHost: @\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
        400,
    ),
    (
        "0x2 as a size",
        "POST ~ HTTP/1.1\r\nHost: @\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
        400,
    ),
    (
        "a size of 2^64 + 2",
        "POST ~ HTTP/1.1\r\nHost: @\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000002\r\n{}\r\n0\r\n\r\n",
        400,
    ),
    (
        "LF behind a size",
        "POST ~ HTTP/1.1\r\nHost: @\r\nTransfer-Encoding: chunked\r\n\r\n2\n{}\r\n0\r\n\r\n",
        400,
    ),
    (
        "LF in a chunk extension",
        "POST ~ HTTP/1.1\r\nHost: @\r\nTransfer-Encoding: chunked\r\n\r\n2;a\nb\r\n{}\r\n0\r\n\r\n",
        400,
    ),
    (
        "LF behind a chunk",
        "POST ~ HTTP/1.1\r\nHost: @\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\n0\r\n\r\n",
        400,
    ),
    (
        "a chunk longer than it says",
        "POST ~ HTTP/1.1\r\nHost: @\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n",
        400,
    ),
    (
        "nothing behind a chunk",
        "POST ~ HTTP/1.1\r\nHost: @\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}xx0\r\n\r\n",
        400,
    ),
];

#[tokio::test]
async fn what_can_be_understood_in_two_ways_is_refused() {
    let server = serve().await;
    let began = std::time::Instant::now();
    let mut wrong = Vec::new();
    for port in ports(&server) {
        for (case, request, status) in REFUSED {
            let request = request.replace('~', port.path).replace('@', &port.address);
            let request = request.replace("USER", "me@");
            let bytes = [request.as_bytes(), port.smuggled.as_bytes()].concat();
            match all_answers(&port.address, &bytes, Duration::from_secs(5)) {
                Some(answers) if statuses(&answers) == [*status] => {}
                Some(answers) => wrong.push(format!("{}: {case}: {answers:?}", port.name)),
                None => wrong.push(format!("{}: {case}: not closed", port.name)),
            }
        }
    }
    for row in ["30", "T15"] {
        seen(row, format!("{} ways on two ports: 400 and closed", REFUSED.len()), began.elapsed());
    }
    assert!(REFUSED.len() >= 60, "{}", REFUSED.len());
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), 2 * REFUSED.len(), wrong.join("\n"));
    assert!(!server.folder().join("smuggled").exists(), "a smuggled request ran");
    for port in ["http", "api"] {
        let counted = server.health().await["connections"][port].clone();
        let refused = counted["refusedMalformed"].as_u64().unwrap() as usize;
        assert!(counted["accepted"].as_u64().unwrap() as usize >= REFUSED.len(), "{counted}");
        // What is found out in the middle of a body has been a request before.
        let in_bodies = REFUSED.iter().filter(|(_, request, _)| request.contains("chunked\r\n\r\n")).count();
        assert!(refused + in_bodies >= REFUSED.len() && refused <= REFUSED.len(), "{counted}");
    }
    assert_eq!(server.get("/echo").await.text(), "served");
}

/// The checks take nothing away from proper requests.
#[tokio::test]
async fn what_is_proper_is_served() {
    let server = serve().await;
    let cases = [
        ("HTTP/1.0 without Host", "POST ~ HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}"),
        ("HTTP/1.0", "POST ~ HTTP/1.0\r\nHost: @\r\nContent-Length: 2\r\n\r\n{}"),
        (
            "an empty line before it",
            "\r\nPOST ~ HTTP/1.1\r\nHost: @\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
        ),
        ("a URL", "POST http://@~ HTTP/1.1\r\nHost: @\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"),
        (
            "no space behind colons",
            "POST ~ HTTP/1.1\r\nHost:@\r\nContent-Length:2\r\nConnection:close\r\n\r\n{}",
        ),
        (
            "spaces behind values",
            "POST ~ HTTP/1.1\r\nHost: @ \t\r\nContent-Length: 2 \r\nConnection: close\r\n\r\n{}",
        ),
        (
            "odd but proper names",
            "POST ~ HTTP/1.1\r\nHost: @\r\nX_y.!#$%&'*+^`|~: é\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
        ),
        (
            "chunks",
            "POST ~ HTTP/1.1\r\nHost: @\r\nTransfer-Encoding: Chunked\r\nConnection: close\r\n\r\n1;a=b\r\n{\r\n01\r\n}\r\n0\r\nX: y\r\n\r\n",
        ),
        (
            "Expect",
            "POST ~ HTTP/1.1\r\nHost: @\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
        ),
    ];
    for port in ports(&server) {
        for (case, request) in cases {
            let names = "X_y.!#$%&'*+^`|~:";
            let request = request.replace(names, "\u{1}").replace('~', port.path).replace('\u{1}', names);
            let request = request.replace('@', &port.address);
            let answers = all_answers(&port.address, request.as_bytes(), PATIENCE).expect("it is closed");
            let answer = answers.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(&answers);
            // HTTP/1.0 on the control plane: whoever names no host is kept out as a stranger.
            let status =
                if port.name == "Lambda API" && case.ends_with("without Host") { "421" } else { "200" };
            assert!(answer.get(9..12) == Some(status), "{}: {case}: {answers:?}", port.name);
        }
    }
}

#[tokio::test]
async fn too_much_is_refused_before_it_is_read() {
    let server = serve().await;
    for port in ports(&server) {
        let host = format!("Host: {}\r\n", port.address);
        let path = port.path;
        let long = "x".repeat(40_000);
        let many = "X: y\r\n".repeat(200);
        let chunk = format!("100000\r\n{}\r\n", "x".repeat(1 << 20));
        for (case, request, statuses_wanted) in [
            ("a long URI", format!("GET {path}?{long} HTTP/1.1\r\n{host}\r\n"), &[414][..]),
            (
                "a header that is too long",
                format!("GET {path} HTTP/1.1\r\n{host}X: {long}{long}\r\n\r\n"),
                &[431],
            ),
            ("too many fields", format!("GET {path} HTTP/1.1\r\n{host}{many}\r\n"), &[431]),
        ] {
            let answers = all_answers(&port.address, request.as_bytes(), PATIENCE).expect("it is closed");
            assert_eq!(statuses(&answers), statuses_wanted, "{}: {case}: {answers}", port.name);
        }
        // No byte of these bodies is ever sent.
        for expect in ["", "Expect: 100-continue\r\n"] {
            let mut stream = TcpStream::connect(&port.address).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            write!(stream, "POST {path} HTTP/1.1\r\n{host}{expect}Content-Length: 11000000\r\n\r\n").unwrap();
            let mut status = [0; 12];
            stream.read_exact(&mut status).unwrap();
            assert_eq!(&status, b"HTTP/1.1 413", "{}", port.name);
        }
        // Chunks without end: it stops where the limit is.
        let mut stream = TcpStream::connect(&port.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "POST {path} HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n").unwrap();
        for _ in 0..16 {
            stream.write_all(chunk.as_bytes()).unwrap();
        }
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        assert_eq!(&status, b"HTTP/1.1 413", "{}", port.name);
    }
}

/// Requests that do not wait for answers are answered one after another, each body where it belongs.
#[tokio::test]
async fn requests_in_a_row_are_answered_in_a_row() {
    let source = "
def lambda_handler(event, context):
    return {'statusCode': 200, 'body': event['requestContext']['http']['method'] + event.get('body', '')}
";
    let server = TestServer::with_handler("echo", source).await;
    let mut connection = Connection::open(&server.http);
    let mut requests = String::new();
    for number in 0..50 {
        requests += "GET /echo HTTP/1.1\r\nHost: l\r\n\r\n";
        requests += &format!(
            "POST /echo HTTP/1.1\r\nHost: l\r\nContent-Type: text/plain\r\nContent-Length: 11\r\n\r\nGET / {number:02} HT"
        );
        requests += &format!(
            "PUT /echo HTTP/1.1\r\nHost: l\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{{\r\n3\r\n{number:02}}}\r\n0\r\n\r\n"
        );
    }
    // However they are cut.
    for piece in requests.as_bytes().chunks(1009) {
        connection.send(piece);
    }
    for number in 0..50 {
        assert_eq!(connection.answer().text(), "GET");
        assert_eq!(connection.answer().text(), format!("POSTGET / {number:02} HT"));
        assert_eq!(connection.answer().text(), format!("PUT{{{number:02}}}"));
    }
}

/// A client that asks before it sends is told to go on, and then served.
#[tokio::test]
async fn who_expects_to_be_asked_is_asked() {
    let server = serve().await;
    for port in ports(&server) {
        let mut connection = Connection::open(&format!("http://{}", port.address));
        for _ in 0..3 {
            let head = format!("POST {} HTTP/1.1\r\nHost: {}\r\n", port.path, port.address);
            connection.send(format!("{head}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"));
            assert_eq!(connection.answer_without_body().status, 100, "{}", port.name);
            connection.send("{}");
            assert_eq!(connection.answer().status, 200, "{}", port.name);
        }
    }
}

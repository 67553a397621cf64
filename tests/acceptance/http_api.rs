//! The HTTP routes: what a request becomes as an event, and what a result becomes as a response.

use std::time::{Duration, Instant, SystemTime};

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Answer, PATIENCE, TestServer, TestServerBuilder};
use crate::held_function::{self, Held};
use crate::raw_http::{Connection, exchange};

const ECHO: &str = "def lambda_handler(event, context):\n    return event\n";

/// Returns whatever the Python expression in the request's body makes.
const EVALUATE: &str = r#"
import os, sys, time

def fail():
    raise ValueError("boom")

def lambda_handler(event, context):
    return eval(event["body"])
"#;

const NOT_FOUND: &str = r#"{"message":"Not Found"}"#;
const SERVER_ERROR: &str = r#"{"message":"Internal Server Error"}"#;
const UNAVAILABLE: &str = r#"{"message":"Service Unavailable"}"#;
const TOO_LARGE: &str = r#"{"message":"Request Entity Too Large"}"#;
const BAD_REQUEST: &str = r#"{"message":"Bad Request"}"#;

// ---- Events

/// The event of this request, compared with `tests/fixtures/events/NAME.json` to the last byte and
/// in the same order; what differs from run to run is checked for its form and then masked.
fn expect_event(server: &TestServer, fixture: &str, request: impl AsRef<[u8]>) {
    let answer = exchange(&server.http, request);
    assert_eq!(answer.status, 200, "{answer:?}");
    compare(server, fixture, serde_json::from_slice(&answer.body).unwrap());
}

fn compare(server: &TestServer, fixture: &str, mut event: Value) {
    mask(&mut event, server.http.rsplit(':').next().unwrap());
    let path = format!("{}/tests/fixtures/events/{fixture}.json", env!("CARGO_MANIFEST_DIR"));
    let wanted = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let event = serde_json::to_string_pretty(&event).unwrap() + "\n";
    assert!(event == wanted, "--- event\n{event}--- {fixture}.json\n{wanted}");
}

fn mask(event: &mut Value, port: &str) {
    let context = &mut event["requestContext"];
    let epoch = context["timeEpoch"].as_i64().expect("timeEpoch is a number");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as i64;
    assert!((now - epoch).abs() < 60_000, "timeEpoch {epoch} is not now: {now}");
    let time = jiff::Timestamp::from_millisecond(epoch).unwrap().to_zoned(jiff::tz::TimeZone::UTC);
    assert_eq!(context["time"], time.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string());
    context["time"] = "TIME".into();
    context["timeEpoch"] = 0.into();

    assert!(is_api_request_id(context["requestId"].as_str().unwrap()), "{context}");
    context["requestId"] = "FIFTEEN_LETTERS=".into();
    let api = context["apiId"].as_str().unwrap();
    assert!(
        api.len() == 10 && api.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()),
        "apiId {api}"
    );
    context["apiId"] = "API_ID".into();

    let trace = event["headers"]["x-amzn-trace-id"].as_str().expect("there is a trace id");
    let parts: Vec<&str> = trace.strip_prefix("Root=").unwrap().split('-').collect();
    assert_eq!((parts.len(), parts[0], parts[1].len(), parts[2].len()), (3, "1", 8, 24), "{trace}");
    assert!(parts[1..].iter().all(|part| part.bytes().all(|b| b.is_ascii_hexdigit())), "{trace}");
    let started = i64::from_str_radix(parts[1], 16).unwrap();
    assert!((started - epoch / 1000).abs() <= 1, "the trace began at {started}, the request at {epoch}");
    event["headers"]["x-amzn-trace-id"] = "TRACE".into();
    assert_eq!(event["headers"]["x-forwarded-port"], port);
    event["headers"]["x-forwarded-port"] = "PORT".into();
    let host = event["headers"]["host"].as_str().unwrap().replace(&format!(":{port}"), ":PORT");
    event["headers"]["host"] = host.into();
}

/// Fifteen characters and an equals sign, as API Gateway's.
fn is_api_request_id(id: &str) -> bool {
    id.len() == 16
        && id.ends_with('=')
        && id[..15].bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

async fn echo(name: &str) -> TestServer {
    TestServer::with_handler(name, ECHO).await
}

#[tokio::test]
async fn an_event_has_every_field_of_payload_format_2() {
    let server = echo("items").await;
    expect_event(
        &server,
        "full",
        "POST /items/blue%20sky?tag=red&tag=blue%20sky&page=2 HTTP/1.1\r\n\
         Host: a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com\r\n\
         User-Agent: curl/8.5.0\r\n\
         Accept: */*\r\n\
         Content-Type: application/json\r\n\
         Content-Length: 15\r\n\
         Cookie: session=abc123; theme=dark\r\n\
         X-MiXeD: first\r\n\
         x-mIxEd: second\r\n\
         X-Forwarded-For: 203.0.113.10, 198.51.100.7\r\n\r\n\
         {\"name\": \"tea\"}",
    );
}

#[tokio::test]
async fn what_is_absent_from_the_request_is_absent_from_the_event() {
    let server = echo("health").await;
    expect_event(&server, "minimal", "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
}

#[tokio::test]
async fn paths_arrive_decoded_and_queries_both_ways() {
    let server = echo("echo").await;
    expect_event(
        &server,
        "encoded",
        "GET /echo/a%2Fb/%EC%95%88%EB%85%95/?name=%EC%95%88&plus=a+b&empty=&flag&n=1&n=2,3&%26=%3D&bad=%zz \
         HTTP/1.1\r\nHost: localhost:3000\r\n\r\n",
    );
}

#[tokio::test]
async fn a_form_arrives_as_base64() {
    let server = echo("form").await;
    expect_event(
        &server,
        "form-base64",
        "POST /form HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: 15\r\n\r\nname=tea&size=2",
    );
}

#[tokio::test]
async fn bytes_arrive_as_base64_from_a_chunked_body_too() {
    let server = echo("bytes").await;
    let mut request =
        b"PUT /bytes/x.bin HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n\
                        Transfer-Encoding: chunked\r\n\r\n2\r\n"
            .to_vec();
    request.extend_from_slice(b"\x00\xff\r\n3\r\n\xfe\x0a!\r\n0\r\n\r\n");
    expect_event(&server, "binary", request);
}

#[tokio::test]
async fn http_2_without_an_upgrade_is_spoken() {
    let server = echo("echo").await;
    let client = reqwest::Client::builder().http2_prior_knowledge().no_proxy().timeout(PATIENCE).build();
    let request = client
        .unwrap()
        .post(format!("{}/echo/two?a=1", server.http))
        .header("cookie", "one=1")
        .header("cookie", "two=2")
        .header("content-type", "text/plain")
        .header("user-agent", "test")
        .body("안녕");
    let response = request.send().await.unwrap();
    assert_eq!((response.version(), response.status().as_u16()), (reqwest::Version::HTTP_2, 200));
    compare(&server, "http2", response.json().await.unwrap());
}

/// Which bodies are text was measured on AWS: few are.
#[tokio::test]
async fn the_content_type_decides_between_text_and_base64() {
    let server = echo("echo").await;
    for (content_type, is_base64) in [
        ("text/plain", false),
        ("text/html; charset=utf-8", false),
        ("TEXT/CSV", false),
        ("application/json", false),
        ("application/json;charset=utf-8", false),
        ("application/xml", false),
        ("application/javascript", false),
        ("application/vnd.api+json", true),
        ("application/problem+json", true),
        ("application/x-www-form-urlencoded", true),
        ("multipart/form-data; boundary=x", true),
        ("image/svg+xml", true),
        ("application/octet-stream", true),
        ("nonsense", true),
    ] {
        let event = server.post("/echo", content_type, "abc").await.json();
        let wanted = if is_base64 { "YWJj" } else { "abc" };
        assert_eq!(
            (&event["body"], &event["isBase64Encoded"]),
            (&wanted.into(), &is_base64.into()),
            "{content_type}"
        );
    }
    let damaged = server.post("/echo", "text/plain", b"a\xff".to_vec()).await.json();
    assert_eq!((&damaged["body"], &damaged["isBase64Encoded"]), (&"a\u{fffd}".into(), &false.into()));
    let untyped =
        exchange(&server.http, "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc");
    let event: Value = serde_json::from_slice(&untyped.body).unwrap();
    assert_eq!((&event["body"], &event["isBase64Encoded"]), (&"YWJj".into(), &true.into()));
    assert_eq!(event["headers"].get("content-type"), None, "no type is invented");
}

#[tokio::test]
async fn the_method_and_an_empty_body_are_told_as_they_are() {
    let server = echo("echo").await;
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        let request = format!(
            "{method} /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n"
        );
        let event: Value = serde_json::from_slice(&exchange(&server.http, request).body).unwrap();
        assert_eq!(event["requestContext"]["http"]["method"], method);
        assert_eq!(event["routeKey"], "ANY /echo");
        assert_eq!(event["headers"]["content-length"], "0");
        assert_eq!(event.get("body"), None, "{method}");
        assert_eq!(event["isBase64Encoded"], false, "{method}");
    }
}

#[tokio::test]
async fn a_trace_that_the_client_began_goes_on() {
    let server = TestServer::with_handler(
        "trace",
        "import os\ndef lambda_handler(event, context):\n    \
         return [event['headers']['x-amzn-trace-id'], os.environ['_X_AMZN_TRACE_ID']]\n",
    )
    .await;
    let root = "Root=1-6924e640-1f2e3d4c5b6a79880a1b2c3d";
    let request = server.client.get(format!("{}/trace", server.http)).header("X-Amzn-Trace-Id", root);
    let seen = server.send(request).await.json();
    assert_eq!(seen[0], root);
    assert!(seen[1].as_str().unwrap().starts_with(&format!("{root};Parent=")), "{seen}");
    // What is no trace is replaced by one.
    let request = server.client.get(format!("{}/trace", server.http)).header("X-Amzn-Trace-Id", "Root=;x");
    let seen = server.send(request).await.json();
    assert!(seen[0].as_str().unwrap().starts_with("Root=1-"), "{seen}");
}

#[tokio::test]
async fn one_connection_carries_many_requests() {
    let server = echo("echo").await;
    let mut connection = Connection::open(&server.http);
    for number in 0..20 {
        connection.send(format!("GET /echo?n={number} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        let answer = connection.answer();
        let event: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(event["queryStringParameters"]["n"], number.to_string());
        assert_eq!(answer.header("connection"), None, "it stays open");
    }
    // An error of the gateway's own does not end it either.
    connection.send("GET /nobody HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(connection.answer().status, 404);
    // Two at once are answered in order.
    connection.send("GET /echo?n=a HTTP/1.1\r\nHost: l\r\n\r\nGET /echo?n=b HTTP/1.1\r\nHost: l\r\n\r\n");
    for wanted in ["a", "b"] {
        let event: Value = serde_json::from_slice(&connection.answer().body).unwrap();
        assert_eq!(event["queryStringParameters"]["n"], wanted);
    }
    connection.send("GET /echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_eq!(connection.answer().status, 200);
    assert!(connection.is_closed());
}

#[tokio::test]
async fn an_answer_does_not_wait_for_the_next_request_of_its_connection() {
    let builder = held_function::add_to(TestServerBuilder::new().handler("echo", ECHO));
    let server = builder.start().await;
    let held = Held::new();
    let mut connection = Connection::open(&server.http);
    let slow = held.route();
    connection.send(format!(
        "GET /echo HTTP/1.1\r\nHost: localhost\r\n\r\nGET {slow} HTTP/1.1\r\nHost: localhost\r\n\r\n"
    ));
    assert_eq!(connection.answer().status, 200);
    held.wait_until_running();
    held.let_go();
    assert_eq!(connection.answer().text(), "done");
}

/// Whoever reports an answer's id is talking of the request that the function saw.
#[tokio::test]
async fn the_answer_and_the_event_have_the_same_id() {
    let server = echo("echo").await;
    let answer = server.get("/echo").await;
    let event = answer.json();
    assert_eq!(event["requestContext"]["requestId"].as_str(), answer.header("apigw-requestid"));
}

#[tokio::test]
async fn header_fields_of_more_than_10_240_bytes_are_a_431() {
    let server = echo("echo").await;
    let request = |length: usize| {
        let fields = ["host", "localhost", "cookie"].concat().len();
        let cookie = "x".repeat(length - fields);
        format!("GET /echo HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n\r\n")
    };
    assert_eq!(exchange(&server.http, request(10_240)).status, 200);
    let answer = exchange(&server.http, request(10_241));
    assert_eq!((answer.status, answer.text()), (431, r#"{"message":"Request Header Fields Too Large"}"#));
    server.wait_for_terminal("10241 bytes of header fields");
}

// ---- Responses

async fn evaluator() -> TestServer {
    TestServer::with_handler("evaluate", EVALUATE).await
}

async fn evaluate(server: &TestServer, expression: &str) -> Answer {
    server.post("/evaluate", "text/plain", expression.to_owned()).await
}

#[tokio::test]
async fn a_result_with_a_status_code_describes_the_response() {
    let server = evaluator().await;
    let plain = "text/plain; charset=utf-8";
    for (result, status, content_type, body) in [
        (r#"{"statusCode": 200, "body": "hi"}"#, 200, plain, "hi"),
        (r#"{"statusCode": 200}"#, 200, plain, ""),
        (r#"{"statusCode": 200, "body": None, "headers": None, "cookies": None}"#, 200, plain, ""),
        (r#"{"statusCode": "201", "body": "안녕"}"#, 201, plain, "안녕"),
        (
            r#"{"statusCode": 418, "headers": {"Content-Type": "text/html"}, "body": "<p>"}"#,
            418,
            "text/html",
            "<p>",
        ),
        (
            r#"{"statusCode": 200, "headers": {"content-type": "a/b"}, "body": "x", "extra": [1]}"#,
            200,
            "a/b",
            "x",
        ),
        (r#"{"statusCode": 500, "body": "mine"}"#, 500, plain, "mine"),
        (r#"{"statusCode": 200, "body": "aGk=", "isBase64Encoded": True}"#, 200, plain, "hi"),
        (r#"{"statusCode": 200, "body": "aGk=", "isBase64Encoded": False}"#, 200, plain, "aGk="),
    ] {
        let answer = evaluate(&server, result).await;
        assert_eq!(
            (answer.status, answer.header("content-type"), answer.text()),
            (status, Some(content_type), body),
            "{result}"
        );
        assert!(is_api_request_id(answer.header("apigw-requestid").unwrap()), "{result}");
    }
    let answer = evaluate(&server, r#"{"statusCode": 200, "body": "AP/+", "isBase64Encoded": True}"#).await;
    assert_eq!(answer.body, b"\x00\xff\xfe");
}

#[tokio::test]
async fn any_other_result_is_the_body_as_it_is() {
    let server = evaluator().await;
    for (result, body) in [
        (r#"{"name": "x"}"#, r#"{"name": "x"}"#),
        (
            r#"{"headers": {"x-thing": "1"}, "body": "b", "cookies": ["a=b"]}"#,
            r#"{"headers": {"x-thing": "1"}, "body": "b", "cookies": ["a=b"]}"#,
        ),
        (r#"'a "b" \n안녕'"#, "a \"b\" \n안녕"),
        ("''", ""),
        ("5", "5"),
        ("1.50", "1.5"),
        ("True", "true"),
        ("None", "null"),
        ("[1, {}]", "[1, {}]"),
        // Not JSON; passed on nevertheless.
        ("float('nan')", "NaN"),
        (r#"b'{"broken"'"#, r#"{"broken""#),
        (r#"b'"half'"#, r#""half"#),
        // A statusCode further down is no statusCode.
        (r#"[{"statusCode": 404}]"#, r#"[{"statusCode": 404}]"#),
    ] {
        let answer = evaluate(&server, result).await;
        assert_eq!(
            (answer.status, answer.header("content-type"), answer.text()),
            (200, Some("application/json"), body),
            "{result}"
        );
        assert_eq!(answer.header("x-thing"), None);
        assert_eq!(answer.header("set-cookie"), None);
        assert!(is_api_request_id(answer.header("apigw-requestid").unwrap()), "{result}");
    }
}

#[tokio::test]
async fn a_malformed_result_is_a_500_and_the_terminal_says_why() {
    let server = evaluator().await;
    for (result, reason) in [
        (r#"{"statusCode": 0}"#, "no HTTP status: 0"),
        (r#"{"statusCode": 200.5}"#, "no HTTP status: 200.5"),
        (r#"{"statusCode": "ok"}"#, r#"no HTTP status: "ok""#),
        (r#"{"statusCode": None}"#, "no HTTP status: null"),
        (r#"{"statusCode": [200]}"#, "no HTTP status: [200]"),
        (r#"{"statusCode": True}"#, "no HTTP status: true"),
        (r#"{"statusCode": -200}"#, "no HTTP status: -200"),
        (r#"{"statusCode": 1000}"#, "no HTTP status: 1000"),
        // The client would go on waiting for the real answer.
        (r#"{"statusCode": 101}"#, "no HTTP status: 101"),
        (r#"{"statusCode": 200, "body": {"a": 1}}"#, "a `body` that is an object"),
        (r#"{"statusCode": 200, "body": 5}"#, "a `body` that is a number"),
        (r#"{"statusCode": 200, "headers": "x"}"#, "they are no object"),
        (r#"{"statusCode": 200, "headers": {"a": ["b"]}}"#, "`a` is a list"),
        (r#"{"statusCode": 200, "headers": {"a b": "c"}}"#, r#""a b" is no name"#),
        (r#"{"statusCode": 200, "headers": {"split": "a\r\nset-cookie: b"}}"#, "`split` has characters"),
        (r#"{"statusCode": 200, "cookies": "a=b"}"#, "`cookies` that are no list"),
        (r#"{"statusCode": 200, "cookies": [5]}"#, "`cookies` that are no list"),
        (r#"{"statusCode": 200, "body": "%", "isBase64Encoded": True}"#, "is not base64"),
    ] {
        expect_gateway_error(evaluate(&server, result).await, 500, SERVER_ERROR, result);
        server.wait_for_terminal(reason);
    }
}

fn expect_gateway_error(answer: Answer, status: u16, body: &str, what: &str) {
    assert_eq!(
        (answer.status, answer.header("content-type"), answer.text()),
        (status, Some("application/json"), body),
        "{what}"
    );
    assert!(is_api_request_id(answer.header("apigw-requestid").unwrap()), "{what}");
}

#[tokio::test]
async fn headers_and_cookies_are_sent_in_lower_case_and_in_order() {
    let server = evaluator().await;
    let result = r#"{"statusCode": 200, "cookies": ["a=1; Path=/", "b=2"], "body": "ok", "headers": {
        "X-UPPER": "Value", "set-cookie": "c=3", "x-number": 5, "x-flag": True, "x-none": None,
        "Content-Length": "999", "Transfer-Encoding": "chunked", "Connection": "close"}}"#
        .replace('\n', " ");
    let request = format!(
        "POST /evaluate HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{result}",
        result.len()
    );
    let mut connection = Connection::open(&server.http);
    connection.send(&request);
    let answer = connection.answer();
    assert_eq!((answer.status, answer.text()), (200, "ok"));
    let cookies: Vec<&str> = answer
        .headers
        .iter()
        .filter(|(name, _)| name == "set-cookie")
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(cookies, ["a=1; Path=/", "b=2", "c=3"]);
    assert_eq!(answer.header("x-upper"), Some("Value"));
    assert_eq!(answer.header("x-number"), Some("5"));
    assert_eq!(answer.header("x-flag"), Some("true"));
    assert_eq!(answer.header("x-none"), None);
    // How the answer is transferred is not the function's to say.
    assert_eq!(answer.header("content-length"), Some("2"));
    assert_eq!(answer.header("transfer-encoding"), None);
    connection.send(&request);
    assert_eq!(connection.answer().status, 200);
}

#[tokio::test]
async fn answers_without_a_body_leave_the_connection_in_order() {
    let server = TestServer::with_handler(
        "status",
        "def lambda_handler(event, context):\n    \
         return {'statusCode': event['queryStringParameters']['code'], 'body': 'abc'}\n",
    )
    .await;
    let mut connection = Connection::open(&server.http);
    connection.send("HEAD /status?code=200 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let answer = connection.answer_without_body();
    assert_eq!((answer.status, answer.header("content-length")), (200, Some("3")));
    for code in [204, 304] {
        connection.send(format!("GET /status?code={code} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        let answer = connection.answer_without_body();
        assert_eq!(answer.status, code);
        assert!(matches!(answer.header("content-length"), None | Some("0")), "{answer:?}");
    }
    connection.send("HEAD /nobody HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let answer = connection.answer_without_body();
    assert_eq!((answer.status, answer.header("content-length")), (404, Some("23")));
    connection.send("GET /status?code=200 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(connection.answer().text(), "abc");
}

// ---- Errors

#[tokio::test]
async fn what_has_no_route_is_not_found() {
    let server = echo("echo").await;
    for path in ["/", "/nobody", "/nobody/x", "/echo/", "/Echo", "//echo", "/echo%2F", "/%FF", "/..%2Fecho"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = exchange(&server.http, request);
        assert_eq!(
            (answer.status, answer.header("content-type"), answer.text()),
            (404, Some("application/json"), NOT_FOUND),
            "{path}"
        );
        assert!(is_api_request_id(answer.header("apigw-requestid").unwrap()), "{path}");
    }
    server.wait_for_terminal("leave out the slash at the end");
    server.wait_for_terminal("upper and lower case count");
    assert_eq!(server.get("/ech%6F").await.status, 200, "paths are matched decoded");
    let answer = server.get("/echo%2Fx").await;
    assert_eq!(answer.json()["pathParameters"]["proxy"], "x", "a slash is a slash, encoded or not");
}

#[tokio::test]
async fn a_function_that_fails_is_a_500() {
    let server = TestServerBuilder::new()
        .handler("evaluate", EVALUATE)
        .file("evaluate/function.yaml", "Timeout: 1\n")
        .handler("no_import", "import nosuch\n")
        .handler("no_syntax", "def lambda_handler(event, context)\n")
        .handler("no_handler", "x = 1\n")
        .start()
        .await;
    for expression in
        ["fail()", "object()", "sys.exit(0)", "os._exit(3)", "os.kill(os.getpid(), 9)", "time.sleep(60)"]
    {
        expect_gateway_error(evaluate(&server, expression).await, 500, SERVER_ERROR, expression);
        assert_eq!(evaluate(&server, "'again'").await.text(), "again", "after {expression}");
    }
    for name in ["no_import", "no_syntax", "no_handler"] {
        expect_gateway_error(server.get(&format!("/{name}")).await, 500, SERVER_ERROR, name);
    }
    // A result with an errorMessage is a result.
    let answer = evaluate(&server, r#"{"errorMessage": "x", "errorType": "y"}"#).await;
    assert_eq!((answer.status, answer.text()), (200, r#"{"errorMessage": "x", "errorType": "y"}"#));
}

#[tokio::test]
async fn an_integration_that_takes_too_long_is_a_503_and_the_function_goes_on() {
    let builder = held_function::add_to(TestServerBuilder::new());
    let server = builder.argument("--integration-timeout").argument("0.5").start().await;
    let held = Held::new();
    let began = Instant::now();
    let answer = server.get(&held.route()).await;
    expect_gateway_error(answer, 503, UNAVAILABLE, "integration timeout");
    assert!(began.elapsed() >= Duration::from_millis(500), "{:?}", began.elapsed());
    server.wait_for_terminal("waits 0.5 s for its integration");
    held.wait_until_running();
    held.let_go();
    held.wait_until_done();
}

#[tokio::test]
async fn more_requests_than_may_wait_are_a_503() {
    let builder = held_function::add_to(TestServerBuilder::new());
    let server =
        builder.argument("--concurrency").argument("1").argument("--queue").argument("1").start().await;
    let held = Held::new();
    let begin = || tokio::spawn(server.client.get(format!("{}{}", server.http, held.route())).send());
    let first = begin();
    held_function::wait_for_load(&server, 1, 0).await;
    let second = begin();
    held_function::wait_for_load(&server, 1, 1).await;
    expect_gateway_error(server.get(&held.route()).await, 503, UNAVAILABLE, "throttled");
    held.let_go();
    for accepted in [first, second] {
        assert_eq!(accepted.await.unwrap().unwrap().text().await.unwrap(), "done");
    }
}

#[tokio::test]
async fn bodies_above_10_mb_and_events_above_6_mb_are_a_413() {
    let server = TestServer::with_handler(
        "size",
        "def lambda_handler(event, context):\n    return len(event['body'])\n",
    )
    .await;
    let limit = 10 * 1024 * 1024;
    // Announced: refused before it is sent.
    let answer = exchange(
        &server.http,
        format!("POST /size HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", limit + 1),
    );
    assert_eq!((answer.status, answer.text()), (413, TOO_LARGE));
    // Not announced: refused when the limit is passed.
    let mut connection = Connection::open(&server.http);
    connection.send("POST /size HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut chunk = format!("{:x}\r\n", 1024 * 1024).into_bytes();
    chunk.resize(chunk.len() + 1024 * 1024, b'x');
    chunk.extend_from_slice(b"\r\n");
    for _ in 0..10 {
        connection.send(&chunk);
    }
    connection.send("1\r\nx\r\n");
    let answer = connection.answer();
    assert_eq!((answer.status, answer.text()), (413, TOO_LARGE));
    // Sent whole: the client gets to read the answer, whatever it has still to send.
    for path in ["/size", "/nobody"] {
        let answer = server.post(path, "text/plain", vec![b'x'; 40_000_000]).await;
        let wanted = if path == "/size" { (413, TOO_LARGE) } else { (404, NOT_FOUND) };
        assert_eq!((answer.status, answer.text()), wanted);
    }
    // Accepted as a body, too large as an event: base64 makes it a third longer.
    let answer = server.post("/size", "application/octet-stream", vec![0; 5_000_000]).await;
    expect_gateway_error(answer, 413, TOO_LARGE, "the event");
    let answer = server.post("/size", "text/plain", "x".repeat(6_291_456)).await;
    expect_gateway_error(answer, 413, TOO_LARGE, "the event");
    let answer = server.post("/size", "application/octet-stream", vec![0; 4_500_000]).await;
    assert_eq!((answer.status, answer.text()), (200, "6000000"));
}

#[tokio::test]
async fn a_request_has_exactly_one_host() {
    let server = echo("echo").await;
    for hosts in ["", "Host: localhost\r\nHost: localhost\r\n", "Host: a\r\nhost: b\r\n"] {
        let answer = exchange(&server.http, format!("GET /echo HTTP/1.1\r\n{hosts}\r\n"));
        assert_eq!(
            (answer.status, answer.header("content-type"), answer.text()),
            (400, Some("application/json"), BAD_REQUEST),
            "{hosts:?}"
        );
    }
    assert_eq!(exchange(&server.http, "GET /echo HTTP/1.0\r\n\r\n").status, 200, "HTTP/1.0 had none");
}

#[tokio::test]
async fn what_is_not_http_is_refused_and_the_server_lives() {
    let server = echo("echo").await;
    // The first looks like the start of TLS.
    for garbage in ["\x16\x03\x01\x02\0\x01\0\x01\r\n\r\n", "GET\r\n\r\n", "GET /echo FTP/1.1\r\n\r\n"] {
        let mut connection = Connection::open(&server.http);
        connection.send(garbage);
        assert_eq!(connection.answer().status, 400, "{garbage:?}");
        assert!(connection.is_closed());
    }
    let many: String = (0..200).map(|number| format!("X-{number}: y\r\n")).collect();
    let request = format!("GET /echo HTTP/1.1\r\nHost: localhost\r\n{many}\r\n");
    assert_eq!(exchange(&server.http, request).status, 431);
    assert_eq!(server.get("/echo").await.status, 200);
}

// ---- Connections that come to nothing

/// Takes ten seconds: that is the limit.
#[tokio::test]
async fn connections_without_a_whole_header_are_closed() {
    let server = echo("echo").await;
    let limit = Duration::from_secs(45);
    let mut connections: Vec<(&str, Connection)> =
        ["", "G", "P", "PRI * HTTP/2", "GET /echo HTTP/1.1\r\nHost: local"]
            .into_iter()
            .map(|begun| {
                let mut connection = Connection::open(&server.http).patient_for(limit);
                connection.send(begun);
                (begun, connection)
            })
            .collect();
    for (begun, connection) in &mut connections {
        assert!(connection.is_closed(), "after {begun:?}");
    }
}

#[tokio::test]
async fn a_half_sent_header_does_not_delay_the_end_and_a_request_in_flight_does() {
    let mut server = held_function::add_to(TestServerBuilder::new()).start().await;
    let mut half_sent: Vec<Connection> = ["", "P", "GET /held HTTP/1.1\r\nHost: local"]
        .into_iter()
        .map(|begun| {
            let mut connection = Connection::open(&server.http);
            connection.send(begun);
            connection
        })
        .collect();
    let held = Held::new();
    let in_flight = tokio::spawn(server.client.get(format!("{}{}", server.http, held.route())).send());
    held_function::wait_for_load(&server, 1, 0).await;
    server.signal(Signal::TERM);
    server.wait_for_terminal("stopping");
    // The ports are closed to newcomers while the old request is still being served.
    let refused = |url: &str| std::net::TcpStream::connect(url.strip_prefix("http://").unwrap()).is_err();
    crate::harness::eventually("the port is closed", || refused(&server.http));
    held.let_go();
    let finished = Instant::now();
    assert_eq!(in_flight.await.unwrap().unwrap().text().await.unwrap(), "done");
    assert!(server.wait_for_exit().success());
    assert!(finished.elapsed() < Duration::from_secs(10), "the end took {:?}", finished.elapsed());
    for connection in &mut half_sent {
        assert!(connection.is_closed());
    }
}

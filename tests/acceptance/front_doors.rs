//! One function behind every front door, and the same request to each: what `docs/compared-with-aws.md`
//! says, row by row.

use std::fmt::Debug;

use serde_json::{Value, json};

use crate::harness::{TestServer, TestServerBuilder};
use crate::held_function::{Held, wait_for_load_of};
use crate::raw_http::{Connection, RawAnswer};

const TEMPLATE: &str = r#"
AWSTemplateFormatVersion: '2010-09-09'
Transform: AWS::Serverless-2016-10-31

Resources:
  Rest:
    Type: AWS::Serverless::Api
    Properties: {StageName: prod}
  Pictures:
    Type: AWS::Serverless::Api
    Properties: {StageName: prod, BinaryMediaTypes: [image/png, application~1pdf]}
  Http2:
    Type: AWS::Serverless::HttpApi
  Http1:
    Type: AWS::Serverless::HttpApi

  Echo:
    Type: AWS::Serverless::Function
    Properties:
      Runtime: python3.12
      Handler: app.lambda_handler
      CodeUri: code/
      FunctionUrlConfig: {AuthType: NONE}
      Events:
        Rest: {Type: Api, Properties: {RestApiId: !Ref Rest, Path: '/echo/{proxy+}', Method: any}}
        Pictures: {Type: Api, Properties: {RestApiId: !Ref Pictures, Path: '/echo/{proxy+}', Method: any}}
        Create: {Type: Api, Properties: {RestApiId: !Ref Rest, Path: /echo/made, Method: post}}
        Http2: {Type: HttpApi, Properties: {ApiId: !Ref Http2, Path: '/echo/{proxy+}', Method: any}}
        Http1:
          Type: HttpApi
          Properties: {ApiId: !Ref Http1, Path: '/echo/{proxy+}', Method: any, PayloadFormatVersion: '1.0'}

  Slow:
    Type: AWS::Serverless::Function
    Properties:
      Runtime: python3.12
      Handler: app.slow
      CodeUri: code/
      Timeout: 1
      FunctionUrlConfig: {AuthType: NONE}
      Events:
        Rest:
          Type: Api
          Properties: {RestApiId: !Ref Rest, Path: /slow, Method: get, TimeoutInMillis: 100}
        Http2:
          Type: HttpApi
          Properties: {ApiId: !Ref Http2, Path: /slow, Method: get, TimeoutInMillis: 100}
        Http1:
          Type: HttpApi
          Properties:
            {ApiId: !Ref Http1, Path: /slow, Method: get, TimeoutInMillis: 100, PayloadFormatVersion: '1.0'}

  Single:
    Type: AWS::ElasticLoadBalancingV2::LoadBalancer
    Properties: {Subnets: [subnet-1, subnet-2]}
  SingleListener:
    Type: AWS::ElasticLoadBalancingV2::Listener
    Properties:
      LoadBalancerArn: !Ref Single
      Port: 80
      Protocol: HTTP
      DefaultActions: [{Type: fixed-response, FixedResponseConfig: {StatusCode: '404'}}]
  SingleEcho:
    Type: AWS::ElasticLoadBalancingV2::ListenerRule
    Properties:
      ListenerArn: !Ref SingleListener
      Priority: 1
      Conditions: [{Field: path-pattern, Values: [/echo/*]}]
      Actions: [{Type: forward, TargetGroupArn: !Ref SingleEchoTargets}]
  SingleSlow:
    Type: AWS::ElasticLoadBalancingV2::ListenerRule
    Properties:
      ListenerArn: !Ref SingleListener
      Priority: 2
      Conditions: [{Field: path-pattern, Values: [/slow]}]
      Actions: [{Type: forward, TargetGroupArn: !Ref SingleSlowTargets}]
  SingleEchoTargets:
    Type: AWS::ElasticLoadBalancingV2::TargetGroup
    Properties: {TargetType: lambda, Targets: [{Id: !GetAtt Echo.Arn}]}
  SingleSlowTargets:
    Type: AWS::ElasticLoadBalancingV2::TargetGroup
    Properties: {TargetType: lambda, Targets: [{Id: !GetAtt Slow.Arn}]}

  Multi:
    Type: AWS::ElasticLoadBalancingV2::LoadBalancer
    Properties: {Subnets: [subnet-1, subnet-2]}
  MultiListener:
    Type: AWS::ElasticLoadBalancingV2::Listener
    Properties:
      LoadBalancerArn: !Ref Multi
      Port: 80
      Protocol: HTTP
      DefaultActions: [{Type: fixed-response, FixedResponseConfig: {StatusCode: '404'}}]
  MultiEcho:
    Type: AWS::ElasticLoadBalancingV2::ListenerRule
    Properties:
      ListenerArn: !Ref MultiListener
      Priority: 1
      Conditions: [{Field: path-pattern, Values: [/echo/*]}]
      Actions: [{Type: forward, TargetGroupArn: !Ref MultiEchoTargets}]
  MultiSlow:
    Type: AWS::ElasticLoadBalancingV2::ListenerRule
    Properties:
      ListenerArn: !Ref MultiListener
      Priority: 2
      Conditions: [{Field: path-pattern, Values: [/slow]}]
      Actions: [{Type: forward, TargetGroupArn: !Ref MultiSlowTargets}]
  MultiEchoTargets:
    Type: AWS::ElasticLoadBalancingV2::TargetGroup
    Properties:
      TargetType: lambda
      Targets: [{Id: !GetAtt Echo.Arn}]
      TargetGroupAttributes: [{Key: lambda.multi_value_headers.enabled, Value: 'true'}]
  MultiSlowTargets:
    Type: AWS::ElasticLoadBalancingV2::TargetGroup
    Properties:
      TargetType: lambda
      Targets: [{Id: !GetAtt Slow.Arn}]
      TargetGroupAttributes: [{Key: lambda.multi_value_headers.enabled, Value: 'true'}]
"#;

/// Returns the event as the body, or what the Python expression in the header `x-result` makes.
const CODE: &str = r#"
import json, os, time

def fail():
    raise ValueError("boom")

def held(folder):
    while not os.path.exists(folder + "/go"):
        time.sleep(0.005)
    return {"statusCode": 200, "body": "done"}

def lambda_handler(event, context):
    headers = event.get("headers") or event["multiValueHeaders"]
    for name, value in headers.items():
        if name.lower() == "x-result":
            return eval(value if isinstance(value, str) else value[0])
    seen = {"event": event, "trace": os.environ["_X_AMZN_TRACE_ID"], "id": context.aws_request_id}
    return {"statusCode": 200, "body": json.dumps(seen)}

def slow(event, context):
    while True:
        time.sleep(1)
"#;

/// The same with something to say about other origins.
const WITH_CORS: &str = r#"
AWSTemplateFormatVersion: '2010-09-09'
Transform: AWS::Serverless-2016-10-31

Resources:
  Rest:
    Type: AWS::Serverless::Api
    Properties: {StageName: prod, Cors: "'http://shop.example'"}
  Http2:
    Type: AWS::Serverless::HttpApi
    Properties: {CorsConfiguration: {AllowOrigins: ['http://shop.example'], AllowMethods: [GET]}}
  Echo:
    Type: AWS::Serverless::Function
    Properties:
      Runtime: python3.12
      Handler: app.lambda_handler
      CodeUri: code/
      FunctionUrlConfig:
        AuthType: NONE
        Cors: {AllowOrigins: ['http://shop.example'], AllowMethods: [GET]}
      Events:
        Rest: {Type: Api, Properties: {RestApiId: !Ref Rest, Path: '/echo/{proxy+}', Method: get}}
        Http2: {Type: HttpApi, Properties: {ApiId: !Ref Http2, Path: '/echo/{proxy+}', Method: get}}
"#;

#[derive(Clone, Copy)]
struct Door {
    name: &'static str,
    host: &'static str,
    /// Where Slow is.
    slow: &'static str,
    stage: &'static str,
}

/// The order of all tables below: REST, HTTP API with payload 2.0 and 1.0, function URL, load
/// balancer with single and with multi-value headers.
const DOORS: [Door; 6] = [
    Door {
        name: "REST",
        host: "rest.execute-api.localhost",
        slow: "rest.execute-api.localhost",
        stage: "/prod",
    },
    Door {
        name: "HTTP 2.0",
        host: "http2.execute-api.localhost",
        slow: "http2.execute-api.localhost",
        stage: "",
    },
    Door {
        name: "HTTP 1.0",
        host: "http1.execute-api.localhost",
        slow: "http1.execute-api.localhost",
        stage: "",
    },
    Door {
        name: "function URL",
        host: "echo.lambda-url.localhost",
        slow: "slow.lambda-url.localhost",
        stage: "",
    },
    Door { name: "ALB single", host: "single.elb.localhost", slow: "single.elb.localhost", stage: "" },
    Door { name: "ALB multi", host: "multi.elb.localhost", slow: "multi.elb.localhost", stage: "" },
];

const REST_ERROR: &str = r#"{"message": "Internal server error"}"#;
const HTTP_ERROR: &str = r#"{"message":"Internal Server Error"}"#;
const URL_ERROR: &str = "Internal Server Error";
const ALB_ERROR: &str = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n\
                         <center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n";

fn project() -> TestServerBuilder {
    TestServerBuilder::template(TEMPLATE).project_file("code/app.py", CODE)
}

async fn serve() -> TestServer {
    project().start().await
}

/// `line`: method and path, below the stage. `headers`: each with its end of line.
fn ask(server: &TestServer, door: &Door, line: &str, headers: &str, body: &[u8]) -> RawAnswer {
    let (method, path) = line.split_once(' ').unwrap();
    let host = if path == "/slow" { door.slow } else { door.host };
    let length = match (body.is_empty(), method) {
        (true, "GET" | "HEAD") => String::new(),
        _ => format!("Content-Length: {}\r\n", body.len()),
    };
    let head = format!("{method} {}{path} HTTP/1.1\r\nHost: {host}\r\n{length}{headers}\r\n", door.stage);
    let mut connection = Connection::open(&server.http);
    connection.send([head.as_bytes(), body].concat());
    if method == "HEAD" { connection.answer_without_body() } else { connection.answer() }
}

/// The same request to every door; what is looked at must be as wanted, in the order of `DOORS`.
#[track_caller]
fn compare<T: PartialEq + Debug>(
    server: &TestServer,
    what: &str,
    ask_at: impl Fn(&TestServer, &Door) -> RawAnswer,
    look: impl Fn(&RawAnswer) -> T,
    wanted: [T; 6],
) {
    let mut wrong = Vec::new();
    for (door, wanted) in DOORS.iter().zip(wanted) {
        let answer = ask_at(server, door);
        let seen = look(&answer);
        if seen != wanted {
            wrong.push(format!("{}:\n  seen   {seen:?}\n  wanted {wanted:?}\n  in {answer:?}", door.name));
        }
    }
    assert!(wrong.is_empty(), "{what}\n{}\n{}", wrong.join("\n"), server.terminal());
}

/// What the function saw of a request.
#[track_caller]
fn compare_events(
    server: &TestServer,
    line: &str,
    headers: &str,
    body: &[u8],
    look: impl Fn(&Value) -> Value,
    wanted: [Value; 6],
) {
    let look = |answer: &RawAnswer| look(&seen(answer)["event"]);
    compare(server, line, |server, door| ask(server, door, line, headers, body), look, wanted);
}

fn seen(answer: &RawAnswer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

/// Status and body that a result becomes.
#[track_caller]
fn compare_results(server: &TestServer, result: &str, wanted: [(u16, &str); 6]) {
    compare(
        server,
        result,
        |server, door| ask(server, door, "GET /echo/x", &format!("X-Result: {result}\r\n"), b""),
        |answer| (answer.status, answer.text().to_owned()),
        wanted.map(|(status, body)| (status, body.to_owned())),
    );
}

/// The keys that a map has of these; what is absent stays absent.
fn only(event: &Value, keys: &[&str]) -> Value {
    let present = keys.iter().filter_map(|key| Some(((*key).to_owned(), event.get(key)?.clone())));
    Value::Object(present.collect())
}

// ---- What the gateway answers

#[tokio::test]
async fn what_has_no_route() {
    let server = serve().await;
    let http = (404, r#"{"message":"Not Found"}"#.to_owned());
    let alb = "<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n\
               <center><h1>404 Not Found</h1></center>\r\n</body>\r\n</html>\r\n";
    let everything = (200, "here".to_owned());
    compare(
        &server,
        "/nowhere",
        |server, door| {
            let result = "X-Result: {'statusCode': 200, 'body': 'here'}\r\n";
            ask(server, door, "GET /nowhere", result, b"")
        },
        |answer| (answer.status, answer.text().to_owned()),
        [
            (403, r#"{"message":"Missing Authentication Token"}"#.to_owned()),
            http.clone(),
            http,
            everything,
            (404, alb.to_owned()),
            (404, alb.to_owned()),
        ],
    );
}

#[tokio::test]
async fn a_handler_that_fails() {
    let server = serve().await;
    for result in ["fail()", "object()", "os._exit(3)"] {
        compare(
            &server,
            result,
            |server, door| ask(server, door, "GET /echo/x", &format!("X-Result: {result}\r\n"), b""),
            |answer| {
                let header = |name| answer.header(name).unwrap_or("-").to_owned();
                let (content_type, error_type) = (header("content-type"), header("x-amzn-errortype"));
                (answer.status, content_type, error_type, answer.text().to_owned())
            },
            [
                (502, "application/json", "InternalServerErrorException", REST_ERROR),
                (500, "application/json", "-", HTTP_ERROR),
                (500, "application/json", "-", HTTP_ERROR),
                (502, "text/plain", "-", URL_ERROR),
                (502, "text/html", "-", ALB_ERROR),
                (502, "text/html", "-", ALB_ERROR),
            ]
            .map(|(status, content_type, error_type, body)| {
                (status, content_type.to_owned(), error_type.to_owned(), body.to_owned())
            }),
        );
    }
}

/// REST and HTTP APIs have limits of their own; elsewhere it is the function's.
#[tokio::test]
async fn an_integration_that_takes_too_long() {
    let server = serve().await;
    compare(
        &server,
        "/slow",
        |server, door| ask(server, door, "GET /slow", "", b""),
        |answer| (answer.status, answer.text().to_owned()),
        [
            (504, r#"{"message": "Endpoint request timed out"}"#.to_owned()),
            (503, r#"{"message":"Service Unavailable"}"#.to_owned()),
            (503, r#"{"message":"Service Unavailable"}"#.to_owned()),
            (502, URL_ERROR.to_owned()),
            (502, ALB_ERROR.to_owned()),
            (502, ALB_ERROR.to_owned()),
        ],
    );
}

#[tokio::test]
async fn more_requests_than_may_wait() {
    let server = project().argument("--concurrency").argument("1").argument("--queue").argument("1");
    let server = server.start().await;
    let held = Held::new();
    let request = format!(
        "GET /echo/x HTTP/1.1\r\nHost: {}\r\nX-Result: held('{}')\r\n\r\n",
        DOORS[1].host,
        held.folder().display()
    );
    let mut accepted = Vec::new();
    for waiting in [0, 1] {
        let mut connection = Connection::open(&server.http);
        connection.send(&request);
        wait_for_load_of("Echo", &server, 1, waiting).await;
        accepted.push(connection);
    }
    let busy = r#"{"Reason":"ConcurrentInvocationLimitExceeded","Type":"User","message":"Rate Exceeded."}"#;
    compare_results(
        &server,
        "{}",
        [
            (500, REST_ERROR),
            (503, r#"{"message":"Service Unavailable"}"#),
            (503, r#"{"message":"Service Unavailable"}"#),
            (429, busy),
            (502, ALB_ERROR),
            (502, ALB_ERROR),
        ],
    );
    held.let_go();
    for mut connection in accepted {
        assert_eq!(connection.answer().text(), "done");
    }
}

#[tokio::test]
async fn requests_that_are_too_large() {
    let server = serve().await;
    let rest = (413, r#"{"message":"Request Too Long"}"#);
    let http = (413, r#"{"message":"Request Entity Too Large"}"#);
    let url = r#"{"message":"Request must be smaller than 6291456 bytes for the InvokeFunction operation"}"#;
    let alb = "<html>\r\n<head><title>413 Request Entity Too Large</title></head>\r\n<body>\r\n\
               <center><h1>413 Request Entity Too Large</h1></center>\r\n</body>\r\n</html>\r\n";
    let fits = |length: &'static str| (200, length);
    const MB: usize = 1024 * 1024;
    for (length, content_type, wanted) in [
        (100_000, "text/plain", [fits("100000"); 6]),
        // A load balancer takes one megabyte.
        (MB, "text/plain", [fits("1048576"); 6]),
        (MB + 1, "text/plain", {
            let fits = fits("1048577");
            [fits, fits, fits, fits, (413, alb), (413, alb)]
        }),
        // Lambda takes six, of which the rest of the event needs a little.
        (6_285_000, "text/plain", {
            let fits = fits("6285000");
            [fits, fits, fits, fits, (413, alb), (413, alb)]
        }),
        (6 * MB, "text/plain", [rest, http, http, (413, url), (413, alb), (413, alb)]),
        // Base64 makes it a third longer, where there is base64.
        (5_000_000, "image/png", [fits("5000000"), http, http, (413, url), (413, alb), (413, alb)]),
        (10 * MB + 1, "text/plain", [rest, http, http, (413, url), (413, alb), (413, alb)]),
    ] {
        let body = vec![b'x'; length];
        let headers = format!(
            "Content-Type: {content_type}\r\nX-Result: {{'statusCode': 200, 'body': str(len(event['body']))}}\r\n"
        );
        compare(
            &server,
            &format!("{length} bytes of {content_type}"),
            |server, door| ask_patiently(server, door, &headers, &body),
            |answer| (answer.status, answer.text().to_owned()),
            wanted.map(|(status, body)| (status, body.to_owned())),
        );
    }
}

/// As `ask`, but a refusal may come before the body is written.
fn ask_patiently(server: &TestServer, door: &Door, headers: &str, body: &[u8]) -> RawAnswer {
    let head = format!(
        "POST {}/echo/x HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n{headers}\r\n",
        door.stage,
        door.host,
        body.len()
    );
    let mut connection = Connection::open(&server.http);
    connection.send(head);
    connection.send(body);
    connection.answer()
}

#[tokio::test]
async fn header_fields_of_more_than_10_240_bytes() {
    let server = serve().await;
    let headers: String =
        (0..3).map(|number| format!("X-Long-{number}: {}\r\n", "x".repeat(3_500))).collect();
    compare(
        &server,
        "long headers",
        |server, door| ask(server, door, "GET /echo/x", &headers, b""),
        |answer| answer.status,
        [431, 431, 431, 200, 200, 200],
    );
}

// ---- Events

#[tokio::test]
async fn paths() {
    let server = serve().await;
    let look = |event: &Value| {
        let (path, raw) = (&event["path"], &event["rawPath"]);
        json!([if path.is_null() { raw } else { path }, event["pathParameters"]["proxy"]])
    };
    let encoded = json!(["/echo/a%20b%2Bc/d%2Fe", null]);
    let decoded = json!(["/echo/a b+c/d/e", "a b+c/d/e"]);
    compare_events(
        &server,
        "GET /echo/a%20b%2Bc/d%2Fe",
        "",
        b"",
        look,
        [
            json!(["/echo/a%20b%2Bc/d%2Fe", "a%20b%2Bc/d%2Fe"]),
            decoded.clone(),
            decoded,
            encoded.clone(),
            encoded.clone(),
            encoded,
        ],
    );
    // A slash at the end, and two within.
    let kept = json!(["/echo/a//b/", null]);
    compare_events(
        &server,
        "GET /echo/a//b/",
        "",
        b"",
        look,
        [
            json!(["/echo/a//b/", "a//b"]),
            json!(["/echo/a//b/", "a//b/"]),
            json!(["/echo/a//b/", "a//b/"]),
            kept.clone(),
            kept.clone(),
            kept,
        ],
    );
}

#[tokio::test]
async fn a_greedy_variable_needs_a_segment() {
    let server = serve().await;
    compare(
        &server,
        "/echo",
        |server, door| ask(server, door, "GET /echo", "", b""),
        |answer| answer.status,
        [403, 404, 404, 200, 404, 404],
    );
}

/// Of REST APIs: `POST /echo/made` has no GET, `ANY /echo/{proxy+}` has.
#[tokio::test]
async fn a_verb_that_a_resource_lacks() {
    let server = serve().await;
    for (line, resource) in [("POST /echo/made", "/echo/made"), ("GET /echo/made", "/echo/{proxy+}")] {
        assert_eq!(seen(&ask(&server, &DOORS[0], line, "", b""))["event"]["resource"], resource, "{line}");
    }
    assert_eq!(ask(&server, &DOORS[0], "POST /slow", "", b"").status, 403);
}

#[tokio::test]
async fn names_and_repetitions_of_headers() {
    let server = serve().await;
    let look = |event: &Value| {
        let of = |map: &str| {
            let known = event[map].as_object().into_iter().flatten();
            let known = known.filter(|(name, _)| name.eq_ignore_ascii_case("test-header"));
            Value::Object(known.map(|(name, value)| (name.clone(), value.clone())).collect())
        };
        json!([of("headers"), of("multiValueHeaders")])
    };
    let joined = json!([{"test-header": "one,two"}, {}]);
    compare_events(
        &server,
        "GET /echo/x",
        "tEsT-HeadeR: one\r\nTEST-header: two\r\n",
        b"",
        look,
        [
            json!([{"tEsT-HeadeR": "two"}, {"tEsT-HeadeR": ["one", "two"]}]),
            joined.clone(),
            json!([{"test-header": "two"}, {"test-header": ["one", "two"]}]),
            joined,
            json!([{"test-header": "two"}, {}]),
            json!([{}, {"test-header": ["one", "two"]}]),
        ],
    );
}

#[tokio::test]
async fn headers_that_are_left_out() {
    let server = serve().await;
    let sent = "TE: trailers\r\nKeep-Alive: 5\r\nMax-Forwards: 3\r\nContent-MD5: x\r\nX-Own: y\r\n";
    let look = |event: &Value| {
        let headers = event.get("headers").or_else(|| event.get("multiValueHeaders")).unwrap();
        let names = headers.as_object().unwrap().keys().map(|name| name.to_ascii_lowercase());
        let known =
            ["te", "keep-alive", "connection", "max-forwards", "content-md5", "content-length", "x-own"];
        let mut names: Vec<String> = names.filter(|name| known.contains(&name.as_str())).collect();
        names.sort();
        json!(names)
    };
    let others = json!(["content-length", "content-md5", "max-forwards", "x-own"]);
    let mut wanted = [(); 6].map(|()| others.clone());
    wanted[0] = json!(["x-own"]);
    compare_events(&server, "POST /echo/x", sent, b"abc", look, wanted);
}

const QUERY: [&str; 3] = ["queryStringParameters", "multiValueQueryStringParameters", "rawQueryString"];

#[tokio::test]
async fn queries() {
    let server = serve().await;
    let query = |event: &Value| only(event, &QUERY);
    let both = json!({
        "queryStringParameters": {"n": "2", "a": "+ b c"},
        "multiValueQueryStringParameters": {"n": ["1", "2"], "a": ["+ b c"]},
    });
    let joined = json!({
        "queryStringParameters": {"n": "1,2", "a": "+ b c"},
        "rawQueryString": "n=1&a=%2B+b%20c&n=2",
    });
    compare_events(
        &server,
        "GET /echo/x?n=1&a=%2B+b%20c&n=2",
        "",
        b"",
        query,
        [
            both.clone(),
            joined.clone(),
            both,
            joined,
            json!({"queryStringParameters": {"n": "2", "a": "%2B+b%20c"}}),
            json!({"multiValueQueryStringParameters": {"n": ["1", "2"], "a": ["%2B+b%20c"]}}),
        ],
    );
}

#[tokio::test]
async fn no_query() {
    let server = serve().await;
    let nulls = json!({"queryStringParameters": null, "multiValueQueryStringParameters": null});
    let empty = json!({"rawQueryString": ""});
    compare_events(
        &server,
        "GET /echo/x",
        "",
        b"",
        |event| only(event, &QUERY),
        [
            nulls.clone(),
            empty.clone(),
            nulls,
            empty,
            json!({"queryStringParameters": {}}),
            json!({"multiValueQueryStringParameters": {}}),
        ],
    );
}

#[tokio::test]
async fn no_body() {
    let server = serve().await;
    let body = |event: &Value| only(event, &["body", "isBase64Encoded"]);
    let null = json!({"body": null, "isBase64Encoded": false});
    let absent = json!({"isBase64Encoded": false});
    let empty = json!({"body": "", "isBase64Encoded": false});
    for line in ["GET /echo/x", "POST /echo/x"] {
        compare_events(
            &server,
            line,
            "",
            b"",
            body,
            [null.clone(), absent.clone(), null.clone(), absent.clone(), empty.clone(), empty.clone()],
        );
    }
}

/// `-` is text, `B` is base64. A REST API without `binaryMediaTypes` takes everything for text.
#[tokio::test]
async fn bodies_are_text_or_base64() {
    let server = serve().await;
    let mut tables = Vec::new();
    for (headers, wanted) in [
        ("Content-Type: text/plain\r\n", "------"),
        ("Content-Type: Text/HTML; charset=utf-8\r\n", "------"),
        ("Content-Type: application/json\r\n", "------"),
        ("Content-Type: application/xml\r\n", "------"),
        ("Content-Type: application/javascript\r\n", "------"),
        ("Content-Type: application/vnd.api+json\r\n", "-BB-BB"),
        ("Content-Type: application/x-www-form-urlencoded\r\n", "-BBBBB"),
        ("Content-Type: multipart/form-data; boundary=b\r\n", "-BBBBB"),
        ("Content-Type: image/png\r\n", "-BBBBB"),
        ("Content-Type: application/octet-stream\r\n", "-BBBBB"),
        ("", "-BBBBB"),
        ("Content-Type: text/plain\r\nContent-Encoding: gzip\r\n", "----BB"),
    ] {
        let forms = DOORS.iter().map(|door| {
            let event = seen(&ask(&server, door, "POST /echo/x", headers, b"a=1&b"))["event"].clone();
            match (&event["body"], &event["isBase64Encoded"]) {
                (body, Value::Bool(false)) if body == "a=1&b" => '-',
                (body, Value::Bool(true)) if body == "YT0xJmI=" => 'B',
                other => panic!("{headers}: {}: {other:?}", door.name),
            }
        });
        let forms: String = forms.collect();
        if forms != wanted {
            tables.push(format!("{headers:?}: {forms}, not {wanted}"));
        }
    }
    assert!(tables.is_empty(), "{}", tables.join("\n"));
}

#[tokio::test]
async fn cookies_of_requests() {
    let server = serve().await;
    let look = |event: &Value| {
        let name = |map: &str| event[map].get("cookie").or_else(|| event[map].get("Cookie")).cloned();
        json!([event["cookies"], name("headers"), name("multiValueHeaders")])
    };
    let list = json!([["a=1", "b=2"], null, null]);
    compare_events(
        &server,
        "GET /echo/x",
        "Cookie: a=1; b=2\r\n",
        b"",
        look,
        [
            json!([null, "a=1; b=2", ["a=1; b=2"]]),
            list.clone(),
            json!([null, "a=1; b=2", ["a=1; b=2"]]),
            list,
            json!([null, "a=1; b=2", null]),
            json!([null, null, ["a=1; b=2"]]),
        ],
    );
}

#[tokio::test]
async fn a_trace_goes_through() {
    let server = serve().await;
    let root = "1-6924e640-1f2e3d4c5b6a79880a1b2c3d";
    for door in &DOORS {
        let sent = format!("X-Amzn-Trace-Id: Root={root};Sampled=1\r\n");
        let seen_by = seen(&ask(&server, door, "GET /echo/x", &sent, b""));
        let header = trace_header(&seen_by["event"]);
        let (before, after) = header.split_once("Root=").unwrap();
        let is_balancer = door.name.starts_with("ALB");
        assert_eq!(before.starts_with("Self=1-") && before.ends_with(';'), is_balancer, "{header}");
        assert!(after.starts_with(root), "{}: {header}", door.name);
        let variable = seen_by["trace"].as_str().unwrap();
        assert!(variable.starts_with(&format!("Root={root};Parent=")), "{}: {variable}", door.name);
        // Without one it begins here.
        let seen_by = seen(&ask(&server, door, "GET /echo/x", "", b""));
        let own = trace_header(&seen_by["event"]);
        let own = own.strip_prefix("Root=").unwrap_or_else(|| panic!("{}: {own}", door.name));
        assert_eq!(own.split('-').map(str::len).collect::<Vec<_>>(), [1, 8, 24], "{}: {own}", door.name);
        assert!(seen_by["trace"].as_str().unwrap().starts_with(&format!("Root={own};")), "{}", door.name);
    }
}

fn trace_header(event: &Value) -> String {
    let headers = event.get("headers").or_else(|| event.get("multiValueHeaders")).unwrap();
    let value = headers.get("x-amzn-trace-id").or_else(|| headers.get("X-Amzn-Trace-Id")).unwrap();
    value.as_str().or_else(|| value[0].as_str()).unwrap().to_owned()
}

#[tokio::test]
async fn versions_and_accounts() {
    let server = serve().await;
    let look = |event: &Value| json!([event.get("version"), event["requestContext"]["accountId"]]);
    let account = |version: Value| json!([version, "123456789012"]);
    compare_events(
        &server,
        "GET /echo/x",
        "",
        b"",
        look,
        [
            account(Value::Null),
            account("2.0".into()),
            account("1.0".into()),
            json!(["2.0", "anonymous"]),
            json!([null, null]),
            json!([null, null]),
        ],
    );
}

/// `requestId` of a function URL is the invocation's own, and every door names its requests.
#[tokio::test]
async fn ids_of_requests() {
    let server = serve().await;
    for (door, names) in DOORS.iter().zip([
        ["x-amzn-requestid", "requestId"],
        ["apigw-requestid", "requestId"],
        ["apigw-requestid", "requestId"],
        ["x-amzn-requestid", "requestId"],
        ["", ""],
        ["", ""],
    ]) {
        let answer = ask(&server, door, "GET /echo/x", "", b"");
        let seen_by = seen(&answer);
        let told = seen_by["event"]["requestContext"].get(names[1]).and_then(Value::as_str);
        assert_eq!(told, answer.header(names[0]), "{}", door.name);
        assert_eq!(told == seen_by["id"].as_str(), door.name == "function URL", "{}", door.name);
    }
}

// ---- Results

#[tokio::test]
async fn keys_that_are_unknown() {
    let server = serve().await;
    compare_results(
        &server,
        "{'statusCode': 200, 'body': 'x', 'other': 1}",
        [(502, REST_ERROR), (200, "x"), (200, "x"), (200, "x"), (200, "x"), (200, "x")],
    );
}

#[tokio::test]
async fn results_without_a_status() {
    let server = serve().await;
    for (result, rest, http, url) in
        [("{'body': 'x'}", "x", r#"{"body": "x"}"#, r#"{"body":"x"}"#), ("{}", "", "{}", "{}")]
    {
        compare_results(
            &server,
            result,
            [(200, rest), (200, http), (500, HTTP_ERROR), (200, url), (502, ALB_ERROR), (502, ALB_ERROR)],
        );
    }
}

#[tokio::test]
async fn results_that_are_no_objects() {
    let server = serve().await;
    for (result, http, url) in [
        ("'hello'", "hello", "hello"),
        ("3", "3", "3"),
        ("3.1", "3.1", "3.1"),
        ("True", "true", "true"),
        ("['a', 3]", r#"["a", 3]"#, r#"["a",3]"#),
        ("None", "null", "null"),
    ] {
        compare_results(
            &server,
            result,
            [
                (502, REST_ERROR),
                (200, http),
                (500, HTTP_ERROR),
                (200, url),
                (502, ALB_ERROR),
                (502, ALB_ERROR),
            ],
        );
    }
}

#[tokio::test]
async fn statuses() {
    let server = serve().await;
    let text = "{'statusCode': '201', 'body': 'x'}";
    let broken = [
        (502, REST_ERROR),
        (500, HTTP_ERROR),
        (500, HTTP_ERROR),
        (502, URL_ERROR),
        (502, ALB_ERROR),
        (502, ALB_ERROR),
    ];
    let mut as_text = [(201, "x"); 6];
    as_text[4..].copy_from_slice(&broken[4..]);
    compare_results(&server, text, as_text);
    // 1xx would leave the client waiting for the real answer.
    for status in ["200.5", "0", "'test'", "99", "101", "600", "True", "[200]"] {
        compare_results(&server, &format!("{{'statusCode': {status}, 'body': 'x'}}"), broken);
    }
    compare_results(&server, "{'statusCode': 418, 'body': 'x'}", [(418, "x"); 6]);
}

#[tokio::test]
async fn bodies_that_are_no_text() {
    let server = serve().await;
    for result in ["{'statusCode': 200, 'body': {'a': 1}}", "{'statusCode': 200, 'body': [1]}"] {
        compare_results(
            &server,
            result,
            [
                (502, REST_ERROR),
                (500, HTTP_ERROR),
                (500, HTTP_ERROR),
                (502, URL_ERROR),
                (502, ALB_ERROR),
                (502, ALB_ERROR),
            ],
        );
    }
}

#[tokio::test]
async fn content_types_by_default() {
    let server = serve().await;
    let types = |result: &str, wanted: [&str; 6]| {
        compare(
            &server,
            result,
            |server, door| ask(server, door, "GET /echo/x", &format!("X-Result: {result}\r\n"), b""),
            |answer| answer.header("content-type").unwrap_or("-").to_owned(),
            wanted.map(str::to_owned),
        );
    };
    let (json, text, page) = ("application/json", "text/plain; charset=utf-8", "text/html");
    let bytes = "application/octet-stream";
    types("{'statusCode': 200, 'body': 'x'}", [json, text, text, json, bytes, bytes]);
    types("{'message': 'x'}", [json, json, json, json, page, page]);
    let said = "{'statusCode': 200, 'headers': {'Content-Type': 'image/png'}, \
                'multiValueHeaders': {'content-type': ['image/png']}}";
    types(said, ["image/png"; 6]);
}

#[tokio::test]
async fn results_in_base64() {
    let server = serve().await;
    compare_results(
        &server,
        "{'statusCode': 200, 'body': 'aGk=', 'isBase64Encoded': True}",
        [
            // The API has no `binaryMediaTypes`.
            (200, "aGk="),
            (200, "hi"),
            (200, "hi"),
            (200, "hi"),
            (200, "hi"),
            (200, "hi"),
        ],
    );
}

#[tokio::test]
async fn cookies_of_answers() {
    let server = serve().await;
    let result = "{'statusCode': 200, 'cookies': ['a=1', 'b=2'], 'headers': {'Set-Cookie': 'c=3'}, \
                  'multiValueHeaders': {'Set-Cookie': ['d=4', 'e=5']}}";
    compare(
        &server,
        result,
        |server, door| ask(server, door, "GET /echo/x", &format!("X-Result: {result}\r\n"), b""),
        |answer| {
            let cookies = answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
            cookies.map(|(_, value)| value.clone()).collect::<Vec<_>>()
        },
        [
            vec!["d=4", "e=5", "c=3"],
            vec!["a=1", "b=2", "c=3"],
            vec!["d=4", "e=5", "c=3"],
            vec!["a=1", "b=2", "c=3"],
            vec!["c=3"],
            vec!["d=4", "e=5"],
        ]
        .map(|cookies| cookies.into_iter().map(str::to_owned).collect()),
    );
}

#[tokio::test]
async fn headers_that_get_another_name() {
    let server = serve().await;
    let headers = "{'WWW-Authenticate': 'Basic', 'Server': 'mine'}";
    let many = headers.replace("'Basic'", "['Basic']").replace("'mine'", "['mine']");
    for (door, renamed) in DOORS.iter().zip([true, false, false, false, false, false]) {
        let (key, headers) = match door.name {
            "ALB multi" => ("multiValueHeaders", many.as_str()),
            _ => ("headers", headers),
        };
        let result = format!("X-Result: {{'statusCode': 401, '{key}': {headers}}}\r\n");
        let answer = ask(&server, door, "GET /echo/x", &result, b"");
        let names = [("www-authenticate", "Basic"), ("server", "mine")];
        for (name, value) in names {
            let other = format!("x-amzn-remapped-{name}");
            let (here, there) = if renamed { (None, Some(value)) } else { (Some(value), None) };
            assert_eq!((answer.header(name), answer.header(&other)), (here, there), "{}", door.name);
        }
    }
}

#[tokio::test]
async fn answers_without_bodies() {
    let server = serve().await;
    for door in &DOORS {
        let mut connection = Connection::open(&server.http);
        let mut ask = |method: &str, status: u16| {
            let Door { host, stage, .. } = door;
            connection.send(format!(
                "{method} {stage}/echo/x HTTP/1.1\r\nHost: {host}\r\n\
                 X-Result: {{'statusCode': {status}, 'body': 'hello'}}\r\n\r\n"
            ));
            match (method, status) {
                ("GET", 200) => connection.answer(),
                _ => connection.answer_without_body(),
            }
        };
        let head = ask("HEAD", 200);
        assert_eq!((head.status, head.header("content-length")), (200, Some("5")), "{}", door.name);
        for status in [204, 304] {
            let answer = ask("GET", status);
            assert_eq!(answer.status, status, "{}", door.name);
            assert!(matches!(answer.header("content-length"), None | Some("0")), "{}: {answer:?}", door.name);
        }
        // The connection is in order.
        assert_eq!(ask("GET", 200).text(), "hello", "{}", door.name);
    }
    let method = |event: &Value| {
        let context = &event["requestContext"]["http"]["method"];
        if context.is_null() { event["httpMethod"].clone() } else { context.clone() }
    };
    for verb in ["OPTIONS", "PATCH"] {
        compare_events(&server, &format!("{verb} /echo/x"), "", b"", method, [(); 6].map(|()| verb.into()));
    }
}

#[tokio::test]
async fn binary_media_types_of_a_rest_api() {
    let server = serve().await;
    let pictures = Door { host: "pictures.execute-api.localhost", ..DOORS[0] };
    for (content_type, is_base64) in
        [("image/png", true), ("application/pdf; v=1", true), ("image/gif", false), ("*/*", false)]
    {
        let headers = format!("Content-Type: {content_type}\r\n");
        let event = seen(&ask(&server, &pictures, "POST /echo/x", &headers, b"abc"))["event"].clone();
        let wanted = if is_base64 { "YWJj" } else { "abc" };
        assert_eq!((&event["body"], &event["isBase64Encoded"]), (&wanted.into(), &is_base64.into()));
    }
    // The first type that the client accepts decides about the answer.
    for (accept, body) in
        [("image/png", "hi"), ("image/png, */*", "hi"), ("*/*, image/png", "aGk="), ("text/html", "aGk=")]
    {
        let headers = format!(
            "Accept: {accept}\r\nX-Result: {{'statusCode': 200, 'body': 'aGk=', 'isBase64Encoded': True}}\r\n"
        );
        assert_eq!(ask(&server, &pictures, "GET /echo/x", &headers, b"").text(), body, "{accept}");
    }
}

#[tokio::test]
async fn preflights() {
    let server = TestServerBuilder::template(WITH_CORS).project_file("code/app.py", CODE).start().await;
    for (door, status, foreign_status) in [(0, 200, 200), (1, 204, 204), (3, 200, 200)] {
        let door = &DOORS[door];
        let ask = |origin: &str| {
            let headers = format!("Origin: {origin}\r\nAccess-Control-Request-Method: GET\r\n");
            ask(&server, door, "OPTIONS /echo/x", &headers, b"")
        };
        let answer = ask("http://shop.example");
        let origin = |answer: &RawAnswer| answer.header("access-control-allow-origin").map(str::to_owned);
        assert_eq!(
            (answer.status, origin(&answer).as_deref()),
            (status, Some("http://shop.example")),
            "{}",
            door.name
        );
        let answer = ask("http://other.example");
        // A REST API's OPTIONS is a MOCK: it says the same to everybody.
        let told = (door.name == "REST").then_some("http://shop.example");
        assert_eq!((answer.status, origin(&answer).as_deref()), (foreign_status, told), "{}", door.name);
    }
}

#[tokio::test]
async fn a_web_socket_at_a_door_that_has_none() {
    let server = serve().await;
    compare(
        &server,
        "an upgrade",
        |server, door| ask(server, door, "GET /echo/x", "Connection: Upgrade\r\nUpgrade: websocket\r\n", b""),
        |answer| answer.status,
        [200, 200, 200, 200, 400, 400],
    );
}

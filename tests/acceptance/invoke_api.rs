//! The Lambda API as a program without an SDK sees it: headers, statuses and bodies to the letter,
//! and a door that is closed to web pages.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::harness::{Answer, TestServer, TestServerBuilder, eventually};
use crate::held_function::{self, Held};
use crate::raw_http::{Connection, exchange};

/// Returns whatever the Python expression in the event's `do` makes.
const EVALUATE: &str = r#"
import json, logging, os, sys, time

def fail():
    raise ValueError("boom")

def say(*lines):
    for line in lines:
        print(line)

def touch(path):
    open(path, "w").close()

def describe(client_context):
    client = client_context.client
    return [client_context.custom, client_context.env, client.app_title, client.installation_id]

def lambda_handler(event, context):
    return eval(event["do"])
"#;

const ECHO: &str = "def lambda_handler(event, context):\n    return event\n";
/// Of a request, and (with the room for an envelope that Lambda leaves) of a result.
const REQUEST_LIMIT: usize = 6_291_456;
const RESULT_LIMIT: usize = 6_291_556;

async fn evaluator() -> TestServer {
    TestServer::with_handler("evaluate", EVALUATE).await
}

fn doing(expression: &str) -> String {
    json!({"do": expression}).to_string()
}

async fn evaluate(server: &TestServer, expression: &str) -> Answer {
    server.invoke("evaluate", &doing(expression)).await
}

async fn api_get(server: &TestServer, path: &str) -> Answer {
    server.send(server.client.get(format!("{}{path}", server.api))).await
}

fn is_uuid(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

/// An answer of the Lambda API itself: its code stands in the header, its message in the body.
fn expect_api_error(answer: &Answer, status: u16, code: &str, body: &Value) {
    assert_eq!((answer.status, answer.header("x-amzn-errortype")), (status, Some(code)), "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(is_uuid(answer.header("x-amzn-requestid").unwrap()));
    assert_eq!(answer.header("x-amz-function-error"), None, "the function was not asked");
    assert_eq!(answer.header("x-amz-executed-version"), None);
    assert_eq!(&answer.json(), body);
}

// ---- Invoke

#[tokio::test]
async fn a_result_comes_with_its_headers() {
    let server = evaluator().await;
    let answer = evaluate(&server, "context.aws_request_id").await;
    assert_eq!(answer.status, 200);
    let id = answer.header("x-amzn-requestid").unwrap();
    assert!(is_uuid(id), "{id}");
    assert_eq!(answer.json(), id);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("x-amz-executed-version"), Some("$LATEST"));
    assert_eq!(answer.header("x-amz-function-error"), None);
    assert_eq!(answer.header("x-amz-log-result"), None, "the log was not asked for");
    assert!(answer.header("date").is_some());
    let trace = answer.header("x-amzn-trace-id").unwrap();
    assert!(trace.starts_with("root=1-") && trace.ends_with(";sampled=0"), "{trace}");

    for (expression, body) in [
        ("None", "null"),
        ("{'a': [1, 2.5, True]}", r#"{"a": [1, 2.5, true]}"#),
        (r#"{"errorMessage": "mine"}"#, r#"{"errorMessage": "mine"}"#),
    ] {
        let answer = evaluate(&server, expression).await;
        assert_eq!((answer.status, answer.text()), (200, body), "{expression}");
        assert_eq!(answer.header("x-amz-function-error"), None, "{expression}");
    }
    // Escaped by Python 3.11 and older, as on AWS.
    assert_eq!(evaluate(&server, "'안녕'").await.json(), "안녕");
    let raw = evaluate(&server, r#"b"\x00raw""#).await;
    assert_eq!(
        (raw.body.as_slice(), raw.header("content-type")),
        (&b"\0raw"[..], Some("application/unknown"))
    );
}

#[tokio::test]
async fn any_json_is_an_event_and_nothing_is_an_empty_object() {
    let server = TestServer::with_handler("echo", ECHO).await;
    for (event, result) in [
        ("", "{}"),
        ("{}", "{}"),
        ("null", "null"),
        (" 5 ", "5"),
        (r#""text""#, r#""text""#),
        ("[1,\n2]", "[1, 2]"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        (r#"{"a":1,"a":2}"#, r#"{"a": 2}"#),
    ] {
        let answer = server.invoke("echo", event).await;
        assert_eq!((answer.status, answer.text()), (200, result), "{event:?}");
    }
    // The type that is announced does not matter.
    let answer = server.invoke_with("echo", "[1]", &[("content-type", "text/plain")]).await;
    assert_eq!(answer.text(), "[1]");
}

#[tokio::test]
async fn what_is_not_json_is_refused_before_the_function_sees_it() {
    let server = TestServer::with_handler("echo", ECHO).await;
    let prefix = "Could not parse request body into json: Could not parse payload into json: ";
    for (event, reason) in [
        (&b"{"[..], "Unexpected end-of-input"),
        (b"{'a': 1}", "Unexpected character (''' (code 39))"),
        (b"NaN", "Unexpected character"),
        (b"{} {}", "Unexpected character"),
        (b"\x87", "Invalid UTF-8 start byte 0x87\n at [Source: REDACTED"),
        (b"\"\xff\"", "Invalid UTF-8 start byte 0xff\n at [Source: REDACTED"),
    ] {
        let url = format!("{}/2015-03-31/functions/echo/invocations", server.api);
        let answer = server.send(server.client.post(url).body(event.to_vec())).await;
        let message = answer.json()["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.starts_with(&format!("{prefix}{reason}")), "{event:?}: {answer:?}");
        let body = json!({"Type": "User", "message": message});
        expect_api_error(&answer, 400, "InvalidRequestContentException", &body);
    }
}

#[tokio::test]
async fn the_client_context_arrives() {
    let server = evaluator().await;
    let encode = |context: &str| BASE64.encode(context);
    let with = async |context: &str, expression: &str| {
        server.invoke_with("evaluate", &doing(expression), &[("x-amz-client-context", context)]).await
    };
    let context = r#"{"custom": {"a": "1"}, "env": {"b": "2"}, "client": {"app_title": "T"}, "other": 3}"#;
    let answer = with(&encode(context), "describe(context.client_context)").await;
    assert_eq!(answer.json(), json!([{"a": "1"}, {"b": "2"}, "T", null]), "{answer:?}");
    let answer = evaluate(&server, "context.client_context is None").await;
    assert_eq!(answer.text(), "true");

    let touched = tempfile::tempdir().unwrap();
    let path = touched.path().join("ran");
    let run = format!("touch('{}')", path.display());
    for bad in ["%%%", &encode("{"), &encode("[1]"), &encode("5")] {
        let answer = with(bad, &run).await;
        assert_eq!(
            (answer.status, answer.header("x-amzn-errortype")),
            (400, Some("InvalidRequestContentException")),
            "{bad}"
        );
    }
    // 3583 bytes of base64 and not one more; base64 comes in fours.
    let long = |length: usize| encode(&format!(r#"{{"custom":{{"a":"{}"}}}}"#, "x".repeat(length)));
    let fits = long(2685 - 19);
    assert_eq!(fits.len(), 3580);
    assert_eq!(with(&fits, "len(context.client_context.custom['a'])").await.text(), (2685 - 19).to_string());
    let answer = with(&long(2688 - 19), &run).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(!path.exists(), "a refused call does not run the function");
}

#[tokio::test]
async fn a_dry_run_runs_nothing() {
    let server = evaluator().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ran");
    let event = doing(&format!("touch('{}')", path.display()));
    let dry = [("x-amz-invocation-type", "DryRun")];
    let answer = server.invoke_with("evaluate", &event, &dry).await;
    assert_eq!((answer.status, answer.text()), (204, ""));
    assert_eq!(answer.header("x-amz-executed-version"), None);
    assert!(is_uuid(answer.header("x-amzn-requestid").unwrap()));
    // The same for real, to see that the file is a witness.
    assert!(!path.exists());
    assert_eq!(server.invoke("evaluate", &event).await.text(), "null");
    assert!(path.exists());

    let answer = server.invoke_with("nobody", "{}", &dry).await;
    expect_api_error(&answer, 404, "ResourceNotFoundException", &not_found("us-east-1", "nobody:$LATEST"));
}

#[tokio::test]
async fn an_invocation_is_of_a_type_that_there_is() {
    let server = evaluator().await;
    let answer = server.invoke_with("evaluate", &doing("1"), &[("x-amz-invocation-type", "Sometimes")]).await;
    let message = "1 validation error detected: Value 'Sometimes' at 'invocationType' failed to satisfy constraint: \
                   Member must satisfy enum value set: [RequestResponse, Event, DryRun]";
    expect_api_error(&answer, 400, "ValidationException", &json!({"message": message}));
    let named =
        server.invoke_with("evaluate", &doing("1"), &[("x-amz-invocation-type", "RequestResponse")]).await;
    assert_eq!(named.text(), "1");
}

// ---- The log

async fn tail(server: &TestServer, function: &str, expression: &str) -> (Answer, String) {
    let answer = server.invoke_with(function, &doing(expression), &[("x-amz-log-type", "Tail")]).await;
    let log = BASE64.decode(answer.header("x-amz-log-result").expect("there is a log")).unwrap();
    (answer, String::from_utf8(log).unwrap())
}

/// `REPORT ...` taken apart: names and values in their order.
fn report(line: &str) -> Vec<(&str, &str)> {
    let line = line.strip_prefix("REPORT ").expect("a REPORT line");
    assert!(line.ends_with('\t') || line.contains("\tStatus: "), "{line:?}");
    line.trim_end_matches('\t').split('\t').map(|field| field.split_once(": ").expect("a colon")).collect()
}

fn check_report(line: &str, id: &str, more: &[&str]) {
    let fields = report(line);
    let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    let wanted =
        [&["RequestId", "Duration", "Billed Duration", "Memory Size", "Max Memory Used"], more].concat();
    assert_eq!(names, wanted, "{line}");
    assert_eq!(fields[0].1, id);
    let number = |value: &str, unit: &str, decimals: bool| -> f64 {
        let number = value.strip_suffix(unit).unwrap_or_else(|| panic!("no{unit} in {line}"));
        assert_eq!(
            number.split_once('.').map_or(0, |(_, d)| d.len()),
            if decimals { 2 } else { 0 },
            "{line}"
        );
        number.parse().unwrap()
    };
    let duration = number(fields[1].1, " ms", true);
    let billed = number(fields[2].1, " ms", false);
    let init = fields.get(5).filter(|(name, _)| *name == "Init Duration");
    let init = init.map_or(0.0, |(_, value)| number(value, " ms", true));
    assert!((billed - (duration + init)).abs() <= 1.02 && billed >= 1.0, "{line}");
    assert_eq!(fields[3].1, "128 MB");
    let used = number(fields[4].1, " MB", false);
    assert!((1.0..=128.0).contains(&used), "{line}");
}

#[tokio::test]
async fn the_tail_of_the_log_is_start_to_report() {
    let server = TestServer::with_handler("evaluate", &format!("print('importing')\n{EVALUATE}")).await;
    // New code is loaded ahead of the first call; only a change does that, not the start.
    let (answer, log) = tail(&server, "evaluate", "say('one', '둘')").await;
    let id = answer.header("x-amzn-requestid").unwrap();
    let lines: Vec<&str> = log.split('\n').collect();
    assert!(lines[0].starts_with("INIT_START Runtime Version: python:3."), "{log}");
    assert_eq!(
        lines[1..6],
        [
            "importing",
            &format!("START RequestId: {id} Version: $LATEST"),
            "one",
            "둘",
            &format!("END RequestId: {id}")
        ]
    );
    check_report(lines[6], id, &["Init Duration"]);
    assert_eq!(lines[7..], [""], "{log}");

    let (answer, log) = tail(&server, "evaluate", "logging.getLogger().warning('careful')").await;
    let id = answer.header("x-amzn-requestid").unwrap();
    let lines: Vec<&str> = log.split('\n').collect();
    assert_eq!(lines[0], format!("START RequestId: {id} Version: $LATEST"));
    let record: Vec<&str> = lines[1].split('\t').collect();
    assert_eq!((record[0], record[2], record[3]), ("[WARNING]", id, "careful"), "{log}");
    assert_eq!(lines[2], format!("END RequestId: {id}"));
    check_report(lines[3], id, &[]);

    let (answer, log) = tail(&server, "evaluate", "fail()").await;
    let id = answer.header("x-amzn-requestid").unwrap();
    let wanted = format!("START RequestId: {id} Version: $LATEST\n[ERROR] ValueError: boom\n");
    let wanted = wanted + "Traceback (most recent call last):\n";
    assert!(log.starts_with(&wanted), "{log}");
    assert!(log.contains(&format!("\nEND RequestId: {id}\nREPORT RequestId: {id}\t")), "{log}");
    check_report(log.trim_end_matches('\n').rsplit('\n').next().unwrap(), id, &[]);
}

#[tokio::test]
async fn the_tail_is_the_last_4_kb() {
    let server = evaluator().await;
    let (answer, log) = tail(&server, "evaluate", "say(*(f'line {n}' for n in range(2000)))").await;
    let id = answer.header("x-amzn-requestid").unwrap();
    assert_eq!(log.len(), 4096);
    assert!(log.contains(&format!("\nline 1998\nline 1999\nEND RequestId: {id}\nREPORT ")), "{log}");
    assert!(log.ends_with("\t\n"), "{log:?}");
    let none = server.invoke_with("evaluate", &doing("say('x')"), &[("x-amz-log-type", "None")]).await;
    assert_eq!(none.header("x-amz-log-result"), None);
}

#[tokio::test]
async fn the_log_says_how_a_process_ended() {
    let builder = TestServerBuilder::new().handler("evaluate", EVALUATE);
    let server = builder.file("evaluate/function.yaml", "Timeout: 1\n").start().await;
    evaluate(&server, "1").await;
    let (answer, log) = tail(&server, "evaluate", "say('before') or time.sleep(60)").await;
    let id = answer.header("x-amzn-requestid").unwrap();
    assert!(log.starts_with(&format!("START RequestId: {id} Version: $LATEST\nbefore\n")), "{log}");
    let line = format!(" {id} Task timed out after 1.00 seconds\n\nEND RequestId: {id}\nREPORT ");
    assert!(log.contains(&line), "{log}");
    check_report(log.trim_end_matches('\n').rsplit('\n').next().unwrap(), id, &["Status"]);
    assert!(log.ends_with("\tStatus: timeout\n"), "{log}");

    evaluate(&server, "1").await;
    let (answer, log) = tail(&server, "evaluate", "os._exit(1)").await;
    let id = answer.header("x-amzn-requestid").unwrap();
    let lines =
        format!("RequestId: {id} Error: Runtime exited with error: exit status 1\nRuntime.ExitError\nEND ");
    assert!(log.contains(&lines), "{log}");
    assert!(log.ends_with("\tStatus: error\tError Type: Runtime.ExitError\n"), "{log}");
}

// ---- Function errors

/// All with status 200: the call succeeded, the function did not.
fn expect_function_error(answer: &Answer, what: &str) -> Value {
    assert_eq!(answer.status, 200, "{what}: {answer:?}");
    assert_eq!(answer.header("x-amz-function-error"), Some("Unhandled"), "{what}");
    assert_eq!(answer.header("x-amz-executed-version"), Some("$LATEST"), "{what}");
    assert_eq!(answer.header("content-type"), Some("application/json"), "{what}");
    assert_eq!(answer.header("x-amzn-errortype"), None, "{what}");
    answer.json()
}

#[tokio::test]
async fn an_exception_is_described_with_its_trace() {
    let server = evaluator().await;
    let answer = evaluate(&server, "fail()").await;
    let error = expect_function_error(&answer, "fail()");
    let id = answer.header("x-amzn-requestid").unwrap();
    let start = format!(
        r#"{{"errorMessage": "boom", "errorType": "ValueError", "requestId": "{id}", "stackTrace": ["#
    );
    assert!(answer.text().starts_with(&start), "{}", answer.text());
    let trace: Vec<&str> =
        error["stackTrace"].as_array().unwrap().iter().map(|frame| frame.as_str().unwrap()).collect();
    assert!(trace[0].ends_with(", in lambda_handler\n    return eval(event[\"do\"])\n"), "{trace:?}");
    let path = server.handlers().join("evaluate/lambda_function.py");
    let line = 1 + EVALUATE.lines().position(|line| line.contains("return eval")).unwrap();
    assert!(trace[0].starts_with(&format!("  File \"{}\", line {line}, in", path.display())), "{trace:?}");
    assert!(trace.last().unwrap().ends_with("in fail\n    raise ValueError(\"boom\")\n"), "{trace:?}");

    let answer = evaluate(&server, "object()").await;
    let id = answer.header("x-amzn-requestid").unwrap();
    expect_function_error(&answer, "object()");
    let message = "Unable to marshal response: Object of type object is not JSON serializable";
    assert_eq!(
        answer.text(),
        format!(
            r#"{{"errorMessage": "{message}", "errorType": "Runtime.MarshalError", "requestId": "{id}", "stackTrace": []}}"#
        )
    );
}

#[tokio::test]
async fn what_ends_the_process_is_told_in_lambdas_words() {
    let builder = TestServerBuilder::new().handler("evaluate", EVALUATE);
    let server = builder.file("evaluate/function.yaml", "Timeout: 1\n").start().await;
    for (expression, error_type, message) in [
        ("time.sleep(60)", "Sandbox.Timedout", "Task timed out after 1.00 seconds"),
        ("sys.exit(0)", "Runtime.ExitError", "Runtime exited without providing a reason"),
        ("sys.exit(3)", "Runtime.ExitError", "Runtime exited with error: exit status 3"),
        ("os._exit(0)", "Runtime.ExitError", "Runtime exited without providing a reason"),
        ("os._exit(127)", "Runtime.ExitError", "Runtime exited with error: exit status 127"),
        ("os.kill(os.getpid(), 9)", "Runtime.ExitError", "Runtime exited with error: signal: killed"),
        ("os.abort()", "Runtime.ExitError", "Runtime exited with error: signal: aborted"),
    ] {
        let answer = evaluate(&server, expression).await;
        expect_function_error(&answer, expression);
        let id = answer.header("x-amzn-requestid").unwrap();
        let wanted =
            format!(r#"{{"errorType":"{error_type}","errorMessage":"RequestId: {id} Error: {message}"}}"#);
        assert_eq!(answer.text(), wanted, "{expression}");
        assert_eq!(evaluate(&server, "1").await.text(), "1", "after {expression}");
    }
}

#[tokio::test]
async fn a_handler_that_cannot_be_loaded_says_why_at_every_call() {
    let builder = TestServerBuilder::new()
        .handler("no_module", "import nosuch\n")
        .handler("no_name", "from os import nosuch\n")
        .handler("no_syntax", "def lambda_handler(event, context)\n    pass\n")
        .handler("no_handler", "x = 1\n")
        .handler("raises", "{}['key']\n")
        .handler("no_dot", ECHO)
        .file("no_dot/function.yaml", "Handler: handler\n")
        .handler("builtin", ECHO)
        .file("builtin/function.yaml", "Handler: sys.handler\n")
        .handler("other_file", ECHO)
        .file("other_file/function.yaml", "Handler: nosuch.handler\n")
        .handler("not_callable", "lambda_handler = 5\n");
    let server = builder.start().await;
    for (name, error_type, message) in [
        (
            "no_module",
            "Runtime.ImportModuleError",
            "Unable to import module 'lambda_function': No module named 'nosuch'",
        ),
        (
            "no_name",
            "Runtime.ImportModuleError",
            "Unable to import module 'lambda_function': cannot import name 'nosuch' from 'os' (",
        ),
        (
            "no_syntax",
            "Runtime.UserCodeSyntaxError",
            "Syntax error in module 'lambda_function': expected ':' (lambda_function.py, line 1)",
        ),
        (
            "no_handler",
            "Runtime.HandlerNotFound",
            "Handler 'lambda_handler' missing on module 'lambda_function'",
        ),
        ("raises", "KeyError", "'key'"),
        (
            "no_dot",
            "Runtime.MalformedHandlerName",
            "Bad handler 'handler': not enough values to unpack (expected 2, got 1)",
        ),
        ("builtin", "Runtime.BuiltInModuleConflict", "Cannot use built-in module sys as a handler module"),
        (
            "other_file",
            "Runtime.ImportModuleError",
            "Unable to import module 'nosuch': No module named 'nosuch'",
        ),
    ] {
        for _ in 0..2 {
            let error = expect_function_error(&server.invoke(name, "{}").await, name);
            assert_eq!(
                (&error["errorType"], &error["requestId"]),
                (&error_type.into(), &"".into()),
                "{name}"
            );
            let said = error["errorMessage"].as_str().unwrap();
            assert!(
                said == message || (message.ends_with('(') && said.starts_with(message)),
                "{name}: {said}"
            );
            assert!(error["stackTrace"].is_array(), "{name}: {error}");
        }
    }
    let answer = server.invoke("not_callable", "{}").await;
    let error = expect_function_error(&answer, "not_callable");
    assert_eq!(
        (&error["errorType"], &error["errorMessage"]),
        (&"TypeError".into(), &"'int' object is not callable".into())
    );
    assert_eq!(error["requestId"], answer.header("x-amzn-requestid").unwrap(), "this one is no init error");
}

// ---- Sizes

#[tokio::test]
async fn an_event_may_have_6_mb_and_not_a_byte_more() {
    let server =
        TestServer::with_handler("size", "def lambda_handler(event, context):\n    return len(event)\n")
            .await;
    let began = std::time::Instant::now();
    let event = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    let answer = server.invoke("size", &event(REQUEST_LIMIT)).await;
    assert_eq!((answer.status, answer.text()), (200, (REQUEST_LIMIT - 2).to_string().as_str()));
    let too_large =
        json!({"message": "Request must be smaller than 6291456 bytes for the InvokeFunction operation"});
    let answer = server.invoke("size", &event(REQUEST_LIMIT + 1)).await;
    expect_api_error(&answer, 413, "RequestEntityTooLargeException", &too_large);
    // Announced and never sent: refused all the same, and not waited for.
    let answer = exchange(
        &server.api,
        format!(
            "POST /2015-03-31/functions/size/invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
            REQUEST_LIMIT + 1
        ),
    );
    assert_eq!((answer.status, serde_json::from_slice::<Value>(&answer.body).unwrap()), (413, too_large));
    crate::catalogue::seen(
        "10",
        "6 MB and a byte: 413; announced only: 413 before it comes",
        began.elapsed(),
    );
}

#[tokio::test]
async fn a_result_may_be_as_long_as_on_lambda_and_not_longer() {
    let builder = TestServerBuilder::new().handler("evaluate", EVALUATE);
    let server = builder.file("evaluate/function.yaml", "Timeout: 60\nMemorySize: 512\n").start().await;
    // Six mebibytes of text and its quotes; then the last byte that passes; then one more.
    for (characters, passes) in [(REQUEST_LIMIT, true), (RESULT_LIMIT - 2, true), (RESULT_LIMIT - 1, false)] {
        let answer = evaluate(&server, &format!("'x' * {characters}")).await;
        if passes {
            assert_eq!((answer.status, answer.body.len()), (200, characters + 2));
            assert_eq!(answer.header("x-amz-function-error"), None);
        } else {
            expect_function_error(&answer, "one byte more");
            let wanted = r#"{"errorMessage":"Response payload size exceeded maximum allowed payload size (6291556 bytes).","errorType":"Function.ResponseSizeTooLarge"}"#;
            assert_eq!(answer.text(), wanted);
        }
    }
    assert_eq!(evaluate(&server, "1").await.text(), "1");
}

// ---- Names

fn arn(region: &str, rest: &str) -> String {
    format!("arn:aws:lambda:{region}:123456789012:function:{rest}")
}

fn not_found(region: &str, rest: &str) -> Value {
    json!({"Type": "User", "Message": format!("Function not found: {}", arn(region, rest))})
}

fn signature(region: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261122/{region}/lambda/aws4_request, SignedHeaders=host, Signature=0"
    )
}

#[tokio::test]
async fn a_function_may_be_named_in_all_of_awss_forms() {
    let server = evaluator().await;
    let plain = arn("us-east-1", "evaluate");
    let qualified = arn("us-east-1", "evaluate:$LATEST");
    for (name, invoked) in [
        ("evaluate".to_owned(), &plain),
        ("evaluate:$LATEST".to_owned(), &qualified),
        ("evaluate:%24LATEST".to_owned(), &qualified),
        ("evaluate%3A%24LATEST".to_owned(), &qualified),
        ("123456789012:function:evaluate".to_owned(), &plain),
        ("123456789012:function:evaluate:$LATEST".to_owned(), &qualified),
        (plain.clone(), &plain),
        (qualified.clone(), &qualified),
        (plain.replace(':', "%3A"), &plain),
        (qualified.replace(':', "%3a"), &qualified),
    ] {
        let answer = server.invoke(&name, &doing("context.invoked_function_arn")).await;
        assert_eq!((answer.status, answer.text()), (200, format!("\"{invoked}\"").as_str()), "{name}");
    }
    let url = format!("{}/2015-03-31/functions/evaluate/invocations?Qualifier=%24LATEST", server.api);
    let answer = server.send(server.client.post(url).body(doing("context.invoked_function_arn"))).await;
    assert_eq!(answer.text(), format!("\"{qualified}\""));
    let url = format!("{}/2015-03-31/functions/evaluate:$LATEST/invocations?Qualifier=$LATEST", server.api);
    let answer = server.send(server.client.post(url).body(doing("1"))).await;
    assert_eq!(answer.text(), "1", "twice the same is no contradiction");
}

#[tokio::test]
async fn the_region_is_the_one_that_the_caller_signed_for() {
    let server = evaluator().await;
    let signed = |name: &str, region: &str| {
        let (name, signature) = (name.to_owned(), signature(region));
        let server = &server;
        async move {
            let headers = [("authorization", signature.as_str())];
            server.invoke_with(&name, &doing("context.invoked_function_arn"), &headers).await
        }
    };
    let answer = signed("evaluate", "eu-west-1").await;
    assert_eq!(answer.json(), arn("eu-west-1", "evaluate"));
    let answer = signed(&arn("eu-west-1", "evaluate"), "eu-west-1").await;
    assert_eq!(answer.json(), arn("eu-west-1", "evaluate"));
    let answer = signed(&arn("ap-southeast-1", "evaluate"), "eu-west-1").await;
    let message = "Functions from 'ap-southeast-1' are not reachable in this region ('eu-west-1')";
    expect_api_error(&answer, 404, "ResourceNotFoundException", &json!({"Type": "User", "Message": message}));
    let answer = signed("nobody", "ap-northeast-2").await;
    expect_api_error(
        &answer,
        404,
        "ResourceNotFoundException",
        &not_found("ap-northeast-2", "nobody:$LATEST"),
    );

    let elsewhere = TestServerBuilder::new().handler("evaluate", EVALUATE);
    let elsewhere = elsewhere
        .argument("--region")
        .argument("eu-north-1")
        .argument("--account-id")
        .argument("999999999999");
    let elsewhere = elsewhere.start().await;
    let answer = elsewhere.invoke("evaluate", &doing("context.invoked_function_arn")).await;
    assert_eq!(answer.json(), "arn:aws:lambda:eu-north-1:999999999999:function:evaluate");
}

#[tokio::test]
async fn names_that_name_nothing_are_refused_as_on_aws() {
    let server = evaluator().await;
    let invoke = |path: &str| {
        let url = format!("{}/2015-03-31/functions/{path}", server.api);
        server.send(server.client.post(url).body(doing("1")))
    };
    let missing = "ResourceNotFoundException";
    for (path, rest) in [
        ("nobody/invocations", "nobody:$LATEST"),
        ("nobody:$LATEST/invocations", "nobody:$LATEST"),
        ("Evaluate/invocations", "Evaluate:$LATEST"),
        ("evaluate:1221/invocations", "evaluate:1221"),
        ("evaluate/invocations?Qualifier=prod", "evaluate:prod"),
    ] {
        expect_api_error(&invoke(path).await, 404, missing, &not_found("us-east-1", rest));
    }
    let message = "The derived qualifier from the function name does not match the specified qualifier.";
    let body = json!({"Type": "User", "message": message});
    for path in ["evaluate:$LATEST/invocations?Qualifier=1", "evaluate:1/invocations?Qualifier=$LATEST"] {
        expect_api_error(&invoke(path).await, 400, "InvalidParameterValueException", &body);
    }
    for bad in ["a%20b", "..%2Fevaluate", "a.b.", "%E2%98%83", "a:b:c:d", "arn:aws:lambda", "evaluate%00"] {
        let answer = invoke(&format!("{bad}/invocations")).await;
        assert_eq!(
            (answer.status, answer.header("x-amzn-errortype")),
            (400, Some("ValidationException")),
            "{bad}"
        );
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with("1 validation error detected: Value '"), "{bad}: {message}");
        assert!(
            message.contains("' at 'functionName' failed to satisfy constraint: Member must satisfy regular"),
            "{bad}"
        );
        expect_api_error(&answer, 400, "ValidationException", &json!({"message": message}));
    }
    let long = invoke(&format!("{}/invocations", "x".repeat(65))).await;
    assert_eq!(long.status, 400);
    // Somebody else's function: nothing is said about it.
    for other in [
        arn("us-east-1", "evaluate").replace("123456789012", "210987654321"),
        "210987654321:function:evaluate".to_owned(),
    ] {
        let answer = invoke(&format!("{other}/invocations")).await;
        assert_eq!((answer.status, answer.header("x-amzn-errortype")), (403, Some("AccessDeniedException")));
    }
}

// ---- What is deployed

#[tokio::test]
async fn functions_are_listed_in_pages() {
    let mut builder = TestServerBuilder::new();
    for number in 0..55 {
        builder = builder.handler(&format!("f{number:02}"), ECHO);
    }
    let server = builder.start().await;
    let names = |page: &Value| -> Vec<String> {
        let functions = page["Functions"].as_array().unwrap();
        functions.iter().map(|function| function["FunctionName"].as_str().unwrap().to_owned()).collect()
    };
    for (query, size) in
        [("", 50), ("?MaxItems=20", 20), ("?MaxItems=10000", 50), ("?MaxItems=55", 50), ("?MaxItems=11", 11)]
    {
        let mut seen = Vec::new();
        let mut marker = String::new();
        loop {
            let join = if query.is_empty() { "?" } else { "&" };
            let more = if marker.is_empty() { String::new() } else { format!("{join}Marker={marker}") };
            let page = api_get(&server, &format!("/2015-03-31/functions/{query}{more}")).await.json();
            seen.extend(names(&page));
            match page["NextMarker"].as_str() {
                Some(next) => {
                    assert_eq!(names(&page).len(), size, "{query}");
                    marker = next.to_owned();
                }
                None => break,
            }
        }
        let wanted: Vec<String> = (0..55).map(|number| format!("f{number:02}")).collect();
        assert_eq!(seen, wanted, "{query}");
    }
    let page = api_get(&server, "/2015-03-31/functions").await.json();
    for entry in page["Functions"].as_array().unwrap() {
        assert_eq!((entry.get("State"), entry.get("LastUpdateStatus")), (None, None));
    }
    for bad in ["0", "-1", "many"] {
        let answer = api_get(&server, &format!("/2015-03-31/functions?MaxItems={bad}")).await;
        assert_eq!(
            (answer.status, answer.header("x-amzn-errortype")),
            (400, Some("ValidationException")),
            "{bad}"
        );
        assert!(answer.json()["message"].as_str().unwrap().contains("at 'maxItems'"), "{bad}");
    }
}

#[tokio::test]
async fn a_functions_configuration_is_told() {
    let server = TestServerBuilder::new()
        .handler("plain", ECHO)
        .handler("detailed", ECHO)
        .file(
            "detailed/function.yaml",
            "Description: What it does\nTimeout: 7\nMemorySize: 256\nEnvironment:\n  Variables:\n    STAGE: dev\n",
        )
        .start()
        .await;
    let answer = api_get(&server, "/2015-03-31/functions/plain").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let body = answer.json();
    let configuration = &body["Configuration"];
    for (field, wanted) in [
        ("FunctionName", json!("plain")),
        ("FunctionArn", json!(arn("us-east-1", "plain"))),
        ("Handler", json!("lambda_function.lambda_handler")),
        ("Description", json!("")),
        ("Timeout", json!(3)),
        ("MemorySize", json!(128)),
        ("Version", json!("$LATEST")),
        ("PackageType", json!("Zip")),
        ("State", json!("Active")),
        ("LastUpdateStatus", json!("Successful")),
        ("TracingConfig", json!({"Mode": "PassThrough"})),
        ("EphemeralStorage", json!({"Size": 512})),
        ("LoggingConfig", json!({"LogFormat": "Text", "LogGroup": "/aws/lambda/plain"})),
    ] {
        assert_eq!(configuration[field], wanted, "{field}");
    }
    assert_eq!(configuration.get("Environment"), None);
    assert!(configuration["Runtime"].as_str().unwrap().starts_with("python3."), "{configuration}");
    assert!(is_uuid(configuration["RevisionId"].as_str().unwrap()));
    assert_eq!(BASE64.decode(configuration["CodeSha256"].as_str().unwrap()).unwrap().len(), 32);
    assert!(configuration["CodeSize"].as_u64().unwrap() >= ECHO.len() as u64);
    // 2025-11-24T23:12:00.123+0000
    let modified = configuration["LastModified"].as_str().unwrap();
    assert!(modified.len() == 28 && modified.ends_with("+0000") && &modified[10..11] == "T", "{modified}");
    let location = body["Code"]["Location"].as_str().unwrap();
    let prefix = format!("{}/_handlerd/code/plain/%24LATEST?", server.api.replace("localhost", "127.0.0.1"));
    assert!(location.replace("localhost", "127.0.0.1").starts_with(&prefix), "{location}");

    let alone = api_get(&server, "/2015-03-31/functions/plain/configuration").await.json();
    assert_eq!(&alone, configuration);
    let qualified = api_get(&server, "/2015-03-31/functions/plain?Qualifier=$LATEST").await.json();
    assert_eq!(qualified["Configuration"]["FunctionArn"], arn("us-east-1", "plain:$LATEST"));

    let detailed = api_get(&server, "/2015-03-31/functions/detailed/configuration").await.json();
    assert_eq!(detailed["Description"], "What it does");
    assert_eq!((&detailed["Timeout"], &detailed["MemorySize"]), (&json!(7), &json!(256)));
    assert_eq!(detailed["Environment"], json!({"Variables": {"STAGE": "dev"}}));
    assert_ne!(detailed["RevisionId"], configuration["RevisionId"]);

    for path in ["nobody", "nobody/configuration"] {
        let answer = api_get(&server, &format!("/2015-03-31/functions/{path}")).await;
        expect_api_error(
            &answer,
            404,
            "ResourceNotFoundException",
            &not_found("us-east-1", "nobody:$LATEST"),
        );
    }
    let answer = api_get(&server, "/2015-03-31/functions/plain?Qualifier=7").await;
    expect_api_error(&answer, 404, "ResourceNotFoundException", &not_found("us-east-1", "plain:7"));

    // A save changes what identifies the code, and nothing else.
    server.write("plain/lambda_function.py", &format!("{ECHO}# changed\n"));
    let before = alone;
    let began = std::time::Instant::now();
    let after = loop {
        let now = api_get(&server, "/2015-03-31/functions/plain/configuration").await.json();
        if now["CodeSha256"] != before["CodeSha256"] {
            break now;
        }
        assert!(began.elapsed() < crate::harness::PATIENCE, "the save is not seen");
    };
    assert_ne!(after["RevisionId"], before["RevisionId"]);
    assert_eq!(after["FunctionArn"], before["FunctionArn"]);
}

#[tokio::test]
async fn what_is_not_there_yet_says_so() {
    let server = evaluator().await;
    for (method, path) in [
        ("GET", "/nowhere"),
        ("GET", "/2015-03-31/functions/evaluate/invocations"),
        ("PUT", "/2015-03-31/functions"),
    ] {
        let request = server.client.request(method.parse().unwrap(), format!("{}{path}", server.api));
        let answer = server.send(request).await;
        let body =
            json!({"Type": "Service", "message": format!("handlerd does not support {method} {path} yet")});
        expect_api_error(&answer, 501, "NotImplementedException", &body);
    }
    server.wait_for_terminal("PUT /2015-03-31/functions is not supported yet");
}

// ---- Too much at once

#[tokio::test]
async fn more_calls_than_may_wait_are_throttled() {
    let builder = held_function::add_to(TestServerBuilder::new());
    let server =
        builder.argument("--concurrency").argument("1").argument("--queue").argument("1").start().await;
    let held = Held::new();
    let begin = || {
        let url = format!("{}/2015-03-31/functions/held/invocations", server.api);
        tokio::spawn(server.client.post(url).body(held.event()).send())
    };
    let first = begin();
    held_function::wait_for_load(&server, 1, 0).await;
    let second = begin();
    held_function::wait_for_load(&server, 1, 1).await;
    let answer = server.invoke("held", &held.event()).await;
    let body =
        json!({"Reason": "ConcurrentInvocationLimitExceeded", "Type": "User", "message": "Rate Exceeded."});
    expect_api_error(&answer, 429, "TooManyRequestsException", &body);
    assert_eq!(answer.header("retry-after"), Some("1"));
    held.let_go();
    for accepted in [first, second] {
        assert_eq!(accepted.await.unwrap().unwrap().text().await.unwrap(), "\"done\"");
    }
    assert_eq!(server.invoke("held", &held.event()).await.text(), "\"done\"");
}

// ---- The guard

/// One request for each route there is, and for none.
const ROUTES: [(&str, &str); 7] = [
    ("GET", "/2015-03-31/functions"),
    ("GET", "/2015-03-31/functions/"),
    ("GET", "/2015-03-31/functions/touch"),
    ("GET", "/2015-03-31/functions/touch/configuration"),
    ("POST", "/2015-03-31/functions/touch/invocations"),
    ("GET", "/health"),
    ("GET", "/nowhere"),
];

#[tokio::test]
async fn web_pages_are_kept_out_of_every_route() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ran");
    let source =
        format!("def lambda_handler(event, context):\n    open('{}', 'w').close()\n", path.display());
    let server = TestServer::with_handler("touch", &source).await;
    let port = server.api.rsplit(':').next().unwrap();
    let http_port = server.http.rsplit(':').next().unwrap();
    let ours = format!("Host: localhost:{port}\r\n");
    let refused = [
        "Host: \r\n".to_owned(),
        "Host: evil.example\r\n".to_owned(),
        format!("Host: evil.example:{port}\r\n"),
        format!("Host: localhost.evil.example:{port}\r\n"),
        format!("Host: evil.example@localhost:{port}\r\n"),
        format!("Host: localhost:{port}.evil.example\r\n"),
        format!("Host: localhost:{http_port}\r\n"),
        "Host: localhost:99999\r\n".to_owned(),
        format!("Host: 127.0.0.2:{port}\r\n"),
        format!("Host: 0.0.0.0:{port}\r\n"),
        format!("Host: 2130706433:{port}\r\n"),
        format!("{ours}Origin: null\r\n"),
        format!("{ours}Origin: http://evil.example\r\n"),
        format!("{ours}Origin: https://localhost:{port}\r\n"),
        // What a handler's own page would send.
        format!("{ours}Origin: http://localhost:{http_port}\r\n"),
        format!("{ours}Origin: http://localhost\r\n"),
        format!("{ours}Origin: http://localhost:{port}\r\nOrigin: http://evil.example\r\n"),
        format!("{ours}Sec-Fetch-Site: cross-site\r\n"),
        format!("{ours}Sec-Fetch-Site: same-site\r\n"),
        format!("{ours}Sec-Fetch-Site: \r\n"),
    ];
    let request = |method: &str, path: &str, headers: &str| {
        format!("{method} {path} HTTP/1.1\r\n{headers}Content-Length: 2\r\nConnection: close\r\n\r\n{{}}")
    };
    for (method, route) in ROUTES {
        // Not even proper requests.
        for headers in [String::new(), format!("{ours}{ours}"), format!("{ours}Host: evil.example\r\n")] {
            assert_eq!(exchange(&server.api, request(method, route, &headers)).status, 400, "{headers:?}");
        }
        for headers in &refused {
            let answer = exchange(&server.api, request(method, route, headers));
            let seen = (answer.status, answer.header("x-amzn-errortype"));
            // A Host that is not ours is no matter of rights.
            let wanted = match headers.contains("Origin") || headers.contains("Sec-Fetch") {
                true => (403, Some("AccessDeniedException")),
                false => (421, Some("MisdirectedRequestException")),
            };
            assert_eq!(seen, wanted, "{method} {route} {headers:?}");
            assert_eq!(answer.header("access-control-allow-origin"), None);
            let body: Value = serde_json::from_slice(&answer.body).unwrap();
            assert!(body["message"].is_string(), "{body}");
        }
        // A preflight is answered as any other: nothing allows the page to go on.
        let preflight =
            format!("{ours}Origin: http://evil.example\r\nAccess-Control-Request-Method: POST\r\n");
        let answer = exchange(&server.api, request("OPTIONS", route, &preflight));
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (403, None), "{route}");
    }
    assert!(!path.exists(), "a refused request ran the function");

    for headers in [
        ours.clone(),
        format!("Host: LOCALHOST:{port}\r\n"),
        format!("Host: 127.0.0.1:{port}\r\n"),
        format!("Host: [::1]:{port}\r\n"),
        "Host: localhost\r\n".to_owned(),
        format!("{ours}Origin: http://localhost:{port}\r\nSec-Fetch-Site: same-origin\r\n"),
        format!("{ours}Sec-Fetch-Site: none\r\n"),
    ] {
        for (method, route) in ROUTES {
            let answer = exchange(&server.api, request(method, route, &headers));
            let wanted = if route == "/nowhere" { 501 } else { 200 };
            assert_eq!(answer.status, wanted, "{method} {route} {headers:?}");
        }
    }
    assert!(path.exists());
}

#[tokio::test]
async fn the_guard_knows_http_2_too() {
    let server = TestServer::with_handler("echo", ECHO).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().no_proxy().build().unwrap();
    let url = format!("{}/2015-03-31/functions/echo/invocations", server.api);
    let answer = client.post(&url).body("[1]").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap()), (200, "[1]".to_owned()));
    for (name, value, status) in [
        // Not a proper request: its authority is another one.
        ("host", "evil.example", 400),
        ("origin", "http://evil.example", 403),
        ("sec-fetch-site", "cross-site", 403),
    ] {
        let answer = client.post(&url).header(name, value).body("[1]").send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{name}");
    }
}

/// Whoever asked goes away: the call runs to its end, and nothing is left behind.
#[tokio::test]
async fn a_caller_that_leaves_does_not_end_the_call() {
    let server = held_function::add_to(TestServerBuilder::new()).start().await;
    let held = Held::new();
    let event = held.event();
    let mut connection = Connection::open(&server.api);
    connection.send(format!(
        "POST /2015-03-31/functions/held/invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{event}",
        event.len()
    ));
    held.wait_until_running();
    drop(connection);
    held.let_go();
    held.wait_until_done();
    held_function::wait_for_load(&server, 0, 0).await;
    let terminal = || server.terminal();
    eventually("the terminal has seen no bug", || !terminal().contains("panicked"));
}

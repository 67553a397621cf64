//! The clients that people have: boto3, and the aws command line.
//!
//! What is expected of boto3 stands in `clients/boto3_client.py`, in the words of who uses it.

use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::harness::{TestServer, TestServerBuilder};
use crate::held_function::{self, Held};
use crate::moto::moto;
use crate::python_tools::{PythonTools, python_tools};

const GREET: &str = r#"
import time

def lambda_handler(event, context):
    print("greeting", event.get("name"))
    if event.get("fail"):
        raise ValueError("no greeting today")
    if event.get("sleep"):
        time.sleep(event["sleep"])
    custom = context.client_context.custom if context.client_context else None
    return {
        "greeting": f"안녕, {event.get('name')}",
        "arn": context.invoked_function_arn,
        "id": context.aws_request_id,
        "custom": custom,
    }
"#;

/// Waits for a file between two pieces.
const COUNT: &str = r#"
import os
import time

def lambda_handler(event, context):
    print("counting")
    yield "one "
    while not os.path.exists(event["go"]):
        time.sleep(0.005)
    if event.get("fail"):
        raise ValueError("lost count")
    yield b"two"
"#;

async fn server() -> TestServer {
    let mut builder = TestServerBuilder::new()
        .handler("greet", GREET)
        .file("greet/function.yaml", "Timeout: 1\nDescription: Says hello\n");
    for number in 0..7 {
        builder = builder.handler(&format!("more{number}"), GREET);
    }
    builder.start().await
}

/// As on a machine where nobody has ever configured AWS; any credentials do.
pub fn configured(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    command
        .env("AWS_ACCESS_KEY_ID", "dummy")
        .env("AWS_SECRET_ACCESS_KEY", "dummy")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("NO_PROXY", "127.0.0.1,localhost")
        .env("AWS_PAGER", "");
    command
}

/// Runs a scenario of `boto3_client.py`; its assertions are ours.
fn boto3(tools: &PythonTools, scenario: &str, arguments: &[&str]) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/acceptance/clients/boto3_client.py");
    let output = configured(tools.program("python"))
        .args(["-B", script, scenario])
        .args(arguments)
        .output()
        .expect("python runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.trim(), format!("{scenario}: ok"));
}

#[tokio::test]
async fn boto3_invokes() {
    let Some(tools) = python_tools("boto3_invokes") else { return };
    boto3(tools, "invoke", &[&server().await.api]);
}

#[tokio::test]
async fn boto3_raises_its_own_exceptions() {
    let Some(tools) = python_tools("boto3_raises_its_own_exceptions") else { return };
    boto3(tools, "errors", &[&server().await.api]);
}

#[tokio::test]
async fn boto3_reads_streams() {
    let Some(tools) = python_tools("boto3_reads_streams") else { return };
    let builder = held_function::add_to(TestServerBuilder::new()).handler("count", COUNT);
    let server = builder.handler("greet", GREET).start().await;
    let folder = tempfile::tempdir().unwrap();
    boto3(tools, "stream", &[&server.api, folder.path().to_str().unwrap()]);
}

#[tokio::test]
async fn boto3_lists_and_describes() {
    let Some(tools) = python_tools("boto3_lists_and_describes") else { return };
    boto3(tools, "describe", &[&server().await.api]);
}

/// Throttled once, boto3 tries again by itself and succeeds.
#[tokio::test]
async fn boto3_tries_again_when_throttled() {
    let Some(tools) = python_tools("boto3_tries_again_when_throttled") else { return };
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
    boto3(tools, "retry", &[&server.api, held.folder().to_str().unwrap()]);
    for accepted in [first, second] {
        assert_eq!(accepted.await.unwrap().unwrap().status().as_u16(), 200);
    }
}

pub fn aws(tools: &PythonTools, server: &TestServer, arguments: &[&str]) -> Output {
    configured(tools.program("aws"))
        .args(["--endpoint-url", &server.api, "--region", "eu-west-1", "--output", "json", "lambda"])
        .args(arguments)
        .output()
        .expect("the aws command runs")
}

pub fn succeeded(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("the aws command prints JSON")
}

#[tokio::test]
async fn the_aws_command_works() {
    use base64::Engine;
    let Some(tools) = python_tools("the_aws_command_works") else { return };
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out.json");
    let path = file.to_str().unwrap();
    let invoke = |more: &[&str]| {
        let arguments = [&["invoke", "--function-name", "greet"], more, &[path]].concat();
        aws(tools, &server, &arguments)
    };
    let result = || -> Value { serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap() };

    let said = succeeded(&invoke(&["--payload", r#"{"name": "Kim"}"#, "--log-type", "Tail"]));
    assert_eq!((&said["StatusCode"], &said["ExecutedVersion"]), (&json!(200), &json!("$LATEST")));
    assert_eq!(said.get("FunctionError"), None);
    let log = base64::engine::general_purpose::STANDARD.decode(said["LogResult"].as_str().unwrap()).unwrap();
    let log = String::from_utf8(log).unwrap();
    assert!(log.contains("\ngreeting Kim\nEND RequestId: "), "{log}");
    assert_eq!(result()["greeting"], "안녕, Kim");
    assert_eq!(result()["arn"], "arn:aws:lambda:eu-west-1:123456789012:function:greet");

    let said = succeeded(&invoke(&[]));
    assert_eq!(said["StatusCode"], 200);
    assert_eq!(result()["greeting"], "안녕, None", "no payload is an empty event");

    let said = succeeded(&invoke(&["--payload", r#"{"fail": true}"#]));
    assert_eq!((&said["StatusCode"], &said["FunctionError"]), (&json!(200), &json!("Unhandled")));
    assert_eq!(result()["errorType"], "ValueError");

    let said = succeeded(&invoke(&["--invocation-type", "DryRun"]));
    assert_eq!(said["StatusCode"], 204);

    for (arguments, wanted) in [
        (
            &["invoke", "--function-name", "nobody", path][..],
            "(ResourceNotFoundException) when calling the Invoke operation: Function not found: \
             arn:aws:lambda:eu-west-1:123456789012:function:nobody:$LATEST",
        ),
        (
            &["invoke", "--function-name", "greet", "--payload", "{", path],
            "(InvalidRequestContentException) when calling the Invoke operation: Could not parse request body into json",
        ),
        (
            &["create-alias", "--function-name", "greet", "--name", "a", "--function-version", "1"],
            "(ResourceNotFoundException) when calling the CreateAlias operation: Function not found: \
             arn:aws:lambda:eu-west-1:123456789012:function:greet:1",
        ),
    ] {
        let output = aws(tools, &server, arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(wanted), "{arguments:?}: {said}");
    }

    let listed = succeeded(&aws(tools, &server, &["list-functions", "--page-size", "3"]));
    let names: Vec<&str> = listed["Functions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|function| function["FunctionName"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["greet", "more0", "more1", "more2", "more3", "more4", "more5", "more6"]);
    let described = succeeded(&aws(tools, &server, &["get-function", "--function-name", "greet"]));
    assert_eq!(described["Configuration"]["Description"], "Says hello");
}

/// Every part of the Lambda API in one story; what it prints is to be read.
#[tokio::test]
async fn the_life_of_a_function() {
    let name = "the_life_of_a_function";
    let (Some(tools), Some(moto)) = (python_tools(name), moto(name)) else { return };
    let server = TestServerBuilder::new().variable("AWS_ENDPOINT_URL", &moto.url).start().await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/acceptance/clients/walk.py");
    let mut command = configured(tools.program("python"));
    command.args(["-B", script, &server.api, &moto.url]).arg(server.handlers());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().expect("python runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{errors}\n--- terminal ---\n{}", server.terminal());
    println!("{said}");
    assert!(said.trim_end().lines().last().unwrap().starts_with("delete_function"), "{said}");
}

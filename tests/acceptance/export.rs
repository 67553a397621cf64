//! `handlerd export`: what it writes reads back as what was served, and `cfn-lint` takes it.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::commands;
use crate::harness::{TestServerBuilder, program};
use crate::python_tools::python_tools;

const APPS: [&str; 4] = ["orders", "notes", "report", "frameworks"];

fn run(folder: &Path, arguments: &[&str]) -> String {
    let ended = commands::run(program().current_dir(folder).args(arguments), "");
    assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
    ended.stdout
}

/// In which order routes stand says nothing.
fn routes(folder: &Path, arguments: &[&str]) -> BTreeSet<String> {
    let arguments = [&["routes"], arguments].concat();
    let rows = run(folder, &arguments);
    rows.lines().map(|row| row.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// A template has to name a runtime; a folder need not.
fn functions(folder: &Path, arguments: &[&str]) -> Vec<Value> {
    let arguments = [&["list", "--json"], arguments].concat();
    let listed: Value = serde_json::from_str(&run(folder, &arguments)).unwrap();
    let mut functions = listed["functions"].as_array().unwrap().clone();
    for function in &mut functions {
        function.as_object_mut().unwrap().remove("runtime");
    }
    assert!(!functions.is_empty());
    functions
}

fn reads_back(folder: &Path, source: &[&str], overrides: &[&str]) -> String {
    run(folder, &[&["export", "--output", "exported.yaml"], source].concat());
    let exported = [&["--template", "exported.yaml"], overrides].concat();
    assert_eq!(routes(folder, &exported), routes(folder, source));
    assert_eq!(functions(folder, &exported), functions(folder, source));
    let text = std::fs::read_to_string(folder.join("exported.yaml")).unwrap();
    if let Some(tools) = python_tools("export") {
        let mut lint = tools.program("cfn-lint");
        let lint = lint.args(["--regions", "us-east-1", "--", "exported.yaml"]).current_dir(folder);
        let output = lint.output().unwrap();
        assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stdout));
    }
    text
}

#[test]
fn templates_read_back_as_what_they_were() {
    for app in APPS {
        let project = TestServerBuilder::app(app);
        let text = reads_back(project.folder(), &[], &[]);
        // What was read from an export is exported as the same again.
        let folder = project.folder();
        let again = run(folder, &["export", "--template", "exported.yaml"]);
        std::fs::write(folder.join("again.yaml"), &again).unwrap();
        let third = run(folder, &["export", "--template", "again.yaml"]);
        assert_eq!(again, third, "{app}, first:\n{text}");
    }
}

#[test]
fn the_examples_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("handlers");
    crate::harness::copy(&from, &folder.path().join("handlers"));
    let text = reads_back(folder.path(), &["handlers"], &[]);
    assert!(text.contains("CodeUri: handlers/hello"), "{text}");
}

#[test]
fn a_folder_with_routes_and_secrets_reads_back() {
    let code = "def lambda_handler(event, context):\n    return 'ok'\n";
    let project = TestServerBuilder::new()
        .handler("order-items", code)
        .file(
            "order-items/function.yaml",
            "Timeout: 7\nMemorySize: 512\nRuntime: python3.12\nEvents:\n  Read:\n    Type: HttpApi\n    Properties: \
             {Path: '/items/{id}', Method: get}\n  Write:\n    Type: HttpApi\n    Properties: {Path: /items, Method: \
             post}\n",
        )
        .file("order-items/.env", "TOKEN=do-not-tell\n")
        .handler("open", code)
        .file(
            "open/function.yaml",
            "Runtime: python3.12\nEnvironment:\n  Variables:\n    GREETING: 'yes'\nFunctionUrlConfig:\n  AuthType: NONE\n  \
             Cors:\n    AllowOrigins: ['https://shop.example.com']\n    MaxAge: 60\n",
        );
    let text =
        reads_back(project.folder(), &["handlers"], &["--parameter-overrides", "OrderItemsTOKEN=another"]);
    assert!(!text.contains("do-not-tell") && text.contains("NoEcho: true"), "{text}");
    assert!(text.contains("FunctionName: order-items"), "{text}");
}

const EVERYTHING: &str = r#"Timeout: 7
Runtime: python3.13
Role: arn:aws:iam::123456789012:role/worker
Tags: {team: shop}
ReservedConcurrentExecutions: 5
RecursiveLoop: Allow
Tracing: Active
EphemeralStorage: {Size: 1024}
DeadLetterQueue: {Type: SQS, TargetArn: 'arn:aws:sqs:us-east-1:123456789012:dead'}
EventInvokeConfig:
  MaximumEventAgeInSeconds: 60
  MaximumRetryAttempts: 1
  DestinationConfig:
    OnSuccess: {Destination: 'sqlite:results.db#results'}
    OnFailure: {Type: SNS, Destination: 'arn:aws:sns:us-east-1:123456789012:failed'}
Events:
  Hourly: {Type: Schedule, Properties: {Schedule: rate(1 hour), Input: '{"a": 1}', State: DISABLED}}
  Called: {Type: Schedule, Properties: {Schedule: cron(0 10 ? * MON-FRI *), Name: every-morning}}
  Late:
    Type: ScheduleV2
    Properties:
      ScheduleExpression: at(2030-12-31T23:59:59)
      ScheduleExpressionTimezone: Europe/Berlin
      StartDate: 2030-01-01T00:00:00Z
      FlexibleTimeWindow: {Mode: FLEXIBLE, MaximumWindowInMinutes: 5}
      State: DISABLED
  Ordered:
    Type: EventBridgeRule
    Properties:
      Pattern: {source: [shop], detail: {count: [{numeric: ['>', 5]}]}}
      InputTransformer: {InputPathsMap: {id: $.detail.id}, InputTemplate: '{"id": <id>}'}
  Work:
    Type: SQS
    Properties:
      Queue: jobs
      Enabled: false
      BatchSize: 50
      MaximumBatchingWindowInSeconds: 5
      FunctionResponseTypes: [ReportBatchItemFailures]
      FilterCriteria: {Filters: [{Pattern: '{"body": {"kind": ["a"]}}'}]}
      ScalingConfig: {MaximumConcurrency: 2}
  Clicks:
    Type: Kinesis
    Properties:
      Stream: clicks
      Enabled: false
      StartingPosition: LATEST
      ParallelizationFactor: 2
      MaximumRecordAgeInSeconds: 3600
      MaximumRetryAttempts: 3
      BisectBatchOnFunctionError: true
      TumblingWindowInSeconds: 60
  Changed:
    Type: DynamoDB
    Properties: {Stream: Orders, StartingPosition: TRIM_HORIZON, Enabled: false}
  Added:
    Type: S3
    Properties: {Bucket: pictures, Events: ['s3:ObjectCreated:*'], Filter: {S3Key: {Rules: [{Name: suffix, Value: .png}]}}}
  News: {Type: SNS, Properties: {Topic: news, FilterPolicy: {kind: [a]}, FilterPolicyScope: MessageBody}}
"#;

#[test]
fn triggers_and_what_stands_beside_a_function_read_back() {
    let project = TestServerBuilder::new()
        .handler("worker-one", "def lambda_handler(event, context):\n    return 'ok'\n")
        .file("worker-one/function.yaml", EVERYTHING);
    let folder = project.folder();
    let text = reads_back(folder, &["handlers"], &[]);
    let listed = functions(folder, &["handlers"]);
    let triggers = listed[0]["triggers"].as_array().unwrap();
    assert_eq!(triggers.len(), 9, "{triggers:#?}");
    for line in [
        "ReservedConcurrentExecutions: 5",
        "RecursiveLoop: Allow",
        "MaximumRetryAttempts: 1",
        "MaximumEventAgeInSeconds: 60",
        "TargetArn: \"arn:aws:sqs:us-east-1:123456789012:dead\"",
        "Destination: \"arn:aws:sns:us-east-1:123456789012:failed\"",
        "Role: \"arn:aws:iam::123456789012:role/worker\"",
        "Name: every-morning",
        "BucketName: pictures",
        "MaximumWindowInMinutes: 5",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    // Not on AWS.
    assert!(!text.contains("sqlite:"), "{text}");
    let again = run(folder, &["export", "--template", "exported.yaml"]);
    let told = commands::run(program().current_dir(folder).args(["export", "handlers"]), "").stderr;
    assert!(told.contains("AWS has no destination such as sqlite:results.db#results"), "{told}");
    assert_eq!(again, text);
}

#[test]
fn export_overwrites_nothing_and_refuses_what_cannot_be_read() {
    let project = TestServerBuilder::app("report").project_file("mine.yaml", "precious");
    let folder = project.folder();
    let ended = commands::run(program().current_dir(folder).args(["export", "--output", "mine.yaml"]), "");
    assert_eq!(ended.code, Some(1));
    assert_eq!(ended.stderr, "error: mine.yaml exists already\nhint: choose another name for `--output`\n");
    assert_eq!(std::fs::read_to_string(folder.join("mine.yaml")).unwrap(), "precious");

    let broken = TestServerBuilder::template("Resources:\n  A: [\n");
    for command in ["export", "routes", "list"] {
        let ended = commands::run(program().current_dir(broken.folder()).arg(command), "");
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{command}: {ended:?}");
        assert!(ended.stderr.starts_with("error: template.yaml:"), "{ended:?}");
    }
}

/// An answer without what no two servers have in common: ids, ports and times in an event.
fn told(text: &str) -> String {
    let Ok(mut value) = serde_json::from_str::<Value>(text) else { return text.to_owned() };
    if let Some(event) = value.get_mut("event").and_then(Value::as_object_mut) {
        event.retain(|name, _| !matches!(name.as_str(), "headers" | "multiValueHeaders" | "requestContext"));
    }
    value.to_string()
}

#[tokio::test]
async fn an_exported_application_answers_the_same() {
    let original = TestServerBuilder::app("orders");
    run(original.folder(), &["export", "--output", "exported.yaml"]);
    let text = std::fs::read_to_string(original.folder().join("exported.yaml")).unwrap();
    let exported = TestServerBuilder::app("orders").project_file("template.yaml", &text);
    let (original, exported) = (original.start().await, exported.start().await);
    for (method, path, token) in [
        ("GET", "/orders", Some("Bearer reader")),
        ("GET", "/orders", None),
        ("GET", "/orders", Some("Basic x")),
        ("GET", "/orders/1", Some("Bearer reader")),
        ("POST", "/prod/orders", Some("Bearer keeper")),
        ("OPTIONS", "/orders", None),
        ("GET", "/health", None),
        ("GET", "/prod/health", None),
        ("DELETE", "/health", None),
        ("GET", "/nothing", None),
    ] {
        let mut answers = Vec::new();
        for server in [&original, &exported] {
            let request = server.client.request(method.parse().unwrap(), format!("{}{path}", server.http));
            let request =
                token.iter().fold(request, |request, token| request.header("authorization", *token));
            let body = if method == "POST" { r#"{"item": "salt"}"# } else { "" };
            let answer = server.send(request.body(body)).await;
            let names: BTreeSet<String> = answer.headers.keys().map(ToString::to_string).collect();
            let cors = answer.header("access-control-allow-origin").map(str::to_owned);
            answers.push((answer.status, names, cors, told(answer.text())));
        }
        assert_eq!(answers[0], answers[1], "{method} {path} {token:?}");
    }
}

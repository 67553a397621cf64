//! Versions and aliases, and what belongs to them: policies, URLs, provisioned concurrency. What is
//! expected stands in `clients/published_client.py`.

use serde_json::Value;

use crate::clients::{self, configured, succeeded};
use crate::harness::{TestServer, TestServerBuilder};
use crate::python_tools::{PythonTools, python_tools};

const GREET: &str = "def lambda_handler(event, context):\n    return {'text': 'zero'}\n";

/// Runs a scenario; its assertions are ours.
pub fn scenario(tools: &PythonTools, scenario: &str, server: &TestServer) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/acceptance/clients/published_client.py");
    let output = configured(tools.program("python"))
        .args(["-B", script, scenario, &server.api])
        .arg(server.handlers())
        .output()
        .expect("python runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let trouble = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{trouble}\n{}", server.terminal());
    assert_eq!(said.trim(), format!("{scenario}: ok"));
}

async fn run(name: &str) {
    let Some(tools) = python_tools(name) else { return };
    scenario(tools, name, &TestServer::with_handler("greet", GREET).await);
}

#[tokio::test]
async fn versions() {
    run("versions").await;
}

#[tokio::test]
async fn aliases() {
    run("aliases").await;
}

#[tokio::test]
async fn policies() {
    run("policies").await;
}

#[tokio::test]
async fn urls() {
    run("urls").await;
}

#[tokio::test]
async fn event_invoke() {
    run("event_invoke").await;
}

#[tokio::test]
async fn provisioned() {
    let Some(tools) = python_tools("provisioned") else { return };
    let state = tempfile::tempdir().unwrap();
    let start = || {
        let builder = TestServerBuilder::new().handler("greet", GREET);
        builder.argument("--state-dir").argument(state.path().to_str().unwrap()).start()
    };
    let server = start().await;
    scenario(tools, "provisioned", &server);
    // Killed, and started again.
    drop(server);
    scenario(tools, "provisioned_again", &start().await);
}

#[tokio::test]
async fn the_command_line_publishes_and_shifts() {
    let Some(tools) = python_tools("the_command_line_publishes_and_shifts") else { return };
    let server = TestServer::with_handler("greet", GREET).await;
    let aws = |arguments: &[&str]| -> Value { succeeded(&clients::aws(tools, &server, arguments)) };
    let version = aws(&["publish-version", "--function-name", "greet"]);
    assert_eq!(version["Version"], "1");
    let function = ["--function-name", "greet", "--name", "live"];
    let alias = aws(&[&["create-alias", "--function-version", "1"], &function[..]].concat());
    assert_eq!(alias["FunctionVersion"], "1");
    let latest = ["update-alias", "--function-version", "$LATEST", "--routing-config", "{}"];
    let alias = aws(&[&latest[..], &function[..]].concat());
    assert_eq!((&alias["FunctionVersion"], alias.get("RoutingConfig")), (&"$LATEST".into(), None));
}

/// Without anything published, a template's alias leads to the code of now; with it, to that.
#[tokio::test]
async fn an_alias_of_a_template_leads_to_the_code_of_now_until_it_is_made() {
    let template = "\
Resources:
  Fn:
    Type: AWS::Lambda::Function
    Properties: {FunctionName: greet, Handler: app.lambda_handler, Runtime: python3.12, Code: src}
  Live:
    Type: AWS::Lambda::Alias
    Properties: {FunctionName: !Ref Fn, FunctionVersion: '1', Name: live}
";
    let source = |text: &str| format!("def lambda_handler(event, context):\n    return '{text}'\n");
    let server = TestServerBuilder::template(&template.replace(", Runtime: python3.12", ""))
        .project_file("src/app.py", &source("one"))
        .start()
        .await;
    let answer = server.invoke("greet:live", "{}").await;
    assert_eq!((answer.text(), answer.header("x-amz-executed-version")), ("\"one\"", Some("$LATEST")));
    let unknown = server.invoke("greet:other", "{}").await;
    assert_eq!(unknown.status, 404);
    let post = |path: &str, body: &'static str| {
        server
            .send(server.client.post(format!("{}/2015-03-31/functions/greet/{path}", server.api)).body(body))
    };
    assert_eq!(post("versions", "{}").await.json()["Version"], "1");
    assert_eq!(post("aliases", r#"{"Name": "live", "FunctionVersion": "1"}"#).await.status, 201);
    server.write_project("src/app.py", &source("two"));
    assert_eq!(server.invoke("greet", "{}").await.text(), "\"two\"");
    let answer = server.invoke("greet:live", "{}").await;
    assert_eq!((answer.text(), answer.header("x-amz-executed-version")), ("\"one\"", Some("1")));
}

/// Its versions cannot be reached while the folder is gone, and come back with it.
#[tokio::test]
async fn versions_wait_for_their_function() {
    let server = TestServer::with_handler("greet", GREET).await;
    let publish = server.client.post(format!("{}/2015-03-31/functions/greet/versions", server.api));
    assert_eq!(server.send(publish).await.status, 201);
    let (here, away) = (server.handlers().join("greet"), server.folder().join("away"));
    std::fs::rename(&here, &away).unwrap();
    server.until("/greet", |answer| answer.status == 404).await;
    assert_eq!(server.invoke("greet:1", "{}").await.status, 404);
    std::fs::rename(&away, &here).unwrap();
    server.until("/greet", |answer| answer.status == 200).await;
    assert_eq!(server.invoke("greet:1", "{}").await.header("x-amz-executed-version"), Some("1"));
}

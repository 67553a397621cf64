//! Functions that are made, changed and deleted through the Lambda API, by the clients people have.
//!
//! What is expected of boto3 stands in `clients/lambda_api_functions.py`.

use serde_json::{Value, json};

use crate::clients::configured;
use crate::harness::{TestServer, TestServerBuilder};
use crate::python_tools::{PythonTools, python_tools};

fn boto3(tools: &PythonTools, scenario: &str, arguments: &[&str]) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/acceptance/clients/lambda_api_functions.py");
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
async fn boto3_takes_a_function_through_its_life() {
    let Some(tools) = python_tools("boto3_takes_a_function_through_its_life") else { return };
    let server = TestServerBuilder::new().start().await;
    let handlers = server.handlers();
    boto3(tools, "lifecycle", &[&server.api, handlers.to_str().unwrap(), &tools.runtime()]);
    // What was taken away is kept: the code of before each change, too.
    let trash = std::fs::read_dir(server.state_dir().join("trash")).unwrap();
    let names: Vec<String> = trash.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.len() >= 2 && names.iter().all(|name| name.starts_with("made-")), "{names:?}");
    // Nothing half made is left.
    let left = std::fs::read_dir(&handlers).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(left.collect::<Vec<_>>(), ["inline"]);
}

#[tokio::test]
async fn boto3_is_refused_in_the_words_of_aws() {
    let Some(tools) = python_tools("boto3_is_refused_in_the_words_of_aws") else { return };
    let server = TestServerBuilder::new().start().await;
    boto3(tools, "errors", &[&server.api, &tools.runtime()]);
}

#[tokio::test]
async fn boto3_sets_what_stands_beside_a_function() {
    let Some(tools) = python_tools("boto3_sets_what_stands_beside_a_function") else { return };
    let server = TestServerBuilder::new().start().await;
    boto3(tools, "settings", &[&server.api, &tools.runtime()]);
}

#[tokio::test]
async fn what_describes_infrastructure_reads_what_it_has_made() {
    let Some(tools) = python_tools("what_describes_infrastructure_reads_what_it_has_made") else { return };
    let server = TestServerBuilder::new().start().await;
    boto3(tools, "infrastructure", &[&server.api, &tools.runtime()]);
}

#[tokio::test]
async fn code_that_is_held_back_is_not_told_as_deployed() {
    let Some(tools) = python_tools("code_that_is_held_back_is_not_told_as_deployed") else { return };
    let server = TestServerBuilder::new().argument("--keep-last-good").start().await;
    boto3(tools, "held_back", &[&server.api, &tools.runtime()]);
    server.wait_for_terminal("goes on with the last version that worked");
}

#[tokio::test]
async fn what_a_template_declares_is_changed_there() {
    let Some(tools) = python_tools("what_a_template_declares_is_changed_there") else { return };
    let template = "Transform: AWS::Serverless-2016-10-31\nResources:\n  Declared:\n    Type: AWS::Serverless::Function\n    \
                    Properties: {FunctionName: Declared, CodeUri: src/, Handler: app.handler, Runtime: python3.12}\n";
    let server = TestServerBuilder::template(template)
        .project_file("src/app.py", "def handler(event, context):\n    return 1\n")
        .start()
        .await;
    boto3(tools, "declared", &[&server.api]);
    assert!(server.folder().join("src/app.py").is_file());
}

#[tokio::test]
async fn the_aws_command_makes_a_function() {
    let Some(tools) = python_tools("the_aws_command_makes_a_function") else { return };
    let server = TestServerBuilder::new().start().await;
    let source = server.folder().join("index.py");
    std::fs::write(&source, "def main(event, context):\n    return 'made by aws'\n").unwrap();
    let aws = |arguments: &[&str]| -> Value {
        let output = configured(tools.program("aws"))
            .args(["--endpoint-url", &server.api, "--region", "eu-west-1", "--output", "json", "lambda"])
            .args(arguments)
            .output()
            .expect("aws runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    };
    let zip = server.folder().join("code.zip");
    let pack = tools.program("python").args(["-m", "zipfile", "-c"]).args([&zip, &source]).status();
    assert!(pack.unwrap().success());
    let file = format!("fileb://{}", zip.display());
    let role = "arn:aws:iam::123456789012:role/r";
    let runtime = tools.runtime();
    let made = aws(&[
        "create-function",
        "--function-name",
        "made",
        "--role",
        role,
        "--runtime",
        &runtime,
        "--handler",
        "index.main",
        "--zip-file",
        &file,
    ]);
    assert_eq!(made["State"], "Pending");
    aws(&["wait", "function-active-v2", "--function-name", "made"]);
    assert_eq!(server.invoke("made", "{}").await.text(), "\"made by aws\"");
    aws(&["delete-function", "--function-name", "made"]);
    assert_eq!(aws(&["list-functions"]), json!({"Functions": []}));
}

/// A folder that is no function is not overwritten, and says so.
#[tokio::test]
async fn what_is_in_the_way_stays() {
    let server: TestServer = TestServerBuilder::new().file("notes/readme.txt", "mine").start().await;
    let body = json!({
        "FunctionName": "notes", "Role": "arn:aws:iam::123456789012:role/r", "Runtime": "python3.12",
        "Handler": "index.main", "Code": {"ZipFile": "ZGVmIG1haW4oKTogMQo="},
    });
    let url = format!("{}/2015-03-31/functions", server.api);
    let answer = server.send(server.client.post(url).body(body.to_string())).await;
    assert_eq!(answer.status, 409, "{}", answer.text());
    assert!(answer.text().contains("is there already, and is no function"), "{}", answer.text());
    assert_eq!(std::fs::read_to_string(server.handlers().join("notes/readme.txt")).unwrap(), "mine");
    assert_eq!(std::fs::read_dir(server.handlers()).unwrap().count(), 1);
}

/// Of several that make the same function at once one does; the others are told so in AWS's words, and
/// do not touch what the first has made.
#[tokio::test]
async fn one_of_several_creations_wins() {
    let server = TestServerBuilder::new().start().await;
    let source = "def handler(event, context):\n    return 'made'\n";
    let code = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, source);
    let body = serde_json::json!({
        "FunctionName": "same", "Role": "arn:aws:iam::123456789012:role/any", "Handler": "app.handler",
        "Runtime": "python3.12", "Publish": true, "Code": {"ZipFile": code},
    });
    let create = || {
        let request = server.client.post(format!("{}/2015-03-31/functions", server.api));
        tokio::spawn(request.body(body.to_string()).send())
    };
    let mut made = 0;
    for request in (0..8).map(|_| create()).collect::<Vec<_>>() {
        let answer = request.await.unwrap().unwrap();
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        match status {
            201 => made += 1,
            _ => assert!(status == 409 && text.contains("Function already exist: same"), "{status} {text}"),
        }
    }
    assert_eq!(made, 1);
    assert_eq!(server.invoke("same:1", "{}").await.text(), "\"made\"");
}

//! What people read about a template: at the start, in `handlerd check`, when it cannot be read, and
//! when it is saved.

use crate::commands;
use crate::harness::{TestServerBuilder, program};

const MISTAKES: &str = "\
Transform: AWS::Serverless-2016-10-31
Parameters:
  TableName:
    Type: String
Resources:
  Good:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: src/
      Handler: app.lambda_handler
      Runtime: python3.12
      Timeuot: 3
      Environment:
        Variables:
          TABLE: !Ref TableName
          OTHER: !Ref Nothing
      Events:
        One: {Type: HttpApi, Properties: {Path: /one, Method: get}}
        Two: {Type: HttpApi, Properties: {Path: /one, Method: GET}}
        Odd: {Type: HtpApi, Properties: {Path: /odd, Method: get}}
  NoCode:
    Type: AWS::Serverless::Function
    Properties: {CodeUri: missing/, Handler: app.lambda_handler, Runtime: python3.12}
  Node:
    Type: AWS::Serverless::Function
    Properties: {CodeUri: src/, Handler: app.handler, Runtime: nodejs20.x}
  Image:
    Type: AWS::Serverless::Function
    Properties: {PackageType: Image, ImageUri: somewhere}
  Stored:
    Type: AWS::Serverless::Function
    Properties: {CodeUri: 's3://bucket/key.zip', Handler: app.lambda_handler, Runtime: python3.12}
  Queue:
    Type: AWS::SQS::Queue
  Typo:
    Type: AWS::Serverless::Funtion
    Properties: {CodeUri: src/}
";

fn handler() -> &'static str {
    "def lambda_handler(event, context):\n    return 'ok'\n"
}

#[test]
fn check_tells_every_mistake_of_a_template() {
    let project = TestServerBuilder::template(MISTAKES).project_file("src/app.py", handler());
    let mut command = program();
    let ended = commands::run(command.current_dir(project.folder()).args(["check", "--no-load"]), "");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let here = format!("{}/", project.folder().canonicalize().unwrap().display());
    insta::assert_snapshot!(ended.stderr.replace(&here, "HERE/"), @"
    the template has 7 resources (5 supported, 2 ignored), by line:
        6  Good (AWS::Serverless::Function): supported: CodeUri, Handler, Runtime,
               Environment, Events
         12  Timeuot ignored: no property of this resource
         18  Events.One supported, GET /one
         19  Events.Two supported, see below
       21  NoCode (AWS::Serverless::Function): supported: CodeUri, Handler, Runtime
       24  Node (AWS::Serverless::Function): supported: CodeUri, Handler, Runtime
       27  Image (AWS::Serverless::Function): supported: PackageType
         29  ImageUri ignored, see below
       30  Stored (AWS::Serverless::Function): supported: CodeUri, Handler, Runtime
       33  Queue (AWS::SQS::Queue): ignored: queues are not made here; point
               AWS_ENDPOINT_URL_SQS at a local one
       35  Typo (AWS::Serverless::Funtion): ignored, see below
         37  CodeUri ignored: with its resource
    error: template.yaml:3: the parameter `TableName` has no default and is given no value
    hint: give one with --parameter-overrides TableName=VALUE, or in samconfig.toml
    warning: template.yaml:12: `Timeuot` is no property of AWS::Serverless::Function; it is ignored
    hint: did you mean `Timeout`?
    error: template.yaml:16: there is no resource or parameter `Nothing`
    error: template.yaml:19: `GET /one` is asked for twice in `ServerlessHttpApi`; the first one is served
    error: template.yaml:20: `HtpApi` is no type of event
    hint: did you mean `HttpApi`?
    error: template.yaml:23: `CodeUri`: there is no folder `HERE/missing/`
    hint: it is looked for from the template's folder; run `sam build` if it is one that only a build makes
    warning: template.yaml:26: `Runtime: nodejs20.x` is not run: handlerd runs Python
    error: template.yaml:29: `PackageType: Image`: container images are not run
    hint: give `Runtime`, `Handler` and `CodeUri`
    error: template.yaml:32: `CodeUri`: `s3://bucket/key.zip` cannot be read here
    hint: name the folder that it was made from
    warning: template.yaml:35: `AWS::Serverless::Funtion` is no type of resource that SAM knows
    hint: did you mean `AWS::Serverless::Function`?
    ");
    insta::assert_snapshot!(ended.stdout, @"
    ok      Good
    FAILED  Image   its configuration is wrong
    FAILED  NoCode  its configuration is wrong
    FAILED  Node    its configuration is wrong
    FAILED  Stored  its configuration is wrong
    ");
}

#[test]
fn check_of_a_good_template_reports_it_and_ends_with_zero() {
    let project = TestServerBuilder::app("orders");
    let mut command = program();
    let ended = commands::run(command.current_dir(project.folder()).arg("check"), "");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    // The id is made of where the project is.
    let at = ended.stderr.find("https://").expect("an output is a URL") + "https://".len();
    let report = format!("{}0123456789{}", &ended.stderr[..at], &ended.stderr[at + 10..]);
    insta::assert_snapshot!(report, @r"
    the template has 4 resources (3 supported, 1 ignored), by line:
       36  OrdersApi (AWS::Serverless::Api): supported: OpenApiVersion, StageName,
               Variables, BinaryMediaTypes, Cors, Auth, GatewayResponses
       66  OrdersFunction (AWS::Serverless::Function): supported: Runtime, Timeout,
               MemorySize, Environment, CodeUri, Handler, Events
         77  Events.List supported, GET /orders
         80  Events.Create supported, POST /orders
         83  Events.Read supported, GET /orders/{id}
         86  Events.Picture supported, ANY /orders/{id}/picture
         93  Events.Health supported, GET /health
      101  AuthorizerFunction (AWS::Serverless::Function): supported: Runtime, Timeout,
               MemorySize, Environment, CodeUri, Handler
      107  OrdersTable (AWS::Serverless::SimpleTable): ignored: no table is made: set
               AWS_ENDPOINT_URL_DYNAMODB to a local DynamoDB, or use the one in your
               account
      111  Url (Output): supported, its value here is
               `https://0123456789.execute-api.us-east-1.amazonaws.com/prod/orders`
    ");
    assert_eq!(ended.stdout, "ok  AuthorizerFunction\nok  OrdersFunction\n");
}

#[tokio::test]
async fn what_is_kept_survives_the_next_build() {
    let template = "Transform: AWS::Serverless-2016-10-31\nResources:\n  Hello:\n    Type: AWS::Serverless::Function\n    \
                    Properties: {CodeUri: Hello, Handler: app.lambda_handler, Runtime: python3.12}\n";
    let project = TestServerBuilder::template(template)
        .project_file(".aws-sam/build/template.yaml", template)
        .project_file(".aws-sam/build/Hello/app.py", handler());
    let server = project.argument("--template").argument(".aws-sam/build/template.yaml").start().await;
    assert_eq!(server.invoke("Hello", "{}").await.text(), "\"ok\"");
    assert!(server.state_dir().is_dir(), "state is kept in the project");
    assert!(!server.folder().join(".aws-sam/build/.handlerd").exists());
}

#[tokio::test]
async fn the_start_shows_where_everything_answers() {
    let server = TestServerBuilder::app("orders").start().await;
    server.wait_for_stdout("/health");
    let port = server.http.rsplit(':').next().unwrap().to_owned();
    let api = server.api.rsplit(':').next().unwrap().to_owned();
    let shown = server.stdout().replace(&port, "PORT").replace(&api, "PORT2");
    let shown: Vec<String> =
        shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    insta::assert_snapshot!(shown.join("\n"), @"
    http://127.0.0.1:PORT HTTP routes
    http://127.0.0.1:PORT2 console and Lambda API
    http://127.0.0.1:PORT/orders GET, function OrdersFunction, asks for TokenAuthorizer
    http://127.0.0.1:PORT/orders/{id} GET, function OrdersFunction, asks for TokenAuthorizer
    http://127.0.0.1:PORT/orders/{id}/picture function OrdersFunction
    http://127.0.0.1:PORT/health GET, function OrdersFunction
    ");
}

#[tokio::test]
async fn a_template_that_cannot_be_read_is_waited_for() {
    let good = "Transform: AWS::Serverless-2016-10-31\nResources:\n  Hello:\n    Type: AWS::Serverless::Function\n    \
                Properties:\n      CodeUri: src/\n      Handler: app.lambda_handler\n      Runtime: python3.12\n      \
                Events:\n        Get: {Type: HttpApi, Properties: {Path: /hello, Method: get}}\n";
    let broken = good.replace("Resources:", "Resources: [");
    let server = TestServerBuilder::template(&broken).project_file("src/app.py", handler()).start().await;
    let said = server.wait_for_terminal("nothing of it is served");
    assert!(said.contains("template.yaml"), "{said}");
    assert!(!server.terminal().contains("handlerd new"), "{}", server.terminal());
    assert_eq!(server.get("/hello").await.status, 404);
    server.write_project("template.yaml", good);
    assert_eq!(server.get("/hello").await.status, 200, "{}", server.terminal());

    // A save tells what is new, and no more.
    server.wait_for_terminal("Hello (AWS::Serverless::Function): supported");
    server.write_project("template.yaml", &format!("# moved\n{good}  Queue:\n    Type: AWS::SQS::Queue\n"));
    server.wait_for_terminal("Queue (AWS::SQS::Queue): ignored");
    assert_eq!(server.terminal().matches("Hello (AWS").count(), 1, "{}", server.terminal());
}

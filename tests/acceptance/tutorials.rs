//! The projects of `examples/`, served as they are: the same API on DynamoDB and on PostgreSQL.

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Answer, TestServer, TestServerBuilder};
use crate::moto::moto;
use crate::postgres::postgres;
use crate::python_tools::{PythonTools, python_tools};

/// A copy of the example, run by the Python of the tests, which has what it imports.
fn example(name: &str, tools: &PythonTools) -> TestServerBuilder {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    let read = |path: &str| std::fs::read_to_string(folder.join(path)).unwrap();
    TestServerBuilder::template(&read("template.yaml").replace("python3.12", &tools.runtime()))
        .project_file("src/items.py", &read("src/items.py"))
        .argument("--python")
        .argument(tools.folder())
}

async fn send(server: &TestServer, method: &str, path: &str, body: &str) -> Answer {
    let request = server.client.request(method.parse().unwrap(), format!("{}{path}", server.http));
    server.send(request.header("content-type", "application/json").body(body.to_owned())).await
}

/// What both have in common: everything that a client sees.
async fn walk_through(server: &TestServer) {
    let empty = send(server, "GET", "/items", "").await;
    assert_eq!((empty.status, empty.json()), (200, json!({"items": []})));
    let tea = json!({"id": "1", "name": "tea", "price": 3.5});
    let made = send(server, "PUT", "/items", r#"{"id": "1", "name": " tea ", "price": 3.50}"#).await;
    assert_eq!(
        (made.status, made.json(), made.header("content-type")),
        (200, tea.clone(), Some("application/json"))
    );
    let other = json!({"id": "차 2", "name": "'; DROP TABLE items", "price": 0});
    assert_eq!(send(server, "PUT", "/items", &other.to_string()).await.json(), other);

    assert_eq!(send(server, "GET", "/items/1", "").await.json(), tea);
    let encoded = "/items/%EC%B0%A8%202";
    assert_eq!(send(server, "GET", encoded, "").await.json(), other);
    let changed = json!({"id": "1", "name": "green tea", "price": 4});
    assert_eq!(send(server, "PUT", "/items", &changed.to_string()).await.json(), changed);
    let all = send(server, "GET", "/items", "").await.json();
    assert_eq!(all, json!({"items": [changed, other]}));

    let removed = send(server, "DELETE", encoded, "").await;
    assert_eq!((removed.status, removed.text()), (204, ""));
    for method in ["GET", "DELETE"] {
        let lost = send(server, method, encoded, "").await;
        assert_eq!((lost.status, lost.json()), (404, json!({"message": "there is no item `차 2`"})));
    }
    assert_eq!(send(server, "GET", "/items", "").await.json(), json!({"items": [changed]}));
    assert_eq!(send(server, "POST", "/items", "{}").await.status, 404, "there is no such route");

    for (body, expected) in [
        ("", "the body must be JSON"),
        (r#"{"id": "1", "name": "n", "price": NaN}"#, "the body must be JSON"),
        ("[]", "the body must be a JSON object"),
        (r#"{"name": "tea", "price": 1}"#, "`id` must be a text that is not empty"),
        (r#"{"id": "1", "name": " ", "price": 1}"#, "`name` must be a text that is not empty"),
        (
            r#"{"id": "1", "name": "n", "price": true}"#,
            "`price` must be a number from 0 with two decimals at most",
        ),
        (
            r#"{"id": "1", "name": "n", "price": 0.001}"#,
            "`price` must be a number from 0 with two decimals at most",
        ),
        (
            r#"{"id": "1", "name": "n", "price": 1e400}"#,
            "`price` must be a number from 0 with two decimals at most",
        ),
    ] {
        let refused = send(server, "PUT", "/items", body).await;
        assert_eq!((refused.status, refused.json()), (400, json!({"message": expected})), "{body}");
    }
}

const TABLE: &str = "
client('dynamodb').create_table(TableName='http-crud-items', BillingMode='PAY_PER_REQUEST',
    AttributeDefinitions=[{'AttributeName': 'id', 'AttributeType': 'S'}],
    KeySchema=[{'AttributeName': 'id', 'KeyType': 'HASH'}])
";

#[tokio::test]
async fn items_are_kept_in_dynamodb() {
    let Some(moto) = moto("items_are_kept_in_dynamodb") else { return };
    let Some(tools) = python_tools("items_are_kept_in_dynamodb") else { return };
    moto.python(TABLE);
    // One setting; the credentials are handlerd's dummies.
    let server = example("dynamodb-items", tools).variable("AWS_ENDPOINT_URL", &moto.url).start().await;
    walk_through(&server).await;
    let kept =
        moto.python("print(json.dumps(client('dynamodb').scan(TableName='http-crud-items')['Items']))");
    assert_eq!(kept, json!([{"id": {"S": "1"}, "name": {"S": "green tea"}, "price": {"N": "4"}}]));
}

#[tokio::test]
async fn items_are_kept_in_postgres() {
    let Some(mut database) = postgres("items_are_kept_in_postgres") else { return };
    let Some(tools) = python_tools("items_are_kept_in_postgres") else { return };
    let server = example("postgres-items", tools)
        .argument("--parameter-overrides")
        .argument(&format!("DatabaseUrl={}", database.url()))
        .start()
        .await;
    walk_through(&server).await;
    assert_eq!(database.query("SELECT id, name, price FROM items"), ["1|green tea|4.00"]);
    // The environment's connection breaks; the next request makes another.
    database.restart();
    assert_eq!(send(&server, "GET", "/items/1", "").await.json()["name"], "green tea");
}

/// boto3 in a handler, with nothing configured, finds the functions beside it; and whoever sets an
/// endpoint has another in mind.
#[tokio::test]
async fn a_handler_invokes_its_neighbour_through_boto3() {
    let Some(tools) = python_tools("a_handler_invokes_its_neighbour_through_boto3") else { return };
    let calls = "
import boto3, json

def lambda_handler(event, context):
    client = boto3.client('lambda')
    if event.get('where'):
        return [client.meta.endpoint_url, boto3.client('events').meta.endpoint_url, client.meta.region_name]
    answer = client.invoke(FunctionName='neighbour', Payload=json.dumps({'n': event['n']}))
    return json.load(answer['Payload'])
";
    let start = |builder: TestServerBuilder| {
        builder
            .handler("calls", calls)
            .handler("neighbour", "def lambda_handler(event, context):\n    return event['n'] * 2\n")
            .argument("--python")
            .argument(tools.folder())
            .argument("--region")
            .argument("eu-west-1")
            .start()
    };
    let server = start(TestServerBuilder::new()).await;
    assert_eq!(server.invoke("calls", r#"{"n": 21}"#).await.json(), json!(42));
    let place = server.invoke("calls", r#"{"where": true}"#).await.json();
    assert_eq!(place, json!([server.api, server.api, "eu-west-1"]));

    let lambda = "https://lambda.eu-west-1.amazonaws.com";
    let events = "https://events.eu-west-1.amazonaws.com";
    let elsewhere = "http://127.0.0.1:9";
    for (variables, expected) in [
        ("AWS_ENDPOINT_URL: 'http://127.0.0.1:9'", json!([elsewhere, elsewhere])),
        ("AWS_ENDPOINT_URL_LAMBDA: ''", json!([lambda, Value::Null])),
        ("{AWS_ENDPOINT_URL_LAMBDA: '', AWS_ENDPOINT_URL_EVENTBRIDGE: ''}", json!([lambda, events])),
    ] {
        let configuration = format!("Environment:\n  Variables:\n    {variables}\n");
        let server = start(TestServerBuilder::new().file("calls/function.yaml", &configuration)).await;
        let place = server.invoke("calls", r#"{"where": true}"#).await.json();
        for (index, expected) in expected.as_array().unwrap().iter().enumerate() {
            let expected = if expected.is_null() { json!(server.api) } else { expected.clone() };
            assert_eq!(place[index], expected, "{variables}");
        }
    }
    let server = start(TestServerBuilder::new().variable("AWS_ENDPOINT_URL", elsewhere)).await;
    let place = server.invoke("calls", r#"{"where": true}"#).await.json();
    assert_eq!(place, json!([elsewhere, elsewhere, "eu-west-1"]));
}

/// The named profile is what functions and destinations ask with, wherever its files are.
#[tokio::test]
async fn a_handler_uses_the_profile_of_the_shell() {
    let Some(tools) = python_tools("a_handler_uses_the_profile_of_the_shell") else { return };
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".aws")).unwrap();
    std::fs::write(
        home.path().join(".aws/credentials"),
        "[local]\naws_access_key_id = OF_THE_PROFILE\naws_secret_access_key = secret\n",
    )
    .unwrap();
    let shows = "
import boto3

def lambda_handler(event, context):
    return boto3.Session().get_credentials().access_key
";
    let server = TestServerBuilder::new()
        .handler("shows", shows)
        .argument("--python")
        .argument(tools.folder())
        .variable("HOME", home.path().to_str().unwrap())
        .variable("AWS_PROFILE", "local")
        .start()
        .await;
    assert_eq!(server.invoke("shows", "{}").await.json(), json!("OF_THE_PROFILE"));
}

#[test]
fn the_templates_are_valid_for_aws() {
    let Some(tools) = python_tools("the_templates_are_valid_for_aws") else { return };
    for name in ["dynamodb-items", "postgres-items"] {
        let template =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name).join("template.yaml");
        let mut lint = tools.program("cfn-lint");
        let output = lint.args(["--regions", "us-east-1", "--"]).arg(template).output().unwrap();
        assert!(output.status.success(), "{name}\n{}", String::from_utf8_lossy(&output.stdout));
    }
}

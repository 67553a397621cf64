//! The functions served out of the box: those of the repository itself, in a folder of their own.

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Answer, TestServer, TestServerBuilder, eventually};

const JSON: &str = "application/json";

async fn start() -> TestServer {
    let handlers = Path::new(env!("CARGO_MANIFEST_DIR")).join("handlers");
    let mut builder = TestServerBuilder::new();
    for folder in std::fs::read_dir(&handlers).unwrap().map(|entry| entry.unwrap().path()) {
        // Caches of tools lie about; the code is what has a name.
        if !folder.is_dir() || folder.file_name().unwrap().to_string_lossy().starts_with(['.', '_']) {
            continue;
        }
        for file in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if file.is_file() {
                let name = file.strip_prefix(&handlers).unwrap().to_str().unwrap().to_owned();
                builder = builder.file(&name, &std::fs::read_to_string(&file).unwrap());
            }
        }
    }
    builder.start().await
}

async fn send(server: &TestServer, method: &str, path: &str, body: Value) -> Answer {
    let url = format!("{}{path}", server.http);
    let request = server.client.request(method.parse().unwrap(), url);
    server.send(request.header("content-type", JSON).body(body.to_string())).await
}

#[tokio::test]
async fn hello_greets() {
    let server = start().await;
    assert_eq!(server.get("/hello").await.text(), r#""Hello from Lambda!""#);
    assert_eq!(server.get("/hello?name=Kim").await.text(), r#""Hello from Kim!""#);
    assert_eq!(server.get("/hello?name=%EC%A0%95").await.json(), json!("Hello from 정!"));
}

#[tokio::test]
async fn items_are_made_read_changed_and_removed() {
    let server = start().await;
    assert_eq!(server.get("/items").await.json(), json!({"items": []}));

    let made = send(&server, "POST", "/items", json!({"name": " tea ", "price": 3})).await;
    assert_eq!((made.status, made.header("location")), (201, Some("/items/1")));
    assert_eq!(made.text(), r#"{"id": 1, "name": "tea", "price": 3.0}"#);
    // As `curl -d` sends it when it is told nothing else: API Gateway encodes such a body.
    let form = server
        .post("/items", "application/x-www-form-urlencoded", r#"{"name": "'; DROP TABLE items", "price": 0}"#)
        .await;
    assert_eq!(form.status, 201, "{form:?}");

    assert_eq!(server.get("/items/1").await.json(), made.json());
    let changed = send(&server, "PUT", "/items/1", json!({"name": "차", "price": 4.5})).await;
    assert_eq!((changed.status, changed.json()), (200, json!({"id": 1, "name": "차", "price": 4.5})));
    assert_eq!(server.get("/items").await.json()["items"].as_array().unwrap().len(), 2);

    let removed = send(&server, "DELETE", "/items/2", Value::Null).await;
    assert_eq!((removed.status, removed.text()), (204, ""));
    assert_eq!(server.get("/items").await.json(), json!({"items": [changed.json()]}));
}

#[tokio::test]
async fn items_says_what_is_wrong_with_a_request() {
    let server = start().await;
    for (body, expected) in [
        (json!("no object"), "the body must be a JSON object"),
        (json!({"price": 1}), "`name` must be a text that is not empty"),
        (json!({"name": "  ", "price": 1}), "`name` must be a text that is not empty"),
        (json!({"name": "tea"}), "`price` must be a number, 0 or more"),
        (json!({"name": "tea", "price": true}), "`price` must be a number, 0 or more"),
        (json!({"name": "tea", "price": -1}), "`price` must be a number, 0 or more"),
    ] {
        let answer = send(&server, "POST", "/items", body).await;
        assert_eq!((answer.status, answer.json()), (400, json!({"message": expected})));
    }
    assert_eq!(server.post("/items", JSON, "{").await.json(), json!({"message": "the body must be JSON"}));
    assert_eq!(server.post("/items", JSON, "").await.status, 400);
    let body = json!({"name": "tea", "price": 1});
    for (method, path) in
        [("GET", "/items/1"), ("PUT", "/items/1"), ("DELETE", "/items/x"), ("GET", "/items/1/2")]
    {
        let answer = send(&server, method, path, body.clone()).await;
        assert_eq!(answer.status, 404, "{method} {path}: {answer:?}");
        assert!(answer.json()["message"].as_str().unwrap().starts_with("there is no item "), "{answer:?}");
    }
    let answer = send(&server, "PATCH", "/items", body.clone()).await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, POST")));
    assert_eq!(send(&server, "POST", "/items/1", body).await.status, 405);
}

#[tokio::test]
async fn items_are_kept_and_writing_them_is_no_deployment() {
    let server = start().await;
    send(&server, "POST", "/items", json!({"name": "kept", "price": 1})).await;
    let database = server.state_dir().join("data/items.sqlite");
    assert!(database.is_file(), "not at {}", database.display());
    let code = server.health().await["functions"]["items"]["code"].clone();
    assert!(code.is_string());

    // New code, so new environments: what they read comes from the file.
    let source = std::fs::read_to_string(server.handlers().join("items/lambda_function.py")).unwrap();
    server.write("items/lambda_function.py", &source.replace(r#"{"items": "#, r#"{"kept": "#));
    let answer = server.until("/items", |answer| answer.json().get("kept").is_some()).await;
    assert_eq!(answer.json(), json!({"kept": [{"id": 1, "name": "kept", "price": 1.0}]}));
    let changed = server.health().await["functions"]["items"]["code"].clone();
    assert_ne!(changed, code);
    send(&server, "POST", "/items", json!({"name": "more", "price": 1})).await;
    assert_eq!(server.health().await["functions"]["items"]["code"], changed);
}

#[tokio::test(flavor = "multi_thread")]
async fn items_are_safe_when_requests_overlap() {
    let server = std::sync::Arc::new(start().await);
    let tasks: Vec<_> = (0..100)
        .map(|number| {
            let server = server.clone();
            tokio::spawn(async move {
                send(&server, "POST", "/items", json!({"name": "n", "price": number})).await.status
            })
        })
        .collect();
    for task in tasks {
        let status = task.await.unwrap();
        assert_eq!(status, 201, "{}", server.terminal());
    }
    let items = server.get("/items").await.json();
    let mut prices: Vec<f64> =
        items["items"].as_array().unwrap().iter().map(|item| item["price"].as_f64().unwrap()).collect();
    prices.sort_by(f64::total_cmp);
    assert_eq!(prices, (0..100).map(f64::from).collect::<Vec<_>>());
}

#[tokio::test]
async fn orders_are_taken_and_logged() {
    let server = start().await;
    let answer = send(&server, "POST", "/orders", json!({"item": "tea", "quantity": 2})).await;
    assert_eq!(answer.status, 201);
    let receipt = answer.json();
    assert_eq!((&receipt["total"], &receipt["currency"]), (&json!(7.0), &json!("EUR")));

    let line = server.wait_for_terminal(r#""took an order""#);
    let record: Value = serde_json::from_str(line.split_once(" | ").unwrap().1).unwrap();
    for (field, expected) in
        [("level", json!("INFO")), ("logger", json!("orders")), ("item", json!("tea")), ("total", json!(7.0))]
    {
        assert_eq!(record[field], expected, "{line}");
    }
    assert_eq!(record["requestId"], receipt["order"]);
    server.wait_for_terminal(r#""level": "DEBUG", "message": "the order costs 7.0 EUR""#);
}

#[tokio::test]
async fn a_callers_mistake_is_answered_and_logged_as_a_warning() {
    let server = start().await;
    for (body, expected) in [
        (json!([]), "the body must be a JSON object"),
        (json!({"item": "milk"}), "`item` must be one of: coffee, tea"),
        (json!({"item": "tea", "quantity": 0}), "`quantity` must be a whole number from 1 to 100"),
        (json!({"item": "tea", "quantity": 101}), "`quantity` must be a whole number from 1 to 100"),
        (json!({"item": "tea", "quantity": "2"}), "`quantity` must be a whole number from 1 to 100"),
    ] {
        let answer = send(&server, "POST", "/orders", body).await;
        assert_eq!((answer.status, answer.json()), (400, json!({"message": expected})));
    }
    assert_eq!(server.get("/orders").await.status, 400);
    server.wait_for_terminal(r#""level": "WARNING", "message": "refused an order""#);
}

#[tokio::test]
async fn what_is_in_dotenv_wins_over_the_configuration() {
    let server = start().await;
    server.write("orders/.env", "CURRENCY=KRW\n");
    eventually("the .env is deployed", || server.terminal().contains("deployed orders"));
    let answer = send(&server, "POST", "/orders", json!({"item": "coffee"})).await;
    assert_eq!((answer.status, &answer.json()["currency"]), (201, &json!("KRW")));
}

#[tokio::test]
async fn a_payment_that_fails_shows_its_traceback() {
    let server = start().await;
    let answer = send(&server, "POST", "/orders", json!({"item": "tea", "card": "declined"})).await;
    assert_eq!((answer.status, answer.text()), (500, r#"{"message":"Internal Server Error"}"#));
    server.wait_for_terminal("orders raised PaymentFailed: the bank declined a payment of 3.5 EUR");
    // The last frame, with its line of source.
    server.wait_for_terminal(r#"orders |     raise PaymentFailed(f"the bank declined"#);
    assert_eq!(send(&server, "POST", "/orders", json!({"item": "tea"})).await.status, 201);
}

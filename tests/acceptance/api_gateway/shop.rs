//! `tests/fixtures/apps/shop`: a REST API in plain CloudFormation.

use std::path::Path;

use serde_json::{Value, json};

use super::{is, said, upstream};
use crate::harness::{TestServer, TestServerBuilder, eventually};
use crate::raw_http::Connection;
use crate::sam_apps::{get, now, send, token};

const POOL: &str = "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_Example00";

async fn shop() -> TestServer {
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/jwt/jwks.json");
    let builder = TestServerBuilder::app("shop");
    let folder = builder.folder().display().to_string();
    let prices = upstream().await;
    builder
        .argument("--parameter-overrides")
        .argument(&format!("PricesUrl={prices} Folder={folder}"))
        .argument("--jwks")
        .argument(&format!("{POOL}={}", keys.display()))
        .start()
        .await
}

const MISSING: &str = r#"{"error":"Missing Authentication Token","type":"MISSING_AUTHENTICATION_TOKEN"}"#;

#[tokio::test]
async fn stages_of_one_api_differ_by_their_variables() {
    let server = shop().await;
    // Without a stage the first one answers.
    assert_eq!(said(&server, "GET", "/products", &[], "").await, is(200, "catalogue-one summer"));
    assert_eq!(said(&server, "GET", "/summer/products", &[], "").await, is(200, "catalogue-one summer"));
    assert_eq!(said(&server, "GET", "/winter/products", &[], "").await, is(200, "catalogue-two winter"));

    // Every address of the API.
    let own = "shopapi.execute-api.localhost:3000";
    for (host, path, expected) in [
        (own, "/winter/products", is(200, "catalogue-two winter")),
        (own, "/summer/products/", is(200, "catalogue-one summer")),
        ("localhost", "/_aws/execute-api/ShopApi/winter/products", is(200, "catalogue-two winter")),
        ("shop.example.com", "/cold/products", is(200, "catalogue-two winter")),
        ("SHOP.example.com:3000", "/cold/products", is(200, "catalogue-two winter")),
        // No such stage, no such API, no such base path.
        (own, "/autumn/products", is(403, r#"{"message":"Forbidden"}"#)),
        (own, "/products", is(403, r#"{"message":"Forbidden"}"#)),
        ("localhost", "/_aws/execute-api/ShopApi/autumn/products", is(403, r#"{"message":"Forbidden"}"#)),
        ("shop.example.com", "/products", is(403, r#"{"message":"Forbidden"}"#)),
        ("shop.example.com", "/colder/products", is(403, r#"{"message":"Forbidden"}"#)),
    ] {
        assert_eq!(said(&server, "GET", path, &[("host", host)], "").await, expected, "{host}{path}");
    }
    let echo = server.get_at("shop.example.com", "/cold/any/thing").await.json();
    assert_eq!((&echo["path"], &echo["full"]), (&json!("/cold/any/thing"), &json!("/cold/any/thing")));
    assert_eq!((&echo["stage"], &echo["parameters"]), (&json!("winter"), &json!({"proxy": "any/thing"})));
    let unknown = server.get_at("nothing.execute-api.localhost", "/summer").await;
    assert_eq!((unknown.status, unknown.text()), (404, r#"{"message":"Not Found"}"#));
}

#[tokio::test]
async fn mocks_are_made_by_templates() {
    let server = shop().await;
    let welcome = get(&server, "/?name=O'Neil%20%22x%22", &[]).await;
    let expected = r#"{"welcome": "O\'Neil \"x\"", "stage": "summer", "season": "summer"}"#;
    assert_eq!((welcome.status, welcome.text()), (200, expected));
    assert_eq!(welcome.header("content-type"), Some("application/json"));
    assert_eq!(welcome.header("cache-control"), Some("max-age=60"));
    assert_eq!(welcome.header("x-amzn-trace-id"), None, "a mock is not traced");
    assert!(welcome.header("x-amz-apigw-id").is_some_and(|id| id.len() == 16));
    let expected = r#"{"welcome": "stranger", "stage": "winter", "season": "winter"}"#;
    assert_eq!(said(&server, "GET", "/winter", &[], "").await, is(200, expected));

    // CORS as SAM writes it.
    let asked = [("origin", "https://a.example.com"), ("access-control-request-method", "GET")];
    let preflight = send(&server, "OPTIONS", "/products", &asked, "").await;
    assert_eq!((preflight.status, preflight.text()), (200, "{}\n"));
    assert_eq!(preflight.header("access-control-allow-origin"), Some("*"));
    assert_eq!(preflight.header("access-control-allow-methods"), Some("GET,OPTIONS"));
    assert_eq!(preflight.header("access-control-allow-headers"), Some("Content-Type,X-Api-Key"));

    // Some statuses have no body, whatever the template makes.
    let mut connection = Connection::open(&server.http);
    for (code, length) in [(204, None), (304, None), (418, Some("15"))] {
        connection.send(format!("GET /status/{code} HTTP/1.1\r\nhost: localhost\r\n\r\n"));
        let answer = connection.answer();
        assert_eq!((answer.status, answer.header("content-length")), (code, length), "{answer:?}");
    }
    let teapot = get(&server, "/status/418", &[]).await;
    assert_eq!((teapot.text(), teapot.header("content-type")), ("short and stout", Some("text/plain")));
    let unmatched = get(&server, "/status/200", &[]).await;
    assert_eq!(
        (unmatched.status, unmatched.text()),
        (500, r#"{"message": "Internal server error"}"#),
        "no integration response is for it"
    );
    server.wait_for_terminal("no integration response fits `200`");
}

#[tokio::test]
async fn functions_are_asked_through_templates() {
    let server = shop().await;
    let found = get(&server, "/products/tea?size=big", &[]).await;
    let expected = r#"{"sku":"tea","size":"big","tags":"a-b"}"#;
    assert_eq!((found.status, found.text()), (200, expected));
    assert_eq!(found.header("content-type"), Some("application/json"));
    assert_eq!((found.header("x-count"), found.header("x-shop")), (Some("3"), Some("corner")));
    assert!(found.header("x-amzn-trace-id").is_some_and(|trace| trace.starts_with("Root=1-")));

    let none = get(&server, "/products/none", &[]).await;
    let expected = r#"{"error":"NotFound: no such product","type":"ValueError"}"#;
    assert_eq!((none.status, none.text()), (404, expected));
    assert_eq!(none.header("x-count"), None);
    let broken = get(&server, "/products/broken", &[]).await;
    assert_eq!((broken.status, broken.text()), (502, "out of order"));
    assert_eq!(broken.header("content-type"), Some("text/plain"));

    // No template for this body.
    let expected = r#"{"message": "Unsupported Media Type"}"#;
    let unsupported = send(&server, "POST", "/orders", &[("content-type", "text/csv")], "1;2").await;
    assert_eq!((unsupported.status, unsupported.text()), (415, expected));
    assert_eq!(unsupported.header("access-control-allow-origin"), Some("*"), "DEFAULT_4XX");
    assert_eq!(unsupported.header("x-amzn-errortype"), Some("BadRequestException"));

    // An invocation that nobody waits for: the function has not even begun its work.
    let order = send(
        &server,
        "POST",
        "/orders?customer=kim",
        &[("content-type", "application/json; charset=utf-8")],
        r#"{"order": 7}"#,
    )
    .await;
    assert_eq!((order.status, order.text()), (202, r#"{"accepted":true}"#));
    std::fs::write(server.folder().join("open-7"), "").unwrap();
    let done = server.folder().join("order-7.json");
    eventually("the order is done", || done.exists());
    let event: Value = serde_json::from_slice(&std::fs::read(done).unwrap()).unwrap();
    assert_eq!(event, json!({"order": 7, "customer": "kim"}));
}

#[tokio::test]
async fn requests_reach_another_server() {
    let server = shop().await;
    let answer = send(
        &server,
        "PUT",
        "/winter/prices/fruit/green%20apple?a=1&a=2",
        &[("x-client", "till"), ("x-kept", "yes"), ("te", "trailers"), ("content-type", "text/plain")],
        "1.20",
    )
    .await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let asked = json!({
        "method": "PUT", "uri": "/v1/fruit/green%20apple?a=1&a=2&stage=winter",
        "shop": "corner", "from": "till", "kept": "yes", "te": null, "body": "1.20",
    });
    assert_eq!(answer.json(), asked);
    assert_eq!(answer.header("x-upstream"), Some("yes"));
    assert_eq!(answer.header("www-authenticate"), None);
    assert_eq!(answer.header("x-amzn-remapped-www-authenticate"), Some("Basic"));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_network_error() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    let server = TestServerBuilder::app("shop")
        .argument("--parameter-overrides")
        .argument(&format!("PricesUrl=http://{closed}"))
        .start()
        .await;
    let expected = is(504, r#"{"message": "Network error communicating with endpoint"}"#);
    assert_eq!(said(&server, "GET", "/prices/1", &[], "").await, expected);
}

#[tokio::test]
async fn what_is_required_is_asked_for() {
    let server = shop().await;
    let expected = is(400, r#"{"message": "Missing required request parameters: [X-Client, q]"}"#);
    assert_eq!(said(&server, "GET", "/search/tea", &[], "").await, expected);
    let expected = is(400, r#"{"message": "Missing required request parameters: [X-Client]"}"#);
    assert_eq!(said(&server, "GET", "/search/tea?q=1", &[], "").await, expected);
    let found = get(&server, "/search/tea?q=1", &[("x-client", "till")]).await;
    assert_eq!(found.status, 200);
    assert_eq!(found.json()["query"], json!({"q": "1"}));
}

#[tokio::test]
async fn partners_have_keys_and_no_more_than_their_plan() {
    let server = shop().await;
    let forbidden = is(403, r#"{"message":"Forbidden"}"#);
    for headers in [&[][..], &[("x-api-key", "nobody")], &[("x-api-key", "closed-partner-0000000000")]] {
        assert_eq!(said(&server, "GET", "/partners", headers, "").await, forbidden, "{headers:?}");
    }
    let slow = [("x-api-key", "slow-partner-000000000000")];
    let small = [("x-api-key", "small-partner-00000000000")];
    assert_eq!(
        said(&server, "GET", "/winter/partners", &slow, "").await,
        forbidden,
        "its plan is for the other stage"
    );
    for (key, refused) in
        [(slow, r#"{"message":"Too Many Requests"}"#), (small, r#"{"message":"Limit Exceeded"}"#)]
    {
        let expected = is(200, &format!(r#"{{"key":"{}"}}"#, key[0].1));
        for _ in 0..2 {
            assert_eq!(said(&server, "GET", "/partners", &key, "").await, expected);
        }
        for _ in 0..2 {
            assert_eq!(said(&server, "GET", "/partners", &key, "").await, is(429, refused));
        }
    }

    // A stage's own limit, for one of its methods.
    for _ in 0..2 {
        assert_eq!(said(&server, "GET", "/rush", &[], "").await, is(200, ""));
    }
    let refused = get(&server, "/rush", &[]).await;
    assert_eq!((refused.status, refused.text()), (429, r#"{"message":"Too Many Requests"}"#));
    assert_eq!(refused.header("x-amzn-errortype"), Some("TooManyRequestsException"));
    for _ in 0..4 {
        assert_eq!(said(&server, "GET", "/winter/rush", &[], "").await, is(200, ""));
    }
}

#[tokio::test]
async fn a_path_is_open_for_one_method_and_not_for_another() {
    let server = shop().await;
    let unauthorized = is(401, r#"{"message":"Unauthorized"}"#);
    assert_eq!(said(&server, "POST", "/admin", &[], "").await, unauthorized);
    let keeper = [("x-user", "keeper-kim")];
    assert_eq!(said(&server, "POST", "/admin", &keeper, "").await, unauthorized, "no branch");
    assert_eq!(said(&server, "POST", "/admin?branch=", &keeper, "").await, unauthorized, "an empty one");
    assert_eq!(said(&server, "POST", "/admin?branch=1", &[], "").await, unauthorized, "no user");

    for _ in 0..2 {
        let answer = send(&server, "POST", "/admin?branch=1", &keeper, "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let mut authorizer = answer.json()["authorizer"].clone();
        let latency = authorizer.as_object_mut().unwrap().remove("integrationLatency");
        assert!(latency.is_some_and(|latency| latency.is_u64()));
        let expected = json!({"principalId": "keeper-kim", "asked": "1", "branch": "1", "good": "true"});
        assert_eq!(authorizer, expected, "asked once for the same identity");
    }
    let other = send(&server, "POST", "/admin?branch=2", &keeper, "").await.json();
    assert_eq!(other["authorizer"]["asked"], "2", "another branch is another identity");
    let winter = send(&server, "POST", "/winter/admin?branch=2", &keeper, "").await.json();
    assert_eq!(winter["authorizer"]["asked"], "3", "and so is another stage");

    let denied = send(&server, "POST", "/admin?branch=1", &[("x-user", "visitor")], "").await;
    let expected = r#"{"Message":"User is not authorized to access this resource with an explicit deny"}"#;
    assert_eq!((denied.status, denied.text()), (403, expected));
    assert_eq!(denied.header("access-control-allow-origin"), Some("*"), "DEFAULT_4XX");

    // The method that the path lacks goes to the path that has it.
    let open = get(&server, "/admin", &[]).await;
    assert_eq!((open.status, &open.json()["resource"]), (200, &json!("/{proxy+}")));
    let lost = send(&server, "POST", "/", &[], "").await;
    assert_eq!((lost.status, lost.text()), (404, MISSING), "a greedy variable is never empty");
    assert_eq!(lost.header("x-amzn-errortype"), Some("MissingAuthenticationTokenException"));
}

#[tokio::test]
async fn members_show_a_token_of_their_pool() {
    let server = shop().await;
    let claims = |more: Value| {
        let mut claims = json!({
            "iss": POOL, "aud": "client", "token_use": "id", "scope": null,
            "cognito:username": "kim", "cognito:groups": ["a", "b"], "email_verified": true,
        });
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        token(claims)
    };
    let unauthorized = is(401, r#"{"message":"Unauthorized"}"#);
    assert_eq!(said(&server, "GET", "/members", &[], "").await, unauthorized);
    for wrong in [json!({"exp": now() - 60}), json!({"iss": "https://elsewhere.example.com"})] {
        let token = claims(wrong);
        assert_eq!(
            said(&server, "GET", "/members", &[("authorization", &token)], "").await.0,
            401,
            "{token}"
        );
    }
    let good = claims(json!({}));
    let bare = good.strip_prefix("Bearer ").unwrap();
    for token in [good.as_str(), bare] {
        let member = get(&server, "/members", &[("authorization", token)]).await;
        assert_eq!(member.status, 200, "{member:?}");
        let member = member.json();
        let claims = &member["authorizer"]["claims"];
        assert_eq!((&claims["sub"], &claims["cognito:username"]), (&json!("kim"), &json!("kim")));
        assert_eq!((&claims["email_verified"], &claims["cognito:groups"]), (&json!("true"), &json!("a,b")));
        assert_eq!(claims["aud"], "client");
    }
}

#[tokio::test]
async fn an_integration_that_takes_too_long_is_left_alone() {
    let server = shop().await;
    let (gate, went_on) = (server.folder().join("open-slow"), server.folder().join("slow-went-on"));
    std::fs::write(&gate, "").unwrap();
    let in_time = server.until("/slow", |answer| answer.status == 200).await;
    assert_eq!(in_time.text(), "late");
    std::fs::remove_file(&gate).unwrap();
    std::fs::remove_file(&went_on).unwrap();
    let late = get(&server, "/slow", &[]).await;
    assert_eq!((late.status, late.text()), (504, r#"{"message": "Endpoint request timed out"}"#));
    assert!(!went_on.exists());
    std::fs::write(&gate, "").unwrap();
    eventually("the function goes on", || went_on.exists());
}

#[tokio::test]
async fn paths_heads_and_sizes() {
    let server = shop().await;
    let mut connection = Connection::open(&server.http);
    for (path, expected, proxy, full) in [
        ("/a%20b/c%2Fd", "/a%20b/c%2Fd", "a%20b/c%2Fd", "/summer/a%20b/c%2Fd"),
        ("/summer/a//b/", "/a//b/", "a//b", "/summer/a//b/"),
        ("/winter//a", "/a", "a", "/winter//a"),
        ("/%C3%A9?x=%C3%A9+%2B", "/%C3%A9", "%C3%A9", "/summer/%C3%A9"),
    ] {
        connection.send(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"));
        let answer = connection.answer();
        let echo: Value = serde_json::from_str(answer.text()).unwrap();
        assert_eq!((&echo["path"], &echo["full"]), (&json!(expected), &json!(full)), "{path}");
        assert_eq!(echo["parameters"]["proxy"], proxy, "{path}");
    }
    // The length of what GET would have sent, and nothing after it.
    connection.send("HEAD /a HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let head = connection.answer_without_body();
    assert_eq!((head.status, head.header("content-type")), (200, Some("application/json")));
    connection.send("GET /status/204 HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_eq!(connection.answer().status, 204, "right behind the answer to HEAD");

    let long = "x".repeat(10_241);
    let refused = get(&server, "/a", &[("x-long", &long)]).await;
    assert_eq!((refused.status, refused.text()), (431, r#"{"message":"Request Header Fields Too Large"}"#));
    assert_eq!(get(&server, "/a", &[("x-long", &long[..9_000])]).await.status, 200);
    for length in [10 * 1024 * 1024 + 1, 7 * 1024 * 1024] {
        let large = server.post("/a", "text/plain", vec![b'x'; length]).await;
        assert_eq!((large.status, large.text()), (413, r#"{"message":"Request Too Long"}"#), "{length}");
        assert_eq!(large.header("x-amzn-errortype"), Some("RequestTooLargeException"));
    }
}

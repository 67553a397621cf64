//! Three SAM applications, served as they are: a REST API with an authorizer and stage variables, an
//! HTTP API with JWT, function URLs with streaming. `cfn-lint` takes them too.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::harness::{Answer, TestServer, TestServerBuilder};
use crate::python_tools::python_tools;
use crate::raw_http::Connection;

pub async fn send(
    server: &TestServer,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut request = server.client.request(method.parse().unwrap(), format!("{}{path}", server.http));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if !body.is_empty() && !headers.iter().any(|(name, _)| *name == "content-type") {
        request = request.header("content-type", "text/plain");
    }
    server.send(request.body(body.to_owned())).await
}

pub async fn get(server: &TestServer, path: &str, headers: &[(&str, &str)]) -> Answer {
    send(server, "GET", path, headers, "").await
}

#[test]
fn the_templates_are_valid_for_aws() {
    let Some(tools) = python_tools("the_templates_are_valid_for_aws") else { return };
    let apps = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/apps");
    for app in std::fs::read_dir(apps).unwrap().map(|entry| entry.unwrap().path()) {
        let mut lint = tools.program("cfn-lint");
        let output =
            lint.args(["--regions", "us-east-1", "--"]).arg(app.join("template.yaml")).output().unwrap();
        assert!(output.status.success(), "{}\n{}", app.display(), String::from_utf8_lossy(&output.stdout));
    }
}

// ---- A REST API with an authorizer and stage variables

const READER: (&str, &str) = ("authorization", "Bearer reader");
const KEEPER: (&str, &str) = ("authorization", "Bearer keeper");

#[tokio::test]
async fn the_rest_application_serves_its_routes() {
    let server = TestServerBuilder::app("orders").start().await;
    let list = get(&server, "/orders", &[READER]).await;
    assert_eq!(list.status, 200, "{list:?}");
    let list = list.json();
    assert_eq!(list["user"], "user-reader");
    assert_eq!(list["role"], "reader");
    assert_eq!(list["greeting"], "Hello", "a stage variable that a parameter gives");
    assert_eq!(list["orders"].as_array().unwrap().len(), 2);

    let created = send(&server, "POST", "/prod/orders", &[KEEPER], r#"{"item": "salt"}"#).await;
    assert_eq!(
        (created.status, &created.json()["item"]),
        (201, &json!("salt")),
        "with the stage, as deployed"
    );
    assert_eq!(get(&server, "/orders/1", &[READER]).await.json(), json!({"id": "1", "item": "tea"}));
    assert_eq!(get(&server, "/orders/99", &[READER]).await.status, 404);

    let health = get(&server, "/health?a=1&a=2", &[]).await.json();
    assert_eq!((&health["stage"], &health["page_size"]), (&json!("prod"), &json!("50")));
    let event = &health["event"];
    assert_eq!(event["path"], "/health");
    assert_eq!(event["requestContext"]["path"], "/prod/health");
    assert_eq!(event["queryStringParameters"]["a"], "2");
    assert_eq!(event["multiValueQueryStringParameters"]["a"], json!(["1", "2"]));
    assert_eq!(event["stageVariables"], json!({"table": "orders", "greeting": "Hello"}));
    assert_eq!(event["body"], Value::Null);
    assert!(event.get("version").is_none());
}

#[tokio::test]
async fn the_rest_application_asks_its_authorizer() {
    let server = TestServerBuilder::app("orders").start().await;
    let missing = get(&server, "/orders", &[]).await;
    assert_eq!((missing.status, missing.text()), (401, r#"{"error":"Unauthorized"}"#), "a gateway response");
    assert_eq!(missing.header("www-authenticate"), Some("Bearer realm=orders"));
    assert_eq!(missing.header("x-amzn-errortype"), Some("UnauthorizedException"));

    let malformed = get(&server, "/orders", &[("authorization", "Bearer 123")]).await;
    assert_eq!(malformed.status, 401, "the validation expression does not fit");
    let refused = get(&server, "/orders", &[("authorization", "Bearer unknown")]).await;
    assert_eq!(refused.status, 401, "the authorizer raised Unauthorized");
    let broken = get(&server, "/orders", &[("authorization", "Bearer broken")]).await;
    assert_eq!(broken.status, 500, "{broken:?}");
    let denied = send(&server, "POST", "/orders", &[READER], "{}").await;
    assert_eq!(
        (denied.status, denied.text()),
        (403, r#"{"Message":"User is not authorized to access this resource"}"#),
        "a reader's policy names GET only"
    );
    let explicit = get(&server, "/orders", &[("authorization", "Bearer stranger")]).await;
    assert_eq!(explicit.status, 403);
    assert!(explicit.text().contains("with an explicit deny"), "{}", explicit.text());

    // Decisions are kept: the function is asked once for each token.
    let calls = |server: &TestServer| server.terminal().matches("invoke AuthorizerFunction").count();
    let before = calls(&server);
    for _ in 0..5 {
        assert_eq!(get(&server, "/orders", &[READER]).await.status, 200);
    }
    assert_eq!(calls(&server), before);
}

#[tokio::test]
async fn the_rest_application_answers_as_the_gateway_does() {
    let server = TestServerBuilder::app("orders").start().await;
    for path in ["/nothing", "/orders/1/2/3"] {
        let lost = get(&server, path, &[KEEPER]).await;
        assert_eq!(
            (lost.status, lost.text()),
            (403, r#"{"message":"Missing Authentication Token"}"#),
            "{path}"
        );
        assert_eq!(lost.header("x-amzn-errortype"), Some("MissingAuthenticationTokenException"));
    }
    let preflight = send(&server, "OPTIONS", "/orders", &[("origin", "http://shop.example.com")], "").await;
    assert_eq!(preflight.status, 200, "{preflight:?}");
    assert_eq!(preflight.header("access-control-allow-origin"), Some("http://shop.example.com"));
    assert_eq!(preflight.header("access-control-allow-methods"), Some("GET,POST,OPTIONS"));
    assert_eq!(preflight.header("access-control-allow-headers"), Some("authorization,content-type"));

    // Binary both ways, by binaryMediaTypes.
    let png = get(&server, "/orders/1/picture", &[("accept", "image/png")]).await;
    assert_eq!((png.status, png.body.as_slice()), (200, &b"\x89PNG\r\n\x1a\n"[..]));
    let text = get(&server, "/orders/1/picture", &[("accept", "text/html")]).await;
    assert_eq!(text.text(), "iVBORw0KGgo=", "whoever does not accept it gets the base64");
    let sent = send(&server, "POST", "/orders/1/picture", &[("content-type", "image/png")], "12345").await;
    assert_eq!(sent.json()["bytes"], 5);

    // Header names keep the client's spelling.
    let mut connection = Connection::open(&server.http);
    connection.send("GET /health HTTP/1.1\r\nhost: localhost\r\nX-MiXeD: one\r\nx-mixed: two\r\n\r\n");
    let event: Value = serde_json::from_str(connection.answer().text()).unwrap();
    let headers = &event["event"]["multiValueHeaders"];
    let spelled = headers.as_object().unwrap().keys().any(|name| name == "X-MiXeD");
    assert!(spelled, "{headers}");
}

#[tokio::test]
async fn parameters_and_variables_are_given_from_outside() {
    let server = TestServerBuilder::app("orders")
        .project_file("vars.json", r#"{"OrdersFunction": {"PAGE_SIZE": "7", "NOT_DECLARED": "x"}}"#)
        .argument("--parameter-overrides")
        .argument("StageName=test Greeting='Good day'")
        .argument("--env-vars")
        .argument("vars.json")
        .start()
        .await;
    let health = get(&server, "/health", &[]).await.json();
    assert_eq!((&health["stage"], &health["page_size"]), (&json!("test"), &json!("7")));
    assert_eq!(
        health["event"]["stageVariables"],
        json!({"table": "orders-test", "greeting": "Good day"}),
        "a condition decided otherwise"
    );
    assert_eq!(get(&server, "/test/health", &[]).await.status, 200);
}

#[tokio::test]
async fn a_template_is_deployed_when_it_is_saved() {
    let server = TestServerBuilder::app("orders").start().await;
    assert_eq!(get(&server, "/health", &[]).await.status, 200);
    let path = server.folder().join("template.yaml");
    let text = std::fs::read_to_string(&path).unwrap();

    server.write_project("template.yaml", &text.replace("Path: /health", "Path: /healthy"));
    assert_eq!(get(&server, "/healthy", &[]).await.status, 200, "the next request meets the new template");
    assert_eq!(get(&server, "/health", &[]).await.status, 403);

    server.write_project("template.yaml", &text.replace("Resources:", "Resources: ["));
    assert_eq!(get(&server, "/healthy", &[]).await.status, 200, "a broken one leaves what was there");
    let said = server.wait_for_terminal("goes on serving");
    assert!(said.contains("template.yaml"), "{said}");

    server.write_project(
        "template.yaml",
        &text.replace("PAGE_SIZE: !FindInMap [Limits, !Ref StageName, PageSize]", "PAGE_SIZE: '9'"),
    );
    assert_eq!(get(&server, "/health", &[]).await.json()["page_size"], "9", "a variable of the function");

    // And its code, of course.
    let code = server.folder().join("orders/app.py");
    let code = std::fs::read_to_string(&code).unwrap();
    for count in 0..20 {
        let status = 200 + count;
        server.write_project(
            "orders/app.py",
            &code.replace("answer(200, {\"stage\"", &format!("answer({status}, {{\"stage\"")),
        );
        assert_eq!(get(&server, "/health", &[]).await.status, status, "never stale");
    }
}

#[tokio::test]
async fn the_start_says_what_became_of_the_template() {
    let server = TestServerBuilder::app("orders").start().await;
    server.wait_for_terminal("OrdersApi (AWS::Serverless::Api): supported");
    server.wait_for_terminal("OrdersTable (AWS::Serverless::SimpleTable): ignored");
    let url = server.wait_for_stdout("/orders/{id}");
    assert!(url.contains("TokenAuthorizer"), "{url}");
}

// ---- An HTTP API with JWT

fn key_set() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/jwt/jwks.json");
    format!("https://issuer.example.com={}", path.display())
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A token with these claims in place of, or beside, good ones; null takes one away.
pub fn token(claims: Value) -> String {
    let mut all = json!({
        "iss": "https://issuer.example.com", "aud": "notes", "sub": "kim", "iat": now(), "exp": now() + 600,
        "scope": "notes.read notes.write"
    });
    for (name, value) in claims.as_object().unwrap() {
        all[name] = value.clone();
    }
    all.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    let key =
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/jwt/private.pem")).unwrap();
    let key = jsonwebtoken::EncodingKey::from_rsa_pem(&key).unwrap();
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256);
    header.kid = Some("tests".to_owned());
    format!("Bearer {}", jsonwebtoken::encode(&header, &all, &key).unwrap())
}

async fn notes() -> TestServer {
    TestServerBuilder::app("notes").argument("--jwks").argument(&key_set()).start().await
}

#[tokio::test]
async fn the_http_application_checks_tokens() {
    let server = notes().await;
    let good = token(json!({}));
    let good = [("authorization", good.as_str())];
    assert_eq!(send(&server, "PUT", "/notes/tea", &good, "buy some").await.status, 204);
    let note = get(&server, "/notes/tea", &good).await;
    assert_eq!((note.status, note.text()), (200, "buy some"));
    assert_eq!(note.header("set-cookie"), Some("last=tea"));

    let missing = get(&server, "/notes/tea", &[]).await;
    assert_eq!((missing.status, missing.text()), (401, r#"{"message":"Unauthorized"}"#));
    assert_eq!(missing.header("www-authenticate"), Some("Bearer"));
    for (claims, reason) in [
        (json!({"aud": "others"}), "audience"),
        (json!({"iss": "https://elsewhere.example.com"}), "issuer"),
        (json!({"exp": now() - 3600}), "expired"),
        (json!({"nbf": now() + 3600}), ""),
        (json!({"exp": null}), ""),
    ] {
        let bad = token(claims.clone());
        let answer = get(&server, "/notes/tea", &[("authorization", &bad)]).await;
        assert_eq!((answer.status, answer.text()), (401, r#"{"message":"Unauthorized"}"#), "{claims}");
        let told = answer.header("www-authenticate").unwrap();
        assert!(told.starts_with("Bearer") && told.contains(reason), "{claims}: {told}");
    }
    let mut forged = token(json!({"sub": "lee"}));
    let signature = good[0].1.rsplit('.').next().unwrap();
    forged.truncate(forged.rfind('.').unwrap() + 1);
    forged.push_str(signature);
    assert_eq!(get(&server, "/notes/tea", &[("authorization", &forged)]).await.status, 401);

    let narrow = token(json!({"scope": "notes.read"}));
    let answer = send(&server, "PUT", "/notes/tea", &[("authorization", &narrow)], "").await;
    assert_eq!((answer.status, answer.text()), (403, r#"{"message":"Forbidden"}"#));
    // Another user has other notes.
    let other = token(json!({"sub": "lee"}));
    assert_eq!(get(&server, "/notes/tea", &[("authorization", &other)]).await.status, 404);
}

#[tokio::test]
async fn the_http_application_has_both_payloads() {
    let server = notes().await;
    let event = send(&server, "POST", "/open/a/b?x=1&x=2", &[("cookie", "a=1; b=2")], "hi").await.json();
    assert_eq!(event["version"], "2.0");
    assert_eq!(event["routeKey"], "ANY /open/{proxy+}");
    assert_eq!(event["pathParameters"]["proxy"], "a/b");
    assert_eq!(event["queryStringParameters"]["x"], "1,2");
    assert_eq!(event["cookies"], json!(["a=1", "b=2"]));
    assert_eq!(event["stageVariables"], json!({"tier": "gold"}));
    assert!(event["requestContext"].get("authorizer").is_none());

    let event = send(&server, "POST", "/old?x=1&x=2", &[("cookie", "a=1")], "hi").await.json();
    assert_eq!(event["version"], "1.0");
    assert_eq!(event["resource"], "/old");
    assert_eq!(event["queryStringParameters"]["x"], "2");
    assert_eq!(event["headers"]["cookie"], "a=1");
    assert_eq!(event["requestContext"]["authorizer"], json!({"claims": null, "scopes": null}));
    let lost = get(&server, "/elsewhere", &[]).await;
    assert_eq!((lost.status, lost.text()), (404, r#"{"message":"Not Found"}"#));
}

#[tokio::test]
async fn the_http_application_answers_other_origins() {
    let server = notes().await;
    let origin = ("origin", "http://notes.example.com");
    let asked = [origin, ("access-control-request-method", "PUT")];
    let preflight = send(&server, "OPTIONS", "/notes/tea", &asked, "").await;
    assert_eq!(preflight.status, 204, "{preflight:?}");
    assert_eq!(preflight.header("access-control-allow-origin"), Some("http://notes.example.com"));
    assert_eq!(preflight.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(preflight.header("access-control-max-age"), Some("600"));
    let foreign = [("origin", "http://evil.example.com"), ("access-control-request-method", "PUT")];
    let answer = send(&server, "OPTIONS", "/notes/tea", &foreign, "").await;
    assert_eq!(answer.header("access-control-allow-origin"), None);

    let good = token(json!({}));
    let good = [("authorization", good.as_str()), origin];
    send(&server, "PUT", "/notes/tea", &good, "x").await;
    let note = get(&server, "/notes/tea", &good).await;
    let allowed = note.headers.get_all("access-control-allow-origin").iter().count();
    assert_eq!(note.header("access-control-allow-origin"), Some("http://notes.example.com"));
    assert_eq!(allowed, 1, "the function's own `*` is replaced");
}

#[tokio::test]
async fn somebody_else_can_be_acted_as() {
    let server = TestServerBuilder::app("notes")
        .argument("--act-as")
        .argument(r#"{"sub": "kim", "scope": "notes.read notes.write"}"#)
        .start()
        .await;
    assert_eq!(send(&server, "PUT", "/notes/tea", &[], "x").await.status, 204);
    assert_eq!(get(&server, "/notes/tea", &[]).await.text(), "x");
    let line = server.wait_for_terminal("GET /notes/tea 200");
    assert!(line.contains("--act-as"), "said loudly: {line}");
}

// ---- Function URLs

#[tokio::test]
async fn a_function_url_streams_while_the_handler_runs() {
    let server = TestServerBuilder::app("report").start().await;
    let flag = server.folder().join("go-on");
    let mut connection = Connection::open(&server.http);
    let path = format!("/?wait={}", flag.display());
    connection.send(format!("GET {path} HTTP/1.1\r\nHost: ReportFunction.lambda-url.localhost\r\n\r\n"));
    let head = connection.answer_without_body();
    assert_eq!(head.status, 201);
    assert_eq!(head.header("x-report"), Some("yes"));
    assert_eq!(head.header("set-cookie"), Some("seen=1"));
    assert_eq!(head.header("transfer-encoding"), Some("chunked"));
    assert_eq!(connection.chunk().unwrap(), b"first line\n", "while the handler waits");
    std::fs::write(&flag, "").unwrap();
    assert_eq!(connection.chunk().unwrap(), b"last line\n");
    assert_eq!(connection.chunk(), None, "an end that is marked as one");
}

#[tokio::test]
async fn function_urls_have_addresses_and_answers_of_their_own() {
    let server = TestServerBuilder::app("report").start().await;
    let answer = server.get_at("summaryfunction.lambda-url.localhost", "/a%20b").await;
    assert_eq!((answer.status, answer.text()), (200, r#"{"lines":2,"path":"/a%20b"}"#));
    let answer = server.get("/_aws/lambda-url/SummaryFunction/x").await;
    assert_eq!(answer.json()["path"], "/x");
    let unknown = server.get_at("nobody.lambda-url.localhost", "/").await;
    assert_eq!((unknown.status, unknown.text()), (403, r#"{"Message":null}"#));
    assert_eq!(unknown.header("x-amzn-errortype"), Some("AccessDeniedException"));
    let private = server.get_at("privatefunction.lambda-url.localhost", "/").await;
    assert_eq!(private.status, 403, "unsigned: {private:?}");
    assert!(private.text().starts_with(r#"{"Message":"Forbidden"#), "{}", private.text());
}

#[tokio::test]
async fn a_signed_request_passes() {
    let Some(tools) = python_tools("a_signed_request_passes") else { return };
    let server = TestServerBuilder::app("report")
        .project_file(
            "credentials",
            "[kim]\naws_access_key_id = AKIAEXAMPLEEXAMPLE00\naws_secret_access_key = secret\n",
        )
        .argument("--credentials")
        .argument("credentials")
        .start()
        .await;
    let script = r#"
import sys, urllib.request, urllib.error
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
url, secret = sys.argv[1:]
request = AWSRequest("POST", url + "/a?b=1&a=x%20y", data=b"body", headers={"Host": "privatefunction.lambda-url.localhost"})
SigV4Auth(Credentials("AKIAEXAMPLEEXAMPLE00", secret), "lambda", "us-east-1").add_auth(request)
sent = urllib.request.Request(request.url, data=b"body", headers=dict(request.headers), method="POST")
try:
    print(200, urllib.request.urlopen(sent).read().decode())
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
"#;
    let run = |secret: &str| {
        let output = tools.program("python").args(["-c", script, &server.http, secret]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let told = run("secret");
    let (status, body) = told.trim().split_once(' ').unwrap();
    assert_eq!(status, "200", "{told}");
    let user: Value = serde_json::from_str(body).unwrap();
    assert_eq!(user["accessKey"], "AKIAEXAMPLEEXAMPLE00");
    assert_eq!(user["userArn"], "arn:aws:iam::123456789012:user/kim");
    assert!(run("other").starts_with("403"));
}

//! Tests: whole events, compared byte for byte with `tests/fixtures/events/golden/`, and what tests of
//! payloads have in common.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use http::{Request as HttpRequest, Response};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::Site;
use super::super::address::{Asked, Directory, Located};
use super::super::request::{AcceptedKey, Caller, IamUser, Identity, Matched, Request};
use super::result::Malformed;
use crate::api::{Api, Domain, Integration, Kind, PayloadVersion, Route, Stage, TargetGroup};
use crate::config::Access;
use crate::http::{Encryption, Peer, Spelling};
use crate::invocation::TraceId;

const API_HOST: &str = "a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com";
const URL_HOST: &str = "abcdefghijklmnopqrstuvwxyz012345.lambda-url.eu-west-1.on.aws";
const INVOCATION: &str = "c8f4a1de-2b77-4a53-9d7f-0e5a6c1b9d20";

/// A request as it stands on the wire.
pub fn request(raw: &str) -> Request {
    let (head, body) = raw.split_once("\r\n\r\n").unwrap();
    let mut lines = head.split("\r\n");
    let mut first = lines.next().unwrap().split(' ');
    let mut request = HttpRequest::builder().method(first.next().unwrap()).uri(first.next().unwrap());
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        request = request.header(name, value);
    }
    let (mut parts, ()) = request.body(()).unwrap().into_parts();
    parts.extensions.insert(Peer(SocketAddr::from(([203, 0, 113, 10], 40_000))));
    parts.extensions.insert(Spelling::for_test(format!("{head}\r\n\r\n").leak().as_bytes()));
    let mut request = Request::new(parts, Bytes::copy_from_slice(body.as_bytes()));
    request.received = jiff::Timestamp::from_millisecond(1_764_025_920_123).unwrap();
    request
}

/// Status, words, sorted headers and body in one line; or the first line of what is wrong.
pub fn describe(response: Result<Response<Body>, Malformed>) -> String {
    let response = match response {
        Ok(response) => response,
        Err(malformed) => return malformed.to_string().lines().next().unwrap_or_default().to_owned(),
    };
    let mut text = response.status().as_u16().to_string();
    if let Some(words) = crate::http::reason(&response) {
        text = format!("{text} {words}");
    }
    let headers = response.headers().iter();
    let mut headers: Vec<String> =
        headers.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    headers.sort_by(|a, b| a.split(':').next().cmp(&b.split(':').next()));
    let body = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(axum::body::to_bytes(response.into_body(), usize::MAX))
        .unwrap();
    format!("{text} {} | {}", headers.join("; "), String::from_utf8(body.to_vec()).unwrap())
}

pub fn site() -> Site {
    Site {
        account: "123456789012".to_owned(),
        region: "eu-west-1".to_owned(),
        port: 443,
        tls: true,
        access: Access::default(),
    }
}

fn api(kind: Kind, stage: &str, key: &str) -> Api {
    let id = if kind == Kind::FunctionUrl { URL_HOST.split('.').next().unwrap() } else { "a1b2c3d4e5" };
    let mut api = Api::new(id, "Shop", kind);
    api.stages.push(Stage::named(stage));
    let (method, path) = key.split_once(' ').unwrap_or(("ANY", key));
    let mut route = Route::new(method, path, Integration::function("f", PayloadVersion::V2));
    route.target_group = (kind == Kind::LoadBalancer).then(|| TargetGroup {
        name: "orders".to_owned(),
        arn: "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/orders/6d0ecf831eec9f09"
            .to_owned(),
        multi_value_headers: false,
    });
    api.routes.push(route);
    api
}

fn with_tier(mut api: Api) -> Api {
    api.stages[0].variables.insert("tier".to_owned(), "gold".to_owned());
    api
}

fn matched(api: Api, request: &Request) -> Matched {
    let host = match api.kind {
        // Nothing in its name says that it is one.
        Kind::LoadBalancer => "shop.elb.localhost".to_owned(),
        _ => request.host().into_owned(),
    };
    let asked =
        Asked { method: request.head.method.as_str(), host: &host, path: request.path(), upgrade: false };
    match Directory::new(&[Arc::new(api)]).locate(asked) {
        Ok(Located::Route(matched)) => matched,
        _ => panic!("{} leads nowhere", request.head.uri),
    }
}

/// The event of this request to this API.
fn event(api: Api, version: PayloadVersion, request: &Request, caller: &Caller) -> String {
    let matched = matched(api, request);
    String::from_utf8(super::event(request, &matched, version, caller, &site(), INVOCATION)).unwrap()
}

struct Ids {
    id: &'static str,
    uuid: &'static str,
}

/// `curl` asks.
fn curl(line: &str, host: &str, more: &str, body: &str, ids: Ids) -> Request {
    let raw = format!(
        "{line} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n{more}\r\n{body}"
    );
    let mut request = request(&raw);
    request.trace = TraceId {
        root: "1-6924e640-1f2e3d4c5b6a79880a1b2c3d".to_owned(),
        parent: "0".repeat(16),
        lineage: None,
    };
    request.id = ids.id.to_owned();
    request.uuid = ids.uuid.to_owned();
    request.head.extensions.insert(Encryption {
        version: "TLSv1.3".to_owned(),
        cipher_suite: "TLS_AES_128_GCM_SHA256".to_owned(),
    });
    request
}

fn expect(fixture: &str, event: &str) {
    let path = format!("{}/tests/fixtures/events/golden/{fixture}.json", env!("CARGO_MANIFEST_DIR"));
    let wanted = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut event: Value = serde_json::from_str(event).unwrap();
    let context = &mut event["requestContext"];
    let (resource, deployment) = (context.get("resourceId").cloned(), context.get("deploymentId").cloned());
    if let (Some(Value::String(resource)), Some(Value::String(deployment))) = (resource, deployment) {
        for (name, id) in [("resourceId", resource), ("deploymentId", deployment)] {
            assert!(
                id.len() == 6 && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()),
                "{id}"
            );
            context[name] = "SIX_LT".into();
        }
    }
    let event = serde_json::to_string_pretty(&event).unwrap() + "\n";
    assert!(event == wanted, "--- event\n{event}--- {fixture}.json\n{wanted}");
}

const JSON: &str = "Content-Type: application/json\r\nContent-Length: 15\r\n";
const TEA: &str = r#"{"name": "tea"}"#;

#[test]
fn rest() {
    let request = curl(
        "POST /prod/items/a%2Bb/c?tag=red&tag=blue%20sky&page=2",
        API_HOST,
        "authorization: Bearer abc\r\nCONTENT-TYPE: application/json\r\nContent-Length: 17\r\n\
         Connection: keep-alive\r\nTE: trailers\r\nExpect: 100-continue\r\n\
         x-MiXeD: first\r\nX-mIxEd: second\r\n",
        r#"{"name": "café"}"#,
        Ids { id: "Ug0hqHkYDoEFb_A=", uuid: "3b5f6d3e-0a0e-4a6c-9a45-3f1a8f0b7c11" },
    );
    let api = with_tier(api(Kind::Rest, "prod", "ANY /items/{proxy+}"));
    expect("rest", &event(api, PayloadVersion::V1, &request, &Caller::default()));
}

#[test]
fn rest_minimal() {
    let ids = Ids { id: "Ug0hqHkYDoEFb-B=", uuid: "77b1f9d0-54ab-4f6e-8a05-2cf0b6d0e9aa" };
    let request = curl("GET /prod/health", API_HOST, "", "", ids);
    let api = api(Kind::Rest, "prod", "GET /health");
    expect("rest-minimal", &event(api, PayloadVersion::V1, &request, &Caller::default()));
}

#[test]
fn http_v1() {
    let more = format!("{JSON}Cookie: session=abc123; theme=dark\r\nX-MiXeD: first\r\nx-mixed: second\r\n");
    let line = "POST /items/%37?tag=red&tag=blue%20sky&page=2";
    let request = curl(line, API_HOST, &more, TEA, Ids { id: "Ug0hqHkYDoEFb_F=", uuid: "" });
    let api = api(Kind::Http, "$default", "POST /items/{id}");
    expect("http-v1", &event(api, PayloadVersion::V1, &request, &Caller::default()));
}

#[test]
fn http_v2() {
    let more = format!("{JSON}Cookie: session=abc123; theme=dark\r\nX-MiXeD: first\r\nx-mixed: second\r\n");
    let line = "POST /items/blue%20sky?tag=red&tag=blue%20sky&page=2";
    let request = curl(line, API_HOST, &more, TEA, Ids { id: "Ug0hqHkYDoEFb_A=", uuid: "" });
    let api = with_tier(api(Kind::Http, "$default", "POST /items/{id}"));
    expect("http-v2", &event(api, PayloadVersion::V2, &request, &Caller::default()));
}

#[test]
fn http_v2_minimal() {
    let request = curl("GET /dev/health", API_HOST, "", "", Ids { id: "Ug0hqHkYDoEFb_C=", uuid: "" });
    let api = api(Kind::Http, "dev", "$default");
    expect("http-v2-minimal", &event(api, PayloadVersion::V2, &request, &Caller::default()));
}

#[test]
fn http_v2_form() {
    let more = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 15\r\n";
    let ids = Ids { id: "Ug0hqHkYDoEFb_D=", uuid: "" };
    let request = curl("POST /form", API_HOST, more, "name=tea&size=2", ids);
    let api = api(Kind::Http, "$default", "POST /form");
    expect("http-v2-form-base64", &event(api, PayloadVersion::V2, &request, &Caller::default()));
}

#[test]
fn http_v2_jwt() {
    let more = "Authorization: Bearer eyJhbGciOi...\r\n";
    let request = curl("GET /me", API_HOST, more, "", Ids { id: "Ug0hqHkYDoEFb_E=", uuid: "" });
    let Value::Object(claims) = json!({
        "iss": "https://issuer.example.com", "sub": "user-1", "aud": "web", "exp": "1764029520",
        "iat": "1764025920", "email_verified": "true", "groups": "[admin poweruser]",
        "scope": "items/read items/write",
    }) else {
        unreachable!()
    };
    let scopes = Some(vec!["items/read".to_owned(), "items/write".to_owned()]);
    let caller = Caller { identity: Identity::Jwt { claims, scopes }, ..Caller::default() };
    let api = api(Kind::Http, "$default", "GET /me");
    expect("http-v2-jwt", &event(api, PayloadVersion::V2, &request, &caller));
}

#[test]
fn function_url() {
    let more = format!("{JSON}Cookie: session=abc123\r\n");
    let ids = Ids { id: "", uuid: INVOCATION };
    let request = curl("POST /items/a%20b?tag=red&tag=blue%20sky", URL_HOST, &more, TEA, ids);
    let api = api(Kind::FunctionUrl, "$default", "$default");
    expect("function-url", &event(api, PayloadVersion::V2, &request, &Caller::default()));
}

fn developer() -> Caller {
    let user = IamUser {
        access_key: "AKIAEXAMPLEKEY".to_owned(),
        account_id: "123456789012".to_owned(),
        user_id: "AIDAEXAMPLEID".to_owned(),
        user_arn: "arn:aws:iam::123456789012:user/dev".to_owned(),
    };
    Caller { identity: Identity::Iam(user), ..Caller::default() }
}

#[test]
fn function_url_iam() {
    let request = curl("GET /", URL_HOST, "", "", Ids { id: "", uuid: "" });
    let api = api(Kind::FunctionUrl, "$default", "$default");
    let event = event(api, PayloadVersion::V2, &request, &developer());
    expect("function-url-iam", &event.replace(INVOCATION, "0a6f3f0b-92f8-4c35-8b64-7c0f0ad0f6c2"));
}

const BALANCER_HOST: &str = "lb-1234567890.eu-west-1.elb.amazonaws.com";

fn at_port_80(api: Api, request: &Request) -> String {
    let matched = matched(api, request);
    let site = Site { port: 80, tls: false, ..site() };
    let event = super::event(request, &matched, PayloadVersion::V1, &Caller::default(), &site, INVOCATION);
    String::from_utf8(event).unwrap()
}

#[test]
fn load_balancer() {
    let more = "Accept-Encoding: gzip\r\nConnection: keep-alive\r\n";
    let ids = Ids { id: "", uuid: "" };
    let request = curl("GET /items/a%20b?tag=red&tag=blue%20sky", BALANCER_HOST, more, "", ids);
    expect("load-balancer", &at_port_80(api(Kind::LoadBalancer, "$default", "ANY /items/*"), &request));
}

#[test]
fn load_balancer_multi_value() {
    let more = format!("Accept-Encoding: gzip\r\n{JSON}");
    let ids = Ids { id: "", uuid: "" };
    let request = curl("POST /items?tag=red&tag=blue%20sky", BALANCER_HOST, &more, TEA, ids);
    let mut api = api(Kind::LoadBalancer, "$default", "ANY *");
    api.routes[0].target_group.as_mut().unwrap().multi_value_headers = true;
    expect("load-balancer-multi-value", &at_port_80(api, &request));
}

// ---- What no golden file has

fn rest_event(line: &str, more: &str, body: &str, change: impl FnOnce(&mut Api), caller: &Caller) -> Value {
    let mut api = api(Kind::Rest, "stage", "ANY /{proxy+}");
    change(&mut api);
    let host = api.domains.first().map_or(API_HOST.to_owned(), |domain| domain.host.clone());
    let request = curl(line, &host, more, body, Ids { id: "i", uuid: "u" });
    serde_json::from_str(&event(api, PayloadVersion::V1, &request, caller)).unwrap()
}

#[test]
fn rest_paths_are_raw() {
    for (path, event_path, proxy, context_path) in [
        ("/stage/a//b", "/a//b", "a//b", "/stage/a//b"),
        ("/stage//a", "/a", "a", "/stage//a"),
        ("/stage/a/", "/a/", "a", "/stage/a/"),
        (
            "/stage/test%2Balias@x.com",
            "/test%2Balias@x.com",
            "test%2Balias@x.com",
            "/stage/test%2Balias@x.com",
        ),
    ] {
        let event = rest_event(&format!("GET {path}"), "", "", |_| {}, &Caller::default());
        assert_eq!(
            (&event["path"], &event["pathParameters"]["proxy"], &event["requestContext"]["path"]),
            (&event_path.into(), &proxy.into(), &context_path.into())
        );
    }
    let at_domain = |api: &mut Api| {
        api.domains.push(Domain {
            host: "shop.example.com".into(),
            base_path: "v1".into(),
            stage: "stage".into(),
        });
    };
    let event = rest_event("GET /v1/a", "", "", at_domain, &Caller::default());
    let context = &event["requestContext"];
    assert_eq!(
        [&event["path"], &context["path"], &context["domainName"], &context["domainPrefix"]],
        ["/v1/a", "/v1/a", "shop.example.com", "shop"]
    );
}

#[test]
fn rest_bodies_are_text_unless_the_api_says_binary() {
    for (content_type, patterns, expected) in [
        ("image/png", &["image/*"][..], json!(["YWJj", true])),
        ("image/png; a=b", &["image/png"], json!(["YWJj", true])),
        ("image/png", &[], json!(["abc", false])),
        ("*/*", &["image/png"], json!(["abc", false])),
        ("application/json", &["*/*"], json!(["YWJj", true])),
    ] {
        let binary = |api: &mut Api| {
            api.binary_media_types = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        };
        let more = format!("Content-Type: {content_type}\r\n");
        let event = rest_event("POST /stage/a", &more, "abc", binary, &Caller::default());
        assert_eq!(json!([event["body"], event["isBase64Encoded"]]), expected, "{content_type}");
        let event = rest_event("POST /stage/a", &more, "", binary, &Caller::default());
        assert_eq!(json!([event["body"], event["isBase64Encoded"]]), json!([null, false]), "{content_type}");
    }
}

#[test]
fn rest_tells_who_asks() {
    let named = |api: &mut Api| api.routes[0].operation_name = Some("listItems".to_owned());
    let key = AcceptedKey { id: "k1k1k1k1k1".to_owned(), value: "secret-secret-secret".to_owned() };
    let caller = Caller { api_key: Some(key), ..developer() };
    let context = rest_event("GET /stage/a", "", "", named, &caller)["requestContext"].clone();
    assert_eq!(context["operationName"], "listItems");
    assert_eq!(context.get("authorizer"), None);
    assert_eq!(
        context["identity"].to_string(),
        r#"{"accessKey":"AKIAEXAMPLEKEY","accountId":"123456789012","apiKey":"secret-secret-secret","apiKeyId":"k1k1k1k1k1","caller":"AIDAEXAMPLEID","cognitoAuthenticationProvider":null,"cognitoAuthenticationType":null,"cognitoIdentityId":null,"cognitoIdentityPoolId":null,"principalOrgId":null,"sourceIp":"203.0.113.10","user":"AIDAEXAMPLEID","userAgent":"curl/8.5.0","userArn":"arn:aws:iam::123456789012:user/dev"}"#
    );
    let identity =
        Identity::Lambda { principal_id: Some("p".into()), context: Default::default(), latency: 5 };
    let caller = Caller { identity, ..Caller::default() };
    let context = rest_event("GET /stage/a", "", "", |_| {}, &caller)["requestContext"].clone();
    assert_eq!(context["authorizer"], json!({"principalId": "p", "integrationLatency": 5}));
    let keys: Vec<&str> = context.as_object().unwrap().keys().map(String::as_str).take(3).collect();
    assert_eq!(keys, ["resourceId", "authorizer", "resourcePath"]);
}

#[test]
fn names_without_a_known_spelling_are_in_lower_case() {
    let mut request = curl("GET /prod/health", API_HOST, "X-Mine: 1\r\n", "", Ids { id: "i", uuid: "u" });
    request.head.extensions.remove::<Spelling>();
    let event =
        event(api(Kind::Rest, "prod", "GET /health"), PayloadVersion::V1, &request, &Caller::default());
    let event: Value = serde_json::from_str(&event).unwrap();
    let names: Vec<&str> = event["headers"].as_object().unwrap().keys().map(String::as_str).collect();
    let known = ["X-Amzn-Trace-Id", "X-Forwarded-For", "X-Forwarded-Port", "X-Forwarded-Proto"];
    assert_eq!(names, [&["Accept", "Host", "User-Agent"][..], &known, &["x-mine"]].concat());
}

#[test]
fn a_stage_is_in_the_path_of_http_apis_and_a_base_path_only_in_format_1() {
    let mut at_domain = api(Kind::Http, "dev", "GET /a b");
    at_domain.domains.push(Domain {
        host: "shop.example.com".into(),
        base_path: "v1".into(),
        stage: "dev".into(),
    });
    for (api, host, path, v1, v2) in [
        (api(Kind::Http, "dev", "GET /a b"), API_HOST, "/dev/a%20b", "/dev/a b", "/dev/a b"),
        (at_domain, "shop.example.com", "/v1/a%20b", "/v1/a b", "/a b"),
    ] {
        let request = curl(&format!("GET {path}"), host, "", "", Ids { id: "i", uuid: "u" });
        let first: Value =
            serde_json::from_str(&event(api.clone(), PayloadVersion::V1, &request, &Caller::default()))
                .unwrap();
        let second: Value =
            serde_json::from_str(&event(api, PayloadVersion::V2, &request, &Caller::default())).unwrap();
        assert_eq!(
            [&first["path"], &first["requestContext"]["path"], &second["rawPath"]],
            [v1, v1, v2],
            "{host}"
        );
        assert_eq!(second["requestContext"]["http"]["path"], v2);
    }
}

#[test]
fn a_load_balancer_is_part_of_the_clients_trace() {
    let more = "X-Amzn-Trace-Id: Root=1-6924e640-000000000000000000000000\r\nX-Forwarded-For: 198.51.100.7\r\n\
                Content-Encoding: gzip\r\nContent-Type: text/plain\r\n";
    let raw = format!("POST / HTTP/1.1\r\nHost: a\r\n{more}\r\nabc");
    let event: Value =
        serde_json::from_str(&at_port_80(api(Kind::LoadBalancer, "$default", "ANY *"), &request(&raw)))
            .unwrap();
    let trace = event["headers"]["x-amzn-trace-id"].as_str().unwrap();
    assert!(trace.starts_with("Self=1-6924e640-"), "{trace}");
    assert!(trace.ends_with(";Root=1-6924e640-000000000000000000000000"), "{trace}");
    assert_eq!(event["headers"]["x-forwarded-for"], "198.51.100.7, 203.0.113.10");
    assert_eq!(event["queryStringParameters"], json!({}));
    // Compressed bytes are no text, whatever they were before.
    assert_eq!(json!([event["body"], event["isBase64Encoded"]]), json!(["YWJj", true]));
}

proptest! {
    /// Whatever a client sends, each kind makes JSON of it.
    #[test]
    fn every_request_has_an_event(
        path in "/[!-~&&[^?#\"<>`{}|\\\\^]]{0,40}",
        query in "[!-~&&[^#\"<>]]{0,60}",
        names in proptest::collection::vec("[A-Za-z][A-Za-z0-9-]{0,12}", 0..6),
        value in proptest::collection::vec(0x20u8..=0xff, 0..30).prop_map(|bytes| {
            bytes.into_iter().filter(|byte| *byte != 0x7f).collect::<Vec<u8>>()
        }),
        body in proptest::collection::vec(any::<u8>(), 0..80),
        content_type in prop_oneof![Just("text/plain"), Just("application/json"), Just("image/png"), Just("")],
    ) {
        let Ok(uri) = format!("{path}?{query}").parse::<http::Uri>() else { return Ok(()) };
        for kind in [Kind::Rest, Kind::Http, Kind::FunctionUrl, Kind::LoadBalancer] {
            for version in [PayloadVersion::V1, PayloadVersion::V2] {
                let mut head = HttpRequest::builder().uri(uri.clone()).header("content-type", content_type);
                for name in &names {
                    head = head.header(name, &value[..]);
                }
                let (head, ()) = head.body(()).unwrap().into_parts();
                let request = Request::new(head, Bytes::from(body.clone()));
                let matched = Matched {
                    api: Arc::new(api(kind, "s", "ANY /{proxy+}")),
                    stage: 0,
                    route: 0,
                    path: path.clone(),
                    full_path: path.clone(),
                    parameters: vec![("proxy".to_owned(), path.clone())],
                    custom_domain: false,
                };
                let event = super::event(&request, &matched, version, &Caller::default(), &site(), "i");
                let event: Value = serde_json::from_slice(&event).unwrap();
                prop_assert!(event["isBase64Encoded"].is_boolean());
                prop_assert_eq!(event.get("body").is_some_and(|body| body.as_str() != Some("") && !body.is_null()), !body.is_empty());
            }
        }
    }

    /// Whatever a function returns is a response or a reason, never a panic.
    #[test]
    fn every_result_has_an_answer(
        result in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..60).boxed(),
            ("(statusCode|headers|body|cookies|multiValueHeaders|isBase64Encoded|x)", "(200|\"204\"|-1|null|true|\\[\"a\"\\]|\\{\"a\":\"b\"\\}|\\{\"a\":\\[1\\]\\}|\"t\")", "(200|99|\"x\"|418)")
                .prop_map(|(key, value, status)| format!(r#"{{"statusCode":{status},"{key}":{value}}}"#).into_bytes())
                .boxed(),
        ],
    ) {
        let request = request("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        for kind in [Kind::Rest, Kind::Http, Kind::FunctionUrl, Kind::LoadBalancer] {
            let matched = Matched {
                api: Arc::new(api(kind, "s", "ANY /")),
                stage: 0,
                route: 0,
                path: "/".to_owned(),
                full_path: "/".to_owned(),
                parameters: Vec::new(),
                custom_domain: false,
            };
            for version in [PayloadVersion::V1, PayloadVersion::V2] {
                if let Ok(response) = super::response(result.clone(), &request, &matched, version) {
                    prop_assert!(response.status().as_u16() >= 200);
                    prop_assert!(response.headers().contains_key("content-type"));
                }
            }
        }
    }
}

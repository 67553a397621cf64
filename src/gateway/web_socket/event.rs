//! The events of `$connect`, of messages and of `$disconnect`.

use serde_json::{Map, Value, json};

use super::super::Site;
use super::super::payload::{fields, query};
use super::super::request::{Caller, Identity, Matched, Request, new_id};

/// What all events of a connection say about it.
#[derive(Debug, Clone)]
pub struct Client {
    /// 15 characters and `=`.
    pub id: String,
    pub connected_at: jiff::Timestamp,
    /// As in the Host of the request that opened it: with the port, so that
    /// `https://{domainName}/{stage}` leads back here.
    pub domain: String,
    pub source_ip: String,
    pub user_agent: String,
    /// Whom the authorizer of `$connect` found; every event repeats it.
    pub caller: Caller,
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    pub code: u16,
    pub reason: String,
}

pub fn connect(request: &Request, matched: &Matched, client: &Client, site: &Site) -> Map<String, Value> {
    // Names as the client spelled them.
    let headers = fields::as_spelled(request, site);
    let mut event = Map::new();
    event.insert("headers".into(), fields::last(&headers).into());
    event.insert("multiValueHeaders".into(), fields::all(&headers).into());
    let mut last = query::last(query::decoded(request.query()));
    if !last.is_empty() {
        let mut all = query::all(query::decoded(request.query()));
        last.sort_keys();
        all.sort_keys();
        event.insert("queryStringParameters".into(), last.into());
        event.insert("multiValueQueryStringParameters".into(), all.into());
    }
    add_stage_variables(&mut event, matched);
    let context = context(request, matched, client, "CONNECT", Map::new());
    event.insert("requestContext".into(), context);
    event.insert("isBase64Encoded".into(), false.into());
    event
}

pub fn message(request: &Request, matched: &Matched, client: &Client, body: &str) -> Vec<u8> {
    let mut event = Map::new();
    add_stage_variables(&mut event, matched);
    let special = Map::from_iter([("messageId".to_owned(), new_id().into())]);
    event.insert("requestContext".into(), context(request, matched, client, "MESSAGE", special));
    event.insert("body".into(), body.into());
    event.insert("isBase64Encoded".into(), false.into());
    bytes(&event)
}

pub fn disconnect(request: &Request, matched: &Matched, client: &Client, end: &End) -> Vec<u8> {
    let headers = [("Host", client.domain.as_str()), ("x-api-key", ""), ("X-Forwarded-For", "")];
    let headers = headers.into_iter().chain([("x-restapi", "")]);
    let mut event = Map::new();
    let single = headers.clone().map(|(name, value)| (name.to_owned(), value.into()));
    event.insert("headers".into(), Value::Object(single.collect()));
    let multiple = headers.map(|(name, value)| (name.to_owned(), json!([value])));
    event.insert("multiValueHeaders".into(), Value::Object(multiple.collect()));
    add_stage_variables(&mut event, matched);
    let special = Map::from_iter([
        ("disconnectStatusCode".to_owned(), end.code.into()),
        ("disconnectReason".to_owned(), end.reason.as_str().into()),
    ]);
    event.insert("requestContext".into(), context(request, matched, client, "DISCONNECT", special));
    event.insert("isBase64Encoded".into(), false.into());
    bytes(&event)
}

pub fn bytes(event: &Map<String, Value>) -> Vec<u8> {
    serde_json::to_vec(event).expect("text is always serialisable")
}

fn add_stage_variables(event: &mut Map<String, Value>, matched: &Matched) {
    let variables = &matched.stage().variables;
    if !variables.is_empty() {
        event.insert("stageVariables".into(), json!(variables));
    }
}

/// In AWS's order. `special`: what only this kind of event has.
fn context(
    request: &Request,
    matched: &Matched,
    client: &Client,
    kind: &str,
    special: Map<String, Value>,
) -> Value {
    let mut context = Map::new();
    context.insert("routeKey".into(), matched.route().path.as_str().into());
    context.extend(special);
    if let Some(authorizer) = authorizer(&client.caller) {
        context.insert("authorizer".into(), authorizer);
    }
    context.insert("eventType".into(), kind.into());
    context.insert("extendedRequestId".into(), request.id.as_str().into());
    context.insert("requestTime".into(), request.time().into());
    context.insert("messageDirection".into(), "IN".into());
    context.insert("stage".into(), matched.stage().name.as_str().into());
    context.insert("connectedAt".into(), client.connected_at.as_millisecond().into());
    context.insert("requestTimeEpoch".into(), request.received.as_millisecond().into());
    context.insert("identity".into(), identity(client));
    context.insert("requestId".into(), request.id.as_str().into());
    context.insert("domainName".into(), client.domain.as_str().into());
    context.insert("connectionId".into(), client.id.as_str().into());
    context.insert("apiId".into(), matched.api.id.as_str().into());
    Value::Object(context)
}

fn identity(client: &Client) -> Value {
    let mut identity = Map::new();
    if let Identity::Iam(user) = &client.caller.identity {
        identity.insert("accessKey".into(), user.access_key.as_str().into());
        identity.insert("accountId".into(), user.account_id.as_str().into());
        identity.insert("caller".into(), user.user_id.as_str().into());
        identity.insert("user".into(), user.user_id.as_str().into());
        identity.insert("userArn".into(), user.user_arn.as_str().into());
    }
    if let Some(key) = &client.caller.api_key {
        identity.insert("apiKey".into(), key.value.as_str().into());
        identity.insert("apiKeyId".into(), key.id.as_str().into());
    }
    if !client.user_agent.is_empty() {
        identity.insert("userAgent".into(), client.user_agent.as_str().into());
    }
    identity.insert("sourceIp".into(), client.source_ip.as_str().into());
    Value::Object(identity)
}

/// What an authorizer said, as text.
fn authorizer(caller: &Caller) -> Option<Value> {
    match &caller.identity {
        Identity::Anybody | Identity::Iam(_) => None,
        Identity::Lambda { principal_id, context, latency } => {
            let mut authorizer = Map::new();
            for (name, value) in context {
                let text = match value {
                    Value::Null => continue,
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                authorizer.insert(name.clone(), text.into());
            }
            if let Some(principal) = principal_id {
                authorizer.insert("principalId".into(), principal.as_str().into());
            }
            authorizer.insert("integrationLatency".into(), (*latency).into());
            Some(Value::Object(authorizer))
        }
        // `--act-as` may bring claims where an authorizer was asked for.
        Identity::Jwt { claims, .. } | Identity::Cognito { claims } => Some(Value::Object(claims.clone())),
    }
}

#[cfg(test)]
pub mod tests {
    use std::sync::Arc;

    use axum::body::Bytes;

    use super::*;
    use crate::api::{Api, Integration, Kind, PayloadVersion, Route, Stage};
    use crate::http::Spelling;

    pub fn api(keys: &[&str]) -> Api {
        let mut api = Api::new("w1x2y3z4a5", "Chat", Kind::WebSocket);
        api.stages.push(Stage::named("prod"));
        api.route_selection_expression = "$request.body.action".into();
        for key in keys {
            api.routes.push(Route::new("", key, Integration::function("chat", PayloadVersion::V1)));
        }
        api
    }

    fn matched(api: Api) -> Matched {
        Matched {
            api: Arc::new(api),
            stage: 0,
            route: 0,
            path: "/".into(),
            full_path: "/prod".into(),
            parameters: Vec::new(),
            custom_domain: false,
        }
    }

    fn site() -> Site {
        let access = crate::config::Access::default();
        let (account, region) = ("123456789012".to_owned(), "eu-west-1".to_owned());
        Site { account, region, port: 443, tls: true, access }
    }

    fn client() -> Client {
        Client {
            id: "Ug1abcDEFghiJKL=".into(),
            connected_at: jiff::Timestamp::from_millisecond(1_764_025_920_000).unwrap(),
            domain: "w1x2y3z4a5.execute-api.eu-west-1.amazonaws.com".into(),
            source_ip: "203.0.113.10".into(),
            user_agent: "curl/8.5.0".into(),
            caller: Caller::default(),
        }
    }

    /// What curl 8.5 sends, as the golden events have it.
    fn request(query: &str) -> Request {
        let head = http::Request::builder()
            .uri(format!("/prod{query}"))
            .header("host", "w1x2y3z4a5.execute-api.eu-west-1.amazonaws.com")
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-extensions", "permessage-deflate; client_max_window_bits")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("sec-websocket-version", "13")
            .header("user-agent", "curl/8.5.0")
            .header("x-amzn-trace-id", "Root=1-6924e640-1f2e3d4c5b6a79880a1b2c3d")
            .body(())
            .unwrap()
            .into_parts()
            .0;
        let mut request = Request::new(head, Bytes::new());
        request.head.extensions.insert(Spelling::for_test(
            b"GET /prod HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Extensions: x\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n",
        ));
        request.peer = Some([203, 0, 113, 10].into());
        request.received = jiff::Timestamp::from_millisecond(1_764_025_920_005).unwrap();
        request.id = "Ug1abCdEfGhIjK0=".into();
        request
    }

    fn golden(name: &str) -> String {
        let path = format!("{}/tests/fixtures/web_socket/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let event: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        event.to_string()
    }

    fn text_of(event: Vec<u8>) -> String {
        String::from_utf8(event).unwrap()
    }

    // The order of members counts too.
    #[test]
    fn events_are_those_of_aws() {
        let event = connect(&request("?room=1"), &matched(api(&["$connect"])), &client(), &site());
        assert_eq!(text_of(bytes(&event)), golden("connect"));

        let end = End { code: 1001, reason: String::new() };
        let event = disconnect(&request(""), &matched(api(&["$disconnect"])), &client(), &end);
        assert_eq!(text_of(event), golden("disconnect"));

        let body = r#"{"action": "sendMessage", "text": "hi"}"#;
        let event = message(&request(""), &matched(api(&["sendMessage"])), &client(), body);
        let mut event: Value = serde_json::from_slice(&event).unwrap();
        let id = event["requestContext"]["messageId"].take();
        assert_eq!(id.as_str().map(str::len), Some(16));
        event["requestContext"]["messageId"] = "Ug1mNoPqRsTuVw0=".into();
        assert_eq!(event.to_string(), golden("message"));
    }

    #[test]
    fn query_and_stage_variables_are_there_only_if_there_are_any() {
        let mut api = api(&["$connect"]);
        let event = connect(&request(""), &matched(api.clone()), &client(), &site());
        for absent in ["queryStringParameters", "multiValueQueryStringParameters", "stageVariables", "body"] {
            assert_eq!(event.get(absent), None, "{absent}");
        }
        api.stages[0].variables.insert("table".into(), "rooms".into());
        let event = connect(&request("?a=1&a=b+c%20d&e"), &matched(api), &client(), &site());
        assert_eq!(event["queryStringParameters"], json!({"a": "b c d", "e": ""}));
        assert_eq!(event["multiValueQueryStringParameters"], json!({"a": ["1", "b c d"], "e": [""]}));
        assert_eq!(event["stageVariables"], json!({"table": "rooms"}));
    }

    #[test]
    fn whom_the_authorizer_found_is_in_every_event() {
        let mut client = client();
        let context = json!({"role": "admin", "level": 3, "on": true, "none": null});
        client.caller.identity = Identity::Lambda {
            principal_id: Some("ada".into()),
            context: context.as_object().unwrap().clone(),
            latency: 12,
        };
        let expected = json!({
            "role": "admin", "level": "3", "on": "true", "principalId": "ada", "integrationLatency": 12
        });
        let end = End { code: 1000, reason: String::new() };
        for event in [
            bytes(&connect(&request(""), &matched(api(&["$connect"])), &client, &site())),
            message(&request(""), &matched(api(&["a"])), &client, ""),
            disconnect(&request(""), &matched(api(&["$disconnect"])), &client, &end),
        ] {
            let event: Value = serde_json::from_slice(&event).unwrap();
            assert_eq!(event["requestContext"]["authorizer"], expected);
        }
    }
}

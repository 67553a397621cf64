//! What an authorizer function is asked: the request as its integration sees it, without the body.

use serde_json::{Map, Value, json};

use super::super::Site;
use super::super::payload::{authorizer, fields, protocol, query, short_id};
use super::super::request::{Caller, Matched, Request};
use super::super::routes::decode;

pub struct Question<'a> {
    pub request: &'a Request,
    pub matched: &'a Matched,
    pub site: &'a Site,
    pub method_arn: &'a str,
    /// WebSocket: the event that the integration of `$connect` gets.
    pub connect: Option<&'a Map<String, Value>>,
}

/// REST, TOKEN.
pub fn token(question: &Question<'_>, token: String) -> Vec<u8> {
    bytes(&json!({
        "type": "TOKEN",
        "authorizationToken": token,
        "methodArn": question.method_arn,
    }))
}

/// REST, REQUEST.
pub fn rest(question: &Question<'_>) -> Vec<u8> {
    let Question { request, matched, .. } = question;
    let headers = fields::as_spelled(request, question.site);
    let route = matched.route();
    bytes(&json!({
        "type": "REQUEST",
        "methodArn": question.method_arn,
        "resource": route.path,
        "path": matched.rest_path(),
        "httpMethod": request.head.method.as_str(),
        "headers": fields::last(&headers),
        "multiValueHeaders": fields::all(&headers),
        "queryStringParameters": some(query::last(query::decoded(request.query()))),
        "multiValueQueryStringParameters": some(query::all(query::decoded(request.query()))),
        "pathParameters": some(question.path_parameters()),
        "stageVariables": some(question.stage_variables()),
        "requestContext": {
            "resourceId": short_id(&[&matched.api.id, &route.path]),
            "resourcePath": route.path,
            "httpMethod": request.head.method.as_str(),
            "extendedRequestId": request.id,
            "requestTime": request.time(),
            "path": matched.full_path,
            "accountId": question.site.account,
            "protocol": "HTTP/1.1",
            "stage": matched.stage().name,
            "domainPrefix": question.domain_prefix(),
            "requestTimeEpoch": request.received.as_millisecond(),
            "requestId": request.uuid,
            "identity": question.identity(true),
            "domainName": request.domain(),
            "deploymentId": short_id(&[&matched.api.id]),
            "apiId": matched.api.id,
        },
    }))
}

/// HTTP API, payload 1.0.
pub fn http_v1(question: &Question<'_>, identity: &[String]) -> Vec<u8> {
    let Question { request, matched, .. } = question;
    let identity = identity.join(",");
    let headers = fields::lower_case_with_length(request, question.site);
    let route = matched.route();
    let (path, key) = (decode(&matched.full_path), route.key());
    bytes(&json!({
        "version": "1.0",
        "type": "REQUEST",
        "methodArn": question.method_arn,
        "identitySource": identity,
        "authorizationToken": identity,
        "resource": route.path,
        "path": path,
        "httpMethod": request.head.method.as_str(),
        "headers": fields::last(&headers),
        "queryStringParameters": some(query::last(query::decoded(request.query()))),
        "pathParameters": some(question.path_parameters()),
        "stageVariables": some(question.stage_variables()),
        "requestContext": {
            "accountId": question.site.account,
            "apiId": matched.api.id,
            "domainName": request.domain(),
            "domainPrefix": question.domain_prefix(),
            "extendedRequestId": request.id,
            "httpMethod": request.head.method.as_str(),
            "identity": question.identity(false),
            "path": path,
            "protocol": protocol(request),
            "requestId": request.id,
            "requestTime": request.time(),
            "requestTimeEpoch": request.received.as_millisecond(),
            "resourceId": key,
            "resourcePath": route.path,
            "stage": matched.stage().name,
        },
    }))
}

/// HTTP API, payload 2.0: what is empty is left out.
pub fn http_v2(question: &Question<'_>, identity: &[String]) -> Vec<u8> {
    let Question { request, matched, .. } = question;
    let (key, path) = (matched.route().key(), decode(matched.raw_path()));
    let mut cookies = Vec::new();
    let headers = fields::joined_with_length(request, question.site, &mut cookies);
    let mut event = json!({
        "version": "2.0",
        "type": "REQUEST",
        "routeArn": question.method_arn,
        "identitySource": identity,
        "routeKey": key,
        "rawPath": path,
        "rawQueryString": request.query(),
        "cookies": cookies,
        "headers": headers,
        "queryStringParameters": query::joined(request.query()),
        "requestContext": {
            "accountId": question.site.account,
            "apiId": matched.api.id,
            "domainName": request.domain(),
            "domainPrefix": question.domain_prefix(),
            "http": {
                "method": request.head.method.as_str(),
                "path": path,
                "protocol": protocol(request),
                "sourceIp": request.source_ip(),
                "userAgent": request.user_agent(),
            },
            "requestId": request.id,
            "routeKey": key,
            "stage": matched.stage().name,
            "time": request.time(),
            "timeEpoch": request.received.as_millisecond(),
        },
        "pathParameters": question.path_parameters(),
        "stageVariables": question.stage_variables(),
    });
    if let Value::Object(event) = &mut event {
        for name in ["cookies", "queryStringParameters", "pathParameters", "stageVariables", "identitySource"]
        {
            let empty = match &event[name] {
                Value::Array(values) => values.is_empty(),
                Value::Object(values) => values.is_empty(),
                value => value.is_null(),
            };
            if empty {
                event.shift_remove(name);
            }
        }
    }
    bytes(&event)
}

/// WebSocket, `$connect`: what its integration is told, and who is asked.
pub fn web_socket(question: &Question<'_>) -> Vec<u8> {
    let mut event = Map::new();
    event.insert("type".into(), "REQUEST".into());
    event.insert("methodArn".into(), question.method_arn.into());
    let mut connect = question.connect.cloned().unwrap_or_default();
    connect.shift_remove("isBase64Encoded");
    let context = connect.shift_remove("requestContext");
    event.append(&mut connect);
    for name in ["queryStringParameters", "multiValueQueryStringParameters", "stageVariables"] {
        event.entry(name).or_insert_with(|| json!({}));
    }
    event.insert("requestContext".into(), context.unwrap_or_default());
    bytes(&event.into())
}

impl Question<'_> {
    fn domain_prefix(&self) -> String {
        self.request.domain().split('.').next().unwrap_or_default().to_owned()
    }

    fn path_parameters(&self) -> Map<String, Value> {
        let pairs = self.matched.parameters.iter();
        pairs.map(|(name, value)| (name.clone(), value.as_str().into())).collect()
    }

    fn stage_variables(&self) -> Map<String, Value> {
        let pairs = self.matched.stage().variables.iter();
        pairs.map(|(name, value)| (name.clone(), value.as_str().into())).collect()
    }

    /// Nobody is known yet.
    fn identity(&self, is_rest: bool) -> Value {
        authorizer::identity(self.request, &Caller::default(), is_rest)
    }
}

fn some(map: Map<String, Value>) -> Option<Map<String, Value>> {
    Some(map).filter(|map| !map.is_empty())
}

fn bytes(event: &Value) -> Vec<u8> {
    serde_json::to_vec(event).expect("text is always serialisable")
}

#[cfg(test)]
mod tests {
    use super::super::super::payload;
    use super::super::fixture;
    use super::*;
    use crate::api::{Kind, PayloadVersion};
    use crate::http::Spelling;

    const HEADERS: [(&str, &str); 5] = [
        ("accept", "*/*"),
        ("authorization", "Bearer abc"),
        ("connection", "keep-alive"),
        ("host", "a1b2c3d4e5.execute-api.localhost:3000"),
        ("user-agent", "curl/8.5.0"),
    ];

    fn ask(
        kind: Kind,
        stage: &str,
        line: &str,
        more: &[(&str, &str)],
        build: impl Fn(&Question<'_>) -> Vec<u8>,
    ) -> Value {
        let mut api = fixture::api(kind, stage, &["GET /items/{id}"]);
        api.stages[0].variables.insert("tier".into(), "gold".into());
        let mut matched = fixture::matched(api, "/items/7%2B");
        // The routes of an HTTP API have decoded them already.
        let id = if kind == Kind::Http { "7+" } else { "7%2B" };
        matched.parameters = vec![("id".into(), id.into())];
        let headers: Vec<_> = HEADERS.iter().chain(more).copied().collect();
        let mut request = fixture::request(line, &headers);
        request.peer = Some([203, 0, 113, 10].into());
        request.received = "2025-11-24T23:12:00.123Z".parse().unwrap();
        request.id = "Ug0hqHkYDoEFb_G=".into();
        request.trace.root = "1-6924e640-1f2e3d4c5b6a79880a1b2c3d".into();
        let site = fixture::site();
        let question =
            Question { request: &request, matched: &matched, site: &site, method_arn: "ARN", connect: None };
        serde_json::from_slice(&build(&question)).unwrap()
    }

    fn keys(value: &Value) -> Vec<&str> {
        value.as_object().unwrap().keys().map(String::as_str).collect()
    }

    #[test]
    fn a_token_is_all_that_a_token_authorizer_sees() {
        let event = ask(Kind::Rest, "prod", "GET /", &[], |question| token(question, "Bearer abc".into()));
        let expected = json!({ "type": "TOKEN", "authorizationToken": "Bearer abc", "methodArn": "ARN" });
        assert_eq!(event, expected);
    }

    #[test]
    fn a_rest_apis_request_event() {
        let mut event = ask(Kind::Rest, "prod", "GET /prod/items/7%2B?page=1&page=2", &[], rest);
        let context = event["requestContext"].take();
        assert_eq!(
            event,
            json!({
                "type": "REQUEST",
                "methodArn": "ARN",
                "resource": "/items/{id}",
                "path": "/items/7%2B",
                "httpMethod": "GET",
                "headers": {
                    "Accept": "*/*",
                    "Authorization": "Bearer abc",
                    "User-Agent": "curl/8.5.0",
                    "Host": "a1b2c3d4e5.execute-api.localhost:3000",
                    "X-Amzn-Trace-Id": "Root=1-6924e640-1f2e3d4c5b6a79880a1b2c3d",
                    "X-Forwarded-For": "203.0.113.10",
                    "X-Forwarded-Port": "3000",
                    "X-Forwarded-Proto": "http",
                },
                "multiValueHeaders": {
                    "Accept": ["*/*"],
                    "Authorization": ["Bearer abc"],
                    "User-Agent": ["curl/8.5.0"],
                    "Host": ["a1b2c3d4e5.execute-api.localhost:3000"],
                    "X-Amzn-Trace-Id": ["Root=1-6924e640-1f2e3d4c5b6a79880a1b2c3d"],
                    "X-Forwarded-For": ["203.0.113.10"],
                    "X-Forwarded-Port": ["3000"],
                    "X-Forwarded-Proto": ["http"],
                },
                "queryStringParameters": { "page": "2" },
                "multiValueQueryStringParameters": { "page": ["1", "2"] },
                "pathParameters": { "id": "7%2B" },
                "stageVariables": { "tier": "gold" },
                "requestContext": null,
            })
        );
        let expected = [
            "resourceId",
            "resourcePath",
            "httpMethod",
            "extendedRequestId",
            "requestTime",
            "path",
            "accountId",
            "protocol",
            "stage",
            "domainPrefix",
            "requestTimeEpoch",
            "requestId",
            "identity",
            "domainName",
            "deploymentId",
            "apiId",
        ];
        assert_eq!(keys(&context), expected);
        assert_eq!(context["path"], "/prod/items/7%2B");
        assert_eq!(context["requestTime"], "24/Nov/2025:23:12:00 +0000");
        assert_eq!(context["requestTimeEpoch"], 1_764_025_920_123_i64);
        assert_eq!(context["domainName"], "a1b2c3d4e5.execute-api.localhost");
        assert_eq!(keys(&context["identity"]).len(), 12);
    }

    #[test]
    fn what_is_not_there_is_null_for_rest_and_left_out_of_2_0() {
        let bare = |kind, stage: &str, build: fn(&Question<'_>) -> Vec<u8>| {
            let matched = fixture::matched(fixture::api(kind, stage, &["$default"]), "/");
            let (request, site) = (fixture::request("GET /", &[]), fixture::site());
            let question = Question {
                request: &request,
                matched: &matched,
                site: &site,
                method_arn: "ARN",
                connect: None,
            };
            serde_json::from_slice::<Value>(&build(&question)).unwrap()
        };
        let event = bare(Kind::Rest, "prod", rest);
        for name in
            ["queryStringParameters", "multiValueQueryStringParameters", "pathParameters", "stageVariables"]
        {
            assert_eq!(event.get(name), Some(&Value::Null), "{name}");
        }
        let event = bare(Kind::Http, "$default", |question| http_v2(question, &[]));
        let expected = [
            "version",
            "type",
            "routeArn",
            "routeKey",
            "rawPath",
            "rawQueryString",
            "headers",
            "requestContext",
        ];
        assert_eq!(keys(&event), expected);
        let event = bare(Kind::WebSocket, "live", web_socket);
        assert_eq!(event["queryStringParameters"], json!({}));
    }

    #[test]
    fn rest_has_names_as_they_were_sent_and_the_ids_of_the_request() {
        let matched = fixture::matched(fixture::api(Kind::Rest, "prod", &["GET /items"]), "/items");
        let mut request = fixture::request("GET /items", &[("x-tenant", "a"), ("x-tenant", "b")]);
        let spelled = Spelling::for_test(b"GET /items HTTP/1.1\r\nX-TENANT: a\r\nx-tenant: b\r\n\r\n");
        request.head.extensions.insert(spelled);
        let site = fixture::site();
        let question =
            Question { request: &request, matched: &matched, site: &site, method_arn: "ARN", connect: None };
        let event: Value = serde_json::from_slice(&rest(&question)).unwrap();
        assert_eq!(event["multiValueHeaders"]["X-TENANT"], json!(["a", "b"]));
        let payload = payload::event(
            &request,
            &matched,
            PayloadVersion::V1,
            &Caller::default(),
            &site,
            "the invocation's",
        );
        let payload: Value = serde_json::from_slice(&payload).unwrap();
        for name in ["headers", "multiValueHeaders", "requestContext", "path", "resource"] {
            assert_eq!(event[name], payload[name], "{name}");
        }
    }

    #[test]
    fn whoever_opens_a_web_socket_is_asked_about_with_the_connection() {
        let matched = fixture::matched(fixture::api(Kind::WebSocket, "live", &["$connect"]), "/");
        let (request, site) = (fixture::request("GET /", &[]), fixture::site());
        let connect = json!({
            "headers": {"Host": "h"},
            "queryStringParameters": {"token": "t"},
            "requestContext": {"connectionId": "c"},
            "isBase64Encoded": false,
        });
        let question = Question {
            request: &request,
            matched: &matched,
            site: &site,
            method_arn: "ARN",
            connect: connect.as_object(),
        };
        assert_eq!(
            String::from_utf8(web_socket(&question)).unwrap(),
            r#"{"type":"REQUEST","methodArn":"ARN","headers":{"Host":"h"},"queryStringParameters":{"token":"t"},"multiValueQueryStringParameters":{},"stageVariables":{},"requestContext":{"connectionId":"c"}}"#
        );
    }

    #[test]
    fn an_http_apis_events() {
        let cookies = [("cookie", "session=abc123; theme=dark"), ("accept", "text/html")];
        let identity = ["Bearer abc".to_owned(), "7".to_owned()];
        let line = "GET /items/7%2B?page=1&page=2";
        let event = ask(Kind::Http, "$default", line, &cookies, |question| http_v2(question, &identity));
        assert_eq!(
            keys(&event),
            [
                "version",
                "type",
                "routeArn",
                "identitySource",
                "routeKey",
                "rawPath",
                "rawQueryString",
                "cookies",
                "headers",
                "queryStringParameters",
                "requestContext",
                "pathParameters",
                "stageVariables",
            ]
        );
        assert_eq!(event["identitySource"], json!(identity));
        assert_eq!(event["cookies"], json!(["session=abc123", "theme=dark"]));
        assert_eq!(event["headers"]["accept"], "*/*,text/html");
        assert_eq!(event["headers"]["content-length"], "0");
        assert_eq!(event["headers"].get("cookie"), None);
        assert_eq!(event["rawPath"], "/items/7+");
        assert_eq!(event["queryStringParameters"], json!({ "page": "1,2" }));
        assert_eq!(event["pathParameters"], json!({ "id": "7+" }));
        assert_eq!(event["requestContext"]["http"]["path"], "/items/7+");
        assert_eq!(event["requestContext"]["routeKey"], "GET /items/{id}");

        let event = ask(Kind::Http, "$default", line, &cookies, |question| http_v1(question, &identity));
        assert_eq!(event["version"], "1.0");
        assert_eq!(event["identitySource"], "Bearer abc,7");
        assert_eq!(event["authorizationToken"], "Bearer abc,7");
        assert_eq!(event["headers"]["cookie"], "session=abc123; theme=dark");
        assert_eq!(event["requestContext"]["resourceId"], "GET /items/{id}");
        assert_eq!(event["requestContext"]["identity"]["clientCert"], Value::Null);
        assert_eq!(event["path"], "/items/7+");
    }
}

//! Payload format 1.0: events of REST APIs, events and responses of HTTP APIs that ask for it.
//!
//! The two have the same keys in another order, and differ in nearly all values.

use std::borrow::Cow;

use axum::body::Body;
use http::Response;
use serde::Serialize;
use serde_json::{Map, Value};

use super::super::Site;
use super::super::request::{Caller, Matched, Request};
use super::super::routes::decode;
use super::result::{Draft, Malformed, object, own_name, status};
use super::{authorizer, fields, protocol, query, short_id, text};

/// What both begin with. Nothing is ever absent: an empty map is null.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Start<'a> {
    resource: &'a str,
    path: &'a str,
    http_method: &'a str,
    headers: Map<String, Value>,
    multi_value_headers: Map<String, Value>,
    query_string_parameters: Option<Map<String, Value>>,
    multi_value_query_string_parameters: Option<Map<String, Value>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct End<'a> {
    body: Option<Cow<'a, str>>,
    is_base64_encoded: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RestEvent<'a> {
    #[serde(flatten)]
    start: Start<'a>,
    path_parameters: Option<Map<String, Value>>,
    stage_variables: Option<Map<String, Value>>,
    request_context: RestContext<'a>,
    #[serde(flatten)]
    end: End<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RestContext<'a> {
    resource_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorizer: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation_name: Option<&'a str>,
    resource_path: &'a str,
    http_method: &'a str,
    extended_request_id: &'a str,
    request_time: String,
    path: &'a str,
    account_id: &'a str,
    protocol: &'static str,
    stage: &'a str,
    domain_prefix: &'a str,
    request_time_epoch: i64,
    request_id: &'a str,
    identity: Value,
    domain_name: &'a str,
    deployment_id: String,
    api_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HttpEvent<'a> {
    version: &'static str,
    #[serde(flatten)]
    start: Start<'a>,
    request_context: HttpContext<'a>,
    path_parameters: Option<Map<String, Value>>,
    stage_variables: Option<Map<String, Value>>,
    #[serde(flatten)]
    end: End<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HttpContext<'a> {
    account_id: &'a str,
    api_id: &'a str,
    authorizer: Value,
    domain_name: &'a str,
    domain_prefix: &'a str,
    extended_request_id: &'a str,
    http_method: &'a str,
    identity: Value,
    path: &'a str,
    protocol: &'static str,
    request_id: &'a str,
    request_time: String,
    request_time_epoch: i64,
    resource_id: &'a str,
    resource_path: &'a str,
    stage: &'a str,
}

/// Names and paths are as the client sent them.
pub fn rest_event(request: &Request, matched: &Matched, caller: &Caller, site: &Site) -> Vec<u8> {
    let fields = fields::as_spelled(request, site);
    let domain = request.domain();
    let route = matched.route();
    let method = request.head.method.as_str();
    let is_binary = text::is_binary(request.header("content-type"), &matched.api.binary_media_types);
    let body = text::text_or_base64(&request.body, !is_binary);
    let event = RestEvent {
        start: Start {
            resource: &route.path,
            path: matched.rest_path(),
            http_method: method,
            headers: fields::last(&fields),
            multi_value_headers: fields::all(&fields),
            query_string_parameters: some(query::last(query::decoded(request.query()))),
            multi_value_query_string_parameters: some(query::all(query::decoded(request.query()))),
        },
        path_parameters: path_parameters(matched),
        stage_variables: stage_variables(matched),
        request_context: RestContext {
            resource_id: short_id(&[&matched.api.id, &route.path]),
            authorizer: authorizer::rest(&caller.identity),
            operation_name: route.operation_name.as_deref(),
            resource_path: &route.path,
            http_method: method,
            extended_request_id: &request.id,
            request_time: request.time(),
            path: &matched.full_path,
            account_id: &site.account,
            protocol: "HTTP/1.1",
            stage: &matched.stage().name,
            domain_prefix: domain.split('.').next().unwrap_or_default(),
            request_time_epoch: request.received.as_millisecond(),
            request_id: &request.uuid,
            identity: authorizer::identity(request, caller, true),
            domain_name: &domain,
            deployment_id: short_id(&[&matched.api.id]),
            api_id: &matched.api.id,
        },
        end: End { is_base64_encoded: body.is_some() && is_binary, body },
    };
    serde_json::to_vec(&event).expect("text is always serialisable")
}

/// Names are in lower case and paths decoded, as in format 2.0; cookies are a header.
pub fn http_event(request: &Request, matched: &Matched, caller: &Caller, site: &Site) -> Vec<u8> {
    let fields = fields::lower_case_with_length(request, site);
    let domain = request.domain();
    let path = decode(&matched.full_path);
    let route = matched.route();
    let route_key = route.key();
    let method = request.head.method.as_str();
    let is_text = text::is_text(request.header("content-type"));
    let body = text::text_or_base64(&request.body, is_text);
    let mut last_query = query::last(query::decoded(request.query()));
    let mut all_query = query::all(query::decoded(request.query()));
    last_query.sort_keys();
    all_query.sort_keys();
    let event = HttpEvent {
        version: "1.0",
        start: Start {
            resource: &route.path,
            path: &path,
            http_method: method,
            headers: fields::last(&fields),
            multi_value_headers: fields::all(&fields),
            query_string_parameters: some(last_query),
            multi_value_query_string_parameters: some(all_query),
        },
        request_context: HttpContext {
            account_id: &site.account,
            api_id: &matched.api.id,
            authorizer: authorizer::http_v1(&caller.identity),
            domain_name: &domain,
            domain_prefix: domain.split('.').next().unwrap_or_default(),
            extended_request_id: &request.id,
            http_method: method,
            identity: authorizer::identity(request, caller, false),
            path: &path,
            protocol: protocol(request),
            request_id: &request.id,
            request_time: request.time(),
            request_time_epoch: request.received.as_millisecond(),
            resource_id: &route_key,
            resource_path: &route.path,
            stage: &matched.stage().name,
        },
        path_parameters: path_parameters(matched),
        stage_variables: stage_variables(matched),
        end: End { is_base64_encoded: body.is_some() && !is_text, body },
    };
    serde_json::to_vec(&event).expect("text is always serialisable")
}

fn path_parameters(matched: &Matched) -> Option<Map<String, Value>> {
    let pairs = matched.parameters.iter();
    some(pairs.map(|(name, value)| (name.clone(), value.clone().into())).collect())
}

fn stage_variables(matched: &Matched) -> Option<Map<String, Value>> {
    let pairs = matched.stage().variables.iter();
    some(pairs.map(|(name, value)| (name.clone(), value.clone().into())).collect())
}

fn some(map: Map<String, Value>) -> Option<Map<String, Value>> {
    Some(map).filter(|map| !map.is_empty())
}

/// An HTTP API needs a `statusCode` in format 1.0, and passes over what it does not know.
pub fn http_response(payload: &[u8]) -> Result<Response<Body>, Malformed> {
    let mut object = object(payload)?;
    let mut draft = Draft::new(status(object.get("statusCode").ok_or(Malformed::NoStatusCode)?)?);
    draft.all_headers(&mut object, own_name)?;
    let is_base64 = object.get("isBase64Encoded") == Some(&Value::Bool(true));
    draft.body(object.remove("body"), is_base64)?;
    Ok(draft.finish("text/plain; charset=utf-8"))
}

#[cfg(test)]
mod tests {
    use super::super::golden::describe;
    use super::*;

    #[test]
    fn an_http_apis_results_become_responses() {
        let plain = "content-type: text/plain; charset=utf-8";
        for (result, expected) in [
            (r#"{"statusCode": 200, "body": "hi", "other": 1}"#, format!("200 {plain} | hi")),
            (r#"{"statusCode": "201"}"#, format!("201 {plain} | ")),
            (
                r#"{"statusCode": 200, "headers": {"A": "solo"}, "multiValueHeaders": {"a": ["multi", 2]}}"#,
                format!("200 a: multi; a: 2; a: solo; {plain} | "),
            ),
            (r#"{"statusCode": 200, "body": "aGk=", "isBase64Encoded": true}"#, format!("200 {plain} | hi")),
            ("{}", "no `statusCode`".to_owned()),
            (r#"{"statusCode": null}"#, "a `statusCode` that is no HTTP status: null".to_owned()),
            (r#"{"statusCode": 200.5}"#, "a `statusCode` that is no HTTP status: 200.5".to_owned()),
            (r#"{"statusCode": 200, "body": 1}"#, "a `body` that is a number; it must be text".to_owned()),
            (
                r#"{"statusCode": 200, "multiValueHeaders": {"a": "b"}}"#,
                "`multiValueHeaders` that cannot be sent: `a` is text, not a list".to_owned(),
            ),
            (r#""text""#, "text, not an object".to_owned()),
        ] {
            assert_eq!(describe(http_response(result.as_bytes())), expected, "{result}");
        }
    }
}

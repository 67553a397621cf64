//! Payload format 2.0 of HTTP APIs: request -> event, result -> response.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::body::Body;
use http::Response;
use serde::Serialize;
use serde_json::Value;

use super::super::Site;
use super::super::request::{Caller, Matched, Request, without_port};
use super::super::routes::decode;
use super::result::{Draft, Malformed, own_name, status};
use super::{authorizer, fields, protocol, query, text};

/// In AWS's order; absent and null are different things.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event<'a> {
    pub version: &'static str,
    pub route_key: &'a str,
    pub raw_path: &'a str,
    pub raw_query_string: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cookies: Vec<&'a str>,
    pub headers: BTreeMap<&'a str, Cow<'a, str>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub query_string_parameters: BTreeMap<String, String>,
    pub request_context: RequestContext<'a>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub path_parameters: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage_variables: Option<&'a BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Cow<'a, str>>,
    pub is_base64_encoded: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestContext<'a> {
    pub account_id: &'a str,
    pub api_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorizer: Option<Value>,
    pub domain_name: &'a str,
    pub domain_prefix: &'a str,
    pub http: Http<'a>,
    pub request_id: &'a str,
    pub route_key: &'a str,
    pub stage: &'a str,
    pub time: String,
    pub time_epoch: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Http<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub protocol: &'static str,
    pub source_ip: &'a str,
    pub user_agent: &'a str,
}

pub fn event(request: &Request, matched: &Matched, caller: &Caller, site: &Site) -> Vec<u8> {
    let path = decode(matched.raw_path());
    let query = request.query();
    let host = request.host();
    let domain = without_port(&host);
    let source_ip = request.source_ip();
    let mut cookies = Vec::new();
    let headers = fields::joined_with_length(request, site, &mut cookies);
    let user_agent = headers.get("user-agent").map(|agent| agent.to_string()).unwrap_or_default();
    let is_text = text::is_text(request.header("content-type"));
    let body = text::text_or_base64(&request.body, is_text);
    let route_key = matched.route().key();
    let event = Event {
        version: "2.0",
        route_key: &route_key,
        raw_path: &path,
        raw_query_string: query,
        cookies,
        headers,
        query_string_parameters: query::joined(query),
        request_context: RequestContext {
            account_id: &site.account,
            api_id: &matched.api.id,
            authorizer: authorizer::v2(&caller.identity),
            domain_name: domain,
            domain_prefix: domain.split('.').next().unwrap_or_default(),
            http: Http {
                method: request.head.method.as_str(),
                path: &path,
                protocol: protocol(request),
                source_ip: &source_ip,
                user_agent: &user_agent,
            },
            request_id: &request.id,
            route_key: &route_key,
            stage: &matched.stage().name,
            time: request.time(),
            time_epoch: request.received.as_millisecond(),
        },
        path_parameters: matched.parameters.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect(),
        stage_variables: Some(&matched.stage().variables).filter(|variables| !variables.is_empty()),
        is_base64_encoded: body.is_some() && !is_text,
        body,
    };
    serde_json::to_vec(&event).expect("text is always serialisable")
}

/// A result with a `statusCode` describes the response; anything else is the body of a 200.
pub fn response(payload: Vec<u8>) -> Result<Response<Body>, Malformed> {
    let first = payload.iter().copied().find(|byte| !byte.is_ascii_whitespace());
    let body = match first {
        Some(b'{') => match serde_json::from_slice::<serde_json::Map<String, Value>>(&payload) {
            Ok(object) if object.contains_key("statusCode") => {
                return Ok(described(object)?.finish("text/plain; charset=utf-8"));
            }
            _ => payload,
        },
        // The one kind of result that is not passed through: text loses its quotes.
        Some(b'"') => serde_json::from_slice::<String>(&payload).map_or(payload, String::into_bytes),
        _ => payload,
    };
    Ok(Draft::inferred(body).finish("application/json"))
}

/// What HTTP APIs and function URLs understand of an object with a `statusCode`; unknown keys are
/// passed over.
pub fn described(mut object: serde_json::Map<String, Value>) -> Result<Draft, Malformed> {
    let mut draft = Draft::new(status(&object["statusCode"])?);
    draft.cookies(object.remove("cookies"))?;
    draft.headers(object.remove("headers"), own_name)?;
    let is_base64 = object.get("isBase64Encoded") == Some(&Value::Bool(true));
    draft.body(object.remove("body"), is_base64)?;
    Ok(draft)
}

//! Payload format 2.0 of HTTP APIs: request -> event, result -> response.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::body::Body;
use http::Response;
use http::header::CONTENT_TYPE;
use serde_json::Value;

use super::super::Site;
use super::super::request::{Caller, Matched, Request, without_port};
use super::super::routes::decode;
use super::joined::Joined;
use super::result::{Described, Draft, Malformed};
use super::{authorizer, fields, json, protocol, query, text};

pub struct Event<'a> {
    pub route_key: &'a str,
    pub raw_path: &'a str,
    pub raw_query_string: &'a str,
    pub cookies: Vec<&'a str>,
    pub headers: Joined<'a>,
    pub request_context: RequestContext<'a>,
    pub path_parameters: &'a [(String, String)],
    pub stage_variables: Option<&'a BTreeMap<String, String>>,
    pub body: Option<Cow<'a, str>>,
    pub is_base64_encoded: bool,
}

pub struct RequestContext<'a> {
    pub account_id: &'a str,
    pub api_id: &'a str,
    pub authorizer: Option<Value>,
    pub domain_name: &'a str,
    pub http: Http<'a>,
    pub request_id: &'a str,
    pub stage: &'a str,
    pub time: String,
    pub time_epoch: i64,
}

pub struct Http<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub protocol: &'static str,
    pub source_ip: &'a str,
}

impl Event<'_> {
    /// In AWS's order; absent and null are different things.
    pub fn text(&self) -> Vec<u8> {
        json::object(|event| {
            event.plain("version", "2.0");
            event.text("routeKey", self.route_key);
            event.text("rawPath", self.raw_path);
            event.text("rawQueryString", self.raw_query_string);
            if !self.cookies.is_empty() {
                event.texts("cookies", self.cookies.iter().copied());
            }
            event.fields("headers", self.headers.iter());
            let query = query::joined(self.raw_query_string);
            if !query.is_empty() {
                event.map("queryStringParameters", query.iter());
            }
            event.object("requestContext", |context| self.add_context(context));
            if !self.path_parameters.is_empty() {
                // A variable that stands twice is there once.
                let parameters = self.path_parameters.iter().map(|(name, value)| (name, value));
                event.map("pathParameters", parameters.collect::<BTreeMap<_, _>>());
            }
            if let Some(variables) = self.stage_variables {
                event.map("stageVariables", variables);
            }
            if let Some(body) = &self.body {
                event.text("body", body);
            }
            event.flag("isBase64Encoded", self.is_base64_encoded);
        })
    }

    fn add_context(&self, context: &mut json::Object<'_>) {
        let of = &self.request_context;
        context.plain("accountId", of.account_id);
        context.text("apiId", of.api_id);
        if let Some(authorizer) = &of.authorizer {
            context.value("authorizer", authorizer);
        }
        context.text("domainName", of.domain_name);
        context.text("domainPrefix", of.domain_name.split('.').next().unwrap_or_default());
        context.object("http", |http| {
            http.plain("method", of.http.method);
            http.text("path", of.http.path);
            http.plain("protocol", of.http.protocol);
            http.plain("sourceIp", of.http.source_ip);
            http.text("userAgent", self.headers.get("user-agent").unwrap_or_default());
        });
        context.plain("requestId", of.request_id);
        context.text("routeKey", self.route_key);
        context.text("stage", of.stage);
        context.plain("time", &of.time);
        context.number("timeEpoch", of.time_epoch);
    }
}

pub fn event(request: &Request, matched: &Matched, caller: &Caller, site: &Site) -> Vec<u8> {
    let path = decode(matched.raw_path());
    let query = request.query();
    let host = request.host();
    let domain = without_port(&host);
    let source_ip = request.source_ip();
    let mut cookies = Vec::new();
    let headers = fields::joined_with_length(request, site, &mut cookies);
    let is_text = text::is_text(request.header(CONTENT_TYPE));
    let body = text::text_or_base64(&request.body, is_text);
    let route_key = matched.route().key();
    let event = Event {
        route_key: &route_key,
        raw_path: &path,
        raw_query_string: query,
        cookies,
        headers,
        request_context: RequestContext {
            account_id: &site.account,
            api_id: &matched.api.id,
            authorizer: authorizer::v2(&caller.identity),
            domain_name: domain,
            http: Http {
                method: request.head.method.as_str(),
                path: &path,
                protocol: protocol(request),
                source_ip: &source_ip,
            },
            request_id: &request.id,
            stage: &matched.stage().name,
            time: request.time(),
            time_epoch: request.received.as_millisecond(),
        },
        path_parameters: &matched.parameters,
        stage_variables: Some(&matched.stage().variables).filter(|variables| !variables.is_empty()),
        is_base64_encoded: body.is_some() && !is_text,
        body,
    };
    event.text()
}

/// A result with a `statusCode` describes the response; anything else is the body of a 200.
pub fn response(payload: Vec<u8>) -> Result<Response<Body>, Malformed> {
    let first = payload.iter().copied().find(|byte| !byte.is_ascii_whitespace());
    let body = match first {
        Some(b'{') => match Described::read(&payload) {
            Some(described) if described.is_response() => {
                return Ok(described.draft()?.finish("text/plain; charset=utf-8"));
            }
            _ => payload,
        },
        // The one kind of result that is not passed through: text loses its quotes.
        Some(b'"') => serde_json::from_slice::<String>(&payload).map_or(payload, String::into_bytes),
        _ => payload,
    };
    Ok(Draft::inferred(body).finish("application/json"))
}

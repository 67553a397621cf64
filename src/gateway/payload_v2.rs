//! Payload format 2.0 of HTTP APIs: request -> event, result -> response.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode, Version};
use percent_encoding::percent_decode;
use serde::Serialize;
use serde_json::Value;

use super::routes::decode;
use super::{Api, Route};
use crate::invocation::{Invocation, TraceId};

/// A request with all that its event is made of.
pub struct Request<'a> {
    pub head: &'a http::request::Parts,
    pub body: &'a [u8],
    pub peer: Option<IpAddr>,
    pub route: &'a Route,
    pub api: &'a Api,
}

/// In AWS's order; absent and null are different things.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    version: &'static str,
    route_key: &'a str,
    raw_path: &'a str,
    raw_query_string: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cookies: Vec<&'a str>,
    headers: BTreeMap<&'a str, Cow<'a, str>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    query_string_parameters: BTreeMap<String, String>,
    request_context: RequestContext<'a>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    path_parameters: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Cow<'a, str>>,
    is_base64_encoded: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'a> {
    account_id: &'a str,
    api_id: &'a str,
    domain_name: &'a str,
    domain_prefix: &'a str,
    http: Http<'a>,
    request_id: &'a str,
    route_key: &'a str,
    stage: &'static str,
    time: String,
    time_epoch: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Http<'a> {
    method: &'a str,
    path: &'a str,
    protocol: &'static str,
    source_ip: &'a str,
    user_agent: &'a str,
}

/// Between client and gateway only; API Gateway does not pass these on.
const HOP_BY_HOP: [&str; 7] =
    ["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];

impl Request<'_> {
    pub fn event(&self) -> (Vec<u8>, TraceId) {
        let now = jiff::Timestamp::now();
        let earlier = self.head.headers.get("x-amzn-trace-id").and_then(|trace| trace.to_str().ok());
        let trace = Invocation::new_trace_id(now.as_second().max(0) as u64).continuing(earlier);
        let path = decode(self.head.uri.path());
        let query = self.head.uri.query().unwrap_or_default();
        let host = self.host();
        let domain = host.rsplit_once(':').map_or(host.as_str(), |(name, port)| {
            if port.bytes().all(|byte| byte.is_ascii_digit()) { name } else { host.as_str() }
        });
        let source_ip = self.peer.map(|peer| peer.to_canonical().to_string()).unwrap_or_default();
        let mut cookies = Vec::new();
        let headers = self.headers(&host, &source_ip, &trace, &mut cookies);
        let user_agent = headers.get("user-agent").map(|agent| agent.to_string()).unwrap_or_default();
        let request_id = api_request_id();
        let is_text = is_text(self.head.headers.get(header::CONTENT_TYPE));
        let body = match std::str::from_utf8(self.body) {
            _ if self.body.is_empty() => None,
            Ok(text) if is_text => Some(Cow::Borrowed(text)),
            // Labelled as text, but not UTF-8: the bytes arrive damaged, as on AWS.
            Err(_) if is_text => Some(String::from_utf8_lossy(self.body)),
            _ => Some(Cow::Owned(BASE64.encode(self.body))),
        };
        let event = Event {
            version: "2.0",
            route_key: &self.route.key,
            raw_path: &path,
            raw_query_string: query,
            cookies,
            headers,
            query_string_parameters: query_parameters(query),
            request_context: RequestContext {
                account_id: &self.api.account,
                api_id: &self.api.id,
                domain_name: domain,
                domain_prefix: domain.split('.').next().unwrap_or_default(),
                http: Http {
                    method: self.head.method.as_str(),
                    path: &path,
                    protocol: if self.head.version == Version::HTTP_2 { "HTTP/2.0" } else { "HTTP/1.1" },
                    source_ip: &source_ip,
                    user_agent: &user_agent,
                },
                request_id: &request_id,
                route_key: &self.route.key,
                stage: "$default",
                time: now.to_zoned(jiff::tz::TimeZone::UTC).strftime("%d/%b/%Y:%H:%M:%S +0000").to_string(),
                time_epoch: now.as_millisecond(),
            },
            path_parameters: self
                .route
                .path_parameters
                .iter()
                .map(|(k, v)| (k.as_str(), v.as_str()))
                .collect(),
            is_base64_encoded: body.is_some() && !is_text,
            body,
        };
        (serde_json::to_vec(&event).expect("text is always serialisable"), trace)
    }

    fn host(&self) -> String {
        let host = self.head.headers.get(header::HOST).map(|host| String::from_utf8_lossy(host.as_bytes()));
        host.or_else(|| self.head.uri.authority().map(|authority| authority.as_str().into()))
            .unwrap_or_default()
            .into_owned()
    }

    /// Lower-case names; what came several times is joined; what AWS adds is added.
    fn headers<'a>(
        &'a self,
        host: &str,
        source_ip: &str,
        trace: &TraceId,
        cookies: &mut Vec<&'a str>,
    ) -> BTreeMap<&'a str, Cow<'a, str>> {
        let mut headers: BTreeMap<&str, Cow<'_, str>> = BTreeMap::new();
        for (name, value) in &self.head.headers {
            let name = name.as_str();
            if HOP_BY_HOP.contains(&name) {
                continue;
            }
            if name == "cookie" {
                if let Ok(text) = std::str::from_utf8(value.as_bytes()) {
                    cookies.extend(text.split(';').map(str::trim).filter(|cookie| !cookie.is_empty()));
                }
                continue;
            }
            let value = latin1_or_utf8(value);
            match headers.get_mut(name) {
                Some(known) => {
                    let known = known.to_mut();
                    known.push(',');
                    known.push_str(&value);
                }
                None => drop(headers.insert(name, value)),
            }
        }
        headers.insert("host", host.to_owned().into());
        headers.insert("content-length", self.body.len().to_string().into());
        headers.insert("x-amzn-trace-id", format!("Root={}", trace.root).into());
        let forwarded = match headers.get("x-forwarded-for") {
            Some(earlier) => format!("{earlier}, {source_ip}"),
            None => source_ip.to_owned(),
        };
        headers.insert("x-forwarded-for", forwarded.into());
        headers.insert("x-forwarded-port", self.api.port.to_string().into());
        headers.insert("x-forwarded-proto", "http".into());
        headers
    }
}

fn latin1_or_utf8(value: &HeaderValue) -> Cow<'_, str> {
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(value.as_bytes().iter().map(|&byte| char::from(byte)).collect()),
    }
}

/// Decoded; what came several times is joined by commas.
fn query_parameters(query: &str) -> BTreeMap<String, String> {
    let mut parameters: BTreeMap<String, String> = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decode_form(value);
        match parameters.get_mut(decode_form(name).as_str()) {
            Some(known) => {
                known.push(',');
                known.push_str(&value);
            }
            None => drop(parameters.insert(decode_form(name), value)),
        }
    }
    parameters
}

/// Percent-encoding, and `+` for a space.
fn decode_form(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_decode(spaced.as_bytes()).decode_utf8_lossy().into_owned()
}

/// What AWS was measured to treat as text: anything else, a missing type too, arrives as base64.
fn is_text(content_type: Option<&HeaderValue>) -> bool {
    let Some(Ok(content_type)) = content_type.map(HeaderValue::to_str) else { return false };
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence.starts_with("text/")
        || matches!(essence.as_str(), "application/json" | "application/xml" | "application/javascript")
}

/// Fifteen characters and an equals sign.
fn api_request_id() -> String {
    let random = uuid::Uuid::new_v4();
    let mut id = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&random.as_bytes()[..12]);
    id.truncate(15);
    id.push('=');
    id
}

/// The header that every answer of an HTTP API carries.
pub fn stamp(headers: &mut HeaderMap) {
    let id = HeaderValue::from_str(&api_request_id()).expect("base64 is a valid header");
    headers.insert(HeaderName::from_static("apigw-requestid"), id);
}

/// Why a result cannot be made into a response: AWS answers 500 and says nothing.
#[derive(Debug, PartialEq, Eq)]
pub enum Malformed {
    StatusCode(String),
    Headers(String),
    Cookies,
    Body(&'static str),
    Base64,
}

impl fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StatusCode(value) => write!(formatter, "a `statusCode` that is no HTTP status: {value}"),
            Self::Headers(name) => write!(formatter, "`headers` that cannot be sent: {name}"),
            Self::Cookies => write!(formatter, "`cookies` that are no list of texts"),
            Self::Body(kind) => write!(
                formatter,
                "a `body` that is {kind}; it must be text\nhint: use `json.dumps(...)` for what you return as `body`"
            ),
            Self::Base64 => {
                write!(formatter, "a `body` that is not base64, although `isBase64Encoded` is true")
            }
        }
    }
}

/// A result with a `statusCode` describes the response; anything else is the body of a 200.
pub fn response(payload: Vec<u8>) -> Result<Response<Body>, Malformed> {
    let first = payload.iter().copied().find(|byte| !byte.is_ascii_whitespace());
    let mut response = match first {
        Some(b'{') => match serde_json::from_slice::<serde_json::Map<String, Value>>(&payload) {
            Ok(object) if object.contains_key("statusCode") => described(object)?,
            _ => inferred(payload),
        },
        // The one kind of result that is not passed through: text loses its quotes.
        Some(b'"') => match serde_json::from_slice::<String>(&payload) {
            Ok(text) => inferred(text.into_bytes()),
            Err(_) => inferred(payload),
        },
        _ => inferred(payload),
    };
    stamp(response.headers_mut());
    Ok(response)
}

fn inferred(body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn described(mut object: serde_json::Map<String, Value>) -> Result<Response<Body>, Malformed> {
    let status = status(&object["statusCode"])?;
    let mut headers = HeaderMap::new();
    match object.remove("cookies") {
        None | Some(Value::Null) => {}
        Some(Value::Array(cookies)) => {
            for cookie in cookies {
                let value = cookie.as_str().and_then(|cookie| HeaderValue::from_str(cookie).ok());
                headers.append(header::SET_COOKIE, value.ok_or(Malformed::Cookies)?);
            }
        }
        Some(_) => return Err(Malformed::Cookies),
    }
    match object.remove("headers") {
        None | Some(Value::Null) => {}
        Some(Value::Object(given)) => {
            for (name, value) in given {
                add_header(&mut headers, &name, &value)?;
            }
        }
        Some(_) => return Err(Malformed::Headers("they are no object".to_owned())),
    }
    let body = match object.remove("body") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(text)) if object.get("isBase64Encoded") == Some(&Value::Bool(true)) => {
            BASE64.decode(text.as_bytes()).map_err(|_| Malformed::Base64)?
        }
        Some(Value::String(text)) => text.into_bytes(),
        Some(other) => return Err(Malformed::Body(kind(&other))),
    };
    if !headers.contains_key(header::CONTENT_TYPE) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    }
    // 1xx, 204 and 304 have no body, whatever the function says.
    let bodiless = status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
    let mut response = Response::new(if bodiless { Body::empty() } else { Body::from(body) });
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

fn status(value: &Value) -> Result<StatusCode, Malformed> {
    let number = match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    // 1xx would leave the client waiting for the real answer.
    number
        .filter(|number| (200..=599).contains(number))
        .and_then(|number| StatusCode::from_u16(number as u16).ok())
        .ok_or_else(|| Malformed::StatusCode(value.to_string()))
}

fn add_header(headers: &mut HeaderMap, name: &str, value: &Value) -> Result<(), Malformed> {
    let text = match value {
        Value::String(text) => Cow::Borrowed(text.as_str()),
        Value::Number(number) => number.to_string().into(),
        Value::Bool(flag) => flag.to_string().into(),
        Value::Null => return Ok(()),
        other => return Err(Malformed::Headers(format!("`{name}` is {}", kind(other)))),
    };
    let parsed = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| Malformed::Headers(format!("{name:?} is no name")))?;
    let value = HeaderValue::from_bytes(text.as_bytes())
        .map_err(|_| Malformed::Headers(format!("`{name}` has characters that no header may have")))?;
    // Those that describe the transfer are ours to write.
    if matches!(parsed.as_str(), "content-length" | "transfer-encoding" | "connection" | "keep-alive") {
        return Ok(());
    }
    headers.append(parsed, value);
    Ok(())
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

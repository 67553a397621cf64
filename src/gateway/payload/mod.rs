//! A request as the event of its integration, and the function's result as a response: one file for
//! each form that AWS has for them.
//!
//! | file | what it knows |
//! |---|---|
//! | `v1` | events of REST APIs, and of HTTP APIs in format 1.0 |
//! | `v2` | events and responses of HTTP APIs in format 2.0 |
//! | `rest` | responses of REST APIs, and the header names that they do not let through |
//! | `function_url`, `load_balancer` | theirs |
//! | `fields`, `query`, `text`, `authorizer` | parts of events: headers, query, body, who is asking |
//! | `joined` | names and values, each name once |
//! | `json` | how an event becomes text |
//! | `result` | parts of responses |
//! | `reader` | the JSON of results |

pub mod authorizer;
pub mod fields;
mod function_url;
mod joined;
mod json;
mod load_balancer;
pub mod query;
mod reader;
pub mod rest;
mod result;
pub mod text;
mod v1;
mod v2;

#[cfg(test)]
mod golden;
#[cfg(test)]
pub use golden::{describe, request as golden_request};

use axum::body::Body;
use http::Response;
use http::header::{Entry, HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

use super::Site;
use super::request::{Caller, Matched, REQUEST_ID, Request};
use crate::api::{Kind, PayloadVersion};

pub use result::Malformed;
pub use text::essence;

/// The event that a proxy integration gets. `request_id`: the invocation's.
pub fn event(
    request: &Request,
    matched: &Matched,
    version: PayloadVersion,
    caller: &Caller,
    site: &Site,
    request_id: &str,
) -> Vec<u8> {
    match (matched.kind(), version) {
        (Kind::Rest, _) => v1::rest_event(request, matched, caller, site),
        (Kind::FunctionUrl, _) => function_url::event(request, matched, caller, site, request_id),
        (Kind::LoadBalancer, _) => load_balancer::event(request, matched, site),
        (Kind::Http | Kind::WebSocket, PayloadVersion::V1) => v1::http_event(request, matched, caller, site),
        (Kind::Http | Kind::WebSocket, PayloadVersion::V2) => v2::event(request, matched, caller, site),
    }
}

/// The response that a proxy integration's result describes.
pub fn response(
    payload: Vec<u8>,
    request: &Request,
    matched: &Matched,
    version: PayloadVersion,
) -> Result<Response<Body>, Malformed> {
    match (matched.kind(), version) {
        (Kind::Rest, _) => {
            let mut response = rest::response(&payload, request, &matched.api.binary_media_types)?;
            add_trace(response.headers_mut(), request, &matched.api.id);
            Ok(response)
        }
        (Kind::FunctionUrl, _) => function_url::response(payload),
        (Kind::LoadBalancer, _) => load_balancer::response(&payload, load_balancer::target_group(matched).1),
        (Kind::Http | Kind::WebSocket, PayloadVersion::V1) => v1::http_response(&payload),
        (Kind::Http | Kind::WebSocket, PayloadVersion::V2) => v2::response(payload),
    }
}

/// The ids that every answer of this kind of API carries, be it the function's or the gateway's own.
pub fn stamp(headers: &mut HeaderMap, kind: Kind, request: &Request) {
    match kind {
        Kind::Rest => {
            headers.insert("x-amzn-requestid", value(&request.uuid));
            headers.insert("x-amz-apigw-id", value(&request.id));
        }
        Kind::Http | Kind::WebSocket => {
            headers.insert(&REQUEST_ID, value(&request.id));
        }
        Kind::FunctionUrl => {
            // A stream has been given its invocation's already.
            headers.entry("x-amzn-requestid").or_insert_with(|| value(&request.uuid));
        }
        Kind::LoadBalancer => {
            if let Entry::Vacant(entry) = headers.entry(http::header::SERVER) {
                entry.insert(HeaderValue::from_static("awselb/2.0"));
            }
        }
    }
}

/// What a REST API adds when a function has been asked.
pub fn add_trace(headers: &mut HeaderMap, request: &Request, api_id: &str) {
    let lineage = hash(&[api_id]);
    let [a, b, c, d, ..] = lineage;
    let trace = format!("{};Lineage=1:{a:02x}{b:02x}{c:02x}{d:02x}:0", request.trace.for_function());
    headers.insert(HeaderName::from_static("x-amzn-trace-id"), value(&trace));
}

/// As events name it: whoever speaks HTTP/1.0 gets what speaks HTTP/1.1 gets.
pub fn protocol(request: &Request) -> &'static str {
    if request.head.version == http::Version::HTTP_2 { "HTTP/2.0" } else { "HTTP/1.1" }
}

/// The last value of this query parameter, decoded.
pub fn query_parameter(query: &str, name: &str) -> Option<String> {
    query::decoded(query).filter(|(known, _)| known == name).last().map(|(_, value)| value.into_owned())
}

/// Ids are letters, digits and a few signs.
fn value(id: &str) -> HeaderValue {
    HeaderValue::from_str(id).expect("an id is a valid header")
}

/// Six of `[a-z0-9]` that stay the same for the same thing.
pub fn short_id(parts: &[&str]) -> String {
    const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    hash(parts)[..6].iter().map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()])).collect()
}

fn hash(parts: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.finalize().into()
}

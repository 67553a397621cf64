//! The management API of connections: what boto3's `apigatewaymanagementapi` speaks to.
//!
//! On AWS every request is signed. Here none has to be, because whoever reaches this port can do
//! worse; but a web page never gets in: it could not sign either.

use axum::body::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use percent_encoding::percent_decode_str;
use serde_json::json;

use super::super::error::GatewayError;
use super::super::request;
use super::super::{Gateway, Line};
use super::connections::Refused;
use crate::api::Api;

/// `id`: as in the path, percent-encoded.
pub async fn answer(
    gateway: &Gateway,
    request: Request<Body>,
    api: &Api,
    stage: usize,
    id: &str,
    line: &mut Line,
) -> Result<Response<Body>, GatewayError> {
    let (head, body) = request.into_parts();
    let connections = gateway.connections();
    let mut refuse = |status: u16, kind: &str, message: Option<&str>, note: String| {
        line.note = Some(note);
        Ok(error(status, kind, message))
    };
    if comes_from_a_page(&head.headers) {
        let note = "a web page asked for `/@connections`; only handlers and tools may".to_owned();
        return refuse(403, "ForbiddenException", Some("Forbidden"), note);
    }
    let id = percent_decode_str(id).decode_utf8_lossy();
    if !is_id(&id) {
        let note = "that is no id of a connection: it has 15 characters and `=`".to_owned();
        let message = format!("Invalid connectionId: {}", id.chars().take(64).collect::<String>());
        return refuse(400, "BadRequestException", Some(&message), note);
    }
    let stage = &api.stages[stage].name;
    let gone = || "there is no such connection in this stage, or not yet, or not any more".to_owned();
    let Some(connection) = connections.get(&id, &api.id, stage) else {
        return refuse(410, "GoneException", None, gone());
    };
    match head.method {
        Method::POST => {
            let limit = connections.limits().message;
            let message = match request::read_body(&head, body, limit).await {
                Ok(message) => message,
                Err(GatewayError::TooLarge) => {
                    let note = format!("a message may have {limit} bytes");
                    return refuse(413, "PayloadTooLargeException", Some("Message too long"), note);
                }
                Err(error) => return Err(error),
            };
            match connection.post(message) {
                Ok(()) => Ok(answer_with(StatusCode::OK, Body::empty())),
                Err(Refused::Gone) => refuse(410, "GoneException", None, gone()),
                Err(Refused::Full) => {
                    let note = "the client does not read what is sent to it".to_owned();
                    let message = "The WebSocket client side buffer is full";
                    refuse(429, "LimitExceededException", Some(message), note)
                }
            }
        }
        Method::GET => {
            let client = &connection.client;
            let description = json!({
                "connectedAt": format!("{:.3}", client.connected_at),
                "identity": {"sourceIp": client.source_ip, "userAgent": client.user_agent},
                "lastActiveAt": format!("{:.3}", connection.last_active()),
            });
            Ok(answer_with(StatusCode::OK, Body::from(description.to_string())))
        }
        Method::DELETE => {
            connections.remove(&id);
            connection.deleted.notify_one();
            Ok(answer_with(StatusCode::NO_CONTENT, Body::empty()))
        }
        _ => {
            let note = "connections know POST, GET and DELETE".to_owned();
            let message = "Missing Authentication Token";
            refuse(403, "MissingAuthenticationTokenException", Some(message), note)
        }
    }
}

/// Scripts and links of a page; not what somebody types into the address bar.
fn comes_from_a_page(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site");
    headers.contains_key(header::ORIGIN) || site.is_some_and(|site| site.as_bytes() != b"none")
}

fn is_id(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'+' | b'/');
    id.strip_suffix('=').is_some_and(|letters| letters.len() == 15 && letters.bytes().all(plain))
}

fn answer_with(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let id = uuid::Uuid::new_v4().to_string();
    let id = HeaderValue::from_str(&id).expect("a UUID is a valid header");
    headers.insert(HeaderName::from_static("x-amzn-requestid"), id);
    response
}

/// `GoneException` has no message.
fn error(status: u16, kind: &str, message: Option<&str>) -> Response<Body> {
    let body = message.map_or_else(|| json!({}), |message| json!({ "message": message }));
    let status = StatusCode::from_u16(status).expect("a status of ours");
    let mut response = answer_with(status, Body::from(body.to_string()));
    let kind = HeaderValue::from_str(kind).expect("a name of ours");
    response.headers_mut().insert(HeaderName::from_static("x-amzn-errortype"), kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_told_from_what_somebody_made_up() {
        for _ in 0..100 {
            assert!(is_id(&super::super::super::request::new_id()));
        }
        for wrong in ["", "undefined", "=", "Ug1abcDEFghiJKL", "Ug1abcDEFghiJKLM=", "Ug1abcDEFghiJ\u{e9}="] {
            assert!(!is_id(wrong), "{wrong}");
        }
    }

    #[test]
    fn pages_are_told_from_handlers() {
        let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            let pairs = pairs
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            pairs.collect()
        };
        assert!(!comes_from_a_page(&headers(&[("user-agent", "Boto3/1.43")])));
        assert!(!comes_from_a_page(&headers(&[("sec-fetch-site", "none")])));
        assert!(comes_from_a_page(&headers(&[("origin", "http://localhost:3000")])));
        assert!(comes_from_a_page(&headers(&[("origin", "null")])));
        assert!(comes_from_a_page(&headers(&[("sec-fetch-site", "same-origin")])));
        assert!(comes_from_a_page(&headers(&[("sec-fetch-site", "cross-site")])));
    }
}

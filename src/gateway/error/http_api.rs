//! What an HTTP API says.

use axum::body::Body;
use http::{Response, StatusCode};

use super::{GatewayError, json, set_www_authenticate};

pub fn answer(error: &GatewayError) -> Response<Body> {
    let (status, body) = match error {
        GatewayError::NotFound { .. } | GatewayError::UnknownApi { .. } => {
            (StatusCode::NOT_FOUND, r#"{"message":"Not Found"}"#)
        }
        GatewayError::Throttled(_) | GatewayError::IntegrationTimeout(_) | GatewayError::Unreachable(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, r#"{"message":"Service Unavailable"}"#)
        }
        GatewayError::TooLarge => {
            (StatusCode::PAYLOAD_TOO_LARGE, r#"{"message":"Request Entity Too Large"}"#)
        }
        GatewayError::HeadersTooLarge(_) => {
            let body = r#"{"message":"Request Header Fields Too Large"}"#;
            (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, body)
        }
        GatewayError::BadRequest(_) | GatewayError::MissingParameters(_) => {
            (StatusCode::BAD_REQUEST, r#"{"message":"Bad Request"}"#)
        }
        GatewayError::UnsupportedMediaType => {
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, r#"{"message":"Unsupported Media Type"}"#)
        }
        GatewayError::Unauthorized { .. } => (StatusCode::UNAUTHORIZED, r#"{"message":"Unauthorized"}"#),
        GatewayError::Forbidden(_)
        | GatewayError::AccessDenied { .. }
        | GatewayError::MissingAuthenticationToken
        | GatewayError::InvalidSignature { .. }
        | GatewayError::InvalidApiKey(_) => (StatusCode::FORBIDDEN, r#"{"message":"Forbidden"}"#),
        GatewayError::TooManyRequests(_) | GatewayError::QuotaExceeded(_) => {
            (StatusCode::TOO_MANY_REQUESTS, r#"{"message":"Too Many Requests"}"#)
        }
        GatewayError::FunctionError { .. }
        | GatewayError::Malformed { .. }
        | GatewayError::Integration(_)
        | GatewayError::AuthorizerFailed { .. } => {
            (StatusCode::INTERNAL_SERVER_ERROR, r#"{"message":"Internal Server Error"}"#)
        }
    };
    let mut response = json(status, body);
    set_www_authenticate(&mut response, error);
    response
}

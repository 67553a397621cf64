//! What a function URL says: Lambda itself speaks, not an API Gateway.

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;

use super::{GatewayError, json as json_answer, set_error_type};

const FORBIDDEN: &str = r#"{"Message":"Forbidden. For troubleshooting Function URL authorization issues, see: https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"}"#;

pub fn answer(error: &GatewayError) -> Response<Body> {
    let (status, error_type, body) = match error {
        GatewayError::NotFound { .. } | GatewayError::UnknownApi { .. } => {
            (StatusCode::FORBIDDEN, "AccessDeniedException", r#"{"Message":null}"#.to_owned())
        }
        GatewayError::Throttled(_) | GatewayError::TooManyRequests(_) | GatewayError::QuotaExceeded(_) => (
            StatusCode::TOO_MANY_REQUESTS,
            "TooManyRequestsException",
            r#"{"Reason":"ConcurrentInvocationLimitExceeded","Type":"User","message":"Rate Exceeded."}"#
                .to_owned(),
        ),
        GatewayError::TooLarge => (
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestEntityTooLargeException",
            r#"{"message":"Request must be smaller than 6291456 bytes for the InvokeFunction operation"}"#
                .to_owned(),
        ),
        GatewayError::HeadersTooLarge(_) => (
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "RequestEntityTooLargeException",
            r#"{"message":"Request Header Fields Too Large"}"#.to_owned(),
        ),
        GatewayError::BadRequest(_) | GatewayError::MissingParameters(_) => {
            (StatusCode::BAD_REQUEST, "BadRequestException", r#"{"message":"Bad Request"}"#.to_owned())
        }
        GatewayError::UnsupportedMediaType => (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaTypeException",
            r#"{"message":"Unsupported Media Type"}"#.to_owned(),
        ),
        GatewayError::InvalidSignature { message } => (
            StatusCode::FORBIDDEN,
            super::rest::signature_error_type(message),
            json!({ "message": message }).to_string(),
        ),
        GatewayError::Forbidden(_)
        | GatewayError::Unauthorized { .. }
        | GatewayError::AccessDenied { .. }
        | GatewayError::MissingAuthenticationToken
        | GatewayError::InvalidApiKey(_) => {
            (StatusCode::FORBIDDEN, "AccessDeniedException", FORBIDDEN.to_owned())
        }
        GatewayError::FunctionError { .. }
        | GatewayError::Malformed { .. }
        | GatewayError::Integration(_)
        | GatewayError::Unreachable(_)
        | GatewayError::IntegrationTimeout(_)
        | GatewayError::AuthorizerFailed { .. } => return failed(),
    };
    let mut response = json_answer(status, body);
    set_error_type(&mut response, error_type);
    response
}

/// The one answer that is no JSON.
fn failed() -> Response<Body> {
    let mut response = Response::new(Body::from("Internal Server Error"));
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

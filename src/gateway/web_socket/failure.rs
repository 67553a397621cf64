//! What a client hears when its message or its connection comes to nothing.

use axum::body::{Body, Bytes};
use http::{HeaderValue, Response, StatusCode, header};

use super::super::error::GatewayError;

/// The status, and a message that says which connection and which request.
pub fn explain(error: &GatewayError, connection_id: &str, request_id: &str) -> (StatusCode, Bytes) {
    // The space after the first colon is AWS's, in some of them.
    let (status, message) = match error {
        GatewayError::Forbidden(_)
        | GatewayError::AccessDenied { .. }
        | GatewayError::InvalidApiKey(_)
        | GatewayError::NotFound { .. } => (StatusCode::FORBIDDEN, r#""Forbidden""#),
        GatewayError::Unauthorized { .. } => (StatusCode::UNAUTHORIZED, r#""Unauthorized""#),
        GatewayError::TooManyRequests(_) => (StatusCode::TOO_MANY_REQUESTS, r#""Too Many Requests""#),
        GatewayError::QuotaExceeded(_) => (StatusCode::TOO_MANY_REQUESTS, r#""Limit Exceeded""#),
        GatewayError::IntegrationTimeout(_) => {
            (StatusCode::GATEWAY_TIMEOUT, r#" "Endpoint request timed out""#)
        }
        _ => (StatusCode::BAD_GATEWAY, r#" "Internal server error""#),
    };
    let text =
        format!(r#"{{"message":{message}, "connectionId":"{connection_id}", "requestId":"{request_id}"}}"#);
    (status, text.into())
}

/// The same, before there is a connection.
pub fn response(error: &GatewayError, connection_id: &str, request_id: &str) -> Response<Body> {
    let (status, body) = explain(error, connection_id, request_id);
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_as_aws_tells_them() {
        for (error, status, text) in [
            (
                GatewayError::FunctionError { error_type: "KeyError".into() },
                502,
                r#"{"message": "Internal server error", "connectionId":"c=", "requestId":"r="}"#,
            ),
            (
                GatewayError::Forbidden("no route".into()),
                403,
                r#"{"message":"Forbidden", "connectionId":"c=", "requestId":"r="}"#,
            ),
            (
                GatewayError::IntegrationTimeout(crate::api::REST_TIMEOUT),
                504,
                r#"{"message": "Endpoint request timed out", "connectionId":"c=", "requestId":"r="}"#,
            ),
        ] {
            let (code, body) = explain(&error, "c=", "r=");
            assert_eq!((code.as_u16(), std::str::from_utf8(&body).unwrap()), (status, text));
            assert!(serde_json::from_slice::<serde_json::Value>(&body).is_ok());
        }
    }
}

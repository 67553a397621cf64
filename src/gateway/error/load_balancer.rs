//! What a load balancer says: a page with nothing but the status.

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};

use super::GatewayError;

pub fn answer(error: &GatewayError) -> Response<Body> {
    let (status, words) = match error {
        GatewayError::NotFound { .. } | GatewayError::UnknownApi { .. } => {
            (StatusCode::NOT_FOUND, "404 Not Found")
        }
        GatewayError::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "413 Request Entity Too Large"),
        GatewayError::BadRequest(_)
        | GatewayError::HeadersTooLarge(_)
        | GatewayError::MissingParameters(_)
        | GatewayError::UnsupportedMediaType => (StatusCode::BAD_REQUEST, "400 Bad Request"),
        GatewayError::Unauthorized { .. } | GatewayError::MissingAuthenticationToken => {
            (StatusCode::UNAUTHORIZED, "401 Authorization Required")
        }
        GatewayError::Forbidden(_)
        | GatewayError::AccessDenied { .. }
        | GatewayError::InvalidSignature { .. }
        | GatewayError::InvalidApiKey(_) => (StatusCode::FORBIDDEN, "403 Forbidden"),
        GatewayError::TooManyRequests(_) | GatewayError::QuotaExceeded(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, "503 Service Temporarily Unavailable")
        }
        // A function that fails, takes too long or has too much to do.
        GatewayError::FunctionError { .. }
        | GatewayError::Malformed { .. }
        | GatewayError::Integration(_)
        | GatewayError::Unreachable(_)
        | GatewayError::Throttled(_)
        | GatewayError::IntegrationTimeout(_)
        | GatewayError::AuthorizerFailed { .. } => (StatusCode::BAD_GATEWAY, "502 Bad Gateway"),
    };
    let page = format!(
        "<html>\r\n<head><title>{words}</title></head>\r\n<body>\r\n<center><h1>{words}</h1></center>\r\n</body>\r\n</html>\r\n"
    );
    let mut response = Response::new(Body::from(page));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
    response
}

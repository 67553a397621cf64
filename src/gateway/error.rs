//! Everything that the HTTP API itself answers, byte for byte as AWS does.

use std::time::Duration;

use axum::body::Body;
use http::{Response, StatusCode, header};

use super::payload_v2::{self, Malformed};

#[derive(Debug)]
pub enum GatewayError {
    NotFound {
        hint: Option<String>,
    },
    /// The handler raised, timed out or ended: the explanation has been given where it happened.
    FunctionError {
        error_type: String,
    },
    Malformed {
        function: String,
        malformed: Malformed,
    },
    /// The function could not be asked.
    Integration(String),
    Throttled(String),
    IntegrationTimeout(Duration),
    TooLarge,
    BadRequest(&'static str),
}

impl GatewayError {
    fn answer(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NotFound { .. } => (StatusCode::NOT_FOUND, r#"{"message":"Not Found"}"#),
            Self::FunctionError { .. } | Self::Malformed { .. } | Self::Integration(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, r#"{"message":"Internal Server Error"}"#)
            }
            Self::Throttled(_) | Self::IntegrationTimeout(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, r#"{"message":"Service Unavailable"}"#)
            }
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, r#"{"message":"Request Entity Too Large"}"#),
            Self::BadRequest(_) => (StatusCode::BAD_REQUEST, r#"{"message":"Bad Request"}"#),
        }
    }

    /// What the terminal adds to the request's line.
    pub fn note(&self) -> Option<String> {
        match self {
            Self::NotFound { hint } => hint.clone(),
            Self::FunctionError { error_type } => Some(error_type.clone()),
            Self::Malformed { function, malformed } => Some(format!("{function} returned {malformed}")),
            Self::Integration(reason) | Self::Throttled(reason) => Some(reason.clone()),
            Self::IntegrationTimeout(limit) => {
                let seconds = limit.as_secs_f64();
                Some(format!(
                    "an HTTP API waits {seconds} s for its integration; the function goes on without a listener"
                ))
            }
            Self::TooLarge => {
                Some("the request is larger than Lambda takes (6 MB as an event, 10 MB as a body)".to_owned())
            }
            Self::BadRequest(reason) => Some((*reason).to_owned()),
        }
    }

    pub fn into_response(self) -> Response<Body> {
        let (status, body) = self.answer();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        payload_v2::stamp(headers);
        response
    }
}

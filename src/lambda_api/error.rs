//! What the Lambda API answers when it cannot do what was asked: AWS's codes, statuses and shapes,
//! down to whether it is `Message` or `message`.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use crate::invoker::InvokeError;

#[derive(Debug)]
pub enum ApiError {
    FunctionNotFound {
        arn: String,
    },
    OtherRegion {
        asked: String,
        here: String,
    },
    OtherAccount,
    Validation(String),
    InvalidParameter(String),
    InvalidContent(String),
    TooLarge,
    Throttled {
        explanation: String,
    },
    /// The function exists, but not in a state to be invoked.
    Conflict(String),
    NoRuntime(String),
    /// AWS has it; handlerd does not.
    NotImplemented(String),
    Forbidden(String),
}

impl ApiError {
    /// The outcome of asking the invoker for `arn`.
    pub fn of(error: InvokeError, arn: String) -> Self {
        match error {
            InvokeError::NotFound(_) => Self::FunctionNotFound { arn: format!("{arn}:$LATEST") },
            InvokeError::Broken { name, reason } => Self::Conflict(format!(
                "The operation cannot be performed at this time. The function is currently in the following state: \
                 Failed ({name}: {reason})"
            )),
            InvokeError::Throttled(explanation) => Self::Throttled { explanation },
            InvokeError::Unavailable(reason) => Self::NoRuntime(reason),
        }
    }

    fn parts(&self) -> (StatusCode, &'static str, serde_json::Value) {
        match self {
            Self::FunctionNotFound { arn } => (
                StatusCode::NOT_FOUND,
                "ResourceNotFoundException",
                json!({"Type": "User", "Message": format!("Function not found: {arn}")}),
            ),
            Self::OtherRegion { asked, here } => (
                StatusCode::NOT_FOUND,
                "ResourceNotFoundException",
                json!({"Type": "User", "Message": format!("Functions from '{asked}' are not reachable in this region ('{here}')")}),
            ),
            Self::OtherAccount => (StatusCode::FORBIDDEN, "AccessDeniedException", json!({"Message": null})),
            Self::Validation(message) => {
                (StatusCode::BAD_REQUEST, "ValidationException", json!({"message": message}))
            }
            Self::InvalidParameter(message) => (
                StatusCode::BAD_REQUEST,
                "InvalidParameterValueException",
                json!({"Type": "User", "message": message}),
            ),
            Self::InvalidContent(message) => (
                StatusCode::BAD_REQUEST,
                "InvalidRequestContentException",
                json!({"Type": "User", "message": message}),
            ),
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "RequestEntityTooLargeException",
                json!({"message": "Request must be smaller than 6291456 bytes for the InvokeFunction operation"}),
            ),
            Self::Throttled { .. } => (
                StatusCode::TOO_MANY_REQUESTS,
                "TooManyRequestsException",
                json!({"Reason": "ConcurrentInvocationLimitExceeded", "Type": "User", "message": "Rate Exceeded."}),
            ),
            Self::Conflict(message) => (
                StatusCode::CONFLICT,
                "ResourceConflictException",
                json!({"Type": "User", "message": message}),
            ),
            Self::NoRuntime(message) => (
                StatusCode::BAD_GATEWAY,
                "InvalidRuntimeException",
                json!({"Type": "Service", "Message": message}),
            ),
            Self::NotImplemented(what) => (
                StatusCode::NOT_IMPLEMENTED,
                "NotImplementedException",
                json!({"Type": "Service", "message": format!("handlerd does not support {what} yet")}),
            ),
            Self::Forbidden(message) => {
                (StatusCode::FORBIDDEN, "AccessDeniedException", json!({"message": message}))
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code, body) = self.parts();
        match &self {
            Self::Throttled { explanation } | Self::NoRuntime(explanation) | Self::Conflict(explanation) => {
                tracing::warn!(target: "request", "{code}: {explanation}");
            }
            Self::NotImplemented(what) => tracing::warn!(target: "request", "{what} is not supported yet"),
            _ => {}
        }
        let mut response = (status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert("x-amzn-errortype", HeaderValue::from_static(code));
        let id = crate::invocation::Invocation::new_request_id();
        headers.insert("x-amzn-requestid", HeaderValue::from_str(&id).expect("a UUID is a valid header"));
        if status == StatusCode::TOO_MANY_REQUESTS {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

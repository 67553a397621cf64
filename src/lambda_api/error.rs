//! What the Lambda API answers when it cannot do what was asked: AWS's codes, statuses and shapes,
//! down to whether it is `Message` or `message`.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use crate::invoker::{AcceptError, InvokeError, ThrottleReason, Throttled};
use crate::store::StoreError;

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
        reason: ThrottleReason,
        explanation: String,
    },
    /// A chain of invocations that leads to itself.
    Recursive(String),
    /// The function exists, but not in a state to be invoked.
    Conflict(String),
    NoRuntime(String),
    /// Something else than a function is not there.
    NotFound(String),
    /// The revision that the caller knows is not the latest.
    PreconditionFailed(String),
    /// A body, a zip file or a policy is too large; the code is the caller's.
    Exceeded {
        code: &'static str,
        message: String,
    },
    /// Any other exception of the service model whose body has `message` and `Type: User`.
    Exception {
        status: StatusCode,
        code: &'static str,
        message: String,
    },
    /// The state could not be written or read: nothing was done.
    Store(String),
    /// AWS has it; handlerd does not.
    NotImplemented(String),
    Forbidden(String),
}

impl ApiError {
    /// The outcome of asking the invoker for `arn`.
    pub fn of(error: InvokeError, arn: String) -> Self {
        match error {
            InvokeError::NotFound(name) => {
                let qualifier =
                    name.split_once(':').map_or(crate::function::LATEST, |(_, qualifier)| qualifier);
                Self::FunctionNotFound { arn: format!("{arn}:{qualifier}") }
            }
            InvokeError::Broken { name, reason } => Self::Conflict(format!(
                "The operation cannot be performed at this time. The function is currently in the following state: \
                 Failed ({name}: {reason})"
            )),
            InvokeError::Throttled(Throttled { reason, explanation }) => {
                Self::Throttled { reason, explanation }
            }
            InvokeError::Recursive(message) => Self::Recursive(message),
            InvokeError::Unavailable(reason) => Self::NoRuntime(reason),
        }
    }

    /// The same for an event that was not taken.
    pub fn of_event(error: AcceptError, arn: String) -> Self {
        match error {
            AcceptError::Invoke(error) => Self::of(error, arn),
            AcceptError::Store(error) => error.into(),
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
            Self::Throttled { reason, .. } => (
                StatusCode::TOO_MANY_REQUESTS,
                "TooManyRequestsException",
                json!({"Reason": format!("{reason:?}"), "Type": "User", "message": "Rate Exceeded."}),
            ),
            Self::Recursive(message) => (
                StatusCode::BAD_REQUEST,
                "RecursiveInvocationException",
                json!({"Type": "User", "Message": message}),
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
            Self::NotFound(message) => (
                StatusCode::NOT_FOUND,
                "ResourceNotFoundException",
                json!({"Type": "User", "Message": message}),
            ),
            Self::PreconditionFailed(message) => (
                StatusCode::PRECONDITION_FAILED,
                "PreconditionFailedException",
                json!({"Type": "User", "message": message}),
            ),
            Self::Exceeded { code, message } => {
                (StatusCode::PAYLOAD_TOO_LARGE, code, json!({"message": message}))
            }
            Self::Exception { status, code, message } => {
                (*status, code, json!({"Type": "User", "message": message}))
            }
            Self::Store(message) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceException",
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

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code, body) = self.parts();
        match &self {
            Self::Throttled { explanation, .. }
            | Self::NoRuntime(explanation)
            | Self::Conflict(explanation)
            | Self::Recursive(explanation) => {
                tracing::warn!(target: "request", "{code}: {explanation}");
            }
            Self::Store(reason) => tracing::error!(target: "request", "{reason}"),
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

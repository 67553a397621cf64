//! What was sent to be written, and why it was not.

use std::time::Duration;

use axum::body::{Body, Bytes};
use http::{HeaderMap, StatusCode, header};

use super::error::ViewError;
use crate::deployment::EditError;

/// A body comes within this, or not at all.
const PATIENCE: Duration = Duration::from_secs(30);

/// The whole body.
pub async fn whole(body: Body, most: usize) -> Result<Bytes, ViewError> {
    match tokio::time::timeout(PATIENCE, axum::body::to_bytes(body, most)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => {
            let message = format!("the body is longer than {most} bytes, or did not come to its end");
            Err(ViewError::new(StatusCode::PAYLOAD_TOO_LARGE, message))
        }
        Err(_) => {
            let message = format!("the body did not come within {} s", PATIENCE.as_secs());
            Err(ViewError::new(StatusCode::REQUEST_TIMEOUT, message))
        }
    }
}

/// The revision that the caller has seen: `If-Match: "..."`; `*` is any.
pub fn known_revision(headers: &HeaderMap) -> Option<String> {
    let known = headers.get(header::IF_MATCH)?.to_str().ok()?.trim();
    (known != "*").then(|| known.trim_matches('"').to_owned())
}

impl From<EditError> for ViewError {
    fn from(error: EditError) -> Self {
        let status = match &error {
            EditError::NotFound(_) | EditError::NoEvent { .. } => StatusCode::NOT_FOUND,
            EditError::Refused(_) | EditError::Archive(_) => StatusCode::BAD_REQUEST,
            EditError::Outdated(_) => StatusCode::PRECONDITION_FAILED,
            EditError::Declared { .. }
            | EditError::NoHandlers(_)
            | EditError::InTheWay { .. }
            | EditError::Unreadable { .. } => StatusCode::CONFLICT,
            EditError::Disk { .. } => StatusCode::SERVICE_UNAVAILABLE,
        };
        let text = error.to_string();
        match text.split_once("\nhint: ") {
            Some((message, hint)) => Self::new(status, message).hint(hint),
            None => Self::new(status, text),
        }
    }
}

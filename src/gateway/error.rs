//! Everything that the gateway itself answers, byte for byte as AWS does, by kind of API.

mod customised;
mod function_url;
mod http_api;
mod load_balancer;
mod rest;

use std::time::Duration;

use axum::body::Body;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};

use super::payload::{self, Malformed};
use super::request::{Matched, Request};
use crate::api::{Api, Kind};
use crate::invoker::{ThrottleReason, Throttled};

#[derive(Debug)]
pub enum GatewayError {
    NotFound {
        hint: Option<String>,
    },
    /// The address names an API that is not there.
    UnknownApi {
        name: String,
        known: Vec<String>,
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
    /// The server behind an HTTP_PROXY does not answer.
    Unreachable(String),
    /// The function has too much to do.
    Throttled(Throttled),
    IntegrationTimeout(Duration),
    TooLarge,
    /// So many bytes of header fields.
    HeadersTooLarge(usize),
    BadRequest(&'static str),
    /// No identity, or one that does not convince.
    Unauthorized {
        reason: String,
        www_authenticate: Option<String>,
    },
    Forbidden(String),
    /// The authorizer's policy does not allow it.
    AccessDenied {
        explicit: bool,
        reason: String,
    },
    /// The authorizer did not come to a decision. `configuration`: it answered what cannot be understood.
    AuthorizerFailed {
        configuration: bool,
        reason: String,
    },
    /// IAM: not signed.
    MissingAuthenticationToken,
    /// IAM: signed, but not well. With the message that the client gets.
    InvalidSignature {
        message: String,
    },
    InvalidApiKey(String),
    TooManyRequests(String),
    QuotaExceeded(String),
    /// REST, in AWS's order.
    MissingParameters(Vec<String>),
    UnsupportedMediaType,
}

/// What an answer of the gateway's own is about, as far as that is known when it is given.
#[derive(Clone, Copy)]
pub struct About<'a> {
    pub kind: Kind,
    pub request: &'a Request,
    pub api: Option<&'a Api>,
    pub matched: Option<&'a Matched>,
}

impl<'a> About<'a> {
    pub fn matched(request: &'a Request, matched: &'a Matched) -> Self {
        Self { kind: matched.kind(), request, api: Some(&matched.api), matched: Some(matched) }
    }
}

impl GatewayError {
    /// What the terminal adds to the request's line.
    pub fn note(&self) -> Option<String> {
        match self {
            Self::NotFound { hint } => hint.clone(),
            Self::UnknownApi { name, known } if known.is_empty() => {
                Some(format!("nothing here is called `{name}`"))
            }
            Self::UnknownApi { name, known } => {
                Some(format!("nothing here is called `{name}`; there is {}", known.join(", ")))
            }
            Self::FunctionError { error_type } => Some(error_type.clone()),
            Self::Malformed { function, malformed } => Some(format!("{function} returned {malformed}")),
            Self::IntegrationTimeout(limit) => {
                let seconds = limit.as_secs_f64();
                Some(format!(
                    "the API waits {seconds} s for its integration; a function that has begun goes on without a listener"
                ))
            }
            Self::TooLarge => {
                let limits = "6 MB as an event, 10 MB as a body; 1 MB behind a load balancer";
                Some(format!("the request is larger than Lambda takes ({limits})"))
            }
            Self::HeadersTooLarge(bytes) => {
                Some(format!("{bytes} bytes of header fields, of which an API takes {HEADERS_LIMIT}"))
            }
            Self::BadRequest(reason) => Some((*reason).to_owned()),
            Self::Throttled(throttled) => Some(throttled.explanation.clone()),
            Self::MissingAuthenticationToken => {
                Some("the route asks for a signed request (AWS_IAM)".to_owned())
            }
            Self::InvalidSignature { message } => Some(message.clone()),
            Self::MissingParameters(names) => Some(format!("missing: {}", names.join(", "))),
            Self::UnsupportedMediaType => Some("no mapping template is for this Content-Type".to_owned()),
            Self::Integration(reason)
            | Self::Unreachable(reason)
            | Self::Unauthorized { reason, .. }
            | Self::Forbidden(reason)
            | Self::AccessDenied { reason, .. }
            | Self::AuthorizerFailed { reason, .. }
            | Self::InvalidApiKey(reason)
            | Self::TooManyRequests(reason)
            | Self::QuotaExceeded(reason) => Some(reason.clone()),
        }
    }

    /// As this kind of API says it.
    pub fn into_response(self, about: About<'_>) -> Response<Body> {
        let mut response = match about.kind {
            Kind::Rest => rest::answer(&self, about),
            Kind::Http | Kind::WebSocket => http_api::answer(&self),
            Kind::FunctionUrl => function_url::answer(&self),
            Kind::LoadBalancer => load_balancer::answer(&self),
        };
        let is_told =
            matches!(response.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        if is_told && self.is_overload() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        payload::stamp(response.headers_mut(), about.kind, about.request);
        response
    }

    /// This machine has too much to do, which passes. AWS has no such header with what it throttles:
    /// limits that were asked for (a reserved share, a stage's rate) are told as AWS tells them.
    fn is_overload(&self) -> bool {
        let overload = ThrottleReason::ConcurrentInvocationLimitExceeded;
        matches!(self, Self::Throttled(throttled) if throttled.reason == overload)
    }
}

/// Of all header fields together, for REST and HTTP APIs.
const HEADERS_LIMIT: usize = 10_240;

/// REST and HTTP APIs take only so many bytes of header fields.
pub fn check_headers(kind: Kind, headers: &HeaderMap) -> Result<(), GatewayError> {
    if !matches!(kind, Kind::Rest | Kind::Http) {
        return Ok(());
    }
    let bytes = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes > HEADERS_LIMIT { Err(GatewayError::HeadersTooLarge(bytes)) } else { Ok(()) }
}

/// An answer whose body is JSON.
fn json(status: StatusCode, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn set_error_type(response: &mut Response<Body>, error_type: &'static str) {
    response.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(error_type));
}

/// How to identify oneself, for those who did not.
fn set_www_authenticate(response: &mut Response<Body>, error: &GatewayError) {
    if let GatewayError::Unauthorized { www_authenticate: Some(challenge), .. } = error
        && let Ok(challenge) = HeaderValue::from_str(challenge)
    {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
}

#[cfg(test)]
mod tests;

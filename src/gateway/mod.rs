//! API Gateway: route -> event -> invoke -> response.
//!
//! Without a template every function has the routes of an HTTP API, `ANY /NAME` and
//! `ANY /NAME/{proxy+}`, with payload format 2.0.

mod error;
mod payload_v2;
mod routes;

use std::convert::Infallible;
use std::time::Instant;

use axum::body::Body;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::http::Peer;
use crate::invocation::{Invocation, Outcome};
use crate::invoker::{InvokeError, Invoker};

use error::GatewayError;
pub use routes::{Route, of_function};

/// API Gateway's limit for a request's body.
const BODY_LIMIT: usize = 10 * 1024 * 1024;
/// Lambda's limit for the event that is made of it.
const EVENT_LIMIT: usize = 6_291_456;

/// A cheap handle: what is needed to answer a request.
#[derive(Clone)]
pub struct Gateway {
    invoker: Invoker,
    api: Api,
}

/// Who this API Gateway is, in the events.
#[derive(Clone)]
pub struct Api {
    pub id: std::sync::Arc<str>,
    pub account: std::sync::Arc<str>,
    /// The port that clients connect to.
    pub port: u16,
}

impl Gateway {
    pub fn new(invoker: Invoker, api_id: &str, port: u16) -> Self {
        let account = invoker.account().id.as_str().into();
        Self { invoker, api: Api { id: api_id.into(), account, port } }
    }

    pub fn service(self) -> axum::Router {
        axum::Router::new().fallback(move |request: Request<Body>| {
            let gateway = self.clone();
            async move { gateway.answer(request).await }
        })
    }

    /// Always answers; the terminal gets one line.
    async fn answer(&self, request: Request<Body>) -> Result<Response<Body>, Infallible> {
        let began = Instant::now();
        let method = request.method().clone();
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let mut line = Line { method, path, function: None, note: None };
        let response = match self.handle(request, &mut line).await {
            Ok(response) => response,
            Err(error) => {
                line.note = error.note();
                error.into_response()
            }
        };
        line.log(response.status().as_u16(), began);
        Ok(response)
    }

    async fn handle(&self, request: Request<Body>, line: &mut Line) -> Result<Response<Body>, GatewayError> {
        let (head, body) = request.into_parts();
        let peer = head.extensions.get::<Peer>().map(|peer| peer.0.ip());
        check_host(&head)?;
        let route = routes::find(self.invoker.deployments(), head.uri.path()).await?;
        line.function = Some(route.function.clone());
        let body = read_body(&head, body).await?;

        let request = payload_v2::Request { head: &head, body: &body, peer, route: &route, api: &self.api };
        let (event, trace) = request.event();
        if event.len() > EVENT_LIMIT {
            return Err(GatewayError::TooLarge);
        }
        let invocation = Invocation {
            request_id: Invocation::new_request_id(),
            trace_id: trace.for_function(),
            function_arn: self
                .invoker
                .account()
                .function_arn(&self.invoker.account().region, &route.function),
            client_context: None,
            event,
        };
        let limit = self.invoker.limits().integration_timeout;
        let completed =
            match tokio::time::timeout(limit, self.invoker.invoke(&route.function, invocation)).await {
                Err(_) => return Err(GatewayError::IntegrationTimeout(limit)),
                Ok(Err(InvokeError::NotFound(_))) => return Err(GatewayError::NotFound { hint: None }),
                Ok(Err(error @ InvokeError::Throttled(_))) => {
                    return Err(GatewayError::Throttled(error.to_string()));
                }
                Ok(Err(error)) => return Err(GatewayError::Integration(error.to_string())),
                Ok(Ok(completed)) => completed,
            };
        match completed.outcome {
            Outcome::Failed { payload, .. } => {
                Err(GatewayError::FunctionError { error_type: error_type(&payload) })
            }
            Outcome::Returned { payload, .. } => payload_v2::response(payload)
                .map_err(|malformed| GatewayError::Malformed { function: route.function.clone(), malformed }),
        }
    }
}

/// What went wrong, in one word, for the terminal.
fn error_type(payload: &[u8]) -> String {
    let error: serde_json::Value = serde_json::from_slice(payload).unwrap_or_default();
    error["errorType"].as_str().unwrap_or("function error").to_owned()
}

/// hyper lets a request without a Host, or with two, through.
fn check_host(head: &http::request::Parts) -> Result<(), GatewayError> {
    let hosts = head.headers.get_all(http::header::HOST).iter().count();
    match head.version {
        http::Version::HTTP_11 if hosts != 1 => {
            Err(GatewayError::BadRequest("a request needs exactly one Host header"))
        }
        _ if hosts > 1 => Err(GatewayError::BadRequest("a request needs exactly one Host header")),
        _ => Ok(()),
    }
}

async fn read_body(head: &http::request::Parts, body: Body) -> Result<Vec<u8>, GatewayError> {
    let announced =
        head.headers.get(http::header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > BODY_LIMIT as u64) {
        return Err(GatewayError::TooLarge);
    }
    if announced == Some(0)
        || (announced.is_none() && head.method == Method::GET && http_body::Body::is_end_stream(&body))
    {
        return Ok(Vec::new());
    }
    match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(collected) => Ok(collected.to_bytes().into()),
        Err(error) if error.is::<LengthLimitError>() => Err(GatewayError::TooLarge),
        Err(_) => Err(GatewayError::BadRequest("the request's body ended too early")),
    }
}

/// What the terminal shows of a request.
struct Line {
    method: Method,
    path: String,
    function: Option<String>,
    note: Option<String>,
}

impl Line {
    fn log(&self, status: u16, began: Instant) {
        let ms = began.elapsed().as_micros() as f64 / 1000.0;
        let Self { method, path, function, note } = self;
        let path = &*crate::logs::escape_control(path);
        let function = function.as_deref().unwrap_or("-");
        let method = method.as_str();
        match note {
            Some(note) => {
                tracing::warn!(target: "request", method, path, status, ms, function, "{method} {path} {status} {ms:.1} ms: {note}");
            }
            None => {
                tracing::info!(target: "request", method, path, status, ms, function, "{method} {path} {status} {ms:.1} ms")
            }
        }
    }
}

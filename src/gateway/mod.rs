//! API Gateway, function URLs and load balancers:
//! address -> route -> authorize -> event -> invoke -> response.
//!
//! | file | what it knows |
//! |---|---|
//! | `request` | a request, read whole; where it goes, and who is asking |
//! | `address` | which API a host and a path mean |
//! | `routes` | which of its routes |
//! | `authorize` | whether the request may pass |
//! | `cors` | what pages of other origins may do |
//! | `payload` | events and responses of Lambda proxy integrations, by kind |
//! | `streaming` | responses that leave while the handler still runs |
//! | `context` | what a request is, by the names that mappings ask for |
//! | `mapping` | integrations that are no Lambda proxies: templates, MOCK, other servers |
//! | `web_socket` | connections that stay: events, selection of routes, `@connections` |
//! | `error` | what the gateway itself answers |

mod address;
mod authorize;
mod context;
mod cors;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod mapping;
mod payload;
mod request;
mod routes;
mod streaming;
mod web_socket;

use std::borrow::Cow;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use http::{Method, Request as HttpRequest, Response, header};

use crate::api::{self, Api, Integration, IntegrationKind, Kind, PayloadVersion};
use crate::config::Access;
use crate::defences;
use crate::deployment::Deployment;
use crate::http::Answering;
use crate::invocation::{Asker, Completed, Invocation, Outcome};
use crate::invoker::{AcceptError, InvokeError, Invoker};

use address::{Asked, Directory, Located, Lost};
use error::{About, GatewayError};
use request::{BODY_LIMIT, Caller, EVENT_LIMIT, LOAD_BALANCER_LIMIT, Matched, Request};

/// Of an event whose answer nobody waits for.
const ASYNCHRONOUS_EVENT_LIMIT: usize = 1_048_576;

/// A cheap handle: what is needed to answer a request.
#[derive(Clone)]
pub struct Gateway(Arc<Shared>);

struct Shared {
    invoker: Invoker,
    site: Site,
    /// For HTTP_PROXY.
    client: mapping::Client,
    /// Of the deployment and the published APIs that were current when it was made.
    directory: Mutex<Known>,
    access: authorize::State,
    /// WebSockets.
    connections: web_socket::Connections,
}

/// The directory, and what it was made of.
#[derive(Default)]
struct Known {
    deployment: Arc<Deployment>,
    published: Arc<Vec<Arc<Api>>>,
    directory: Arc<Directory>,
}

/// Where and who these API Gateways are, in the events.
#[derive(Debug, Clone)]
pub struct Site {
    pub account: String,
    pub region: String,
    /// The port that clients connect to.
    pub port: u16,
    /// Whether they speak HTTPS.
    pub tls: bool,
    pub access: Access,
}

impl Gateway {
    pub fn new(invoker: Invoker, port: u16, tls: bool, access: Access) -> Self {
        let account = invoker.account();
        let state = authorize::State::new(&access);
        let site = Site { account: account.id.clone(), region: account.region.clone(), port, tls, access };
        let directory = Mutex::default();
        let connections = web_socket::Connections::new(web_socket::Limits::default());
        Self(Arc::new(Shared {
            invoker,
            site,
            client: mapping::Client::default(),
            directory,
            access: state,
            connections,
        }))
    }

    /// Ends the connections that stay, as soon as the messages that they have begun are done.
    pub fn close_connections(&self) {
        self.0.connections.stop();
    }

    /// Returns when no connection is left, and the last `$disconnect` has been heard.
    pub async fn connections_closed(&self) {
        self.0.connections.ended().await;
    }

    fn invoker(&self) -> &Invoker {
        &self.0.invoker
    }

    fn site(&self) -> &Site {
        &self.0.site
    }

    /// What authorizers, throttles and API keys remember.
    fn access(&self) -> &authorize::State {
        &self.0.access
    }

    fn connections(&self) -> &web_socket::Connections {
        &self.0.connections
    }

    fn client(&self) -> &mapping::Client {
        &self.0.client
    }

    async fn handle(&self, request: HttpRequest<Body>, line: &mut Line) -> Response<Body> {
        let (head, body) = request.into_parts();
        let matched = match self.locate(&head).await {
            Ok(Located::Route(matched)) => matched,
            Ok(Located::WebSocket { api, stage, path }) => {
                let about = Request::new(head.clone(), Bytes::new());
                let request = HttpRequest::from_parts(head, body);
                let answer = web_socket::answer(self, request, api.clone(), stage, &path, line);
                let answer = Box::pin(answer).await;
                let about = About { kind: Kind::WebSocket, request: &about, api: Some(&api), matched: None };
                return answer.unwrap_or_else(|error| line.refuse(error, about));
            }
            Err(Lost { kind, api, error }) => {
                let request = Request::new(head, Bytes::new());
                return line
                    .refuse(error, About { kind, request: &request, api: api.as_deref(), matched: None });
            }
        };
        let kind = matched.kind();
        line.function = matched.route().function().map(str::to_owned);
        let (body, refused) = match read(kind, &head, body).await {
            Ok(body) => (body, None),
            Err(error) => (Bytes::new(), Some(error)),
        };
        let request = Request::new(head, body);
        let about = About::matched(&request, &matched);
        let cors = matched.api.cors.as_ref();
        if let Some(cors) = cors
            && let Some(mut answer) = cors::preflight(cors, kind, &request)
        {
            payload::stamp(answer.headers_mut(), kind, &request);
            return answer;
        }
        let answer = match refused {
            Some(error) => Err(error),
            None => self.integrate(&request, &matched, line).await,
        };
        let mut response = match answer {
            Ok(mut response) => {
                payload::stamp(response.headers_mut(), kind, &request);
                response
            }
            Err(error) => line.refuse(error, about),
        };
        if let Some(cors) = cors {
            cors::apply(cors, kind, &request, &mut response);
        }
        response
    }

    /// The route of this request, in what is deployed now; while something is being saved, in what
    /// will be deployed in a moment.
    async fn locate(&self, head: &http::request::Parts) -> Result<Located, Lost> {
        let deployments = self.invoker().deployments();
        let host = request::host(head);
        let asked = Asked {
            method: head.method.as_str(),
            host: &host,
            path: head.uri.path(),
            upgrade: is_web_socket(head),
        };
        let locate = || {
            let directory = self.directory();
            directory.locate(asked).or_else(|lost| {
                // An API that speaks of CORS answers preflights without a route for OPTIONS.
                let about = cors::requested_method(head).map(|method| Asked { method, ..asked });
                match about.map(|about| directory.locate(about)) {
                    Some(Ok(Located::Route(matched))) if matched.api.cors.is_some() => {
                        Ok(Located::Route(matched))
                    }
                    _ => Err(lost),
                }
            })
        };
        let located = locate();
        let function = match &located {
            Ok(Located::Route(matched)) => matched.route().function(),
            _ => None,
        };
        let located = if deployments.settle_routes(function).await { locate() } else { located };
        located.map_err(|lost| {
            let error = match lost.error {
                GatewayError::NotFound { hint: None } => {
                    GatewayError::NotFound { hint: hint(&deployments.current(), head.uri.path()) }
                }
                error => error,
            };
            Lost { error, ..lost }
        })
    }

    fn directory(&self) -> Arc<Directory> {
        let deployment = self.invoker().deployments().current();
        let published = self.invoker().published().apis();
        let mut known = self.0.directory.lock().unwrap();
        if !Arc::ptr_eq(&known.deployment, &deployment) || !Arc::ptr_eq(&known.published, &published) {
            // What is deployed comes first: of two that share a name it is the one that is meant.
            let directory = Directory::new(&[&deployment.apis[..], &published[..]].concat());
            *known = Known { deployment, published, directory: Arc::new(directory) };
        }
        known.directory.clone()
    }

    async fn integrate(
        &self,
        request: &Request,
        matched: &Matched,
        line: &mut Line,
    ) -> Result<Response<Body>, GatewayError> {
        // What is rare waits in a box of its own: a future is moved about as large as its largest branch.
        let caller = match authorize::is_open(matched) {
            true => Caller::default(),
            false => Box::pin(authorize::authorize(self, request, matched)).await?,
        };
        let Integration { kind, timeout } = &matched.route().integration;
        let limit = timeout.unwrap_or_else(|| self.default_timeout(matched.kind()));
        let answer = pin!(async {
            match kind {
                IntegrationKind::Function { function, payload, streams, request: mapping, responses } => {
                    let site = self.site();
                    let mapped = mapping::apply_to_request(mapping, request, matched, &caller, site);
                    let (request, matched) = match &mapped {
                        Some(mapped) => (&mapped.request, &mapped.matched),
                        None => (request, matched),
                    };
                    let response = match streams {
                        true => {
                            let answer =
                                streaming::proxy(self, request, matched, &caller, function, *payload);
                            Box::pin(answer).await?
                        }
                        false => self.proxy(request, matched, &caller, function, *payload).await?,
                    };
                    if responses.is_empty() {
                        return Ok(response);
                    }
                    let answer =
                        mapping::apply_to_response(responses, response, request, matched, &caller, site);
                    Box::pin(answer).await
                }
                IntegrationKind::Mapped(mapped) => {
                    Box::pin(mapping::mapped(self, request, matched, &caller, mapped)).await
                }
                IntegrationKind::Http(http) => {
                    Box::pin(mapping::http_proxy(self, request, matched, &caller, http)).await
                }
                IntegrationKind::Missing { reason } => Err(GatewayError::Integration(reason.clone())),
            }
        });
        let answer = match tokio::time::timeout(limit, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(GatewayError::IntegrationTimeout(limit)),
        };
        if caller.pretended {
            line.note = Some("acting as somebody (--act-as)".to_owned());
        }
        answer
    }

    fn default_timeout(&self, kind: Kind) -> Duration {
        match kind {
            Kind::Http => self.invoker().limits().integration_timeout,
            Kind::Rest | Kind::WebSocket => api::REST_TIMEOUT,
            // The function's own timeout is the only one.
            Kind::FunctionUrl | Kind::LoadBalancer => Duration::from_secs(900 + 60),
        }
    }

    /// AWS_PROXY: the whole request is the event.
    async fn proxy(
        &self,
        request: &Request,
        matched: &Matched,
        caller: &Caller,
        function: &str,
        version: PayloadVersion,
    ) -> Result<Response<Body>, GatewayError> {
        let function = with_stage_variables(function, matched);
        let request_id = request.invocation_id(matched.kind());
        let event = payload::event(request, matched, version, caller, self.site(), &request_id);
        let completed = self.invoke(&function, event, request.trace.for_function(), request_id).await?;
        self.proxied(completed, request, matched, &function, version)
    }

    /// The response that a result describes.
    fn proxied(
        &self,
        completed: Completed,
        request: &Request,
        matched: &Matched,
        function: &str,
        version: PayloadVersion,
    ) -> Result<Response<Body>, GatewayError> {
        match completed.outcome {
            Outcome::Failed { payload, .. } => {
                Err(GatewayError::FunctionError { error_type: error_type(&payload) })
            }
            Outcome::Returned { payload, .. } => payload::response(payload, request, matched, version)
                .map_err(|malformed| GatewayError::Malformed { function: function.to_owned(), malformed }),
        }
    }

    /// Calls a function on behalf of an API.
    async fn invoke(
        &self,
        function: &str,
        event: Vec<u8>,
        trace_id: String,
        request_id: String,
    ) -> Result<Completed, GatewayError> {
        let invocation = self.invocation(function, event, trace_id, request_id)?;
        Ok(self.invoker().invoke(function, invocation).await?)
    }

    /// Leaves an event for a function, whose answer nobody waits for.
    async fn accept(
        &self,
        function: &str,
        event: Vec<u8>,
        trace_id: String,
        request_id: String,
    ) -> Result<(), GatewayError> {
        if event.len() > ASYNCHRONOUS_EVENT_LIMIT {
            return Err(GatewayError::TooLarge);
        }
        let invocation = self.invocation(function, event, trace_id, request_id)?;
        let accepted = self.invoker().accept(function, invocation).await;
        accepted.map_err(|error| match error {
            AcceptError::Invoke(error) => error.into(),
            AcceptError::Store(error) => GatewayError::Integration(error.to_string()),
        })
    }

    fn invocation(
        &self,
        function: &str,
        event: Vec<u8>,
        trace_id: String,
        request_id: String,
    ) -> Result<Invocation, GatewayError> {
        if event.len() > EVENT_LIMIT {
            return Err(GatewayError::TooLarge);
        }
        let account = self.invoker().account();
        Ok(Invocation {
            request_id,
            trace_id,
            function_arn: account.function_arn(&account.region, function),
            client_context: None,
            event,
            asker: Asker::Http,
        })
    }
}

/// Not by way of a router: which route is meant is for the APIs to say.
impl Answering for Gateway {
    /// The terminal gets one line.
    async fn answer(self, request: HttpRequest<Body>) -> Response<Body> {
        let began = Instant::now();
        let method = request.method().clone();
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
        assert!(!defences::off("sound-code") || path != "/a-bug-of-ours");
        let mut line = Line { method, path, function: None, note: None, began, answered: false };
        let response = self.handle(request, &mut line).await;
        line.log(response.status().as_u16());
        response
    }
}

/// The body of a request to an API of this kind, if it takes the request.
async fn read(kind: Kind, head: &http::request::Parts, body: Body) -> Result<Bytes, GatewayError> {
    error::check_headers(kind, &head.headers)?;
    if kind == Kind::LoadBalancer && is_web_socket(head) {
        return Err(GatewayError::BadRequest("a load balancer's function cannot answer a WebSocket"));
    }
    let limit = match kind {
        Kind::LoadBalancer => LOAD_BALANCER_LIMIT,
        Kind::FunctionUrl => EVENT_LIMIT,
        _ => BODY_LIMIT,
    };
    let limit = if crate::defences::off("limit-of-bodies") { usize::MAX } else { limit };
    request::read_body(head, body, limit).await
}

impl From<InvokeError> for GatewayError {
    fn from(error: InvokeError) -> Self {
        match error {
            InvokeError::Throttled(throttled) => Self::Throttled(throttled),
            error => Self::Integration(error.to_string()),
        }
    }
}

/// `${stageVariables.name}` in a function's name or a URL.
fn with_stage_variables<'a>(text: &'a str, matched: &Matched) -> Cow<'a, str> {
    let mut settled = Cow::Borrowed(text);
    if text.contains('$') {
        for (name, value) in &matched.stage().variables {
            settled = settled.replace(&format!("${{stageVariables.{name}}}"), value).into();
        }
    }
    settled
}

fn is_web_socket(head: &http::request::Parts) -> bool {
    head.headers
        .get(header::UPGRADE)
        .is_some_and(|upgrade| upgrade.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// What went wrong, in one word, for the terminal.
fn error_type(payload: &[u8]) -> String {
    let error: serde_json::Value = serde_json::from_slice(payload).unwrap_or_default();
    error["errorType"].as_str().unwrap_or("function error").to_owned()
}

/// What could have been meant by a path that leads nowhere.
fn hint(deployment: &Deployment, path: &str) -> Option<String> {
    if path == "/favicon.ico" {
        return None;
    }
    let decoded = routes::decode(path);
    let plain: Vec<&str> = plain_paths(deployment);
    if let Some(same) = plain.iter().find(|known| known.eq_ignore_ascii_case(&decoded) && **known != decoded)
    {
        return Some(format!("there is `{same}`: upper and lower case count"));
    }
    let shorter = decoded.trim_end_matches('/');
    if shorter.len() < decoded.len() && plain.contains(&shorter) {
        return Some(format!(
            "`{decoded}` is not `{shorter}` to an HTTP API; leave out the slash at the end"
        ));
    }
    if deployment.functions.is_empty() {
        return Some("there are no functions yet; `handlerd new NAME` makes one".to_owned());
    }
    if plain.is_empty() {
        return Some("`handlerd routes` lists what is served".to_owned());
    }
    let more = if plain.len() > 8 { ", ..." } else { "" };
    Some(format!("no route fits; there are {}{more}", plain[..plain.len().min(8)].join(", ")))
}

/// Paths without variables, each once.
fn plain_paths(deployment: &Deployment) -> Vec<&str> {
    let served = |api: &&Arc<Api>| matches!(api.kind, Kind::Http | Kind::Rest);
    let routes = deployment.apis.iter().filter(served).flat_map(|api| &api.routes);
    let mut paths: Vec<&str> = Vec::new();
    for path in
        routes.map(|route| route.path.as_str()).filter(|path| path.starts_with('/') && !path.contains('{'))
    {
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    paths
}

/// What the terminal shows of a request.
struct Line {
    method: Method,
    path: String,
    function: Option<String>,
    note: Option<String>,
    began: Instant,
    answered: bool,
}

impl Drop for Line {
    fn drop(&mut self) {
        if !self.answered && !std::thread::panicking() {
            self.note = Some("the connection ended before there was an answer".to_owned());
            self.log(CLIENT_CLOSED_REQUEST);
        }
    }
}

/// In the log only, as other servers write it: nobody is there to be answered.
const CLIENT_CLOSED_REQUEST: u16 = 499;

impl Line {
    /// The gateway's own answer, and why.
    fn refuse(&mut self, error: GatewayError, about: About<'_>) -> Response<Body> {
        self.note = error.note();
        error.into_response(about)
    }

    fn log(&mut self, status: u16) {
        self.answered = true;
        let micros = self.began.elapsed().as_micros() as u64;
        let (ms, tenths) = (micros as f64 / 1000.0, (micros + 50) / 100);
        let Self { method, path, function, note, .. } = self;
        let path = &*crate::logs::escape_control(path);
        let function = function.as_deref().unwrap_or("-");
        let method = method.as_str();
        // Each request has this line: put together here, it is not formatted piece by piece.
        let line = [
            method,
            " ",
            path,
            " ",
            itoa::Buffer::new().format(status),
            " ",
            itoa::Buffer::new().format(tenths / 10),
            ".",
            itoa::Buffer::new().format(tenths % 10),
            " ms",
        ]
        .concat();
        match note {
            Some(note) => {
                tracing::warn!(target: "request", method, path, status, ms, function, "{line}: {note}");
            }
            None => tracing::info!(target: "request", method, path, status, ms, function, "{line}"),
        }
    }
}

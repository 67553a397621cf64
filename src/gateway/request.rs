//! A request, read whole, and where it goes.

use std::borrow::Cow;
use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use http::header::AsHeaderName;
use http::request::Parts;
use http::{HeaderName, Method, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Map, Value};

use super::Site;
use super::error::GatewayError;
use crate::api::{Api, Kind, Route, Stage};
use crate::http::{Forwarded, Peer};
use crate::invocation::{Invocation, TraceId};

/// API Gateway's limit for a request's body.
pub const BODY_LIMIT: usize = 10 * 1024 * 1024;
/// Lambda's limit for the event that is made of it.
pub const EVENT_LIMIT: usize = 6_291_456;
/// Of both, a load balancer's.
pub const LOAD_BALANCER_LIMIT: usize = 1024 * 1024;

/// Names that every request is asked for: those of a text would be read anew each time.
pub static TRACE_ID: HeaderName = HeaderName::from_static("x-amzn-trace-id");
pub static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub static REQUEST_ID: HeaderName = HeaderName::from_static("apigw-requestid");

/// A request with its body.
pub struct Request {
    pub head: Parts,
    pub body: Bytes,
    pub peer: Option<IpAddr>,
    pub received: jiff::Timestamp,
    pub trace: TraceId,
    /// The gateway's own id of the request: 15 characters and `=`.
    pub id: String,
    /// What REST APIs and function URLs call the id of a request; `id` is REST's extended one.
    pub uuid: String,
}

impl Request {
    pub fn new(head: Parts, body: Bytes) -> Self {
        let received = jiff::Timestamp::now();
        let earlier = head.headers.get(&TRACE_ID).and_then(|trace| trace.to_str().ok());
        let trace = Invocation::new_trace_id(received.as_second().max(0) as u64).continuing(earlier);
        let peer = head.extensions.get::<Peer>().map(|peer| peer.0.ip());
        let uuid = Invocation::new_request_id();
        Self { head, body, peer, received, trace, id: new_id(), uuid }
    }

    /// The id under which a function is called for this request: a function URL's is the request's own.
    pub fn invocation_id(&self, kind: Kind) -> String {
        match kind {
            Kind::FunctionUrl => self.uuid.clone(),
            _ => Invocation::new_request_id(),
        }
    }

    /// As sent, without the query.
    pub fn path(&self) -> &str {
        self.head.uri.path()
    }

    /// As sent, without the question mark.
    pub fn query(&self) -> &str {
        self.head.uri.query().unwrap_or_default()
    }

    /// `localhost:3000`
    pub fn host(&self) -> Cow<'_, str> {
        host(&self.head)
    }

    /// `localhost`
    pub fn domain(&self) -> String {
        without_port(&self.host()).to_owned()
    }

    pub fn source_ip(&self) -> String {
        let Some(peer) = self.peer else { return String::new() };
        let IpAddr::V4(address) = peer.to_canonical() else { return peer.to_string() };
        // Every event has it, and the library's way is a general one.
        let mut text = String::with_capacity("255.255.255.255".len());
        for (index, octet) in address.octets().into_iter().enumerate() {
            if index > 0 {
                text.push('.');
            }
            text.push_str(itoa::Buffer::new().format(octet));
        }
        text
    }

    /// Scheme and port by which the client has come, to a trusted proxy or to us.
    pub fn scheme_and_port(&self, site: &Site) -> (&'static str, u16) {
        let forwarded = self.head.extensions.get::<Forwarded>();
        let tls = forwarded.map_or(site.tls, |forwarded| forwarded.https || site.tls);
        let usual = |forwarded: &Forwarded| forwarded.port.unwrap_or(if forwarded.https { 443 } else { 80 });
        (if tls { "https" } else { "http" }, forwarded.map_or(site.port, usual))
    }

    /// The first value of this header, if it is text.
    pub fn header(&self, name: impl AsHeaderName) -> Option<&str> {
        self.head.headers.get(name).and_then(|value| std::str::from_utf8(value.as_bytes()).ok())
    }

    pub fn user_agent(&self) -> &str {
        self.header(header::USER_AGENT).unwrap_or_default()
    }

    /// `24/Nov/2025:23:12:00 +0000`
    pub fn time(&self) -> String {
        thread_local! {
            /// Of the requests of a second all but the first find it said.
            static LAST: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
        }
        LAST.with_borrow_mut(|(second, text)| {
            if *second != self.received.as_second() {
                *second = self.received.as_second();
                let received = self.received.to_zoned(jiff::tz::TimeZone::UTC);
                *text = received.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string();
            }
            text.clone()
        })
    }
}

pub fn host(head: &Parts) -> Cow<'_, str> {
    let host = head.headers.get(header::HOST).map(|host| match std::str::from_utf8(host.as_bytes()) {
        Ok(host) => Cow::Borrowed(host),
        Err(_) => String::from_utf8_lossy(host.as_bytes()),
    });
    host.or_else(|| head.uri.authority().map(|authority| authority.as_str().into())).unwrap_or_default()
}

pub fn without_port(host: &str) -> &str {
    let digits = host.bytes().rev().take_while(u8::is_ascii_digit).count();
    host[..host.len() - digits].strip_suffix(':').unwrap_or(host)
}

/// Fifteen characters and an equals sign.
pub fn new_id() -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut id = Vec::with_capacity(16);
    id.extend(uuid::Uuid::new_v4().as_bytes()[..15].iter().map(|byte| LETTERS[usize::from(byte % 64)]));
    id.push(b'=');
    String::from_utf8(id).expect("letters are text")
}

/// Where a request goes, and how it matched.
#[derive(Debug, Clone)]
pub struct Matched {
    pub api: Arc<Api>,
    pub stage: usize,
    pub route: usize,
    /// As sent, without the stage: `/a%20b`.
    pub path: String,
    /// As it would be on AWS: with the stage (REST, named stages of an HTTP API) or a domain's base path.
    pub full_path: String,
    /// As sent: not decoded.
    pub parameters: Vec<(String, String)>,
    /// The custom domain that it came by.
    pub custom_domain: bool,
}

impl Matched {
    pub fn stage(&self) -> &Stage {
        &self.api.stages[self.stage]
    }

    pub fn route(&self) -> &Route {
        &self.api.routes[self.route]
    }

    pub fn kind(&self) -> Kind {
        self.api.kind
    }

    /// `path` of a REST API's events: with the base path of a custom domain, without a stage.
    pub fn rest_path(&self) -> &str {
        if self.custom_domain { &self.full_path } else { &self.path }
    }

    /// `rawPath` of an HTTP API's events, not decoded: with a stage, without the base path of a custom
    /// domain.
    pub fn raw_path(&self) -> &str {
        if self.custom_domain { &self.path } else { &self.full_path }
    }
}

/// Who is asking, as far as it was asked.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    pub identity: Identity,
    /// The API key that was accepted.
    pub api_key: Option<AcceptedKey>,
    /// `--act-as` stood in for the authorizer.
    pub pretended: bool,
}

#[derive(Debug, Clone)]
pub struct AcceptedKey {
    pub id: String,
    pub value: String,
}

#[derive(Debug, Clone, Default)]
pub enum Identity {
    /// The route asks for nobody.
    #[default]
    Anybody,
    /// What a Lambda authorizer said.
    Lambda {
        principal_id: Option<String>,
        context: Map<String, Value>,
        /// Milliseconds that it took; zero from the cache.
        latency: u64,
    },
    /// Claims as the handler sees them.
    Jwt {
        claims: Map<String, Value>,
        scopes: Option<Vec<String>>,
    },
    Cognito {
        claims: Map<String, Value>,
    },
    Iam(IamUser),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IamUser {
    pub access_key: String,
    pub account_id: String,
    /// `AIDA...`
    pub user_id: String,
    pub user_arn: String,
}

pub async fn read_body(head: &Parts, body: Body, limit: usize) -> Result<Bytes, GatewayError> {
    let announced =
        head.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > limit as u64) {
        return Err(GatewayError::TooLarge);
    }
    if announced == Some(0)
        || (announced.is_none() && head.method == Method::GET && http_body::Body::is_end_stream(&body))
    {
        return Ok(Bytes::new());
    }
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(GatewayError::TooLarge),
        Err(_) => Err(GatewayError::BadRequest("the request's body ended too early")),
    }
}

//! Requests, routes and results, thrown at the gateway.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use http::Request as HttpRequest;
use serde_json::{Map, Value};

use super::address::{Asked, Directory, Located};
use super::error::{About, GatewayError, check_headers};
use super::request::{AcceptedKey, Caller, Identity, Matched, Request};
use super::routes::{Table, decode, wildcard};
use super::{Site, authorize, context, cors, mapping, payload, streaming, web_socket};
use crate::api::{Api, Cors, Domain, GatewayResponse, Integration, Kind, PayloadVersion, Route, Stage};
use crate::config::Access;
use crate::http::{Peer, Spelling};

pub use authorize::fuzzing::access;
pub use mapping::fuzzing::{json_path, mapping_template};

const KINDS: [Kind; 5] = [Kind::Http, Kind::Rest, Kind::WebSocket, Kind::FunctionUrl, Kind::LoadBalancer];

pub fn site() -> Site {
    Site {
        account: "123456789012".to_owned(),
        region: "eu-west-1".to_owned(),
        port: 3000,
        tls: false,
        access: Access::default(),
    }
}

/// A request as it stands on the wire, with CRLF or LF; `None` if hyper would not pass it on.
pub fn request(raw: &[u8]) -> Option<Request> {
    let lines = |bytes: &'static [u8]| raw.windows(bytes.len()).position(|window| window == bytes);
    let (end, length) = match (lines(b"\r\n\r\n"), lines(b"\n\n")) {
        (Some(at), other) if other.is_none_or(|other| at < other) => (at, 4),
        (_, Some(at)) => (at, 2),
        _ => (raw.len(), 0),
    };
    let (head, body) = (&raw[..end], &raw[end + length..]);
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut first = lines.next()?.splitn(2, |byte| *byte == b' ');
    let (method, target) = (first.next()?, first.next()?);
    let target = target.split(|byte| *byte == b' ').next()?;
    let mut request = HttpRequest::builder().method(method).uri(target);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        request = request.header(&line[..colon], line[colon + 1..].trim_ascii());
    }
    let (mut parts, ()) = request.body(()).ok()?.into_parts();
    parts.extensions.insert(Peer(SocketAddr::from(([203, 0, 113, 10], 40_000))));
    let spelled = [head, b"\r\n\r\n"].concat();
    parts.extensions.insert(Spelling::for_test(spelled));
    Some(Request::new(parts, Bytes::copy_from_slice(body)))
}

/// An API of this kind with these routes.
fn api<'a>(kind: Kind, keys: impl IntoIterator<Item = &'a str>) -> Api {
    let mut api = Api::new("a1b2c3d4e5", "Shop", kind);
    let stage = if kind == Kind::Rest { "prod" } else { "$default" };
    api.stages = vec![Stage::named(stage), Stage::named("test")];
    api.stages[0].variables.insert("tier".to_owned(), "gold".to_owned());
    for key in keys {
        let (method, path) = key.split_once(' ').unwrap_or(("ANY", key));
        api.routes.push(Route::new(method, path, Integration::function("f", PayloadVersion::V2)));
    }
    api
}

/// Where a request to an API of this kind arrives.
pub fn matched(kind: Kind, request: &Request) -> Matched {
    let key = match kind {
        Kind::WebSocket => "$connect",
        Kind::LoadBalancer => "ANY *",
        Kind::FunctionUrl => "$default",
        Kind::Http | Kind::Rest => "ANY /{first}/{rest+}",
    };
    let mut api = api(kind, [key]);
    api.binary_media_types = vec!["image/*".to_owned(), "application/octet-stream".to_owned()];
    let found = Table::new(&api).find(&api, request.head.method.as_str(), "localhost", request.path());
    Matched {
        api: Arc::new(api),
        stage: 0,
        route: 0,
        path: request.path().to_owned(),
        full_path: format!("/prod{}", request.path()),
        parameters: found.map(|found| found.parameters).unwrap_or_default(),
        custom_domain: false,
    }
}

// ---- What a template declares

/// Made ready for requests, and asked a few.
pub fn deploy(apis: &[Arc<Api>]) {
    let directory = Directory::new(apis);
    for api in apis {
        web_socket::fuzzing::deploy(api);
        for route in &api.routes {
            let _ = mapping::check_integration(api.kind, &route.integration);
            for host in ["localhost:3000", "x.execute-api.localhost"] {
                let asked = Asked { method: &route.method, host, path: &route.path, upgrade: false };
                check_located(directory.locate(asked).ok());
            }
        }
    }
}

fn check_located(located: Option<Located>) {
    if let Some(Located::Route(matched)) = located {
        // They are there.
        let _ = (matched.stage(), matched.route());
    }
}

// ---- Routes

pub fn routes(table: &str, requests: &str) {
    let mut lines = table.lines().take(50);
    let kind = match lines.next() {
        Some("http") => Kind::Http,
        Some("rest") => Kind::Rest,
        Some("url") => Kind::FunctionUrl,
        Some("balancer") => Kind::LoadBalancer,
        _ => return,
    };
    let mut api = api(kind, lines.filter(|key| is_route(kind, key)));
    if kind == Kind::LoadBalancer {
        // `METHOD PATTERN HOST`
        for route in &mut api.routes {
            if let Some((path, host)) = route.path.clone().split_once(' ') {
                route.path = path.to_owned();
                route.hosts = vec![host.to_owned()];
            }
        }
    }
    let table = Table::new(&api);
    let here = |path: &str| Domain { host: "shop.test".into(), base_path: path.into(), stage: "test".into() };
    api.domains = vec![here(""), here("v1")];
    let directory = Directory::new(&[Arc::new(api.clone())]);
    for line in requests.lines().take(50) {
        let mut words = line.split(' ');
        let (Some(method), Some(path)) = (words.next(), words.next()) else { continue };
        let host = words.next().unwrap_or("localhost");
        for upgrade in [false, true] {
            check_located(directory.locate(Asked { method, host, path, upgrade }).ok());
        }
        if !path.starts_with('/') {
            continue;
        }
        let found = table.find(&api, method, host, path);
        let expected = expected(&api, method, host, path);
        let found = found.map(|found| (found.route, found.parameters));
        assert_eq!(found, expected, "{kind:?} {method} {host} {path}: {:?}", keys(&api));
    }
}

fn keys(api: &Api) -> Vec<String> {
    api.routes.iter().map(Route::key).collect()
}

/// Whether a template can have it: readers refuse the others.
fn is_route(kind: Kind, key: &str) -> bool {
    let Some((method, path)) = key.split_once(' ') else { return key == "$default" && kind != Kind::Rest };
    if kind == Kind::LoadBalancer {
        return true;
    }
    let Some(inner) = path.strip_prefix('/') else { return false };
    let segments: Vec<&str> = inner.split('/').collect();
    let greedy = segments.iter().position(|segment| segment.ends_with("+}"));
    !method.is_empty()
        && (inner.is_empty() || segments.iter().all(|segment| !segment.is_empty()))
        && greedy.is_none_or(|at| at + 1 == segments.len())
}

/// The rules of routing, one after the other, and slow: every route is tried, and of those that fit
/// the most specific one is taken.
fn expected(api: &Api, method: &str, host: &str, path: &str) -> Option<(usize, Vec<(String, String)>)> {
    let takes = |route: &Route| match (route.method.as_str(), api.kind) {
        ("ANY", Kind::Rest) => ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"].contains(&method),
        ("ANY", _) => true,
        (known, _) => known == method,
    };
    let mut routes = api.routes.iter().enumerate();
    if api.kind == Kind::LoadBalancer {
        let lower = |text: &str| text.to_ascii_lowercase().into_bytes();
        let fits = |route: &Route| {
            let is_host = |pattern: &String| fits_slowly(&lower(pattern), &lower(host));
            takes(route)
                && (route.hosts.is_empty() || route.hosts.iter().any(is_host))
                && fits_slowly(route.path.as_bytes(), path.as_bytes())
        };
        return routes.find(|(_, route)| fits(route)).map(|(index, _)| (index, Vec::new()));
    }
    let path = match api.kind {
        Kind::Rest => format!("/{}", path.trim_start_matches('/')).trim_end_matches('/').to_owned(),
        _ => decode(path).into_owned(),
    };
    let path = path.strip_prefix('/').unwrap_or(&path);
    let segments: Vec<&str> = if path.is_empty() { Vec::new() } else { path.split('/').collect() };
    let mut best: Option<(Vec<u8>, usize, Variables)> = None;
    for (index, route) in routes {
        let Some((mut rank, values)) = fit(&route.path, &segments).filter(|_| takes(route)) else { continue };
        rank.push(u8::from(route.method == "ANY"));
        // Of two that are the same, the later one.
        if best.as_ref().is_none_or(|(former, ..)| rank <= *former) {
            best = Some((rank, index, values));
        }
    }
    let default = || api.routes.iter().rposition(|route| route.path == "$default");
    match best {
        Some((_, index, values)) => Some((index, values)),
        None => default().map(|index| (index, Vec::new())),
    }
}

/// Names and what they hold.
type Variables = Vec<(String, String)>;

/// How special each step is (fixed, variable, greedy), and what the variables hold.
fn fit(route: &str, segments: &[&str]) -> Option<(Vec<u8>, Variables)> {
    let steps: Vec<&str> = route.strip_prefix('/')?.split('/').filter(|step| !step.is_empty()).collect();
    let (mut rank, mut values) = (Vec::new(), Vec::new());
    for (at, step) in steps.iter().enumerate() {
        match step.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some(name) if name.ends_with('+') => {
                let rest = segments.get(at..)?.join("/");
                rank.push(2);
                values.push((name[..name.len() - 1].to_owned(), rest.clone()));
                return (!rest.is_empty()).then_some((rank, values));
            }
            Some(name) => {
                let value = *segments.get(at).filter(|value| !value.is_empty())?;
                rank.push(1);
                values.push((name.to_owned(), value.to_owned()));
            }
            None if segments.get(at) == Some(step) => rank.push(0),
            None => return None,
        }
    }
    (steps.len() == segments.len()).then_some((rank, values))
}

/// `*` and `?`, by a table of which part of the pattern fits which part of the text.
pub fn fits_slowly(pattern: &[u8], text: &[u8]) -> bool {
    let mut row = vec![false; text.len() + 1];
    row[0] = true;
    for sign in pattern {
        let mut next = vec![false; text.len() + 1];
        for at in 0..=text.len() {
            next[at] = match sign {
                b'*' => row[at] || (at > 0 && next[at - 1]),
                b'?' => at > 0 && row[at - 1],
                sign => at > 0 && row[at - 1] && text[at - 1] == *sign,
            };
        }
        row = next;
    }
    assert_eq!(wildcard(pattern, text), row[text.len()], "{pattern:?} {text:?}");
    row[text.len()]
}

// ---- Events and responses

pub fn events(raw: &[u8], result: &[u8]) {
    let Some(request) = request(raw) else { return };
    let site = site();
    for kind in KINDS {
        let matched = matched(kind, &request);
        for caller in callers(result) {
            for version in [PayloadVersion::V1, PayloadVersion::V2] {
                let event = payload::event(&request, &matched, version, &caller, &site, &request.uuid);
                is_json(&event);
            }
            context::of(&request, &matched, &caller, &site);
            web_socket::fuzzing::events(&request, &matched, &caller, &site, result);
        }
        authorize::fuzzing::questions(&request, &matched, &site);
        for version in [PayloadVersion::V1, PayloadVersion::V2] {
            if let Ok(mut response) = payload::response(result.to_vec(), &request, &matched, version) {
                payload::stamp(response.headers_mut(), kind, &request);
                cors::apply(&cors(), kind, &request, &mut response);
                assert!(response.status().as_u16() >= 100);
            }
        }
        cors::preflight(&cors(), kind, &request);
        refuse(&request, &matched, result);
    }
    streaming::begin(result);
}

fn is_json(event: &[u8]) {
    serde_json::from_slice::<serde::de::IgnoredAny>(event).expect("an event is JSON");
}

fn callers(result: &[u8]) -> [Caller; 3] {
    let context: Map<String, Value> = serde_json::from_slice(result).unwrap_or_default();
    let lambda = Identity::Lambda { principal_id: Some("p".into()), context: context.clone(), latency: 3 };
    let key = AcceptedKey { id: "key".into(), value: "value".into() };
    [
        Caller::default(),
        Caller { identity: lambda, api_key: Some(key), pretended: false },
        Caller {
            identity: Identity::Jwt { claims: context, scopes: Some(vec!["a".into()]) },
            ..Caller::default()
        },
    ]
}

fn cors() -> Cors {
    Cors {
        allow_origins: vec!["https://*.example.com".into(), "https://a.test".into()],
        allow_methods: vec!["*".into()],
        allow_headers: vec!["x-*".into(), "content-type".into()],
        expose_headers: vec!["x-total".into()],
        max_age: Some(60),
        allow_credentials: true,
    }
}

/// Every kind of refusal, with texts of the client's.
fn refuse(request: &Request, matched: &Matched, result: &[u8]) {
    let said = String::from_utf8_lossy(result).into_owned();
    let mut api = (*matched.api).clone();
    let response = GatewayResponse {
        status: None,
        parameters: [
            ("gatewayresponse.header.x-said".to_owned(), "method.request.header.x-said".to_owned()),
            ("gatewayresponse.header.x-query".to_owned(), "method.request.querystring.said".to_owned()),
        ]
        .into(),
        templates: [(
            "application/json".to_owned(),
            format!("{{\"m\": $context.error.messageString, \"p\": \"$context.path\"}} {said}"),
        )]
        .into(),
    };
    api.gateway_responses.insert("DEFAULT_4XX".to_owned(), response);
    let headers = check_headers(matched.kind(), &request.head.headers).err();
    let errors = [
        GatewayError::NotFound { hint: Some(said.clone()) },
        GatewayError::FunctionError { error_type: said.clone() },
        GatewayError::Integration(said.clone()),
        GatewayError::IntegrationTimeout(Duration::from_secs(29)),
        GatewayError::TooLarge,
        GatewayError::BadRequest("a reason"),
        GatewayError::Unauthorized { reason: said.clone(), www_authenticate: Some(said.clone()) },
        GatewayError::Forbidden(said.clone()),
        GatewayError::AccessDenied { explicit: true, reason: said.clone() },
        GatewayError::AuthorizerFailed { configuration: true, reason: said.clone() },
        GatewayError::MissingAuthenticationToken,
        GatewayError::InvalidSignature { message: said.clone() },
        GatewayError::InvalidApiKey(said.clone()),
        GatewayError::TooManyRequests(said.clone()),
        GatewayError::MissingParameters(vec![said]),
        GatewayError::UnsupportedMediaType,
    ];
    let about = About { kind: api.kind, request, api: Some(&api), matched: Some(matched) };
    for error in errors.into_iter().chain(headers) {
        let _ = error.note();
        let status = error.into_response(about).status();
        assert!(status.is_client_error() || status.is_server_error(), "{status}");
    }
}

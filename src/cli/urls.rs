//! How APIs, routes and URLs are shown.

use crate::api::{Api, Authorization, Integration, IntegrationKind, Kind, PayloadVersion, Route};
use crate::deployment::Deployment;
use crate::server::Addresses;

/// One line of `handlerd routes`.
pub fn row(api: &Api, route: &Route) -> Vec<String> {
    let method = if route.method.is_empty() || api.kind == Kind::WebSocket { "-" } else { &route.method };
    vec![
        method.to_owned(),
        route.path.clone(),
        kind(api, &route.integration),
        target(route),
        authorizer(route),
    ]
}

/// `HTTP API Shop, payload 2.0`
fn kind(api: &Api, integration: &Integration) -> String {
    let kind = match (api.kind, &integration.kind) {
        (Kind::Http, IntegrationKind::Function { payload: PayloadVersion::V1, .. }) => {
            "HTTP API, payload 1.0"
        }
        (Kind::Http, IntegrationKind::Function { .. }) => "HTTP API, payload 2.0",
        (kind, _) => kind.name(),
    };
    let stages: Vec<&str> =
        api.stages.iter().map(|stage| stage.name.as_str()).filter(|name| !name.starts_with('$')).collect();
    let stages = if stages.is_empty() { String::new() } else { format!(" ({})", stages.join(", ")) };
    format!("{kind}{stages}")
}

fn target(route: &Route) -> String {
    match &route.integration.kind {
        IntegrationKind::Function { function, .. } => function.clone(),
        IntegrationKind::Mapped(mapped) => match &mapped.function {
            Some(function) => format!("{function}, mapped"),
            None => "MOCK".to_owned(),
        },
        IntegrationKind::Http(http) => http.url.clone(),
        IntegrationKind::Missing { reason } => format!("cannot be served: {reason}"),
    }
}

fn authorizer(route: &Route) -> String {
    let authorizer = match &route.authorization {
        Authorization::None => "-".to_owned(),
        Authorization::Iam => "AWS_IAM".to_owned(),
        Authorization::Authorizer { name, scopes } if scopes.is_empty() => name.clone(),
        Authorization::Authorizer { name, scopes } => format!("{name} ({})", scopes.join(" ")),
    };
    match (route.api_key_required, authorizer.as_str()) {
        (false, _) => authorizer,
        (true, "-") => "API key".to_owned(),
        (true, _) => format!("{authorizer}, API key"),
    }
}

/// Where a route answers, as somebody would type it.
pub fn url(addresses: &Addresses, api: &Api, route: &Route) -> String {
    let port = addresses.http.port();
    match api.kind {
        Kind::FunctionUrl => {
            format!("{}://{}.lambda-url.localhost:{port}/", addresses.scheme, api.name.to_lowercase())
        }
        Kind::WebSocket => {
            let stage = api.stages.first().map_or("", |stage| stage.name.as_str());
            let scheme = addresses.scheme.replace("http", "ws");
            format!("{scheme}://{}/{stage}", addresses.http)
        }
        Kind::Http | Kind::Rest | Kind::LoadBalancer => {
            let path = if route.path.starts_with('/') { route.path.as_str() } else { "/" };
            format!("{}://{}{path}", addresses.scheme, addresses.http)
        }
    }
}

/// URL and what answers there, each place once; the convention's second route says nothing new.
pub fn lines(addresses: &Addresses, deployment: &Deployment) -> Vec<Vec<String>> {
    let mut lines: Vec<Vec<String>> = Vec::new();
    for api in &deployment.apis {
        for route in &api.routes {
            let works = match route.function() {
                Some(function) => {
                    let name = function.split(':').next().unwrap_or(function);
                    let deployed = deployment.functions.get(name);
                    deployed.is_none_or(|deployed| deployed.function().is_some())
                }
                None => true,
            };
            let url = url(addresses, api, route);
            if !works || lines.iter().any(|line| line[0] == url) || is_second(api, route) {
                continue;
            }
            lines.push(vec![url, described(api, route)]);
        }
    }
    lines
}

/// `ANY /NAME/{proxy+}` beside `ANY /NAME` of the same function; and what answers preflights.
fn is_second(api: &Api, route: &Route) -> bool {
    let shorter = route.path.strip_suffix("/{proxy+}").unwrap_or_default();
    let same = |other: &Route| {
        other.path == shorter && other.method == route.method && other.function() == route.function()
    };
    (!shorter.is_empty() && api.routes.iter().any(same))
        || (route.method == "OPTIONS" && route.function().is_none())
}

fn described(api: &Api, route: &Route) -> String {
    let function = match &route.integration.kind {
        IntegrationKind::Function { function, .. } => format!("function {function}"),
        _ => target(route),
    };
    let method = match (api.kind, route.method.as_str()) {
        (Kind::Http | Kind::Rest, method) if method != "ANY" => format!("{method}, "),
        (Kind::WebSocket, _) => "WebSocket, ".to_owned(),
        _ => String::new(),
    };
    let asks = match authorizer(route).as_str() {
        "-" => String::new(),
        authorizer => format!(", asks for {authorizer}"),
    };
    format!("{method}{function}{asks}")
}

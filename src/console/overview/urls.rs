//! Where a function answers HTTP, as somebody would type it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::api::{Api, Kind, Route};

/// By function; the one to be shown for it first: it can be opened in a browser.
pub fn of<'a>(apis: impl Iterator<Item = &'a Arc<Api>>, http_url: &str) -> BTreeMap<String, Vec<Value>> {
    let mut found: BTreeMap<String, Vec<(bool, String, String, &str)>> = BTreeMap::new();
    for api in apis {
        let what = match api.kind {
            Kind::Http => "HTTP API route",
            Kind::Rest => "REST route",
            Kind::FunctionUrl => "function URL",
            Kind::LoadBalancer => "load balancer rule",
            // Not to be asked with HTTP.
            Kind::WebSocket => continue,
        };
        for route in &api.routes {
            let Some(function) = route.function() else { continue };
            if is_second(api, route) {
                continue;
            }
            let function = function.split(':').next().unwrap_or(function).to_owned();
            let url = url(api, route, http_url);
            let opens = matches!(route.method.as_str(), "GET" | "ANY") && !url.contains(['{', '*']);
            let all = found.entry(function).or_default();
            if !all.iter().any(|(_, known, method, _)| *known == url && *method == route.method) {
                all.push((opens, url, route.method.clone(), what));
            }
        }
    }
    let told = |mut all: Vec<(bool, String, String, &'static str)>| {
        all.sort_by_key(|(opens, ..)| !opens);
        let row = |(_, url, method, what)| json!({"url": url, "method": method, "what": what});
        all.into_iter().map(row).collect()
    };
    found.into_iter().map(|(function, all)| (function, told(all))).collect()
}

fn url(api: &Api, route: &Route, http_url: &str) -> String {
    if api.kind == Kind::FunctionUrl {
        let (scheme, address) = http_url.split_once("://").unwrap_or(("http", http_url));
        let port = address.rsplit_once(':').map(|(_, port)| format!(":{port}")).unwrap_or_default();
        return format!("{scheme}://{}.lambda-url.localhost{port}/", api.name.to_lowercase());
    }
    let path = if route.path.starts_with('/') { route.path.as_str() } else { "/" };
    format!("{http_url}{path}")
}

/// `ANY /NAME/{proxy+}` beside `ANY /NAME` of the same function.
fn is_second(api: &Api, route: &Route) -> bool {
    let shorter = route.path.strip_suffix("/{proxy+}").unwrap_or_default();
    !shorter.is_empty()
        && api.routes.iter().any(|other| {
            other.path == shorter && other.method == route.method && other.function() == route.function()
        })
}

//! `Cors` of a REST API: the OPTIONS methods that SAM makes of it. (`CorsConfiguration` of an HTTP
//! API stands with it.)

use std::collections::{BTreeMap, BTreeSet};

use super::super::super::Severity;
use super::super::Builder;
use super::super::section::Section;
use super::auth::Rules;
use crate::api::{
    Api, Integration, IntegrationKind, IntegrationResponse, MappedIntegration, Passthrough, Route,
};

const WILDCARD: &str = "'*'";
/// What `ANY` stands for, sorted.
const ALL_METHODS: &str = "DELETE,GET,HEAD,OPTIONS,PATCH,POST,PUT";

struct Headers {
    origin: String,
    headers: Option<String>,
    methods: Option<String>,
    max_age: Option<String>,
    credentials: bool,
}

/// Adds an OPTIONS method to every path that has none.
pub fn add_preflights(properties: &Section<'_>, api: &mut Api, rules: &Rules, builder: &mut Builder) {
    let Some(headers) = read(properties, builder) else { return };
    let source = builder.source(properties.line("Cors"));
    let mut paths: Vec<String> = Vec::new();
    let mut methods: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for route in &api.routes {
        // `/items/` is the same resource as `/items`.
        let path = if route.path.len() > 1 { route.path.trim_end_matches('/') } else { &route.path };
        if !methods.contains_key(path) {
            paths.push(path.to_owned());
        }
        methods.entry(path.to_owned()).or_default().insert(route.method.clone());
    }
    for path in paths {
        let methods = &methods[&path];
        if methods.contains("OPTIONS") {
            continue;
        }
        let mut route = Route::new("OPTIONS", &path, mock(&headers, methods));
        route.source = source.clone();
        rules.apply(&mut route, None, builder);
        api.routes.push(route);
    }
}

fn read(properties: &Section<'_>, builder: &mut Builder) -> Option<Headers> {
    let node = properties.get("Cors")?;
    let section = match node.text() {
        Some(_) => None,
        None => Some(properties.section("Cors", builder)?),
    };
    let mut headers = Headers {
        origin: WILDCARD.to_owned(),
        headers: None,
        methods: None,
        max_age: None,
        credentials: false,
    };
    match (&section, node.text()) {
        (None, text) => text.unwrap_or_default().clone_into(&mut headers.origin),
        (Some(section), _) => {
            section.only(
                &["AllowCredentials", "AllowHeaders", "AllowMethods", "AllowOrigin", "MaxAge"],
                builder,
            );
            let mut text =
                |key| section.text(key, builder).filter(|text| !text.is_empty()).map(str::to_owned);
            headers.origin = text("AllowOrigin").unwrap_or(headers.origin);
            headers.headers = text("AllowHeaders");
            headers.methods = text("AllowMethods");
            headers.max_age = text("MaxAge");
            headers.credentials = section.boolean("AllowCredentials", builder).unwrap_or(false);
        }
    }
    let line = properties.line("Cors");
    if headers.credentials && headers.origin == WILDCARD {
        let text = "`Cors`: `AllowCredentials` cannot be true when `AllowOrigin` is `\"'*'\"` or not set";
        builder.problem(Severity::Error, line, text);
        return None;
    }
    let values =
        [Some(&headers.origin), headers.headers.as_ref(), headers.methods.as_ref(), headers.max_age.as_ref()];
    for value in values.into_iter().flatten() {
        if !is_expression(value) {
            let text = format!(
                "`Cors`: `{value}` needs quotes of its own, because API Gateway takes it for an expression\nhint: \
                 \"'{value}'\""
            );
            builder.problem(Severity::Error, line, text);
            return None;
        }
    }
    Some(headers)
}

fn is_expression(text: &str) -> bool {
    let quoted = text.len() > 1 && text.starts_with('\'') && text.ends_with('\'');
    quoted || ["integration.", "stageVariables.", "context."].iter().any(|prefix| text.starts_with(prefix))
}

fn mock(headers: &Headers, methods: &BTreeSet<String>) -> Integration {
    let allowed = headers.methods.clone().unwrap_or_else(|| {
        if methods.contains("ANY") {
            return format!("'{ALL_METHODS}'");
        }
        let mut all: BTreeSet<&str> = methods.iter().map(String::as_str).collect();
        all.insert("OPTIONS");
        format!("'{}'", all.into_iter().collect::<Vec<_>>().join(","))
    });
    let mut parameters = BTreeMap::new();
    let mut set = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            parameters.insert(format!("method.response.header.Access-Control-{name}"), value);
        }
    };
    set("Allow-Origin", Some(headers.origin.clone()));
    set("Allow-Headers", headers.headers.clone());
    set("Allow-Methods", Some(allowed));
    set("Max-Age", headers.max_age.clone());
    set("Allow-Credentials", headers.credentials.then(|| "'true'".to_owned()));
    let json = |text: &str| BTreeMap::from([("application/json".to_owned(), text.to_owned())]);
    Integration {
        kind: IntegrationKind::Mapped(Box::new(MappedIntegration {
            function: None,
            asynchronous: false,
            request_templates: json("{\n  \"statusCode\" : 200\n}\n"),
            passthrough: Passthrough::default(),
            responses: vec![IntegrationResponse {
                pattern: None,
                status: 200,
                parameters,
                templates: json("{}\n"),
            }],
        })),
        timeout: None,
    }
}

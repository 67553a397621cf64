//! Throttles of stages and routes: `RouteSettings`, `DefaultRouteSettings`, `MethodSettings`.

use super::super::super::Severity;
use super::super::Builder;
use super::super::section::Section;
use super::super::throttle::filled;
use crate::api::{Stage, Throttle};

/// `ThrottlingRateLimit` and `ThrottlingBurstLimit`.
pub fn settings(section: &Section<'_>, builder: &mut Builder) -> Option<Throttle> {
    section.only(
        &[
            "DataTraceEnabled",
            "DetailedMetricsEnabled",
            "LoggingLevel",
            "ThrottlingBurstLimit",
            "ThrottlingRateLimit",
        ],
        builder,
    );
    limits(section, "ThrottlingRateLimit", "ThrottlingBurstLimit", builder)
}

pub fn limits(section: &Section<'_>, rate: &str, burst: &str, builder: &mut Builder) -> Option<Throttle> {
    let rate = section.rate(rate, builder);
    let burst = section.number(burst, 0, i64::from(u32::MAX), builder);
    filled(rate, burst.map(|burst| burst as u32))
}

/// HTTP and WebSocket APIs: of a stage, and of its routes by their keys.
pub fn stage(properties: &Section<'_>, stage: &mut Stage, builder: &mut Builder) {
    if let Some(section) = properties.section("DefaultRouteSettings", builder) {
        stage.throttle = settings(&section, builder);
    }
    let Some(routes) = properties.section("RouteSettings", builder) else { return };
    for (_, key, node) in routes.entries() {
        let route = routes.below(key, node);
        if route.is_map(builder)
            && let Some(throttle) = settings(&route, builder)
        {
            stage.route_throttles.insert(key.to_owned(), throttle);
        }
    }
}

/// REST: a list, in which `*` stands for any method and `/*` for any resource.
pub fn methods(properties: &Section<'_>, stage: &mut Stage, builder: &mut Builder) {
    let Some(list) = properties.get("MethodSettings") else { return };
    let Some(items) = list.items() else {
        let text = format!("`MethodSettings` must be a list, not {}", list.kind());
        return builder.problem(Severity::Error, list.line, text);
    };
    for item in items {
        let section = Section { node: item, at: "MethodSettings".to_owned() };
        if !section.is_map(builder) {
            continue;
        }
        section.only(
            &[
                "CacheDataEncrypted",
                "CacheTtlInSeconds",
                "CachingEnabled",
                "DataTraceEnabled",
                "HttpMethod",
                "LoggingLevel",
                "MetricsEnabled",
                "ResourcePath",
                "ThrottlingBurstLimit",
                "ThrottlingRateLimit",
            ],
            builder,
        );
        let method = section.text("HttpMethod", builder).unwrap_or("*").to_ascii_uppercase();
        let path = resource_path(section.text("ResourcePath", builder).unwrap_or("/*"));
        let Some(throttle) = limits(&section, "ThrottlingRateLimit", "ThrottlingBurstLimit", builder) else {
            continue;
        };
        if method == "*" && path == "/*" {
            stage.throttle = Some(throttle);
        } else {
            stage.route_throttles.insert(format!("{method} {path}"), throttle);
        }
    }
}

/// `/~1users~1{id}` is how API Gateway writes `/users/{id}` here.
fn resource_path(text: &str) -> String {
    let plain = text.replace("~1", "/");
    format!("/{}", plain.trim_start_matches('/'))
}

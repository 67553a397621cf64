//! Integrations that are no Lambda proxies: mapping templates, MOCK, and other servers.
//!
//! | file | what it knows |
//! |---|---|
//! | `integration` | REST's AWS and MOCK: templates on both sides |
//! | `template` | Velocity's language |
//! | `json_path` | JSONPath, for templates and parameter mappings |
//! | `pattern` | Java's regular expressions |
//! | `http_proxy` | routes that go on to another server |
//! | `parameters` | parameter mappings, REST's and those of HTTP APIs |
//! | `headers` | headers that do not pass as they are |
//! | `setting` | what a mapping can ask about a request |

#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod headers;
mod http_proxy;
mod integration;
mod json_path;
mod parameters;
mod pattern;
mod setting;
mod template;

use crate::api::{Integration, IntegrationKind, Kind};

pub use http_proxy::{Client, http_proxy};
pub use integration::mapped;
pub use parameters::{apply_to_request, apply_to_response};

/// Whether all of a mapping template is understood here: "line N: what" is not.
pub fn check(template: &str) -> Result<(), String> {
    template::Template::parse(template).map(drop)
}

/// Whether all that an integration maps is understood here; templates, patterns and parameters.
pub fn check_integration(kind: Kind, integration: &Integration) -> Result<(), String> {
    match &integration.kind {
        IntegrationKind::Function { request, responses, .. } => parameters::check(request, responses),
        IntegrationKind::Mapped(mapped) => integration::check(mapped),
        IntegrationKind::Http(http) => {
            http_proxy::check_url(http)?;
            match kind {
                Kind::Rest => parameters::check_rest(&http.request),
                _ => parameters::check(&http.request, &http.responses),
            }
        }
        IntegrationKind::Missing { .. } => Ok(()),
    }
}

#[cfg(test)]
pub mod fixture {
    //! A request, where it goes, and where all this is.

    use std::net::IpAddr;
    use std::sync::Arc;

    use axum::body::Bytes;

    use crate::api::{Api, Integration, Kind, PayloadVersion, Route, Stage};
    use crate::config::Access;
    use crate::gateway::Site;
    use crate::gateway::request::{Matched, Request};

    /// A request from 203.0.113.10.
    pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Request {
        let mut builder = http::Request::builder().method(method).uri(path);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        let (head, ()) = builder.body(()).unwrap().into_parts();
        let mut request = Request::new(head, Bytes::from(body.to_owned()));
        request.peer = Some(IpAddr::from([203, 0, 113, 10]));
        request
    }

    /// A route of an API whose stage has the variables `tier` and `host`.
    pub fn matched(kind: Kind, method: &str, path: &str, parameters: &[(&str, &str)]) -> Matched {
        let mut api = Api::new("a1b2c3d4e5", "Pets", kind);
        let mut stage = Stage::named("prod");
        stage.variables = [("tier", "gold"), ("host", "example.test")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        api.stages.push(stage);
        api.routes.push(Route::new(method, path, Integration::function("pets", PayloadVersion::V2)));
        Matched {
            api: Arc::new(api),
            stage: 0,
            route: 0,
            path: path.to_owned(),
            full_path: format!("/prod{path}"),
            parameters: parameters
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect(),
            custom_domain: false,
        }
    }

    pub fn site() -> Site {
        Site {
            account: "123456789012".to_owned(),
            region: "eu-west-1".to_owned(),
            port: 3000,
            tls: false,
            access: Access::default(),
        }
    }
}

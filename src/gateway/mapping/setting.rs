//! What a mapping can ask about a request: its parameters, `$context`, stage variables, its body.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value};

use super::template::{Parameters, Variables};
use crate::gateway::Site;
use crate::gateway::context;
use crate::gateway::payload::{fields, query, text};
use crate::gateway::request::{Caller, Matched, Request};

pub struct Setting<'a> {
    pub request: &'a Request,
    pub matched: &'a Matched,
    pub context: Map<String, Value>,
    pub parameters: Parameters,
}

impl<'a> Setting<'a> {
    pub fn new(request: &'a Request, matched: &'a Matched, caller: &Caller, site: &Site) -> Self {
        let context = context::of(request, matched, caller, site);
        let parameters = Parameters {
            path: matched.parameters.clone(),
            query: texts(query::last(query::decoded(request.query()))),
            headers: texts(fields::last(&fields::as_spelled(request, site))),
        };
        Self { request, matched, context, parameters }
    }

    pub fn stage_variables(&self) -> &BTreeMap<String, String> {
        &self.matched.stage().variables
    }

    /// With this body; the request's own or the integration's.
    pub fn variables<'b>(&'b self, body: &'b str) -> Variables<'b> {
        Variables {
            body,
            parameters: &self.parameters,
            context: &self.context,
            stage_variables: self.stage_variables(),
        }
    }

    /// Binary media types come as base64, damaged text as it can be read.
    pub fn body(&self) -> String {
        if text::is_binary(self.request.header("content-type"), &self.matched.api.binary_media_types) {
            BASE64.encode(&self.request.body)
        } else {
            String::from_utf8_lossy(&self.request.body).into_owned()
        }
    }
}

fn texts(values: Map<String, Value>) -> Vec<(String, String)> {
    let text = |value: Value| value.as_str().unwrap_or_default().to_owned();
    values.into_iter().map(|(name, value)| (name, text(value))).collect()
}

/// Decoded, in their order.
pub fn query_pairs(query: &str) -> Vec<(String, String)> {
    query::decoded(query).map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

/// What an API tells its integration about the client.
pub fn forwarded(request: &Request, site: &Site) -> [(&'static str, String); 4] {
    let source = request.source_ip();
    let (scheme, port) = request.scheme_and_port(site);
    let chain = match request.header("x-forwarded-for") {
        Some(earlier) => format!("{earlier}, {source}"),
        None => source,
    };
    [
        ("x-amzn-trace-id", format!("Root={}", request.trace.root)),
        ("x-forwarded-for", chain),
        ("x-forwarded-port", port.to_string()),
        ("x-forwarded-proto", scheme.to_owned()),
    ]
}

//! How a route meets what is behind it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::PayloadVersion;

#[derive(Debug, Clone, PartialEq)]
pub struct Integration {
    pub kind: IntegrationKind,
    /// How long the gateway waits; `None`: as long as its kind of API does.
    pub timeout: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum IntegrationKind {
    /// AWS_PROXY: the whole request is the event.
    Function {
        /// Name, with `:qualifier` if there is one; may hold `${stageVariables.x}`.
        function: String,
        payload: PayloadVersion,
        /// `RESPONSE_STREAM`, or REST's `responseTransferMode: STREAM`.
        streams: bool,
        /// HTTP API: parameter mapping.
        request: ParameterMapping,
        /// HTTP API: parameter mapping of responses, by status (`200`, `5xx`-less: exact or `default`).
        responses: BTreeMap<String, ParameterMapping>,
    },
    /// REST's AWS (function) and MOCK (none): mapping templates on both sides.
    Mapped(Box<MappedIntegration>),
    /// HTTP_PROXY.
    Http(Box<HttpIntegration>),
    /// The template names no function that is there: AWS would refuse the deployment, here the rest
    /// is served.
    Missing { reason: String },
}

impl Integration {
    /// AWS_PROXY to this function.
    pub fn function(name: &str, payload: PayloadVersion) -> Self {
        Self {
            kind: IntegrationKind::Function {
                function: name.to_owned(),
                payload,
                streams: false,
                request: ParameterMapping::default(),
                responses: BTreeMap::new(),
            },
            timeout: None,
        }
    }
}

/// A non-proxy REST integration.
#[derive(Debug, Clone, PartialEq)]
pub struct MappedIntegration {
    /// `None`: MOCK.
    pub function: Option<String>,
    /// `X-Amz-Invocation-Type: Event` was asked for: the caller gets an answer at once.
    pub asynchronous: bool,
    /// Content type -> template.
    pub request_templates: BTreeMap<String, String>,
    pub passthrough: Passthrough,
    /// In the template's order; the one without a pattern is the default.
    pub responses: Vec<IntegrationResponse>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Passthrough {
    #[default]
    WhenNoMatch,
    WhenNoTemplates,
    Never,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct IntegrationResponse {
    /// `selectionPattern`: a regular expression for the error message (MOCK: the status).
    pub pattern: Option<String>,
    pub status: u16,
    /// `method.response.header.X` -> `'static'`, `integration.response.header.Y`, `integration.response.body.a.b`.
    pub parameters: BTreeMap<String, String>,
    /// Content type -> template.
    pub templates: BTreeMap<String, String>,
}

/// A route that goes on to another server.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpIntegration {
    /// May hold `{param}` and `${stageVariables.x}`.
    pub url: String,
    /// `ANY`: the client's own.
    pub method: String,
    /// REST: `integration.request.path.x` -> `method.request.path.y`; HTTP API: `overwrite:path` -> ...
    pub request: ParameterMapping,
    pub responses: BTreeMap<String, ParameterMapping>,
}

/// Key -> value, as the template says them.
pub type ParameterMapping = BTreeMap<String, String>;

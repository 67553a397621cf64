//! An API is what HTTP requests come in by: its routes, stages and authorizers. Read from a template
//! or made by convention (`deployment`), served by `gateway`.
//!
//! Whatever a template says is settled here: names are looked up, defaults filled in, and what
//! cannot be served has been refused.

mod authorizer;
mod integration;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

pub use authorizer::{
    Authorization, Authorizer, AuthorizerKind, IdentitySource, Jwks, JwtIssuer, LambdaAuthorizer,
    PayloadVersion,
};
pub use integration::{
    HttpIntegration, Integration, IntegrationKind, IntegrationResponse, MappedIntegration, ParameterMapping,
    Passthrough,
};

#[derive(Debug, Clone, PartialEq)]
pub struct Api {
    /// Ten of `[a-z0-9]`: the first label of its domain on AWS.
    pub id: String,
    /// What people call it: the logical id in its template, or the function's name.
    pub name: String,
    pub kind: Kind,
    /// Never empty. The first one serves requests that name none.
    pub stages: Vec<Stage>,
    pub routes: Vec<Route>,
    pub authorizers: BTreeMap<String, Authorizer>,
    /// HTTP APIs and function URLs; a REST API's are routes like any other.
    pub cors: Option<Cors>,
    /// REST: `image/png`, `image/*`, `*/*`.
    pub binary_media_types: Vec<String>,
    /// REST, by response type: `DEFAULT_4XX`, `UNAUTHORIZED`, ...
    pub gateway_responses: BTreeMap<String, GatewayResponse>,
    /// REST.
    pub api_key_source: ApiKeySource,
    pub usage_plans: Vec<UsagePlan>,
    pub domains: Vec<Domain>,
    /// WebSocket: `$request.body.action`.
    pub route_selection_expression: String,
    /// Only custom domains lead to it.
    pub execute_api_disabled: bool,
    pub source: Source,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Http,
    Rest,
    WebSocket,
    FunctionUrl,
    LoadBalancer,
}

impl Kind {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "HTTP API",
            Self::Rest => "REST API",
            Self::WebSocket => "WebSocket API",
            Self::FunctionUrl => "function URL",
            Self::LoadBalancer => "load balancer",
        }
    }
}

/// Where it is written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Source {
    pub path: PathBuf,
    pub line: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Stage {
    /// `$default`, `Prod`, ...
    pub name: String,
    pub variables: BTreeMap<String, String>,
    pub throttle: Option<Throttle>,
    /// REST `MethodSettings` and HTTP API `RouteSettings`, by `METHOD /path` (`*` stands for any).
    pub route_throttles: BTreeMap<String, Throttle>,
}

pub const DEFAULT_STAGE: &str = "$default";

impl Stage {
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    pub fn is_default(&self) -> bool {
        self.name == DEFAULT_STAGE
    }
}

/// A token bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Throttle {
    /// Requests a second.
    pub rate: f64,
    pub burst: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// `GET`, or `ANY`; a WebSocket API's has none.
    pub method: String,
    /// `/users/{id}`, `/{proxy+}`, `$default`; a WebSocket API's route key; a load balancer's path
    /// pattern (`/api/*`).
    pub path: String,
    pub integration: Integration,
    pub authorization: Authorization,
    pub api_key_required: bool,
    /// REST, those that are required: `method.request.querystring.page`.
    pub required_parameters: Vec<String>,
    /// REST: `requestContext.operationName`.
    pub operation_name: Option<String>,
    /// Load balancer: `host-header` patterns; empty for any.
    pub hosts: Vec<String>,
    /// Load balancer: what the route forwards to; rules of one balancer may forward to several groups.
    pub target_group: Option<TargetGroup>,
    /// WebSocket: whether what the integration returns is sent to the client.
    pub responds: bool,
    pub source: Source,
}

/// A load balancer's way to a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetGroup {
    /// Its logical id.
    pub name: String,
    pub arn: String,
    /// How it passes headers on.
    pub multi_value_headers: bool,
}

impl Route {
    pub fn new(method: &str, path: &str, integration: Integration) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            integration,
            authorization: Authorization::None,
            api_key_required: false,
            required_parameters: Vec::new(),
            operation_name: None,
            hosts: Vec::new(),
            target_group: None,
            responds: false,
            source: Source::default(),
        }
    }

    /// `GET /users/{id}`, `$default`.
    pub fn key(&self) -> String {
        match self.path.starts_with('/') {
            true => [&self.method, " ", &self.path].concat(),
            false => self.path.clone(),
        }
    }

    /// The function behind it, if there is one.
    pub fn function(&self) -> Option<&str> {
        match &self.integration.kind {
            IntegrationKind::Function { function, .. } => Some(function),
            IntegrationKind::Mapped(mapped) => mapped.function.as_deref(),
            IntegrationKind::Http(_) | IntegrationKind::Missing { .. } => None,
        }
    }
}

impl Api {
    pub fn new(id: &str, name: &str, kind: Kind) -> Self {
        Self {
            id: id.to_owned(),
            name: name.to_owned(),
            kind,
            stages: Vec::new(),
            routes: Vec::new(),
            authorizers: BTreeMap::new(),
            cors: None,
            binary_media_types: Vec::new(),
            gateway_responses: BTreeMap::new(),
            api_key_source: ApiKeySource::Header,
            usage_plans: Vec::new(),
            domains: Vec::new(),
            route_selection_expression: String::new(),
            execute_api_disabled: false,
            source: Source::default(),
        }
    }
}

/// `corsConfiguration` of an HTTP API, `Cors` of a function URL.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Cors {
    pub allow_origins: Vec<String>,
    pub allow_methods: Vec<String>,
    pub allow_headers: Vec<String>,
    pub expose_headers: Vec<String>,
    /// Seconds.
    pub max_age: Option<u32>,
    pub allow_credentials: bool,
}

impl Cors {
    /// In AWS's words; what it does not say is left out.
    pub fn properties(&self) -> Value {
        let mut properties = Map::new();
        for (name, list) in [
            ("AllowOrigins", &self.allow_origins),
            ("AllowMethods", &self.allow_methods),
            ("AllowHeaders", &self.allow_headers),
            ("ExposeHeaders", &self.expose_headers),
        ] {
            if !list.is_empty() {
                properties.insert(name.to_owned(), list.as_slice().into());
            }
        }
        if let Some(seconds) = self.max_age {
            properties.insert("MaxAge".to_owned(), seconds.into());
        }
        if self.allow_credentials {
            properties.insert("AllowCredentials".to_owned(), true.into());
        }
        properties.into()
    }
}

/// What takes the place of an answer that the gateway itself gives.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GatewayResponse {
    pub status: Option<u16>,
    /// `gatewayresponse.header.X` -> `'value'`, `method.request.header.Y`, ...
    pub parameters: BTreeMap<String, String>,
    /// By content type.
    pub templates: BTreeMap<String, String>,
}

impl GatewayResponse {
    /// What API Gateway itself can answer.
    pub const TYPES: [&str; 21] = [
        "ACCESS_DENIED",
        "API_CONFIGURATION_ERROR",
        "AUTHORIZER_CONFIGURATION_ERROR",
        "AUTHORIZER_FAILURE",
        "BAD_REQUEST_BODY",
        "BAD_REQUEST_PARAMETERS",
        "DEFAULT_4XX",
        "DEFAULT_5XX",
        "EXPIRED_TOKEN",
        "INTEGRATION_FAILURE",
        "INTEGRATION_TIMEOUT",
        "INVALID_API_KEY",
        "INVALID_SIGNATURE",
        "MISSING_AUTHENTICATION_TOKEN",
        "QUOTA_EXCEEDED",
        "REQUEST_TOO_LARGE",
        "RESOURCE_NOT_FOUND",
        "THROTTLED",
        "UNAUTHORIZED",
        "UNSUPPORTED_MEDIA_TYPE",
        "WAF_FILTERED",
    ];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiKeySource {
    Header,
    Authorizer,
}

#[derive(Debug, Clone, PartialEq)]
pub struct UsagePlan {
    pub name: String,
    /// Of this API; empty: all.
    pub stages: Vec<String>,
    pub keys: Vec<ApiKey>,
    pub throttle: Option<Throttle>,
    pub quota: Option<Quota>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Ten characters.
    pub id: String,
    pub name: String,
    pub value: String,
    pub enabled: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    pub limit: u64,
    pub period: Period,
    /// Days or so into the period at which it begins.
    pub offset: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    Day,
    Week,
    Month,
}

/// A custom domain that leads to a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    pub host: String,
    /// Without slashes at its ends; empty for the root.
    pub base_path: String,
    pub stage: String,
}

/// API Gateway's own limits.
pub const REST_TIMEOUT: Duration = Duration::from_secs(29);
pub const HTTP_TIMEOUT: Duration = Duration::from_secs(30);

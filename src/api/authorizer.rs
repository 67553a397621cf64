//! Who decides whether a request may pass.

use std::path::PathBuf;
use std::time::Duration;

/// What a route asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Authorization {
    #[default]
    None,
    /// SigV4.
    Iam,
    /// One of the API's authorizers, by name.
    Authorizer { name: String, scopes: Vec<String> },
}

#[derive(Debug, Clone, PartialEq)]
pub struct Authorizer {
    pub name: String,
    pub kind: AuthorizerKind,
    /// How long a decision is kept; zero: not at all.
    pub ttl: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub enum AuthorizerKind {
    /// REST: one header.
    Token(LambdaAuthorizer),
    /// REST and HTTP API: several sources.
    Request(LambdaAuthorizer),
    /// HTTP API.
    Jwt(JwtIssuer),
    /// REST `COGNITO_USER_POOLS`.
    Cognito(JwtIssuer),
}

#[derive(Debug, Clone, PartialEq)]
pub struct LambdaAuthorizer {
    pub function: String,
    pub identity: Vec<IdentitySource>,
    /// TOKEN: a regular expression for the token.
    pub validation: Option<String>,
    /// HTTP API; a REST API's is always 1.0.
    pub payload: PayloadVersion,
    /// HTTP API, with payload 2.0: `{"isAuthorized": true}`.
    pub simple_responses: bool,
}

/// Where a part of the caller's identity stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentitySource {
    Header(String),
    Query(String),
    StageVariable(String),
    /// `identity.sourceIp`, `routeKey`, ...
    Context(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadVersion {
    V1,
    V2,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtIssuer {
    /// `iss`; its key set is found below `/.well-known/`.
    pub issuer: String,
    /// Where the key set is instead, for an issuer that does not exist here.
    pub jwks: Option<Jwks>,
    /// Empty: not checked (Cognito).
    pub audience: Vec<String>,
    pub identity: Vec<IdentitySource>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Jwks {
    Url(String),
    File(PathBuf),
}

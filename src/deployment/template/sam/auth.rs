//! `Auth` of an API: its authorizers, and which of them each route asks.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::super::Severity;
use super::super::super::nearest::hint;
use super::super::authorizer::{cognito_issuer, source};
use super::super::section::Section;
use super::super::{Builder, Resource, Stack, Status, reference};
use super::events::EventAuth;
use crate::api::{
    Authorization, Authorizer, AuthorizerKind, IdentitySource, IntegrationKind, JwtIssuer, Kind,
    LambdaAuthorizer, PayloadVersion, Route,
};

const IAM: &str = "AWS_IAM";
const NONE: &str = "NONE";
/// What REST keeps a decision for, unless it is told otherwise.
const REST_TTL: i64 = 300;

/// Who may call the routes of one API.
pub struct Rules {
    kind: Kind,
    pub authorizers: BTreeMap<String, Authorizer>,
    /// `AuthorizationScopes` of each.
    scopes: BTreeMap<String, Vec<String>>,
    /// Authorizers that are declared and cannot be asked, and why.
    broken: BTreeMap<String, String>,
    default: Option<String>,
    iam: bool,
    pub api_key_required: bool,
    guards_preflight: bool,
    preflight_needs_key: bool,
}

impl Rules {
    /// REST and HTTP APIs.
    pub fn read(stack: &Stack, resource: &Resource, kind: Kind, builder: &mut Builder) -> Self {
        let mut rules = Self {
            kind,
            authorizers: BTreeMap::new(),
            scopes: BTreeMap::new(),
            broken: BTreeMap::new(),
            default: None,
            iam: kind == Kind::Rest,
            api_key_required: false,
            guards_preflight: kind == Kind::Rest,
            preflight_needs_key: true,
        };
        let Some(auth) = Section::properties(resource).section("Auth", builder) else { return rules };
        if kind == Kind::Rest {
            rules.rest(&auth, resource, builder);
        } else {
            auth.only(&["Authorizers", "DefaultAuthorizer", "EnableIamAuthorizer"], builder);
            rules.iam = auth.boolean("EnableIamAuthorizer", builder).unwrap_or(false);
        }
        if let Some(authorizers) = auth.section("Authorizers", builder) {
            for (key, name, node) in authorizers.entries() {
                let section = authorizers.below(name, node);
                if !section.is_map(builder) {
                    rules.broken.insert(name.to_owned(), format!("authorizer `{name}` cannot be read"));
                    continue;
                }
                if let Some(scopes) = section.texts("AuthorizationScopes", builder) {
                    rules.scopes.insert(name.to_owned(), scopes);
                }
                let reader = Reader { stack, resource, name, section, line: key.line };
                let read = if kind == Kind::Rest { reader.rest(builder) } else { reader.http(builder) };
                match read {
                    Ok(authorizer) => drop(rules.authorizers.insert(name.to_owned(), authorizer)),
                    Err(reason) => {
                        builder.problem(Severity::Error, key.line, reason.clone());
                        rules.broken.insert(name.to_owned(), reason);
                    }
                }
            }
        }
        rules.default = auth.text("DefaultAuthorizer", builder).map(str::to_owned);
        if let Some(default) = rules.default.clone()
            && let Err(Unknown { reason, known }) = rules.named(&default)
            && !known
        {
            auth.error("DefaultAuthorizer", format!("`DefaultAuthorizer`: {reason}"), builder);
        }
        rules
    }

    fn rest(&mut self, auth: &Section<'_>, resource: &Resource, builder: &mut Builder) {
        auth.only(
            &[
                "AddApiKeyRequiredToCorsPreflight",
                "AddDefaultAuthorizerToCorsPreflight",
                "ApiKeyRequired",
                "Authorizers",
                "DefaultAuthorizer",
                "InvokeRole",
                "ResourcePolicy",
                "UsagePlan",
            ],
            builder,
        );
        self.api_key_required = auth.boolean("ApiKeyRequired", builder).unwrap_or(false);
        self.guards_preflight = auth.boolean("AddDefaultAuthorizerToCorsPreflight", builder).unwrap_or(true);
        self.preflight_needs_key = auth.boolean("AddApiKeyRequiredToCorsPreflight", builder).unwrap_or(true);
        let roles = "functions run as you: there are no roles here";
        auth.finding("InvokeRole", Status::Ignored, roles, resource, builder);
        if auth.get("ResourcePolicy").is_some() {
            let text = "resource policies are not evaluated: whoever reaches the port may call";
            auth.finding("ResourcePolicy", Status::Ignored, text, resource, builder);
            let text = format!("`Auth.ResourcePolicy` is ignored: {text}");
            builder.problem(Severity::Warning, auth.line("ResourcePolicy"), text);
        }
    }

    /// What an authorizer's name comes to.
    fn named(&self, name: &str) -> Result<Authorization, Unknown> {
        if name == IAM && self.iam {
            return Ok(Authorization::Iam);
        }
        if self.authorizers.contains_key(name) {
            let scopes = self.scopes.get(name).cloned().unwrap_or_default();
            return Ok(Authorization::Authorizer { name: name.to_owned(), scopes });
        }
        if let Some(reason) = self.broken.get(name) {
            return Err(Unknown { reason: reason.clone(), known: true });
        }
        let known = self.authorizers.keys().chain(self.broken.keys()).map(String::as_str);
        let hint = match hint(name, known) {
            hint if hint.is_empty() && name == IAM => {
                "\nhint: `Auth: EnableIamAuthorizer: true` on the API".to_owned()
            }
            hint => hint,
        };
        Err(Unknown { reason: format!("the API has no authorizer `{name}`{hint}"), known: false })
    }

    /// Settles who may call a route. One whose authorizer cannot be asked is closed to everybody.
    pub fn apply(&self, route: &mut Route, auth: Option<&EventAuth>, builder: &mut Builder) {
        let is_preflight = route.method == "OPTIONS";
        let asked = auth.and_then(|auth| auth.authorizer.as_deref());
        match (asked, &self.default) {
            (Some(NONE), default) => {
                if default.is_none()
                    && let Some(auth) = auth
                {
                    let text = "`Authorizer: NONE` needs a `DefaultAuthorizer` on the API";
                    builder.problem_at(Severity::Error, &auth.source, text);
                }
            }
            (Some(name), _) => self.ask(route, name, auth, builder),
            // An HTTP API's OPTIONS routes are open, unless their events have an `Auth`.
            (None, Some(default))
                if !is_preflight || self.guards_preflight || (self.kind == Kind::Http && auth.is_some()) =>
            {
                self.ask(route, default, auth, builder);
            }
            (None, Some(_)) => {}
            (None, None) => {
                if self.kind == Kind::Http
                    && let Some(auth) = auth
                {
                    let text = "`Auth` needs an `Authorizer`, or a `DefaultAuthorizer` on the API";
                    builder.problem_at(Severity::Error, &auth.source, text);
                }
            }
        }
        self.apply_key(route, auth, is_preflight, builder);
    }

    fn apply_key(
        &self,
        route: &mut Route,
        auth: Option<&EventAuth>,
        is_preflight: bool,
        builder: &mut Builder,
    ) {
        route.api_key_required = match auth.and_then(|auth| auth.api_key_required) {
            Some(false) if !self.api_key_required => {
                if let Some(auth) = auth {
                    let text = "`ApiKeyRequired: false` needs `ApiKeyRequired: true` on the API";
                    builder.problem_at(Severity::Error, &auth.source, text);
                }
                route.api_key_required
            }
            Some(required) => required,
            None if self.api_key_required => !is_preflight || self.preflight_needs_key,
            None => route.api_key_required,
        };
    }

    fn ask(&self, route: &mut Route, name: &str, auth: Option<&EventAuth>, builder: &mut Builder) {
        match self.named(name) {
            Ok(Authorization::Authorizer { name, scopes }) => {
                let own = auth.and_then(|auth| auth.scopes.clone());
                // REST takes an empty list for none, an HTTP API for nothing said.
                let own = own.filter(|own| self.kind == Kind::Rest || !own.is_empty());
                route.authorization = Authorization::Authorizer { name, scopes: own.unwrap_or(scopes) };
            }
            Ok(authorization) => route.authorization = authorization,
            Err(Unknown { reason, known }) => {
                let is_default = auth.and_then(|auth| auth.authorizer.as_ref()).is_none();
                if !known && !is_default {
                    let source = auth.map_or_else(|| route.source.clone(), |auth| auth.source.clone());
                    builder.problem_at(Severity::Error, &source, format!("`{}`: {reason}", route.key()));
                }
                route.integration.kind = IntegrationKind::Missing { reason };
            }
        }
    }
}

/// A name that means no authorizer.
struct Unknown {
    reason: String,
    /// It is declared, and what is wrong with it has been said.
    known: bool,
}

/// One authorizer.
struct Reader<'a> {
    stack: &'a Stack,
    resource: &'a Resource,
    name: &'a str,
    section: Section<'a>,
    line: usize,
}

impl Reader<'_> {
    fn rest(&self, builder: &mut Builder) -> Result<Authorizer, String> {
        self.section.only(
            &[
                "AuthorizationScopes",
                "DisableFunctionDefaultPermissions",
                "FunctionArn",
                "FunctionInvokeRole",
                "FunctionPayloadType",
                "Identity",
                "UserPoolArn",
            ],
            builder,
        );
        let identity = self.section.section("Identity", builder);
        let ttl =
            identity.as_ref().and_then(|identity| identity.number("ReauthorizeEvery", 0, 3600, builder));
        let ttl = Duration::from_secs(ttl.unwrap_or(REST_TTL) as u64);
        let header = identity
            .as_ref()
            .and_then(|identity| identity.text("Header", builder))
            .unwrap_or("Authorization");
        let header = vec![IdentitySource::Header(header.to_owned())];
        let validation =
            identity.as_ref().and_then(|identity| identity.text("ValidationExpression", builder));
        let kind = if let Some(pools) = self.section.get("UserPoolArn") {
            if let Some(identity) = &identity {
                let text = "a Cognito token is verified, not matched";
                identity.finding("ValidationExpression", Status::Ignored, text, self.resource, builder);
            }
            AuthorizerKind::Cognito(JwtIssuer {
                issuer: self.user_pool(pools, builder)?,
                jwks: None,
                audience: Vec::new(),
                identity: header,
            })
        } else {
            let function = self.function(builder)?;
            let lambda = |identity, validation: Option<&str>| LambdaAuthorizer {
                function,
                identity,
                validation: validation.map(str::to_owned),
                payload: PayloadVersion::V1,
                simple_responses: false,
            };
            match self.section.word("FunctionPayloadType", &["TOKEN", "REQUEST"], builder) {
                Some("REQUEST") => {
                    let sources = identity.map(|identity| sources(&identity, builder)).unwrap_or_default();
                    if sources.is_empty() && !ttl.is_zero() {
                        return Err(format!(
                            "authorizer `{}` of type REQUEST needs an `Identity` with at least one of Headers, \
                             QueryStrings, StageVariables and Context, or `ReauthorizeEvery: 0`",
                            self.name
                        ));
                    }
                    AuthorizerKind::Request(lambda(sources, None))
                }
                None if self.section.get("FunctionPayloadType").is_some() => {
                    return Err(format!("authorizer `{}` is neither TOKEN nor REQUEST", self.name));
                }
                _ => AuthorizerKind::Token(lambda(header, validation)),
            }
        };
        if let Some(expression) = validation
            && let Err(error) = regex::Regex::new(expression)
        {
            let text = format!(
                "authorizer `{}`: `ValidationExpression` is no regular expression: {error}",
                self.name
            );
            return Err(text);
        }
        Ok(Authorizer { name: self.name.to_owned(), kind, ttl })
    }

    fn http(&self, builder: &mut Builder) -> Result<Authorizer, String> {
        self.section.only(
            &[
                "AuthorizationScopes",
                "AuthorizerPayloadFormatVersion",
                "EnableFunctionDefaultPermissions",
                "EnableSimpleResponses",
                "FunctionArn",
                "FunctionInvokeRole",
                "Identity",
                "IdentitySource",
                "JwtConfiguration",
            ],
            builder,
        );
        if self.section.get("JwtConfiguration").is_some() {
            let kind = AuthorizerKind::Jwt(self.jwt(builder)?);
            return Ok(Authorizer { name: self.name.to_owned(), kind, ttl: Duration::ZERO });
        }
        if self.section.get("IdentitySource").is_some() {
            return Err(format!(
                "authorizer `{}`: `IdentitySource` belongs to `JwtConfiguration`; a Lambda authorizer has `Identity`",
                self.name
            ));
        }
        let function = self.function(builder)?;
        let payload = match self.section.word("AuthorizerPayloadFormatVersion", &["1.0", "2.0"], builder) {
            Some("1.0") => PayloadVersion::V1,
            Some(_) => PayloadVersion::V2,
            None => {
                return Err(format!(
                    "authorizer `{}` needs `AuthorizerPayloadFormatVersion: 2.0` or 1.0",
                    self.name
                ));
            }
        };
        let simple_responses = self.section.boolean("EnableSimpleResponses", builder).unwrap_or(false);
        if simple_responses && payload == PayloadVersion::V1 {
            return Err(format!(
                "authorizer `{}`: `EnableSimpleResponses` needs `AuthorizerPayloadFormatVersion: 2.0`",
                self.name
            ));
        }
        let identity = self.section.section("Identity", builder);
        // Without a word an HTTP API keeps no decision.
        let ttl =
            identity.as_ref().and_then(|identity| identity.number("ReauthorizeEvery", 0, 3600, builder));
        let identity = identity.map(|identity| sources(&identity, builder)).unwrap_or_default();
        let lambda = LambdaAuthorizer { function, identity, validation: None, payload, simple_responses };
        let ttl = Duration::from_secs(ttl.unwrap_or(0) as u64);
        Ok(Authorizer { name: self.name.to_owned(), kind: AuthorizerKind::Request(lambda), ttl })
    }

    fn jwt(&self, builder: &mut Builder) -> Result<JwtIssuer, String> {
        let name = self.name;
        if self.section.get("FunctionArn").is_some() {
            return Err(format!("authorizer `{name}` has both `JwtConfiguration` and `FunctionArn`"));
        }
        let unread = || format!("authorizer `{name}` needs `JwtConfiguration` with `issuer` and `audience`");
        let configuration = self.section.section("JwtConfiguration", builder).ok_or_else(unread)?;
        configuration.only(&["Audience", "Issuer", "audience", "issuer"], builder);
        // People write them both ways, and SAM takes both.
        let key = |lower: &'static str, upper: &'static str| {
            if configuration.get(lower).is_some() { lower } else { upper }
        };
        let issuer = configuration.text(key("issuer", "Issuer"), builder).ok_or_else(unread)?;
        let audience = configuration.texts(key("audience", "Audience"), builder).ok_or_else(unread)?;
        let sources = self.section.text("IdentitySource", builder).ok_or_else(|| {
            format!("authorizer `{name}` needs an `IdentitySource`, such as `$request.header.Authorization`")
        })?;
        let identity = sources.split(',').map(|part| {
            let part = part.trim();
            source(part).map_err(|reason| {
                format!(
                    "authorizer `{name}`: {reason}\nhint: there are such as `$request.header.Authorization`"
                )
            })
        });
        let identity = identity.collect::<Result<Vec<_>, _>>()?;
        Ok(JwtIssuer { issuer: issuer.to_owned(), jwks: None, audience, identity })
    }

    fn function(&self, builder: &mut Builder) -> Result<String, String> {
        let Some(text) = self.section.text("FunctionArn", builder) else {
            return Err(format!("authorizer `{}` has no `FunctionArn`", self.name));
        };
        reference::function(self.stack, text)
            .map_err(|reason| format!("authorizer `{}`: {reason}", self.name))
    }

    /// The issuer of a user pool's tokens.
    fn user_pool(
        &self,
        pools: &super::super::super::yaml::Node,
        builder: &mut Builder,
    ) -> Result<String, String> {
        let arns: Vec<&str> = match pools.items() {
            Some(items) => items.iter().filter_map(|item| item.text()).collect(),
            None => pools.text().into_iter().collect(),
        };
        let Some(arn) = arns.first() else {
            return Err(format!(
                "authorizer `{}`: `UserPoolArn` must be an ARN, not {}",
                self.name,
                pools.kind()
            ));
        };
        if arns.len() > 1 {
            let text = format!("authorizer `{}`: tokens of the first user pool only are accepted", self.name);
            let name = self.section.name("UserPoolArn");
            builder.finding(Status::Different, self.resource, &name, pools.line, &text);
            builder.problem(Severity::Warning, self.line, text);
        }
        let refused = || format!("authorizer `{}`: `{arn}` is no ARN of a user pool", self.name);
        cognito_issuer(arn, self.stack).ok_or_else(refused)
    }
}

/// `Identity` of a Lambda authorizer, in SAM's order.
fn sources(identity: &Section<'_>, builder: &mut Builder) -> Vec<IdentitySource> {
    identity.only(
        &[
            "Context",
            "Header",
            "Headers",
            "QueryStrings",
            "ReauthorizeEvery",
            "StageVariables",
            "ValidationExpression",
        ],
        builder,
    );
    let mut list = |key, make: fn(String) -> IdentitySource| {
        identity.texts(key, builder).unwrap_or_default().into_iter().map(make).collect::<Vec<_>>()
    };
    [
        list("Headers", IdentitySource::Header),
        list("QueryStrings", IdentitySource::Query),
        list("StageVariables", IdentitySource::StageVariable),
        list("Context", IdentitySource::Context),
    ]
    .concat()
}

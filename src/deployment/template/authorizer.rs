//! What a template says about authorizers -> the authorizers, and which of them a route asks for.

use std::time::Duration;

use super::super::yaml::Node;
use super::sheet::Sheet;
use super::{Resource, Stack, Status, reference};
use crate::api::{
    Api, Authorization, Authorizer, AuthorizerKind, IdentitySource, JwtIssuer, Kind, LambdaAuthorizer,
    PayloadVersion,
};

/// How the properties are called; empty: there is none of this sort.
pub struct Words {
    kind: &'static str,
    uri: &'static str,
    ttl: &'static str,
    identity: &'static str,
    validation: &'static str,
    providers: &'static str,
    payload: &'static str,
    simple: &'static str,
    jwt: &'static str,
    issuer: &'static str,
    audience: &'static str,
    /// What means nothing here.
    permissions: &'static str,
}

/// `AWS::ApiGateway::Authorizer`
pub const REST: Words = Words {
    kind: "Type",
    uri: "AuthorizerUri",
    ttl: "AuthorizerResultTtlInSeconds",
    identity: "IdentitySource",
    validation: "IdentityValidationExpression",
    providers: "ProviderARNs",
    payload: "",
    simple: "",
    jwt: "",
    issuer: "",
    audience: "",
    permissions: "AuthorizerCredentials",
};

/// `AWS::ApiGatewayV2::Authorizer`
pub const V2: Words = Words {
    kind: "AuthorizerType",
    uri: "AuthorizerUri",
    ttl: "AuthorizerResultTtlInSeconds",
    identity: "IdentitySource",
    validation: "",
    providers: "",
    payload: "AuthorizerPayloadFormatVersion",
    simple: "EnableSimpleResponses",
    jwt: "JwtConfiguration",
    issuer: "Issuer",
    audience: "Audience",
    permissions: "AuthorizerCredentialsArn",
};

/// `x-amazon-apigateway-authorizer`
pub const OPENAPI: Words = Words {
    kind: "type",
    uri: "authorizerUri",
    ttl: "authorizerResultTtlInSeconds",
    identity: "identitySource",
    validation: "identityValidationExpression",
    providers: "providerARNs",
    payload: "authorizerPayloadFormatVersion",
    simple: "enableSimpleResponses",
    jwt: "jwtConfiguration",
    issuer: "issuer",
    audience: "audience",
    permissions: "authorizerCredentials",
};

/// What an authorizer is called: by its `Name`, if no other one of its API has it too.
pub fn name<'a>(resource: &'a Resource, stack: &'a Stack) -> &'a str {
    let property = |resource: &'a Resource, name: &str| resource.properties.get(name).and_then(Node::text);
    let called = |resource: &'a Resource| {
        let api = property(resource, "RestApiId").or(property(resource, "ApiId"));
        (api, property(resource, "Name"))
    };
    let same = stack.of_kind(&resource.kind).filter(|other| called(other) == called(resource)).count();
    let name = property(resource, "Name").filter(|name| !name.is_empty() && same == 1);
    name.unwrap_or(&resource.logical_id)
}

/// Reads all of it; `None` if nobody could be asked, which has been reported. `header`: where the
/// token stands if the authorizer itself does not say.
pub fn read(
    sheet: &mut Sheet<'_>,
    words: &Words,
    name: &str,
    api: Kind,
    header: &str,
    stack: &Stack,
) -> Option<Authorizer> {
    let read = Read::new(sheet, words, api);
    let ttl = read.ttl;
    match read.settle(sheet, words, api, header, stack) {
        Ok(kind) => Some(Authorizer { name: name.to_owned(), kind, ttl }),
        Err(reason) => {
            let word = if sheet.has(words.uri) { words.uri } else { words.kind };
            let hint = "hint: until then, the routes that ask for it answer with an error";
            sheet.error(sheet.line_of(word), format!("cannot decide anything: {reason}\n{hint}"));
            sheet.whole(Status::Ignored, &reason);
            None
        }
    }
}

struct Read {
    kind: String,
    uri: String,
    ttl: Duration,
    identity: Result<Vec<IdentitySource>, String>,
    validation: Option<String>,
    providers: Vec<String>,
    payload: Option<PayloadVersion>,
    simple: bool,
    jwt: Option<(String, Vec<String>)>,
}

impl Read {
    fn new(sheet: &mut Sheet<'_>, words: &Words, api: Kind) -> Self {
        let kind = sheet.text(words.kind).unwrap_or_default().to_ascii_uppercase();
        let ttl = sheet.number(words.ttl, 0..=3600, "a number of seconds from 0 to 3600");
        let default = if api == Kind::Rest { 300 } else { 0 };
        let identity = sheet.take(words.identity).map(sources).unwrap_or(Ok(Vec::new()));
        let payload = match sheet.choice(words.payload, &["1.0", "2.0"]) {
            Some("2.0") => Some(PayloadVersion::V2),
            Some(_) => Some(PayloadVersion::V1),
            None => None,
        };
        let jwt = sheet.within(words.jwt).map(|mut jwt| {
            let read = (jwt.text(words.issuer).unwrap_or_default().to_owned(), jwt.list(words.audience));
            sheet.take_over(jwt);
            read
        });
        sheet.ignore(&[words.permissions], "every API may call every function here");
        Self {
            kind,
            uri: sheet.text(words.uri).unwrap_or_default().to_owned(),
            ttl: Duration::from_secs(ttl.unwrap_or(default).unsigned_abs()),
            identity,
            validation: sheet.text(words.validation).map(str::to_owned).filter(|text| !text.is_empty()),
            providers: sheet.list(words.providers),
            payload,
            simple: sheet.boolean(words.simple).unwrap_or(false),
            jwt,
        }
    }

    fn settle(
        self,
        sheet: &mut Sheet<'_>,
        words: &Words,
        api: Kind,
        header: &str,
        stack: &Stack,
    ) -> Result<AuthorizerKind, String> {
        let mut identity = self.identity.clone()?;
        let rest = api == Kind::Rest;
        let token = || vec![IdentitySource::Header(header.to_owned())];
        match self.kind.as_str() {
            "TOKEN" if rest => {
                if identity.is_empty() {
                    identity = token();
                }
                if !matches!(identity.as_slice(), [IdentitySource::Header(_)]) {
                    return Err(format!("`{}` of a TOKEN authorizer must be one header", words.identity));
                }
                if let Some(Err(error)) = self.validation.as_deref().map(regex::Regex::new) {
                    let reason = error.to_string();
                    let reason = reason.lines().last().unwrap_or_default();
                    return Err(format!(
                        "`{}` is no expression that can be used: {reason}",
                        words.validation
                    ));
                }
                Ok(AuthorizerKind::Token(self.lambda(sheet, words, identity, PayloadVersion::V1, stack)?))
            }
            "REQUEST" => {
                if rest && identity.is_empty() && !self.ttl.is_zero() {
                    return Err(format!(
                        "it needs `{}`, or `{}: 0`: decisions are kept by identity",
                        words.identity, words.ttl
                    ));
                }
                let payload = match (api, self.payload) {
                    (Kind::Http, None) => {
                        return Err(format!("`{}` is missing: \"2.0\" or \"1.0\"", words.payload));
                    }
                    (Kind::Http, Some(payload)) => payload,
                    _ => PayloadVersion::V1,
                };
                if self.simple && payload == PayloadVersion::V1 {
                    return Err(format!("`{}` needs `{}: \"2.0\"`", words.simple, words.payload));
                }
                if self.validation.is_some() {
                    sheet.note(words.validation, Status::Ignored, "is only for TOKEN, as on AWS");
                }
                Ok(AuthorizerKind::Request(self.lambda(sheet, words, identity, payload, stack)?))
            }
            "COGNITO_USER_POOLS" if rest => {
                let mut issuers = Vec::new();
                for provider in &self.providers {
                    let issuer = cognito_issuer(provider, stack);
                    issuers.push(issuer.ok_or_else(|| format!("`{provider}` is no ARN of a user pool"))?);
                }
                let Some(issuer) = issuers.first() else {
                    return Err(format!("`{}` names no user pool", words.providers));
                };
                if issuers.len() > 1 {
                    let text = format!("tokens of the first pool only are accepted: {issuer}");
                    sheet.different(words.providers, &text);
                }
                let identity = if identity.is_empty() { token() } else { identity };
                let (issuer, audience) = (issuer.clone(), Vec::new());
                Ok(AuthorizerKind::Cognito(JwtIssuer { issuer, jwks: None, audience, identity }))
            }
            "JWT" if api == Kind::Http => {
                let (issuer, audience) = self.jwt.unwrap_or_default();
                if !issuer.starts_with("https://") && !issuer.starts_with("http://") {
                    return Err(format!("`{}.{}` must be a URL", words.jwt, words.issuer));
                }
                if audience.is_empty() {
                    return Err(format!("`{}.{}` names nobody", words.jwt, words.audience));
                }
                let identity = if identity.is_empty() { token() } else { identity };
                Ok(AuthorizerKind::Jwt(JwtIssuer { issuer, jwks: None, audience, identity }))
            }
            "" => Err(format!("`{}` is missing", words.kind)),
            other => Err(format!("`{other}` is no type of authorizer that {} has", article(api))),
        }
    }

    fn lambda(
        &self,
        sheet: &mut Sheet<'_>,
        words: &Words,
        identity: Vec<IdentitySource>,
        payload: PayloadVersion,
        stack: &Stack,
    ) -> Result<LambdaAuthorizer, String> {
        let function = reference::function(stack, &self.uri)?;
        if let Some(text) = reference::qualified(&function) {
            sheet.different(words.uri, &text);
        }
        let validation = self.validation.clone();
        Ok(LambdaAuthorizer { function, identity, validation, payload, simple_responses: self.simple })
    }
}

fn article(api: Kind) -> String {
    match api {
        Kind::Http => format!("an {}", api.name()),
        _ => format!("a {}", api.name()),
    }
}

/// A list, or one text with commas.
fn sources(node: &Node) -> Result<Vec<IdentitySource>, String> {
    let nodes = node.items().unwrap_or(std::slice::from_ref(node));
    let texts = nodes.iter().flat_map(|node| node.text().unwrap_or("?").split(','));
    texts.map(str::trim).filter(|text| !text.is_empty()).map(source).collect()
}

/// `method.request.header.X` (REST), `route.request.header.X` (WebSocket), `$request.header.X` (HTTP API).
pub fn source(text: &str) -> Result<IdentitySource, String> {
    let plain = text.strip_prefix('$').unwrap_or(text);
    let plain = ["method.request.", "route.request.", "request."]
        .iter()
        .find_map(|prefix| plain.strip_prefix(prefix))
        .unwrap_or(plain);
    let source = match plain.split_once('.') {
        Some(("header", name)) => IdentitySource::Header(name.to_owned()),
        Some(("querystring", name)) => IdentitySource::Query(name.to_owned()),
        Some(("stageVariables", name)) => IdentitySource::StageVariable(name.to_owned()),
        Some(("context", name)) => IdentitySource::Context(name.to_owned()),
        _ => return Err(format!("`{text}` is no identity source")),
    };
    match plain.ends_with('.') {
        true => Err(format!("`{text}` is no identity source: it names nothing")),
        false => Ok(source),
    }
}

/// `arn:aws:cognito-idp:REGION:ACCOUNT:userpool/ID` -> `https://cognito-idp.REGION.amazonaws.com/ID`
///
/// A pool of the template is meant by its name too.
pub fn cognito_issuer(text: &str, stack: &Stack) -> Option<String> {
    let (region, pool) = match text.split(':').collect::<Vec<_>>()[..] {
        [_, _, "cognito-idp", region, _, pool] => (region, pool.strip_prefix("userpool/")?),
        _ => {
            let pool = reference::of_kind(stack, "AWS::Cognito::UserPool", text)?;
            (stack.region.as_str(), pool.physical_id.as_str())
        }
    };
    let whole = !region.is_empty() && !pool.is_empty();
    whole.then(|| format!("https://cognito-idp.{region}.amazonaws.com/{pool}"))
}

/// `AuthorizationType` of a route. What is no text is none of the types that there are.
pub fn kind<'a>(sheet: &mut Sheet<'a>) -> &'a str {
    sheet.take("AuthorizationType").map_or("NONE", |value| value.text().unwrap_or("?"))
}

/// What a route asks for; or why its request could never be let through.
pub fn authorization(
    kind: &str,
    authorizer: Option<&str>,
    scopes: Vec<String>,
    api: &Api,
) -> Result<Authorization, String> {
    match kind.to_ascii_uppercase().as_str() {
        "" | "NONE" => Ok(Authorization::None),
        "AWS_IAM" => Ok(Authorization::Iam),
        "CUSTOM" | "JWT" | "COGNITO_USER_POOLS" => match authorizer {
            None => Err("it names no authorizer".to_owned()),
            Some(name) if !api.authorizers.contains_key(name) => {
                Err(format!("its authorizer `{name}` is not there, or cannot decide anything"))
            }
            Some(name) => Ok(Authorization::Authorizer { name: name.to_owned(), scopes }),
        },
        other => Err(format!("`{other}` is no type of authorization")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_name_an_identity_source_is_understood() {
        for (text, expected) in [
            ("method.request.header.X-Token", IdentitySource::Header("X-Token".into())),
            ("route.request.querystring.token", IdentitySource::Query("token".into())),
            ("$request.header.Authorization", IdentitySource::Header("Authorization".into())),
            ("$context.routeKey", IdentitySource::Context("routeKey".into())),
            ("context.identity.sourceIp", IdentitySource::Context("identity.sourceIp".into())),
            ("$stageVariables.key", IdentitySource::StageVariable("key".into())),
        ] {
            assert_eq!(source(text), Ok(expected), "{text}");
        }
        for text in ["Authorization", "method.request.body.x", "$request.header.", ""] {
            assert!(source(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_user_pool_has_an_issuer() {
        let arn = "arn:aws:cognito-idp:eu-west-1:123456789012:userpool/eu-west-1_abc";
        let issuer = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_abc";
        assert_eq!(cognito_issuer(arn, &Stack::default()).as_deref(), Some(issuer));
        assert_eq!(cognito_issuer("Pool", &Stack::default()), None);
    }
}

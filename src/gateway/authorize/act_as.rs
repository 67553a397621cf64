//! `--act-as`: claims that take the place of every authorizer's decision, for development.

use serde_json::{Map, Value};

use super::super::Site;
use super::super::request::{Identity, Matched};
use super::{Admitted, iam, jwt};
use crate::api::{Authorization, Authorizer, AuthorizerKind, Kind};

/// The caller that these claims make, in the shape that the route's authorizer gives it; `None`: AWS_IAM.
pub fn admit(
    claims: &Map<String, Value>,
    authorizer: Option<&Authorizer>,
    matched: &Matched,
    site: &Site,
) -> Admitted {
    let text = |name: &str| match claims.get(name) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let identity = match authorizer.map(|authorizer| &authorizer.kind) {
        None => {
            let name = text("sub").unwrap_or_else(|| "somebody".to_owned());
            Identity::Iam(iam::user(&name, &iam::id("AKIA", &name), site))
        }
        Some(AuthorizerKind::Jwt(_)) => {
            let asks = matches!(&matched.route().authorization, Authorization::Authorizer { scopes, .. } if !scopes.is_empty());
            Identity::Jwt { claims: jwt::claims(claims), scopes: asks.then(|| jwt::scopes(claims)) }
        }
        Some(AuthorizerKind::Cognito(_)) => Identity::Cognito { claims: jwt::cognito_claims(claims) },
        Some(AuthorizerKind::Token(_) | AuthorizerKind::Request(_)) => Identity::Lambda {
            principal_id: text("principalId").or_else(|| text("sub")),
            context: match matched.kind() {
                Kind::Http => claims.clone(),
                _ => plain(claims),
            },
            latency: 0,
        },
    };
    Admitted { identity, usage_key: text("usageIdentifierKey"), pretended: true }
}

/// What an authorizer of a REST API could have handed on: texts.
fn plain(claims: &Map<String, Value>) -> Map<String, Value> {
    let told = claims.iter().filter(|(_, value)| !value.is_null());
    told.map(|(name, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        (name.clone(), Value::String(text))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::super::fixture;
    use super::*;
    use crate::api::{JwtIssuer, LambdaAuthorizer, PayloadVersion};

    fn as_seen(kind: Kind, authorizer: Option<AuthorizerKind>, scopes: &[&str]) -> Identity {
        let claims = json!({
            "sub": "user-1", "scope": "read write", "groups": ["a", "b"], "level": 3, "none": null, "exp": 0,
        });
        let mut api = fixture::api(kind, "prod", &["GET /me"]);
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        api.routes[0].authorization = Authorization::Authorizer { name: "auth".into(), scopes };
        let authorizer = authorizer.map(|kind| Authorizer { name: "auth".into(), kind, ttl: Duration::ZERO });
        let matched = fixture::matched(api, "/me");
        let admitted = admit(claims.as_object().unwrap(), authorizer.as_ref(), &matched, &fixture::site());
        assert!(admitted.pretended);
        admitted.identity
    }

    #[test]
    fn everybody_is_seen_as_the_authorizer_would_show_them() {
        let issuer = || JwtIssuer { issuer: "i".into(), jwks: None, audience: vec![], identity: vec![] };
        let function = || LambdaAuthorizer {
            function: "f".into(),
            identity: vec![],
            validation: None,
            payload: PayloadVersion::V1,
            simple_responses: false,
        };
        let Identity::Jwt { claims, scopes } =
            as_seen(Kind::Http, Some(AuthorizerKind::Jwt(issuer())), &["read"])
        else {
            panic!()
        };
        assert_eq!((&claims["groups"], scopes), (&json!("[a b]"), Some(vec!["read".into(), "write".into()])));
        let Identity::Jwt { scopes: None, .. } =
            as_seen(Kind::Http, Some(AuthorizerKind::Jwt(issuer())), &[])
        else {
            panic!()
        };
        let Identity::Cognito { claims } = as_seen(Kind::Rest, Some(AuthorizerKind::Cognito(issuer())), &[])
        else {
            panic!()
        };
        assert_eq!(claims["groups"], "a,b");
        let Identity::Lambda { principal_id, context, .. } =
            as_seen(Kind::Rest, Some(AuthorizerKind::Token(function())), &[])
        else {
            panic!()
        };
        assert_eq!(principal_id.as_deref(), Some("user-1"));
        assert_eq!(
            (&context["groups"], &context["level"], context.get("none")),
            (&json!("[\"a\",\"b\"]"), &json!("3"), None)
        );
        let Identity::Lambda { context, .. } =
            as_seen(Kind::Http, Some(AuthorizerKind::Request(function())), &[])
        else {
            panic!()
        };
        assert_eq!(context["groups"], json!(["a", "b"]));
        let Identity::Iam(user) = as_seen(Kind::FunctionUrl, None, &[]) else { panic!() };
        assert_eq!(user.user_arn, "arn:aws:iam::123456789012:user/user-1");
        assert!(user.access_key.starts_with("AKIA") && user.user_id.starts_with("AIDA"));
    }
}

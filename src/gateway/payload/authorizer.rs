//! Who is asking, as `requestContext` tells it.

use serde_json::{Map, Value, json};

use super::super::request::{Caller, IamUser, Identity, Request};

/// `requestContext.authorizer` of a REST API: everything is text.
pub fn rest(identity: &Identity) -> Option<Value> {
    match identity {
        Identity::Anybody | Identity::Iam(_) => None,
        Identity::Lambda { principal_id, context, latency } => {
            let texts = context.iter().map(|(name, value)| (name.clone(), as_text(value)));
            let mut authorizer: Map<String, Value> = texts.collect();
            authorizer.insert("principalId".to_owned(), principal_id.clone().into());
            authorizer.insert("integrationLatency".to_owned(), (*latency).into());
            Some(authorizer.into())
        }
        Identity::Cognito { claims } | Identity::Jwt { claims, .. } => Some(json!({ "claims": claims })),
    }
}

/// The same of an HTTP API in format 1.0, where it is always there.
pub fn http_v1(identity: &Identity) -> Value {
    match identity {
        Identity::Anybody | Identity::Iam(_) => json!({"claims": null, "scopes": null}),
        Identity::Lambda { principal_id, context, .. } => {
            let mut authorizer = context.clone();
            if let Some(principal_id) = principal_id {
                authorizer.insert("principalId".to_owned(), principal_id.clone().into());
            }
            authorizer.into()
        }
        Identity::Cognito { claims } => json!({"claims": claims, "scopes": null}),
        Identity::Jwt { claims, scopes } => json!({"claims": claims, "scopes": scopes}),
    }
}

/// The same of HTTP APIs in format 2.0, and of function URLs: values keep their types.
pub fn v2(identity: &Identity) -> Option<Value> {
    match identity {
        Identity::Anybody => None,
        Identity::Lambda { context, .. } => Some(json!({ "lambda": context })),
        Identity::Cognito { claims } => Some(json!({"jwt": {"claims": claims, "scopes": null}})),
        Identity::Jwt { claims, scopes } => Some(json!({"jwt": {"claims": claims, "scopes": scopes}})),
        Identity::Iam(user) => Some(json!({"iam": {
            "accessKey": user.access_key,
            "accountId": user.account_id,
            "callerId": user.user_id,
            "cognitoIdentity": null,
            "principalOrgId": null,
            "userArn": user.user_arn,
            "userId": user.user_id,
        }})),
    }
}

/// `requestContext.identity` of format 1.0; what is not known is null.
pub fn identity(request: &Request, caller: &Caller, is_rest: bool) -> Value {
    let user = match &caller.identity {
        Identity::Iam(user) => Some(user),
        _ => None,
    };
    let of_user = |part: fn(&IamUser) -> &String| user.map_or(Value::Null, |user| part(user).clone().into());
    let mut identity = Map::new();
    let mut add = |name: &str, value: Value| drop(identity.insert(name.to_owned(), value));
    add("accessKey", of_user(|user| &user.access_key));
    add("accountId", of_user(|user| &user.account_id));
    if let (true, Some(key)) = (is_rest, &caller.api_key) {
        add("apiKey", key.value.clone().into());
        add("apiKeyId", key.id.clone().into());
    }
    add("caller", of_user(|user| &user.user_id));
    add("cognitoAuthenticationProvider", Value::Null);
    add("cognitoAuthenticationType", Value::Null);
    add("cognitoIdentityId", Value::Null);
    add("cognitoIdentityPoolId", Value::Null);
    add("principalOrgId", Value::Null);
    add("sourceIp", request.source_ip().into());
    add("user", of_user(|user| &user.user_id));
    add("userAgent", request.header("user-agent").into());
    add("userArn", of_user(|user| &user.user_arn));
    if !is_rest {
        add("clientCert", Value::Null);
    }
    identity.into()
}

fn as_text(value: &Value) -> Value {
    match value {
        Value::String(_) | Value::Null => value.clone(),
        other => other.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lambda() -> Identity {
        let Value::Object(context) = json!({"role": "admin", "level": 3, "active": true, "roles": ["a"]})
        else {
            unreachable!()
        };
        Identity::Lambda { principal_id: Some("user-1".into()), context, latency: 7 }
    }

    fn jwt() -> Identity {
        let Value::Object(claims) = json!({"sub": "user-1", "exp": "1764029520"}) else { unreachable!() };
        Identity::Jwt { claims, scopes: Some(vec!["items/read".into()]) }
    }

    #[test]
    fn a_lambda_authorizers_context_is_passed_on() {
        assert_eq!(
            rest(&lambda()).unwrap().to_string(),
            r#"{"role":"admin","level":"3","active":"true","roles":"[\"a\"]","principalId":"user-1","integrationLatency":7}"#
        );
        assert_eq!(
            http_v1(&lambda()).to_string(),
            r#"{"role":"admin","level":3,"active":true,"roles":["a"],"principalId":"user-1"}"#
        );
        assert_eq!(
            v2(&lambda()).unwrap().to_string(),
            r#"{"lambda":{"role":"admin","level":3,"active":true,"roles":["a"]}}"#
        );
    }

    #[test]
    fn claims_are_passed_on() {
        let Identity::Jwt { claims, .. } = jwt() else { unreachable!() };
        let cognito = Identity::Cognito { claims };
        assert_eq!(rest(&cognito).unwrap().to_string(), r#"{"claims":{"sub":"user-1","exp":"1764029520"}}"#);
        assert_eq!(
            http_v1(&jwt()).to_string(),
            r#"{"claims":{"sub":"user-1","exp":"1764029520"},"scopes":["items/read"]}"#
        );
        assert_eq!(
            v2(&jwt()).unwrap().to_string(),
            r#"{"jwt":{"claims":{"sub":"user-1","exp":"1764029520"},"scopes":["items/read"]}}"#
        );
        assert_eq!(
            v2(&cognito).unwrap().to_string(),
            r#"{"jwt":{"claims":{"sub":"user-1","exp":"1764029520"},"scopes":null}}"#
        );
    }

    #[test]
    fn nobody_is_nobody() {
        assert_eq!(rest(&Identity::Anybody), None);
        assert_eq!(v2(&Identity::Anybody), None);
        assert_eq!(http_v1(&Identity::Anybody).to_string(), r#"{"claims":null,"scopes":null}"#);
    }
}

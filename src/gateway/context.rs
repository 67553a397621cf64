//! `$context`: what API Gateway knows about a request, by the names that mapping templates, parameter
//! mappings and identity sources ask for.

use serde_json::{Map, Value, json};

use super::Site;
use super::payload::{authorizer as who, protocol, short_id};
use super::request::{Caller, Identity, Matched, Request};
use crate::api::{Api, Kind};

pub fn of(request: &Request, matched: &Matched, caller: &Caller, site: &Site) -> Map<String, Value> {
    let mut context = of_request(request, Some(&matched.api), matched.kind(), caller);
    add_route(&mut context, matched);
    context.insert("accountId".to_owned(), site.account.as_str().into());
    let authorizer = match matched.kind() {
        Kind::Rest => who::rest(&caller.identity).unwrap_or_else(|| json!({})),
        _ => authorizer(caller),
    };
    context.insert("authorizer".to_owned(), authorizer);
    context
}

/// What is known as soon as there is a request.
pub fn of_request(request: &Request, api: Option<&Api>, kind: Kind, caller: &Caller) -> Map<String, Value> {
    let domain = request.domain();
    let prefix = domain.split('.').next().unwrap_or_default().to_owned();
    let mut context = Map::new();
    let mut put = |name: &str, value: Value| context.insert(name.to_owned(), value);
    put("apiId", api.map(|api| api.id.as_str()).into());
    put("domainName", domain.into());
    put("domainPrefix", prefix.into());
    put("extendedRequestId", request.id.as_str().into());
    put("httpMethod", request.head.method.as_str().into());
    put("identity", who::identity(request, caller, kind == Kind::Rest));
    put("path", request.path().into());
    put("protocol", protocol(request).into());
    put("requestId", if kind == Kind::Rest { &*request.uuid } else { &*request.id }.into());
    put("requestTime", request.time().into());
    put("requestTimeEpoch", request.received.as_millisecond().into());
    context
}

/// What its route says of it.
pub fn add_route(context: &mut Map<String, Value>, matched: &Matched) {
    let route = matched.route();
    let mut put = |name: &str, value: Value| context.insert(name.to_owned(), value);
    put("path", matched.full_path.as_str().into());
    put("stage", matched.stage().name.as_str().into());
    match matched.kind() {
        Kind::Rest => {
            put("deploymentId", short_id(&[&matched.api.id]).into());
            put("isCanaryRequest", false.into());
            put("operationName", route.operation_name.as_deref().into());
            put("requestOverride", json!({"header": {}, "path": {}, "querystring": {}}));
            put("resourceId", short_id(&[&matched.api.id, &route.path]).into());
            put("resourcePath", route.path.as_str().into());
            put("responseOverride", json!({"header": {}, "status": null}));
        }
        _ => drop(put("routeKey", route.key().into())),
    }
}

/// `identity.sourceIp`, as text; nothing if it is not there.
pub fn lookup(context: &Map<String, Value>, path: &str) -> Option<String> {
    let mut names = path.split('.');
    let mut value = context.get(names.next()?)?;
    for name in names {
        value = value.get(name)?;
    }
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// An HTTP API's, where claims and what a function said stand side by side.
fn authorizer(caller: &Caller) -> Value {
    match &caller.identity {
        Identity::Anybody | Identity::Iam(_) => json!({}),
        Identity::Lambda { context, .. } => Value::Object(context.clone()),
        Identity::Jwt { claims, .. } | Identity::Cognito { claims } => json!({ "claims": claims }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::mapping::fixture::{matched, request, site};
    use super::super::request::AcceptedKey;
    use super::*;

    #[test]
    fn each_kind_of_api_has_its_names() {
        let asked = request("GET", "/pets/7", &[("host", "abc.example:3000"), ("user-agent", "curl")], "");
        let context = serde_json::json!({"tenant": "t", "level": 3}).as_object().unwrap().clone();
        let identity = Identity::Lambda { principal_id: Some("me".to_owned()), context, latency: 5 };
        let key = AcceptedKey { id: "key-id".to_owned(), value: "key-value".to_owned() };
        let caller = Caller { identity, api_key: Some(key), pretended: false };
        let found = |kind: Kind, name: &str| {
            let matched = matched(kind, "GET", "/pets/{id}", &[("id", "7")]);
            lookup(&of(&asked, &matched, &caller, &site()), name).unwrap_or_default()
        };
        for (name, rest, http) in [
            ("apiId", "a1b2c3d4e5", "a1b2c3d4e5"),
            ("accountId", "123456789012", "123456789012"),
            ("authorizer.principalId", "me", ""),
            ("authorizer.tenant", "t", "t"),
            ("authorizer.level", "3", "3"),
            ("domainName", "abc.example", "abc.example"),
            ("domainPrefix", "abc", "abc"),
            ("httpMethod", "GET", "GET"),
            ("identity.sourceIp", "203.0.113.10", "203.0.113.10"),
            ("identity.userAgent", "curl", "curl"),
            ("identity.apiKey", "key-value", ""),
            ("identity.apiKeyId", "key-id", ""),
            ("identity.user", "", ""),
            ("path", "/prod/pets/{id}", "/prod/pets/{id}"),
            ("protocol", "HTTP/1.1", "HTTP/1.1"),
            ("requestId", &asked.uuid, &asked.id),
            ("extendedRequestId", &asked.id, &asked.id),
            ("resourcePath", "/pets/{id}", ""),
            ("routeKey", "", "GET /pets/{id}"),
            ("stage", "prod", "prod"),
            ("nothing.at.all", "", ""),
        ] {
            assert_eq!((&*found(Kind::Rest, name), &*found(Kind::Http, name)), (rest, http), "{name}");
        }
        assert_eq!(found(Kind::Rest, "resourceId").len(), 6);
        assert_eq!(found(Kind::Rest, "requestTimeEpoch"), asked.received.as_millisecond().to_string());
    }
}

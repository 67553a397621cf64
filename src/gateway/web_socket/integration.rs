//! What a route does with an event, and what comes of it.

use axum::body::{Body, Bytes};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde_json::{Map, Value};

use super::super::error::GatewayError;
use super::super::request::{Caller, Matched, Request};
use super::super::{Gateway, error_type, mapping, with_stage_variables};
use crate::api::{Integration, IntegrationKind, MappedIntegration};
use crate::invocation::{Invocation, Outcome};

/// What an integration answers.
#[derive(Debug, Default, PartialEq)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// `event`: for the function, if the integration is one.
pub async fn run(
    gateway: &Gateway,
    request: &Request,
    matched: &Matched,
    caller: &Caller,
    event: Vec<u8>,
) -> Result<Reply, GatewayError> {
    let Integration { kind, timeout } = &matched.route().integration;
    let limit = timeout.unwrap_or_else(|| gateway.default_timeout(matched.kind()));
    let reply = async {
        match kind {
            IntegrationKind::Function { function, .. } => {
                let function = with_stage_variables(function, matched);
                let request_id = Invocation::new_request_id();
                let trace = request.trace.for_function();
                let completed = gateway.invoke(&function, event, trace, request_id).await?;
                match completed.outcome {
                    Outcome::Returned { payload, .. } => proxied(&payload)
                        .map_err(|reason| GatewayError::Integration(format!("{function} returned {reason}"))),
                    Outcome::Failed { payload, .. } => {
                        Err(GatewayError::FunctionError { error_type: error_type(&payload) })
                    }
                }
            }
            IntegrationKind::Mapped(mapped) => {
                let mapped = with_one_template(mapped)?;
                let response = mapping::mapped(gateway, request, matched, caller, &mapped).await?;
                collected(gateway, response).await
            }
            IntegrationKind::Http(http) => {
                let response = mapping::http_proxy(gateway, request, matched, caller, http).await?;
                collected(gateway, response).await
            }
            IntegrationKind::Missing { reason } => Err(GatewayError::Integration(reason.clone())),
        }
    };
    tokio::time::timeout(limit, reply).await.unwrap_or(Err(GatewayError::IntegrationTimeout(limit)))
}

/// A WebSocket message has no content type to choose a template by.
fn with_one_template(mapped: &MappedIntegration) -> Result<MappedIntegration, GatewayError> {
    let templates = &mapped.request_templates;
    let only = || templates.values().next().filter(|_| templates.len() == 1);
    let chosen = templates.get("$default").or_else(only).or_else(|| templates.get("application/json"));
    if chosen.is_none() && !templates.is_empty() {
        return Err(GatewayError::Integration(format!(
            "the route has {} request templates, and none of them is `$default`; which one is meant cannot be chosen \
             here",
            templates.len()
        )));
    }
    let mut mapped = mapped.clone();
    mapped.request_templates =
        chosen.map(|template| ("application/json".to_owned(), template.clone())).into_iter().collect();
    Ok(mapped)
}

async fn collected(gateway: &Gateway, response: Response<Body>) -> Result<Reply, GatewayError> {
    let (head, body) = response.into_parts();
    let limit = gateway.connections().limits().message;
    let body = axum::body::to_bytes(body, limit).await.map_err(|_| {
        GatewayError::Integration(format!(
            "what the integration answers ended early, or is longer than {limit} bytes"
        ))
    })?;
    Ok(Reply { status: head.status, headers: head.headers, body })
}

/// The result of a proxy integration, as strictly as AWS reads it.
fn proxied(payload: &[u8]) -> Result<Reply, String> {
    let result: Value = serde_json::from_slice(payload).map_err(|_| "what is no JSON".to_owned())?;
    let Value::Object(result) = result else {
        return Err("no object\nhint: return `{\"statusCode\": 200}`".to_owned());
    };
    let known =
        ["statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded", "base64Encoded", "cookies"];
    if let Some(unknown) = result.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(format!(
            "`{unknown}`, which API Gateway does not know\nhint: it takes `statusCode`, `headers`, \
             `multiValueHeaders`, `body` and `isBase64Encoded`, and nothing else"
        ));
    }
    let status = match result.get("statusCode") {
        None | Some(Value::Null) => Some(200),
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) => text.parse().ok(),
        Some(_) => None,
    };
    let status = status.filter(|status| (200..=599).contains(status));
    let status = status
        .and_then(|status| StatusCode::from_u16(status as u16).ok())
        .ok_or_else(|| format!("a `statusCode` that is no HTTP status: {}", result["statusCode"]))?;
    let body = match result.get("body") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(text)) if result.get("isBase64Encoded") == Some(&Value::Bool(true)) => {
            let wrong = || "a `body` that is not base64, although `isBase64Encoded` is true".to_owned();
            BASE64.decode(text).map_err(|_| wrong())?
        }
        Some(Value::String(text)) => text.clone().into_bytes(),
        Some(_) => {
            return Err(
                "a `body` that is no text\nhint: use `json.dumps(...)` for what you return as `body`".into(),
            );
        }
    };
    Ok(Reply { status, headers: headers(&result)?, body: body.into() })
}

fn headers(result: &Map<String, Value>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    let object = |name| match result.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(format!("`{name}` that are no object")),
    };
    for (name, values) in object("multiValueHeaders")?.into_iter().flatten() {
        let values =
            values.as_array().ok_or_else(|| format!("`multiValueHeaders` where `{name}` is no list"))?;
        for value in values {
            append(&mut headers, name, value)?;
        }
    }
    for (name, value) in object("headers")?.into_iter().flatten() {
        append(&mut headers, name, value)?;
    }
    Ok(headers)
}

fn append(headers: &mut HeaderMap, name: &str, value: &Value) -> Result<(), String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        Value::Null => return Ok(()),
        Value::Array(_) | Value::Object(_) => return Err(format!("a header `{name}` that is no text")),
    };
    let wrong = |_| format!("a header that cannot be sent: {name:?}");
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong(()))?;
    let value = HeaderValue::from_bytes(text.as_bytes()).map_err(|_| wrong(()))?;
    headers.append(name, value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Passthrough;
    use proptest::prelude::*;

    #[test]
    fn results_are_read_as_those_of_a_proxy_integration() {
        let reply = proxied(br#"{"statusCode":"201","headers":{"a":1,"b":true},"body":"hi"}"#).unwrap();
        assert_eq!((reply.status.as_u16(), &reply.body[..]), (201, &b"hi"[..]));
        assert_eq!(
            (&reply.headers["a"], &reply.headers["b"]),
            (&"1".parse().unwrap(), &"true".parse().unwrap())
        );
        assert_eq!(proxied(b"{}").unwrap(), Reply::default());
        assert_eq!(proxied(br#"{"body":"aGk=","isBase64Encoded":true}"#).unwrap().body, "hi");
        let reply = proxied(br#"{"multiValueHeaders":{"x":["1","2"]}}"#).unwrap();
        assert_eq!(reply.headers.get_all("x").iter().count(), 2);
        for (payload, culprit) in [
            ("null", "no object"),
            ("\"ok\"", "no object"),
            (r#"{"statusCode":200,"Data":"x"}"#, "`Data`"),
            (r#"{"statusCode":"x"}"#, "`statusCode`"),
            (r#"{"statusCode":101}"#, "`statusCode`"),
            (r#"{"statusCode":2.5}"#, "`statusCode`"),
            (r#"{"body":{"a":1}}"#, "`body`"),
            (r#"{"body":"?","isBase64Encoded":true}"#, "base64"),
            (r#"{"headers":{"a":[1]}}"#, "`a`"),
            (r#"{"headers":{"a b":"c"}}"#, "a b"),
            (r#"{"headers":[]}"#, "`headers`"),
            (r#"{"multiValueHeaders":{"a":"b"}}"#, "`a`"),
        ] {
            let error = proxied(payload.as_bytes()).unwrap_err();
            assert!(error.contains(culprit), "{payload}: {error}");
        }
    }

    #[test]
    fn of_several_templates_the_default_one_is_taken() {
        let mapped = |templates: &[(&str, &str)]| MappedIntegration {
            function: None,
            asynchronous: false,
            request_templates: templates.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
            passthrough: Passthrough::WhenNoMatch,
            responses: Vec::new(),
        };
        for (templates, expected) in [
            (&[("200", "a")][..], Some("a")),
            (&[("other", "b"), ("$default", "a")], Some("a")),
            (&[("other", "b"), ("application/json", "a")], Some("a")),
            (&[], None),
        ] {
            let one = with_one_template(&mapped(templates)).unwrap().request_templates;
            assert_eq!(one.get("application/json").map(String::as_str), expected);
            assert_eq!(one.len(), usize::from(expected.is_some()));
        }
        assert!(with_one_template(&mapped(&[("a", ""), ("b", "")])).is_err());
    }

    proptest! {
        #[test]
        fn no_result_breaks_it(payload in prop::collection::vec(any::<u8>(), 0..60), text in r#"\{"(statusCode|headers|body|multiValueHeaders)":(null|-?[0-9]{1,22}|\{"[a-z\n]{0,3}":(1|null|"\PC{0,3}"|\[1\])\}|"[0-9]{0,4}")\}"#) {
            let _ = proxied(&payload);
            let _ = proxied(text.as_bytes());
        }
    }
}

//! Gateway responses: what a REST API's template wants said instead.
//!
//! A body template knows variables and nothing else: `$context.error.messageString`,
//! `${stageVariables.x}`, `$method.request.header.X`. What a variable's name does not lead to is empty.

use axum::body::Body;
use http::Response;
use http::header::{self, HeaderName, HeaderValue};

use super::rest::Said;
use super::{About, json};
use crate::api::{GatewayResponse, Kind};
use crate::gateway::request::Caller;
use crate::gateway::{context, payload};

/// What the API has for this answer: its own type first, then the default of its class.
pub fn find<'a>(said: &Said<'_>, about: About<'a>) -> Option<&'a GatewayResponse> {
    let responses = &about.api?.gateway_responses;
    let default = if said.status.is_server_error() { "DEFAULT_5XX" } else { "DEFAULT_4XX" };
    said.response_type.and_then(|name| responses.get(name)).or_else(|| responses.get(default))
}

/// `body`: of the answer as it would have been.
pub fn answer(
    customised: &GatewayResponse,
    said: &Said<'_>,
    body: String,
    about: About<'_>,
) -> Response<Body> {
    let status = customised.status.and_then(|status| http::StatusCode::from_u16(status).ok());
    let status = status.filter(|status| status.as_u16() >= 200).unwrap_or(said.status);
    let mut response = match template(customised, about) {
        Some((content_type, template)) => {
            let text = fill(template, |path| variable(path, said, about).unwrap_or_default());
            let mut response = json(status, text);
            if let Ok(content_type) = HeaderValue::from_str(content_type) {
                response.headers_mut().insert(header::CONTENT_TYPE, content_type);
            }
            response
        }
        None => json(status, body),
    };
    for (key, source) in &customised.parameters {
        let Some(name) = key.strip_prefix("gatewayresponse.header.") else {
            tracing::warn!("a gateway response sets `{key}`, which is no `gatewayresponse.header.NAME`");
            continue;
        };
        let Some(value) = parameter(source, said, about) else { continue };
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes())) {
            (Ok(name), Ok(value)) => drop(response.headers_mut().insert(name, value)),
            _ => tracing::warn!("a gateway response's header `{name}` cannot be sent: {value:?}"),
        }
    }
    response
}

/// The one for what the client accepts first of all, or for JSON, or whichever there is.
fn template<'a>(customised: &'a GatewayResponse, about: About<'_>) -> Option<(&'a str, &'a str)> {
    let accept = about.request.header("accept").and_then(|accept| accept.split(',').next());
    let accept = payload::essence(accept.unwrap_or_default());
    let templates = &customised.templates;
    let chosen = templates
        .get_key_value(&accept)
        .or_else(|| templates.get_key_value("application/json"))
        .or_else(|| templates.first_key_value());
    chosen.map(|(content_type, template)| (content_type.as_str(), template.as_str()))
}

/// `'text'`, or the name of something.
fn parameter(source: &str, said: &Said<'_>, about: About<'_>) -> Option<String> {
    match source.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        Some(text) => Some(text.to_owned()),
        None => variable(source, said, about),
    }
}

fn variable(path: &str, said: &Said<'_>, about: About<'_>) -> Option<String> {
    let About { request, api, matched, .. } = about;
    let (kind, rest) = path.split_once('.')?;
    match (kind, rest) {
        ("stageVariables", name) => matched?.stage().variables.get(name).cloned(),
        ("method", parameter) => {
            let (place, name) = parameter.strip_prefix("request.")?.split_once('.')?;
            match place {
                "header" => request.header(name).map(str::to_owned),
                "querystring" => payload::query_parameter(request.query(), name),
                "path" => {
                    let found = matched?.parameters.iter().find(|(known, _)| known == name);
                    found.map(|(_, value)| value.clone())
                }
                _ => None,
            }
        }
        ("context", name) => match name {
            "error.message" => said.message.as_deref().map(str::to_owned),
            "error.messageString" => Some(said.message_string()),
            "error.responseType" => {
                let default = if said.status.is_server_error() { "DEFAULT_5XX" } else { "DEFAULT_4XX" };
                Some(said.response_type.unwrap_or(default).to_owned())
            }
            name => {
                let mut known = context::of_request(request, api, Kind::Rest, &Caller::default());
                if let Some(matched) = matched {
                    context::add_route(&mut known, matched);
                }
                context::lookup(&known, name)
            }
        },
        _ => None,
    }
}

/// Puts values in the place of `$a.b` and `${a.b}`.
fn fill(template: &str, value: impl Fn(&str) -> String) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = rest.find('$') {
        filled.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let (path, length) = match after.strip_prefix('{').and_then(|inside| inside.split_once('}')) {
            Some((path, _)) => (path, path.len() + 2),
            None => {
                let end = after.find(|c| !is_part(c)).unwrap_or(after.len());
                // A full stop at the end ends the sentence.
                let path = after[..end].trim_end_matches(['.', '-']);
                (path, path.len())
            }
        };
        let known = ["context.", "stageVariables.", "method."].iter().any(|start| path.starts_with(start));
        if known {
            filled.push_str(&value(path));
            rest = &after[length..];
        } else {
            filled.push('$');
            rest = after;
        }
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::fill;

    #[test]
    fn variables_are_filled_in_and_nothing_else() {
        let value = |path: &str| format!("<{path}>");
        for (template, expected) in [
            (r#"{"message":$context.error.messageString}"#, r#"{"message":<context.error.messageString>}"#),
            ("$context.requestId.", "<context.requestId>."),
            (
                "a ${stageVariables.x}b$method.request.header.X-Y c",
                "a <stageVariables.x>b<method.request.header.X-Y> c",
            ),
            ("$ $$ $5 ${ ${x} $other.x $context", "$ $$ $5 ${ ${x} $other.x $context"),
            ("é$context.é", "é$context.é"),
            ("$", "$"),
            ("", ""),
        ] {
            assert_eq!(fill(template, value), expected, "{template}");
        }
    }
}

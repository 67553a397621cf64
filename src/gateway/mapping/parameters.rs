//! Parameter mappings: `overwrite:header.x` of HTTP APIs, `integration.request.header.x` of REST APIs.
//!
//! All values are taken from the request (or response) as it came, whatever order the mappings stand
//! in. A mapping whose value is not there does nothing; within a longer text it leaves a gap.

use std::collections::BTreeMap;

use axum::body::{Body, Bytes};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use super::json_path::{Found, JsonPath};
use super::setting::{Setting, query_pairs};
use crate::api::ParameterMapping;
use crate::gateway::error::GatewayError;
use crate::gateway::request::{BODY_LIMIT, Caller, Matched, Request};
use crate::gateway::{Site, context};

/// What a path may hold as it is.
const PATH: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'?').add(b'`').add(b'{').add(b'}');
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Headers that a mapping cannot touch.
const RESERVED: [&str; 17] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-location",
    "forwarded",
    "keep-alive",
    "origin",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailers",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
];
const RESERVED_PREFIXES: [&str; 4] = ["access-control-", "apigw-", "x-amz-", "x-amzn-"];

/// A request after its mapping, and where it goes now.
pub struct MappedRequest {
    pub request: Request,
    pub matched: Matched,
    /// `overwrite:path`
    pub path: Option<String>,
}

// ---- HTTP APIs

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Action {
    Append,
    Overwrite,
    Remove,
}

#[derive(Debug, PartialEq, Eq)]
enum Target {
    Header(HeaderName),
    Query(String),
    Path,
    Status,
}

#[derive(Debug)]
enum Part {
    Text(String),
    Variable(Variable),
}

#[derive(Debug)]
enum Variable {
    RequestHeader(String),
    RequestQuery(String),
    RequestPath,
    RequestPathParameter(String),
    RequestBody(JsonPath),
    Context(String),
    Stage(String),
    ResponseHeader(String),
    ResponseBody(JsonPath),
}

/// What variables are looked up in.
struct Sources<'a> {
    request: &'a Request,
    matched: &'a Matched,
    context: Map<String, Value>,
    /// Of the request.
    body: Option<Value>,
    response: Option<(HeaderMap, Option<Value>)>,
}

fn rule(key: &str) -> Result<(Action, Target), String> {
    let unknown = || Err(format!("the parameter mapping `{key}` is not understood here"));
    let Some((action, target)) = key.split_once(':') else { return unknown() };
    let action = match action.trim().to_ascii_lowercase().as_str() {
        "append" => Action::Append,
        "overwrite" => Action::Overwrite,
        "remove" => Action::Remove,
        _ => return unknown(),
    };
    let target = target.trim();
    let target = if let Some(name) = target.strip_prefix("header.") {
        let lower = name.to_ascii_lowercase();
        if RESERVED.contains(&lower.as_str())
            || RESERVED_PREFIXES.iter().any(|prefix| lower.starts_with(prefix))
        {
            return Err(format!("the parameter mapping `{key}`: AWS keeps this header to itself"));
        }
        match HeaderName::try_from(name) {
            Ok(name) => Target::Header(name),
            Err(_) => return unknown(),
        }
    } else if let Some(name) = target.strip_prefix("querystring.").filter(|name| !name.is_empty()) {
        Target::Query(name.to_owned())
    } else {
        match (action, target.to_ascii_lowercase().as_str()) {
            (Action::Overwrite, "path") => Target::Path,
            (Action::Overwrite, "statuscode") => Target::Status,
            _ => return unknown(),
        }
    };
    Ok((action, target))
}

/// `text`, `$request.header.x`, or a text with `${request.header.x}` in it.
fn value(text: &str) -> Result<Vec<Part>, String> {
    if let Some(name) = text.strip_prefix('$').filter(|name| !name.starts_with('{')) {
        return Ok(vec![Part::Variable(variable(name, text)?)]);
    }
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, after)) = after.split_once('}') else {
            return Err(format!("the parameter mapping's value `{text}` has a `${{` without `}}`"));
        };
        if !before.is_empty() {
            parts.push(Part::Text(before.to_owned()));
        }
        parts.push(Part::Variable(variable(name.strip_prefix('$').unwrap_or(name), text)?));
        rest = after;
    }
    if !rest.is_empty() || parts.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    Ok(parts)
}

fn variable(name: &str, text: &str) -> Result<Variable, String> {
    let path = |path: &str| {
        let path = JsonPath::parse(&format!("${}{path}", if path.is_empty() { "" } else { "." }))?;
        if path.is_definite() { Ok(path) } else { Err(format!("`{text}` leads to more than one place")) }
    };
    if name == "request.path" {
        return Ok(Variable::RequestPath);
    }
    for (prefix, make) in [
        ("request.header.", Variable::RequestHeader as fn(String) -> Variable),
        ("request.querystring.", Variable::RequestQuery),
        ("request.path.", Variable::RequestPathParameter),
        ("context.", Variable::Context),
        ("stageVariables.", Variable::Stage),
        ("response.header.", Variable::ResponseHeader),
    ] {
        if let Some(name) = name.strip_prefix(prefix).filter(|name| !name.is_empty()) {
            return Ok(make(name.to_owned()));
        }
    }
    if let Some(rest) = name.strip_prefix("request.body") {
        return Ok(Variable::RequestBody(path(rest.strip_prefix('.').unwrap_or(rest))?));
    }
    if let Some(rest) = name.strip_prefix("response.body") {
        return Ok(Variable::ResponseBody(path(rest.strip_prefix('.').unwrap_or(rest))?));
    }
    Err(format!("the parameter mapping's value `{text}` is not understood here"))
}

/// Whether all of an HTTP API's mappings are understood.
pub fn check(
    request: &ParameterMapping,
    responses: &BTreeMap<String, ParameterMapping>,
) -> Result<(), String> {
    let of_response =
        |part: &Part| matches!(part, Part::Variable(Variable::ResponseHeader(_) | Variable::ResponseBody(_)));
    for (key, text) in request {
        if rule(key)?.1 == Target::Status {
            return Err(format!("the parameter mapping `{key}` is for responses"));
        }
        if value(text)?.iter().any(of_response) {
            return Err(format!("the parameter mapping `{key}` of requests has no `{text}`"));
        }
    }
    for (status, mapping) in responses {
        let is_status =
            status == "default" || status.parse().is_ok_and(|status| (200..600).contains(&status));
        if !is_status {
            return Err(format!("the parameter mapping of responses for `{status}`: that is no status"));
        }
        for (key, text) in mapping {
            if matches!(rule(key)?.1, Target::Path | Target::Query(_)) {
                return Err(format!("the parameter mapping `{key}` is for requests"));
            }
            let of_request = |part: &Part| match part {
                Part::Text(_) => false,
                Part::Variable(Variable::Context(_) | Variable::Stage(_)) => false,
                part => !of_response(part),
            };
            if value(text)?.iter().any(of_request) {
                return Err(format!("the parameter mapping `{key}` of responses has no `{text}`"));
            }
        }
    }
    Ok(())
}

impl Sources<'_> {
    /// The texts of one mapping; none: it does nothing.
    fn texts(&self, parts: &[Part]) -> Vec<String> {
        if let [Part::Variable(variable)] = parts {
            return self.variable(variable);
        }
        let text = parts.iter().map(|part| match part {
            Part::Text(text) => text.clone(),
            Part::Variable(variable) => self.variable(variable).join(","),
        });
        vec![text.collect()]
    }

    fn variable(&self, variable: &Variable) -> Vec<String> {
        let one = |value: Option<String>| value.into_iter().collect();
        let in_json = |json: Option<&Value>, path: &JsonPath| one(json.and_then(|json| at(json, path)));
        match variable {
            Variable::RequestHeader(name) => texts(&self.request.head.headers, name),
            Variable::RequestQuery(name) => values_of(&query_pairs(self.request.query()), name),
            Variable::RequestPath => vec![self.matched.path.clone()],
            Variable::RequestPathParameter(name) => {
                let found = self.matched.parameters.iter().find(|(known, _)| known == name);
                one(found.map(|(_, value)| value.clone()))
            }
            Variable::RequestBody(path) => in_json(self.body.as_ref(), path),
            Variable::Context(path) => one(context::lookup(&self.context, path)),
            Variable::Stage(name) => one(self.matched.stage().variables.get(name).cloned()),
            Variable::ResponseHeader(name) => {
                self.response.as_ref().map_or_else(Vec::new, |(headers, _)| texts(headers, name))
            }
            Variable::ResponseBody(path) => {
                in_json(self.response.as_ref().and_then(|(_, body)| body.as_ref()), path)
            }
        }
    }
}

fn texts(headers: &HeaderMap, name: &str) -> Vec<String> {
    let values = headers.get_all(name).iter();
    values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
}

fn values_of(pairs: &[(String, String)], name: &str) -> Vec<String> {
    pairs.iter().filter(|(known, _)| known == name).map(|(_, value)| value.clone()).collect()
}

/// Text as it is, anything else as JSON.
fn at(json: &Value, path: &JsonPath) -> Option<String> {
    match path.find(json) {
        Ok(Found::Value(Value::String(text))) => Some(text),
        Ok(Found::Value(Value::Null) | Found::Nothing) | Err(_) => None,
        Ok(Found::Value(other)) => Some(other.to_string()),
    }
}

/// What the integration gets instead, if anything is to be mapped.
pub fn apply_to_request(
    mapping: &ParameterMapping,
    request: &Request,
    matched: &Matched,
    caller: &Caller,
    site: &Site,
) -> Option<MappedRequest> {
    if mapping.is_empty() {
        return None;
    }
    let rules: Vec<_> =
        mapping.iter().filter_map(|(key, text)| Some((rule(key).ok()?, value(text).ok()?))).collect();
    let asks_body = rules
        .iter()
        .any(|(_, parts)| parts.iter().any(|part| matches!(part, Part::Variable(Variable::RequestBody(_)))));
    let sources = Sources {
        request,
        matched,
        context: context::of(request, matched, caller, site),
        body: asks_body.then(|| serde_json::from_slice(&request.body).ok()).flatten(),
        response: None,
    };
    let mut head = request.head.clone();
    let mut query: Option<Vec<(String, String)>> = None;
    let mut path = None;
    for ((action, target), parts) in rules {
        let texts = if action == Action::Remove { Vec::new() } else { sources.texts(&parts) };
        if texts.is_empty() && action != Action::Remove {
            continue;
        }
        match target {
            Target::Header(name) => change_header(&mut head.headers, action, &name, &texts),
            Target::Query(name) => {
                let pairs = query.get_or_insert_with(|| query_pairs(request.query()));
                if action != Action::Append {
                    pairs.retain(|(known, _)| *known != name);
                }
                pairs.extend(texts.into_iter().map(|text| (name.clone(), text)));
            }
            Target::Path => path = Some(whole_path(&texts.join(","))),
            Target::Status => {}
        }
    }
    if query.is_some() || path.is_some() {
        let new_path = path.as_deref().unwrap_or(request.path());
        let query = query.map_or_else(|| request.query().to_owned(), |pairs| write_query(&pairs));
        let both = if query.is_empty() { new_path.to_owned() } else { format!("{new_path}?{query}") };
        if let Ok(both) = PathAndQuery::try_from(both) {
            let mut parts = std::mem::take(&mut head.uri).into_parts();
            parts.path_and_query = Some(both);
            head.uri = Uri::from_parts(parts).unwrap_or_else(|_| request.head.uri.clone());
        }
    }
    let request = Request {
        head,
        body: request.body.clone(),
        peer: request.peer,
        received: request.received,
        trace: request.trace.clone(),
        id: request.id.clone(),
        uuid: request.uuid.clone(),
    };
    let mut matched = matched.clone();
    if let Some(path) = &path {
        matched.path.clone_from(path);
        matched.full_path.clone_from(path);
    }
    Some(MappedRequest { request, matched, path })
}

fn change_header(headers: &mut HeaderMap, action: Action, name: &HeaderName, texts: &[String]) {
    if action != Action::Append {
        headers.remove(name);
    }
    for value in texts.iter().filter_map(|text| HeaderValue::from_bytes(text.as_bytes()).ok()) {
        headers.append(name, value);
    }
}

fn whole_path(text: &str) -> String {
    let encoded = utf8_percent_encode(text, PATH).to_string();
    if encoded.starts_with('/') { encoded } else { format!("/{encoded}") }
}

pub fn write_query(pairs: &[(String, String)]) -> String {
    let encode = |text: &str| utf8_percent_encode(text, QUERY).to_string();
    let written: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    written.join("&")
}

/// What the client gets instead.
pub async fn apply_to_response(
    responses: &BTreeMap<String, ParameterMapping>,
    response: Response<Body>,
    request: &Request,
    matched: &Matched,
    caller: &Caller,
    site: &Site,
) -> Result<Response<Body>, GatewayError> {
    let Some(mapping) = responses.get(response.status().as_str()).or_else(|| responses.get("default")) else {
        return Ok(response);
    };
    let rules: Vec<_> =
        mapping.iter().filter_map(|(key, text)| Some((rule(key).ok()?, value(text).ok()?))).collect();
    let asks_body = rules
        .iter()
        .any(|(_, parts)| parts.iter().any(|part| matches!(part, Part::Variable(Variable::ResponseBody(_)))));
    let (mut head, mut body) = response.into_parts();
    let mut json = None;
    if asks_body {
        let bytes = match Limited::new(body, BODY_LIMIT).collect().await {
            Ok(collected) => collected.to_bytes(),
            Err(error) => {
                return Err(GatewayError::Integration(format!("the response cannot be mapped: {error}")));
            }
        };
        json = serde_json::from_slice(&bytes).ok();
        body = Body::from(Bytes::clone(&bytes));
    }
    let sources = Sources {
        request,
        matched,
        context: context::of(request, matched, caller, site),
        body: None,
        response: Some((head.headers.clone(), json)),
    };
    for ((action, target), parts) in rules {
        let texts = if action == Action::Remove { Vec::new() } else { sources.texts(&parts) };
        if texts.is_empty() && action != Action::Remove {
            continue;
        }
        match target {
            Target::Header(name) => change_header(&mut head.headers, action, &name, &texts),
            Target::Status => {
                let status = texts[0].trim().parse().ok().filter(|status| (200..600).contains(status));
                head.status =
                    status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(head.status);
            }
            Target::Query(_) | Target::Path => {}
        }
    }
    if matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        body = Body::empty();
    }
    Ok(Response::from_parts(head, body))
}

// ---- REST APIs

/// Where a value of REST's comes from.
#[derive(Debug)]
enum Source {
    Static(String),
    Header(String),
    Query(String),
    Path(String),
    Body(JsonPath),
    Context(String),
    Stage(String),
}

/// `side`: `method.request` or `integration.response`.
fn source(text: &str, side: &str) -> Result<Source, String> {
    let unknown = || Err(format!("the parameter mapping's value `{text}` is not understood here"));
    if let Some(inner) = text.strip_prefix('\'') {
        return match inner.strip_suffix('\'') {
            Some(inner) => Ok(Source::Static(inner.to_owned())),
            None => unknown(),
        };
    }
    if let Some(name) = text.strip_prefix("stageVariables.") {
        return Ok(Source::Stage(name.to_owned()));
    }
    if let Some(path) = text.strip_prefix("context.") {
        return Ok(Source::Context(path.to_owned()));
    }
    let Some(rest) = text.strip_prefix(side).and_then(|rest| rest.strip_prefix('.')) else {
        return unknown();
    };
    if rest == "body" {
        return Ok(Source::Body(JsonPath::parse("$")?));
    }
    let Some((place, name)) = rest.split_once('.').filter(|(_, name)| !name.is_empty()) else {
        return unknown();
    };
    let is_request = side == "method.request";
    match place {
        "header" | "multivalueheader" => Ok(Source::Header(name.to_owned())),
        "querystring" | "multivaluequerystring" if is_request => Ok(Source::Query(name.to_owned())),
        "path" if is_request => Ok(Source::Path(name.to_owned())),
        "body" => Ok(Source::Body(JsonPath::parse(&format!("$.{}", name.trim_start_matches("$.")))?)),
        _ => unknown(),
    }
}

fn resolve(
    source: &Source,
    setting: &Setting<'_>,
    headers: &HeaderMap,
    body: &dyn Fn() -> Option<Value>,
) -> Vec<String> {
    let one = |value: Option<String>| value.into_iter().collect();
    match source {
        Source::Static(text) => vec![text.clone()],
        Source::Header(name) => texts(headers, name),
        Source::Query(name) => values_of(&query_pairs(setting.request.query()), name),
        Source::Path(name) => values_of(&setting.parameters.path, name),
        Source::Body(path) => one(body().and_then(|json| at(&json, path))),
        Source::Context(path) => one(context::lookup(&setting.context, path)),
        Source::Stage(name) => one(setting.stage_variables().get(name).cloned()),
    }
}

/// The values of a header of the method's response.
pub fn of_integration_response(
    text: &str,
    setting: &Setting<'_>,
    headers: &HeaderMap,
    body: &str,
) -> Result<Vec<String>, String> {
    let source = source(text, "integration.response")?;
    Ok(resolve(&source, setting, headers, &|| serde_json::from_str(body).ok()))
}

pub fn check_integration_response(target: &str, text: &str) -> Result<(), String> {
    let name = target
        .strip_prefix("method.response.header.")
        .or_else(|| target.strip_prefix("method.response.multivalueheader."));
    if name.is_none_or(|name| HeaderName::try_from(name).is_err()) {
        return Err(format!("the parameter mapping `{target}` is not understood here"));
    }
    source(text, "integration.response").map(drop)
}

/// What a REST API's integration gets beside what the client has sent.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RestParameters {
    pub headers: Vec<(String, Vec<String>)>,
    pub query: Vec<(String, Vec<String>)>,
    pub path: Vec<(String, String)>,
}

pub fn rest_parameters(mapping: &ParameterMapping, setting: &Setting<'_>) -> RestParameters {
    let mut parameters = RestParameters::default();
    let body = || serde_json::from_slice(&setting.request.body).ok();
    for (target, text) in mapping {
        let Some((place, name)) =
            target.strip_prefix("integration.request.").and_then(|rest| rest.split_once('.'))
        else {
            continue;
        };
        let Ok(source) = source(text, "method.request") else { continue };
        let values = resolve(&source, setting, &setting.request.head.headers, &body);
        if values.is_empty() {
            continue;
        }
        match place {
            "header" => parameters.headers.push((name.to_owned(), values)),
            "querystring" => parameters.query.push((name.to_owned(), values)),
            _ => {
                // A path's variable is encoded already, all else is not.
                let value = values.join(",");
                let value = match source {
                    Source::Path(_) => value,
                    _ => utf8_percent_encode(&value, QUERY).to_string(),
                };
                parameters.path.push((name.to_owned(), value));
            }
        }
    }
    parameters
}

/// Whether all of a REST API's mappings of requests are understood.
pub fn check_rest(mapping: &ParameterMapping) -> Result<(), String> {
    for (target, text) in mapping {
        let place = target.strip_prefix("integration.request.").and_then(|rest| rest.split_once('.'));
        match place {
            Some(("header", name)) if HeaderName::try_from(name).is_ok() => {}
            Some(("querystring" | "path", name)) if !name.is_empty() => {}
            _ => return Err(format!("the parameter mapping `{target}` is not understood here")),
        }
        source(text, "method.request")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{matched, request, site};
    use super::*;
    use crate::api::Kind;
    use crate::gateway::request::Identity;

    fn mapping(pairs: &[(&str, &str)]) -> ParameterMapping {
        pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    fn caller() -> Caller {
        let claims = serde_json::json!({"sub": "me"}).as_object().unwrap().clone();
        Caller { identity: Identity::Jwt { claims, scopes: None }, ..Caller::default() }
    }

    #[test]
    fn requests_are_mapped_as_an_http_api_maps_them() {
        let asked = request(
            "POST",
            "/pets/a%20b?page=1&page=2&drop=x",
            &[("x-one", "1"), ("x-old", "o"), ("content-type", "application/json")],
            r#"{"name": "Rex", "tags": ["a"], "n": 3}"#,
        );
        let matched = matched(Kind::Http, "POST", "/pets/{id}", &[("id", "a%20b")]);
        let rules = mapping(&[
            ("append:header.x-one", "$request.querystring.page"),
            (
                "overwrite:header.x-old",
                "${request.header.x-one}-${stageVariables.tier}-${request.header.none}!",
            ),
            ("overwrite:header.x-body", "$request.body.name"),
            ("overwrite:header.x-tags", "$request.body.tags"),
            ("overwrite:header.x-missing", "$request.body.missing"),
            ("overwrite:header.x-who", "$context.authorizer.claims.sub"),
            ("remove:header.content-type", "''"),
            ("overwrite:querystring.q", "a b&c"),
            ("append:querystring.page", "3"),
            ("remove:querystring.drop", ""),
        ]);
        let mut good = rules.clone();
        good.insert("overwrite:path".to_owned(), "/v2/${request.path.id}/é ${context.routeKey}".to_owned());
        let mapped = apply_to_request(&good, &asked, &matched, &caller(), &site());
        let MappedRequest { request, matched: moved, path } = mapped.unwrap();
        let headers = |name: &str| texts(&request.head.headers, name);
        assert_eq!(headers("x-one"), ["1", "1", "2"]);
        assert_eq!(headers("x-old"), ["1-gold-!"]);
        assert_eq!(headers("x-body"), ["Rex"]);
        assert_eq!(headers("x-tags"), [r#"["a"]"#]);
        assert_eq!(headers("x-who"), ["me"]);
        assert!(headers("x-missing").is_empty() && headers("content-type").is_empty());
        assert_eq!(request.query(), "page=1&page=2&page=3&q=a%20b%26c");
        assert_eq!(path.as_deref(), Some("/v2/a%20b/%C3%A9%20POST%20/pets/%7Bid%7D"));
        let path = path.unwrap();
        assert_eq!((request.path(), &moved.full_path, &moved.path), (&*path, &path, &path));
        assert!(apply_to_request(&ParameterMapping::new(), &asked, &matched, &caller(), &site()).is_none());
        assert_eq!(request.body, asked.body);
    }

    #[tokio::test]
    async fn responses_are_mapped_by_their_status() {
        let asked = request("GET", "/pets/1", &[], "");
        let matched = matched(Kind::Http, "GET", "/pets/{id}", &[("id", "1")]);
        let responses = BTreeMap::from([
            (
                "404".to_owned(),
                mapping(&[
                    ("overwrite:statuscode", "200"),
                    ("append:header.x-was", "$response.body.code"),
                    ("overwrite:header.x-copy", "<${response.header.x-one}>"),
                    ("remove:header.x-one", ""),
                ]),
            ),
            ("default".to_owned(), mapping(&[("overwrite:statuscode", "oops"), ("append:header.x-d", "1")])),
        ]);
        check(&ParameterMapping::new(), &responses).unwrap();
        let answer = async |status: u16| {
            let response =
                Response::builder().status(status).header("x-one", "1").body(Body::from(r#"{"code": 7}"#));
            let response = response.unwrap();
            apply_to_response(&responses, response, &asked, &matched, &caller(), &site()).await.unwrap()
        };
        let response = answer(404).await;
        assert_eq!(response.status(), 200);
        assert_eq!(texts(response.headers(), "x-was"), ["7"]);
        assert_eq!(texts(response.headers(), "x-copy"), ["<1>"]);
        assert!(!response.headers().contains_key("x-one"));
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), r#"{"code": 7}"#);
        let response = answer(500).await;
        assert_eq!((response.status().as_u16(), texts(response.headers(), "x-d").len()), (500, 1));
    }

    #[test]
    fn what_aws_would_not_take_is_refused() {
        let none = BTreeMap::new();
        for (key, text) in [
            ("set:header.x", "1"),
            ("append:header.Authorization", "1"),
            ("overwrite:header.x-amzn-own", "1"),
            ("append:path", "/x"),
            ("overwrite:statuscode", "200"),
            ("overwrite:header.x", "$request.cookie.x"),
            ("overwrite:header.x", "${request.header.x"),
            ("overwrite:header.x", "$request.body..x"),
            ("overwrite:header.x", "$response.header.x"),
            ("overwrite:header.a b", "1"),
        ] {
            assert!(check(&mapping(&[(key, text)]), &none).is_err(), "{key} {text}");
        }
        let response = |status: &str, key: &str, text: &str| {
            check(&ParameterMapping::new(), &BTreeMap::from([(status.to_owned(), mapping(&[(key, text)]))]))
        };
        assert!(response("200", "overwrite:header.x", "$context.requestId").is_ok());
        assert!(response("2xx", "overwrite:header.x", "1").is_err());
        assert!(response("200", "overwrite:path", "/x").is_err());
        assert!(response("200", "overwrite:header.x", "$request.header.x").is_err());
    }

    #[test]
    fn rest_takes_its_parameters_from_the_method() {
        let asked = request(
            "POST",
            "/pets/a%2Bb?q=1&q=2",
            &[("x-one", "1"), ("x-one", "2")],
            r#"{"a": {"b": "c d"}}"#,
        );
        let matched = matched(Kind::Rest, "POST", "/pets/{id}", &[("id", "a%2Bb")]);
        let setting = Setting::new(&asked, &matched, &caller(), &site());
        let rules = mapping(&[
            ("integration.request.header.X-Static", "'it is'"),
            ("integration.request.header.X-Two", "method.request.multivalueheader.x-one"),
            ("integration.request.header.X-None", "method.request.header.none"),
            ("integration.request.querystring.all", "method.request.multivaluequerystring.q"),
            ("integration.request.querystring.tier", "stageVariables.tier"),
            ("integration.request.path.id", "method.request.path.id"),
            ("integration.request.path.deep", "method.request.body.a.b"),
            ("integration.request.path.stage", "context.stage"),
        ]);
        check_rest(&rules).unwrap();
        let list = |values: &[&str]| values.iter().map(|value| value.to_string()).collect::<Vec<_>>();
        assert_eq!(
            rest_parameters(&rules, &setting),
            RestParameters {
                headers: vec![("X-Static".into(), list(&["it is"])), ("X-Two".into(), list(&["1", "2"]))],
                query: vec![("all".into(), list(&["1", "2"])), ("tier".into(), list(&["gold"]))],
                path: vec![
                    ("deep".into(), "c%20d".into()),
                    ("id".into(), "a%2Bb".into()),
                    ("stage".into(), "prod".into())
                ],
            }
        );
        for (target, text) in [
            ("integration.request.cookie.x", "'1'"),
            ("integration.request.header.x", "'1"),
            ("integration.request.header.x", "method.request.cookie.x"),
            ("integration.request.header.x", "integration.response.header.x"),
        ] {
            assert!(check_rest(&mapping(&[(target, text)])).is_err(), "{target} {text}");
        }
    }
}

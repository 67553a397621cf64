//! REST's AWS and MOCK integrations: the request through a template to the function, the result
//! through another one to the client.
//!
//! What API Gateway does with them, in its order:
//!
//! 1. The request template for the `Content-Type` (without one: `application/json`) makes the event;
//!    without a template the body is the event, unless the passthrough behaviour says 415.
//! 2. The function is invoked. MOCK has none: the template's `statusCode` is its result.
//! 3. The first integration response whose pattern is the whole of the error message (MOCK: of the
//!    status) is chosen, otherwise the one without a pattern; without an error always that one, so that
//!    `.+` means every error.
//! 4. Its template for the `Accept` header makes the body, its parameters the headers.

use axum::body::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::{Map, Value};

use super::headers;
use super::parameters;
use super::pattern;
use super::setting::Setting;
use super::template::{Failure, Template};
use crate::api::{IntegrationResponse, MappedIntegration, Passthrough};
use crate::gateway::error::GatewayError;
use crate::gateway::payload::{self, essence};
use crate::gateway::request::{Caller, Matched, Request};
use crate::gateway::{Gateway, with_stage_variables};
use crate::invocation::{Invocation, Outcome};

const JSON: &str = "application/json";

/// What came back, before it is mapped.
struct Answer {
    /// What the patterns are compared with; none, if a function has done its work.
    selector: Option<String>,
    body: String,
    headers: HeaderMap,
}

/// What ends the way early.
enum Stopped {
    Refused(GatewayError),
    /// AWS says what is wrong with the request's body.
    Malformed(String),
}

impl From<GatewayError> for Stopped {
    fn from(error: GatewayError) -> Self {
        Self::Refused(error)
    }
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Body(what) => Self::Malformed(what),
            failure => Self::Refused(GatewayError::Integration(failure.to_string())),
        }
    }
}

/// REST's AWS and MOCK.
pub async fn mapped(
    gateway: &Gateway,
    request: &Request,
    matched: &Matched,
    caller: &Caller,
    integration: &MappedIntegration,
) -> Result<Response<Body>, GatewayError> {
    let mut setting = Setting::new(request, matched, caller, gateway.site());
    let mut response = match run(gateway, &mut setting, integration).await {
        Ok(response) => response,
        Err(Stopped::Refused(error)) => return Err(error),
        Err(Stopped::Malformed(what)) => malformed(&what),
    };
    // A MOCK is not traced.
    if integration.function.is_some() {
        payload::add_trace(response.headers_mut(), request, &matched.api.id);
    }
    Ok(response)
}

async fn run(
    gateway: &Gateway,
    setting: &mut Setting<'_>,
    integration: &MappedIntegration,
) -> Result<Response<Body>, Stopped> {
    let event = request_body(setting, integration)?;
    let answer = match &integration.function {
        None => mock(&event)?,
        Some(function) => {
            let function = with_stage_variables(function, setting.matched);
            lambda(gateway, setting, integration, &function, event).await?
        }
    };
    respond(setting, integration, &answer)
}

/// A MOCK, and the way back from an answer with this body: without a gateway.
#[cfg(any(test, fuzzing))]
pub(super) fn mapped_alone(setting: &mut Setting<'_>, integration: &MappedIntegration, body: &str) {
    if let Ok(event) = request_body(setting, integration) {
        let _ = mock(&event);
        asks_for_event(&setting.context);
    }
    let selector = Some(error_message(body.as_bytes()));
    let answer = Answer { selector, body: body.to_owned(), headers: HeaderMap::new() };
    let _ = respond(setting, integration, &answer);
}

/// What the integration gets.
fn request_body(setting: &mut Setting<'_>, integration: &MappedIntegration) -> Result<String, Stopped> {
    let content_type = setting.request.header("content-type").map_or(JSON.to_owned(), essence);
    let templates = &integration.request_templates;
    let template =
        templates.iter().find(|(key, _)| essence(key) == content_type).map(|(_, template)| template);
    let body = setting.body();
    let Some(template) = template else {
        return match integration.passthrough {
            Passthrough::WhenNoMatch => Ok(body),
            Passthrough::WhenNoTemplates if templates.is_empty() => Ok(body),
            _ => Err(GatewayError::UnsupportedMediaType.into()),
        };
    };
    let rendered = read(template)?.render(&setting.variables(&body))?;
    setting.context = rendered.context;
    Ok(rendered.text)
}

/// Every template has been read when it was deployed.
fn read(template: &str) -> Result<Template, GatewayError> {
    Template::parse(template)
        .map_err(|error| GatewayError::Integration(format!("the mapping template cannot be read: {error}")))
}

// ---- MOCK

fn mock(event: &str) -> Result<Answer, GatewayError> {
    let status = relaxed_object(event).and_then(|event| event.get("statusCode")?.as_i64());
    let Some(status) = status else {
        let what = "a MOCK's request template has to make JSON with an integer `statusCode`";
        return Err(GatewayError::Integration(what.to_owned()));
    };
    Ok(Answer { selector: Some(status.to_string()), body: String::new(), headers: HeaderMap::new() })
}

/// JSON as API Gateway reads it here: names need no quotes, which may be single ones, and a comma may
/// be too much (`{ statusCode: 200 }` is what CDK writes).
fn relaxed_object(text: &str) -> Option<Map<String, Value>> {
    if let Ok(object) = serde_json::from_str(text) {
        return Some(object);
    }
    let mut strict = String::with_capacity(text.len() + 8);
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '"' | '\'' => {
                strict.push('"');
                while let Some(inner) = characters.next() {
                    match inner {
                        '\\' if characters.peek() == Some(&'\'') => {}
                        '\\' => {
                            strict.push('\\');
                            strict.extend(characters.next());
                        }
                        inner if inner == c => break,
                        '"' => strict.push_str("\\\""),
                        inner => strict.push(inner),
                    }
                }
                strict.push('"');
            }
            'a'..='z' | 'A'..='Z' | '_' | '$' => {
                let mut word = String::from(c);
                while let Some(next) =
                    characters.next_if(|next| next.is_ascii_alphanumeric() || matches!(next, '_' | '$'))
                {
                    word.push(next);
                }
                match word.as_str() {
                    "true" | "false" | "null" => strict.push_str(&word),
                    word => {
                        strict.push('"');
                        strict.push_str(word);
                        strict.push('"');
                    }
                }
            }
            // A number's exponent is no name.
            '0'..='9' => {
                strict.push(c);
                while let Some(next) =
                    characters.next_if(|next| next.is_ascii_alphanumeric() || matches!(next, '.' | '+' | '-'))
                {
                    strict.push(next);
                }
            }
            '}' | ']' => {
                let kept = strict.trim_end();
                let kept = kept.strip_suffix(',').unwrap_or(kept).len();
                strict.truncate(kept);
                strict.push(c);
            }
            c => strict.push(c),
        }
    }
    serde_json::from_str(&strict).ok()
}

// ---- AWS: a function

async fn lambda(
    gateway: &Gateway,
    setting: &Setting<'_>,
    integration: &MappedIntegration,
    function: &str,
    event: String,
) -> Result<Answer, Stopped> {
    let event = if event.trim().is_empty() { "{}".to_owned() } else { event };
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&event) {
        return Err(Stopped::Malformed(error.to_string()));
    }
    let request_id = Invocation::new_request_id();
    let trace_id = setting.request.trace.for_function();
    let mut headers = HeaderMap::new();
    let id = HeaderValue::try_from(request_id.as_str()).expect("a UUID is a valid header");
    headers.insert("x-amzn-requestid", id);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    if integration.asynchronous || asks_for_event(&setting.context) {
        gateway.accept(function, event.into_bytes(), trace_id, request_id).await?;
        return Ok(Answer { selector: None, body: String::new(), headers });
    }
    let completed = gateway.invoke(function, event.into_bytes(), trace_id, request_id).await?;
    let version = HeaderValue::try_from(completed.executed_version.as_str());
    headers.extend(version.ok().map(|version| (HeaderName::from_static("x-amz-executed-version"), version)));
    let (payload, selector) = match completed.outcome {
        Outcome::Returned { payload, .. } => (payload, None),
        Outcome::Failed { payload, .. } => {
            headers.insert("x-amz-function-error", HeaderValue::from_static("Unhandled"));
            let selector = error_message(&payload);
            (payload, Some(selector))
        }
    };
    Ok(Answer { selector, body: String::from_utf8_lossy(&payload).into_owned(), headers })
}

/// `#set($context.requestOverride.header.X-Amz-Invocation-Type = "Event")`
fn asks_for_event(context: &Map<String, Value>) -> bool {
    let headers = context.get("requestOverride").and_then(|set| set.get("header")?.as_object());
    headers.into_iter().flatten().any(|(name, value)| {
        name.eq_ignore_ascii_case("x-amz-invocation-type")
            && value.as_str().is_some_and(|value| value.trim_matches('\'') == "Event")
    })
}

fn error_message(payload: &[u8]) -> String {
    let error: Value = serde_json::from_slice(payload).unwrap_or_default();
    error["errorMessage"].as_str().unwrap_or_default().to_owned()
}

// ---- The way back

fn respond(
    setting: &Setting<'_>,
    integration: &MappedIntegration,
    answer: &Answer,
) -> Result<Response<Body>, Stopped> {
    let chosen = choose(&integration.responses, answer.selector.as_deref())?;
    let mut status = StatusCode::from_u16(chosen.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response_headers = HeaderMap::new();
    let (body, content_type, context) = match template_for(chosen, setting.request.header("accept")) {
        None => (answer.body.clone(), JSON, None),
        Some((content_type, template)) => {
            let rendered = match read(template)?.render(&setting.variables(&answer.body)) {
                Ok(rendered) => rendered,
                // It is the integration's body, not the client's, that is no JSON.
                Err(failure) => return Err(GatewayError::Integration(failure.to_string()).into()),
            };
            (rendered.text, content_type, Some(rendered.context))
        }
    };
    let content_type = HeaderValue::try_from(content_type).unwrap_or(HeaderValue::from_static(JSON));
    response_headers.insert(header::CONTENT_TYPE, content_type);
    for (target, source) in &chosen.parameters {
        let Some(name) = target.strip_prefix("method.response.header.") else { continue };
        let values = parameters::of_integration_response(source, setting, &answer.headers, &answer.body)
            .map_err(GatewayError::Integration)?;
        set_header(&mut response_headers, name, &values);
    }
    let context = context.as_ref().unwrap_or(&setting.context);
    let overrides = context.get("responseOverride");
    let named = overrides.and_then(|set| set.get("header")?.as_object()).into_iter().flatten();
    for (name, value) in named {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        set_header(&mut response_headers, name, &[value]);
    }
    // Anything that is no status is left alone.
    let overridden =
        overrides.and_then(|set| set.get("status")?.as_u64()).filter(|status| (200..600).contains(status));
    if let Some(overridden) = overridden.and_then(|status| StatusCode::from_u16(status as u16).ok()) {
        status = overridden;
    }
    let bodiless = status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
    let mut response = Response::new(if bodiless { Body::empty() } else { Body::from(body) });
    *response.status_mut() = status;
    *response.headers_mut() = response_headers;
    Ok(response)
}

/// The first whose pattern fits, otherwise the first without one.
fn choose<'a>(
    responses: &'a [IntegrationResponse],
    selector: Option<&str>,
) -> Result<&'a IntegrationResponse, GatewayError> {
    for response in responses {
        let (Some(selector), Some(expression)) = (selector, pattern_of(response)) else { continue };
        let regex = pattern::compile_whole(expression).map_err(GatewayError::Integration)?;
        if regex.is_match(selector) {
            return Ok(response);
        }
    }
    responses.iter().find(|response| pattern_of(response).is_none()).ok_or_else(|| {
        let what = selector.map_or("success".to_owned(), |selector| format!("`{selector}`"));
        GatewayError::Integration(format!(
            "no integration response fits {what}, and none is without a selection pattern"
        ))
    })
}

fn pattern_of(response: &IntegrationResponse) -> Option<&str> {
    response.pattern.as_deref().filter(|pattern| !pattern.is_empty())
}

/// What the client accepts, then JSON, then any.
fn template_for<'a>(response: &'a IntegrationResponse, accept: Option<&str>) -> Option<(&'a str, &'a str)> {
    let templates = &response.templates;
    let of = |wanted: &str| templates.iter().find(|(key, _)| essence(key) == wanted);
    let accepted = accept.unwrap_or_default().split(',').find_map(|media_type| of(&essence(media_type)));
    let chosen = accepted.or_else(|| of(JSON)).or_else(|| templates.iter().next());
    chosen.map(|(content_type, template)| (content_type.as_str(), template.as_str()))
}

fn set_header(headers: &mut HeaderMap, name: &str, values: &[String]) {
    let Some(name) = HeaderName::try_from(name).ok().and_then(|name| headers::of_rest(&name)) else { return };
    let mut values = values.iter().filter_map(|value| HeaderValue::from_bytes(value.as_bytes()).ok());
    if let Some(first) = values.next() {
        headers.insert(&name, first);
        for more in values {
            headers.append(&name, more);
        }
    }
}

fn malformed(what: &str) -> Response<Body> {
    let message = Value::from(format!("Could not parse request body into json: {what}"));
    let mut response = Response::new(Body::from(format!("{{\"message\": {message}}}")));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    response.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static("BadRequestException"));
    response
}

/// Whether all of it is understood.
pub fn check(integration: &MappedIntegration) -> Result<(), String> {
    for (content_type, template) in &integration.request_templates {
        super::check(template)
            .map_err(|error| format!("the request template for `{content_type}`, {error}"))?;
    }
    for response in &integration.responses {
        let status = response.status;
        if let Some(pattern) = pattern_of(response) {
            pattern::compile_whole(pattern).map_err(|error| format!("the response {status}: {error}"))?;
        }
        if !(200..600).contains(&status) {
            return Err(format!("{status} is no status that a response can have"));
        }
        for (content_type, template) in &response.templates {
            super::check(template).map_err(|error| {
                format!("the template for `{content_type}` of the response {status}, {error}")
            })?;
        }
        for (target, source) in &response.parameters {
            parameters::check_integration_response(target, source)
                .map_err(|error| format!("the response {status}: {error}"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use http_body_util::BodyExt;

    use super::super::fixture::{matched, request, site};
    use super::*;
    use crate::api::Kind;

    fn templates(templates: &[(&str, &str)]) -> BTreeMap<String, String> {
        templates.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    fn response(pattern: Option<&str>, status: u16) -> IntegrationResponse {
        IntegrationResponse { pattern: pattern.map(str::to_owned), status, ..IntegrationResponse::default() }
    }

    fn integration(responses: Vec<IntegrationResponse>) -> MappedIntegration {
        MappedIntegration {
            function: None,
            asynchronous: false,
            request_templates: templates(&[("application/json", "{\n  \"statusCode\" : 200\n}\n")]),
            passthrough: Passthrough::WhenNoMatch,
            responses,
        }
    }

    /// As SAM's `Cors` property makes it.
    fn cors() -> MappedIntegration {
        let mut answer = response(None, 200);
        answer.parameters = templates(&[
            ("method.response.header.Access-Control-Allow-Headers", "'Content-Type,Authorization'"),
            ("method.response.header.Access-Control-Allow-Methods", "'DELETE,GET,OPTIONS'"),
            ("method.response.header.Access-Control-Allow-Origin", "'*'"),
        ]);
        answer.templates = templates(&[("application/json", "{}\n")]);
        integration(vec![answer])
    }

    struct Got {
        status: u16,
        headers: HeaderMap,
        body: String,
    }

    impl Got {
        fn header(&self, name: &str) -> &str {
            self.headers.get(name).map_or("", |value| value.to_str().unwrap())
        }
    }

    async fn got(response: Response<Body>) -> Got {
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Got {
            status: head.status.as_u16(),
            headers: head.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    /// A MOCK's answer.
    async fn ask(integration: &MappedIntegration, asked: &Request) -> Result<Got, GatewayError> {
        let matched = matched(Kind::Rest, "ANY", "/pets/{id}", &[("id", "7")]);
        let site = site();
        let mut setting = Setting::new(asked, &matched, &Caller::default(), &site);
        let answer = request_body(&mut setting, integration)
            .and_then(|event| Ok(mock(&event)?))
            .and_then(|answer| respond(&setting, integration, &answer));
        match answer {
            Ok(response) => Ok(got(response).await),
            Err(Stopped::Malformed(what)) => Ok(got(malformed(&what)).await),
            Err(Stopped::Refused(error)) => Err(error),
        }
    }

    #[tokio::test]
    async fn sams_cors_is_answered_as_on_aws() {
        let answer = ask(&cors(), &request("OPTIONS", "/pets/7", &[("origin", "http://a.example")], ""))
            .await
            .unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, "{}\n"));
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        assert_eq!(answer.header("access-control-allow-methods"), "DELETE,GET,OPTIONS");
        assert_eq!(answer.header("access-control-allow-headers"), "Content-Type,Authorization");
        assert_eq!(answer.header("content-type"), "application/json");
        assert!(check(&cors()).is_ok());
    }

    #[tokio::test]
    async fn a_mock_chooses_by_its_status() {
        let mut mock = integration(vec![
            response(Some("2\\d{2}"), 200),
            response(Some("4.."), 404),
            response(None, 500),
        ]);
        for (template, expected) in [
            (r#"{"statusCode": 200}"#, 200),
            ("{ statusCode: 204 }", 200),
            ("{'statusCode': 404,}", 404),
            (r#"{"statusCode": 201, "note": "a 'quoted', {odd} \"text\","}"#, 200),
            ("{statusCode: 302, more: [1, 'x',], e: 1e5}", 500),
            (r#"#if($input.params('id') == "7"){"statusCode": 404}#else{"statusCode": 200}#end"#, 404),
        ] {
            mock.request_templates = templates(&[("application/json", template)]);
            assert_eq!(
                ask(&mock, &request("GET", "/pets/7", &[], "")).await.unwrap().status,
                expected,
                "{template}"
            );
        }
        for template in
            ["", "{}", r#"{"statusCode": "200"}"#, r#"{"statusCode": 200"#, "[]", "{statusCode: 1.5}"]
        {
            mock.request_templates = templates(&[("application/json", template)]);
            let error = ask(&mock, &request("GET", "/pets/7", &[], "")).await.err().unwrap();
            assert!(matches!(error, GatewayError::Integration(_)), "{template}: {error:?}");
        }
    }

    #[tokio::test]
    async fn what_fits_no_template_passes_or_does_not() {
        let text =
            request("POST", "/pets/7", &[("content-type", "text/plain; charset=utf-8")], "{statusCode: 200}");
        let json = request("POST", "/pets/7", &[("content-type", "Application/JSON;charset=utf-8")], "");
        let mut mock = integration(vec![response(None, 200)]);
        for (passthrough, passes) in [
            (Passthrough::WhenNoMatch, true),
            (Passthrough::WhenNoTemplates, false),
            (Passthrough::Never, false),
        ] {
            mock.passthrough = passthrough;
            assert_eq!(ask(&mock, &json).await.unwrap().status, 200);
            match ask(&mock, &text).await {
                Ok(answer) => assert!(passes && answer.status == 200),
                Err(error) => assert!(!passes && matches!(error, GatewayError::UnsupportedMediaType)),
            }
        }
        mock.request_templates.clear();
        mock.passthrough = Passthrough::WhenNoTemplates;
        assert_eq!(ask(&mock, &text).await.unwrap().status, 200);
    }

    #[tokio::test]
    async fn templates_override_status_and_headers() {
        let mut answer = response(None, 200);
        answer.templates = templates(&[
            (
                "application/json",
                "#set($context.responseOverride.status = 418)\n#set($context.responseOverride.header.X-Own = \"$input.params('id')\")\n$context.httpMethod",
            ),
            ("text/html", "<b>$context.resourcePath</b>"),
        ]);
        let mock = integration(vec![answer]);
        let got = ask(&mock, &request("PUT", "/pets/7", &[("accept", "text/css, */*")], "")).await.unwrap();
        assert_eq!((got.status, got.body.as_str(), got.header("x-own")), (418, "PUT", "7"));
        let got = ask(&mock, &request("PUT", "/pets/7", &[("accept", "text/html;q=0.9")], "")).await.unwrap();
        assert_eq!((got.body.as_str(), got.header("content-type")), ("<b>/pets/{id}</b>", "text/html"));
    }

    #[tokio::test]
    async fn a_body_that_is_no_json_is_told() {
        let mut mock = integration(vec![response(None, 200)]);
        mock.request_templates =
            templates(&[("application/json", "{\"statusCode\": 200, \"x\": $input.json('$.x')}")]);
        let answer = ask(&mock, &request("POST", "/pets/7", &[], "{no")).await.unwrap();
        assert_eq!(answer.status, 400);
        assert!(
            answer.body.starts_with(r#"{"message": "Could not parse request body into json: "#),
            "{}",
            answer.body
        );
        assert_eq!(answer.header("x-amzn-errortype"), "BadRequestException");
    }

    #[test]
    fn responses_are_chosen_by_the_error_message() {
        let responses = [
            response(Some(".*Not Found.*"), 404),
            response(Some("(?i)bad.*"), 400),
            response(Some(r"(\n|.)+"), 500),
            response(Some(""), 200),
        ];
        for (selector, status) in
            [("Item Not Found: 7", 404), ("BAD thing", 400), ("two\nlines", 500), ("", 200), ("404", 500)]
        {
            assert_eq!(choose(&responses, Some(selector)).unwrap().status, status, "{selector}");
        }
        assert_eq!(
            choose(&[response(Some("x"), 404), response(None, 200)], Some("an x")).unwrap().status,
            200
        );
        let every_error = [response(Some(r"(\n|.)*"), 500), response(None, 200)];
        assert_eq!(choose(&every_error, None).unwrap().status, 200, "success is no error");
        assert_eq!(choose(&every_error, Some("")).unwrap().status, 500);
        assert!(choose(&[response(Some("x"), 404)], Some("y")).is_err());
        assert!(choose(&[response(Some(".*"), 404)], None).is_err());
        assert!(choose(&[], None).is_err());
    }

    #[tokio::test]
    async fn a_functions_answer_is_mapped() {
        let asked = request("GET", "/pets/7", &[], "");
        let matched = matched(Kind::Rest, "GET", "/pets/{id}", &[("id", "7")]);
        let site = site();
        let setting = Setting::new(&asked, &matched, &Caller::default(), &site);
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-function-error", HeaderValue::from_static("Unhandled"));
        let failed = r#"{"errorMessage": "[404] no pet", "errorType": "Missing", "stackTrace": []}"#;
        let answer = |body: &str, selector: &str| Answer {
            selector: Some(selector.to_owned()),
            body: body.to_owned(),
            headers: headers.clone(),
        };
        let mut missing = response(Some(r"\[404\].*"), 404);
        missing.templates = templates(&[("application/json", r#"{"why": $input.json('$.errorMessage')}"#)]);
        missing.parameters = templates(&[
            ("method.response.header.X-Type", "integration.response.body.errorType"),
            ("method.response.header.X-None", "integration.response.body.nothing"),
            ("method.response.header.X-Error", "integration.response.header.X-Amz-Function-Error"),
            ("method.response.header.WWW-Authenticate", "'Basic'"),
            ("method.response.header.Content-Type", "'text/x-own'"),
        ]);
        let lambda = integration(vec![missing, response(None, 200)]);
        let answered =
            got(respond(&setting, &lambda, &answer(failed, &error_message(failed.as_bytes()))).ok().unwrap())
                .await;
        assert_eq!((answered.status, answered.body.as_str()), (404, r#"{"why": "[404] no pet"}"#));
        assert_eq!(answered.header("x-type"), "Missing");
        assert!(!answered.headers.contains_key("x-none"));
        assert_eq!(answered.header("x-error"), "Unhandled");
        assert_eq!(answered.header("x-amzn-remapped-www-authenticate"), "Basic");
        assert_eq!(answered.header("content-type"), "text/x-own");
        // Without a pattern that fits, a failing function answers 200 with its error.
        let plain = integration(vec![response(None, 200)]);
        let answered = got(respond(&setting, &plain, &answer(failed, "[404] no pet")).ok().unwrap()).await;
        assert_eq!((answered.status, answered.body.as_str()), (200, failed));
        assert_eq!(answered.header("content-type"), "application/json");
        // No body where there can be none.
        let empty = integration(vec![response(None, 204)]);
        let answered = got(respond(&setting, &empty, &answer("[1]", "200")).ok().unwrap()).await;
        assert_eq!((answered.status, answered.body.as_str()), (204, ""));
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_place() {
        let refused = |change: &dyn Fn(&mut MappedIntegration)| {
            let mut integration = cors();
            change(&mut integration);
            check(&integration).unwrap_err()
        };
        let error =
            refused(&|it| it.request_templates = templates(&[("application/json", "\n#macro(x)#end")]));
        assert_eq!(
            error,
            "the request template for `application/json`, line 2: `#macro` is not understood here"
        );
        let error = refused(&|it| it.responses[0].pattern = Some("(?=x)".into()));
        assert!(error.starts_with("the response 200: the regular expression `(?=x)`"), "{error}");
        let error = refused(&|it| it.responses[0].status = 42);
        assert_eq!(error, "42 is no status that a response can have");
        let error = refused(&|it| {
            it.responses[0].parameters = templates(&[("method.response.header.X", "what.ever")])
        });
        assert!(error.contains("`what.ever`"), "{error}");
    }

    #[test]
    fn an_event_invocation_can_be_asked_for_by_a_template() {
        let context = |value: Value| serde_json::json!({"requestOverride": {"header": {"x-amz-invocation-Type": value}}});
        assert!(asks_for_event(context("Event".into()).as_object().unwrap()));
        assert!(asks_for_event(context("'Event'".into()).as_object().unwrap()));
        assert!(!asks_for_event(context("RequestResponse".into()).as_object().unwrap()));
        assert!(!asks_for_event(&Map::new()));
    }
}

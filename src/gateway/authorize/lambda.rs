//! Lambda authorizers: who is asked, when, and what the answer means.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::super::error::GatewayError;
use super::super::request::{Identity, Matched, Request};
use super::super::{Gateway, Site, with_stage_variables};
use super::policy::{Policy, Verdict};
use super::{Admitted, cache, event, identity, method_arn};
use crate::api::{self, Authorizer, AuthorizerKind, IdentitySource, Kind, LambdaAuthorizer, PayloadVersion};
use crate::deployment::Deployed;
use crate::invocation::{Failure, Invocation, Outcome};
use crate::logs::escape_control;

/// How long an HTTP API waits for its authorizers.
const HTTP_LIMIT: Duration = Duration::from_secs(10);
/// API Gateway's limit for what an authorizer returns.
const ANSWER_LIMIT: usize = 8 * 1024;
/// How much larger an answer is once it has been read.
const SPREAD: usize = 4;
/// API Gateway's limit for the ARN that a policy is about.
const ARN_LIMIT: usize = 1600;

/// What an authorizer function said.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    principal_id: Option<String>,
    ruling: Ruling,
    context: Map<String, Value>,
    usage_key: Option<String>,
    /// How long the answer was.
    bytes: usize,
}

#[derive(Debug, Clone, PartialEq)]
enum Ruling {
    /// Looked at anew for each method.
    Policy(Policy),
    /// `isAuthorized`
    Simple(bool),
}

/// Why there is no decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The function raised exactly this.
    Unauthorized,
    Failed {
        reason: String,
    },
    /// The answer cannot be understood.
    Malformed {
        reason: String,
    },
}

/// In what form the answer is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Policy {
        /// Context values become texts, and only plain ones are taken.
        plain: bool,
    },
    Simple,
}

pub async fn admit(
    gateway: &Gateway,
    request: &Request,
    matched: &Matched,
    connect: Option<&Map<String, Value>>,
    authorizer: &Authorizer,
    function: &LambdaAuthorizer,
) -> Result<Admitted, GatewayError> {
    let site = gateway.site();
    let method_arn = method_arn(request, matched, site);
    if method_arn.len() > ARN_LIMIT {
        return Err(GatewayError::BadRequest("the path is too long for an authorizer (methodArn: 1600)"));
    }
    let asked = prepare(request, matched, site, authorizer, function)?;
    let began = Instant::now();
    let name = with_stage_variables(&function.function, matched);
    let ask = || async {
        let question = event::Question { request, matched, site, method_arn: &method_arn, connect };
        let event = match (&authorizer.kind, matched.kind(), function.payload) {
            (AuthorizerKind::Token(_), ..) => event::token(&question, asked.values.join(",")),
            (_, Kind::Http, PayloadVersion::V2) => event::http_v2(&question, &asked.values),
            (_, Kind::Http, PayloadVersion::V1) => event::http_v1(&question, &asked.values),
            (_, Kind::WebSocket, _) => event::web_socket(&question),
            _ => event::rest(&question),
        };
        let form = form(matched.kind(), function);
        invoke(gateway, request, matched.kind(), &name, event, form).await.map(Arc::new)
    };
    let decisions = &gateway.access().decisions;
    let (decision, cached) = match asked.key {
        None => (ask().await, false),
        Some(key) => {
            let deployed = deployed(gateway, matched, &name);
            match decisions.get(key, &deployed, began) {
                Some(decision) => (Ok(decision), true),
                None => (
                    decisions.ask(key, deployed, authorizer.ttl, |kept| kept.bytes * SPREAD, ask).await,
                    false,
                ),
            }
        }
    };
    let decision = decision.map_err(|refusal| refusal.into_error(&authorizer.name))?;
    let latency = if cached { 0 } else { began.elapsed().as_millis() as u64 };
    decide(&decision, &method_arn, matched.kind(), &authorizer.name, latency)
}

/// What goes to the function, or finds its former answer.
#[derive(Debug, PartialEq)]
struct Asked {
    values: Vec<String>,
    /// `None`: nothing is kept.
    key: Option<cache::Key>,
}

/// Requests without an identity are refused before anybody is asked.
fn prepare(
    request: &Request,
    matched: &Matched,
    site: &Site,
    authorizer: &Authorizer,
    function: &LambdaAuthorizer,
) -> Result<Asked, GatewayError> {
    let token = matches!(authorizer.kind, AuthorizerKind::Token(_));
    let usual = [IdentitySource::Header("Authorization".to_owned())];
    let sources = if token && function.identity.is_empty() { &usual[..] } else { &function.identity };
    let keeps = !authorizer.ttl.is_zero() && !sources.is_empty() && matched.kind() != Kind::WebSocket;
    let unauthorized = |reason: String| GatewayError::Unauthorized {
        reason: format!("authorizer {}: {reason}", authorizer.name),
        www_authenticate: None,
    };
    let values = match identity::values(sources, request, matched, site) {
        Ok(values) => values,
        // A REST API asks for them only because they are what it keeps decisions by.
        Err(_) if matched.kind() == Kind::Rest && !token && !keeps => Vec::new(),
        Err(source) => {
            return Err(unauthorized(format!(
                "the request has no {}",
                identity::described(source).trim_start_matches("the ")
            )));
        }
    };
    if let (true, Some(pattern)) = (token, &function.validation) {
        let value = values.first().map_or("", String::as_str);
        let fits = value.len() <= identity::TOKEN_LIMIT
            && matches_whole(pattern, value).map_err(|error| GatewayError::AuthorizerFailed {
                configuration: true,
                reason: format!("authorizer {}: {error}", authorizer.name),
            })?;
        if !fits {
            return Err(unauthorized(format!("the token does not match `{pattern}`")));
        }
    }
    let place = [&*matched.api.id, &*matched.stage().name, &*authorizer.name];
    // All values, as the function sees all of them.
    let all: Vec<String> =
        sources.iter().flat_map(|source| identity::all(source, request, matched, site)).collect();
    let parts = place.into_iter().chain(all.iter().map(String::as_str));
    let key = keeps.then(|| cache::Key::new(parts));
    Ok(Asked { values, key })
}

/// `identityValidationExpression`, which is about the whole token.
pub(super) fn matches_whole(pattern: &str, token: &str) -> Result<bool, String> {
    let expression = regex::RegexBuilder::new(&format!("^(?:{pattern})$"))
        .size_limit(1 << 20)
        .build()
        .map_err(|error| format!("its validation expression is not understood: {error}"))?;
    Ok(expression.is_match(token))
}

fn form(kind: Kind, function: &LambdaAuthorizer) -> Form {
    match kind {
        Kind::Http if function.simple_responses && function.payload == PayloadVersion::V2 => Form::Simple,
        Kind::Http => Form::Policy { plain: function.payload == PayloadVersion::V1 },
        _ => Form::Policy { plain: true },
    }
}

fn deployed(gateway: &Gateway, matched: &Matched, function: &str) -> cache::Deployed {
    let current = gateway.invoker().deployments().current();
    let name = function.split(':').next().unwrap_or(function);
    let function = current.functions.get(name).and_then(Deployed::function);
    cache::Deployed { api: matched.api.clone(), function: function.map(|function| function.sequence) }
}

async fn invoke(
    gateway: &Gateway,
    request: &Request,
    kind: Kind,
    function: &str,
    event: Vec<u8>,
    form: Form,
) -> Result<Decision, Refusal> {
    let limit = if kind == Kind::Http { HTTP_LIMIT } else { api::REST_TIMEOUT };
    let request_id = Invocation::new_request_id();
    let trace = request.trace.for_function();
    let completed = tokio::time::timeout(limit, gateway.invoke(function, event, trace, request_id)).await;
    match completed {
        Err(_) => {
            let reason = format!("{function} did not answer in {} s", limit.as_secs());
            Err(Refusal::Failed { reason })
        }
        Ok(Err(error)) => Err(Refusal::Failed { reason: error.note().unwrap_or_default() }),
        Ok(Ok(completed)) => read(function, &completed.outcome, form),
    }
}

/// What came of the invocation, as a decision.
fn read(function: &str, outcome: &Outcome, form: Form) -> Result<Decision, Refusal> {
    match outcome {
        Outcome::Failed { payload, failure } => {
            let error: Value = serde_json::from_slice(payload).unwrap_or_default();
            let message = error["errorMessage"].as_str().unwrap_or_default();
            match failure {
                Failure::Raised if message == "Unauthorized" => Err(Refusal::Unauthorized),
                _ => {
                    let kind = error["errorType"].as_str().unwrap_or("function error");
                    Err(Refusal::Failed { reason: format!("{function} failed: {kind}") })
                }
            }
        }
        Outcome::Returned { payload, .. } => decision(payload, form)
            .map_err(|what| Refusal::Malformed { reason: format!("{function} returned {what}") }),
    }
}

/// The error says what is wrong with the answer, for people.
pub(super) fn decision(payload: &[u8], form: Form) -> Result<Decision, String> {
    let bytes = payload.len();
    if bytes > ANSWER_LIMIT {
        return Err(format!("{bytes} bytes; API Gateway takes {ANSWER_LIMIT} of an authorizer"));
    }
    let answer: Value = serde_json::from_slice(payload).unwrap_or_default();
    let Value::Object(mut answer) = answer else {
        return Err("no object".to_owned());
    };
    let given = match answer.remove("context") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(context)) => context,
        Some(_) => return Err("a `context` that is no object".to_owned()),
    };
    let (principal_id, ruling, plain) = match form {
        Form::Simple => match answer.get("isAuthorized") {
            Some(Value::Bool(flag)) => (None, Ruling::Simple(*flag), false),
            _ => {
                return Err("no `isAuthorized` that is true or false\n\
                            hint: the authorizer is configured for simple responses"
                    .to_owned());
            }
        },
        Form::Policy { plain } => {
            let principal_id = match answer.get("principalId") {
                Some(Value::String(id)) if !id.is_empty() => id.clone(),
                Some(Value::Number(id)) => id.to_string(),
                _ => return Err("no `principalId`".to_owned()),
            };
            let document = answer.get("policyDocument").ok_or("no `policyDocument`")?;
            (Some(principal_id), Ruling::Policy(Policy::parse(document)?), plain)
        }
    };
    let usage_key = match answer.remove("usageIdentifierKey") {
        None | Some(Value::Null) => None,
        Some(Value::String(key)) => Some(key),
        Some(_) => return Err("a `usageIdentifierKey` that is no text".to_owned()),
    };
    let context = if plain { plain_context(given)? } else { given };
    Ok(Decision { principal_id, ruling, context, usage_key, bytes })
}

/// Texts, numbers and truth values, all as texts.
fn plain_context(given: Map<String, Value>) -> Result<Map<String, Value>, String> {
    let mut context = Map::new();
    for (name, value) in given {
        let text = match value {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            Value::Null => continue,
            Value::Array(_) | Value::Object(_) => {
                return Err(format!(
                    "a `context` whose `{name}` is neither text, number nor true or false\n\
                     hint: pass it as text, with `json.dumps(...)`"
                ));
            }
        };
        context.insert(name, Value::String(text));
    }
    Ok(context)
}

/// Whether a decision, a former one perhaps, lets this request pass.
pub(super) fn decide(
    decision: &Decision,
    method_arn: &str,
    kind: Kind,
    authorizer: &str,
    latency: u64,
) -> Result<Admitted, GatewayError> {
    let verdict = match &decision.ruling {
        Ruling::Simple(true) => Verdict::Allowed,
        Ruling::Simple(false) => Verdict::Denied,
        Ruling::Policy(policy) => policy.decide(method_arn),
    };
    if verdict != Verdict::Allowed {
        let explicit = verdict == Verdict::Denied;
        let how = match (&decision.ruling, explicit) {
            (Ruling::Simple(_), _) => "says no".to_owned(),
            (_, true) => format!("denies {}", escape_control(method_arn)),
            (_, false) => format!("does not allow {}", escape_control(method_arn)),
        };
        let reason = format!("authorizer {authorizer} {how}");
        return Err(match kind {
            Kind::Http => GatewayError::Forbidden(reason),
            _ => GatewayError::AccessDenied { explicit, reason },
        });
    }
    let identity = Identity::Lambda {
        principal_id: decision.principal_id.clone(),
        context: decision.context.clone(),
        latency,
    };
    Ok(Admitted { identity, usage_key: decision.usage_key.clone(), pretended: false })
}

impl Refusal {
    fn into_error(self, authorizer: &str) -> GatewayError {
        match self {
            Self::Unauthorized => GatewayError::Unauthorized {
                reason: format!("authorizer {authorizer} {self}"),
                www_authenticate: None,
            },
            Self::Failed { .. } | Self::Malformed { .. } => GatewayError::AuthorizerFailed {
                configuration: matches!(self, Self::Malformed { .. }),
                reason: format!("authorizer {authorizer}: {self}"),
            },
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unauthorized => write!(formatter, "raised `Unauthorized`"),
            Self::Failed { reason } | Self::Malformed { reason } => write!(formatter, "{reason}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::fixture;
    use super::*;

    const PLAIN: Form = Form::Policy { plain: true };
    const ARN: &str = "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3d4e5/prod/GET/items/7";

    fn answer(form: Form, value: Value) -> Result<Decision, String> {
        decision(&serde_json::to_vec(&value).unwrap(), form)
    }

    fn allowing(resource: &str) -> Value {
        json!({
            "principalId": "user-1",
            "policyDocument": { "Version": "2012-10-17", "Statement": [
                { "Action": "execute-api:Invoke", "Effect": "Allow", "Resource": resource }
            ] },
            "context": { "role": "admin", "level": 3, "active": true, "nothing": null },
            "usageIdentifierKey": "key-1",
        })
    }

    #[test]
    fn a_policy_lets_pass_what_it_allows_and_nothing_else() {
        let decision = answer(PLAIN, allowing("*/prod/GET/items/*")).unwrap();
        let admitted = decide(&decision, ARN, Kind::Rest, "auth", 12).unwrap();
        assert_eq!(admitted.usage_key.as_deref(), Some("key-1"));
        let Identity::Lambda { principal_id, context, latency } = admitted.identity else { panic!() };
        assert_eq!((principal_id.as_deref(), latency), (Some("user-1"), 12));
        assert_eq!(Value::Object(context), json!({ "role": "admin", "level": "3", "active": "true" }));

        let other = ARN.replace("GET", "POST");
        let refused = decide(&decision, &other, Kind::Rest, "auth", 0).err();
        assert!(matches!(refused, Some(GatewayError::AccessDenied { explicit: false, .. })));
        let refused = decide(&decision, &other, Kind::Http, "auth", 0).err();
        assert!(matches!(refused, Some(GatewayError::Forbidden(_))));

        let denying = serde_json::to_string(&allowing("*")).unwrap().replace("\"Allow\"", "\"Deny\"");
        let decision = answer(PLAIN, serde_json::from_str(&denying).unwrap()).unwrap();
        let refused = decide(&decision, ARN, Kind::Rest, "auth", 0).err();
        assert!(matches!(refused, Some(GatewayError::AccessDenied { explicit: true, .. })));
    }

    #[test]
    fn a_simple_answer_is_yes_or_no() {
        let roles = json!({ "roles": ["a", "b"], "level": 3 });
        let yes = answer(Form::Simple, json!({ "isAuthorized": true, "context": roles })).unwrap();
        let admitted = decide(&yes, ARN, Kind::Http, "auth", 0).unwrap();
        let Identity::Lambda { principal_id, context, .. } = admitted.identity else { panic!() };
        assert_eq!((principal_id, Value::Object(context)), (None, roles));
        let no = answer(Form::Simple, json!({ "isAuthorized": false })).unwrap();
        assert!(matches!(decide(&no, ARN, Kind::Http, "auth", 0), Err(GatewayError::Forbidden(_))));
        for wrong in
            [json!({}), json!({ "isAuthorized": "true" }), json!({ "isAuthorized": 1 }), allowing("*")]
        {
            assert!(answer(Form::Simple, wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn answers_that_are_not_understood() {
        let with = |name: &str, value: Value| {
            let mut answer = allowing("*");
            answer[name] = value;
            answer
        };
        for wrong in [
            json!(null),
            json!("Allow"),
            json!([]),
            json!({}),
            with("principalId", Value::Null),
            with("principalId", json!("")),
            with("policyDocument", Value::Null),
            with("policyDocument", json!({})),
            with("context", json!([])),
            with("context", json!({ "roles": ["a"] })),
            with("context", json!({ "role": { "a": 1 } })),
            with("usageIdentifierKey", json!(7)),
            with("context", json!({ "long": "x".repeat(ANSWER_LIMIT) })),
        ] {
            assert!(answer(PLAIN, wrong.clone()).is_err(), "{wrong}");
        }
        let http = Form::Policy { plain: false };
        assert!(answer(http, with("context", json!({ "roles": ["a"] }))).is_ok());
    }

    #[test]
    fn what_the_function_does_instead_of_answering() {
        let failed = |payload: Value, failure| Outcome::Failed {
            payload: serde_json::to_vec(&payload).unwrap(),
            failure,
        };
        let raised = |message: &str| {
            failed(json!({ "errorMessage": message, "errorType": "Exception" }), Failure::Raised)
        };
        assert_eq!(read("f", &raised("Unauthorized"), PLAIN), Err(Refusal::Unauthorized));
        for other in [
            raised("unauthorized"),
            raised("Unauthorized."),
            failed(json!({ "errorMessage": "Unauthorized" }), Failure::TimedOut),
        ] {
            assert!(matches!(read("f", &other, PLAIN), Err(Refusal::Failed { .. })), "{other:?}");
        }
        let returned = Outcome::Returned { payload: b"{".to_vec(), raw: false };
        assert!(matches!(read("f", &returned, PLAIN), Err(Refusal::Malformed { .. })));
        let error = Refusal::Malformed { reason: "x".into() }.into_error("auth");
        assert!(matches!(error, GatewayError::AuthorizerFailed { configuration: true, .. }));
        let error = Refusal::Failed { reason: "x".into() }.into_error("auth");
        assert!(matches!(error, GatewayError::AuthorizerFailed { configuration: false, .. }));
    }

    struct Case {
        kind: Kind,
        token: bool,
        sources: Vec<IdentitySource>,
        validation: Option<&'static str>,
        ttl: u64,
    }

    fn prepared(case: &Case, headers: &[(&str, &str)]) -> Result<Asked, &'static str> {
        let function = LambdaAuthorizer {
            function: "f".into(),
            identity: case.sources.clone(),
            validation: case.validation.map(str::to_owned),
            payload: PayloadVersion::V1,
            simple_responses: false,
        };
        let kind = match case.token {
            true => AuthorizerKind::Token(function.clone()),
            false => AuthorizerKind::Request(function.clone()),
        };
        let authorizer = Authorizer { name: "auth".into(), kind, ttl: Duration::from_secs(case.ttl) };
        let matched = fixture::matched(fixture::api(case.kind, "prod", &["GET /items"]), "/items");
        let request = fixture::request("GET /items", headers);
        prepare(&request, &matched, &fixture::site(), &authorizer, &function).map_err(|error| match error {
            GatewayError::Unauthorized { .. } => "401",
            GatewayError::AuthorizerFailed { configuration: true, .. } => "500",
            _ => "?",
        })
    }

    #[test]
    fn who_is_refused_before_the_function_is_asked() {
        let header = |name: &str| IdentitySource::Header(name.into());
        let given: &[(&str, &str)] = &[("authorization", "Bearer abc")];
        let two = || vec![header("authorization"), header("x-tenant")];
        let case = |kind, token, sources, ttl| Case { kind, token, sources, validation: None, ttl };
        for (case, headers, expected, kept) in [
            (case(Kind::Rest, true, vec![], 300), given, Ok(vec!["Bearer abc"]), true),
            (case(Kind::Rest, true, vec![], 0), given, Ok(vec!["Bearer abc"]), false),
            (case(Kind::Rest, true, vec![], 0), &[], Err("401"), false),
            (case(Kind::Rest, false, two(), 300), given, Err("401"), false),
            (case(Kind::Rest, false, two(), 0), given, Ok(vec![]), false),
            (case(Kind::Rest, false, vec![], 300), &[], Ok(vec![]), false),
            (case(Kind::Http, false, two(), 0), given, Err("401"), false),
            (case(Kind::Http, false, vec![header("authorization")], 9), given, Ok(vec!["Bearer abc"]), true),
            (case(Kind::WebSocket, false, two(), 300), given, Err("401"), false),
            (
                case(Kind::WebSocket, false, vec![header("authorization")], 9),
                given,
                Ok(vec!["Bearer abc"]),
                false,
            ),
        ] {
            let asked = prepared(&case, headers);
            let values = asked.as_ref().map(|asked| asked.values.iter().map(String::as_str).collect());
            assert_eq!(values.map_err(|error| *error), expected);
            assert_eq!(asked.is_ok_and(|asked| asked.key.is_some()), kept);
        }
    }

    #[test]
    fn a_token_may_have_to_look_like_one() {
        for (pattern, expected) in [
            (r"Bearer [a-z]+", Ok(())),
            (r"Bearer .{3}", Ok(())),
            (r"abc", Err("401")),
            (r"Bearer|abc", Err("401")),
            (r"(", Err("500")),
            (r"(?:(?:a{1000}){1000}){1000}", Err("500")),
        ] {
            let case =
                Case { kind: Kind::Rest, token: true, sources: vec![], validation: Some(pattern), ttl: 300 };
            let asked = prepared(&case, &[("authorization", "Bearer abc")]);
            assert_eq!(asked.map(|_| ()), expected, "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_is_too_strange(payload in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decision(&payload, PLAIN);
            let _ = decision(&payload, Form::Simple);
        }

        #[test]
        fn no_token_is_too_strange(token in "[ -~]{0,60}", pattern in "[a-z(|)*+?\\[\\]{}0-9]{0,12}") {
            let _ = matches_whole(&pattern, &token);
        }
    }
}

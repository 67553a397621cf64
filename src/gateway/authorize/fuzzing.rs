//! Credentials of all kinds, and what authorizers answer, thrown at what decides about them.

use std::cell::RefCell;

use serde_json::Value;

use super::event::Question;
use super::key_set::{self, KeyError};
use super::lambda::{self, Form};
use super::policy::{Policy, Verdict};
use super::{event, iam, identity, jwt, method_arn, parameters};
use crate::api::{IdentitySource, JwtIssuer, Kind};
use crate::aws::credentials::{self, Credential, Credentials};
use crate::gateway::Site;
use crate::gateway::fuzzing::{matched, request, site};
use crate::gateway::request::{Matched, Request};
use crate::gateway::routes::wildcard;

thread_local! {
    static RUNTIME: RefCell<tokio::runtime::Runtime> =
        RefCell::new(tokio::runtime::Builder::new_current_thread().build().unwrap());
}

pub fn access(raw: &[u8], answer: &[u8], keys: &[u8], profiles: &[u8]) {
    let site = site();
    let profiles = String::from_utf8_lossy(profiles);
    credentials::parse(&profiles);
    answers(answer, &site);
    let keys = key_set::parse(keys).unwrap_or_default();
    let Some(request) = request(raw) else { return };
    let known = Credential {
        user: "somebody".to_owned(),
        access_key: "AKIAIOSFODNN7EXAMPLE".to_owned(),
        secret: "a secret that no input holds".to_owned(),
        ..Credential::default()
    };
    let known = Credentials::with(None, Some(known));
    for kind in [Kind::Rest, Kind::Http, Kind::FunctionUrl] {
        let matched = matched(kind, &request);
        // Nobody signs without the secret.
        assert!(iam::verify(&request, &matched, &known, &site).is_err());
        let header = IdentitySource::Header("Authorization".to_owned());
        let query = IdentitySource::Query("token".to_owned());
        for source in [header, query] {
            let sources = [source];
            identity::all(&sources[0], &request, &matched, &site);
            let Some(token) = identity::token(&sources, &request, &matched, &site) else { continue };
            verify_token(&token, &keys, &request);
            let pattern = profiles.lines().next().unwrap_or_default();
            let _ = lambda::matches_whole(pattern, &token);
        }
        let _ = parameters::check(&request, &matched);
    }
}

/// With whatever keys the input brings; without an end that is a number, no token is taken.
fn verify_token(token: &str, keys: &key_set::Set, request: &Request) {
    let audience = vec!["web".to_owned()];
    let issuer = "https://issuer.example.com".to_owned();
    let issuer = JwtIssuer { issuer, jwks: None, audience, identity: Vec::new() };
    let find = |kid: &str| {
        let key = keys.get(kid).cloned();
        async move { key.ok_or(KeyError { description: "no such kid", reason: String::new() }) }
    };
    let now = request.received.as_second();
    let verified = RUNTIME.with_borrow(|runtime| runtime.block_on(jwt::verify(token, &issuer, now, find)));
    if let Ok(claims) = verified {
        assert!(claims.get("exp").is_some_and(|end| end.as_f64().is_some()));
        let scopes = jwt::scopes(&claims);
        let _ = jwt::check_scopes(&claims, &scopes, &["read".to_owned()], true);
    }
}

/// What an authorizer may answer, and what a policy comes to.
fn answers(answer: &[u8], site: &Site) {
    let arn = format!("arn:aws:execute-api:{}:{}:a1b2c3d4e5/prod/GET/items/7", site.region, site.account);
    for form in [Form::Simple, Form::Policy { plain: true }, Form::Policy { plain: false }] {
        let Ok(decision) = lambda::decision(answer, form) else { continue };
        for kind in [Kind::Rest, Kind::Http] {
            let _ = lambda::decide(&decision, &arn, kind, "authorizer", 0);
        }
    }
    let Ok(document) = serde_json::from_slice::<Value>(answer) else { return };
    for document in [&document, &document["policyDocument"]] {
        let Ok(policy) = Policy::parse(document) else { continue };
        // Nobody passes whom no statement allows.
        if policy.decide(&arn) == Verdict::Allowed {
            let statement = &document["Statement"];
            let all = statement.as_array().map_or(std::slice::from_ref(statement), Vec::as_slice);
            assert!(all.iter().any(|one| one["Effect"] == "Allow"), "{document}");
            let denies_all = |one: &Value| {
                one["Effect"] == "Deny"
                    && one["Resource"]
                        .as_str()
                        .is_some_and(|pattern| wildcard(pattern.as_bytes(), arn.as_bytes()))
                    && one["Action"] == "*"
            };
            assert!(!all.iter().any(denies_all), "{document}");
        }
    }
}

/// What an authorizer function is asked about this request.
pub fn questions(request: &Request, matched: &Matched, site: &Site) {
    let method_arn = method_arn(request, matched, site);
    let question = Question { request, matched, site, method_arn: &method_arn, connect: None };
    let identity = [request.user_agent().to_owned()];
    let token = identity[0].clone();
    for asked in [
        event::token(&question, token),
        event::rest(&question),
        event::http_v1(&question, &identity),
        event::http_v2(&question, &identity),
        event::web_socket(&question),
    ] {
        serde_json::from_slice::<serde::de::IgnoredAny>(&asked).expect("a question is JSON");
    }
}

//! JSON Web Tokens: signature, claims and scopes, for HTTP APIs' JWT authorizers and REST APIs' user
//! pool authorizers.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use super::super::error::GatewayError;
use super::identity::TOKEN_LIMIT;
use super::key_set::{Key, KeyError};
use crate::api::{JwtIssuer, Kind};
use crate::defences;

/// How far the issuer's clock may be from ours, in seconds.
const SKEW: f64 = 5.0;

pub type Claims = Map<String, Value>;

/// Why a token does not convince.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// For the client; `None`: there was no token.
    description: Option<String>,
    /// For the terminal.
    reason: String,
}

impl Refusal {
    pub fn missing(reason: String) -> Self {
        Self { description: None, reason }
    }

    fn invalid(description: impl Into<String>) -> Self {
        let description = description.into();
        Self { reason: description.clone(), description: Some(description) }
    }

    fn because(description: &str, reason: impl Into<String>) -> Self {
        Self { description: Some(description.to_owned()), reason: reason.into() }
    }

    pub fn at(mut self, authorizer: &str) -> Self {
        self.reason = format!("authorizer {authorizer}: {}", self.reason);
        self
    }

    /// HTTP APIs say in a header what is wrong.
    pub fn into_error(self, kind: Kind) -> GatewayError {
        let header = match self.description {
            None => "Bearer".to_owned(),
            Some(description) => {
                format!(r#"Bearer scope="" error="invalid_token" error_description="{description}""#)
            }
        };
        let www_authenticate = (kind == Kind::Http).then_some(header);
        GatewayError::Unauthorized { reason: self.reason, www_authenticate }
    }
}

impl From<KeyError> for Refusal {
    fn from(error: KeyError) -> Self {
        Self::because(error.description, error.reason)
    }
}

/// The claims of a token that the issuer has signed and that is meant for this API, now.
/// `find`: the issuer's key of this id.
pub async fn verify<F>(
    token: &str,
    issuer: &JwtIssuer,
    now: i64,
    find: impl FnOnce(&str) -> F,
) -> Result<Claims, Refusal>
where
    F: Future<Output = Result<Key, KeyError>>,
{
    if token.len() > TOKEN_LIMIT {
        return Err(Refusal::invalid("the token is too long"));
    }
    let Some((message, signature)) = token.rsplit_once('.') else { return Err(segments()) };
    let Some((header, payload)) = message.split_once('.') else { return Err(segments()) };
    if payload.contains('.') {
        return Err(segments());
    }
    let header = object(header).ok_or_else(|| Refusal::invalid("the token's header is malformed"))?;
    let claims = object(payload).ok_or_else(|| Refusal::invalid("the token's claims are malformed"))?;
    let algorithm = algorithm(&header)?;
    let kid = match header.get("kid") {
        Some(Value::String(kid)) if !kid.is_empty() => kid,
        _ => {
            return Err(Refusal::because(
                "the token has no kid",
                "the token's header has no `kid`, by which API Gateway finds the key",
            ));
        }
    };
    let key = find(kid).await?;
    if key.algorithm.is_some_and(|only| only != algorithm) && !defences::off("algorithm-of-keys") {
        return Err(Refusal::invalid(format!("signing method {algorithm:?} is invalid")));
    }
    let signed = jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key.key, algorithm);
    if !signed.unwrap_or(false) {
        return Err(Refusal::because(
            "crypto/rsa: verification error",
            format!("the token's signature was not made with the issuer's key `{kid}`"),
        ));
    }
    check(&claims, issuer, now as f64)?;
    Ok(claims)
}

fn segments() -> Refusal {
    Refusal::invalid("token contains an invalid number of segments")
}

fn object(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&BASE64.decode(part).ok()?).ok()
}

/// RSA only, as on AWS; what a token says about itself decides nothing else.
fn algorithm(header: &Map<String, Value>) -> Result<Algorithm, Refusal> {
    if header.contains_key("crit") {
        return Err(Refusal::invalid("the token has critical extensions"));
    }
    let name = header.get("alg").and_then(Value::as_str).unwrap_or_default();
    Ok(match name {
        "RS256" => Algorithm::RS256,
        "RS384" => Algorithm::RS384,
        "RS512" => Algorithm::RS512,
        "PS256" => Algorithm::PS256,
        "PS384" => Algorithm::PS384,
        "PS512" => Algorithm::PS512,
        _ => {
            let shown: String = name.chars().filter(char::is_ascii_alphanumeric).take(16).collect();
            return Err(Refusal::because(
                &format!("signing method {shown} is invalid"),
                format!(
                    "the token is signed with {shown:?}; API Gateway takes RSA signatures only (RS256, ...)"
                ),
            ));
        }
    })
}

fn check(claims: &Claims, issuer: &JwtIssuer, now: f64) -> Result<(), Refusal> {
    let shown = |name: &str| match claims.get(name) {
        None => "absent".to_owned(),
        Some(value) => value.to_string().chars().take(200).collect(),
    };
    if claims.get("iss").and_then(Value::as_str) != Some(&issuer.issuer) {
        let reason = format!("the token's `iss` is {}, the authorizer's {:?}", shown("iss"), issuer.issuer);
        return Err(Refusal::because("issuer does not match", reason));
    }
    if !issuer.audience.is_empty() && !has_audience(claims, &issuer.audience) {
        let claim = if claims.contains_key("aud") { "aud" } else { "client_id" };
        let reason = format!(
            "the token's `{claim}` is {}, the authorizer's audience {}",
            shown(claim),
            issuer.audience.join(", ")
        );
        return Err(Refusal::because("the token does not have a valid audience", reason));
    }
    let time = |name: &str| claims.get(name).map(|value| value.as_f64());
    match time("exp") {
        Some(Some(end)) if end + SKEW > now => {}
        Some(Some(end)) => {
            let reason = format!("the token has expired {:.0} s ago", now - end);
            return Err(Refusal::because("the token has expired", reason));
        }
        _ => {
            return Err(Refusal::because("the token has expired", "the token has no `exp` that is a number"));
        }
    }
    for (name, description) in
        [("nbf", "the token is not valid yet"), ("iat", "the token was issued in the future")]
    {
        match time(name) {
            None => {}
            Some(Some(start)) if start <= now + SKEW => {}
            _ => {
                return Err(Refusal::because(
                    description,
                    format!("the token's `{name}` is {}", shown(name)),
                ));
            }
        }
    }
    Ok(())
}

/// `aud`, or `client_id` where there is no `aud`.
fn has_audience(claims: &Claims, audience: &[String]) -> bool {
    let wanted = |value: &Value| value.as_str().is_some_and(|value| audience.iter().any(|one| one == value));
    match claims.get("aud") {
        Some(Value::Array(all)) => all.iter().any(wanted),
        Some(one) => wanted(one),
        None => claims.get("client_id").is_some_and(wanted),
    }
}

/// All scopes of a token: `scope`, or `scp`.
pub fn scopes(claims: &Claims) -> Vec<String> {
    let texts = |value: &Value| -> Vec<String> {
        match value {
            Value::String(text) => text.split_whitespace().map(str::to_owned).collect(),
            Value::Array(all) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        }
    };
    claims.get("scope").or_else(|| claims.get("scp")).map(texts).unwrap_or_default()
}

/// One of the route's scopes is enough. The error is for people.
pub fn check_scopes(
    claims: &Claims,
    scopes: &[String],
    wanted: &[String],
    user_pool: bool,
) -> Result<(), String> {
    if wanted.is_empty() {
        return match claims.get("token_use").and_then(Value::as_str) {
            Some("access") if user_pool => Err("it takes an identity token where the method has no scopes, \
                                                and this is an access token"
                .to_owned()),
            _ => Ok(()),
        };
    }
    if scopes.iter().any(|scope| wanted.contains(scope)) {
        return Ok(());
    }
    let given = &scopes[..scopes.len().min(20)];
    Err(format!("the token needs one of the scopes {wanted:?}; it has {given:?}"))
}

/// As an HTTP API hands them on: everything is text, and what is null is left out.
pub fn claims(claims: &Claims) -> Claims {
    let told = claims.iter().filter(|(_, value)| !value.is_null());
    told.map(|(name, value)| (name.clone(), Value::String(as_text(value, " ", true)))).collect()
}

/// As a user pool authorizer hands them on: lists with commas, and two of the times as dates.
pub fn cognito_claims(claims: &Claims) -> Claims {
    let told = claims.iter().filter(|(_, value)| !value.is_null());
    told.map(|(name, value)| {
        let date = match name.as_str() {
            "exp" | "iat" => value.as_i64().and_then(date),
            _ => None,
        };
        (name.clone(), Value::String(date.unwrap_or_else(|| as_text(value, ",", false))))
    })
    .collect()
}

/// `Tue Nov 22 18:57:16 UTC 2016`
fn date(seconds: i64) -> Option<String> {
    let time = Timestamp::from_second(seconds).ok()?.to_zoned(TimeZone::UTC);
    Some(time.strftime("%a %b %d %H:%M:%S UTC %Y").to_string())
}

fn as_text(value: &Value, separator: &str, brackets: bool) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(all) => {
            let texts: Vec<String> = all.iter().map(|one| as_text(one, separator, brackets)).collect();
            let joined = texts.join(separator);
            if brackets { format!("[{joined}]") } else { joined }
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
pub mod tests {
    use std::sync::LazyLock;

    use jsonwebtoken::EncodingKey;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_764_025_920;
    const ISSUER: &str = "https://issuer.example.com";

    /// Private key and public key set, made for this run.
    pub static KEYS: LazyLock<(EncodingKey, Value)> = LazyLock::new(|| {
        let pair =
            rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
        let pkcs8 = pair.serialize_der();
        // Version, algorithm, and then the key itself as it is without its wrapping.
        let key = EncodingKey::from_rsa_der(&pkcs8[26..]);
        let jwk = jsonwebtoken::jwk::Jwk::from_encoding_key(&key, Algorithm::RS256).unwrap();
        let mut jwk = serde_json::to_value(&jwk).unwrap();
        jwk["kid"] = json!("k1");
        jwk.as_object_mut().unwrap().remove("alg");
        (key, json!({ "keys": [jwk] }))
    });

    pub fn signed(header: Value, claims: Value) -> String {
        let part = |value: &Value| BASE64.encode(serde_json::to_vec(value).unwrap());
        let message = format!("{}.{}", part(&header), part(&claims));
        let algorithm = match header["alg"].as_str() {
            Some("PS256") => Algorithm::PS256,
            Some("RS512") => Algorithm::RS512,
            _ => Algorithm::RS256,
        };
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &KEYS.0, algorithm).unwrap();
        format!("{message}.{signature}")
    }

    fn header() -> Value {
        json!({ "alg": "RS256", "kid": "k1", "typ": "JWT" })
    }

    fn good() -> Value {
        json!({ "iss": ISSUER, "sub": "user-1", "aud": "web", "exp": NOW + 3600, "iat": NOW, "nbf": NOW })
    }

    fn with(name: &str, value: Value) -> Value {
        let mut claims = good();
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value,
        }
        claims
    }

    fn issuer() -> JwtIssuer {
        let audience = vec!["web".into(), "app".into()];
        JwtIssuer { issuer: ISSUER.into(), jwks: None, audience, identity: Vec::new() }
    }

    fn found(kid: &str) -> Result<Key, KeyError> {
        let keys = super::super::key_set::parse(&serde_json::to_vec(&KEYS.1).unwrap()).unwrap();
        keys.get(kid).cloned().ok_or(KeyError { description: "no such kid", reason: "no such kid".into() })
    }

    async fn verified(token: &str) -> Result<Claims, String> {
        verify(token, &issuer(), NOW, |kid| std::future::ready(found(kid)))
            .await
            .map_err(|refusal| refusal.description.unwrap())
    }

    #[tokio::test]
    async fn a_good_token_is_taken() {
        for alg in ["RS256", "RS512", "PS256"] {
            let token = signed(json!({ "alg": alg, "kid": "k1" }), good());
            assert_eq!(verified(&token).await.unwrap()["sub"], "user-1", "{alg}");
        }
        for claims in [
            with("aud", json!(["x", "app"])),
            with("nbf", Value::Null),
            with("iat", Value::Null),
            with("exp", json!(NOW - 4)),
            with("nbf", json!(NOW + 5)),
            with("exp", json!(NOW as f64 + 0.5)),
        ] {
            assert!(verified(&signed(header(), claims.clone())).await.is_ok(), "{claims}");
        }
        let mut machine = with("aud", Value::Null);
        machine["client_id"] = json!("app");
        assert!(verified(&signed(header(), machine)).await.is_ok());
    }

    #[tokio::test]
    async fn claims_that_do_not_fit() {
        let audience = "the token does not have a valid audience";
        let expired = "the token has expired";
        let mut both = with("aud", json!("x"));
        both["client_id"] = json!("web");
        for (claims, expected) in [
            (with("iss", json!("https://issuer.example.com/")), "issuer does not match"),
            (with("iss", Value::Null), "issuer does not match"),
            (with("aud", json!("other")), audience),
            (with("aud", json!([])), audience),
            (with("aud", Value::Null), audience),
            (both, audience),
            (with("exp", json!(NOW - 5)), expired),
            (with("exp", json!("tomorrow")), expired),
            (with("exp", Value::Null), expired),
            (with("nbf", json!(NOW + 6)), "the token is not valid yet"),
            (with("iat", json!(NOW + 60)), "the token was issued in the future"),
            (with("iat", json!("now")), "the token was issued in the future"),
        ] {
            assert_eq!(verified(&signed(header(), claims.clone())).await.unwrap_err(), expected, "{claims}");
        }
    }

    #[tokio::test]
    async fn tokens_that_nobody_signed() {
        let token = signed(header(), good());
        let parts: Vec<&str> = token.split('.').collect();
        let part = |value: Value| BASE64.encode(serde_json::to_vec(&value).unwrap());
        let forged = part(with("sub", json!("admin")));
        let unsigned = part(json!({ "alg": "none", "kid": "k1" }));
        let hmac = part(json!({ "alg": "HS256", "kid": "k1" }));
        let (head, body, signature) = (parts[0], parts[1], parts[2]);
        let mismatch = "crypto/rsa: verification error";
        let malformed = "the token's header is malformed";
        for (token, expected) in [
            (format!("{head}.{forged}.{signature}"), mismatch),
            (format!("{head}.{body}."), mismatch),
            (format!("{head}.{body}.AAAA"), mismatch),
            (format!("{head}.{body}.!!"), mismatch),
            (format!("{unsigned}.{body}."), "signing method none is invalid"),
            (format!("{unsigned}.{body}.{signature}"), "signing method none is invalid"),
            (format!("{hmac}.{body}.{signature}"), "signing method HS256 is invalid"),
            (signed(json!({ "alg": "RS256" }), good()), "the token has no kid"),
            (signed(json!({ "alg": "RS256", "kid": 1 }), good()), "the token has no kid"),
            (signed(json!({ "alg": "RS256", "kid": "k2" }), good()), "no such kid"),
            (
                signed(json!({ "alg": "RS256", "kid": "k1", "crit": ["x"] }), good()),
                "the token has critical extensions",
            ),
            ("not-a-token".to_owned(), "token contains an invalid number of segments"),
            (format!("{token}.x"), "token contains an invalid number of segments"),
            ("..".to_owned(), malformed),
            ("a.b.c".to_owned(), malformed),
            (format!("{head}.e30x.{signature}"), "the token's claims are malformed"),
            ("x".repeat(TOKEN_LIMIT + 1), "the token is too long"),
        ] {
            assert_eq!(verified(&token).await.unwrap_err(), expected, "{token}");
        }
    }

    #[tokio::test]
    async fn a_key_for_another_algorithm_is_not_used() {
        let token = signed(header(), good());
        let only = |_: &str| {
            let key = Key { algorithm: Some(Algorithm::PS256), ..found("k1").unwrap() };
            std::future::ready(Ok(key))
        };
        let refusal = verify(&token, &issuer(), NOW, only).await.unwrap_err();
        assert_eq!(refusal.reason, "signing method RS256 is invalid");
    }

    #[test]
    fn what_the_client_is_told() {
        let header = |refusal: Refusal, kind| match refusal.into_error(kind) {
            GatewayError::Unauthorized { www_authenticate, .. } => www_authenticate,
            _ => panic!(),
        };
        assert_eq!(header(Refusal::missing("x".into()), Kind::Http).as_deref(), Some("Bearer"));
        assert_eq!(
            header(Refusal::because("the token does not have a valid audience", "x"), Kind::Http).as_deref(),
            Some(
                "Bearer scope=\"\" error=\"invalid_token\" \
                 error_description=\"the token does not have a valid audience\""
            )
        );
        assert_eq!(header(Refusal::invalid("x"), Kind::Rest), None);
    }

    #[test]
    fn one_scope_is_enough() {
        let of = |claims: Value| scopes(claims.as_object().unwrap());
        assert_eq!(of(json!({ "scope": "a b" })), ["a", "b"]);
        assert_eq!(of(json!({ "scp": ["a", "b"] })), ["a", "b"]);
        assert_eq!(of(json!({ "scp": "a" })), ["a"]);
        assert!(of(json!({ "scope": 7 })).is_empty());
        let texts = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
        for (given, wanted, user_pool, token_use, fits) in [
            (&["a", "b"][..], &["b", "c"][..], false, "access", true),
            (&["a"], &["b"], false, "access", false),
            (&["a"], &["aa"], false, "access", false),
            (&[], &["b"], true, "access", false),
            (&[], &[], false, "access", true),
            (&[], &[], true, "access", false),
            (&[], &[], true, "id", true),
        ] {
            let claims = json!({ "token_use": token_use });
            let result = check_scopes(claims.as_object().unwrap(), &texts(given), &texts(wanted), user_pool);
            assert_eq!(result.is_ok(), fits, "{given:?} {wanted:?}");
        }
    }

    #[test]
    fn claims_are_texts() {
        let given = json!({
            "aud": "web", "exp": 1_479_841_036, "email_verified": true, "groups": ["admin", "poweruser"],
            "address": { "city": "x" }, "nothing": null, "nested": [[1], "a"],
        });
        let given = given.as_object().unwrap();
        assert_eq!(
            Value::Object(claims(given)),
            json!({
                "aud": "web", "exp": "1479841036", "email_verified": "true", "groups": "[admin poweruser]",
                "address": "{\"city\":\"x\"}", "nested": "[[1] a]",
            })
        );
        let cognito = cognito_claims(given);
        assert_eq!(cognito["exp"], "Tue Nov 22 18:57:16 UTC 2016");
        assert_eq!(cognito["groups"], "admin,poweruser");
    }

    proptest! {
        #[test]
        fn no_token_is_too_strange(token in "\\PC{0,80}") {
            let issuer = issuer();
            let checked = verify(&token, &issuer, NOW, |kid| std::future::ready(found(kid)));
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            let polled = Future::poll(std::pin::pin!(checked), &mut context);
            prop_assert!(matches!(polled, std::task::Poll::Ready(Err(_))));
        }

        #[test]
        fn no_claims_are_too_strange(exp in any::<f64>(), text in "\\PC{0,40}") {
            let mut given = good();
            given["exp"] = json!(exp);
            given["aud"] = json!([text, 1, null]);
            given["scope"] = json!(text);
            let given = given.as_object().unwrap();
            let _ = check(given, &issuer(), NOW as f64);
            let _ = (scopes(given), claims(given), cognito_claims(given));
        }
    }
}

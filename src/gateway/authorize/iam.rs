//! AWS_IAM: whether a request carries a signature (SigV4) of somebody who is known.
//!
//! The request is signed anew, with the headers that the client says it signed, and the signatures
//! are compared. Whoever has a known key may do everything: IAM policies are not here.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials as SigningCredentials;
use aws_sigv4::http_request::{
    SessionTokenMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};

use super::super::Site;
use super::super::error::GatewayError;
use super::super::payload::query;
use super::super::request::{IamUser, Matched, Request};
use super::super::routes::decode;
use super::credentials::{Credential, Credentials};
use super::{hex, identity, same_secret};
use crate::api::Kind;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// How far the client's clock may be from ours, in seconds.
const SKEW: i64 = 5 * 60;
/// A week.
const LONGEST: i64 = 7 * 24 * 60 * 60;
const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. \
     Check your AWS Secret Access Key and signing method. Consult the service documentation for details.";
const INVALID_TOKEN: &str = "The security token included in the request is invalid.";
/// Of a signed query.
const PARAMETERS: [&str; 7] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-Security-Token",
    "X-Amz-Signature",
    "X-Amz-SignedHeaders",
];

/// What a client says about its signature.
#[derive(Debug, PartialEq, Eq)]
struct Claim {
    access_key: String,
    date: String,
    region: String,
    service: String,
    terminator: String,
    signed_headers: Vec<String>,
    signature: String,
    time: Timestamp,
    /// The time as it was sent.
    sent: String,
    session_token: Option<String>,
    /// In the query: for how many seconds it is valid.
    expires: Option<i64>,
}

pub fn verify(
    request: &Request,
    matched: &Matched,
    credentials: &Credentials,
    site: &Site,
) -> Result<IamUser, GatewayError> {
    let service = if matched.kind() == Kind::FunctionUrl { "lambda" } else { "execute-api" };
    let invalid = |message: String| GatewayError::InvalidSignature { message };
    let claim = match claim(request) {
        None => return Err(GatewayError::MissingAuthenticationToken),
        Some(claim) => claim.map_err(invalid)?,
    };
    check(&claim, service, request.received).map_err(invalid)?;
    let credential = credentials.find(&claim.access_key).map_err(|unknown| {
        tracing::warn!("{} is refused: {}", matched.route().key(), unknown.0);
        invalid(INVALID_TOKEN.to_owned())
    })?;
    let same_token = match (&credential.session_token, &claim.session_token) {
        (None, None) => true,
        (Some(known), Some(given)) => same_secret(known.as_bytes(), given.as_bytes()),
        _ => false,
    };
    if !same_token {
        return Err(invalid(INVALID_TOKEN.to_owned()));
    }
    let signed = signature(request, &claim, &credential, service);
    if !signed.is_some_and(|signature| same_secret(signature.as_bytes(), claim.signature.as_bytes())) {
        if identity::header(request, "x-amz-content-sha256").as_deref() == Some("UNSIGNED-PAYLOAD") {
            tracing::warn!(
                "{} is refused: neither API Gateway nor Lambda takes an unsigned payload; sign the body's SHA-256",
                matched.route().key()
            );
        }
        return Err(invalid(MISMATCH.to_owned()));
    }
    Ok(user(&credential.user, &credential.access_key, site))
}

/// The user of this name, as IAM would call it.
pub fn user(name: &str, access_key: &str, site: &Site) -> IamUser {
    let account = &site.account;
    IamUser {
        access_key: access_key.to_owned(),
        account_id: account.clone(),
        user_id: id("AIDA", name),
        user_arn: format!("arn:aws:iam::{account}:user/{name}"),
    }
}

/// Prefix and 17 of `[A-Z2-7]`, always the same for the same name.
pub fn id(prefix: &str, name: &str) -> String {
    let hash = Sha256::digest(name.as_bytes());
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let rest = hash.iter().take(17).map(|byte| char::from(letters[usize::from(byte % 32)]));
    prefix.chars().chain(rest).collect()
}

/// `None`: the request is not signed at all. The error is what the client is told.
fn claim(request: &Request) -> Option<Result<Claim, String>> {
    let parameters: Vec<(String, String)> = query::decoded(request.query())
        .filter(|(name, _)| PARAMETERS.contains(&&**name))
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    if ["X-Amz-Algorithm", "X-Amz-Signature"]
        .iter()
        .any(|wanted| parameters.iter().any(|(name, _)| name == wanted))
    {
        return Some(claim_of_query(&parameters));
    }
    let header = identity::header(request, "authorization")?;
    Some(claim_of_header(request, &header))
}

fn claim_of_query(parameters: &[(String, String)]) -> Result<Claim, String> {
    let get =
        |name: &str| parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let missing: Vec<String> = PARAMETERS
        .iter()
        .filter(|name| **name != "X-Amz-Security-Token" && get(name).is_none_or(str::is_empty))
        .map(|name| format!("AWS query-string parameters must include '{name}'."))
        .collect();
    if !missing.is_empty() {
        return Err(format!("{} Re-examine the query-string parameters.", missing.join(" ")));
    }
    // One of two that say different things has not been signed.
    let times = |name: &str| parameters.iter().filter(|(known, _)| known == name).count();
    if PARAMETERS.iter().any(|name| times(name) > 1) {
        return Err(MISMATCH.to_owned());
    }
    let value = |name: &str| get(name).unwrap_or_default();
    if value("X-Amz-Algorithm") != ALGORITHM {
        return Err("Unsupported AWS 'algorithm'".to_owned());
    }
    let expires = value("X-Amz-Expires")
        .parse()
        .ok()
        .filter(|seconds| (1..=LONGEST).contains(seconds))
        .ok_or_else(|| format!("X-Amz-Expires must be a number between 1 and {LONGEST}"))?;
    let time = basic_time(value("X-Amz-Date")).ok_or_else(|| wrong_date(value("X-Amz-Date")))?;
    Claim {
        signed_headers: names(value("X-Amz-SignedHeaders")),
        signature: value("X-Amz-Signature").to_owned(),
        sent: value("X-Amz-Date").to_owned(),
        session_token: get("X-Amz-Security-Token").map(str::to_owned),
        expires: Some(expires),
        ..Claim::of(value("X-Amz-Credential"), time)?
    }
    .with_host()
}

fn claim_of_header(request: &Request, header: &str) -> Result<Claim, String> {
    let hashed = || BASE64.encode(Sha256::digest(header.as_bytes()));
    let no_pair = || {
        format!(
            "Invalid key=value pair (missing equal-sign) in Authorization header \
             (hashed with SHA-256 and encoded with Base64): '{}'.",
            hashed()
        )
    };
    let rest = match header.split_once(' ') {
        Some((ALGORITHM, rest)) => rest,
        _ => return Err(no_pair()),
    };
    let (mut credential, mut signed_headers, mut signature) = (None, None, None);
    for pair in rest.split(',') {
        let (name, value) = pair.trim().split_once('=').ok_or_else(no_pair)?;
        match name {
            "Credential" => credential = Some(value),
            "SignedHeaders" => signed_headers = Some(value),
            "Signature" => signature = Some(value),
            _ => {}
        }
    }
    let sent = identity::header(request, "x-amz-date");
    let date = sent.clone().or_else(|| identity::header(request, "date"));
    let (Some(credential), Some(signed_headers), Some(signature), Some(date)) =
        (credential, signed_headers, signature, date.clone())
    else {
        let mut missing = String::new();
        for (name, lacks) in [
            ("Credential", credential.is_none()),
            ("Signature", signature.is_none()),
            ("SignedHeaders", signed_headers.is_none()),
        ] {
            if lacks {
                missing.push_str(&format!("Authorization header requires '{name}' parameter. "));
            }
        }
        if date.is_none() {
            missing.push_str(
                "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ",
            );
        }
        return Err(format!(
            "{missing}(Hashed with SHA-256 and encoded with Base64) Authorization={}",
            hashed()
        ));
    };
    let time = match &sent {
        Some(sent) => basic_time(sent),
        None => {
            basic_time(&date).or_else(|| jiff::fmt::rfc2822::parse(&date).ok().map(|time| time.timestamp()))
        }
    }
    .ok_or_else(|| wrong_date(&date))?;
    Claim {
        signed_headers: names(signed_headers),
        signature: signature.to_owned(),
        sent: date,
        session_token: identity::header(request, "x-amz-security-token"),
        ..Claim::of(credential, time)?
    }
    .with_host()
}

impl Claim {
    /// `AKIA.../20250101/eu-west-1/execute-api/aws4_request`
    fn of(credential: &str, time: Timestamp) -> Result<Self, String> {
        let parts: Vec<&str> = credential.split('/').collect();
        let [access_key, date, region, service, terminator] = parts[..] else {
            let shown: String = credential.chars().filter(char::is_ascii_graphic).take(100).collect();
            return Err(format!(
                "Credential must have exactly 5 slash-delimited elements, \
                 e.g. keyid/date/region/service/term, got '{shown}'"
            ));
        };
        Ok(Self {
            access_key: access_key.to_owned(),
            date: date.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
            terminator: terminator.to_owned(),
            signed_headers: Vec::new(),
            signature: String::new(),
            time,
            sent: String::new(),
            session_token: None,
            expires: None,
        })
    }

    fn with_host(self) -> Result<Self, String> {
        match self.signed_headers.iter().any(|name| name == "host") {
            true => Ok(self),
            false => {
                Err("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.".to_owned())
            }
        }
    }

    fn signs(&self, name: &str) -> bool {
        self.signed_headers.iter().any(|signed| signed == name)
    }
}

fn names(list: &str) -> Vec<String> {
    list.split(';').filter(|name| !name.is_empty()).map(str::to_ascii_lowercase).collect()
}

/// `20250101T120000Z`
fn basic_time(text: &str) -> Option<Timestamp> {
    let digits = |range: std::ops::Range<usize>| -> Option<i16> {
        let part = text.get(range)?;
        part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())?
    };
    if text.len() != 16 || text.as_bytes()[8] != b'T' || text.as_bytes()[15] != b'Z' {
        return None;
    }
    let small = |range| digits(range).and_then(|number| i8::try_from(number).ok());
    let time = jiff::civil::DateTime::new(
        digits(0..4)?,
        small(4..6)?,
        small(6..8)?,
        small(9..11)?,
        small(11..13)?,
        small(13..15)?,
        0,
    );
    Some(time.ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

fn basic(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string()
}

fn wrong_date(date: &str) -> String {
    let shown: String = date.chars().filter(|c| !c.is_control()).take(40).collect();
    format!(
        "Date must be in ISO-8601 'basic format'. Got '{shown}'. See http://en.wikipedia.org/wiki/ISO_8601"
    )
}

/// Scope and time. The error is what the client is told.
fn check(claim: &Claim, service: &str, now: Timestamp) -> Result<(), String> {
    let mut wrong = Vec::new();
    if claim.region.is_empty() {
        wrong.push("Credential should be scoped to a valid region.".to_owned());
    }
    if claim.service != service {
        wrong.push(format!("Credential should be scoped to correct service: '{service}'."));
    }
    let shown = |text: &str| text.chars().filter(char::is_ascii_graphic).take(40).collect::<String>();
    if claim.terminator != "aws4_request" {
        wrong.push(format!(
            "Credential should be scoped with a valid terminator: 'aws4_request', not '{}'.",
            shown(&claim.terminator)
        ));
    }
    let time = basic(claim.time);
    if claim.date != time[..8] {
        wrong.push(format!(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: \
             '{}' != '{}', from '{}'.",
            shown(&claim.date),
            &time[..8],
            shown(&claim.sent)
        ));
    }
    if !wrong.is_empty() {
        return Err(wrong.join(" "));
    }
    let age = now.as_second() - claim.time.as_second();
    let limit = claim.expires.unwrap_or(SKEW);
    let at = |seconds: i64| basic(Timestamp::from_second(seconds).unwrap_or(now));
    if age > limit {
        return Err(format!(
            "Signature expired: {time} is now earlier than {} ({} - {} min.)",
            at(now.as_second() - limit),
            basic(now),
            limit / 60
        ));
    }
    if -age > SKEW {
        return Err(format!(
            "Signature not yet current: {time} is still later than {} ({} + {} min.)",
            at(now.as_second() + SKEW),
            basic(now),
            SKEW / 60
        ));
    }
    Ok(())
}

/// The signature that this request would have if the owner of the credential had signed it; `None`: it
/// cannot be signed like this.
fn signature(request: &Request, claim: &Claim, credential: &Credential, service: &str) -> Option<String> {
    let host = request.host();
    let mut headers: Vec<(&str, &str)> = Vec::new();
    for name in &claim.signed_headers {
        match name.as_str() {
            "host" => headers.push(("host", &host)),
            // The signer adds these two itself.
            "x-amz-date" | "x-amz-security-token" if claim.expires.is_none() => {
                request.head.headers.get(name)?;
            }
            name => {
                let values = request.head.headers.get_all(name);
                values.iter().next()?;
                for value in values {
                    headers.push((name, std::str::from_utf8(value.as_bytes()).ok()?));
                }
            }
        }
    }
    let mut settings = SigningSettings::default();
    settings.excluded_headers = match claim.expires {
        None if !claim.signs("x-amz-date") => Some(vec!["x-amz-date".into()]),
        _ => None,
    };
    if claim.expires.is_none() && !claim.signs("x-amz-security-token") {
        settings.session_token_mode = SessionTokenMode::Exclude;
    }
    let mut target = request.path().to_owned();
    if let Some(seconds) = claim.expires {
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(Duration::from_secs(u64::try_from(seconds).ok()?));
    }
    let query = rest_of_query(request.query(), claim.expires.is_some());
    if !query.is_empty() {
        target = format!("{target}?{query}");
    }
    let identity = SigningCredentials::new(
        &credential.access_key,
        &credential.secret,
        credential.session_token.clone(),
        None,
        "handlerd",
    )
    .into();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(claim.time.as_second()).ok()?);
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(&claim.region)
        .name(service)
        .time(time)
        .settings(settings)
        .build()
        .ok()?
        .into();
    let body = SignableBody::Precomputed(hex(&Sha256::digest(&request.body)));
    let uri = format!("http://localhost{target}");
    let signable = SignableRequest::new(request.head.method.as_str(), uri, headers.into_iter(), body).ok()?;
    Some(sign(signable, &parameters).ok()?.into_parts().1)
}

/// Without what describes the signature, which the signer adds itself.
fn rest_of_query(query: &str, signed: bool) -> String {
    let kept = query.split('&').filter(|pair| !pair.is_empty()).filter(|pair| {
        let name = decode(pair.split('=').next().unwrap_or_default());
        !signed || !PARAMETERS.contains(&&*name)
    });
    kept.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::super::fixture;
    use super::*;

    const NOW: &str = "20251124T231200Z";

    fn credential(session_token: Option<&str>) -> Credential {
        Credential {
            user: "dev".into(),
            access_key: "AKIAEXAMPLEKEY".into(),
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
            session_token: session_token.map(str::to_owned),
        }
    }

    /// What a client does.
    struct Client {
        service: &'static str,
        session_token: Option<&'static str>,
        presigned: Option<u64>,
        time: &'static str,
    }

    const CLIENT: Client = Client { service: "execute-api", session_token: None, presigned: None, time: NOW };

    impl Client {
        fn sign(&self, line: &str, headers: &[(&str, &str)], body: &'static [u8]) -> Request {
            let mut request = fixture::request(line, &[&[("host", "localhost:3000")], headers].concat());
            request.body = body.into();
            let credential = credential(self.session_token);
            let identity = SigningCredentials::new(
                &credential.access_key,
                &credential.secret,
                credential.session_token.clone(),
                None,
                "test",
            )
            .into();
            let mut settings = SigningSettings::default();
            if let Some(seconds) = self.presigned {
                settings.signature_location = SignatureLocation::QueryParams;
                settings.expires_in = Some(Duration::from_secs(seconds));
            }
            let time = Duration::from_secs(basic_time(self.time).unwrap().as_second() as u64);
            let parameters = v4::SigningParams::builder()
                .identity(&identity)
                .region("eu-west-1")
                .name(self.service)
                .time(SystemTime::UNIX_EPOCH + time)
                .settings(settings)
                .build()
                .unwrap()
                .into();
            let uri = format!("http://localhost:3000{}", request.head.uri);
            let signed: Vec<(String, String)> = request
                .head
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
                .collect();
            let headers = signed.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            let method = request.head.method.to_string();
            let signable = SignableRequest::new(&method, uri, headers, SignableBody::Bytes(body)).unwrap();
            let (instructions, _) = sign(signable, &parameters).unwrap().into_parts();
            for (name, value) in instructions.headers() {
                let name: http::HeaderName = name.parse().unwrap();
                request.head.headers.insert(name, HeaderValue::from_str(value).unwrap());
            }
            let encode = |text: &str| {
                percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
            };
            let mut query = request.query().to_owned();
            for (name, value) in instructions.params() {
                query = format!("{query}&{name}={}", encode(value));
            }
            if self.presigned.is_some() {
                request.head.uri = format!("{}?{query}", request.path()).parse().unwrap();
            }
            request.received = basic_time(NOW).unwrap();
            request
        }
    }

    fn verified(request: &Request, kind: Kind, session_token: Option<&str>) -> Result<IamUser, String> {
        let matched = fixture::matched(fixture::api(kind, "prod", &["GET /items"]), "/items");
        let credentials = Credentials::with(None, Some(credential(session_token)));
        verify(request, &matched, &credentials, &fixture::site()).map_err(|error| match error {
            GatewayError::MissingAuthenticationToken => "missing".to_owned(),
            GatewayError::InvalidSignature { message } => message,
            error => format!("{error:?}"),
        })
    }

    #[test]
    fn a_signed_request_passes_in_every_form() {
        let expected = IamUser {
            access_key: "AKIAEXAMPLEKEY".into(),
            account_id: "123456789012".into(),
            user_id: id("AIDA", "dev"),
            user_arn: "arn:aws:iam::123456789012:user/dev".into(),
        };
        assert_eq!(expected.user_id.len(), 21);
        for line in [
            "GET /prod/items",
            "GET /prod/items?b=2&a=1&a=0",
            "POST /prod/it%20ems/%C3%A9/a+b?q=x%20y&e=%2F%3D&empty",
            "PUT /prod//double/./dot/../end/",
            "GET /",
        ] {
            let headers = [("content-type", "application/json"), ("x-two", "a   b"), ("x-two", "c")];
            for (session_token, presigned, body) in [
                (None, None, &b""[..]),
                (None, None, b"{\"a\": 1}"),
                (Some("token/+="), None, b"body"),
                (None, Some(900), b""),
                (Some("token/+="), Some(60), b""),
            ] {
                let client = Client { session_token, presigned, ..CLIENT };
                let request = client.sign(line, &headers, body);
                assert_eq!(verified(&request, Kind::Rest, session_token), Ok(expected.clone()), "{line}");
            }
        }
        let url = Client { service: "lambda", ..CLIENT }.sign("GET /", &[], b"");
        assert!(verified(&url, Kind::FunctionUrl, None).is_ok());
    }

    #[test]
    fn whatever_is_changed_on_the_way_is_noticed() {
        type Change = fn(&mut Request);
        let changes: [Change; 10] = [
            |request| request.head.method = http::Method::DELETE,
            |request| request.head.uri = "/prod/items/8?a=1".parse().unwrap(),
            |request| request.head.uri = "/prod/items/7?a=2".parse().unwrap(),
            |request| request.head.uri = "/prod/items/7".parse().unwrap(),
            |request| request.head.uri = "/prod/items/7?a=1&b=2".parse().unwrap(),
            |request| request.body = b"other".as_slice().into(),
            |request| drop(request.head.headers.insert("host", HeaderValue::from_static("evil"))),
            |request| drop(request.head.headers.insert("x-role", HeaderValue::from_static("admin"))),
            |request| assert!(request.head.headers.append("x-role", HeaderValue::from_static("admin"))),
            |request| drop(request.head.headers.remove("x-role")),
        ];
        let original = || CLIENT.sign("POST /prod/items/7?a=1", &[("x-role", "user")], b"body");
        assert!(verified(&original(), Kind::Rest, None).is_ok());
        for (index, change) in changes.iter().enumerate() {
            let mut request = original();
            change(&mut request);
            assert_eq!(verified(&request, Kind::Rest, None).unwrap_err(), MISMATCH, "change {index}");
        }
        // What was not signed may change.
        let mut request = original();
        request.head.headers.insert("user-agent", HeaderValue::from_static("proxy"));
        assert!(verified(&request, Kind::Rest, None).is_ok());
    }

    fn with_authorization(change: impl Fn(String) -> String) -> Request {
        let mut request = CLIENT.sign("GET /prod/items", &[], b"");
        let value = change(identity::header(&request, "authorization").unwrap());
        request.head.headers.insert("authorization", HeaderValue::from_str(&value).unwrap());
        request
    }

    #[test]
    fn what_the_client_is_told() {
        let plain = fixture::request("GET /prod/items", &[]);
        assert_eq!(verified(&plain, Kind::Rest, None).unwrap_err(), "missing");
        let replaced = |from: &'static str, to: &'static str| {
            let request = with_authorization(|value| {
                assert!(value.contains(from), "{value}");
                value.replace(from, to)
            });
            verified(&request, Kind::Rest, None).unwrap_err()
        };
        assert!(
            replaced("AWS4-HMAC-SHA256 ", "Bearer ")
                .starts_with("Invalid key=value pair (missing equal-sign)")
        );
        assert!(replaced("Signature=", "").starts_with("Invalid key=value pair (missing equal-sign)"));
        assert!(
            replaced("Signature=", "X=")
                .starts_with("Authorization header requires 'Signature' parameter. (Hashed with SHA-256")
        );
        assert_eq!(replaced("AKIAEXAMPLEKEY", "AKIANOBODY"), INVALID_TOKEN);
        assert_eq!(
            replaced("/execute-api/", "/s3/"),
            "Credential should be scoped to correct service: 'execute-api'."
        );
        assert_eq!(
            replaced("aws4_request", "aws5_request"),
            "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5_request'."
        );
        assert_eq!(
            replaced("/20251124/", "/20251123/"),
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: \
             '20251123' != '20251124', from '20251124T231200Z'."
        );
        assert!(replaced("/eu-west-1/", "/").starts_with("Credential must have exactly 5 slash-delimited"));
        assert_eq!(replaced("/eu-west-1/", "/us-east-1/"), MISMATCH);
        assert!(
            replaced("SignedHeaders=host;", "SignedHeaders=").starts_with("'Host' or ':authority' must be")
        );
        assert_eq!(replaced("host;", "accept;host;"), MISMATCH, "a header that is not there");
        assert_eq!(replaced("Signature=", "Signature=0"), MISMATCH);
        let as_url = CLIENT.sign("GET /", &[], b"");
        let told = verified(&as_url, Kind::FunctionUrl, None).unwrap_err();
        assert_eq!(told, "Credential should be scoped to correct service: 'lambda'.");

        let mut dateless = CLIENT.sign("GET /", &[], b"");
        dateless.head.headers.remove("x-amz-date");
        assert!(
            verified(&dateless, Kind::Rest, None).unwrap_err().contains("either a 'X-Amz-Date' or a 'Date'")
        );
        dateless.head.headers.insert("x-amz-date", HeaderValue::from_static("yesterday"));
        assert!(verified(&dateless, Kind::Rest, None).unwrap_err().starts_with("Date must be in ISO-8601"));
    }

    #[test]
    fn a_session_needs_its_token() {
        let signed = Client { session_token: Some("one"), ..CLIENT }.sign("GET /", &[], b"");
        assert!(verified(&signed, Kind::Rest, Some("one")).is_ok());
        assert_eq!(verified(&signed, Kind::Rest, Some("two")).unwrap_err(), INVALID_TOKEN);
        assert_eq!(verified(&signed, Kind::Rest, None).unwrap_err(), INVALID_TOKEN);
        assert_eq!(
            verified(&CLIENT.sign("GET /", &[], b""), Kind::Rest, Some("one")).unwrap_err(),
            INVALID_TOKEN
        );
    }

    #[test]
    fn signatures_have_their_time() {
        let at = |time, presigned| {
            let request = Client { time, presigned, ..CLIENT }.sign("GET /", &[], b"");
            verified(&request, Kind::Rest, None).map(drop)
        };
        assert_eq!(at("20251124T230700Z", None), Ok(()));
        assert_eq!(at("20251124T231700Z", None), Ok(()));
        assert_eq!(
            at("20251124T230659Z", None).unwrap_err(),
            "Signature expired: 20251124T230659Z is now earlier than 20251124T230700Z (20251124T231200Z - 5 min.)"
        );
        assert_eq!(
            at("20251124T231701Z", None).unwrap_err(),
            "Signature not yet current: 20251124T231701Z is still later than 20251124T231700Z \
             (20251124T231200Z + 5 min.)"
        );
        assert_eq!(at("20251124T225700Z", Some(900)), Ok(()));
        assert!(at("20251124T225659Z", Some(900)).unwrap_err().starts_with("Signature expired"));
        assert!(at("20251124T231130Z", Some(20)).unwrap_err().starts_with("Signature expired"));
        assert_eq!(at("20251118T231200Z", Some(604_800)), Ok(()));
        assert!(at("20251124T231200Z", Some(604_801)).unwrap_err().starts_with("X-Amz-Expires must be"));
    }

    #[test]
    fn a_signed_query_is_whole() {
        let client = Client { presigned: Some(60), ..CLIENT };
        let request = client.sign("GET /prod/items?a=1", &[], b"");
        let target = request.head.uri.to_string();
        let told = |target: String| {
            let mut request = client.sign("GET /prod/items?a=1", &[], b"");
            request.head.uri = target.parse().unwrap();
            verified(&request, Kind::Rest, None).map(drop)
        };
        assert_eq!(told(target.clone()), Ok(()));
        assert_eq!(told(format!("{target}&b=2")).unwrap_err(), MISMATCH);
        assert_eq!(told(format!("{target}&X-Amz-Expires=9000")).unwrap_err(), MISMATCH);
        assert_eq!(told(target.replace("X-Amz-Expires=60", "X-Amz-Expires=61")).unwrap_err(), MISMATCH);
        assert_eq!(
            told(target.replace("X-Amz-Signature", "X-Amz-Nothing")).unwrap_err(),
            "AWS query-string parameters must include 'X-Amz-Signature'. Re-examine the query-string parameters."
        );
    }

    /// From AWS's published examples of the algorithm: request, scope and what comes out.
    #[test]
    fn the_published_example_comes_out() {
        let signature = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=host;x-amz-date, Signature={signature}"
        );
        let headers = [
            ("host", "example.amazonaws.com"),
            ("x-amz-date", "20150830T123600Z"),
            ("authorization", &authorization),
        ];
        let request = fixture::request("GET /", &headers);
        let claim = claim(&request).unwrap().unwrap();
        let credential = Credential {
            user: "x".into(),
            access_key: "AKIDEXAMPLE".into(),
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
            session_token: None,
        };
        assert_eq!(super::signature(&request, &claim, &credential, "service").unwrap(), signature);
    }

    #[test]
    fn the_date_header_will_do() {
        let mut request =
            fixture::request("GET /", &[("host", "localhost"), ("date", "Mon, 24 Nov 2025 23:12:00 GMT")]);
        request.received = basic_time(NOW).unwrap();
        let scope = "Credential=AKIAEXAMPLEKEY/20251124/eu-west-1/execute-api/aws4_request";
        let header = format!("AWS4-HMAC-SHA256 {scope}, SignedHeaders=date;host, Signature=");
        let claim = claim_of_header(&request, &header).unwrap();
        let signature = signature(&request, &claim, &credential(None), "execute-api").unwrap();
        let value = HeaderValue::from_str(&format!("{header}{signature}")).unwrap();
        request.head.headers.insert("authorization", value);
        assert!(verified(&request, Kind::Rest, None).is_ok());
        request.head.headers.insert("date", HeaderValue::from_static("Mon, 24 Nov 2025 23:12:01 GMT"));
        assert_eq!(verified(&request, Kind::Rest, None).unwrap_err(), MISMATCH);
    }

    #[test]
    fn times_are_read_strictly() {
        for text in [
            "",
            "20251124",
            "20251124T231200",
            "20251124t231200z",
            "2025+124T231200Z",
            "20251324T231200Z",
            "20251124T246000Z",
            "\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}",
        ] {
            assert_eq!(basic_time(text), None, "{text}");
        }
        assert_eq!(basic(basic_time(NOW).unwrap()), NOW);
    }

    proptest! {
        #[test]
        fn no_authorization_is_too_strange(value in "(AWS4-HMAC-SHA256 )?[ -~]{0,120}", date in "[0-9TZ]{0,17}") {
            let headers = [("host", "localhost"), ("x-amz-date", &*date), ("authorization", &*value)];
            prop_assert!(verified(&fixture::request("GET /", &headers), Kind::Rest, None).is_err());
        }

        #[test]
        fn no_claim_is_too_strange(
            headers in "[a-z;:\\-]{0,20}",
            region in "[!-.0-~]{0,10}",
            path in "/[a-zA-Z0-9%./+~*]{0,30}",
            query in "[a-z=&%+]{0,20}",
        ) {
            let authorization = format!(
                "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLEKEY/20251124/{region}/execute-api/aws4_request, \
                 SignedHeaders=host;{headers}, Signature=00"
            );
            let given = [("host", "h"), ("x-amz-date", NOW), ("authorization", &*authorization)];
            let mut request = fixture::request(&format!("GET {path}?{query}"), &given);
            request.received = basic_time(NOW).unwrap();
            prop_assert!(verified(&request, Kind::Rest, None).is_err());
        }

        #[test]
        fn no_query_is_too_strange(
            expires in "[0-9\\-]{0,20}",
            date in "(20251124T231200Z|[0-9TZ]{16})",
            headers in "(host|[a-z;]{0,10})",
        ) {
            let query = format!(
                "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAEXAMPLEKEY/20251124/r/execute-api/aws4_request\
                 &X-Amz-Date={date}&X-Amz-Expires={expires}&X-Amz-SignedHeaders={headers}&X-Amz-Signature=00"
            );
            let mut request = fixture::request(&format!("GET /?{query}"), &[("host", "h")]);
            request.received = basic_time(NOW).unwrap();
            prop_assert!(verified(&request, Kind::Rest, None).is_err());
        }
    }
}

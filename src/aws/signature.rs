//! SigV4 from the server's side: whether a request carries a signature that the owner of a credential
//! has made. For AWS_IAM routes and for the control plane.
//!
//! The request is signed anew, with the headers that the client says it signed, and the signatures
//! are compared, in a time that tells nothing about where they differ.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials as SigningCredentials;
use aws_sigv4::http_request::{
    SessionTokenMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{HeaderMap, Method};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};

use super::credentials::Credential;
use crate::defences;
use crate::hexadecimal::hex;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// How far the client's clock may be from ours, in seconds.
const SKEW: i64 = 5 * 60;
/// A week.
const LONGEST: i64 = 7 * 24 * 60 * 60;
pub const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. \
     Check your AWS Secret Access Key and signing method. Consult the service documentation for details.";
pub const INVALID_TOKEN: &str = "The security token included in the request is invalid.";
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

/// What a signature is about.
#[derive(Clone, Copy)]
pub struct Signed<'a> {
    pub method: &'a Method,
    pub headers: &'a HeaderMap,
    /// As sent, without the query.
    pub path: &'a str,
    /// As sent, without the question mark.
    pub query: &'a str,
    pub host: &'a str,
}

/// What a client says about its signature.
#[derive(Debug, PartialEq, Eq)]
pub struct Claim {
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

impl Claim {
    /// Of a request that has come now; `None`: it is not signed at all. The error is what the client is told.
    pub fn read(request: &Signed) -> Option<Result<Self, String>> {
        claim(request)
    }

    pub fn access_key(&self) -> &str {
        &self.access_key
    }

    /// Scope and time, before anything is calculated. The error is what the client is told.
    pub fn check(&self, service: &str, now: Timestamp) -> Result<(), String> {
        check(self, service, now)
    }

    /// Whether the credential belongs to the same session.
    pub fn has_token_of(&self, credential: &Credential) -> bool {
        match (&credential.session_token, &self.session_token) {
            (None, None) => true,
            (Some(known), Some(given)) => same_secret(known.as_bytes(), given.as_bytes()),
            _ => false,
        }
    }

    /// Whether the owner of the credential has signed this request with this body.
    pub fn is_signed_by(
        &self,
        credential: &Credential,
        request: &Signed,
        body_sha256: &[u8],
        service: &str,
    ) -> bool {
        if defences::off("signature") {
            return true;
        }
        let signed = signature(request, body_sha256, self, credential, service);
        signed.is_some_and(|signature| same_secret(signature.as_bytes(), self.signature.as_bytes()))
    }
}

/// Whether two secrets are the same, in a time that tells nothing about where they differ.
pub fn same_secret(left: &[u8], right: &[u8]) -> bool {
    Sha256::digest(left) == Sha256::digest(right)
}

/// The last value of this header.
fn header(request: &Signed, name: &str) -> Option<String> {
    let value = request.headers.get_all(name).iter().next_back();
    value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

fn decoded(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

/// `None`: the request is not signed at all. The error is what the client is told.
fn claim(request: &Signed) -> Option<Result<Claim, String>> {
    let parameters: Vec<(String, String)> = request
        .query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decoded(name), decoded(value)))
        .filter(|(name, _)| PARAMETERS.contains(&&**name))
        .collect();
    if ["X-Amz-Algorithm", "X-Amz-Signature"]
        .iter()
        .any(|wanted| parameters.iter().any(|(name, _)| name == wanted))
    {
        return Some(claim_of_query(&parameters));
    }
    let authorization = header(request, "authorization")?;
    Some(claim_of_header(request, &authorization))
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

pub(crate) fn claim_of_header(request: &Signed, authorization: &str) -> Result<Claim, String> {
    let hashed = || BASE64.encode(Sha256::digest(authorization.as_bytes()));
    let no_pair = || {
        format!(
            "Invalid key=value pair (missing equal-sign) in Authorization header \
             (hashed with SHA-256 and encoded with Base64): '{}'.",
            hashed()
        )
    };
    let rest = match authorization.split_once(' ') {
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
    let sent = header(request, "x-amz-date");
    let date = sent.clone().or_else(|| header(request, "date"));
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
        session_token: header(request, "x-amz-security-token"),
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
pub(crate) fn basic_time(text: &str) -> Option<Timestamp> {
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

pub(crate) fn basic(time: Timestamp) -> String {
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
    if age > limit && !defences::off("age-of-signatures") {
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
pub(crate) fn signature(
    request: &Signed,
    body_sha256: &[u8],
    claim: &Claim,
    credential: &Credential,
    service: &str,
) -> Option<String> {
    let mut headers: Vec<(&str, &str)> = Vec::new();
    for name in &claim.signed_headers {
        match name.as_str() {
            "host" => headers.push(("host", request.host)),
            // The signer adds these two itself.
            "x-amz-date" | "x-amz-security-token" if claim.expires.is_none() => {
                request.headers.get(name)?;
            }
            name => {
                let values = request.headers.get_all(name);
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
    let mut target = request.path.to_owned();
    if let Some(seconds) = claim.expires {
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(Duration::from_secs(u64::try_from(seconds).ok()?));
    }
    let query = rest_of_query(request.query, claim.expires.is_some());
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
    let body = SignableBody::Precomputed(hex(body_sha256));
    let uri = format!("http://localhost{target}");
    let signable = SignableRequest::new(request.method.as_str(), uri, headers.into_iter(), body).ok()?;
    Some(sign(signable, &parameters).ok()?.into_parts().1)
}

/// Without what describes the signature, which the signer adds itself.
fn rest_of_query(query: &str, signed: bool) -> String {
    let kept = query.split('&').filter(|pair| !pair.is_empty()).filter(|pair| {
        let name = percent_decode_str(pair.split('=').next().unwrap_or_default()).decode_utf8_lossy();
        !signed || !PARAMETERS.contains(&&*name)
    });
    kept.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_compared() {
        assert!(same_secret(b"abc", b"abc"));
        assert!(!same_secret(b"abc", b"abd"));
        assert!(!same_secret(b"abc", b""));
    }
}

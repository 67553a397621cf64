//! AWS's published examples of SigV4: what was sent, and the signature that comes out.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use sha2::{Digest, Sha256};

use super::credentials::Credential;
use super::signature::{Claim, Signed};
use crate::hexadecimal::hex;

const LETTERS: &str = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const TOKEN: &str = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267";
const FORM: &str = "Param1=value1";
const FORM_SHA256: &str = "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e";

struct Example {
    name: &'static str,
    method: Method,
    target: String,
    headers: Vec<(&'static str, &'static str)>,
    body: &'static str,
    signature: &'static str,
}

fn get(name: &'static str, target: &str, signature: &'static str) -> Example {
    Example { name, method: Method::GET, target: target.into(), headers: Vec::new(), body: "", signature }
}

fn post(name: &'static str, signature: &'static str) -> Example {
    Example { method: Method::POST, ..get(name, "/", signature) }
}

impl Example {
    fn with(mut self, headers: &[(&'static str, &'static str)], body: &'static str) -> Self {
        self.headers.extend(headers);
        self.body = body;
        self
    }
}

fn signed_in_headers() -> Vec<Example> {
    let vanilla = "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b";
    let form =
        |kind| [("content-type", kind), ("content-length", "13"), ("x-amz-content-sha256", FORM_SHA256)];
    vec![
        get("get-vanilla", "/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        get(
            "get-vanilla-query-order-key-case",
            "/?Param2=value2&Param1=value1",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        get(
            "get-vanilla-empty-query-key",
            "/?Param1=value1",
            "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
        ),
        get(
            "get-vanilla-query-unreserved",
            &format!("/?{LETTERS}={LETTERS}"),
            "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
        ),
        get(
            "get-vanilla-query-order-encoded",
            "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
            "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
        ),
        get(
            "get-header-key-duplicate",
            "/",
            "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
        )
        .with(&[("my-header1", "value2"), ("my-header1", "value2"), ("my-header1", "value1")], ""),
        get("get-header-value-trim", "/", "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736")
            .with(&[("my-header1", " value1"), ("my-header2", " \"a   b   c\"")], ""),
        get(
            "get-vanilla-with-session-token",
            "/",
            "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
        )
        .with(&[("x-amz-security-token", TOKEN)], ""),
        post("post-vanilla", vanilla),
        post("post-header-value-case", "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d")
            .with(&[("my-header1", "VALUE1")], ""),
        post(
            "post-x-www-form-urlencoded",
            "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b",
        )
        .with(&form("application/x-www-form-urlencoded"), FORM),
        post(
            "post-x-www-form-urlencoded-parameters",
            "328d1b9eaadca9f5818ef05e8392801e091653bafec24fcab71e7344e7f51422",
        )
        .with(&form("application/x-www-form-urlencoded; charset=utf-8"), FORM),
    ]
}

fn signed_in_the_query() -> Vec<Example> {
    vec![
        get("get-vanilla", "/", "e93c787ed7f371d5c6b165c1b38ede9550f4dce4144713e844b25b7192d3865d"),
        get(
            "get-vanilla-query-order-key-case",
            "/?Param2=value2&Param1=value1",
            "86012e2c9ad4d77369f5d81c11f75158aae4f895a085212cc6d3f923d300bed5",
        ),
        get(
            "get-vanilla-query-unreserved",
            &format!("/?{LETTERS}={LETTERS}"),
            "8e76a88a7433637b12778d5592799b29ad21ecd6cf6325051c21d86f0acda2bf",
        ),
        post("post-vanilla", "2ce6e6d2e0cf2f9d1b55fafec88cd20574c31dc2e7631979f71ba2310083e95b"),
        get(
            "get-vanilla-with-session-token",
            "/",
            "7ff2b50b376cb4d151970630573d6291dc128cc5c2a12ffb237f73cc53f67b6c",
        )
        .with(&[("x-amz-security-token", TOKEN)], ""),
    ]
}

fn is_believed(example: &Example, in_query: bool) -> bool {
    let mut headers = HeaderMap::new();
    let mut add = |name: &str, value: &str| {
        headers.append(HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap());
    };
    add("host", "example.amazonaws.com");
    let (path, query) = example.target.split_once('?').unwrap_or((&example.target, ""));
    let mut query = query.to_owned();
    let session = example.headers.iter().any(|(name, _)| *name == "x-amz-security-token");
    if in_query {
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20150830%2Fus-east-1%2Fservice%2F\
             aws4_request&X-Amz-Date=20150830T123600Z&X-Amz-SignedHeaders=host&X-Amz-Expires=3600",
        );
        query.push_str(&format!("&X-Amz-Signature={}", example.signature));
        if session {
            query.push_str(&format!("&X-Amz-Security-Token={TOKEN}"));
        }
    } else {
        let mut names: Vec<&str> = example.headers.iter().map(|(name, _)| *name).collect();
        names.extend(["host", "x-amz-date"]);
        names.sort_unstable();
        names.dedup();
        add("x-amz-date", "20150830T123600Z");
        for (name, value) in &example.headers {
            add(name, value);
        }
        add(
            "authorization",
            &format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                 SignedHeaders={}, Signature={}",
                names.join(";"),
                example.signature
            ),
        );
    }
    let signed = Signed {
        method: &example.method,
        headers: &headers,
        path,
        query: &query,
        host: "example.amazonaws.com",
    };
    let claim = Claim::read(&signed).unwrap().unwrap();
    let credential = Credential {
        access_key: "AKIDEXAMPLE".into(),
        secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
        session_token: session.then(|| TOKEN.to_owned()),
        ..Credential::default()
    };
    claim.check("service", "2015-08-30T12:38:00Z".parse().unwrap()).unwrap();
    claim.has_token_of(&credential)
        && claim.is_signed_by(&credential, &signed, &Sha256::digest(example.body), "service")
}

#[test]
fn the_published_examples_come_out() {
    assert_eq!(hex(&Sha256::digest(FORM)), FORM_SHA256);
    for (examples, in_query) in [(signed_in_headers(), false), (signed_in_the_query(), true)] {
        for example in examples {
            assert!(is_believed(&example, in_query), "{} in_query: {in_query}", example.name);
            let other = Example { signature: "00", ..example };
            assert!(!is_believed(&other, in_query), "{}", other.name);
        }
    }
}

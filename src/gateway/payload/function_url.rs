//! Function URLs: format 2.0 with an encoded path, and results that are written anew.

use axum::body::Body;
use http::Response;
use http::header::CONTENT_TYPE;

use super::super::Site;
use super::super::request::{Caller, Identity, Matched, Request, without_port};
use super::protocol;
use super::result::{Described, Draft, Malformed};
use super::v2::{Event, Http, RequestContext};
use super::{authorizer, fields, text};
use crate::api::DEFAULT_STAGE;
use crate::http::Encryption;

/// Who asks if nobody has to sign.
const ANONYMOUS: &str = "anonymous";

/// `request_id`: the invocation's, which is the request's too.
pub fn event(
    request: &Request,
    matched: &Matched,
    caller: &Caller,
    site: &Site,
    request_id: &str,
) -> Vec<u8> {
    let query = request.query();
    let host = request.host();
    let domain = without_port(&host);
    let source_ip = request.source_ip();
    let mut cookies = Vec::new();
    let mut headers = fields::joined(request, site, &mut cookies);
    if !request.body.is_empty() {
        headers.insert("content-length", request.body.len().to_string().into());
    }
    if let Some(encryption) = request.head.extensions.get::<Encryption>().filter(|_| site.tls) {
        headers.insert("x-amzn-tls-cipher-suite", encryption.cipher_suite.as_str().into());
        headers.insert("x-amzn-tls-version", encryption.version.as_str().into());
    }
    let is_text = text::is_like_text(request.header(CONTENT_TYPE));
    let body = text::text_or_base64(&request.body, is_text);
    let is_signed = matches!(caller.identity, Identity::Iam(_));
    let event = Event {
        route_key: DEFAULT_STAGE,
        raw_path: &matched.full_path,
        raw_query_string: query,
        cookies,
        headers,
        request_context: RequestContext {
            account_id: if is_signed { &site.account } else { ANONYMOUS },
            api_id: &matched.api.id,
            authorizer: authorizer::v2(&caller.identity),
            domain_name: domain,
            http: Http {
                method: request.head.method.as_str(),
                path: &matched.full_path,
                protocol: protocol(request),
                source_ip: &source_ip,
            },
            request_id,
            stage: DEFAULT_STAGE,
            time: request.time(),
            time_epoch: request.received.as_millisecond(),
        },
        path_parameters: &[],
        stage_variables: None,
        is_base64_encoded: body.is_some() && !is_text,
        body,
    };
    event.text()
}

/// A result with a `statusCode` describes the response; anything else is the body of a 200, without
/// spaces between its parts, and text without its quotes.
pub fn response(payload: Vec<u8>) -> Result<Response<Body>, Malformed> {
    let first = payload.iter().copied().find(|byte| !byte.is_ascii_whitespace());
    let body = match first {
        Some(b'"') => serde_json::from_slice::<String>(&payload).map_err(|_| Malformed::NoJson)?.into_bytes(),
        Some(b'{') => {
            let described = Described::read(&payload).ok_or(Malformed::NoJson)?;
            if described.is_response() {
                return Ok(described.draft()?.finish("application/json"));
            }
            compact(payload)
        }
        _ => {
            serde_json::from_slice::<serde::de::IgnoredAny>(&payload).map_err(|_| Malformed::NoJson)?;
            compact(payload)
        }
    };
    Ok(Draft::inferred(body).finish("application/json"))
}

/// JSON without the spaces between its parts; numbers and texts stay as they are written.
fn compact(mut json: Vec<u8>) -> Vec<u8> {
    let (mut in_text, mut escaped) = (false, false);
    json.retain(|&byte| {
        let kept = in_text || !byte.is_ascii_whitespace();
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_text,
            b'"' => in_text = !in_text,
            _ => {}
        }
        kept
    });
    json
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::golden::describe;
    use serde_json::Value;

    use super::*;

    #[test]
    fn results_become_responses() {
        for (result, expected) in [
            (r#"{"hello": "world"}"#, r#"200 content-type: application/json | {"hello":"world"}"#),
            (r#"["hello", 3, true]"#, r#"200 content-type: application/json | ["hello",3,true]"#),
            (
                r#"{"z": 1, "a": " b, c: \" d \\", "n": 1.0e5, "l": 12345678901234567890123}"#,
                r#"200 content-type: application/json | {"z":1,"a":" b, c: \" d \\","n":1.0e5,"l":12345678901234567890123}"#,
            ),
            (r#""hello""#, "200 content-type: application/json | hello"),
            (r#""a \"b\"""#, "200 content-type: application/json | a \"b\""),
            ("3", "200 content-type: application/json | 3"),
            ("3.1", "200 content-type: application/json | 3.1"),
            ("true", "200 content-type: application/json | true"),
            ("null", "200 content-type: application/json | null"),
            (
                r#"{"body": "x", "headers": {"a": "b"}}"#,
                r#"200 content-type: application/json | {"body":"x","headers":{"a":"b"}}"#,
            ),
            (
                r#"{"statusCode": "418", "body": "I am a teapot"}"#,
                "418 content-type: application/json | I am a teapot",
            ),
            (
                r#"{"statusCode": 200, "cookies": ["a=1", "b=2"], "headers": {"X-A": 1, "content-type": "a/b"},
                 "body": "aGk=", "isBase64Encoded": true, "other": {}}"#,
                "200 content-type: a/b; set-cookie: a=1; set-cookie: b=2; x-a: 1 | hi",
            ),
            (
                r#"{"statusCode": 200, "headers": {"Content-Length": "9", "Connection": "close"}}"#,
                "200 content-type: application/json | ",
            ),
            (r#"{"statusCode": 204, "body": "x"}"#, "204 content-type: application/json | "),
            (r#"{"statusCode": 200, "body": {"a": 1}}"#, "a `body` that is an object; it must be text"),
            (r#"{"statusCode": "teapot"}"#, "a `statusCode` that is no HTTP status: \"teapot\""),
            (r#"{"statusCode": 200.5}"#, "a `statusCode` that is no HTTP status: 200.5"),
            ("NaN", "what is no JSON"),
            (r#"{"a": NaN}"#, "what is no JSON"),
            (r#""half"#, "what is no JSON"),
            ("", "what is no JSON"),
        ] {
            assert_eq!(describe(response(result.as_bytes().to_vec())), expected, "{result}");
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::vec((".*", inner), 0..5)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn only_the_spaces_between_go(value in json()) {
            let spaced = serde_json::to_vec_pretty(&value).unwrap();
            prop_assert_eq!(compact(spaced), serde_json::to_vec(&value).unwrap());
        }
    }
}

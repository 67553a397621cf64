//! Responses of REST APIs, which are strict: what they do not know is a 502.

use std::borrow::Cow;

use axum::body::Body;
use http::Response;
use serde_json::Value;

use super::super::request::Request;
use super::result::{Draft, Malformed, object, status};
use super::text::is_binary;

/// What a result may say; of these `base64Encoded` and `cookies` are passed over.
const KEYS: [&str; 7] =
    ["statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded", "base64Encoded", "cookies"];

/// Headers of an integration's response that get another name, so that nobody takes them for the
/// gateway's own.
const REMAPPED: [&str; 14] = [
    "authorization",
    "connection",
    "content-length",
    "content-md5",
    "date",
    "expect",
    "host",
    "max-forwards",
    "proxy-authenticate",
    "server",
    "trailer",
    "upgrade",
    "user-agent",
    "www-authenticate",
];

/// The name under which a REST API sends an integration's header on; `None`: not at all.
pub fn rename(name: &str) -> Option<Cow<'_, str>> {
    if name.eq_ignore_ascii_case("transfer-encoding") || name.eq_ignore_ascii_case("keep-alive") {
        None
    } else if REMAPPED.iter().any(|known| name.eq_ignore_ascii_case(known)) {
        Some(format!("x-amzn-Remapped-{name}").into())
    } else {
        Some(name.into())
    }
}

pub fn response(payload: &[u8], request: &Request, binary: &[String]) -> Result<Response<Body>, Malformed> {
    let mut object = object(payload)?;
    if let Some(key) = object.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(Malformed::UnknownKey(key.clone()));
    }
    let status = match object.get("statusCode") {
        None | Some(Value::Null) => http::StatusCode::OK,
        Some(given) => status(given)?,
    };
    let mut draft = Draft::new(status);
    draft.all_headers(&mut object, rename)?;
    let says_base64 = match object.get("isBase64Encoded") {
        Some(Value::String(text)) => text.eq_ignore_ascii_case("true"),
        flag => flag == Some(&Value::Bool(true)),
    };
    // The client has to ask for one of the API's binary types first of all, or it gets the base64.
    let accept = request.header("accept").and_then(|accept| accept.split(',').next());
    draft.body(object.remove("body"), says_base64 && is_binary(accept, binary))?;
    Ok(draft.finish("application/json"))
}

#[cfg(test)]
mod tests {
    use super::super::golden::{describe, request};
    use super::*;

    fn answer(result: &str) -> String {
        describe(response(result.as_bytes(), &request("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), &[]))
    }

    #[test]
    fn every_key_may_be_absent_and_no_other_may_be_there() {
        for (result, expected) in [
            ("{}", "200 content-type: application/json | "),
            (
                r#"{"statusCode": null, "headers": null, "multiValueHeaders": null, "body": null}"#,
                "200 content-type: application/json | ",
            ),
            (r#"{"headers": {"X-A": "b"}}"#, "200 content-type: application/json; x-a: b | "),
            (r#"{"statusCode": 201, "body": "é"}"#, "201 content-type: application/json | é"),
            (
                r#"{"statusCode": "201", "cookies": ["a"], "base64Encoded": 1}"#,
                "201 content-type: application/json | ",
            ),
            (
                r#"{"headers": {"Content-Type": "text/html"}, "body": "<p>"}"#,
                "200 content-type: text/html | <p>",
            ),
            (r#"{"statusCode": 204, "body": "x"}"#, "204 content-type: application/json | "),
            (r#"{"statusCode": 304, "body": "x"}"#, "304 content-type: application/json | "),
            (r#"{"statusCode": "test"}"#, "a `statusCode` that is no HTTP status: \"test\""),
            (r#"{"statusCode": 0}"#, "a `statusCode` that is no HTTP status: 0"),
            (r#"{"statusCode": 99}"#, "a `statusCode` that is no HTTP status: 99"),
            (r#"{"statusCode": 100}"#, "a `statusCode` that is no HTTP status: 100"),
            (r#"{"statusCode": 600}"#, "a `statusCode` that is no HTTP status: 600"),
            (r#"{"statusCode": 200.0}"#, "a `statusCode` that is no HTTP status: 200.0"),
            (r#"{"statusCode": true}"#, "a `statusCode` that is no HTTP status: true"),
            (r#"{"body": {"a": 1}}"#, "a `body` that is an object; it must be text"),
            (r#"{"body": 5}"#, "a `body` that is a number; it must be text"),
            (r#"{"statusCode": 200, "message": "x"}"#, "`message`, which a REST API does not know"),
            (r#""text""#, "text, not an object"),
            ("[1]", "a list, not an object"),
            ("3", "a number, not an object"),
            ("null", "null, not an object"),
            ("{", "what is no JSON"),
        ] {
            assert_eq!(answer(result), expected, "{result}");
        }
    }

    #[test]
    fn headers_are_strict_and_merged() {
        for (result, expected) in [
            (
                r#"{"headers": {"A": true, "B": 5, "C": 1.5, "D": null}}"#,
                "200 a: true; b: 5; c: 1.5; content-type: application/json | ",
            ),
            (
                r#"{"multiValueHeaders": {"Set-Cookie": ["a=1", "b=2"], "N": [1, false, null]}}"#,
                "200 content-type: application/json; n: 1; n: false; set-cookie: a=1; set-cookie: b=2 | ",
            ),
            (
                r#"{"headers": {"test-multi": "solo", "same": "x"},
                 "multiValueHeaders": {"Test-Multi": ["multi", "multi"], "same": ["x"]}}"#,
                "200 content-type: application/json; same: x; test-multi: multi; test-multi: multi; test-multi: solo | ",
            ),
            (r#"{"headers": {"a": ["b"]}}"#, "`headers` that cannot be sent: `a` is a list"),
            (r#"{"headers": {"a": {}}}"#, "`headers` that cannot be sent: `a` is an object"),
            (r#"{"headers": "a"}"#, "`headers` that cannot be sent: they are no object"),
            (r#"{"headers": {"a b": "c"}}"#, "`headers` that cannot be sent: \"a b\" is no name"),
            (
                r#"{"headers": {"a": "b\r\nc: d"}}"#,
                "`headers` that cannot be sent: `a` has characters that no header may have",
            ),
            (
                r#"{"multiValueHeaders": {"a": "b"}}"#,
                "`multiValueHeaders` that cannot be sent: `a` is text, not a list",
            ),
            (
                r#"{"multiValueHeaders": {"a": [["b"]]}}"#,
                "`multiValueHeaders` that cannot be sent: `a` is a list",
            ),
            (r#"{"multiValueHeaders": []}"#, "`multiValueHeaders` that cannot be sent: they are no object"),
        ] {
            assert_eq!(answer(result), expected, "{result}");
        }
    }

    #[test]
    fn some_headers_get_another_name() {
        assert_eq!(
            answer(
                r#"{"headers": {"WWW-Authenticate": "Basic", "Date": "now", "Connection": "close",
                    "Content-Length": 99, "Server": "me", "Transfer-Encoding": "chunked"}}"#
            ),
            "200 content-type: application/json; x-amzn-remapped-connection: close; \
             x-amzn-remapped-content-length: 99; x-amzn-remapped-date: now; x-amzn-remapped-server: me; \
             x-amzn-remapped-www-authenticate: Basic | "
        );
        assert_eq!(rename("WWW-Authenticate").as_deref(), Some("x-amzn-Remapped-WWW-Authenticate"));
    }

    #[test]
    fn base64_is_decoded_for_those_who_ask_for_binary() {
        for (accept, binary, flag, expected) in [
            ("image/png", &["image/png"][..], "true", "hi"),
            ("image/png,text/html", &["image/*"], "true", "hi"),
            ("text/html,image/png", &["image/*"], "true", "aGk="),
            ("*/*", &["image/png"], "true", "aGk="),
            ("*/*", &["*/*"], "true", "hi"),
            ("", &["*/*"], "true", "hi"),
            ("", &["image/png"], "true", "aGk="),
            ("image/png", &[], "true", "aGk="),
            ("image/png", &["image/png"], "false", "aGk="),
            ("image/png", &["image/png"], "null", "aGk="),
            ("image/png", &["image/png"], "\"true\"", "hi"),
        ] {
            let accept_line = if accept.is_empty() { String::new() } else { format!("Accept: {accept}\r\n") };
            let request = request(&format!("GET / HTTP/1.1\r\nHost: a\r\n{accept_line}\r\n"));
            let binary: Vec<String> = binary.iter().map(|pattern| (*pattern).to_owned()).collect();
            let result = format!(r#"{{"body": "aGk=", "isBase64Encoded": {flag}}}"#);
            assert_eq!(
                describe(response(result.as_bytes(), &request, &binary)),
                format!("200 content-type: application/json | {expected}"),
                "{accept} {binary:?} {flag}"
            );
        }
        let request = request("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let wrong = response(br#"{"body": "%", "isBase64Encoded": true}"#, &request, &["*/*".to_owned()]);
        assert_eq!(describe(wrong), "a `body` that is not base64, although `isBase64Encoded` is true");
    }
}

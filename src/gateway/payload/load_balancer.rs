//! Load balancers with a function as their target: headers once or with all values, as the target
//! group has it; nothing is decoded.

use axum::body::Body;
use http::Response;
use http::header::CONTENT_TYPE;
use serde::Serialize;
use serde_json::{Map, Value};

use super::super::Site;
use super::super::request::{LOAD_BALANCER_LIMIT, Matched, Request};
use super::result::{Draft, Malformed, object, own_name, status};
use super::{fields, query, text};
use crate::http::set_reason;
use crate::invocation::Invocation;

/// In AWS's order; of single and multi-value forms there is one.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    request_context: RequestContext<'a>,
    http_method: &'a str,
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    query_string_parameters: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_value_query_string_parameters: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_value_headers: Option<Map<String, Value>>,
    body: &'a str,
    is_base64_encoded: bool,
}

#[derive(Serialize)]
struct RequestContext<'a> {
    elb: Elb<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Elb<'a> {
    target_group_arn: &'a str,
}

pub fn event(request: &Request, matched: &Matched, site: &Site) -> Vec<u8> {
    let mut fields = fields::lower_case(request, site);
    if request.header("x-amzn-trace-id").is_some_and(|trace| trace.contains("Root=")) {
        // The client's trace goes on; what the balancer does is a part of it.
        let own = Invocation::new_trace_id(request.received.as_second().max(0) as u64).root;
        let trace = format!("Self={own};Root={}", request.trace.root);
        fields.insert("x-amzn-trace-id".into(), vec![trace.into()]);
    }
    let is_encoded = request.head.headers.contains_key(http::header::CONTENT_ENCODING);
    let is_text = !is_encoded && text::is_text(request.header(CONTENT_TYPE));
    let body = text::text_or_base64(&request.body, is_text);
    let pairs = query::raw(request.query());
    let (target_group_arn, multi) = target_group(matched);
    let (single_query, multi_query) =
        if multi { (None, Some(query::all(pairs))) } else { (Some(query::last(pairs)), None) };
    let event = Event {
        request_context: RequestContext { elb: Elb { target_group_arn } },
        http_method: request.head.method.as_str(),
        path: &matched.full_path,
        query_string_parameters: single_query,
        multi_value_query_string_parameters: multi_query,
        headers: (!multi).then(|| fields::last(&fields)),
        multi_value_headers: multi.then(|| fields::all(&fields)),
        is_base64_encoded: body.is_some() && !is_text,
        body: body.as_deref().unwrap_or_default(),
    };
    serde_json::to_vec(&event).expect("text is always serialisable")
}

/// The target group behind a rule: its ARN, and whether headers come as lists.
pub fn target_group(matched: &Matched) -> (&str, bool) {
    let group = matched.route().target_group.as_ref();
    group.map_or(("", false), |group| (&group.arn, group.multi_value_headers))
}

pub fn response(payload: &[u8], multi_value_headers: bool) -> Result<Response<Body>, Malformed> {
    if payload.len() > LOAD_BALANCER_LIMIT {
        return Err(Malformed::TooLong(payload.len()));
    }
    let mut object = object(payload)?;
    let status = match object.get("statusCode") {
        None | Some(Value::Null) => return Err(Malformed::NoStatusCode),
        Some(Value::Number(number)) => status(&Value::Number(number.clone()))?,
        Some(other) => return Err(Malformed::StatusCode(other.to_string())),
    };
    let mut draft = Draft::new(status);
    let (headers, others) = (object.remove("headers"), object.remove("multiValueHeaders"));
    if multi_value_headers {
        draft.multi_value_headers(others, own_name)?;
        warn_of(headers, "headers", "multiValueHeaders");
    } else {
        draft.headers(headers, own_name)?;
        warn_of(others, "multiValueHeaders", "headers");
    }
    let is_base64 = object.get("isBase64Encoded") == Some(&Value::Bool(true));
    draft.body(object.remove("body"), is_base64)?;
    let mut response = draft.finish("application/octet-stream");
    // `404 Not Found`: its words stand behind the status.
    let description = object.get("statusDescription").and_then(Value::as_str);
    let words = description.and_then(|text| text.trim().strip_prefix(status.as_str())).map(str::trim);
    if let Some(words) = words.filter(|words| !words.is_empty()) {
        set_reason(&mut response, words);
    }
    Ok(response)
}

/// The form that the target group does not have is passed over.
fn warn_of(passed_over: Option<Value>, name: &str, instead: &str) {
    if passed_over.is_some_and(|headers| headers.as_object().is_some_and(|headers| !headers.is_empty())) {
        tracing::warn!(
            "a load balancer's target returned `{name}`, which its target group does not look at\nhint: return `{instead}`, or change the attribute `lambda.multi_value_headers.enabled`"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::golden::describe;
    use super::*;

    #[test]
    fn results_become_responses() {
        for (multi, result, expected) in [
            (
                false,
                r#"{"statusCode": 200, "statusDescription": "200 OK", "headers": {"Content-Type": "text/html", "X-N": 1},
                        "body": "<p>", "isBase64Encoded": false}"#,
                "200 OK content-type: text/html; x-n: 1 | <p>",
            ),
            (
                false,
                r#"{"statusCode": 418, "statusDescription": "418 Short and stout"}"#,
                "418 Short and stout content-type: application/octet-stream | ",
            ),
            (
                false,
                r#"{"statusCode": 404, "statusDescription": "200 OK"}"#,
                "404 content-type: application/octet-stream | ",
            ),
            (
                false,
                r#"{"statusCode": 200, "statusDescription": "200 a\r\nb: c"}"#,
                "200 content-type: application/octet-stream | ",
            ),
            (
                false,
                r#"{"statusCode": 200, "multiValueHeaders": {"a": ["b"]}, "body": "aGk=", "isBase64Encoded": true}"#,
                "200 content-type: application/octet-stream | hi",
            ),
            (
                true,
                r#"{"statusCode": 200, "multiValueHeaders": {"Set-Cookie": ["a=1", "b=2"]}, "headers": {"a": "b"}}"#,
                "200 content-type: application/octet-stream; set-cookie: a=1; set-cookie: b=2 | ",
            ),
            (
                true,
                r#"{"statusCode": 200, "multiValueHeaders": {"a": "b"}}"#,
                "`multiValueHeaders` that cannot be sent: `a` is text, not a list",
            ),
            (false, r#"{"body": "x"}"#, "no `statusCode`"),
            (false, r#"{"statusCode": "200"}"#, "a `statusCode` that is no HTTP status: \"200\""),
            (false, r#"{"statusCode": 100}"#, "a `statusCode` that is no HTTP status: 100"),
            (false, r#"{"statusCode": 200, "body": {}}"#, "a `body` that is an object; it must be text"),
            (
                false,
                r#"{"statusCode": 200, "headers": {"a": ["b"]}}"#,
                "`headers` that cannot be sent: `a` is a list",
            ),
            (false, r#""text""#, "text, not an object"),
            (false, "NaN", "what is no JSON"),
        ] {
            assert_eq!(describe(response(result.as_bytes(), multi)), expected, "{result}");
        }
    }

    #[test]
    fn a_megabyte_is_the_most() {
        let around = r#"{"statusCode": 200, "body": ""}"#.len();
        for (length, fits) in [(LOAD_BALANCER_LIMIT, true), (LOAD_BALANCER_LIMIT + 1, false)] {
            let body = "x".repeat(length - around);
            let result = format!(r#"{{"statusCode": 200, "body": "{body}"}}"#);
            assert_eq!(result.len(), length);
            assert_eq!(response(result.as_bytes(), false).is_ok(), fits, "{length}");
        }
    }
}

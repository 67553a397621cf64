//! Responses that leave while the handler still runs: function URLs with `InvokeMode:
//! RESPONSE_STREAM`, and REST integrations with `responseTransferMode: STREAM`.
//!
//! A stream begins with status, headers and cookies as JSON. A function URL does without, a REST API
//! then looks for them in the body itself, before eight null bytes: that is what Lambda's own
//! runtimes send. A handler that makes no stream is answered as anywhere else.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};
use http_body::Frame;
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::time::Sleep;

use super::error::GatewayError;
use super::request::{Caller, Matched, Request};
use super::{Gateway, payload, with_stage_variables};
use crate::api::{Kind, PayloadVersion};
use crate::invoker::{ResponseStream, Streamed};

/// How long a REST API waits for the next piece.
const REST_IDLE: Duration = Duration::from_secs(300);
/// In so much of the body a REST API looks for the delimiter.
const REST_PRELUDE: usize = 16 * 1024;
const DELIMITER: [u8; 8] = [0; 8];

/// AWS_PROXY, for a client who takes the response as it is made. Returns when it has begun.
pub async fn proxy(
    gateway: &Gateway,
    request: &Request,
    matched: &Matched,
    caller: &Caller,
    function: &str,
    version: PayloadVersion,
) -> Result<Response<Body>, GatewayError> {
    let function = with_stage_variables(function, matched);
    let request_id = request.invocation_id(matched.kind());
    let event = payload::event(request, matched, version, caller, gateway.site(), &request_id);
    let trace = request.trace.for_function();
    let invocation = gateway.invocation(&function, event, trace, request_id.clone())?;
    let mut stream = match gateway.invoker().invoke_streaming(&function, invocation).await? {
        Streamed::Whole(completed) => {
            return gateway.proxied(completed, request, matched, &function, version);
        }
        Streamed::Stream(stream) => stream,
    };
    let malformed = |reason: String| GatewayError::Integration(format!("{function} streamed {reason}"));
    let mut first = Vec::new();
    if matched.kind() == Kind::Rest && stream.metadata.is_none() {
        let mut prelude = Prelude::default();
        while !prelude.is_settled() {
            match stream.next().await {
                Some(piece) => prelude.push(&piece),
                None => break,
            }
        }
        let (metadata, rest) = prelude.split().ok_or_else(|| {
            malformed(
                "no status and headers, which a REST API needs; yield {\"statusCode\": 200} first".to_owned(),
            )
        })?;
        (stream.metadata, first) = (Some(metadata), rest);
    }
    let metadata = match &stream.metadata {
        Some(metadata) => Metadata::read(metadata).map_err(malformed)?,
        None => Metadata::default(),
    };
    let mut response = metadata.response().map_err(malformed)?;
    let id = HeaderValue::from_str(&request_id).expect("a UUID is a valid header");
    response.headers_mut().insert("x-amzn-requestid", id);
    let status = response.status();
    let is_bodiless = request.head.method == Method::HEAD
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED;
    let body = if is_bodiless {
        // The handler is not told that nobody listens: nobody was to.
        tokio::spawn(async move { while stream.next().await.is_some() {} });
        StreamBody { first: Vec::new(), stream: None, idle: None, failing: false }
    } else {
        let idle = (matched.kind() == Kind::Rest).then(|| Idle::new(REST_IDLE));
        StreamBody { first, stream: Some(stream), idle, failing: false }
    };
    *response.body_mut() = Body::new(body);
    Ok(response)
}

/// What a stream begins with, in the words of a proxy integration's result.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    status_code: Option<Value>,
    headers: Option<Map<String, Value>>,
    multi_value_headers: Option<Map<String, Value>>,
    cookies: Option<Vec<String>>,
}

impl Metadata {
    fn read(json: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(json).map_err(|error| format!("status and headers that are no such: {error}"))
    }

    /// Without a body yet.
    fn response(self) -> Result<Response<Body>, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in self.headers.unwrap_or_default() {
            add_header(&mut headers, &name, &value)?;
        }
        for (name, values) in self.multi_value_headers.unwrap_or_default() {
            let Value::Array(values) = values else {
                return Err(format!("multiValueHeaders with `{name}` as something other than a list"));
            };
            for value in values {
                add_header(&mut headers, &name, &value)?;
            }
        }
        for cookie in self.cookies.unwrap_or_default() {
            let value = HeaderValue::from_str(&cookie);
            headers.append(header::SET_COOKIE, value.map_err(|_| "a cookie that no header can hold")?);
        }
        if !headers.contains_key(header::CONTENT_TYPE) {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status(self.status_code.as_ref())?;
        *response.headers_mut() = headers;
        Ok(response)
    }
}

fn status(value: Option<&Value>) -> Result<StatusCode, String> {
    let number = match value {
        None | Some(Value::Null) => Some(200),
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) => text.parse().ok(),
        Some(_) => None,
    };
    // 1xx would leave the client waiting for the real answer.
    number
        .filter(|number| (200..=599).contains(number))
        .and_then(|number| StatusCode::from_u16(number as u16).ok())
        .ok_or_else(|| format!("the statusCode {}", value.unwrap_or(&Value::Null)))
}

fn add_header(headers: &mut HeaderMap, name: &str, value: &Value) -> Result<(), String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        Value::Null => return Ok(()),
        _ => return Err(format!("the header `{name}` as a list or an object")),
    };
    let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("a header named {name:?}"))?;
    let value = HeaderValue::from_bytes(text.as_bytes())
        .map_err(|_| format!("the header `{name}` with characters that no header may have"))?;
    // Those that describe the transfer are ours to write.
    if !matches!(parsed.as_str(), "content-length" | "transfer-encoding" | "connection" | "keep-alive") {
        headers.append(parsed, value);
    }
    Ok(())
}

/// The beginning of a body that holds its own metadata.
#[derive(Default)]
struct Prelude {
    bytes: Vec<u8>,
    delimiter: Option<usize>,
}

impl Prelude {
    fn push(&mut self, piece: &[u8]) {
        // It may have begun in what came before.
        let from = self.bytes.len().saturating_sub(DELIMITER.len() - 1);
        self.bytes.extend_from_slice(piece);
        let searched = &self.bytes[from..self.bytes.len().min(REST_PRELUDE).max(from)];
        let found = searched.windows(DELIMITER.len()).position(|window| window == DELIMITER);
        self.delimiter = self.delimiter.or(found.map(|at| from + at));
    }

    fn is_settled(&self) -> bool {
        self.delimiter.is_some() || self.bytes.len() >= REST_PRELUDE
    }

    /// Metadata, and what follows the delimiter.
    fn split(mut self) -> Option<(Vec<u8>, Vec<u8>)> {
        let at = self.delimiter?;
        let rest = self.bytes.split_off(at + DELIMITER.len());
        self.bytes.truncate(at);
        Some((self.bytes, rest))
    }
}

/// What a stream may begin with, in pieces, and what is made of it.
#[cfg(any(test, fuzzing))]
pub fn begin(bytes: &[u8]) {
    let mut prelude = Prelude::default();
    for piece in bytes.chunks(7) {
        if prelude.is_settled() {
            break;
        }
        prelude.push(piece);
    }
    let metadata = prelude.split().map_or_else(|| bytes.to_vec(), |(metadata, _)| metadata);
    if let Ok(metadata) = Metadata::read(&metadata) {
        let _ = metadata.response();
    }
}

/// The body of a response that is still being made.
struct StreamBody {
    /// What was read ahead.
    first: Vec<u8>,
    /// `None`: there is no body, as its length would not be known either.
    stream: Option<ResponseStream>,
    idle: Option<Idle>,
    /// It ends in the middle, as soon as what came before is on its way.
    failing: bool,
}

/// The time since the last piece.
struct Idle {
    limit: Duration,
    timer: Pin<Box<Sleep>>,
}

impl Idle {
    fn new(limit: Duration) -> Self {
        Self { limit, timer: Box::pin(tokio::time::sleep(limit)) }
    }

    fn restart(&mut self) {
        self.timer.as_mut().reset(tokio::time::Instant::now() + self.limit);
    }
}

/// Ends the connection in the middle, so that the client sees that it has not got everything.
#[derive(Debug)]
enum Cut {
    /// What went wrong has been said where it happened.
    Failed,
    Idle(Duration),
}

impl fmt::Display for Cut {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed => formatter.write_str("the function failed while it streamed its response"),
            Self::Idle(limit) => {
                write!(formatter, "nothing was streamed for {} s, the idle limit", limit.as_secs())
            }
        }
    }
}

impl std::error::Error for Cut {}

impl http_body::Body for StreamBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if !self.first.is_empty() {
            let first = std::mem::take(&mut self.first);
            return Poll::Ready(Some(Ok(Frame::data(first.into()))));
        }
        let this = &mut *self;
        let Some(stream) = &mut this.stream else { return Poll::Ready(None) };
        match stream.poll_next(context) {
            Poll::Ready(Some(piece)) => {
                if let Some(idle) = &mut this.idle {
                    idle.restart();
                }
                Poll::Ready(Some(Ok(Frame::data(piece.into()))))
            }
            Poll::Ready(None) if stream.is_complete() => Poll::Ready(None),
            // What hyper holds back it would throw away; when there is nothing to do, it sends it.
            Poll::Ready(None) if !std::mem::replace(&mut this.failing, true) => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(None) => Poll::Ready(Some(Err(Cut::Failed))),
            Poll::Pending => match &mut this.idle {
                Some(idle) => idle.timer.as_mut().poll(context).map(|()| {
                    let cut = Cut::Idle(idle.limit);
                    tracing::warn!(target: "request", "{cut}; the client is cut off");
                    Some(Err(cut))
                }),
                None => Poll::Pending,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn response(json: &str) -> Result<Response<Body>, String> {
        Metadata::read(json.as_bytes()).and_then(Metadata::response)
    }

    #[test]
    fn metadata_is_status_headers_and_cookies() {
        let response = response(
            r#"{"statusCode": "201", "headers": {"Content-Type": "text/html", "X-Number": 5, "X-None": null,
                "Content-Length": "7"}, "multiValueHeaders": {"X-Many": ["a", "b"]}, "cookies": ["a=1", "b=2; Path=/"],
                "unknown": true}"#,
        )
        .unwrap();
        assert_eq!(response.status(), 201);
        let all = |name: &str| -> Vec<&str> {
            response.headers().get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
        };
        assert_eq!(all("content-type"), ["text/html"]);
        assert_eq!(all("x-number"), ["5"]);
        assert_eq!(all("x-none"), [""; 0]);
        assert_eq!(all("content-length"), [""; 0]);
        assert_eq!(all("x-many"), ["a", "b"]);
        assert_eq!(all("set-cookie"), ["a=1", "b=2; Path=/"]);
    }

    #[test]
    fn what_is_left_out_has_defaults() {
        let response = response("{}").unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/octet-stream");
        assert_eq!(Metadata::default().response().unwrap().headers().len(), 1);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for json in [
            "",
            "[]x",
            "7",
            r#"{"statusCode": 100}"#,
            r#"{"statusCode": 600}"#,
            r#"{"statusCode": 200.5}"#,
            r#"{"statusCode": []}"#,
            r#"{"headers": []}"#,
            r#"{"headers": {"a b": "1"}}"#,
            r#"{"headers": {"a": "1\n2"}}"#,
            r#"{"headers": {"a": ["1"]}}"#,
            r#"{"multiValueHeaders": {"a": "1"}}"#,
            r#"{"cookies": "a=1"}"#,
            r#"{"cookies": ["a=1\r\nX: y"]}"#,
        ] {
            assert!(response(json).is_err(), "{json}");
        }
    }

    fn split(pieces: &[&[u8]]) -> Option<(Vec<u8>, Vec<u8>)> {
        let mut prelude = Prelude::default();
        for piece in pieces {
            assert!(!prelude.is_settled());
            prelude.push(piece);
        }
        prelude.split()
    }

    #[test]
    fn metadata_may_stand_in_the_body() {
        let expected = Some((b"{}".to_vec(), b"body".to_vec()));
        assert_eq!(split(&[b"{}\0\0\0\0\0\0\0\0body"]), expected);
        assert_eq!(split(&[b"{", b"}\0\0\0", b"\0\0\0\0", b"\0body"]), expected);
        assert_eq!(split(&[b"{}\0\0\0\0\0\0\0", b"body"]), None);
        assert_eq!(split(&[]), None);
        let late = [vec![b' '; REST_PRELUDE - 7], DELIMITER.to_vec()].concat();
        assert_eq!(split(&[&late]), None, "it begins too late");
        let in_time = [vec![b' '; REST_PRELUDE - 8], DELIMITER.to_vec()].concat();
        assert!(split(&[&in_time]).is_some());
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            bytes in proptest::collection::vec(prop_oneof![3 => Just(0u8), 1 => any::<u8>()], 0..64),
            size in 1usize..9,
        ) {
            let whole = split(&[&bytes]);
            let mut prelude = Prelude::default();
            let mut rest = Vec::new();
            for piece in bytes.chunks(size) {
                if prelude.is_settled() { rest.extend_from_slice(piece) } else { prelude.push(piece) }
            }
            let parts = prelude.split().map(|(metadata, first)| (metadata, [first, rest].concat()));
            prop_assert_eq!(parts, whole);
        }
    }
}

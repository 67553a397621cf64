//! `POST /2021-11-15/functions/NAME/response-streaming-invocations`: InvokeWithResponseStream.
//!
//! Whatever comes of the function, the answer is a stream of events: chunks of its response, and how
//! it ended.

use std::pin::Pin;
use std::task::{self, Poll, ready};
use std::time::Instant;

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue as EventValue, Message};
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::response::Response;
use http::{HeaderMap, HeaderValue, header};
use http_body::Frame;

use super::LambdaApi;
use super::error::ApiError;
use super::invoke::{Asked, Parameters, ask, dry_run, log, log_tail, with_request_id};
use crate::invocation::{Completed, Outcome};
use crate::invoker::{InvokeError, ResponseStream, Streamed};

/// Between what the function says of its response and the body of it.
const DELIMITER: [u8; 8] = [0; 8];
/// A result that comes whole is sent in chunks of this size.
const CHUNK: usize = 64 * 1024;

pub async fn invoke(
    State(api): State<LambdaApi>,
    Path(function): Path<String>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let began = Instant::now();
    let kinds = ["RequestResponse", "DryRun"];
    let Asked { named, invocation, trace, tail } =
        match ask(&api, &function, &parameters, &headers, body, &kinds).await? {
            Some(asked) => asked,
            None => return Ok(dry_run()),
        };
    let request_id = invocation.request_id.clone();
    let streamed = api.invoker.invoke_streaming(&named.target(), invocation).await;
    let (version, body) = match streamed.map_err(|error| ApiError::of(error, named.arn.clone()))? {
        Streamed::Whole(completed) => {
            log(&named.name, &request_id, began, completed.outcome.failure().is_some());
            (completed.executed_version.clone(), Body::from(whole(&completed, tail)))
        }
        Streamed::Stream(mut stream) => {
            let head = stream.metadata.take().map(|metadata| [&metadata[..], &DELIMITER].concat());
            let (function, request_id) = (named.name, request_id.clone());
            let version = stream.executed_version.clone();
            (version, Body::new(Events { head, stream, tail, function, request_id, began, ended: false }))
        }
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/vnd.amazon.eventstream"));
    let version = HeaderValue::from_str(&version).expect("a version is a valid header");
    headers.insert("x-amz-executed-version", version);
    let trace = format!("root={};sampled=0", trace.root);
    headers.insert("x-amzn-trace-id", HeaderValue::from_str(&trace).expect("a trace is a valid header"));
    Ok(with_request_id(response, &request_id))
}

/// All events of a response that was not streamed.
fn whole(completed: &Completed, tail: bool) -> Vec<u8> {
    let mut events = Vec::new();
    if let Outcome::Returned { payload, .. } = &completed.outcome {
        for part in payload.chunks(CHUNK) {
            chunk(part, &mut events);
        }
    }
    complete(completed, tail, &mut events);
    events
}

fn chunk(payload: &[u8], events: &mut Vec<u8>) {
    event("PayloadChunk", "application/octet-stream", payload.to_vec(), events);
}

/// The last event: how it ended.
fn complete(completed: &Completed, tail: bool, events: &mut Vec<u8>) {
    let mut fields = serde_json::Map::new();
    if let Outcome::Failed { payload, .. } = &completed.outcome {
        let error: serde_json::Value = serde_json::from_slice(payload).unwrap_or_default();
        fields.insert("ErrorCode".to_owned(), error["errorType"].as_str().unwrap_or("Unhandled").into());
        fields.insert("ErrorDetails".to_owned(), String::from_utf8_lossy(payload).into());
    }
    if tail {
        fields.insert("LogResult".to_owned(), log_tail(completed).into());
    }
    end(fields, events);
}

/// The invocation was lost by a mistake of ours.
fn lost(error: &InvokeError, events: &mut Vec<u8>) {
    let fields = [("ErrorCode", "ServiceException".to_owned()), ("ErrorDetails", error.to_string())];
    end(fields.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect(), events);
}

fn end(fields: serde_json::Map<String, serde_json::Value>, events: &mut Vec<u8>) {
    let payload = serde_json::Value::Object(fields).to_string().into_bytes();
    event("InvokeComplete", "application/json", payload, events);
}

fn event(kind: &'static str, content_type: &'static str, payload: Vec<u8>, events: &mut Vec<u8>) {
    let text = |name: &'static str, value: &'static str| Header::new(name, EventValue::String(value.into()));
    let message = Message::new(payload)
        .add_header(text(":event-type", kind))
        .add_header(text(":content-type", content_type))
        .add_header(text(":message-type", "event"));
    write_message_to(&message, events).expect("a chunk is far from the limits of a message");
}

/// The events of a response that is still being made.
struct Events {
    head: Option<Vec<u8>>,
    stream: ResponseStream,
    tail: bool,
    function: String,
    request_id: String,
    began: Instant,
    ended: bool,
}

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let mut events = Vec::new();
        if let Some(head) = self.head.take() {
            chunk(&head, &mut events);
        } else if self.ended {
            return Poll::Ready(None);
        } else if let Some(piece) = ready!(self.stream.poll_next(context)) {
            chunk(&piece, &mut events);
        } else {
            self.ended = true;
            match self.stream.completed() {
                Some(Ok(completed)) => complete(completed, self.tail, &mut events),
                Some(Err(error)) => lost(error, &mut events),
                None => {}
            }
            log(&self.function, &self.request_id, self.began, !self.stream.is_complete());
        }
        Poll::Ready(Some(Ok(Frame::data(events.into()))))
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        if !self.ended {
            let function = &self.function;
            tracing::info!(target: "request", function, "invoke {function}: the caller went away before the end");
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_smithy_eventstream::frame::read_message_from;

    use super::*;
    use crate::invocation::{Failure, Usage};

    fn completed(outcome: Outcome) -> Completed {
        let log = b"REPORT".to_vec();
        Completed { outcome, usage: Usage::default(), log, executed_version: "$LATEST".to_owned() }
    }

    /// Kind and payload of each event.
    fn read(mut events: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut read = Vec::new();
        while !events.is_empty() {
            let message = read_message_from(&mut events).unwrap();
            let value = |name: &str| {
                let header = message.headers().iter().find(|header| header.name().as_str() == name).unwrap();
                header.value().as_string().unwrap().as_str().to_owned()
            };
            assert_eq!(value(":message-type"), "event");
            read.push((
                format!("{} {}", value(":event-type"), value(":content-type")),
                message.payload().to_vec(),
            ));
        }
        read
    }

    #[test]
    fn a_whole_result_comes_in_chunks() {
        let payload = vec![7; CHUNK + 1];
        let events =
            read(&whole(&completed(Outcome::Returned { payload: payload.clone(), raw: true }), false));
        assert_eq!(
            events,
            [
                ("PayloadChunk application/octet-stream".to_owned(), payload[..CHUNK].to_vec()),
                ("PayloadChunk application/octet-stream".to_owned(), payload[CHUNK..].to_vec()),
                ("InvokeComplete application/json".to_owned(), b"{}".to_vec()),
            ]
        );
    }

    #[test]
    fn a_failure_is_told_at_the_end_with_the_log() {
        let payload = br#"{"errorMessage":"no","errorType":"ValueError"}"#.to_vec();
        let events = read(&whole(&completed(Outcome::Failed { payload, failure: Failure::Raised }), true));
        assert_eq!(events.len(), 1);
        let fields: serde_json::Value = serde_json::from_slice(&events[0].1).unwrap();
        assert_eq!(fields["ErrorCode"], "ValueError");
        assert_eq!(fields["ErrorDetails"], r#"{"errorMessage":"no","errorType":"ValueError"}"#);
        assert_eq!(fields["LogResult"], "UkVQT1JU");
    }
}

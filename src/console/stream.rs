//! Event streams: how what happens is sent to a page, until the gateway stops.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, stream};
use http::header;
use serde_json::Value;
use tokio::sync::watch;

/// So that whoever is in between does not take the stream for dead, a comment is sent this often.
pub const BEAT: Duration = Duration::from_secs(15);
pub const COMMENT: &str = ":\n\n";

pub fn event(name: &str, data: &Value) -> String {
    // JSON has no line breaks of its own.
    format!("event: {name}\ndata: {data}\n\n")
}

/// `first` goes out at once, so that the reader knows that it is heard.
pub fn response(first: String, events: impl Stream<Item = String> + Send + 'static) -> Response {
    let events = stream::iter([first]).chain(events).map(|text| Ok::<_, Infallible>(Bytes::from(text)));
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    (headers, Body::from_stream(events)).into_response()
}

pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Whoever could say it is gone: the same.
    let _ = stop.wait_for(|stops| *stops).await;
}

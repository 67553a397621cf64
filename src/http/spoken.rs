//! What is spoken on a connection: HTTP/1, or what hyper finds out.
//!
//! Nearly all connections begin with a method of HTTP/1, which a look at the first bytes shows. hyper finds it
//! out by a read of its own, after which it takes a buffer twice as large for as long as the connection lasts.

use std::convert::Infallible;
use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use super::wire::Wire;
use super::{HEADER_BYTES, RESET_STREAMS, STREAMS, deadlines};
use crate::config::Connections;
use crate::defences;

/// How connections are served.
pub(super) struct Builders {
    http1: http1::Builder,
    any: auto::Builder<TokioExecutor>,
}

impl Builders {
    pub fn new() -> Self {
        let reset_streams = if defences::off("reset-cap") { usize::MAX } else { RESET_STREAMS };
        let mut http1 = http1::Builder::new();
        // Deadlines are our own: hyper's costs a timer with every request.
        http1.header_read_timeout(None).max_buf_size(HEADER_BYTES.max(8192)).max_header_size(HEADER_BYTES);
        let mut any = auto::Builder::new(TokioExecutor::new());
        any.http1().header_read_timeout(None).max_buf_size(HEADER_BYTES.max(8192));
        any.http2()
            .timer(TokioTimer::new())
            .max_header_list_size(HEADER_BYTES as u32)
            .max_concurrent_streams(STREAMS)
            .max_pending_accept_reset_streams(reset_streams)
            .max_local_error_reset_streams(reset_streams)
            .keep_alive_interval(Some(Duration::from_secs(20)));
        Self { http1, any }
    }

    pub fn serve<Stream, S>(&self, is_http1: bool, stream: Stream, service: S) -> Spoken<'_, Stream, S>
    where
        Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
        S::Future: Send + 'static,
    {
        let stream = TokioIo::new(stream);
        match is_http1 {
            true => Spoken::Http1(self.http1.serve_connection(stream, service).with_upgrades()),
            false => Spoken::Any(Box::pin(self.any.serve_connection_with_upgrades(stream, service))),
        }
    }
}

/// A connection that is being served.
#[allow(clippy::large_enum_variant)] // the large one is the usual one
pub(super) enum Spoken<'a, Stream, S>
where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
{
    Http1(http1::UpgradeableConnection<TokioIo<Stream>, S>),
    /// Beside it: few connections need room for it.
    Any(Pin<Box<auto::UpgradeableConnection<'a, TokioIo<Stream>, S, TokioExecutor>>>),
}

impl<Stream, S> Spoken<'_, Stream, S>
where
    Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    pub fn graceful_shutdown(&mut self) {
        match self {
            Self::Http1(connection) => Pin::new(connection).graceful_shutdown(),
            Self::Any(connection) => connection.as_mut().graceful_shutdown(),
        }
    }

    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Box<dyn Error + Send + Sync>>> {
        match self {
            Self::Http1(connection) => Pin::new(connection).poll(context).map_err(Into::into),
            Self::Any(connection) => connection.as_mut().poll(context),
        }
    }
}

/// Whether the first bytes can only be HTTP/1's. `None`: there were none in time.
pub(super) async fn begins_as_http1(
    stream: &Wire,
    limits: Connections,
    stop: &mut watch::Receiver<bool>,
) -> Option<bool> {
    let mut first = [0; PREFACE.len()];
    let silence = deadlines::unless_off("first-byte-deadline", limits.first_byte.min(limits.header));
    let read = tokio::select! {
        biased;
        read = stream.peek(&mut first) => read,
        // Whoever is on the way then is waited for, and not for long.
        _ = stop.wait_for(|stop| *stop) => return Some(false),
        () = tokio::time::sleep(silence) => return None,
    };
    // An end or an error is met again by whoever reads.
    let read = read.unwrap_or_default();
    Some(!PREFACE.starts_with(&first[..read]))
}

/// What HTTP/2 begins with, as far as it tells it from a method of HTTP/1.
const PREFACE: &[u8; 3] = b"PRI";

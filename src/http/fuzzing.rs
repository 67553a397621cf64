//! Bytes of a connection, thrown at hyper with what keeps the spelling of names in between: where they
//! both see a request, they see the same one.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::spelling::Recorded;

thread_local! {
    static RUNTIME: RefCell<tokio::runtime::Runtime> =
        RefCell::new(tokio::runtime::Builder::new_current_thread().build().unwrap());
}

/// A client that sends so many bytes at once, by turns, and reads nothing.
struct Client<'a> {
    cuts: std::iter::Cycle<std::slice::Iter<'a, u8>>,
    left: &'a [u8],
}

impl AsyncRead for Client<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let cut = usize::from(*self.cuts.next().unwrap_or(&u8::MAX)).max(1);
        let (now, later) = self.left.split_at(cut.min(self.left.len()).min(buffer.remaining()));
        buffer.put_slice(now);
        self.left = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Client<'_> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

pub fn spelling(cuts: &[u8], sent: &[u8]) {
    let (stream, heads) = Recorded::new(Client { cuts: cuts.iter().cycle(), left: sent });
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let spelling = heads.take(request.method(), request.version(), request.headers());
        if let Some(spelling) = spelling {
            let seen: Vec<&str> = request.headers().keys().map(|name| name.as_str()).collect();
            for name in &seen {
                assert!(spelling.of(name).is_some(), "{name} is nowhere in {spelling:?}");
            }
            for name in spelling.names() {
                // Of two framings hyper takes one, and drops the other.
                let dropped =
                    name.eq_ignore_ascii_case("content-length") && seen.contains(&"transfer-encoding");
                let known = dropped || seen.iter().any(|seen| seen.eq_ignore_ascii_case(name.trim()));
                assert!(known, "hyper does not know {name:?} of {spelling:?}");
            }
        }
        async move {
            let _ = axum::body::to_bytes(Body::new(request.into_body()), 1 << 20).await;
            Ok::<_, Infallible>(Response::new(Body::empty()))
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .max_buf_size(super::HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    // What is no HTTP is refused by hyper.
    let _ = RUNTIME.with_borrow(|runtime| runtime.block_on(connection));
}

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

use super::checks::check;
use super::frames::Frames;
use super::proxies::correct;
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

/// A head that passes the checks says one thing only, whoever reads it; and what proxies say changes
/// neither who has sent it, unless they are trusted, nor how many hosts it names.
pub fn head(sent: &[u8]) {
    let (stream, heads) = Recorded::new(Client { cuts: [].iter().cycle(), left: sent });
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (head, body) = request.into_parts();
        let spelling = heads.take(&head.method, head.version, &head.headers);
        if check(head.version, &head.uri, &head.headers, spelling.as_ref()).is_ok()
            && let Some(spelling) = &spelling
        {
            says_one_thing(spelling.bytes());
        }
        let mut request = Request::from_parts(head, ());
        let peer = ([192, 0, 2, 1], 7).into();
        let trusted = ["192.0.2.0/24".parse().expect("a network")];
        let hosts = |request: &Request<()>| request.headers().get_all(http::header::HOST).iter().count();
        let before = hosts(&request);
        correct(&mut request, peer, &std::sync::Arc::from([]));
        assert_eq!(request.extensions().get::<super::Peer>().map(|peer| peer.0), Some(peer));
        correct(&mut request, peer, &std::sync::Arc::from(trusted));
        assert!(hosts(&request) <= before.max(1), "a proxy cannot name two");
        async move {
            let _ = axum::body::to_bytes(Body::new(body), 1 << 20).await;
            Ok::<_, Infallible>(Response::new(Body::empty()))
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .max_buf_size(super::HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let _ = RUNTIME.with_borrow(|runtime| runtime.block_on(connection));
    // However it is cut, the same is counted.
    let whole = Frames::default().pass(sent);
    let mut cut = Frames::default();
    assert_eq!(sent.chunks(5).try_for_each(|part| cut.pass(part)), whole);
}

/// As the most careless of servers would read it: by lines, whatever ends them, and names up to a colon.
fn says_one_thing(head: &[u8]) {
    let lines = || head.split(|byte| matches!(byte, b'\r' | b'\n')).skip(1);
    let named = |wanted: &[u8]| {
        let is_named = |line: &&[u8]| {
            let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
            name.trim_ascii().eq_ignore_ascii_case(wanted)
        };
        lines().filter(is_named).count()
    };
    let text = String::from_utf8_lossy(head);
    let [hosts, lengths, encodings] = [&b"host"[..], b"content-length", b"transfer-encoding"].map(named);
    assert!(hosts <= 1 && lengths + encodings <= 1, "{text}");
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

//! Listening and speaking HTTP: connections with deadlines, and an end that comes.
//!
//! The accept loop is our own because `axum::serve` waits for ever for a header that does not come,
//! and its graceful stop with it.
//!
//! A connection: [`admission`] (is there a place?), `wire` (bytes of the network), `tls`, `spoken` (HTTP/1 or
//! 2), [`spelling`] (heads as they were sent), hyper, `checks` (what hyper lets through), the service. [`deadlines`] looks
//! at all of them.

mod admission;
mod body;
mod bug;
mod checks;
mod counters;
mod deadlines;
mod frames;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod proxies;
mod spelling;
mod spoken;
mod threads;
pub mod tls;
pub mod web_socket;
mod wire;

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response, StatusCode, Version, header};
use hyper::body::{Body as _, Incoming};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use crate::{allocator, defences};

pub use admission::Admission;
pub use counters::Counters;
pub use proxies::{Forwarded, Proxies};
pub use spelling::Spelling;
pub use threads::Threads;

use admission::{Lingering, Place, Spare};
use body::{Delivered, RequestBody, Streamed};
use checks::Refusal;
use counters::count;
use deadlines::{Guard, Pulse, Reason};
use spoken::Builders;
use threads::Seat;
use wire::Wire;

/// All header fields of a request together.
const HEADER_BYTES: usize = 64 * 1024;
/// Streams of a connection at once (HTTP/2).
const STREAMS: u32 = 200;
/// Streams that a client may make fail before the connection is given up.
const RESET_STREAMS: usize = 50;
/// Of an answer, so much waits in the kernel for a client that does not read; the rest waits here, where
/// it is seen whether it goes on.
const UNSENT_BYTES: u32 = 64 * 1024;
/// When accepting fails, for this long nothing is accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// At the end so many are let in who wait at the door: as many as the kernel keeps there.
const ARRIVED: usize = 4096;
/// From telling a client that its connection ends to ending it.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The client's address, as an extension of its requests.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// What a connection is encrypted with, as an extension of its requests.
#[derive(Debug, Clone)]
pub struct Encryption {
    /// `TLSv1.3`
    pub version: String,
    /// `TLS_AES_128_GCM_SHA256`
    pub cipher_suite: String,
}

/// Who answers requests, at any time and always: the gateway, the control plane.
pub trait Answering: Clone + Send + 'static {
    fn answer(self, request: Request<Body>) -> impl Future<Output = Response<Body>> + Send;
}

/// Puts these words behind the status of a response, where HTTP/1 has words there. False if they
/// cannot stand there.
pub fn set_reason<B>(response: &mut Response<B>, words: &str) -> bool {
    let reason = hyper::ext::ReasonPhrase::try_from(words.as_bytes());
    reason.map(|reason| response.extensions_mut().insert(reason)).is_ok()
}

#[cfg(test)]
pub fn reason<B>(response: &Response<B>) -> Option<&str> {
    let reason = response.extensions().get::<hyper::ext::ReasonPhrase>()?;
    std::str::from_utf8(reason.as_bytes()).ok()
}

/// Serves until `stop` changes, then lets connections finish what they have begun.
///
/// Returns when the last connection has ended; whoever calls sets a limit to that.
pub async fn serve(
    listener: TcpListener,
    tls: Option<tls::Acceptor>,
    admission: Admission,
    threads: Threads,
    service: impl Answering,
    mut stop: watch::Receiver<bool>,
) {
    // Its connections inherit it.
    if let Err(error) = socket2::SockRef::from(&listener).set_tcp_notsent_lowat(UNSENT_BYTES) {
        tracing::debug!("the kernel takes more of answers than their clients do: {error}");
    }
    let builders = Arc::new(Builders::new());
    // Each connection has a sender: when they are gone, so is the last connection.
    let (running, mut ended) = mpsc::channel::<Infallible>(1);
    let mut lingering = Lingering::default();
    let mut spare = Spare::new();
    let end = stop.clone();
    let begin = |stream: TcpStream, place: Place, peer: SocketAddr| {
        let (tls, admission, running) = (tls.clone(), admission.clone(), running.clone());
        let seat = threads.seat();
        let elsewhere = seat.elsewhere().cloned();
        let connection = Connection { place, tls, peer, admission, _seat: seat, _running: running };
        let (builders, service, stop) = (builders.clone(), service.clone(), end.clone());
        match elsewhere {
            None => drop(tokio::spawn(connection.run(stream, builders, service, stop))),
            Some(runtime) => {
                let Ok(stream) = stream.into_std() else { return };
                runtime.spawn(async move {
                    if let Ok(stream) = TcpStream::from_std(stream) {
                        connection.run(stream, builders, service, stop).await;
                    }
                });
            }
        }
    };
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
            () = lingering.close() => continue,
        };
        match accepted {
            Ok((stream, peer)) => match admission.admit(peer) {
                Some(place) => begin(stream, place, peer),
                None => lingering.turn_away(stream, tls.is_some()).await,
            },
            Err(error) if admission::is_out_of_descriptors(&error) && spare.give() => {
                // The kernel hands out connections in the order in which they came.
                if let Ok(Ok((stream, _))) = tokio::time::timeout(ACCEPT_PAUSE, listener.accept()).await {
                    count(&admission.counters().out_of_descriptors);
                    Lingering::default().turn_away(stream, tls.is_some()).await;
                }
                spare.take_back();
            }
            Err(error) => {
                tracing::warn!("could not accept a connection: {error}");
                spare.take_back();
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // Whom the kernel has let in is not sent away: they may have sent their request already.
    for (stream, peer) in arrived(listener) {
        if let Some(place) = admission.admit(peer) {
            begin(stream, place, peer);
        }
    }
    drop(running);
    ended.recv().await;
}

/// Connections that wait to be accepted at this moment; no others will.
fn arrived(listener: TcpListener) -> Vec<(TcpStream, SocketAddr)> {
    // Not tokio's, which knows only what it has been told some time ago.
    let Ok(listener) = listener.into_std() else { return Vec::new() };
    let accept = |_| {
        let (stream, peer) = listener.accept().ok()?;
        stream.set_nonblocking(true).ok()?;
        Some((TcpStream::from_std(stream).ok()?, peer))
    };
    let most = if defences::off("arrivals-at-the-end") { 0 } else { ARRIVED };
    (0..most).map_while(accept).collect()
}

struct Connection {
    place: Place,
    tls: Option<tls::Acceptor>,
    peer: SocketAddr,
    admission: Admission,
    _seat: Seat,
    _running: mpsc::Sender<Infallible>,
}

impl Connection {
    async fn run(
        self,
        stream: TcpStream,
        builders: Arc<Builders>,
        service: impl Answering,
        mut stop: watch::Receiver<bool>,
    ) {
        let Self { place, tls, peer, admission, _seat, _running } = self;
        let _ = stream.set_nodelay(true);
        let pulse = Pulse::new();
        let stream = Wire::new(stream, pulse.clone(), place);
        match tls {
            None => {
                let limits = *admission.limits();
                let Some(is_http1) = spoken::begins_as_http1(&stream, limits, &mut stop).await else {
                    return count(&admission.counters().silent);
                };
                let conversation = Conversation { peer, admission, pulse, builders, is_http1, stop };
                conversation.run(stream, None, service).await;
            }
            // Beside it: others need not have room for it.
            Some(tls) => {
                let conversation = Conversation { peer, admission, pulse, builders, is_http1: false, stop };
                Box::pin(conversation.run_encrypted(stream, tls, service)).await;
            }
        }
    }
}

/// What is spoken on a connection, encrypted or not.
struct Conversation {
    peer: SocketAddr,
    admission: Admission,
    pulse: Arc<Pulse>,
    builders: Arc<Builders>,
    /// Else it is found out.
    is_http1: bool,
    stop: watch::Receiver<bool>,
}

impl Conversation {
    async fn run_encrypted(mut self, stream: Wire, tls: tls::Acceptor, service: impl Answering) {
        let handshake = self.admission.limits().handshake;
        let accepted = tokio::select! {
            accepted = tokio::time::timeout(handshake, tls.accept(stream)) => accepted,
            _ = self.stop.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok(Some(stream)) => {
                let encryption = tls::encryption(&stream);
                self.is_http1 = tls::speaks_http1(&stream);
                self.run(stream, encryption, service).await;
            }
            Ok(None) => {}
            Err(_) => count(&self.admission.counters().handshake),
        }
    }

    async fn run<Stream>(self, stream: Stream, encryption: Option<Encryption>, service: impl Answering)
    where
        Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { peer, admission, pulse, builders, is_http1, mut stop } = self;
        pulse.starts();
        let (stream, heads) = spelling::Recorded::new(stream);
        let mut guard = Guard::new(pulse.clone(), heads.clone(), *admission.limits());
        let doorkeeper = admission.clone();
        let seen = heads.clone();
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let version = request.version();
            let spelling = seen.take(request.method(), version, request.headers());
            let checked = checks::check(version, request.uri(), request.headers(), spelling.as_ref());
            let in_service = pulse.in_service();
            let expects = request.headers().contains_key(header::EXPECT);
            // The rest of what is refused here is not read: who knows where it ends.
            let discard = checked.is_ok() && !expects;
            let mut request = request
                .map(|body| Body::new(RequestBody::new(body, discard, pulse.clone(), doorkeeper.clone())));
            proxies::correct(&mut request, peer, doorkeeper.proxies());
            if let Some(encryption) = &encryption {
                request.extensions_mut().insert(encryption.clone());
            }
            if let Some(spelling) = spelling {
                request.extensions_mut().insert(spelling);
            }
            let (service, pulse, doorkeeper) = (service.clone(), pulse.clone(), doorkeeper.clone());
            // A connection keeps room for it as long as it lives: that of a pointer.
            allocator::pinned(|| async move {
                let mut response = match checked {
                    // Begun here, where it stays: it is large.
                    Ok(()) => match bug::caught(pin!(async { service.answer(request).await })).await {
                        Some(response) => response,
                        None => {
                            count(&doorkeeper.counters().panicked);
                            closing(StatusCode::INTERNAL_SERVER_ERROR)
                        }
                    },
                    Err(refusal) => refused(&refusal, peer, doorkeeper.counters()),
                };
                if doorkeeper.is_leaving()
                    && version != Version::HTTP_2
                    && !response.status().is_informational()
                    && !defences::off("farewell")
                {
                    response
                        .headers_mut()
                        .insert(header::CONNECTION, http::HeaderValue::from_static("close"));
                }
                if version == Version::HTTP_2 {
                    response = response.map(|body| Body::new(Delivered::new(body, pulse)));
                } else if let Some(status) = pulse.broken_body() {
                    response = closing(status);
                }
                // A request whose answer is still being made is in service up to the end of it.
                let response = match response.body().size_hint().exact() {
                    Some(_) => response,
                    None => response.map(|body| Body::new(Streamed { body, _in_service: in_service })),
                };
                Ok::<_, Infallible>(response)
            })
        });
        let mut connection = builders.serve(is_http1, stream, service);
        let reason = {
            let mut stopped = pin!(stop.wait_for(|stop| *stop));
            let mut is_told = false;
            poll_fn(|context| {
                if !guard.is_stopped() && stopped.as_mut().poll(context).is_ready() {
                    guard.stop();
                }
                // A request may be on its way: nobody is sent away without an answer to it.
                let is_to_be_told = match guard.is_stopped() {
                    true => guard.can_tell() || defences::off("last-request"),
                    false => admission.is_leaving() && guard.has_words(),
                };
                if is_to_be_told && !is_told {
                    is_told = true;
                    connection.graceful_shutdown();
                }
                match connection.poll(context) {
                    Poll::Ready(result) => Poll::Ready(result.map_or_else(Err, |()| Ok(None))),
                    Poll::Pending => guard.poll(context).map(|reason| Ok(Some(reason))),
                }
            })
            .await
        };
        let counters = admission.counters();
        match reason {
            Ok(None) => {}
            Ok(Some(reason)) => {
                tracing::debug!("connection from {peer}: closed ({reason:?})");
                match reason {
                    Reason::Silent => count(&counters.silent),
                    Reason::SlowHeader => count(&counters.slow_header),
                    Reason::Idle => count(&counters.idle),
                    Reason::Unread => count(&counters.unread_answer),
                    Reason::Stopped => {}
                }
                if reason == Reason::Idle {
                    connection.graceful_shutdown();
                    let end = poll_fn(|context| connection.poll(context));
                    let _ = tokio::time::timeout(LAST_WORDS, end).await;
                }
            }
            Err(error) => {
                tracing::debug!("connection from {peer}: {error}");
                let of_hyper = error.downcast_ref::<hyper::Error>();
                if heads.is_flooded() {
                    count(&counters.flood);
                } else if of_hyper.is_some_and(hyper::Error::is_parse_too_large) {
                    count(&counters.header_too_large);
                } else if of_hyper.is_some_and(hyper::Error::is_parse) {
                    count(&counters.malformed);
                }
            }
        }
    }
}

fn refused(refusal: &Refusal, peer: SocketAddr, counters: &Counters) -> Response<Body> {
    match refusal {
        Refusal::Malformed(reason) => {
            count(&counters.malformed);
            tracing::warn!(target: "request", "refused from {peer}: {reason}");
            closing(StatusCode::BAD_REQUEST)
        }
        Refusal::UriTooLong => {
            count(&counters.uri_too_long);
            closing(StatusCode::URI_TOO_LONG)
        }
    }
}

/// An answer of the port itself; nothing more is read on the connection.
fn closing(status: StatusCode) -> Response<Body> {
    let words = status.canonical_reason().unwrap_or_default();
    let mut response = Response::new(Body::from(format!(r#"{{"message":"{words}"}}"#)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    headers.insert(header::CONNECTION, http::HeaderValue::from_static("close"));
    response
}

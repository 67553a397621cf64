//! Listening and speaking HTTP: connections with deadlines, and an end that comes.
//!
//! The accept loop is our own because `axum::serve` waits for ever for a header that does not come,
//! and its graceful stop with it.

#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod proxies;
mod spelling;
pub mod tls;
pub mod web_socket;

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tower::{Service, ServiceExt};

pub use proxies::{Forwarded, Proxies};
pub use spelling::Spelling;

/// From the first byte of a request to the end of its header; also how long a connection may be idle.
const HEADER_LIMIT: Duration = Duration::from_secs(30);
/// From accepting a connection to its first byte.
const FIRST_BYTE_LIMIT: Duration = Duration::from_secs(30);
/// All header fields of a request together.
const HEADER_BYTES: usize = 64 * 1024;
/// Of a refused body, this much is taken from the client, for this long.
const DISCARD_BYTES: usize = 256 * 1024 * 1024;
const DISCARD_TIME: Duration = Duration::from_secs(10);
/// When the server stops, a connection without a request in service has this long for the last bytes
/// of its answer.
const LAST_BYTES_LIMIT: Duration = Duration::from_secs(1);
/// When accepting fails (no descriptors left), for this long nothing is accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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
pub async fn serve<S>(
    listener: TcpListener,
    tls: Option<tls::Acceptor>,
    proxies: Proxies,
    service: S,
    mut stop: watch::Receiver<bool>,
) where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    let graceful = GracefulShutdown::new();
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT)
        .max_buf_size(HEADER_BYTES.max(8192));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEADER_BYTES as u32)
        .max_concurrent_streams(200)
        .keep_alive_interval(Some(Duration::from_secs(20)));
    let builder = Arc::new(builder);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let tls = tls.clone();
                let proxies = proxies.clone();
                let connection = Connection { stream, tls, peer, proxies, watcher: graceful.watcher() };
                tokio::spawn(connection.run(builder.clone(), service.clone(), stop.clone()));
            }
            Err(error) => {
                tracing::warn!("could not accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    graceful.shutdown().await;
}

struct Connection {
    stream: TcpStream,
    tls: Option<tls::Acceptor>,
    peer: SocketAddr,
    proxies: Proxies,
    watcher: Watcher,
}

impl Connection {
    async fn run<S>(
        self,
        builder: Arc<auto::Builder<TokioExecutor>>,
        service: S,
        mut stop: watch::Receiver<bool>,
    ) where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send + 'static,
    {
        let Self { stream, tls, peer, proxies, watcher } = self;
        let _ = stream.set_nodelay(true);
        // The builder waits for the first byte without a limit: it has to see which HTTP it is.
        tokio::select! {
            ready = tokio::time::timeout(FIRST_BYTE_LIMIT, stream.readable()) => {
                if !matches!(ready, Ok(Ok(()))) {
                    return;
                }
            }
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let conversation = Conversation { peer, proxies, watcher, builder, stop };
        let Some(tls) = tls else { return conversation.run(stream, None, service).await };
        let mut stop = conversation.stop.clone();
        let accepted = tokio::select! {
            accepted = tls.accept(stream) => accepted,
            _ = stop.wait_for(|stop| *stop) => None,
        };
        if let Some(stream) = accepted {
            let encryption = tls::encryption(&stream);
            conversation.run(stream, encryption, service).await;
        }
    }
}

/// What is spoken on a connection, encrypted or not.
struct Conversation {
    peer: SocketAddr,
    proxies: Proxies,
    watcher: Watcher,
    builder: Arc<auto::Builder<TokioExecutor>>,
    stop: watch::Receiver<bool>,
}

impl Conversation {
    async fn run<S, Stream>(self, stream: Stream, encryption: Option<Encryption>, service: S)
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send + 'static,
        Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { peer, proxies, watcher, builder, stop } = self;
        let activity = watch::Sender::new(Activity::default());
        let active = activity.subscribe();
        let (stream, heads) = spelling::Recorded::new(stream);
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let spelling = heads.take(request.method(), request.version(), request.headers());
            let expects = request.headers().contains_key(http::header::EXPECT);
            let mut request =
                request.map(|body| Body::new(RequestBody { body: Some(body), discard: !expects }));
            proxies::correct(&mut request, peer, &proxies);
            if let Some(encryption) = &encryption {
                request.extensions_mut().insert(encryption.clone());
            }
            if let Some(spelling) = spelling {
                request.extensions_mut().insert(spelling);
            }
            let in_service = InService::begin(&activity);
            let answer = service.clone().oneshot(request);
            async move {
                let response = answer.await?;
                // A request whose answer is still being made is in service up to the end of it.
                let response = match response.body().size_hint().exact() {
                    Some(_) => response,
                    None => response.map(|body| Body::new(Streamed { body, _in_service: in_service })),
                };
                Ok::<_, Infallible>(response)
            }
        });
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        tokio::select! {
            result = watcher.watch(connection) => {
                if let Err(error) = result {
                    tracing::debug!("connection from {peer}: {error}");
                }
            }
            () = comes_to_nothing(active, stop) => tracing::debug!("connection from {peer}: closed without a request"),
        }
    }
}

/// What a handler leaves unread of a body is read and thrown away, within limits: a connection that is
/// closed on unread bytes is reset, and the client may never see why it was refused.
struct RequestBody {
    body: Option<Incoming>,
    /// Not for a client that waits for `100 Continue`: reading would ask for the body.
    discard: bool,
}

impl hyper::body::Body for RequestBody {
    type Data = hyper::body::Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(hyper::body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), hyper::body::Body::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let unread = self.body.take().filter(|body| self.discard && !hyper::body::Body::is_end_stream(body));
        if let Some(body) = unread {
            tokio::spawn(tokio::time::timeout(DISCARD_TIME, discard(body)));
        }
    }
}

/// The body of an answer whose length nobody knows yet.
struct Streamed {
    body: Body,
    _in_service: InService,
}

impl hyper::body::Body for Streamed {
    type Data = hyper::body::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

async fn discard(mut body: Incoming) {
    let mut left = DISCARD_BYTES;
    while let Some(Ok(frame)) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let length = frame.data_ref().map_or(0, hyper::body::Bytes::len);
        let Some(less) = left.checked_sub(length) else { return };
        left = less;
    }
}

/// What a connection has to do.
#[derive(Default)]
struct Activity {
    /// A whole header has come.
    begun: bool,
    in_service: usize,
}

struct InService(watch::Sender<Activity>);

impl InService {
    fn begin(activity: &watch::Sender<Activity>) -> Self {
        activity.send_modify(|activity| {
            activity.begun = true;
            activity.in_service += 1;
        });
        Self(activity.clone())
    }
}

impl Drop for InService {
    fn drop(&mut self) {
        self.0.send_modify(|activity| activity.in_service -= 1);
    }
}

/// Returns when nothing is to be expected of a connection any more: its first header does not come
/// (hyper has no limit while it cannot tell HTTP/1 from HTTP/2), or the server stops and no request is
/// in service (hyper would wait for the rest of a header that has begun).
async fn comes_to_nothing(mut activity: watch::Receiver<Activity>, mut stop: watch::Receiver<bool>) {
    tokio::select! {
        begun = tokio::time::timeout(HEADER_LIMIT, activity.wait_for(|activity| activity.begun)) => {
            if begun.is_err() {
                return;
            }
        }
        _ = stop.wait_for(|stop| *stop) => {}
    }
    let _ = stop.wait_for(|stop| *stop).await;
    loop {
        let _ = activity.wait_for(|activity| activity.in_service == 0).await;
        let again = activity.wait_for(|activity| activity.in_service > 0);
        if tokio::time::timeout(LAST_BYTES_LIMIT, again).await.is_err() {
            return;
        }
    }
}

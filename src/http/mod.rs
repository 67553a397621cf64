//! Listening and speaking HTTP: connections with deadlines, and an end that comes.
//!
//! The accept loop is our own because `axum::serve` waits for ever for a header that does not come,
//! and its graceful stop with it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tower::{Service, ServiceExt};

/// From the first byte of a request to the end of its header; also how long a connection may be idle.
const HEADER_LIMIT: Duration = Duration::from_secs(30);
/// From accepting a connection to its first byte.
const FIRST_BYTE_LIMIT: Duration = Duration::from_secs(30);
/// All header fields of a request together.
const HEADER_BYTES: usize = 64 * 1024;
/// When accepting fails (no descriptors left), for this long nothing is accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The client's address, as an extension of its requests.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// Serves until `stop` changes, then lets connections finish what they have begun.
///
/// Returns when the last connection has ended; whoever calls sets a limit to that.
pub async fn serve<S>(listener: TcpListener, service: S, mut stop: watch::Receiver<bool>)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    let graceful = GracefulShutdown::new();
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT)
        .max_buf_size(HEADER_BYTES.max(8192))
        .pipeline_flush(true);
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
                let connection = Connection { stream, peer, watcher: graceful.watcher() };
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
    peer: SocketAddr,
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
        let Self { stream, peer, watcher } = self;
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
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Peer(peer));
            service.clone().oneshot(request)
        });
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!("connection from {peer}: {error}");
        }
    }
}

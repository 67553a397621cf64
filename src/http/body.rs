//! Bodies: of requests, which have to come, and of answers, which have to be taken.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use http::StatusCode;
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::time::Sleep;

use super::admission::Admission;
use super::counters::count;
use super::deadlines::{Held, InService, Pace, Pulse, unless_off};

/// Of a refused body, this much is taken from the client, for this long.
const DISCARD_BYTES: usize = 256 * 1024 * 1024;
const DISCARD_TIME: Duration = Duration::from_secs(10);

/// What a handler leaves unread of a body is read and thrown away, within limits: a connection that is
/// closed on unread bytes is reset, and the client may never see why it was refused.
pub(super) struct RequestBody {
    body: Option<Incoming>,
    /// Not for a client that waits for `100 Continue`: reading would ask for the body.
    discard: bool,
    /// Once it has been waited for: most bodies come with their head.
    patience: Option<Box<Patience>>,
    pulse: Arc<Pulse>,
    admission: Admission,
}

struct Patience {
    pace: Pace,
    timer: Pin<Box<Sleep>>,
}

impl RequestBody {
    pub fn new(body: Incoming, discard: bool, pulse: Arc<Pulse>, admission: Admission) -> Self {
        Self { body: Some(body), discard, patience: None, pulse, admission }
    }

    /// Whether a client that is waited for has been waited for too long.
    fn is_late(&mut self, context: &mut task::Context<'_>) -> bool {
        let stall = unless_off("body-rate", self.admission.limits().stall);
        let patience = self.patience.get_or_insert_with(|| {
            let pace = Pace::begin();
            Box::new(Patience { timer: Box::pin(tokio::time::sleep(stall)), pace })
        });
        while patience.timer.as_mut().poll(context).is_ready() {
            let due = patience.pace.since + stall;
            if due <= Instant::now() {
                return true;
            }
            patience.timer.as_mut().reset(due.into());
        }
        false
    }

    fn came(&mut self, bytes: usize) {
        let stall = self.admission.limits().stall;
        if let Some(patience) = &mut self.patience {
            patience.pace.moved(bytes);
            // Nobody was there to read it.
            if patience.pace.since.elapsed() >= stall {
                patience.pace = Pace::begin();
            }
        }
    }
}

impl hyper::body::Body for RequestBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        match Pin::new(body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                self.came(frame.data_ref().map_or(0, Bytes::len));
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.pulse.body_is_broken(StatusCode::BAD_REQUEST);
                self.discard = false;
                Poll::Ready(Some(Err(axum::Error::new(error))))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending if self.is_late(context) => {
                count(&self.admission.counters().slow_body);
                self.pulse.body_is_broken(StatusCode::REQUEST_TIMEOUT);
                self.discard = false;
                Poll::Ready(Some(Err(axum::Error::new("the body of the request came too slowly"))))
            }
            Poll::Pending => Poll::Pending,
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

async fn discard(mut body: Incoming) {
    let mut left = DISCARD_BYTES;
    while let Some(Ok(frame)) = poll_fn(|context| {
        use hyper::body::Body as _;
        Pin::new(&mut body).poll_frame(context)
    })
    .await
    {
        let length = frame.data_ref().map_or(0, Bytes::len);
        let Some(less) = left.checked_sub(length) else { return };
        left = less;
    }
}

/// The body of an answer whose length nobody knows yet: it is in service up to its end.
pub(super) struct Streamed {
    pub body: Body,
    pub _in_service: InService,
}

impl hyper::body::Body for Streamed {
    type Data = Bytes;
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

/// The body of an answer over HTTP/2, where not the network but the client says how much may be sent:
/// what it does not let go is held here.
pub(super) struct Delivered {
    body: Body,
    pulse: Arc<Pulse>,
    /// A body that is there as a whole waits for nobody else.
    _held: Option<Held>,
}

impl Delivered {
    pub fn new(body: Body, pulse: Arc<Pulse>) -> Self {
        use hyper::body::Body as _;
        let is_whole = body.size_hint().exact().is_some() && !body.is_end_stream();
        let held = is_whole.then(|| pulse.hold());
        Self { body, pulse, _held: held }
    }
}

impl hyper::body::Body for Delivered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        let held = |bytes| Bytes::from_owner(HeldBytes { bytes, _held: self.pulse.hold() });
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(held))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

struct HeldBytes {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for HeldBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

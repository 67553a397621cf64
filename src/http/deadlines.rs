//! How long nothing may come of a connection.
//!
//! A connection has one timer. It is set again when it has run out, or when something is due sooner
//! than it: a request that comes and goes leaves it alone.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::StatusCode;
use tokio::time::Sleep;

use super::spelling::{self, Progress};
use crate::config::Connections;
use crate::defences;

/// When the server stops, a connection without a request in service has this long for the last bytes
/// of its answer.
const LAST_BYTES_LIMIT: Duration = Duration::from_secs(1);

/// Then, between two requests, the next one has this long to arrive: it may have been sent before the
/// client could know.
const NEXT_REQUEST_LIMIT: Duration = Duration::from_millis(250);

/// What a connection is doing.
pub(super) struct Pulse {
    state: Mutex<State>,
    /// Something is held: whoever writes says how much.
    holds: AtomicBool,
}

struct State {
    /// Since when nothing is in service, if nothing is.
    quiet: Instant,
    begun: bool,
    in_service: usize,
    /// Answers of HTTP/2, and pieces of them, that wait for the client to make room.
    held: usize,
    /// An answer waits for the client to read.
    waiting: Option<Pace>,
    /// The body of the request in service did not come as it should.
    broken_body: Option<StatusCode>,
}

/// Bytes have to move in each span of time.
pub(super) struct Pace {
    pub since: Instant,
    bytes: usize,
}

impl Pace {
    pub fn begin() -> Self {
        Self { since: Instant::now(), bytes: 0 }
    }

    pub fn moved(&mut self, bytes: usize) {
        self.bytes += bytes;
        if self.bytes >= Connections::PACE {
            *self = Self::begin();
        }
    }
}

impl Pulse {
    pub fn new() -> Arc<Self> {
        let state = State {
            quiet: Instant::now(),
            begun: false,
            in_service: 0,
            held: 0,
            waiting: None,
            broken_body: None,
        };
        Arc::new(Self { state: Mutex::new(state), holds: AtomicBool::new(false) })
    }

    /// A handshake may have come first.
    pub fn starts(&self) {
        self.state.lock().unwrap().quiet = Instant::now();
    }

    pub fn in_service(self: &Arc<Self>) -> InService {
        let mut state = self.state.lock().unwrap();
        state.begun = true;
        state.in_service += 1;
        InService(self.clone())
    }

    /// Until it is dropped, it is the client's turn to make room.
    pub fn hold(self: &Arc<Self>) -> Held {
        let mut state = self.state.lock().unwrap();
        state.held += 1;
        if state.waiting.is_none() {
            state.waiting = Some(Pace::begin());
        }
        self.holds.store(true, Relaxed);
        Held(self.clone())
    }

    pub fn holds(&self) -> bool {
        self.holds.load(Relaxed)
    }

    /// The client does not read as fast as there is something to write.
    pub fn cannot_write(&self) {
        self.state.lock().unwrap().waiting.get_or_insert_with(Pace::begin);
    }

    pub fn wrote(&self, bytes: usize) {
        if let Some(pace) = &mut self.state.lock().unwrap().waiting {
            pace.moved(bytes);
        }
    }

    /// Nothing is left to be written.
    pub fn has_written(&self) {
        let mut state = self.state.lock().unwrap();
        if state.held == 0 {
            state.waiting = None;
            state.quiet = Instant::now();
        }
    }

    pub fn body_is_broken(&self, status: StatusCode) {
        self.state.lock().unwrap().broken_body = Some(status);
    }

    pub fn broken_body(&self) -> Option<StatusCode> {
        self.state.lock().unwrap().broken_body
    }
}

pub(super) struct InService(Arc<Pulse>);

impl Drop for InService {
    fn drop(&mut self) {
        let mut state = self.0.state.lock().unwrap();
        state.in_service -= 1;
        state.quiet = Instant::now();
    }
}

pub(super) struct Held(Arc<Pulse>);

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.0.state.lock().unwrap();
        state.held -= 1;
        state.quiet = Instant::now();
        state.waiting = (state.held > 0).then(Pace::begin);
        self.0.holds.store(state.held > 0, Relaxed);
    }
}

/// Why a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    Silent,
    SlowHeader,
    Idle,
    Unread,
    Stopped,
}

/// A limit, or an hour where a test has taken it away.
pub(super) fn unless_off(defence: &str, limit: Duration) -> Duration {
    if defences::off(defence) { Duration::from_secs(3600) } else { limit }
}

/// Tells when a connection is to be closed. Asked whenever something has happened on it.
pub(super) struct Guard {
    pulse: Arc<Pulse>,
    heads: spelling::Shared,
    limits: Connections,
    timer: Pin<Box<Sleep>>,
    stopped: Option<Instant>,
}

impl Guard {
    pub fn new(pulse: Arc<Pulse>, heads: spelling::Shared, limits: Connections) -> Self {
        let timer = Box::pin(tokio::time::sleep(limits.first_byte.min(limits.header)));
        Self { pulse, heads, limits, timer, stopped: None }
    }

    /// From now on, only what has begun is brought to its end.
    pub fn stop(&mut self) {
        self.stopped = Some(Instant::now());
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// HTTP/2 has words for it that a connection ends.
    pub fn has_words(&self) -> bool {
        matches!(self.heads.progress(), Progress::Http2)
    }

    /// Whether the client can be told so when the server stops: HTTP/1 says it with an answer.
    pub fn can_tell(&self) -> bool {
        self.has_words() || self.pulse.state.lock().unwrap().in_service > 0
    }

    /// `None`: nothing is expected of the client.
    fn due(&self) -> Option<(Instant, Reason)> {
        let state = self.pulse.state.lock().unwrap();
        if let Some(pace) = &state.waiting {
            return Some((
                pace.since + unless_off("write-stall-deadline", self.limits.stall),
                Reason::Unread,
            ));
        }
        if state.in_service > 0 {
            return None;
        }
        if let Some(stopped) = self.stopped {
            let is_between = state.begun && matches!(self.heads.progress(), Progress::Nothing);
            let limit = if is_between { NEXT_REQUEST_LIMIT } else { LAST_BYTES_LIMIT };
            return Some((stopped.max(state.quiet) + limit, Reason::Stopped));
        }
        Some(match self.heads.progress() {
            Progress::Head(begun) => {
                let limit = unless_off("header-deadline", self.limits.header);
                (begun.max(state.quiet) + limit, Reason::SlowHeader)
            }
            Progress::Nothing if !state.begun => {
                (state.quiet + unless_off("first-byte-deadline", self.limits.first_byte), Reason::Silent)
            }
            Progress::Nothing | Progress::Http2 => {
                (state.quiet + unless_off("idle-deadline", self.limits.idle), Reason::Idle)
            }
        })
    }

    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Reason> {
        let Some((due, reason)) = self.due() else { return Poll::Pending };
        if due < self.timer.deadline().into_std() {
            self.timer.as_mut().reset(due.into());
        }
        while self.timer.as_mut().poll(context).is_ready() {
            if due <= Instant::now() {
                return Poll::Ready(reason);
            }
            self.timer.as_mut().reset(due.into());
        }
        Poll::Pending
    }
}

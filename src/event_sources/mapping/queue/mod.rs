//! SQS: as many pollers as there is work, within the mapping's bounds.
//!
//! - `endpoint`: the operations that are asked of the queue.
//! - `message`: a message as the function sees it.
//! - `poller`: receives a batch, has it handled, and begins again.
//! - `batch`: has a batch handled, and deletes what was.

mod batch;
mod endpoint;
mod message;
mod poller;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::context::{BackOff, Context, Waited};
use endpoint::Queue;

/// Pollers that are always there, as Lambda has it.
const PERMANENT: usize = 5;
/// Lambda's own limit.
const MOST: usize = 1000;
/// How often the queue's visibility timeout is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// Messages in memory, of all pollers of a mapping; beyond that no poller is added.
const MEMORY: usize = 64 * 1024 * 1024;

/// What the pollers of a mapping know of each other.
pub struct Pollers {
    all: AtomicUsize,
    /// Those that wait for messages.
    waiting: AtomicUsize,
    /// Bytes of the messages that they hold.
    bytes: AtomicUsize,
    most: usize,
    /// Of FIFO queues one poller receives at a time: not all endpoints know of two that ask at once that
    /// a message group must not go to both.
    turn: tokio::sync::Mutex<()>,
    /// None waits for messages any more, and there may be more of them.
    wanted: Notify,
}

impl Pollers {
    fn permanent(&self) -> usize {
        PERMANENT.min(self.most)
    }

    /// Batches are being handled.
    fn are_busy(&self) -> bool {
        self.all.load(Ordering::Relaxed) > self.waiting.load(Ordering::Relaxed)
    }

    fn may_grow(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == 0
            && self.all.load(Ordering::Relaxed) < self.most
            && self.bytes.load(Ordering::Relaxed) < MEMORY
    }

    /// A poller that finds nothing to do, or no environment to do it in, is one too many.
    fn is_one_too_many(&self) -> bool {
        let one_less = |all: usize| (all > self.permanent()).then(|| all - 1);
        self.all.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    }
}

/// Reads the queue until the mapping is to stop.
pub async fn run(context: &Arc<Context>) {
    let Some(queue) = find(context).await else { return };
    context.running().await;
    let most = match context.definition.mapping.maximum_concurrency {
        Some(most) => most as usize,
        None => context.invoker.limits().concurrency,
    };
    let pollers = Arc::new(Pollers {
        all: AtomicUsize::new(0),
        waiting: AtomicUsize::new(0),
        bytes: AtomicUsize::new(0),
        most: most.clamp(1, MOST),
        turn: tokio::sync::Mutex::default(),
        wanted: Notify::new(),
    });
    let queue = Arc::new(queue);
    let mut tasks = JoinSet::new();
    let begin = |tasks: &mut JoinSet<()>| {
        pollers.all.fetch_add(1, Ordering::Relaxed);
        tasks.spawn(poller::run(context.clone(), queue.clone(), pollers.clone()));
    };
    for _ in 0..pollers.permanent() {
        begin(&mut tasks);
    }
    loop {
        tokio::select! {
            () = context.stopped() => break,
            () = pollers.wanted.notified() => if pollers.may_grow() { begin(&mut tasks) },
            Some(ended) = tasks.join_next() => {
                if let Err(error) = ended {
                    tracing::error!("{}: a poller has ended by a bug in handlerd: {error}", context.title());
                    pollers.all.fetch_sub(1, Ordering::Relaxed);
                    if context.sleep(Duration::from_secs(1)).await == Waited::Stopped {
                        break;
                    }
                    begin(&mut tasks);
                }
            }
            () = tokio::time::sleep(LOOK_AGAIN) => queue.look(context).await,
        }
    }
    // Batches that are being handled come to their end.
    while tasks.join_next().await.is_some() {}
}

/// `None`: the mapping is to stop.
async fn find(context: &Context) -> Option<Queue> {
    let mut pause = BackOff::new(Duration::from_secs(1), Duration::from_secs(30));
    loop {
        let found = tokio::select! {
            () = context.stopped() => return None,
            found = Queue::find(context) => found,
        };
        match found {
            Ok(queue) => {
                context.fine().await;
                return Some(queue);
            }
            Err(error) => context.problem(&error.to_string()).await,
        }
        if context.back_off(pause.next()).await == Waited::Stopped {
            return None;
        }
    }
}

//! How answers in mailboxes find the tasks that wait for them.
//!
//! One bell for each thread of the gateway. While it has work, environments leave their answers without
//! ringing; before it goes to sleep (the hooks in `server::crew`) it looks through the mailboxes
//! that somebody waits at. Without the hooks every answer rings, which is slower and works as well.
//!
//! An environment rings the bell of the thread that has started it. Whoever waits for it on another thread is
//! woken from there.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use crate::protocol::mailbox::{BellPull, Office};

/// The first thread's, and that of all that have none.
static FIRST: OnceLock<&Bell> = OnceLock::new();

thread_local! {
    static OWN: Cell<Option<&'static Bell>> = const { Cell::new(None) };
}

/// This thread's bell. The first one is hung up at the first call.
pub fn bell() -> Result<&'static Bell, Errno> {
    if let Some(bell) = known() {
        return Ok(bell);
    }
    // Of two that are hung up at the same time the other one is never used.
    let bell = Bell::hang_up()?;
    Ok(FIRST.get_or_init(|| bell))
}

/// Gives this thread, which has a runtime of its own, a bell of its own.
pub fn hang_up_bell() -> Result<(), Errno> {
    let bell = Bell::hang_up()?;
    bell.attend();
    OWN.set(Some(bell));
    Ok(())
}

fn known() -> Option<&'static Bell> {
    OWN.get().or_else(|| FIRST.get().copied())
}

/// The gateway's thread is about to sleep.
pub fn before_sleep() {
    if let Some(bell) = known() {
        bell.has_hooks.store(true, Ordering::Relaxed);
        bell.rouse();
        bell.pull.may_sleep(|| bell.wake_answered());
    }
}

pub fn after_sleep() {
    if let Some(bell) = known() {
        bell.pull.is_awake();
    }
}

pub struct Bell {
    pub pull: BellPull,
    /// Mailboxes that somebody waits at.
    waiting: Mutex<Vec<Arc<Mailbox>>>,
    /// Mailboxes where something was left ahead, and nobody has been woken for it.
    to_rouse: Mutex<Vec<Arc<Mailbox>>>,
    /// [`before_sleep`] is called.
    has_hooks: AtomicBool,
    somebody_waits: Notify,
}

/// A mailbox, and who waits at it.
pub struct Mailbox {
    pub office: Office,
    /// What its environment rings.
    bell: &'static Bell,
    visitor: Mutex<Visitor>,
    /// On the bell's list of those to rouse.
    to_rouse: AtomicBool,
    last_nonce: AtomicU64,
}

#[derive(Default)]
struct Visitor {
    waker: Option<Waker>,
    /// On the bell's list.
    listed: bool,
    /// How often the clock has struck while it waited.
    strokes: u8,
}

/// Why a visitor was woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rung {
    Answer,
    /// There is none yet, after between one and two beats of the clock.
    Overdue,
}

/// So many requests are worth a system call and a change of processes.
const WORTH_WAKING: usize = 4;

/// The clock's beat.
const BEAT: Duration = Duration::from_millis(4);

impl Mailbox {
    pub fn new(office: Office, bell: &'static Bell) -> Arc<Self> {
        let last_nonce = AtomicU64::new(uuid::Uuid::new_v4().as_u64_pair().1);
        let to_rouse = AtomicBool::new(false);
        Arc::new(Self { office, bell, visitor: Mutex::default(), to_rouse, last_nonce })
    }

    pub fn is_near(&self) -> bool {
        self.bell.is_near()
    }

    /// A number that no request to this environment had before.
    pub fn next_nonce(&self) -> u64 {
        self.last_nonce.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }

    /// The answer to another request is waited for: the clock begins anew.
    pub fn begin(&self) {
        self.visitor.lock().unwrap().strokes = 0;
    }
}

impl Bell {
    /// For as long as the process lives: there are no more of them than threads.
    fn hang_up() -> Result<&'static Self, Errno> {
        Ok(Box::leak(Box::new(Self {
            pull: BellPull::create()?,
            waiting: Mutex::default(),
            to_rouse: Mutex::default(),
            has_hooks: AtomicBool::new(false),
            somebody_waits: Notify::new(),
        })))
    }

    /// Whether it is this thread's.
    pub fn is_near(&self) -> bool {
        known().is_some_and(|bell| std::ptr::eq(bell, self))
    }

    /// Two tasks for the life of the runtime: one hears the bell, one beats the clock.
    pub fn attend(&'static self) {
        tokio::spawn(self.listen());
        tokio::spawn(self.beat());
    }

    /// Hears the bell as long as the runtime lives.
    async fn listen(&'static self) {
        let (_, event) = self.pull.descriptors();
        let Ok(event) = event.try_clone_to_owned() else { return };
        // SAFETY: an `OwnedFd` keeps its descriptor open, and it is not taken out of the `AsyncFd`.
        let Ok(event) = (unsafe { AsyncFd::register_with_interest(event, Interest::READABLE) }) else {
            return;
        };
        while let Ok(mut ready) = event.readable().await {
            // In this order: what comes after the clearing rings again.
            ready.clear_ready();
            self.pull.hear();
            self.wake_answered();
        }
    }

    /// Beats the clock while somebody waits: a timer for each invocation would cost more.
    async fn beat(&'static self) {
        loop {
            if self.waiting.lock().unwrap().is_empty() {
                self.somebody_waits.notified().await;
            }
            tokio::time::sleep(BEAT).await;
            self.rouse();
            self.go_through(|visitor| {
                visitor.strokes = visitor.strokes.saturating_add(1);
                visitor.strokes == 2
            });
        }
    }

    /// Something was left ahead: the environment, if it sleeps, is woken for several at once, or when the
    /// gateway has nothing else to do.
    pub fn left_ahead(&self, mailbox: &Arc<Mailbox>) {
        if mailbox.office.has_unbegun(WORTH_WAKING) || !self.has_hooks.load(Ordering::Relaxed) {
            mailbox.office.rouse();
        } else if !mailbox.to_rouse.swap(true, Ordering::Relaxed) {
            self.to_rouse.lock().unwrap().push(mailbox.clone());
        }
    }

    fn rouse(&self) {
        for mailbox in self.to_rouse.lock().unwrap().drain(..) {
            mailbox.to_rouse.store(false, Ordering::Relaxed);
            mailbox.office.rouse();
        }
    }

    /// Wakes whoever waits at a mailbox with an answer in it; whether there was one.
    fn wake_answered(&self) -> bool {
        self.go_through(|_| false)
    }

    /// Takes everybody off the list who has an answer, or does not wait any more, or is `overdue`.
    fn go_through(&self, mut overdue: impl FnMut(&mut Visitor) -> bool) -> bool {
        let mut any = false;
        self.waiting.lock().unwrap().retain(|mailbox| {
            let mut visitor = mailbox.visitor.lock().unwrap();
            let stays = visitor.waker.is_some() && !mailbox.office.has_answer() && !overdue(&mut visitor);
            if !stays {
                visitor.listed = false;
                if let Some(waker) = visitor.waker.take() {
                    any = true;
                    waker.wake();
                }
            }
            stays
        });
        any
    }

    /// Ready when an answer lies in the mailbox, or is overdue.
    pub fn answered<'a>(&'static self, mailbox: &'a Arc<Mailbox>) -> Answered<'a> {
        Answered { bell: self, mailbox }
    }
}

pub struct Answered<'a> {
    bell: &'static Bell,
    mailbox: &'a Arc<Mailbox>,
}

impl Future for Answered<'_> {
    type Output = Rung;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Rung> {
        if self.mailbox.office.has_answer() {
            return Poll::Ready(Rung::Answer);
        }
        let to_list = {
            let mut visitor = self.mailbox.visitor.lock().unwrap();
            if visitor.strokes == 2 {
                // Said once; from then on only an answer counts.
                visitor.strokes = 3;
                return Poll::Ready(Rung::Overdue);
            }
            visitor.waker = Some(context.waker().clone());
            !std::mem::replace(&mut visitor.listed, true)
        };
        if to_list {
            let mut waiting = self.bell.waiting.lock().unwrap();
            if waiting.is_empty() {
                self.bell.somebody_waits.notify_one();
            }
            waiting.push(self.mailbox.clone());
        }
        // It may have come before anybody could be woken for it.
        if self.mailbox.office.has_answer() { Poll::Ready(Rung::Answer) } else { Poll::Pending }
    }
}

impl Drop for Answered<'_> {
    fn drop(&mut self) {
        // Taken off the list when it is next gone through.
        self.mailbox.visitor.lock().unwrap().waker = None;
    }
}

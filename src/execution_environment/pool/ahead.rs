//! Requests that are left in the mailbox of an environment while it works on another. It goes on with the
//! next without being woken for it, which saves both sides most of what a request costs beside its work.
//!
//! This is for functions that compute, and are quick at it: a place here is worth more than one in line,
//! as nothing is started for whoever waits in line behind those. When a request takes longer than most, what
//! lies behind it is taken back and stands first in line. What has been begun is the asker's, whatever becomes
//! of the environment: it is answered, or it fails, but is never run twice.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::sync::oneshot;

use super::{AcquireError, Environment, Environments, Key, Lease, Pool, State, Waiting, key};
use crate::execution_environment::bell::{Mailbox, bell};
use crate::execution_environment::environment::{Ask, Asked};
use crate::function::Function;

/// So many for each core are looked at: more would cost more than they are worth.
const LOOKED_AT_FOR_EACH_CORE: usize = 8;

/// A request in a mailbox, and who waits for its turn.
pub(super) struct Left {
    asked: Asked,
    waiting: Waiting,
}

/// The turn of a request that lies in a mailbox. Whoever holds it must see it through: it may have been begun.
pub struct Turn(oneshot::Receiver<Result<Lease, AcquireError>>);

impl Future for Turn {
    type Output = Result<Lease, AcquireError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let given = ready!(Pin::new(&mut self.0).poll(context));
        Poll::Ready(given.unwrap_or(Err(AcquireError::Retired)))
    }
}

/// What tells one mailbox from another.
pub(super) type MailboxId = usize;

fn id(mailbox: &Arc<Mailbox>) -> MailboxId {
    Arc::as_ptr(mailbox).addr()
}

impl Pool {
    pub(super) fn begins(&mut self, environment: &Environment) {
        self.working.push(environment.mailbox().clone());
    }

    pub(super) fn ends(&mut self, mailbox: &Arc<Mailbox>) {
        let place = self.working.iter().position(|working| Arc::ptr_eq(working, mailbox));
        if let Some(place) = place {
            self.working.swap_remove(place);
        }
    }

    /// How many requests lie ahead.
    pub(super) fn ahead(&self) -> usize {
        // The first in each is being worked on.
        self.working.iter().map(|mailbox| mailbox.office.asked().saturating_sub(1)).sum()
    }
}

impl Environments {
    /// Leaves a request with the environment that has the fewest. `None`: it has to wait in line.
    pub(super) fn leave_ahead(
        &self,
        state: &mut State,
        function: &Arc<Function>,
        ask: Ask<'_>,
    ) -> Option<Turn> {
        let pool = state.pools.get_mut(&key(function))?;
        let cores = self.0.starts_at_once;
        let is_enough = pool.working.len() >= 2 * cores;
        let is_of_use = !pool.has_waited && !pool.is_slow && pool.waiting.is_empty();
        if !is_enough || !is_of_use || pool.ahead() >= self.0.limits.queue {
            return None;
        }
        let working = pool.working.iter().take(LOOKED_AT_FOR_EACH_CORE * cores);
        let working = working.filter(|mailbox| mailbox.office.has_room());
        let mailbox = working.min_by_key(|mailbox| (!mailbox.is_near(), mailbox.office.asked()))?;
        let asked = Asked { nonce: mailbox.next_nonce(), since: Instant::now() };
        if !mailbox.office.leave_ahead(&ask.frame(asked.nonce, false)) {
            return None;
        }
        if let Ok(bell) = bell() {
            bell.left_ahead(mailbox);
        }
        let (waiting, turn) = Waiting::new();
        let left = Left { asked, waiting };
        let mailbox = id(mailbox);
        pool.left_ahead += 1;
        state.left.entry(mailbox).or_default().push_back(left);
        Some(Turn(turn))
    }

    /// Gives an environment that has done its work to whoever has left the next request with it; it comes
    /// back if nobody has.
    pub(super) fn go_on(
        &self,
        state: &mut State,
        mut environment: Box<Environment>,
    ) -> Option<Box<Environment>> {
        let mailbox = id(environment.mailbox());
        if !state.left.contains_key(&mailbox) {
            return Some(environment);
        }
        if !self.is_good(state, &environment) {
            self.take_back(state, &environment.function.clone(), environment.mailbox());
        }
        let next = state.left.get_mut(&mailbox).and_then(VecDeque::pop_front);
        let Some(Left { asked, waiting }) = next else {
            state.left.remove(&mailbox);
            return Some(environment);
        };
        environment.asked = Some(asked);
        let returned = waiting.give.send(Ok(Lease::new(self, environment))).err()?;
        // Nobody lets go of a turn, unless the whole gateway ends: what comes of the request is nobody's.
        let mut environment = returned.ok()?.take();
        environment.spoil();
        self.take_back(state, &environment.function.clone(), environment.mailbox());
        state.left.remove(&mailbox);
        Some(environment)
    }

    /// An environment has worked on one request for longer than most take.
    pub(super) fn is_slow(&self, function: &Arc<Function>, mailbox: &Arc<Mailbox>) {
        let mut state = self.0.state.lock().unwrap();
        if let Some(pool) = state.pools.get_mut(&key(function))
            && Arc::ptr_eq(&pool.function, function)
        {
            pool.is_slow = true;
            // Nothing more is left with it before it has done this.
            pool.ends(mailbox);
        }
        self.take_back(&mut state, function, mailbox);
    }

    /// What is not begun goes to the front of the line, or is sent to ask for newer code.
    pub(super) fn take_back(&self, state: &mut State, function: &Arc<Function>, mailbox: &Arc<Mailbox>) {
        let mut taken_back = Vec::new();
        while let Some(left) = state.left.get_mut(&id(mailbox)).filter(|left| !left.is_empty())
            && mailbox.office.take_back()
        {
            taken_back.extend(left.pop_back().map(|left| left.waiting));
        }
        if taken_back.is_empty() {
            return;
        }
        let key = key(function);
        let current = state.pools.get_mut(&key).filter(|pool| Arc::ptr_eq(&pool.function, function));
        let Some(pool) = current else {
            for waiting in taken_back {
                let _ = waiting.give.send(Err(AcquireError::Retired));
            }
            return;
        };
        // The last one comes first.
        for waiting in taken_back {
            pool.waiting.push_front(waiting);
        }
        self.serve_line(state, &key);
        self.ensure_scaler(state, &key);
    }

    /// Whoever waits gets what rests.
    fn serve_line(&self, state: &mut State, key: &Key) {
        while let Some(pool) = state.pools.get_mut(key).filter(|pool| !pool.waiting.is_empty())
            && let Some(environment) = pool.take_idle()
        {
            pool.busy += 1;
            pool.begins(&environment);
            self.pass_on(state, environment);
        }
    }
}

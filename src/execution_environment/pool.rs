//! Which environment serves the next invocation: a warm one if there is one, else the caller waits
//! in line, and new ones are started when the line does not move. Where that is of use, a request is left
//! with an environment that still works on another (`ahead`).
//!
//! The pool of a function is a stack: the environment used last is used next, so that those that
//! are too many grow old and are ended. Housekeeping has three verbs: retire what is of old code,
//! end what has been idle too long, start what is waited for. What is provisioned (`provisioned`) is
//! kept beside that.

mod ahead;
mod failures;
mod provisioned;
mod rest;
mod snapshots;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use foldhash::HashMap;
use rustix::io::Errno;
use tokio::sync::{Semaphore, oneshot};

use super::bell::{Bell, Mailbox, bell};
use super::environment::{Ask, Common, Environment, Finished, Origin, Plan, StartError};
use super::stream::Speaker;
use super::variables::Start;
use super::zygote::{Python, ZygoteError, Zygotes};
use crate::config::Limits;
use crate::defences;
use crate::function::{Function, FunctionName, Version};
use crate::protocol::isolation::InForce;

pub use ahead::Turn;
use ahead::{Left, MailboxId};
use failures::Failures;
use provisioned::Provision;
pub use provisioned::Provisioned;
pub use snapshots::Snapshot;
use snapshots::{Ground, Slot};

/// So far the line is searched for somebody of the same thread.
const NEAR: usize = 16;

/// How long the first in line waits for a busy environment before one more is started. A cold start
/// takes about as long: whoever waits less is served sooner by an environment that exists, and many
/// processes are slower than a few when each request takes microseconds.
const PATIENCE: Duration = Duration::from_millis(4);
/// The same for a function that only computes, once it has as many environments as keep all cores
/// busy: more would make none of them faster. Still bounded, so that a short request does not wait
/// for the end of a long one.
const PATIENCE_OF_COMPUTERS: Duration = Duration::from_millis(100);

/// The Python that a function runs on, and the folder of the packages that it asks for. Installing
/// those may take minutes.
pub type PythonFor = Arc<dyn Fn(&Function) -> Result<(Python, Option<PathBuf>), AcquireError> + Send + Sync>;

#[derive(Debug, Clone, thiserror::Error)]
pub enum AcquireError {
    /// No environment became free in time, or too many were waiting already.
    #[error("all {concurrency} execution environments are busy and {waiting} requests wait already")]
    Throttled { concurrency: usize, waiting: usize },
    /// The function was deployed anew while the caller waited: ask again, with the new one.
    #[error("the function was deployed anew")]
    Retired,
    #[error("no Python to run it with: {0}")]
    NoPython(String),
    /// What its `requirements.txt` asks for cannot be had.
    #[error("{0}")]
    NoPackages(String),
    #[error(transparent)]
    Start(#[from] StartError),
}

/// All execution environments of this gateway.
#[derive(Clone)]
pub struct Environments(Arc<Shared>);

struct Shared {
    zygotes: Zygotes,
    common: Common,
    limits: Limits,
    python_for: PythonFor,
    /// New environments under way at once: more would only make each slower.
    starts_at_once: usize,
    /// The same over all functions. An init phase may wait for others, so that there are more.
    starts: Semaphore,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pools: HashMap<Key, Pool>,
    /// Versions of which some environments are to be kept.
    provisions: HashMap<Key, Provision>,
    /// Who has left a request in which mailbox, behind the one that is worked on.
    left: HashMap<MailboxId, VecDeque<Left>>,
    /// Idle, busy and starting, over all functions.
    total: usize,
    draining: bool,
}

/// Whose pool: each version of a function has its own.
type Key = (FunctionName, Version);

fn starts_of_all(cores: usize) -> usize {
    if defences::off("starts-at-once") { Semaphore::MAX_PERMITS } else { (4 * cores).max(16) }
}

fn key(function: &Function) -> Key {
    (function.name.clone(), function.version)
}

/// The environments of one function version.
struct Pool {
    function: Arc<Function>,
    #[allow(clippy::vec_box)] // they move between hands with every request
    idle: Vec<Box<Environment>>,
    busy: usize,
    /// Of those, the ones that have taken a request from this pool.
    working: Vec<Arc<Mailbox>>,
    starting: usize,
    /// Of those, the ones that wait for their packages to be installed.
    preparing: usize,
    /// Of all three, those that are provisioned.
    provisioned: usize,
    /// Those of them that are starting.
    provisioned_starting: usize,
    waiting: VecDeque<Waiting>,
    scaler_runs: bool,
    failures: Failures,
    /// Where its template is, if it is to have one.
    slot: Option<Arc<Slot>>,
    /// Whether its invocations wait for anything, as far as the last one tells.
    has_waited: bool,
    /// The same: whether they take longer than most.
    is_slow: bool,
    /// How many requests have been left ahead so far.
    left_ahead: u64,
}

struct Waiting {
    since: Instant,
    /// Of the thread on which it waits.
    bell: Option<&'static Bell>,
    give: oneshot::Sender<Result<Lease, AcquireError>>,
}

impl Waiting {
    fn new() -> (Self, oneshot::Receiver<Result<Lease, AcquireError>>) {
        let (give, receiver) = oneshot::channel();
        (Self { since: Instant::now(), bell: bell().ok(), give }, receiver)
    }

    fn is_near(&self) -> bool {
        self.bell.is_some_and(Bell::is_near)
    }
}

impl Pool {
    fn new(function: Arc<Function>, slot: Option<Arc<Slot>>) -> Self {
        Self {
            function,
            slot,
            idle: Vec::new(),
            busy: 0,
            working: Vec::new(),
            starting: 0,
            preparing: 0,
            provisioned: 0,
            provisioned_starting: 0,
            waiting: VecDeque::new(),
            scaler_runs: false,
            failures: Failures::default(),
            has_waited: true,
            is_slow: true,
            left_ahead: 0,
        }
    }

    fn alive(&self) -> usize {
        self.idle.len() + self.busy + self.starting
    }

    /// The one used last, but what is provisioned first: the rest may grow old. Of this thread's, if there
    /// is one.
    fn take_idle(&mut self) -> Option<Box<Environment>> {
        let last = |suits: &dyn Fn(&Environment) -> bool| self.idle.iter().rposition(|idle| suits(idle));
        let index = match self.provisioned {
            0 => last(&Environment::is_near),
            _ => last(&|idle| idle.provisioned),
        };
        match index {
            Some(index) => Some(self.idle.remove(index)),
            None => self.idle.pop(),
        }
    }

    /// The first in line; or the first of this thread's, if that does not keep anybody for long.
    fn take_waiting(&mut self) -> Option<Waiting> {
        let first = self.waiting.front()?;
        if first.is_near() || first.since.elapsed() > PATIENCE {
            return self.waiting.pop_front();
        }
        let near = self.waiting.iter().take(NEAR).position(Waiting::is_near);
        self.waiting.remove(near.unwrap_or_default())
    }

    fn drop_abandoned(&mut self) {
        if defences::off("queue-leaves-with-client") {
            return;
        }
        self.waiting.retain(|waiting| !waiting.give.is_closed());
    }

    /// The init phase has its own limit, and so has the installer of packages; only waiting behind others is
    /// bounded here.
    fn give_up_waiting(&mut self, limits: &Limits) {
        let longest = limits.queue_timeout + limits.init_timeout;
        while self.preparing == 0 && self.waiting.front().is_some_and(|first| first.since.elapsed() > longest)
        {
            let (first, waiting) = (self.waiting.pop_front(), self.waiting.len() + 1);
            let error = AcquireError::Throttled { concurrency: limits.concurrency, waiting };
            let _ = first.map(|first| first.give.send(Err(error)));
        }
    }
}

/// Numbers for health and tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolCounts {
    pub idle: usize,
    pub busy: usize,
    pub starting: usize,
    pub waiting: usize,
    /// So many so far were left with an environment that worked on another.
    pub left_ahead: u64,
}

impl Environments {
    /// Within a runtime.
    pub fn new(common: Common, limits: Limits, python_for: PythonFor) -> Result<Self, Errno> {
        bell()?.attend();
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Ok(Self(Arc::new(Shared {
            zygotes: Zygotes::new(&common.isolation, &common.state_dir),
            common,
            limits,
            python_for,
            starts_at_once: cores.max(2),
            starts: Semaphore::new(starts_of_all(cores)),
            state: Mutex::default(),
        })))
    }

    /// A warm environment of exactly this function version, or a new one, or one that becomes free; or a
    /// turn, if the request has been left already with one that is busy.
    pub async fn acquire(
        &self,
        function: &Arc<Function>,
        ask: Option<Ask<'_>>,
    ) -> Result<Place, AcquireError> {
        let receiver = {
            let mut state = self.0.state.lock().unwrap();
            loop {
                let pool = self.pool(&mut state, function)?;
                match pool.take_idle() {
                    Some(environment) if environment.is_reusable() => {
                        pool.busy += 1;
                        pool.begins(&environment);
                        return Ok(Place::Now(Lease::new(self, environment)));
                    }
                    // It died while it rested.
                    Some(environment) => self.lost(&mut state, &environment),
                    None => break,
                }
            }
            if let Some(turn) = ask.and_then(|ask| self.leave_ahead(&mut state, function, ask)) {
                return Ok(Place::Next(turn));
            }
            self.line_up(&mut state, function)?
        };
        await_turn(receiver).await.map(Place::Now)
    }

    /// Starts an environment without anybody waiting for it, so that the next request is warm and a
    /// mistake in new code is seen at once. An environment that exists is good enough.
    pub async fn warm(&self, function: &Arc<Function>) -> Result<(), AcquireError> {
        {
            let mut state = self.0.state.lock().unwrap();
            let pool = self.pool(&mut state, function)?;
            if pool.alive() > 0 {
                return Ok(());
            }
        }
        self.wait_in_line(function).await.map(drop)
    }

    async fn wait_in_line(&self, function: &Arc<Function>) -> Result<Lease, AcquireError> {
        let receiver = self.line_up(&mut self.0.state.lock().unwrap(), function)?;
        await_turn(receiver).await
    }

    fn line_up(
        &self,
        state: &mut State,
        function: &Arc<Function>,
    ) -> Result<oneshot::Receiver<Result<Lease, AcquireError>>, AcquireError> {
        let limits = self.0.limits;
        let pool = self.pool(state, function)?;
        if pool.alive() == 0
            && let Some(error) = pool.failures.pausing(Instant::now())
        {
            return Err(error);
        }
        let ahead = pool.ahead();
        if pool.waiting.len() + ahead >= limits.queue {
            pool.drop_abandoned();
        }
        let waiting = pool.waiting.len() + ahead;
        if waiting >= limits.queue && !defences::off("shedding") {
            return Err(AcquireError::Throttled { concurrency: limits.concurrency, waiting });
        }
        let (waiting, receiver) = Waiting::new();
        pool.waiting.push_back(waiting);
        if pool.alive() == 0 {
            self.start_one(state, &key(function));
        }
        self.ensure_scaler(state, &key(function));
        Ok(receiver)
    }

    /// The pool of this function; if it is of another version, that one is retired first.
    fn pool<'a>(&self, state: &'a mut State, function: &Arc<Function>) -> Result<&'a mut Pool, AcquireError> {
        if state.draining {
            return Err(AcquireError::Throttled { concurrency: 0, waiting: 0 });
        }
        match state.pools.get(&key(function)) {
            Some(pool) if Arc::ptr_eq(&pool.function, function) => {}
            // The caller looked the function up before the newer one was deployed.
            Some(pool) if pool.function.sequence > function.sequence => return Err(AcquireError::Retired),
            _ => {
                self.retire_in(state, &key(function));
                let slot = Slot::of(function, self.0.common.snap_start);
                state.pools.insert(key(function), Pool::new(function.clone(), slot));
            }
        }
        Ok(state.pools.get_mut(&key(function)).expect("just made sure"))
    }

    /// Ends idle environments of a function's former versions; busy ones end with their invocation.
    /// Those who wait are sent to ask again.
    pub fn retire(&self, name: &FunctionName, current: Option<&Arc<Function>>) {
        let name = &(name.clone(), Version::Latest);
        let mut state = self.0.state.lock().unwrap();
        let pool = state.pools.get(name);
        let is_current = |pool: &Pool| current.is_some_and(|current| Arc::ptr_eq(&pool.function, current));
        if pool.is_some_and(|pool| !is_current(pool)) {
            self.retire_in(&mut state, name);
        }
    }

    /// Starts the interpreter that environments will be forked from.
    pub async fn prepare(&self, python: &Python) -> Result<(), ZygoteError> {
        self.0.zygotes.get(python).await.map(drop)
    }

    /// Sees new code through its init phase in an environment of its own, which nobody else uses.
    pub async fn rehearse(&self, function: &Arc<Function>) -> Result<(), AcquireError> {
        self.start(function, Start::OnDemand, self.0.limits.init_timeout).await.map(drop)
    }

    fn retire_in(&self, state: &mut State, key: &Key) {
        if let Some(pool) = state.pools.remove(key) {
            state.total -= pool.idle.len();
            for waiting in pool.waiting {
                let _ = waiting.give.send(Err(AcquireError::Retired));
            }
            for mailbox in pool.working {
                self.take_back(state, &pool.function, &mailbox);
            }
        }
    }

    /// Called while there is a line: one timer per function with waiting requests, no polling else.
    fn ensure_scaler(&self, state: &mut State, key_of_pool: &Key) {
        let Some(pool) = state.pools.get_mut(key_of_pool) else { return };
        if std::mem::replace(&mut pool.scaler_runs, true) {
            return;
        }
        let environments = self.clone();
        let function = pool.function.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(PATIENCE / 2).await;
                let mut state = environments.0.state.lock().unwrap();
                let Some(pool) = state.pools.get_mut(&key(&function)) else { return };
                if !Arc::ptr_eq(&pool.function, &function) {
                    return;
                }
                pool.drop_abandoned();
                pool.give_up_waiting(&environments.0.limits);
                let Some(first) = pool.waiting.front() else {
                    pool.scaler_runs = false;
                    return;
                };
                let cores = environments.0.starts_at_once;
                let computes = !pool.has_waited && pool.alive() >= 2 * cores;
                let patience = if computes { PATIENCE_OF_COMPUTERS } else { PATIENCE };
                let patient = first.since.elapsed() < patience;
                let wanted = pool.waiting.len().saturating_sub(pool.starting);
                let room = environments.0.starts_at_once.saturating_sub(pool.starting);
                if pool.alive() == 0 || !patient {
                    for _ in 0..wanted.min(room) {
                        environments.start_one(&mut state, &key(&function));
                    }
                }
            }
        });
    }

    /// Begins a cold start, if the limit allows or an idle environment of another function can make
    /// room.
    fn start_one(&self, state: &mut State, key: &Key) {
        self.begin_start(state, key, false);
    }

    /// `false`: there is no room.
    fn begin_start(&self, state: &mut State, key: &Key, provisioned: bool) -> bool {
        let pauses = |pool: &Pool| pool.failures.pausing(Instant::now()).is_some();
        if !provisioned && state.pools.get(key).is_some_and(pauses) {
            return false;
        }
        if state.total >= self.0.limits.concurrency && !self.make_room(state, key) {
            return false;
        }
        let Some(pool) = state.pools.get_mut(key) else { return false };
        pool.starting += 1;
        pool.provisioned += usize::from(provisioned);
        pool.provisioned_starting += usize::from(provisioned);
        state.total += 1;
        let function = pool.function.clone();
        let environments = self.clone();
        tokio::spawn(async move {
            let limit = environments.0.limits.init_timeout;
            let start = if provisioned { Start::Provisioned } else { Start::FromSnapshot };
            let started = environments.start(&function, start, limit).await;
            environments.started(&function, provisioned, started);
        });
        true
    }

    fn make_room(&self, state: &mut State, except: &Key) -> bool {
        let oldest = state
            .pools
            .iter()
            .filter(|(key, _)| *key != except)
            .filter_map(|(key, pool)| {
                let index = pool.idle.iter().position(|environment| !environment.provisioned)?;
                Some((pool.idle[index].idle_since, index, key.clone()))
            })
            .min();
        let Some((_, index, key)) = oldest else { return false };
        let environment = state.pools.get_mut(&key).map(|pool| pool.idle.remove(index));
        state.total -= usize::from(environment.is_some());
        environment.is_some()
    }

    /// `Start::FromSnapshot`: where the function has asked for that, and it is possible.
    async fn start(
        &self,
        function: &Arc<Function>,
        start: Start,
        limit: Duration,
    ) -> Result<Box<Environment>, AcquireError> {
        let ground = self.ground(function).await?;
        // A hundred at once would each be a hundred times slower, and none ready in its ten seconds.
        let _turn = self.0.starts.acquire().await;
        let mut start = start;
        let mut note = None;
        if start == Start::FromSnapshot {
            start = Start::OnDemand;
            if let Some(slot) = self.slot(function) {
                if let Some(restored) = self.restore(function, &slot, &ground).await? {
                    return Ok(Box::new(restored));
                }
                note = slot.note();
            }
        }
        let limit = if defences::off("init-deadline") { 100 * limit } else { limit };
        let plan = Plan {
            function: function.clone(),
            python: &ground.python,
            packages: ground.packages.as_deref(),
            common: &self.0.common,
            start,
            limit,
        };
        let (mut started, _) = Environment::start(plan, Origin::Zygote(&ground.zygote)).await?;
        if let Some(note) = note {
            started.note(&note);
        }
        Ok(Box::new(started))
    }

    async fn ground(&self, function: &Arc<Function>) -> Result<Ground, AcquireError> {
        // Looking for interpreters reads files, and may run them.
        let (environments, wanted) = (self.clone(), function.clone());
        self.preparing(function, true);
        let found = tokio::task::spawn_blocking(move || (environments.0.python_for)(&wanted)).await;
        self.preparing(function, false);
        let (python, packages) =
            found.unwrap_or_else(|error| Err(AcquireError::NoPython(error.to_string())))?;
        let zygote = self.0.zygotes.get(&python).await.map_err(StartError::from)?;
        Ok(Ground { python, packages, zygote })
    }

    /// Has the packages of a function installed before anybody asks; what goes wrong has been said.
    pub async fn install_packages(&self, function: &Arc<Function>) {
        let (environments, function) = (self.clone(), function.clone());
        let _ = tokio::task::spawn_blocking(move || (environments.0.python_for)(&function).map(drop)).await;
    }

    fn preparing(&self, function: &Arc<Function>, begins: bool) {
        let mut state = self.0.state.lock().unwrap();
        let current = state.pools.get_mut(&key(function)).filter(|p| Arc::ptr_eq(&p.function, function));
        if let Some(pool) = current {
            pool.preparing = if begins { pool.preparing + 1 } else { pool.preparing.saturating_sub(1) };
        }
    }

    fn started(
        &self,
        function: &Arc<Function>,
        provisioned: bool,
        started: Result<Box<Environment>, AcquireError>,
    ) {
        let mut state = self.0.state.lock().unwrap();
        let current =
            state.pools.get_mut(&key(function)).filter(|pool| Arc::ptr_eq(&pool.function, function));
        let Some(pool) = current else {
            // Deployed anew meanwhile; whoever waited has been told.
            state.total -= 1;
            return;
        };
        pool.starting -= 1;
        pool.provisioned_starting -= usize::from(provisioned);
        match started {
            Ok(environment) => {
                pool.failures = Failures::default();
                pool.busy += 1;
                pool.begins(&environment);
                self.pass_on(&mut state, environment);
                if provisioned {
                    self.provision_succeeded(&mut state, &key(function));
                }
            }
            Err(error) => {
                pool.provisioned -= usize::from(provisioned);
                pool.failures.failed(&function.name, &error, Instant::now());
                let alone = pool.alive() == 0;
                // Whoever waits behind environments that work is served by those.
                let answer = if alone { pool.waiting.len() } else { 1 };
                for waiting in pool.waiting.drain(..answer.min(pool.waiting.len())) {
                    let _ = waiting.give.send(Err(error.clone()));
                }
                state.total -= 1;
                if provisioned {
                    self.provision_failed(&mut state, &key(function), &error);
                }
            }
        }
    }

    /// A lease has ended: the environment goes to the first in line, or to rest.
    fn give_back(&self, mut environment: Box<Environment>) {
        let mut state = self.0.state.lock().unwrap();
        environment.idle_since = Instant::now();
        self.pass_on(&mut state, environment);
    }

    fn pass_on(&self, state: &mut State, environment: Box<Environment>) {
        let Some(environment) = self.go_on(state, environment) else { return };
        let key = key(&environment.function);
        if !self.is_good(state, &environment) {
            self.discard_busy(state, &key, environment);
            return;
        }
        let Some(pool) = state.pools.get_mut(&key) else { return };
        pool.has_waited = environment.has_waited;
        pool.is_slow = environment.was_slow;
        if environment.was_slow {
            pool.ends(environment.mailbox());
            pool.begins(&environment);
        }
        let mut lease = Lease::new(self, environment);
        while let Some(waiting) = pool.take_waiting() {
            match waiting.give.send(Ok(lease)) {
                Ok(()) => return,
                Err(Ok(returned)) => lease = returned,
                Err(Err(_)) => unreachable!("a lease was sent"),
            }
        }
        pool.busy -= 1;
        pool.ends(lease.mailbox());
        pool.idle.push(lease.take());
        if pool.provisioned > 0 {
            self.end_unwanted(state, &key);
        }
    }

    /// Whether it may serve others: it is of the code that is deployed, and nothing has happened to it.
    fn is_good(&self, state: &State, environment: &Environment) -> bool {
        let pool = state.pools.get(&key(&environment.function));
        let is_current = pool.is_some_and(|pool| Arc::ptr_eq(&pool.function, &environment.function));
        is_current && !state.draining && environment.is_reusable()
    }

    fn discard_busy(&self, state: &mut State, key: &Key, environment: Box<Environment>) {
        state.total -= 1;
        let mut needed = false;
        if let Some(pool) = state.pools.get_mut(key)
            && Arc::ptr_eq(&pool.function, &environment.function)
        {
            pool.busy -= 1;
            pool.ends(environment.mailbox());
            pool.provisioned -= usize::from(environment.provisioned);
            pool.drop_abandoned();
            needed = pool.alive() == 0 && !pool.waiting.is_empty();
        }
        let was_provisioned = environment.provisioned;
        drop(environment);
        if was_provisioned {
            self.ensure_provisioned(state, key);
        }
        if needed {
            self.start_one(state, key);
        }
    }

    /// One that rested is gone.
    fn lost(&self, state: &mut State, environment: &Environment) {
        state.total -= 1;
        if environment.provisioned {
            let key = key(&environment.function);
            if let Some(pool) = state.pools.get_mut(&key) {
                pool.provisioned -= 1;
            }
            self.ensure_provisioned(state, &key);
        }
    }

    /// Of all versions of a function together.
    pub fn counts(&self, name: &FunctionName) -> PoolCounts {
        let state = self.0.state.lock().unwrap();
        let mut counts = PoolCounts::default();
        for (_, pool) in state.pools.iter().filter(|((of, _), _)| of == name) {
            counts.idle += pool.idle.len();
            counts.busy += pool.busy;
            counts.starting += pool.starting;
            counts.waiting += pool.waiting.len() + pool.ahead();
            counts.left_ahead += pool.left_ahead;
        }
        counts
    }

    /// Idle, busy and starting, over all functions.
    pub fn total(&self) -> usize {
        self.0.state.lock().unwrap().total
    }

    /// What was found to keep handlers to themselves; `None` before the first interpreter has started.
    pub fn isolation(&self) -> Option<InForce> {
        self.0.zygotes.isolation()
    }

    pub fn zygote_pids(&self) -> Vec<u32> {
        self.0.zygotes.pids()
    }

    /// A fresh environment for one caller, with an init phase as long as `limit`: what Lambda does
    /// when the init phase has run out of its ten seconds, inside the invocation.
    pub async fn start_for(&self, function: &Arc<Function>, limit: Duration) -> Result<Lease, AcquireError> {
        let environment = self.start(function, Start::OnDemand, limit).await?;
        let mut state = self.0.state.lock().unwrap();
        state.total += 1;
        if let Some(pool) = state.pools.get_mut(&key(function))
            && Arc::ptr_eq(&pool.function, function)
        {
            pool.busy += 1;
        }
        Ok(Lease::new(self, environment))
    }

    /// Ends environments that have been idle too long; runs as long as the gateway.
    pub async fn keep_house(&self) {
        let interval =
            (self.0.limits.idle_timeout / 4).clamp(Duration::from_millis(50), Duration::from_secs(15));
        let weak: Weak<Shared> = Arc::downgrade(&self.0);
        tokio::spawn(rest::watch(weak.clone()));
        loop {
            tokio::time::sleep(interval).await;
            let Some(shared) = weak.upgrade() else { return };
            let mut state = shared.state.lock().unwrap();
            let mut ended = 0;
            for pool in state.pools.values_mut() {
                let before = pool.idle.len();
                let mut lost = 0;
                pool.idle.retain(|environment| {
                    let rests = environment.idle_since.elapsed() < shared.limits.idle_timeout;
                    let stays = environment.is_reusable() && (rests || environment.provisioned);
                    lost += usize::from(!stays && environment.provisioned);
                    stays
                });
                pool.provisioned -= lost;
                ended += before - pool.idle.len();
                if pool.alive() == 0
                    && let Some(slot) = &pool.slot
                {
                    slot.rest();
                }
            }
            state.total -= ended;
            Self(shared.clone()).ensure_all_provisioned(&mut state);
        }
    }

    /// No more environments; idle ones end now, busy ones with their invocation.
    pub fn drain(&self) {
        let mut state = self.0.state.lock().unwrap();
        state.draining = true;
        state.provisions.clear();
        let keys: Vec<Key> = state.pools.keys().cloned().collect();
        for key in keys {
            self.retire_in(&mut state, &key);
        }
    }

    /// Ends everything. Returns when no process is left.
    pub async fn end(&self) {
        self.drain();
        self.0.zygotes.end().await;
    }
}

impl From<ZygoteError> for AcquireError {
    fn from(error: ZygoteError) -> Self {
        Self::Start(error.into())
    }
}

/// What an invocation has got.
pub enum Place {
    Now(Lease),
    /// Its request lies with an environment that works on another.
    Next(Turn),
}

/// An environment that is the holder's alone; it goes back when this is dropped.
pub struct Lease {
    environments: Environments,
    environment: Option<Box<Environment>>,
}

impl Lease {
    fn new(environments: &Environments, environment: Box<Environment>) -> Self {
        Self { environments: environments.clone(), environment: Some(environment) }
    }

    fn take(mut self) -> Box<Environment> {
        self.environment.take().expect("present until dropped")
    }

    /// One invocation, from request to answer, timeout or death. With a `speaker` the answer may be a
    /// stream.
    pub async fn invoke(&mut self, ask: Ask<'_>, speaker: Option<&mut Speaker>) -> Finished {
        let environments = &self.environments;
        let environment = self.environment.as_mut().expect("present until dropped");
        let is_slow =
            |function: &Arc<Function>, mailbox: &Arc<Mailbox>| environments.is_slow(function, mailbox);
        environment.invoke(ask, speaker, is_slow).await
    }
}

async fn await_turn(receiver: oneshot::Receiver<Result<Lease, AcquireError>>) -> Result<Lease, AcquireError> {
    receiver.await.unwrap_or(Err(AcquireError::Retired))
}

impl std::ops::Deref for Lease {
    type Target = Environment;
    fn deref(&self) -> &Environment {
        self.environment.as_ref().expect("present until dropped")
    }
}

impl std::ops::DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Environment {
        self.environment.as_mut().expect("present until dropped")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(environment) = self.environment.take() {
            self.environments.give_back(environment);
        }
    }
}

impl StartError {
    /// The init phase that failed, if that is what it was.
    pub fn init(&self) -> Option<&Finished> {
        match self {
            Self::Init(finished) => Some(finished),
            _ => None,
        }
    }
}

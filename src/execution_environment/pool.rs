//! Which environment serves the next invocation: a warm one if there is one, else the caller waits
//! in line, and new ones are started when the line does not move.
//!
//! The pool of a function is a stack: the environment used last is used next, so that those that
//! are too many grow old and are ended. Housekeeping has three verbs: retire what is of old code,
//! end what has been idle too long, start what is waited for.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use tokio::sync::oneshot;

use super::bell::bell;
use super::environment::{Common, Environment, Finished, StartError};
use super::zygote::{Python, ZygoteError, Zygotes};
use crate::config::Limits;
use crate::function::{Function, FunctionName};

/// How long the first in line waits for a busy environment before one more is started. A cold start
/// takes about as long: whoever waits less is served sooner by an environment that exists, and many
/// processes are slower than a few when each request takes microseconds.
const PATIENCE: Duration = Duration::from_millis(4);
/// The same for a function that only computes, once it has as many environments as keep all cores
/// busy: more would make none of them faster. Still bounded, so that a short request does not wait
/// for the end of a long one.
const PATIENCE_OF_COMPUTERS: Duration = Duration::from_millis(100);

/// The Python that a function runs on, chosen when it was deployed.
pub type PythonFor = Arc<dyn Fn(&Function) -> Result<Python, String> + Send + Sync>;

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
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pools: HashMap<FunctionName, Pool>,
    /// Idle, busy and starting, over all functions.
    total: usize,
    draining: bool,
}

/// The environments of one function version.
struct Pool {
    function: Arc<Function>,
    #[allow(clippy::vec_box)] // they move between hands with every request
    idle: Vec<Box<Environment>>,
    busy: usize,
    starting: usize,
    waiting: VecDeque<Waiting>,
    scaler_runs: bool,
    /// Whether its invocations wait for anything, as far as the last one tells.
    has_waited: bool,
}

struct Waiting {
    since: Instant,
    give: oneshot::Sender<Result<Lease, AcquireError>>,
}

impl Pool {
    fn new(function: Arc<Function>) -> Self {
        Self {
            function,
            idle: Vec::new(),
            busy: 0,
            starting: 0,
            waiting: VecDeque::new(),
            scaler_runs: false,
            has_waited: true,
        }
    }

    fn alive(&self) -> usize {
        self.idle.len() + self.busy + self.starting
    }

    fn drop_abandoned(&mut self) {
        self.waiting.retain(|waiting| !waiting.give.is_closed());
    }
}

/// Numbers for health and tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolCounts {
    pub idle: usize,
    pub busy: usize,
    pub starting: usize,
    pub waiting: usize,
}

impl Environments {
    /// Within a runtime.
    pub fn new(common: Common, limits: Limits, python_for: PythonFor) -> Result<Self, Errno> {
        // Two tasks for the life of the runtime: one hears the bell, one beats the clock.
        let bell = bell()?;
        tokio::spawn(bell.listen());
        tokio::spawn(bell.beat());
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Ok(Self(Arc::new(Shared {
            zygotes: Zygotes::default(),
            common,
            limits,
            python_for,
            starts_at_once: cores.max(2),
            state: Mutex::default(),
        })))
    }

    /// A warm environment of exactly this function version, or a new one, or one that becomes free.
    pub async fn acquire(&self, function: &Arc<Function>) -> Result<Lease, AcquireError> {
        let receiver = {
            let mut state = self.0.state.lock().unwrap();
            loop {
                let pool = self.pool(&mut state, function)?;
                match pool.idle.pop() {
                    Some(environment) if environment.is_reusable() => {
                        pool.busy += 1;
                        return Ok(Lease::new(self, environment));
                    }
                    // It died while it rested.
                    Some(_) => state.total -= 1,
                    None => break,
                }
            }
            self.line_up(&mut state, function)?
        };
        self.await_turn(receiver, function).await
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
        self.await_turn(receiver, function).await
    }

    fn line_up(
        &self,
        state: &mut State,
        function: &Arc<Function>,
    ) -> Result<oneshot::Receiver<Result<Lease, AcquireError>>, AcquireError> {
        let limits = self.0.limits;
        let pool = self.pool(state, function)?;
        if pool.waiting.len() >= limits.queue {
            pool.drop_abandoned();
        }
        if pool.waiting.len() >= limits.queue {
            let waiting = pool.waiting.len();
            return Err(AcquireError::Throttled { concurrency: limits.concurrency, waiting });
        }
        let (give, receiver) = oneshot::channel();
        pool.waiting.push_back(Waiting { since: Instant::now(), give });
        if pool.alive() == 0 {
            self.start_one(state, &function.name);
        }
        self.ensure_scaler(state, &function.name);
        Ok(receiver)
    }

    async fn await_turn(
        &self,
        receiver: oneshot::Receiver<Result<Lease, AcquireError>>,
        function: &Arc<Function>,
    ) -> Result<Lease, AcquireError> {
        // The init phase has its own limit; only waiting behind others is bounded here.
        let limits = self.0.limits;
        match tokio::time::timeout(limits.queue_timeout + limits.init_timeout, receiver).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(AcquireError::Retired),
            Err(_) => {
                let waiting = self.counts(&function.name).waiting;
                Err(AcquireError::Throttled { concurrency: limits.concurrency, waiting })
            }
        }
    }

    /// The pool of this function; if it is of another version, that one is retired first.
    fn pool<'a>(&self, state: &'a mut State, function: &Arc<Function>) -> Result<&'a mut Pool, AcquireError> {
        if state.draining {
            return Err(AcquireError::Throttled { concurrency: 0, waiting: 0 });
        }
        match state.pools.get(&function.name) {
            Some(pool) if Arc::ptr_eq(&pool.function, function) => {}
            // The caller looked the function up before the newer one was deployed.
            Some(pool) if pool.function.sequence > function.sequence => return Err(AcquireError::Retired),
            _ => {
                self.retire_in(state, &function.name);
                state.pools.insert(function.name.clone(), Pool::new(function.clone()));
            }
        }
        Ok(state.pools.get_mut(&function.name).expect("just made sure"))
    }

    /// Ends idle environments of a function's former versions; busy ones end with their invocation.
    /// Those who wait are sent to ask again.
    pub fn retire(&self, name: &FunctionName, current: Option<&Arc<Function>>) {
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
        self.start(function, self.0.limits.init_timeout).await.map(drop)
    }

    fn retire_in(&self, state: &mut State, name: &FunctionName) {
        if let Some(pool) = state.pools.remove(name) {
            state.total -= pool.idle.len();
            for waiting in pool.waiting {
                let _ = waiting.give.send(Err(AcquireError::Retired));
            }
        }
    }

    /// Called while there is a line: one timer per function with waiting requests, no polling else.
    fn ensure_scaler(&self, state: &mut State, name: &FunctionName) {
        let Some(pool) = state.pools.get_mut(name) else { return };
        if std::mem::replace(&mut pool.scaler_runs, true) {
            return;
        }
        let environments = self.clone();
        let function = pool.function.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(PATIENCE / 2).await;
                let mut state = environments.0.state.lock().unwrap();
                let Some(pool) = state.pools.get_mut(&function.name) else { return };
                if !Arc::ptr_eq(&pool.function, &function) {
                    return;
                }
                pool.drop_abandoned();
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
                        environments.start_one(&mut state, &function.name);
                    }
                }
            }
        });
    }

    /// Begins a cold start, if the limit allows or an idle environment of another function can make
    /// room.
    fn start_one(&self, state: &mut State, name: &FunctionName) {
        if state.total >= self.0.limits.concurrency && !self.make_room(state, name) {
            return;
        }
        let Some(pool) = state.pools.get_mut(name) else { return };
        pool.starting += 1;
        state.total += 1;
        let function = pool.function.clone();
        let environments = self.clone();
        tokio::spawn(async move {
            let started = environments.start(&function, environments.0.limits.init_timeout).await;
            environments.started(&function, started);
        });
    }

    fn make_room(&self, state: &mut State, except: &FunctionName) -> bool {
        let oldest = state
            .pools
            .iter()
            .filter(|(name, _)| *name != except)
            .filter_map(|(name, pool)| Some((pool.idle.first()?.idle_since, name.clone())))
            .min();
        let Some((_, name)) = oldest else { return false };
        let environment = state.pools.get_mut(&name).map(|pool| pool.idle.remove(0));
        state.total -= usize::from(environment.is_some());
        environment.is_some()
    }

    async fn start(
        &self,
        function: &Arc<Function>,
        limit: Duration,
    ) -> Result<Box<Environment>, AcquireError> {
        // Looking for interpreters reads files, and may run them.
        let (environments, wanted) = (self.clone(), function.clone());
        let python = tokio::task::spawn_blocking(move || (environments.0.python_for)(&wanted)).await;
        let python = python.map_err(|error| error.to_string()).flatten().map_err(AcquireError::NoPython)?;
        let zygote = self.0.zygotes.get(&python).await.map_err(StartError::from)?;
        let started = Environment::start(function.clone(), &python, &zygote, &self.0.common, limit).await?;
        Ok(Box::new(started))
    }

    fn started(&self, function: &Arc<Function>, started: Result<Box<Environment>, AcquireError>) {
        let mut state = self.0.state.lock().unwrap();
        let current =
            state.pools.get_mut(&function.name).filter(|pool| Arc::ptr_eq(&pool.function, function));
        let Some(pool) = current else {
            // Deployed anew meanwhile; whoever waited has been told.
            state.total -= 1;
            return;
        };
        pool.starting -= 1;
        match started {
            Ok(environment) => {
                pool.busy += 1;
                self.pass_on(&mut state, environment);
            }
            Err(error) => {
                let alone = pool.alive() == 0;
                // Whoever waits behind environments that work is served by those.
                let answer = if alone { pool.waiting.len() } else { 1 };
                for waiting in pool.waiting.drain(..answer.min(pool.waiting.len())) {
                    let _ = waiting.give.send(Err(error.clone()));
                }
                state.total -= 1;
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
        let name = environment.function.name.clone();
        let current = state.pools.get_mut(&name).filter(|p| Arc::ptr_eq(&p.function, &environment.function));
        let Some(pool) = current.filter(|_| environment.is_reusable() && !state.draining) else {
            self.discard_busy(state, &name, environment);
            return;
        };
        pool.has_waited = environment.has_waited;
        let mut lease = Lease::new(self, environment);
        while let Some(waiting) = pool.waiting.pop_front() {
            match waiting.give.send(Ok(lease)) {
                Ok(()) => return,
                Err(Ok(returned)) => lease = returned,
                Err(Err(_)) => unreachable!("a lease was sent"),
            }
        }
        pool.busy -= 1;
        pool.idle.push(lease.take());
    }

    fn discard_busy(&self, state: &mut State, name: &FunctionName, environment: Box<Environment>) {
        state.total -= 1;
        let mut needed = false;
        if let Some(pool) = state.pools.get_mut(name)
            && Arc::ptr_eq(&pool.function, &environment.function)
        {
            pool.busy -= 1;
            pool.drop_abandoned();
            needed = pool.alive() == 0 && !pool.waiting.is_empty();
        }
        drop(environment);
        if needed {
            self.start_one(state, name);
        }
    }

    pub fn counts(&self, name: &FunctionName) -> PoolCounts {
        let state = self.0.state.lock().unwrap();
        state.pools.get(name).map_or_else(PoolCounts::default, |pool| PoolCounts {
            idle: pool.idle.len(),
            busy: pool.busy,
            starting: pool.starting,
            waiting: pool.waiting.len(),
        })
    }

    /// Idle, busy and starting, over all functions.
    pub fn total(&self) -> usize {
        self.0.state.lock().unwrap().total
    }

    pub fn zygote_pids(&self) -> Vec<u32> {
        self.0.zygotes.pids()
    }

    /// A fresh environment for one caller, with an init phase as long as `limit`: what Lambda does
    /// when the init phase has run out of its ten seconds, inside the invocation.
    pub async fn start_for(&self, function: &Arc<Function>, limit: Duration) -> Result<Lease, AcquireError> {
        let environment = self.start(function, limit).await?;
        let mut state = self.0.state.lock().unwrap();
        state.total += 1;
        if let Some(pool) = state.pools.get_mut(&function.name)
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
        loop {
            tokio::time::sleep(interval).await;
            let Some(shared) = weak.upgrade() else { return };
            let mut state = shared.state.lock().unwrap();
            let mut ended = 0;
            for pool in state.pools.values_mut() {
                let before = pool.idle.len();
                pool.idle.retain(|environment| {
                    environment.is_reusable() && environment.idle_since.elapsed() < shared.limits.idle_timeout
                });
                ended += before - pool.idle.len();
            }
            state.total -= ended;
        }
    }

    /// No more environments; idle ones end now, busy ones with their invocation.
    pub fn drain(&self) {
        let mut state = self.0.state.lock().unwrap();
        state.draining = true;
        let names: Vec<FunctionName> = state.pools.keys().cloned().collect();
        for name in names {
            self.retire_in(&mut state, &name);
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

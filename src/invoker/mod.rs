//! The one door to a function: resolve, acquire an environment, invoke, record.
//!
//! Whatever triggers a function comes through here, so that timeouts, logs and the explanation on
//! the terminal are the same for all. An invocation that has begun runs to its end even if whoever
//! asked goes away; one that still waits in line is forgotten.
//!
//! - `asynchronous`, `drain`, `event_queue`, `retry`, `destination`: events that nobody waits for.
//! - `queue`: the same for whoever looks at them.
//! - `concurrency`, `recursion`: who may run, and how often.
//! - `detached`: what goes on when nobody waits for it any more.
//! - `streaming`: results that leave piece by piece.
//! - `outcome`, `log_text`, `explain`: what is said of an invocation.

mod asynchronous;
mod concurrency;
mod destination;
mod detached;
mod drain;
mod event_queue;
mod explain;
mod log_text;
mod outcome;
mod provisioned;
mod queue;
mod recursion;
mod retry;
mod streaming;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;

use crate::config::{Account, Limits};
use crate::defences;
use crate::delivery::Delivery;
use crate::deployment::{Deployment, Deployments, ResolveError};
use crate::execution_environment::{
    AcquireError, Ask, Ended, Environments, Finished, InitReport, Lease, Place, RESTORE_LIMIT, Speaker,
    StartError, Turn,
};
use crate::function::{Function, FunctionName, LATEST, Version};
use crate::history::{Entry, History, Part};
use crate::invocation::{Completed, Invocation, Outcome, Usage};
use crate::logs::{Logs, Record};
use crate::metrics::Metrics;
use crate::published::{Published, Resolved};
use crate::store::Store;

pub use asynchronous::AcceptError;
use asynchronous::Events;
use concurrency::{Concurrency, Permit};
use detached::{Panicked, detached};
pub use explain::{explain, show_output};
pub use queue::Changed;
pub use streaming::{ResponseStream, Streamed};

/// A cheap handle.
#[derive(Clone)]
pub struct Invoker(Arc<Shared>);

struct Shared {
    deployments: Deployments,
    environments: Environments,
    published: Published,
    store: Store,
    delivery: Delivery,
    logs: Option<Logs>,
    account: Account,
    limits: Limits,
    events: Events,
    concurrency: Concurrency,
    /// By function: the version that could not be loaded, and what was said about it.
    told: Mutex<HashMap<FunctionName, (u64, String)>>,
    /// Counts the changes of `told`.
    judged: watch::Sender<u64>,
    metrics: Metrics,
    history: History,
}

/// What the invoker stands on.
pub struct Below {
    pub deployments: Deployments,
    pub environments: Environments,
    pub published: Published,
    pub store: Store,
    pub delivery: Delivery,
    /// `None`: they cannot be kept.
    pub logs: Option<Logs>,
}

/// Why a function was not even asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum InvokeError {
    #[error("there is no function `{0}`")]
    NotFound(String),
    #[error("function `{name}` cannot run: {reason}")]
    Broken { name: FunctionName, reason: String },
    #[error("{0}")]
    Throttled(Throttled),
    /// The chain of invocations that led here has come by this function too often.
    #[error("{0}")]
    Recursive(String),
    /// Ours: no Python, no process, no memory.
    #[error("{0}")]
    Unavailable(String),
}

/// AWS's name of a limit that was reached, and what that means here.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{explanation}")]
pub struct Throttled {
    pub reason: ThrottleReason,
    pub explanation: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThrottleReason {
    ConcurrentInvocationLimitExceeded,
    ReservedFunctionConcurrentInvocationLimitExceeded,
}

impl From<ResolveError> for InvokeError {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::NotFound(name) => Self::NotFound(name),
            ResolveError::Broken { name, reason } => Self::Broken { name, reason },
        }
    }
}

/// How many environments in a row may be found dead.
const TRIES_WITH_THE_DEAD: usize = 5;

/// How often code that fails to load is loaded again because it changed at the same time.
const TRIES_IN_CHANGE: usize = 3;
/// How long a file that is being saved stays half-written.
const CHANGE: Duration = Duration::from_millis(5);

/// How the first phase of an invocation went.
enum Acquired {
    /// `limit`: what is left of the function's timeout.
    Ready { lease: Lease, limit: Duration },
    /// It has been left with an environment that works on another: from now on it is run to its end.
    Next(Turn),
    /// The handler cannot be loaded: that is the outcome.
    InitFailed(Arc<Finished>),
}

impl Invoker {
    pub fn new(below: Below, account: Account, limits: Limits) -> Self {
        let Below { deployments, environments, published, store, delivery, logs } = below;
        Self(Arc::new(Shared {
            deployments,
            environments,
            published,
            store,
            delivery,
            logs,
            account,
            limits,
            events: Events::new(limits.concurrency, limits.asynchronous_time_scale),
            concurrency: Concurrency::new(limits.concurrency, limits.queue, limits.queue_timeout),
            told: Mutex::default(),
            judged: watch::Sender::new(0),
            metrics: Metrics::default(),
            history: History::default(),
        }))
    }

    pub fn deployments(&self) -> &Deployments {
        &self.0.deployments
    }

    pub fn environments(&self) -> &Environments {
        &self.0.environments
    }

    pub fn published(&self) -> &Published {
        &self.0.published
    }

    pub fn store(&self) -> &Store {
        &self.0.store
    }

    pub fn delivery(&self) -> &Delivery {
        &self.0.delivery
    }

    /// `None`: they cannot be kept.
    pub fn logs(&self) -> Option<&Logs> {
        self.0.logs.as_ref()
    }

    pub fn account(&self) -> &Account {
        &self.0.account
    }

    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// The last invocations, and word of those that end.
    pub fn history(&self) -> &History {
        &self.0.history
    }

    /// Forgets what was kept of functions that are deployed no more.
    pub fn forget_others(&self, deployment: &Deployment) {
        let is_there = |name: &str| deployment.functions.contains_key(name);
        self.0.metrics.prune(is_there);
        self.0.history.keep_only(is_there);
    }

    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Invokes a function, `NAME` or `NAME:QUALIFIER`, and waits for what comes of it.
    pub async fn invoke(&self, name: &str, mut invocation: Invocation) -> Result<Completed, InvokeError> {
        self.follow_lineage(name, &mut invocation)?;
        self.invoke_followed(name, invocation).await
    }

    /// The same for an invocation whose trace has this function in it already.
    async fn invoke_followed(
        &self,
        name: &str,
        mut invocation: Invocation,
    ) -> Result<Completed, InvokeError> {
        for _ in 0..TRIES_WITH_THE_DEAD {
            let (function, acquired, permit) = self.find(name, Some(&invocation)).await?;
            let invoker = self.clone();
            let run = || async move {
                let _permit = permit;
                invoker.run(&function, acquired, invocation, None).await
            };
            let ended = match defences::off("detached-invocation") {
                true => Ok(Box::pin(run()).await),
                false => detached(run).await,
            };
            match ended.map_err(|Panicked| bug("it panicked; what is written above says where"))? {
                Ok(completed) => return Ok(completed),
                Err(untouched) => invocation = untouched,
            }
        }
        Err(too_many_dead(name))
    }

    /// The function of this name, and an environment for it; or a turn, where the invocation is told that is
    /// to be left ahead.
    async fn find(
        &self,
        name: &str,
        ahead: Option<&Invocation>,
    ) -> Result<(Arc<Function>, Acquired, Permit), InvokeError> {
        let mut failures = 0;
        loop {
            let function = self.resolve(name).await?;
            let admitted = self.0.concurrency.admit(&function, self.0.deployments.current()).await;
            let permit = admitted.inspect_err(|error| {
                if matches!(error, InvokeError::Throttled(_)) {
                    self.0.metrics.throttled(function.name.as_str());
                }
            })?;
            match self.acquire(&function, ahead).await {
                // It was saved while it was loaded: what failed is not what was deployed. Not for
                // ever, as code may write to its own folder.
                Ok(Acquired::InitFailed(finished)) => {
                    failures += 1;
                    let may_change = function.version == Version::Latest && failures <= TRIES_IN_CHANGE;
                    if !may_change || !self.0.deployments.is_outdated(&function).await {
                        return Ok((function, Acquired::InitFailed(finished), permit));
                    }
                    tokio::time::sleep(CHANGE).await;
                }
                Ok(acquired) => return Ok((function, acquired, permit)),
                // Deployed anew while this one waited in line: it gets the new code.
                Err(AcquireError::Retired) => {}
                Err(AcquireError::Start(error)) => return Err(InvokeError::Unavailable(error.to_string())),
                Err(error @ (AcquireError::NoPython(_) | AcquireError::NoPackages(_))) => {
                    return Err(InvokeError::Unavailable(error.to_string()));
                }
                Err(error @ AcquireError::Throttled { .. }) => {
                    self.0.metrics.throttled(function.name.as_str());
                    let reason = ThrottleReason::ConcurrentInvocationLimitExceeded;
                    return Err(InvokeError::Throttled(Throttled { reason, explanation: error.to_string() }));
                }
            }
        }
    }

    /// The version that `NAME` or `NAME:QUALIFIER` means for this invocation.
    pub async fn resolve(&self, name: &str) -> Result<Arc<Function>, InvokeError> {
        let (name, qualifier) = match name.split_once(':') {
            None => (name, LATEST),
            Some((name, qualifier)) => (name, qualifier),
        };
        if qualifier == LATEST {
            return Ok(self.0.deployments.resolve(name).await?);
        }
        let deployment = self.0.deployments.current();
        match self.0.published.resolve(name, qualifier) {
            Some(Resolved::Latest) => return Ok(self.0.deployments.resolve(name).await?),
            // Of a function whose folder is gone nothing is within reach.
            Some(Resolved::Version(function)) if deployment.functions.contains_key(name) => {
                return Ok(function);
            }
            _ => {}
        }
        if deployment.declares(name, qualifier) {
            return Ok(self.0.deployments.resolve(name).await?);
        }
        Err(InvokeError::NotFound(format!("{name}:{qualifier}")))
    }

    async fn acquire(
        &self,
        function: &Arc<Function>,
        ahead: Option<&Invocation>,
    ) -> Result<Acquired, AcquireError> {
        let timeout = function.configuration.timeout;
        let ask = ahead.map(|invocation| Ask { invocation, timeout });
        let error = match self.0.environments.acquire(function, ask).await {
            Ok(Place::Next(turn)) => return Ok(Acquired::Next(turn)),
            Ok(Place::Now(lease)) => return Ok(Acquired::Ready { lease, limit: timeout }),
            Err(error) => error,
        };
        let AcquireError::Start(StartError::Init(finished)) = error else { return Err(error) };
        if finished.ended != Ended::TimedOut || finished.restored {
            return Ok(Acquired::InitFailed(finished));
        }
        // As on Lambda: an init phase that has used up its ten seconds is begun again inside the
        // invocation, under the function's own timeout.
        let began = Instant::now();
        match self.0.environments.start_for(function, timeout).await {
            Ok(lease) => Ok(Acquired::Ready { lease, limit: timeout.saturating_sub(began.elapsed()) }),
            Err(AcquireError::Start(StartError::Init(finished))) => Ok(Acquired::InitFailed(finished)),
            Err(error) => Err(error),
        }
    }

    /// The invocation comes back if no environment has seen it.
    async fn run(
        &self,
        function: &Function,
        acquired: Acquired,
        invocation: Invocation,
        speaker: Option<&mut Speaker>,
    ) -> Result<Completed, Invocation> {
        let leased = match acquired {
            Acquired::Ready { lease, limit } => Ok((lease, limit)),
            Acquired::Next(turn) => match turn.await {
                Ok(lease) => Ok((lease, function.configuration.timeout)),
                Err(_) => return Err(invocation),
            },
            Acquired::InitFailed(finished) => Err(finished),
        };
        let began = SystemTime::now();
        let running = self.0.metrics.begin(function.name.as_str());
        let (finished, init, in_init) = match leased {
            Ok((mut lease, timeout)) => {
                let init = lease.take_init();
                let ask = Ask { invocation: &invocation, timeout };
                (lease.invoke(ask, speaker).await, init, false)
            }
            Err(finished) => ((*finished).clone(), None, true),
        };
        if finished.untouched {
            return Err(invocation);
        }
        let (cold, init_began) = (init.is_some() || in_init, init.as_ref().map(|init| init.began));
        let completed = self.complete(function, &invocation, began, finished, init, in_init);
        running.ended(completed.usage.duration, completed.outcome.failure().is_some(), cold);
        drop(running);
        self.remember(function, invocation, (began, init_began, cold), &completed);
        Ok(completed)
    }

    fn complete(
        &self,
        function: &Function,
        invocation: &Invocation,
        began: SystemTime,
        finished: Finished,
        init: Option<InitReport>,
        in_init: bool,
    ) -> Completed {
        let usage = Usage {
            duration: finished.duration,
            init_duration: init.as_ref().map(|init| init.duration),
            restored: init.as_ref().is_some_and(|init| init.restored),
            max_memory_mb: finished.max_memory_mb,
        };
        let timeout = match in_init && finished.restored {
            true => RESTORE_LIMIT,
            false => function.configuration.timeout,
        };
        let outcome = outcome::of(finished.ended, &invocation.request_id, timeout);
        let log = log_text::Invocation {
            function,
            runtime: &finished.runtime,
            request_id: &invocation.request_id,
            began,
            outcome: &outcome,
            usage: &usage,
            init: init.as_ref(),
            output: &finished.output,
            in_init,
            restored: finished.restored,
        }
        .text();
        if init.is_some() && !in_init {
            self.could_load(function);
        }
        // What cannot be loaded has been explained when it was saved; not again with every request.
        if !(in_init && self.has_been_told(function, &outcome)) {
            if let Some(init) = &init {
                if let Some(snapshot) = &init.snapshot {
                    show_output(&function.name, &snapshot.output);
                }
                show_output(&function.name, &init.output);
            }
            show_output(&function.name, &finished.output);
            if let Outcome::Failed { payload, failure } = &outcome {
                explain(function, failure, payload, &finished.output);
            }
        }
        if let Some(logs) = &self.0.logs {
            logs.append(Record {
                function: function.name.as_str().to_owned(),
                request_id: invocation.request_id.clone(),
                time: began,
                text: log.clone(),
            });
        }
        Completed { outcome, usage, log, executed_version: function.version.text().into_owned() }
    }

    /// Into the history, before whoever waits has the answer.
    fn remember(
        &self,
        function: &Function,
        invocation: Invocation,
        (began, init_began, cold): (SystemTime, Option<SystemTime>, bool),
        completed: &Completed,
    ) {
        let Completed { outcome, usage, log, executed_version } = completed;
        let ok = outcome.failure().is_none();
        self.0.history.add(Entry {
            function: function.name.clone(),
            request_id: invocation.request_id,
            time: began,
            asker: invocation.asker,
            function_arn: invocation.function_arn,
            trace_id: invocation.trace_id,
            version: executed_version.clone(),
            ok,
            error_type: outcome.error_type(),
            usage: usage.clone(),
            init_began,
            cold,
            memory_mb: function.configuration.memory_mb,
            event: Part::taken(invocation.event),
            result: Part::beginning(outcome.payload()),
            log: Part::end(log),
        });
    }

    /// Ends all environments and writes what is left of the logs.
    pub async fn finish(&self) {
        self.0.environments.end().await;
        if let Some(logs) = self.0.logs.clone() {
            let _ = tokio::task::spawn_blocking(move || logs.flush()).await;
        }
    }

    /// Why the code of this version cannot be loaded, as far as that has been tried.
    pub fn cannot_load(&self, function: &Function) -> Option<String> {
        let told = self.0.told.lock().unwrap();
        told.get(&function.name)
            .filter(|(sequence, _)| *sequence == function.sequence)
            .map(|(_, why)| why.clone())
    }

    /// Changes when some code turns out not to be loadable, or to be so again.
    pub fn judgements(&self) -> watch::Receiver<u64> {
        self.0.judged.subscribe()
    }

    /// What was missing may have come meanwhile: a package, a file.
    fn could_load(&self, function: &Function) {
        if self.0.told.lock().unwrap().remove(&function.name).is_some() {
            self.0.judged.send_modify(|changes| *changes += 1);
        }
    }

    /// Whether the terminal has shown why this version cannot be loaded; from now on it has.
    fn has_been_told(&self, function: &Function, outcome: &Outcome) -> bool {
        let told = (function.sequence, explain::summary(function, outcome));
        let former = self.0.told.lock().unwrap().insert(function.name.clone(), told.clone());
        let has_been_told = former == Some(told);
        if !has_been_told {
            self.0.judged.send_modify(|changes| *changes += 1);
        }
        has_been_told
    }

    /// Loads new code ahead of the first request; if it cannot be loaded, the terminal says why.
    pub async fn try_out(&self, function: &Arc<Function>) -> Result<(), String> {
        let result = self.0.environments.warm(function).await;
        // The next version speaks for itself.
        if result.is_err() && self.0.deployments.is_outdated(function).await {
            return Ok(());
        }
        self.judged(function, result)
    }

    /// The same before the code is deployed, in an environment that serves nobody.
    pub async fn rehearse(&self, function: &Arc<Function>) -> Result<(), String> {
        self.judged(function, self.0.environments.rehearse(function).await)
    }

    fn judged(&self, function: &Arc<Function>, result: Result<(), AcquireError>) -> Result<(), String> {
        match result {
            Ok(()) => {
                self.could_load(function);
                Ok(())
            }
            Err(AcquireError::Retired | AcquireError::Throttled { .. }) => Ok(()),
            Err(AcquireError::Start(StartError::Init(finished))) => {
                let outcome = outcome::of(finished.ended.clone(), "", function.configuration.timeout);
                if !self.has_been_told(function, &outcome) {
                    show_output(&function.name, &finished.output);
                    if let Outcome::Failed { payload, failure } = &outcome {
                        explain(function, failure, payload, &finished.output);
                    }
                }
                Err(explain::summary(function, &outcome))
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

fn too_many_dead(name: &str) -> InvokeError {
    InvokeError::Unavailable(format!("something ends the processes of {name} as soon as they are there"))
}

fn bug(what: impl fmt::Display) -> InvokeError {
    InvokeError::Unavailable(format!("a bug in handlerd: {what}"))
}

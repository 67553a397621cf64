//! Environments that are kept ready (provisioned concurrency): started ahead of demand, replaced when
//! they die, not ended by idleness. They count against the limit like all others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{AcquireError, Environments, Key, Pool, State, key};
use crate::execution_environment::StartError;
use crate::function::Function;

/// Between two tries to start what does not start: doubled each time, up to the second.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(120);

/// Of one version.
pub struct Provision {
    function: Arc<Function>,
    wanted: usize,
    /// Why the last one did not start.
    failure: Option<Failure>,
}

struct Failure {
    reason: String,
    in_init: bool,
    again: Instant,
    pause: Duration,
}

/// How many there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provisioned {
    /// Started or being started.
    pub allocated: usize,
    /// Ready for an invocation, or at work.
    pub ready: usize,
    /// Why there are not more: the function failed in its init phase (`true`), or something else.
    pub failure: Option<(bool, String)>,
}

impl Environments {
    /// Keeps so many environments of each of these versions from now on; of no other, and of versions
    /// that are not among them nothing at all.
    pub fn provision(&self, versions: &[(Arc<Function>, u32)]) {
        let mut state = self.0.state.lock().unwrap();
        if state.draining {
            return;
        }
        let same = |function: &Arc<Function>, known: &Arc<Function>| Arc::ptr_eq(function, known);
        let gone: Vec<Key> = state
            .pools
            .iter()
            .filter(|((_, version), _)| *version != crate::function::Version::Latest)
            .filter(|(_, pool)| !versions.iter().any(|(function, _)| same(function, &pool.function)))
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            self.retire_in(&mut state, &key);
        }
        let wants = |provision: &Provision| {
            versions.iter().any(|(function, wanted)| *wanted > 0 && same(function, &provision.function))
        };
        let unwanted: Vec<Key> = state
            .provisions
            .iter()
            .filter(|(_, provision)| !wants(provision))
            .map(|(key, _)| key.clone())
            .collect();
        for key in unwanted {
            state.provisions.remove(&key);
            self.end_unwanted(&mut state, &key);
        }
        for (function, wanted) in versions.iter().filter(|(_, wanted)| *wanted > 0) {
            let key = key(function);
            let wanted = *wanted as usize;
            match state.provisions.get_mut(&key) {
                Some(provision) => provision.wanted = wanted,
                None => {
                    let provision = Provision { function: function.clone(), wanted, failure: None };
                    state.provisions.insert(key.clone(), provision);
                }
            }
            self.end_unwanted(&mut state, &key);
            self.ensure_provisioned(&mut state, &key);
        }
    }

    pub fn provisioned(&self, function: &Function) -> Provisioned {
        let state = self.0.state.lock().unwrap();
        let key = key(function);
        let mut found = Provisioned::default();
        if let Some(pool) = state.pools.get(&key) {
            found.allocated = pool.provisioned;
            found.ready = pool.provisioned - pool.provisioned_starting;
        }
        if let Some(provision) = state.provisions.get(&key) {
            found.failure =
                provision.failure.as_ref().map(|failure| (failure.in_init, failure.reason.clone()));
        }
        found
    }

    /// Starts what is missing, as many at once as are useful.
    pub(super) fn ensure_provisioned(&self, state: &mut State, key: &Key) {
        let Some(provision) = state.provisions.get(key) else { return };
        if state.draining || provision.failure.as_ref().is_some_and(|failure| failure.again > Instant::now())
        {
            return;
        }
        let (function, wanted) = (provision.function.clone(), provision.wanted);
        let Ok(pool) = self.pool(state, &function) else { return };
        let missing = wanted.saturating_sub(pool.provisioned);
        let room = self.0.starts_at_once.saturating_sub(pool.provisioned_starting);
        for _ in 0..missing.min(room) {
            if !self.begin_start(state, key, true) {
                let reason = format!("all {} execution environments are in use", self.0.limits.concurrency);
                self.failed(state, key, false, reason);
                return;
            }
        }
    }

    /// Now and then: what had failed is tried again, what has died is replaced.
    pub(super) fn ensure_all_provisioned(&self, state: &mut State) {
        let keys: Vec<Key> = state.provisions.keys().cloned().collect();
        for key in keys {
            self.ensure_provisioned(state, &key);
        }
    }

    pub(super) fn provision_succeeded(&self, state: &mut State, key: &Key) {
        if let Some(provision) = state.provisions.get_mut(key) {
            provision.failure = None;
        }
        self.end_unwanted(state, key);
        self.ensure_provisioned(state, key);
    }

    pub(super) fn provision_failed(&self, state: &mut State, key: &Key, error: &AcquireError) {
        let in_init = matches!(error, AcquireError::Start(StartError::Init(_)));
        self.failed(state, key, in_init, error.to_string());
    }

    fn failed(&self, state: &mut State, key: &Key, in_init: bool, reason: String) {
        let Some(provision) = state.provisions.get_mut(key) else { return };
        let pause = match &provision.failure {
            Some(former) if former.again > Instant::now() => former.pause,
            Some(former) => (former.pause * 2).min(LAST_RETRY),
            None => FIRST_RETRY,
        };
        let again = Instant::now() + pause;
        provision.failure = Some(Failure { reason, in_init, again, pause });
        let (environments, key) = (self.clone(), key.clone());
        tokio::spawn(async move {
            tokio::time::sleep_until(again.into()).await;
            environments.ensure_provisioned(&mut environments.0.state.lock().unwrap(), &key);
        });
    }

    /// Ends those that rest and are too many.
    pub(super) fn end_unwanted(&self, state: &mut State, key: &Key) {
        let wanted = state.provisions.get(key).map_or(0, |provision| provision.wanted);
        let Some(pool) = state.pools.get_mut(key) else { return };
        state.total -= pool.end_provisioned_above(wanted);
    }
}

impl Pool {
    /// How many were ended.
    fn end_provisioned_above(&mut self, wanted: usize) -> usize {
        let mut ended = 0;
        while self.provisioned > wanted {
            let Some(index) = self.idle.iter().position(|environment| environment.provisioned) else { break };
            self.idle.remove(index);
            self.provisioned -= 1;
            ended += 1;
        }
        ended
    }
}

//! How many invocations may run at once: a function's reserved share, and what is left for the others.
//!
//! A function with `ReservedConcurrentExecutions` may run so often at once, over all its versions, and
//! is answered 429 beyond it, at once. What is reserved is taken from the account's limit: the others
//! share the rest, and wait in line for it, as they do for a free environment. While nothing is
//! reserved there is nothing to decide here: one addition counts.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

use super::{InvokeError, ThrottleReason, Throttled};
use crate::deployment::Deployment;
use crate::function::{Function, FunctionName};

/// A cheap handle.
#[derive(Clone)]
pub struct Concurrency(Arc<Shared>);

struct Shared {
    limit: usize,
    patience: Duration,
    /// How many may stand in line for what is not reserved.
    queue: usize,
    /// Invocations of functions that have nothing reserved.
    others: AtomicUsize,
    waiting: AtomicUsize,
    freed: Notify,
    anything_reserved: AtomicBool,
    /// Where the deployment lies that `reservations` speak of.
    seen: AtomicUsize,
    reservations: Mutex<Reservations>,
}

#[derive(Default)]
struct Reservations {
    /// Kept, so that its address is nobody else's.
    deployment: Option<Arc<Deployment>>,
    of: HashMap<FunctionName, Reserved>,
    total: usize,
}

#[derive(Clone)]
struct Reserved {
    limit: usize,
    running: Arc<AtomicUsize>,
}

/// The right to run once; it ends with this.
pub struct Permit {
    shared: Arc<Shared>,
    reserved: Option<Arc<AtomicUsize>>,
}

impl Concurrency {
    pub fn new(limit: usize, queue: usize, patience: Duration) -> Self {
        Self(Arc::new(Shared {
            limit,
            patience,
            queue,
            others: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            freed: Notify::new(),
            anything_reserved: AtomicBool::new(false),
            seen: AtomicUsize::new(0),
            reservations: Mutex::default(),
        }))
    }

    pub async fn admit(
        &self,
        function: &Function,
        deployment: Arc<Deployment>,
    ) -> Result<Permit, InvokeError> {
        self.look_at(deployment);
        if !self.0.anything_reserved.load(Ordering::Relaxed) {
            self.0.others.fetch_add(1, Ordering::Relaxed);
            return Ok(self.permit(None));
        }
        let (reserved, left) = {
            let reservations = self.0.reservations.lock().unwrap();
            // Somebody who reserves everything has not asked for the others to stand still for ever.
            let left = self.0.limit.saturating_sub(reservations.total).max(1);
            (reservations.of.get(&function.name).cloned(), left)
        };
        match reserved {
            Some(Reserved { limit, running }) => {
                let taken = running.try_update(Ordering::AcqRel, Ordering::Acquire, |running| {
                    (running < limit).then_some(running + 1)
                });
                match taken {
                    Ok(_) => Ok(self.permit(Some(running))),
                    Err(_) => Err(throttled(
                        ThrottleReason::ReservedFunctionConcurrentInvocationLimitExceeded,
                        match limit {
                            0 => {
                                format!("`{}` is switched off: its reserved concurrency is 0", function.name)
                            }
                            _ => format!(
                                "`{}` runs {limit} times already, its reserved concurrency",
                                function.name
                            ),
                        },
                    )),
                }
            }
            None => self.wait_for_room(left).await,
        }
    }

    /// What is not reserved, in turn.
    async fn wait_for_room(&self, left: usize) -> Result<Permit, InvokeError> {
        let shared = &self.0;
        let take = || {
            let room = |running| (running < left).then_some(running + 1);
            shared.others.try_update(Ordering::AcqRel, Ordering::Acquire, room).is_ok()
        };
        if shared.waiting.load(Ordering::Relaxed) == 0 && take() {
            return Ok(self.permit(None));
        }
        let full = |waiting: usize| {
            throttled(
                ThrottleReason::ConcurrentInvocationLimitExceeded,
                format!(
                    "all {left} places that are not reserved are taken, and {waiting} requests wait already"
                ),
            )
        };
        let _place = Place::take(&shared.waiting);
        let waiting = shared.waiting.load(Ordering::Relaxed);
        if waiting > shared.queue {
            return Err(full(waiting - 1));
        }
        let wait = async {
            while !take() {
                shared.freed.notified().await;
            }
        };
        match tokio::time::timeout(shared.patience, wait).await {
            Ok(()) => {
                // A place that was given up for nobody belongs to the next in line.
                if shared.others.load(Ordering::Relaxed) < left {
                    shared.freed.notify_one();
                }
                Ok(self.permit(None))
            }
            Err(_) => Err(full(waiting - 1)),
        }
    }

    fn permit(&self, reserved: Option<Arc<AtomicUsize>>) -> Permit {
        Permit { shared: self.0.clone(), reserved }
    }

    /// Reads the reservations of a deployment that is new.
    fn look_at(&self, deployment: Arc<Deployment>) {
        let address = Arc::as_ptr(&deployment).addr();
        if self.0.seen.load(Ordering::Acquire) == address {
            return;
        }
        let mut reservations = self.0.reservations.lock().unwrap();
        let former = std::mem::take(&mut reservations.of);
        for (name, attached) in &deployment.attached {
            let Some(limit) = attached.reserved_concurrency else { continue };
            let running = former.get(name).map(|former| former.running.clone()).unwrap_or_default();
            reservations.of.insert(name.clone(), Reserved { limit: limit as usize, running });
        }
        let total = reservations.of.values().map(|reserved| reserved.limit).sum();
        if total >= self.0.limit && total != reservations.total {
            tracing::warn!(
                "functions reserve {total} of {} concurrent invocations; all others share the one that is left to \
                 them\nhint: `--concurrency` sets the limit",
                self.0.limit
            );
        }
        reservations.total = total;
        self.0.anything_reserved.store(!reservations.of.is_empty(), Ordering::Relaxed);
        reservations.deployment = Some(deployment);
        self.0.seen.store(address, Ordering::Release);
        // There may be more room now.
        self.0.freed.notify_waiters();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        match &self.reserved {
            Some(running) => {
                running.fetch_sub(1, Ordering::AcqRel);
            }
            None => {
                self.shared.others.fetch_sub(1, Ordering::AcqRel);
                if self.shared.waiting.load(Ordering::Relaxed) > 0 {
                    self.shared.freed.notify_one();
                }
            }
        }
    }
}

/// A place in line.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn throttled(reason: ThrottleReason, explanation: String) -> InvokeError {
    InvokeError::Throttled(Throttled { reason, explanation })
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::function::{Attached, Code, Configuration, Version};

    fn function(name: &str) -> Function {
        Function {
            sequence: 1,
            name: name.parse().unwrap(),
            version: Version::Latest,
            task_root: "/".into(),
            layers: Vec::new(),
            configuration: Configuration::default(),
            code: Code {
                sha256: [0; 32],
                own_sha256: [0; 32],
                size: 0,
                last_modified: SystemTime::UNIX_EPOCH,
            },
        }
    }

    fn reserving(reserved: &[(&str, u32)]) -> Arc<Deployment> {
        let mut deployment = Deployment::default();
        for (name, limit) in reserved {
            let attached = Attached { reserved_concurrency: Some(*limit), ..Attached::default() };
            deployment.attached.insert(name.parse().unwrap(), Arc::new(attached));
        }
        Arc::new(deployment)
    }

    fn concurrency(limit: usize) -> Concurrency {
        Concurrency::new(limit, 10, Duration::from_millis(20))
    }

    fn reason(result: Result<Permit, InvokeError>) -> ThrottleReason {
        match result.err().unwrap() {
            InvokeError::Throttled(throttled) => throttled.reason,
            other => panic!("{other}"),
        }
    }

    #[tokio::test]
    async fn nothing_is_limited_here_while_nothing_is_reserved() {
        let (concurrency, deployment) = (concurrency(2), reserving(&[]));
        let mut permits = Vec::new();
        for _ in 0..10 {
            permits.push(concurrency.admit(&function("any"), deployment.clone()).await.unwrap());
        }
    }

    #[tokio::test]
    async fn a_reserved_share_is_a_limit_and_a_guarantee() {
        let (concurrency, deployment) = (concurrency(3), reserving(&[("own", 2), ("off", 0)]));
        let own = function("own");
        let first = concurrency.admit(&own, deployment.clone()).await.unwrap();
        let _second = concurrency.admit(&own, deployment.clone()).await.unwrap();
        let reserved = ThrottleReason::ReservedFunctionConcurrentInvocationLimitExceeded;
        assert_eq!(reason(concurrency.admit(&own, deployment.clone()).await), reserved);
        assert_eq!(reason(concurrency.admit(&function("off"), deployment.clone()).await), reserved);
        drop(first);
        let _third = concurrency.admit(&own, deployment.clone()).await.unwrap();

        // One is left for all others.
        let _other = concurrency.admit(&function("a"), deployment.clone()).await.unwrap();
        let refused = concurrency.admit(&function("b"), deployment.clone()).await;
        assert_eq!(reason(refused), ThrottleReason::ConcurrentInvocationLimitExceeded);
    }

    #[tokio::test]
    async fn others_wait_for_what_is_left() {
        let concurrency = Concurrency::new(2, 10, Duration::from_secs(20));
        let deployment = reserving(&[("own", 1)]);
        let running = concurrency.admit(&function("a"), deployment.clone()).await.unwrap();
        let waits = tokio::spawn({
            let (concurrency, deployment) = (concurrency.clone(), deployment.clone());
            async move { concurrency.admit(&function("b"), deployment).await.map(drop).is_ok() }
        });
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        drop(running);
        assert!(waits.await.unwrap());
        drop(concurrency.admit(&function("c"), deployment.clone()).await.unwrap());

        // A reservation that goes away makes room, and what runs stays counted.
        let _a = concurrency.admit(&function("a"), deployment.clone()).await.unwrap();
        let _own = concurrency.admit(&function("own"), deployment).await.unwrap();
        let _b = concurrency.admit(&function("b"), reserving(&[])).await.unwrap();
    }
}

//! Schedules: rates, crons and single times.
//!
//! A thin loop around `due`, which decides. The due time is recorded in the transaction that queues
//! its event, so that neither a crash nor a restart makes two of it or none; ids of events follow
//! from schedule and due time.

mod due;
mod event;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Surroundings;
use crate::deployment::Deployment;
use crate::store::{DueTime, ScheduleState, StoreError};
use crate::trigger::{Kind, Schedule, Trigger};
use due::Next;

/// How often the clock is looked at: it may be set, and a machine that sleeps does not count.
const LOOK: Duration = Duration::from_secs(5);
/// After something went wrong.
const PAUSES: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(15), Duration::from_secs(60)];

pub fn start(surroundings: &Surroundings) -> JoinHandle<()> {
    let mut scheduler = Scheduler {
        surroundings: surroundings.clone(),
        states: HashMap::new(),
        entries: Vec::new(),
        looked: Timestamp::UNIX_EPOCH,
    };
    let surroundings = surroundings.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = surroundings.stopped() => {}
            () = scheduler.run() => {}
        }
    })
}

/// The same for the same due time.
fn fingerprint(name: &str, due: Timestamp) -> [u8; 32] {
    Sha256::digest(format!("{name}\n{}", due.as_nanosecond())).into()
}

struct Scheduler {
    surroundings: Surroundings,
    /// As the store has them.
    states: HashMap<String, ScheduleState>,
    /// Those that are deployed.
    entries: Vec<Entry>,
    looked: Timestamp,
}

struct Entry {
    name: String,
    function: String,
    schedule: Schedule,
    /// When there is something to do; `None`: never.
    at: Option<Timestamp>,
    failures: usize,
    /// Not before then, because it failed.
    paused: Option<Instant>,
    /// What the terminal has shown of it.
    said: String,
}

impl Scheduler {
    async fn run(&mut self) {
        let mut deployment = self.surroundings.deployment.clone();
        let mut failures = 0;
        loop {
            let current = deployment.borrow_and_update().clone();
            match self.settle(&current).await {
                Ok(()) => break self.live(&mut deployment).await,
                Err(error) => {
                    tracing::error!("schedules are not run: {error}");
                    tokio::time::sleep(pause(failures)).await;
                    failures += 1;
                }
            }
        }
    }

    async fn live(&mut self, deployment: &mut watch::Receiver<Arc<Deployment>>) {
        loop {
            let wait = self.fire().await;
            let is_idle = self.entries.iter().all(|entry| entry.at.is_none());
            tokio::select! {
                changed = deployment.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let current = deployment.borrow_and_update().clone();
                    if let Err(error) = self.settle(&current).await {
                        tracing::error!("schedules go on as they were: {error}");
                    }
                }
                () = tokio::time::sleep(wait), if !is_idle => {}
            }
        }
    }

    /// Takes over what is deployed now; what is new is kept before it can fire.
    async fn settle(&mut self, deployment: &Deployment) -> Result<(), StoreError> {
        // A template that cannot be read has not taken its schedules away.
        if deployment.template_failed && !self.entries.is_empty() {
            return Ok(());
        }
        let store = self.surroundings.invoker.store().clone();
        let stored: HashMap<String, ScheduleState> = store.schedules().await?.into_iter().collect();
        let now = Timestamp::now();
        let mut changed = Vec::new();
        let mut states = HashMap::new();
        let mut entries = Vec::new();
        for Trigger { name, function, enabled, kind, .. } in self.surroundings.triggers() {
            let Kind::Schedule(schedule) = kind else { continue };
            let state = due::adopt(stored.get(&name), &schedule, enabled, now);
            if stored.get(&name) != Some(&state) {
                changed.push((name.clone(), state.clone()));
            }
            let former = self.entries.iter().find(|entry| entry.name == name);
            let said = former.map(|former| former.said.clone()).unwrap_or_default();
            states.insert(name.clone(), state);
            entries.push(Entry { name, function, schedule, at: Some(now), failures: 0, paused: None, said });
        }
        // Remembered, as a single time is fired once ever, but off.
        if !deployment.template_failed {
            for (name, state) in
                stored.into_iter().filter(|(name, state)| state.enabled && !states.contains_key(name))
            {
                changed.push((name, ScheduleState { enabled: false, ..state }));
            }
        }
        if !changed.is_empty() {
            store.put_schedules(changed).await?;
        }
        (self.states, self.entries) = (states, entries);
        Ok(())
    }

    /// Does what is due; how long there is nothing more to do.
    async fn fire(&mut self) -> Duration {
        let now = Timestamp::now();
        let was_set_back = now < self.looked;
        self.looked = now;
        let mut wait = LOOK;
        if was_set_back {
            // Rates count anew from here.
            self.set_back(now).await;
        }
        for entry in &mut self.entries {
            let is_due = entry.at.is_some_and(|at| at <= now) || was_set_back;
            if is_due && entry.paused.is_none_or(|paused| paused <= Instant::now()) {
                let Some(state) = self.states.get_mut(&entry.name) else { continue };
                match tend(&self.surroundings, entry, state, now).await {
                    Ok(at) => (entry.at, entry.failures, entry.paused) = (at, 0, None),
                    Err(error) => {
                        entry.paused = Some(Instant::now() + pause(entry.failures));
                        entry.failures += 1;
                        if entry.said != error {
                            tracing::error!(
                                "schedule {} could not invoke {}: {error}",
                                entry.name,
                                entry.function
                            );
                            entry.said = error;
                        }
                    }
                }
            }
            let until = match (entry.paused, entry.at) {
                (Some(paused), _) => paused.saturating_duration_since(Instant::now()),
                (None, Some(at)) => at.duration_since(now).try_into().unwrap_or(Duration::ZERO),
                (None, None) => LOOK,
            };
            wait = wait.min(until);
        }
        // A clock's tick more, so that the moment has really come.
        wait + Duration::from_millis(1)
    }

    async fn set_back(&mut self, now: Timestamp) {
        let mut changed = Vec::new();
        for entry in &self.entries {
            let Some(state) = self.states.get_mut(&entry.name) else { continue };
            let adopted = due::adopt(Some(state), &entry.schedule, state.enabled, now);
            if adopted != *state {
                *state = adopted;
                changed.push((entry.name.clone(), state.clone()));
            }
        }
        if let Err(error) = self.surroundings.invoker.store().put_schedules(changed).await {
            tracing::error!("{error}");
        }
    }
}

fn pause(failures: usize) -> Duration {
    PAUSES[failures.min(PAUSES.len() - 1)]
}

/// Fires what is due of one schedule; when there is something to do again.
async fn tend(
    surroundings: &Surroundings,
    entry: &Entry,
    state: &mut ScheduleState,
    now: Timestamp,
) -> Result<Option<Timestamp>, String> {
    loop {
        match due::next(&entry.name, &entry.schedule, state, now)? {
            Next::Never => return Ok(None),
            Next::Wait(at) => return Ok(Some(at)),
            Next::Fire(due) => {
                let bytes: [u8; 16] =
                    fingerprint(&entry.name, due)[..16].try_into().expect("sixteen are sixteen");
                let id = uuid::Builder::from_random_bytes(bytes).into_uuid().to_string();
                let account = surroundings.invoker.account();
                let event = event::event(&entry.name, &entry.schedule, due, &id, account);
                let mut invocation = surroundings.invocation(&entry.function, event);
                invocation.request_id = id;
                let record = DueTime { schedule: entry.name.clone(), due: due.as_millisecond() };
                let accepted = surroundings.invoker.accept_due(&entry.function, invocation, record).await;
                let is_new = accepted.map_err(|error| error.to_string())?;
                state.last = Some(due.as_millisecond());
                if is_new {
                    tracing::info!("schedule {} invokes {}", entry.name, entry.function);
                }
            }
        }
    }
}

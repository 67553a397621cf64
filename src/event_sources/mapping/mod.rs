//! Event source mappings: queues and streams are read, and functions invoked with what was in them.
//!
//! One task looks after all of them: those that files declare, and those that the Lambda API was told.
//! Each that is enabled runs by itself until it is changed or deleted, or the gateway stops; then what
//! it has begun is ended, and nothing is acknowledged that was not handled.
//!
//! - `definition`: what runs.
//! - `context`: what all that runs for one mapping shares: invoking, waiting, telling how it goes.
//! - `filter`: which records a function is to see.
//! - `failures`: which records it has not handled, by its own account.
//! - `queue`: SQS.
//! - `stream`: Kinesis, and the streams of DynamoDB's tables.

mod context;
mod definition;
mod failures;
mod filter;
mod queue;
mod stream;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Surroundings;
use crate::store::{MappingState, StoreError};
use context::Context;
use definition::{Definition, Wanted};

/// After the store could not be read, or a mapping has ended by a bug.
const PAUSE: Duration = Duration::from_secs(5);

/// Runs all mappings until the gateway stops and what they had begun has ended.
pub fn start(surroundings: &Surroundings) -> tokio::task::JoinHandle<()> {
    let supervisor = Supervisor {
        surroundings: surroundings.clone(),
        running: HashMap::new(),
        tasks: JoinSet::new(),
        complained: false,
    };
    tokio::spawn(supervisor.run())
}

struct Supervisor {
    surroundings: Surroundings,
    /// By UUID.
    running: HashMap<String, Running>,
    /// Each returns the UUID of its mapping.
    tasks: JoinSet<String>,
    /// That the store cannot be read has been said.
    complained: bool,
}

struct Running {
    definition: Definition,
    stop: watch::Sender<bool>,
    /// Ended though nobody had asked for it; not begun again before then.
    fallen: Option<Instant>,
}

impl Supervisor {
    async fn run(mut self) {
        let mut stop = self.surroundings.stop.clone();
        let mut deployment = self.surroundings.deployment.clone();
        let mut changes = self.surroundings.invoker.store().mapping_changes();
        loop {
            deployment.mark_unchanged();
            changes.mark_unchanged();
            let again = match self.reconcile().await {
                Ok(()) => self.running.values().any(|running| running.fallen.is_some()),
                Err(error) => {
                    if !std::mem::replace(&mut self.complained, true) {
                        tracing::error!("event source mappings stay as they are: {error}");
                    }
                    true
                }
            };
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                changed = deployment.changed() => if changed.is_err() { break },
                changed = changes.changed() => if changed.is_err() { break },
                Some(ended) = self.tasks.join_next() => self.ended(ended),
                () = tokio::time::sleep(PAUSE), if again => {}
            }
        }
        for running in self.running.values() {
            running.stop.send_replace(true);
        }
        while self.tasks.join_next().await.is_some() {}
    }

    /// A task is over.
    fn ended(&mut self, ended: Result<String, tokio::task::JoinError>) {
        match ended {
            Ok(uuid) => drop(self.running.remove(&uuid)),
            // A bug; which one it was is found by looking who is gone.
            Err(error) => {
                tracing::error!("an event source mapping has ended by a bug in handlerd: {error}");
                for running in self.running.values_mut().filter(|running| running.stop.is_closed()) {
                    running.fallen = Some(Instant::now() + PAUSE);
                }
            }
        }
    }

    /// Stops what is no longer wanted as it runs, and starts what is wanted and does not run yet.
    async fn reconcile(&mut self) -> Result<(), StoreError> {
        let store = self.surroundings.invoker.store().clone();
        let wanted = definition::all(&self.surroundings).await?;
        let statuses = store.mapping_statuses().await?;
        self.complained = false;
        self.running.retain(|_, running| running.fallen.is_none_or(|until| until > Instant::now()));
        for (uuid, running) in &self.running {
            let goes_on = wanted.get(uuid).is_some_and(|wanted| wanted.runs(&running.definition));
            if !goes_on {
                running.stop.send_replace(true);
            }
        }
        for (uuid, wanted) in &wanted {
            if self.running.contains_key(uuid) {
                continue;
            }
            match wanted {
                Wanted::Running(definition) => self.begin(definition),
                Wanted::Disabled
                    if statuses.get(uuid).map(|status| status.state) != Some(MappingState::Disabled) =>
                {
                    store.set_mapping_state(uuid, MappingState::Disabled).await?;
                }
                Wanted::Disabled => {}
                Wanted::Deleted => store.forget_mapping(uuid).await?,
            }
        }
        // What a file declared, and does no longer: not while a template that cannot be read hides what
        // it declares, or its shards would be begun anew.
        if self.surroundings.deployment.borrow().template_failed {
            return Ok(());
        }
        let known: HashSet<&String> = wanted.keys().collect();
        for uuid in statuses.keys().filter(|uuid| !known.contains(uuid) && !self.running.contains_key(*uuid))
        {
            store.forget_mapping(uuid).await?;
        }
        Ok(())
    }

    fn begin(&mut self, definition: &Definition) {
        let (stop, stopped) = watch::channel(false);
        let context = Arc::new(Context::new(&self.surroundings, definition.clone(), stopped));
        let uuid = definition.uuid.clone();
        self.running.insert(uuid.clone(), Running { definition: definition.clone(), stop, fallen: None });
        self.tasks.spawn(async move {
            match context.definition.source.kind.is_stream() {
                false => queue::run(&context).await,
                true => stream::run(&context).await,
            }
            uuid
        });
    }
}

//! Works on the queue for as long as the gateway runs: takes what is due, in turns (see
//! `event_queue`), and settles what came of it. Nothing is forgotten before the disk has it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::Invoker;
use super::asynchronous::Attempted;
use super::event_queue::{Share, Turn};
use crate::function::FunctionName;
use crate::store::{After, Entry, Kind};

/// How long to wait before the disk is asked again.
const DISK: Duration = Duration::from_secs(1);
/// As many of one function may stand in line for an environment: the others come later, and those who
/// wait for an answer need not stand behind all of them.
const LINE: usize = 8;

impl Invoker {
    /// Works on the queue until `stop` is true, and then ends what it has begun.
    pub fn drain(&self, mut stop: watch::Receiver<bool>) -> tokio::task::JoinHandle<()> {
        let invoker = self.clone();
        tokio::spawn(async move {
            let events = &invoker.0.events;
            if let Err(error) = invoker.0.store.forgive_clock(events.clock.now()).await {
                tracing::warn!("{error}");
            }
            while !*stop.borrow() {
                if !invoker.refill().await {
                    tokio::select! {
                        () = tokio::time::sleep(DISK) => {}
                        _ = stop.changed() => {}
                    }
                }
                while let Some((entry, turn)) = invoker.next_turn() {
                    tokio::spawn(invoker.clone().work_on(entry, turn));
                }
                let patience = events.queue.lock().unwrap().patience(events.clock.now());
                tokio::select! {
                    () = events.changed.notified() => {}
                    () = tokio::time::sleep(patience) => {}
                    _ = stop.changed() => {}
                }
            }
            while !events.queue.lock().unwrap().is_idle() {
                events.changed.notified().await;
            }
        })
    }

    /// `false`: the disk cannot be read.
    async fn refill(&self) -> bool {
        let events = &self.0.events;
        let wanted = events.queue.lock().unwrap().wanted(events.clock.now());
        let Some(wanted) = wanted else { return true };
        match self.0.store.due(wanted).await {
            Ok(due) => {
                let mut queue = events.queue.lock().unwrap();
                queue.take(due);
                true
            }
            Err(error) => {
                tracing::error!("asynchronous invocations wait: {error}");
                events.queue.lock().unwrap().look_again();
                false
            }
        }
    }

    fn next_turn(&self) -> Option<(Entry, Turn)> {
        let deployment = self.0.deployments.current();
        let share = |name: &str, running: usize| {
            let Ok(name) = name.parse::<FunctionName>() else { return Share::Common };
            let reserved = deployment.attached.get(&name).and_then(|attached| attached.reserved_concurrency);
            match reserved {
                Some(reserved) => Share::Reserved(reserved as usize),
                None if running > 0 && self.0.environments.counts(&name).waiting >= LINE => Share::Enough,
                None => Share::Common,
            }
        };
        self.0.events.queue.lock().unwrap().next(share)
    }

    async fn work_on(self, entry: Entry, turn: Turn) {
        let events = &self.0.events;
        let Attempted { settlement, pause } = match &entry.added.kind {
            Kind::Invocation => self.attempt_event(&entry).await,
            Kind::Delivery { destination } => self.attempt_delivery(&entry, destination).await,
        };
        drop(entry);
        events.queue.lock().unwrap().ran(&turn, pause);
        events.changed.notify_one();
        let settlement = Arc::new(settlement);
        let mut told = false;
        // What has been done must be remembered: without that it would be done again.
        while let Err(error) = self.0.store.settle(settlement.clone(), events.clock.now()).await {
            if !std::mem::replace(&mut told, true) {
                tracing::error!("what came of an event is not kept yet: {error}");
            }
            tokio::time::sleep(DISK).await;
        }
        let mut queue = events.queue.lock().unwrap();
        for added in &settlement.added {
            queue.arrived(&added.lane());
        }
        if let After::Again { due_at, .. } = settlement.after {
            queue.expect(due_at);
        }
        queue.settled(turn.id);
        drop(queue);
        events.changed.notify_one();
    }
}

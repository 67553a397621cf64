//! Events that nobody waits for (`InvocationType=Event`): kept first, invoked later.
//!
//! `accept` keeps an event. From then on it is invoked, or ends where its function says, or is found
//! dead in the queue; whatever happens to this process. `drain` gives it its turn; here is what an
//! attempt consists of, and what follows from it: a retry, records for destinations, a dead letter.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::Notify;

use super::destination::{self, Condition, Ended};
use super::event_queue::EventQueue;
use super::retry::{Next, Policy};
use super::{InvokeError, Invoker, recursion};
use crate::destination::{Destination, without_password};
use crate::function::{Asynchronous, FunctionName, LATEST};
use crate::invocation::{Asker, Completed, Invocation};
use crate::store::{Added, After, DueTime, Entry, Key, Kind, Settlement, StoreError};

/// How long a delivery may take.
const DELIVERY: Duration = Duration::from_secs(60);
/// Why an event was not taken.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AcceptError {
    #[error(transparent)]
    Invoke(#[from] InvokeError),
    /// It could not be kept: nothing will be invoked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the invoker has of the queue.
pub(super) struct Events {
    pub queue: Mutex<EventQueue>,
    pub changed: Notify,
    pub clock: Clock,
    /// What AWS's times are multiplied by: 1, but for tests.
    scale: f64,
}

/// The time of day, as it goes on from the start of this process: setting the clock of the machine
/// makes nothing late.
pub(super) struct Clock {
    began: i64,
    since: Instant,
}

impl Clock {
    fn start() -> Self {
        Self { began: jiff::Timestamp::now().as_millisecond(), since: Instant::now() }
    }

    pub fn now(&self) -> i64 {
        self.began + self.since.elapsed().as_millis() as i64
    }
}

impl Events {
    pub fn new(concurrency: usize, scale: f64) -> Self {
        let queue = Mutex::new(EventQueue::new(concurrency));
        Self { queue, changed: Notify::new(), clock: Clock::start(), scale }
    }
}

/// What came of an attempt.
pub(super) struct Attempted {
    pub settlement: Settlement,
    /// The next one would fare no better at the moment.
    pub pause: bool,
}

impl Invoker {
    /// Takes an event for a function, `NAME` or `NAME:QUALIFIER`. When this returns, it is on the disk
    /// and will be invoked or end in a destination, whatever happens to this process.
    pub async fn accept(&self, function: &str, invocation: Invocation) -> Result<(), AcceptError> {
        self.keep(function, invocation, None).await.map(drop)
    }

    /// The same for an event that a schedule makes: it is taken once for each due time, which is
    /// recorded in the same transaction. `false`: it had been before.
    pub async fn accept_due(
        &self,
        function: &str,
        invocation: Invocation,
        due: DueTime,
    ) -> Result<bool, AcceptError> {
        self.keep(function, invocation, Some(due)).await
    }

    async fn keep(
        &self,
        function: &str,
        invocation: Invocation,
        due: Option<DueTime>,
    ) -> Result<bool, AcceptError> {
        self.resolve(function).await?;
        let (name, qualifier) = match function.split_once(':') {
            Some((name, qualifier)) => (name, Some(qualifier.to_owned())),
            None => (function, None),
        };
        let added = Added {
            kind: Kind::Invocation,
            function: name.to_owned(),
            qualifier,
            request_id: invocation.request_id,
            // Once too often: that is found out when its turn comes, as on AWS, where it is answered 202.
            trace_id: recursion::follow(&invocation.trace_id, name).0,
            function_arn: invocation.function_arn,
            body: invocation.event,
        };
        // A caller who goes away has not been promised anything; but what is on the disk is seen to.
        let invoker = self.clone();
        let kept = tokio::spawn(async move {
            let (events, lane) = (&invoker.0.events, added.lane());
            let now = events.clock.now();
            let is_new = match due {
                None => invoker.0.store.add_to_queue(added, now).await.map(|_| true)?,
                Some(due) => invoker.0.store.add_due_to_queue(added, due, now).await?,
            };
            if is_new && events.queue.lock().unwrap().arrived(&lane) {
                events.changed.notify_one();
            }
            Ok(is_new)
        });
        kept.await.unwrap_or_else(|error| Err(super::bug(error).into()))
    }

    pub(super) async fn attempt_event(&self, entry: &Entry) -> Attempted {
        let Added { function, qualifier, .. } = &entry.added;
        let name = match qualifier {
            Some(qualifier) => format!("{function}:{qualifier}"),
            None => function.clone(),
        };
        let asynchronous = match self.asynchronous_of(function, qualifier.as_deref()).await {
            Ok(asynchronous) => asynchronous,
            Err(error) => {
                return self.set_back(entry, &Asynchronous::default(), &name, &error.to_string(), true).await;
            }
        };
        let policy = Policy::new(&asynchronous, self.0.events.scale);
        let (now, attempts) = (self.0.events.clock.now(), entry.attempts);
        if recursion::is_too_often(&entry.added.trace_id, function) && self.ends_loops(function) {
            let reason = recursion::looped(function);
            return self
                .end(entry, &asynchronous, &name, Condition::RecursiveInvocation, attempts, None, &reason)
                .await;
        }
        if self.is_switched_off(function) {
            let reason = format!("`{function}` is switched off: its reserved concurrency is 0");
            let condition = Condition::ZeroReservedConcurrency;
            return self.end(entry, &asynchronous, &name, condition, attempts, None, &reason).await;
        }
        if policy.is_too_old(entry.accepted_at, now) {
            let reason = "it became older than the function's maximum event age";
            return self
                .end(entry, &asynchronous, &name, Condition::EventAgeExceeded, attempts, None, reason)
                .await;
        }
        let invocation = Invocation {
            request_id: entry.added.request_id.clone(),
            trace_id: entry.added.trace_id.clone(),
            function_arn: entry.added.function_arn.clone(),
            client_context: None,
            event: entry.added.body.clone(),
            asker: Asker::Event,
        };
        let completed = match self.invoke_followed(&name, invocation).await {
            Ok(completed) => completed,
            Err(error) => {
                // Another version of the function may do better.
                let pause = !matches!(error, InvokeError::NotFound(_));
                return self.set_back(entry, &asynchronous, &name, &error.to_string(), pause).await;
            }
        };
        let attempts = attempts + 1;
        if completed.outcome.failure().is_none() {
            tracing::debug!(target: "request", function = name, "event for {name} done");
            return self
                .end(entry, &asynchronous, &name, Condition::Success, attempts, Some(&completed), "")
                .await;
        }
        let error = destination::error_line(&completed);
        let now = self.0.events.clock.now();
        let condition = match policy.after_failure(attempts, entry.accepted_at, now) {
            Next::At(due_at) => {
                let seconds = (due_at - now) as f64 / 1000.0;
                let request_id = &entry.added.request_id;
                tracing::warn!(
                    target: "request",
                    "event for {name} failed ({error}); tried again in {seconds} s ({request_id})"
                );
                let after = After::Again { due_at, attempts, setbacks: 0, error };
                return Attempted {
                    settlement: Settlement { id: entry.id, after, added: Vec::new() },
                    pause: false,
                };
            }
            Next::RetriesExhausted => Condition::RetriesExhausted,
            Next::EventAgeExceeded => Condition::EventAgeExceeded,
        };
        self.end(entry, &asynchronous, &name, condition, attempts, Some(&completed), &error).await
    }

    /// The function was not reached: that is no attempt that counts.
    async fn set_back(
        &self,
        entry: &Entry,
        asynchronous: &Asynchronous,
        name: &str,
        reason: &str,
        pause: bool,
    ) -> Attempted {
        let policy = Policy::new(asynchronous, self.0.events.scale);
        let setbacks = entry.setbacks.saturating_add(1);
        match policy.after_setback(setbacks, entry.accepted_at, self.0.events.clock.now()) {
            Next::At(due_at) => {
                if setbacks == 1 {
                    tracing::warn!(target: "request", "event for {name} waits: {reason}");
                }
                let error = destination::first_line(reason).to_owned();
                let after = After::Again { due_at, attempts: entry.attempts, setbacks, error };
                Attempted { settlement: Settlement { id: entry.id, after, added: Vec::new() }, pause }
            }
            _ => {
                let condition = Condition::EventAgeExceeded;
                self.end(entry, asynchronous, name, condition, entry.attempts, None, reason).await
            }
        }
    }

    /// It is over: what the destinations get, or that it is dead.
    #[allow(clippy::too_many_arguments)] // all that an end consists of
    async fn end(
        &self,
        entry: &Entry,
        asynchronous: &Asynchronous,
        name: &str,
        condition: Condition,
        attempts: u32,
        completed: Option<&Completed>,
        reason: &str,
    ) -> Attempted {
        let timestamp = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
        let ended =
            Ended { event: &entry.added, condition, attempts, completed, reason, timestamp: &timestamp };
        let mut added = Vec::new();
        let succeeded = condition == Condition::Success;
        let destination = if succeeded { &asynchronous.on_success } else { &asynchronous.on_failure };
        added.extend(destination.iter().map(|destination| ended.for_destination(destination)));
        if !succeeded && let Some(queue) = self.dead_letter_queue(name).await {
            added.push(ended.for_dead_letter_queue(&queue));
        }
        let request_id = &entry.added.request_id;
        let after = match (succeeded, added.is_empty()) {
            (false, true) => {
                tracing::error!(
                    target: "request",
                    "event for {name} is given up: {reason}\nhint: `handlerd queue show {}` shows it, `handlerd queue \
                     retry {}` tries it again ({request_id})",
                    entry.id,
                    entry.id
                );
                After::Dead { attempts, error: destination::first_line(reason).to_owned() }
            }
            (false, false) => {
                let to: Vec<String> = added.iter().map(goes_to).collect();
                let to = to.join(", ");
                tracing::error!(
                    target: "request",
                    "event for {name} is given up, and goes to {to}: {reason} ({request_id})"
                );
                After::Done
            }
            (true, _) => After::Done,
        };
        Attempted { settlement: Settlement { id: entry.id, after, added }, pause: false }
    }

    pub(super) async fn attempt_delivery(&self, entry: &Entry, to: &str) -> Attempted {
        let policy = Policy::of_deliveries(self.0.events.scale);
        let sent = match (Destination::parse(to), destination::message_of(&entry.added)) {
            (Ok(destination), Ok(message)) => {
                let sent = tokio::time::timeout(DELIVERY, self.0.delivery.send(&destination, &message)).await;
                match sent {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(error)) => Err((error.reason, error.transient)),
                    Err(_) => Err((format!("no answer within {} s", DELIVERY.as_secs()), true)),
                }
            }
            (Err(reason), _) | (_, Err(reason)) => Err((reason, false)),
        };
        let Err((reason, transient)) = sent else {
            let settlement = Settlement { id: entry.id, after: After::Done, added: Vec::new() };
            return Attempted { settlement, pause: false };
        };
        let (function, attempts, to) = (&entry.added.function, entry.attempts + 1, without_password(to));
        let request_id = &entry.added.request_id;
        let setbacks = entry.setbacks.saturating_add(1);
        let error = destination::first_line(&reason).to_owned();
        let after = match policy.after_setback(setbacks, entry.accepted_at, self.0.events.clock.now()) {
            Next::At(due_at) if transient => {
                if setbacks == 1 {
                    tracing::warn!(
                        target: "request",
                        "what came of {function} waits to be delivered to {to}: {reason} ({request_id})"
                    );
                }
                After::Again { due_at, attempts, setbacks, error }
            }
            _ => {
                tracing::error!(
                    target: "request",
                    "what came of {function} cannot be delivered to {to}: {reason}\nhint: `handlerd queue retry {}` \
                     tries it again ({request_id})",
                    entry.id
                );
                After::Dead { attempts, error }
            }
        };
        Attempted { settlement: Settlement { id: entry.id, after, added: Vec::new() }, pause: transient }
    }

    /// What the function, or its version or alias, says of asynchronous events.
    async fn asynchronous_of(&self, name: &str, qualifier: Option<&str>) -> Result<Asynchronous, StoreError> {
        let of_function = || {
            let name: FunctionName = name.parse().ok()?;
            self.0.deployments.current().attached.get(&name).cloned()
        };
        let Some(qualifier) = qualifier.filter(|qualifier| *qualifier != LATEST) else {
            return Ok(of_function().map(|attached| attached.asynchronous.clone()).unwrap_or_default());
        };
        let key = Key { kind: "event-invoke-config", owner: name, name: qualifier };
        if let Some(document) = self.0.store.resource(key).await? {
            return Ok(asynchronous_from(&document));
        }
        // An alias that a template makes has what the template says.
        let of_alias =
            of_function().filter(|attached| attached.auto_publish_alias.as_deref() == Some(qualifier));
        Ok(of_alias.map(|attached| attached.asynchronous.clone()).unwrap_or_default())
    }

    async fn dead_letter_queue(&self, name: &str) -> Option<Destination> {
        let function = self.resolve(name).await.ok()?;
        Destination::parse(function.configuration.dead_letter.as_deref()?).ok()
    }

    fn is_switched_off(&self, name: &str) -> bool {
        let Ok(name) = name.parse::<FunctionName>() else { return false };
        let deployment = self.0.deployments.current();
        deployment.attached.get(&name).is_some_and(|attached| attached.reserved_concurrency == Some(0))
    }

    /// What was to be done for a function that has been deleted is dead.
    pub async fn forget_events(&self, function: &str) -> Result<(), StoreError> {
        let events = &self.0.events;
        let reason = format!("the function `{function}` was deleted");
        self.0.store.bury_events(function, &reason, events.clock.now()).await?;
        let mut queue = events.queue.lock().unwrap();
        queue.forget(function);
        Ok(())
    }

    pub(super) fn events_now(&self) -> i64 {
        self.0.events.clock.now()
    }

    pub(super) fn with_events<T>(&self, look: impl FnOnce(&mut EventQueue) -> T) -> T {
        let result = look(&mut self.0.events.queue.lock().unwrap());
        self.0.events.changed.notify_one();
        result
    }
}

/// Where it goes, for people: a function, or a destination.
fn goes_to(added: &Added) -> String {
    match &added.kind {
        Kind::Invocation => added.function.clone(),
        Kind::Delivery { destination } => without_password(destination),
    }
}

/// The body of PutFunctionEventInvokeConfig.
fn asynchronous_from(document: &Value) -> Asynchronous {
    let number = |name: &str| document.get(name).and_then(Value::as_u64);
    let destination = |name: &str| {
        let text = document.get("DestinationConfig")?.get(name)?.get("Destination")?.as_str()?;
        Destination::parse(text).ok()
    };
    Asynchronous {
        maximum_retries: number("MaximumRetryAttempts").map(|number| number.min(2) as u32),
        maximum_age: number("MaximumEventAgeInSeconds").map(Duration::from_secs),
        on_success: destination("OnSuccess"),
        on_failure: destination("OnFailure"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_what_the_api_was_told() {
        let arn = "arn:aws:sqs:us-east-1:123456789012:q";
        let asynchronous = asynchronous_from(&json!({
            "MaximumRetryAttempts": 0,
            "MaximumEventAgeInSeconds": 60,
            "DestinationConfig": {"OnSuccess": {}, "OnFailure": {"Destination": arn}},
        }));
        assert_eq!(asynchronous.maximum_retries, Some(0));
        assert_eq!(asynchronous.maximum_age, Some(Duration::from_secs(60)));
        assert_eq!(asynchronous.on_success, None);
        assert_eq!(asynchronous.on_failure, Some(Destination::Queue { arn: arn.to_owned() }));
        assert_eq!(asynchronous_from(&json!({})), Asynchronous::default());
    }
}

//! What all that runs for one mapping shares: the way to the function and to the endpoint, waiting that
//! ends when it is to stop, and telling how it goes without telling the same again and again.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tokio::sync::watch;

use super::definition::Definition;
use crate::aws::{self, AwsError, Service};
use crate::deployment::Deployment;
use crate::event_sources::Surroundings;
use crate::invocation::{Asker, Completed, Invocation};
use crate::invoker::{InvokeError, Invoker};
use crate::store::MappingState;
use crate::trigger::SourceKind;

/// What goes wrong in another way is told no sooner than this after what went wrong before.
const TELL_AGAIN: Duration = Duration::from_secs(60);

pub struct Context {
    pub definition: Definition,
    pub invoker: Invoker,
    aws: aws::Client,
    deployment: watch::Receiver<Arc<Deployment>>,
    stop: watch::Receiver<bool>,
    /// What was told last, if it is not over.
    trouble: Mutex<Option<(String, Instant)>>,
    /// What the store was told last of the result.
    result: tokio::sync::Mutex<Option<String>>,
    /// The store knows that it is enabled.
    enabled: std::sync::atomic::AtomicBool,
}

/// How a wait has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    Enough,
    Stopped,
}

impl Context {
    pub fn new(surroundings: &Surroundings, definition: Definition, stop: watch::Receiver<bool>) -> Self {
        Self {
            definition,
            invoker: surroundings.invoker.clone(),
            aws: surroundings.aws.clone(),
            deployment: surroundings.deployment.clone(),
            stop,
            trouble: Mutex::default(),
            result: tokio::sync::Mutex::default(),
            enabled: std::sync::atomic::AtomicBool::new(false),
        }
    }

    pub fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Returns when the mapping is to stop.
    pub async fn stopped(&self) {
        // Whoever could say it is gone: stop, too.
        let _ = self.stop.clone().wait_for(|stop| *stop).await;
    }

    pub async fn sleep(&self, duration: Duration) -> Waited {
        tokio::select! {
            () = self.stopped() => Waited::Stopped,
            () = tokio::time::sleep(duration) => Waited::Enough,
        }
    }

    /// Waits before something is tried again: not longer than until something is deployed, which may
    /// be what helps.
    pub async fn back_off(&self, duration: Duration) -> Waited {
        let mut deployment = self.deployment.clone();
        deployment.mark_unchanged();
        tokio::select! {
            () = self.stopped() => Waited::Stopped,
            Ok(()) = deployment.changed() => Waited::Enough,
            () = tokio::time::sleep(duration) => Waited::Enough,
        }
    }

    /// Asks the endpoint of the source.
    pub async fn ask(&self, operation: &str, body: &Value, limit: Duration) -> Result<Value, AwsError> {
        let source = &self.definition.source;
        let service = match source.kind {
            SourceKind::Queue { .. } => Service::Sqs,
            SourceKind::Kinesis => Service::Kinesis,
            SourceKind::DynamoDb => Service::DynamoDbStreams,
        };
        self.aws.json_within(service, &source.region, operation, body, limit).await
    }

    /// Waits until there is a function to invoke, so that nothing is taken that nobody can handle.
    pub async fn function_ready(&self) -> Waited {
        let mut pause = BackOff::new(Duration::from_millis(500), Duration::from_secs(30));
        loop {
            match self.invoker.resolve(&self.definition.function).await {
                Ok(_) => return Waited::Enough,
                Err(error) => self.problem(&error.to_string()).await,
            }
            if self.back_off(pause.next()).await == Waited::Stopped {
                return Waited::Stopped;
            }
        }
    }

    /// Invokes the function with these records, `described` for the terminal. `trace`: what the records
    /// say of where they come from.
    pub async fn invoke(
        &self,
        request_id: &str,
        event: Vec<u8>,
        trace: Option<&str>,
        described: &str,
    ) -> Result<Completed, InvokeError> {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let invocation = Invocation {
            request_id: request_id.to_owned(),
            trace_id: Invocation::new_trace_id(seconds).continuing(trace).for_function(),
            function_arn: self.definition.function_arn.clone(),
            client_context: None,
            event,
            asker: match self.definition.source.kind {
                SourceKind::Queue { .. } => Asker::Sqs,
                SourceKind::Kinesis => Asker::Kinesis,
                SourceKind::DynamoDb => Asker::DynamoDb,
            },
        };
        let began = Instant::now();
        let function = &self.definition.function;
        let completed = self.invoker.invoke(function, invocation).await?;
        let result = if completed.outcome.failure().is_some() { "function error" } else { "ok" };
        let ms = began.elapsed().as_micros() as f64 / 1000.0;
        let name = &self.definition.source.name;
        tracing::info!(target: "request", function, ms, request_id,
            "{name} ({described}) -> {function} {result} {ms:.1} ms");
        Ok(completed)
    }

    /// The source has been found, and is being read.
    pub async fn running(&self) {
        use std::sync::atomic::Ordering;
        if !self.enabled.swap(true, Ordering::Relaxed) {
            let set = self.invoker.store().set_mapping_state(&self.definition.uuid, MappingState::Enabled);
            if let Err(error) = set.await {
                tracing::warn!("{}: {error}", self.title());
                self.enabled.store(false, Ordering::Relaxed);
            }
        }
    }

    /// Nothing can be done at the moment. Told once, and again when it is something else or, as such
    /// things come in turns, at most every minute.
    pub async fn problem(&self, reason: &str) {
        let news = {
            let mut trouble = self.trouble.lock().unwrap();
            let news = match &*trouble {
                None => true,
                Some((former, told)) => former != reason && told.elapsed() >= TELL_AGAIN,
            };
            if news {
                *trouble = Some((reason.to_owned(), Instant::now()));
            }
            news
        };
        if news {
            tracing::warn!("{}: {reason}; it is tried again", self.title());
            self.result(&format!("PROBLEM: {reason}")).await;
        }
    }

    /// The source answers, and so does the function.
    pub async fn fine(&self) {
        let over = self.trouble.lock().unwrap().take().is_some();
        if over {
            tracing::info!("{}: works again", self.title());
            if self.result.lock().await.as_deref().is_some_and(|result| result.starts_with("PROBLEM")) {
                self.result("OK").await;
            }
        }
    }

    /// `LastProcessingResult`; written when it is another than before.
    pub async fn result(&self, result: &str) {
        let mut last = self.result.lock().await;
        if last.as_deref() == Some(result) {
            return;
        }
        match self.invoker.store().set_mapping_result(&self.definition.uuid, result).await {
            Ok(()) => *last = Some(result.to_owned()),
            Err(error) => tracing::warn!("{}: {error}", self.title()),
        }
    }

    /// For the terminal.
    pub fn title(&self) -> String {
        format!("{} -> {}", self.definition.mapping.source_arn, self.definition.function)
    }
}

/// Longer and longer pauses, not all of the same length for all who wait.
pub struct BackOff {
    next: Duration,
    first: Duration,
    longest: Duration,
}

impl BackOff {
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { next: first, first, longest }
    }

    pub fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        // Up to a quarter shorter.
        let part = u32::from(uuid::Uuid::new_v4().as_bytes()[0]);
        pause - pause * part / 1024
    }

    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_longest() {
        let mut pauses = BackOff::new(Duration::from_millis(100), Duration::from_secs(1));
        for expected in [100, 200, 400, 800, 1000, 1000] {
            let pause = pauses.next().as_millis();
            assert!((expected * 3 / 4 - 1..=expected).contains(&pause), "{expected}: {pause}");
        }
        pauses.reset();
        assert!(pauses.next() <= Duration::from_millis(100));
    }
}

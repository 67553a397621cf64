//! Messages that were received together: hidden from others while they are handled, deleted when they
//! were, else left to the queue.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::super::context::{BackOff, Context, Waited};
use super::super::failures::{Verdict, verdict};
use super::Pollers;
use super::endpoint::Queue;
use super::message::{self, Message};
use crate::invocation::Invocation;
use crate::invoker::InvokeError;

pub struct Batch<'a> {
    context: &'a Context,
    queue: &'a Queue,
    pollers: &'a Pollers,
    messages: Vec<Message>,
    bytes: usize,
    /// When the first of them was received.
    since: Instant,
    /// Until then they are hidden.
    until: Instant,
    /// They are hidden for longer than the queue says.
    extended: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handled {
    Ended,
    /// There was no environment for it.
    Throttled,
}

impl<'a> Batch<'a> {
    pub fn new(context: &'a Context, queue: &'a Queue, pollers: &'a Pollers, since: Instant) -> Self {
        let until = since + queue.visibility();
        Self { context, queue, pollers, messages: Vec::new(), bytes: 0, since, until, extended: false }
    }

    pub fn len(&self) -> usize {
        self.messages.len()
    }

    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn since(&self) -> Instant {
        self.since
    }

    /// Messages are about to be added that the queue has just answered.
    pub fn received(&mut self) {
        if self.is_empty() {
            self.since = Instant::now();
            self.until = self.since + self.queue.visibility();
        }
    }

    pub fn push(&mut self, message: Message) {
        self.bytes += message.record.len() + 1;
        self.pollers.bytes.fetch_add(message.record.len() + 1, Ordering::Relaxed);
        self.messages.push(message);
    }

    pub fn extend(&mut self, messages: Vec<Message>) {
        for message in messages {
            self.push(message);
        }
    }

    /// What is more than an event of this size can hold; at least one message stays.
    pub fn split_off(&mut self, limit: usize) -> Vec<Message> {
        let mut bytes = r#"{"Records":[]}"#.len();
        let mut fit = 0;
        for message in &self.messages {
            bytes += message.record.len() + 1;
            if bytes > limit && fit > 0 {
                break;
            }
            fit += 1;
        }
        let rest = self.messages.split_off(fit);
        let bytes: usize = rest.iter().map(|message| message.record.len() + 1).sum();
        self.bytes -= bytes;
        self.pollers.bytes.fetch_sub(bytes, Ordering::Relaxed);
        rest
    }

    /// Keeps the messages hidden for as long as this is polled.
    pub async fn keep_hidden(&mut self) {
        let visibility = self.queue.visibility();
        if self.is_empty() || visibility.is_zero() {
            return std::future::pending().await;
        }
        loop {
            let early = self.until.checked_sub(visibility / 3).unwrap_or(self.until);
            tokio::time::sleep_until(early.into()).await;
            self.extended = true;
            let now = Instant::now();
            self.queue.hide(self.context, &self.receipts(), visibility).await;
            self.until = now + visibility;
        }
    }

    fn receipts(&self) -> Vec<&str> {
        self.messages.iter().map(|message| message.receipt.as_str()).collect()
    }

    /// Invokes the function and deletes what it has handled.
    pub async fn handle(mut self) -> Handled {
        let context = self.context;
        let mut pause = BackOff::new(Duration::from_millis(100), Duration::from_secs(10));
        let mut throttled = false;
        let described = match self.len() {
            1 => "1 message".to_owned(),
            count => format!("{count} messages"),
        };
        loop {
            let request_id = Invocation::new_request_id();
            let event = message::event(&self.messages);
            let trace = message::trace(&self.messages).map(str::to_owned);
            let invoke = context.invoke(&request_id, event, trace.as_deref(), &described);
            let completed = tokio::select! {
                completed = invoke => completed,
                () = self.keep_hidden() => unreachable!("it is kept for ever"),
            };
            let error = match completed {
                Ok(completed) => {
                    if completed.outcome.failure().is_some() {
                        self.failed(&[]).await;
                    } else {
                        self.returned(completed.outcome.payload()).await;
                    }
                    break;
                }
                Err(error) => error,
            };
            if matches!(error, InvokeError::Throttled(_)) {
                throttled = true;
            }
            context.problem(&error.to_string()).await;
            let wait = pause.next();
            // As on Lambda: it is tried again for as long as nobody else gets the messages.
            let original = self.since + self.queue.visibility();
            if Instant::now() + wait >= original {
                self.failed(&[]).await;
                break;
            }
            if context.back_off(wait).await == Waited::Stopped {
                self.give_back().await;
                break;
            }
        }
        if throttled { Handled::Throttled } else { Handled::Ended }
    }

    /// The function has ended well; what it returned may say that some messages have not been handled.
    async fn returned(&mut self, payload: &[u8]) {
        if !self.context.definition.mapping.reports_item_failures {
            return self.succeeded(&[]).await;
        }
        let identifiers: Vec<&str> = self.messages.iter().map(|message| message.id.as_str()).collect();
        match verdict(payload, &identifiers) {
            Verdict::Success => self.succeeded(&[]).await,
            Verdict::Partial(failed) => {
                self.succeeded(&failed).await;
                let all = 0..self.messages.len();
                let handled: Vec<usize> = all.filter(|place| !failed.contains(place)).collect();
                self.failed(&handled).await;
            }
            Verdict::Failure(reason) => {
                let count = self.len();
                tracing::warn!("{}: {reason}: all {count} messages come again", self.context.title());
                self.failed(&[]).await;
            }
        }
    }

    /// Deletes all but these.
    async fn succeeded(&self, except: &[usize]) {
        self.queue.delete(self.context, &self.all_but(except)).await;
        self.context.result("OK").await;
        self.context.fine().await;
    }

    /// All but these come again when the queue's visibility timeout is over: not later because the
    /// function took its time.
    async fn failed(&self, except: &[usize]) {
        if self.extended {
            let original = self.since + self.queue.visibility();
            let rest = original.saturating_duration_since(Instant::now());
            self.queue.hide(self.context, &self.all_but(except), rest).await;
        }
    }

    fn all_but(&self, except: &[usize]) -> Vec<&str> {
        let all = self.messages.iter().enumerate().filter(|(place, _)| !except.contains(place));
        all.map(|(_, message)| message.receipt.as_str()).collect()
    }

    /// They were received, and nobody will handle them here: others may at once.
    pub async fn give_back(&self) {
        if !self.is_empty() {
            self.queue.hide(self.context, &self.receipts(), Duration::ZERO).await;
        }
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.pollers.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

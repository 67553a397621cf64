//! Has a batch of a shard handled: retried until it succeeds, halved if the mapping says so, given up
//! when its time or its attempts are over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::context::{BackOff, Context, Waited};
use super::super::failures::{Verdict, verdict};
use super::discard::{self, Condition, Last};
use super::progress::Progress;
use super::record::Record;
use super::window::Window;
use crate::invocation::Invocation;

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A record in its place in the shard.
#[derive(Debug, Clone)]
pub struct Dealt {
    pub number: u64,
    pub read: Instant,
    pub record: Record,
}

/// What is to be handled at once.
pub struct Batch {
    pub context: Arc<Context>,
    pub progress: Arc<Progress>,
    pub shard: String,
    pub records: Vec<Dealt>,
    /// The window that they are in.
    pub window: Option<Window>,
    /// No more comes in this window; there are no records then.
    pub is_final: bool,
}

/// A batch, or what is left or half of one.
struct Part {
    records: Vec<Dealt>,
    /// Of its first record, failed ones.
    attempts: u32,
    invocations: u32,
    last: Option<Last>,
}

enum Attempt {
    Handled,
    /// Those before this place are.
    From(usize, Last),
    Failed(Last),
    /// The function was not even asked.
    Refused(String),
}

impl Batch {
    /// Returns when all records are done with, or the mapping is to stop. The window as it is then.
    pub async fn process(mut self) -> Option<Window> {
        let mut parts = vec![Part {
            records: std::mem::take(&mut self.records),
            attempts: 0,
            invocations: 0,
            last: None,
        }];
        let mut pause = BackOff::new(FIRST_PAUSE, LONGEST_PAUSE);
        while let Some(mut part) = parts.pop() {
            if self.context.is_stopped() || !self.drop_aged(&mut part).await {
                break;
            }
            if part.records.is_empty() && !self.is_final {
                continue;
            }
            let wait = match self.attempt(&mut part).await {
                Attempt::Handled => {
                    self.handled(&part.records).await;
                    pause.reset();
                    continue;
                }
                Attempt::From(place, last) => {
                    let rest = part.records.split_off(place);
                    self.handled(&part.records).await;
                    if place > 0 {
                        pause.reset();
                        part.attempts = 0;
                    }
                    self.failed(Part { records: rest, last: Some(last), ..part }, &mut parts).await
                }
                Attempt::Failed(last) => self.failed(Part { last: Some(last), ..part }, &mut parts).await,
                Attempt::Refused(reason) => {
                    self.context.problem(&reason).await;
                    parts.push(part);
                    true
                }
            };
            if wait && self.context.back_off(pause.next()).await == Waited::Stopped {
                break;
            }
        }
        self.window
    }

    async fn attempt(&mut self, part: &mut Part) -> Attempt {
        let context = self.context.clone();
        let request_id = Invocation::new_request_id();
        let described = match part.records.len() {
            0 => format!("end of a window of {}", self.shard),
            1 => format!("1 record of {}", self.shard),
            count => format!("{count} records of {}", self.shard),
        };
        let completed = context.invoke(&request_id, self.event(&part.records), None, &described).await;
        let completed = match completed {
            Ok(completed) => completed,
            Err(error) => return Attempt::Refused(error.to_string()),
        };
        context.fine().await;
        part.invocations += 1;
        let error = completed.outcome.failure().map(|_| "Unhandled");
        let last = Last { request_id, executed_version: completed.executed_version, error };
        if error.is_some() {
            return Attempt::Failed(last);
        }
        let payload = completed.outcome.payload();
        if context.definition.mapping.reports_item_failures {
            let identifiers: Vec<&str> =
                part.records.iter().map(|dealt| dealt.record.sequence.as_str()).collect();
            match verdict(payload, &identifiers) {
                Verdict::Success => {}
                Verdict::Partial(places) => {
                    if places[0] > 0 {
                        self.take_state(payload);
                    }
                    return Attempt::From(places[0], last);
                }
                Verdict::Failure(reason) => {
                    tracing::warn!("{}: {reason}: the whole batch is tried again", context.title());
                    return Attempt::Failed(last);
                }
            }
        }
        self.take_state(payload);
        Attempt::Handled
    }

    fn take_state(&mut self, payload: &[u8]) {
        if let Some(window) = &mut self.window {
            window.take(payload);
        }
    }

    fn event(&self, records: &[Dealt]) -> Vec<u8> {
        let mut event = String::with_capacity(
            records.iter().map(|dealt| dealt.record.json.len() + 1).sum::<usize>() + 64,
        );
        event.push_str(r#"{"Records":["#);
        for (place, dealt) in records.iter().enumerate() {
            if place > 0 {
                event.push(',');
            }
            event.push_str(&dealt.record.json);
        }
        event.push(']');
        let mapping = &self.context.definition.mapping;
        if let (Some(window), Some(length)) = (&self.window, mapping.stream.tumbling_window) {
            let members = window.members(length, &self.shard, &mapping.source_arn, self.is_final);
            let members = serde_json::Value::Object(members).to_string();
            event.push(',');
            event.push_str(&members[1..members.len() - 1]);
        }
        event.push('}');
        event.into_bytes()
    }

    /// They are done with, for good.
    async fn handled(&mut self, records: &[Dealt]) {
        if self.is_final {
            self.window = None;
        }
        let numbers = records.iter().map(|dealt| dealt.number);
        match self.context.definition.mapping.stream.tumbling_window {
            Some(_) => {
                let window = self.window.as_ref().map(Window::write);
                self.progress.done_in_window(numbers, window).await;
            }
            None => self.progress.done(numbers).await,
        }
        if !records.is_empty() {
            self.context.result("OK").await;
        }
    }

    /// What becomes of a part that has failed; whether to wait before going on.
    async fn failed(&mut self, mut part: Part, parts: &mut Vec<Part>) -> bool {
        self.context.result("PROBLEM: Function call failed").await;
        let stream = &self.context.definition.mapping.stream;
        if stream.bisects && part.records.len() > 1 {
            // Halving is no attempt.
            let second = part.records.split_off(part.records.len() / 2);
            let half = |records| Part {
                records,
                attempts: 0,
                invocations: part.invocations,
                last: part.last.clone(),
            };
            parts.push(half(second));
            parts.push(half(part.records));
            return true;
        }
        part.attempts += 1;
        if stream.maximum_retries.is_none_or(|most| part.attempts <= most) {
            parts.push(part);
            return true;
        }
        if self.give_up(&part.records, Condition::RetryAttemptsExhausted, &part).await {
            self.handled(&part.records).await;
        }
        false
    }

    /// Gives up what has become too old. `false`: the mapping is to stop.
    async fn drop_aged(&mut self, part: &mut Part) -> bool {
        let Some(most) = self.context.definition.mapping.stream.maximum_record_age else { return true };
        let oldest = jiff::Timestamp::now().as_millisecond() - most.as_millis() as i64;
        let aged = part.records.iter().take_while(|dealt| dealt.record.arrived < oldest).count();
        if aged == 0 {
            return true;
        }
        let rest = part.records.split_off(aged);
        let aged = std::mem::replace(&mut part.records, rest);
        let known = self.give_up(&aged, Condition::RecordAgeExceeded, part).await;
        if known {
            self.handled(&aged).await;
        }
        known
    }

    /// `false`: the mapping is to stop, and the destination has not been told.
    async fn give_up(&self, records: &[Dealt], condition: Condition, part: &Part) -> bool {
        discard::tell(&self.context, &self.shard, records, condition, part.invocations, part.last.as_ref())
            .await
    }
}

//! Sends spans in batches, tries again for a while, and tells what was lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use tokio::sync::mpsc;

use super::settings::Settings;
use super::span::{Span, request};
use crate::egress;

/// Invocations in a batch.
const BATCH: usize = 512;
/// How long the first of a batch waits for others.
const GATHER: Duration = Duration::from_secs(5);
const TRIES: u32 = 4;
/// Before a batch is sent again; twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest that a collector may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Losses are told so often.
const TOLD: Duration = Duration::from_secs(60);
/// Of an answer.
const ANSWER_LIMIT: usize = 64 * 1024;

pub struct Exporter {
    settings: Settings,
    client: reqwest::Client,
    lost: Arc<AtomicU64>,
    /// When, and how many.
    told: (Option<Instant>, u64),
}

/// A batch that was not taken.
struct Refused {
    reason: String,
    /// It may be taken later.
    again: Option<Duration>,
}

impl Exporter {
    pub fn new(settings: Settings, lost: Arc<AtomicU64>) -> Result<Self, String> {
        egress::check(&settings.endpoint).map_err(|forbidden| forbidden.to_string())?;
        let client = egress::guarded(reqwest::Client::builder())
            .timeout(settings.timeout)
            // Credentials in headers are for this one.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("handlerd/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| told(&error))?;
        Ok(Self { settings, client, lost, told: (None, 0) })
    }

    /// Until the queue is closed and empty.
    pub async fn work(mut self, mut queue: mpsc::Receiver<Span>) {
        let mut batch = Vec::new();
        while let Some(first) = queue.recv().await {
            batch.push(first);
            let full = async {
                while batch.len() < BATCH {
                    match queue.recv().await {
                        Some(span) => batch.push(span),
                        None => break,
                    }
                }
            };
            let _ = tokio::time::timeout(GATHER, full).await;
            self.export(&batch, &queue).await;
            batch.clear();
            self.tell("the collector is too slow for them");
        }
    }

    async fn export(&mut self, batch: &[Span], queue: &mpsc::Receiver<Span>) {
        let body = request(batch, &self.settings).to_string();
        let mut pause = FIRST_PAUSE;
        for left in (0..TRIES).rev() {
            let refused = match self.send(body.clone()).await {
                Ok(rejected) if rejected > 0 => {
                    return self.lose(rejected, "the collector has rejected some");
                }
                Ok(_) => return,
                Err(refused) => refused,
            };
            match refused.again {
                // At the end there is no time for another.
                Some(asked) if left > 0 && !queue.is_closed() => tokio::time::sleep(asked.max(pause)).await,
                _ => return self.lose(batch.len() as u64, &refused.reason),
            }
            pause *= 2;
        }
    }

    /// How many of a batch were rejected by a collector that took the others.
    async fn send(&self, body: String) -> Result<u64, Refused> {
        let again = |reason: String| Refused { reason, again: Some(Duration::ZERO) };
        let post = self.client.post(self.settings.endpoint.clone());
        let post = post.headers(self.settings.headers.clone()).header(CONTENT_TYPE, "application/json");
        let mut response = post.body(body).send().await.map_err(|error| again(told(&error)))?;
        let status = response.status();
        if !status.is_success() {
            let may_pass = matches!(
                status,
                StatusCode::TOO_MANY_REQUESTS
                    | StatusCode::BAD_GATEWAY
                    | StatusCode::SERVICE_UNAVAILABLE
                    | StatusCode::GATEWAY_TIMEOUT
            );
            let after =
                response.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
            let after = Duration::from_secs(after.unwrap_or(0)).min(LONGEST_PAUSE);
            let reason = format!("the collector answers {status}");
            return Err(Refused { reason, again: may_pass.then_some(after) });
        }
        let mut answer = Vec::new();
        while let Ok(Some(piece)) = response.chunk().await {
            if answer.len() + piece.len() > ANSWER_LIMIT {
                break;
            }
            answer.extend_from_slice(&piece);
        }
        Ok(rejected(&answer))
    }

    fn lose(&mut self, count: u64, reason: &str) {
        self.lost.fetch_add(count, Ordering::Relaxed);
        self.tell(reason);
    }

    fn tell(&mut self, reason: &str) {
        let lost = self.lost.load(Ordering::Relaxed);
        let (when, count) = self.told;
        if lost > count && when.is_none_or(|when| when.elapsed() >= TOLD) {
            self.told = (Some(Instant::now()), lost);
            tracing::warn!("{lost} invocations are in no trace so far: {reason} ({})", shown(&self.settings));
        }
    }
}

/// `partialSuccess`; its number may be text, as JSON has 64-bit numbers there.
fn rejected(answer: &[u8]) -> u64 {
    let answer: serde_json::Value = serde_json::from_slice(answer).unwrap_or_default();
    let count = &answer["partialSuccess"]["rejectedSpans"];
    count.as_u64().or_else(|| count.as_str()?.parse().ok()).unwrap_or(0).min(2 * BATCH as u64)
}

/// Without what may be a secret in it.
fn shown(settings: &Settings) -> String {
    let url = &settings.endpoint;
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

/// The innermost of its causes says what happened.
fn told(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "the collector does not answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    format!("the collector cannot be reached: {cause}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_collector_rejects() {
        assert_eq!(rejected(br#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"no"}}"#), 3);
        assert_eq!(rejected(br#"{"partialSuccess":{"rejectedSpans":2}}"#), 2);
        assert_eq!(rejected(b"{}"), 0);
        assert_eq!(rejected(b"no JSON"), 0);
    }
}

//! Traces of invocations for whoever collects them with OpenTelemetry: OTLP over HTTP, as JSON.
//!
//! Written against the protocol and not with the `opentelemetry` crates: those cost more time of the build
//! and more of the binary than the few fields that are said here. Off unless an endpoint is named. What
//! is exported is what the history tells, after the fact: an invocation never waits for a collector, and
//! a collector that is slow or away costs spans, which are counted, and no more.

mod exporter;
mod settings;
mod span;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinHandle;

use crate::history::{Entry, History};
use exporter::Exporter;
use span::Span;

pub use settings::{Settings, read};

/// Invocations that may wait for the collector.
const QUEUE: usize = 4096;
/// For what is left at the end.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// At work until `finish`.
pub struct Telemetry {
    stop: watch::Sender<bool>,
    listener: JoinHandle<()>,
    exporter: JoinHandle<()>,
    lost: Arc<AtomicU64>,
}

impl Telemetry {
    pub fn start(settings: Settings, history: &History) -> Result<Self, String> {
        let (stop, stops) = watch::channel(false);
        let (spans, queue) = mpsc::channel(QUEUE);
        let lost = Arc::<AtomicU64>::default();
        let exporter = Exporter::new(settings, lost.clone())?;
        Ok(Self {
            stop,
            listener: tokio::spawn(listen(history.subscribe(), spans, stops, lost.clone())),
            exporter: tokio::spawn(exporter.work(queue)),
            lost,
        })
    }

    /// Sends what is left, once nothing runs any more; not for long.
    pub async fn finish(self) {
        self.stop.send_replace(true);
        let Self { listener, mut exporter, lost, .. } = self;
        let sent = async {
            let _ = listener.await;
            let _ = (&mut exporter).await;
        };
        if tokio::time::timeout(LAST_WAIT, sent).await.is_err() {
            exporter.abort();
            tracing::warn!("the last traces were not sent: the collector did not take them in 2 s");
        }
        let lost = lost.load(Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!("{lost} invocations are in no trace: the collector had not taken them");
        }
    }
}

/// Takes what is told at once, so that no events and results of others are kept for a collector.
async fn listen(
    mut told: broadcast::Receiver<Arc<Entry>>,
    spans: mpsc::Sender<Span>,
    mut stop: watch::Receiver<bool>,
    lost: Arc<AtomicU64>,
) {
    loop {
        let entry = tokio::select! {
            biased;
            entry = told.recv() => entry,
            // Nothing is told any more, and all that was has been taken.
            _ = stop.wait_for(|stops| *stops) => return,
        };
        match entry {
            Ok(entry) => {
                if spans.try_send(Span::of(&entry)).is_err() {
                    lost.fetch_add(1, Ordering::Relaxed);
                }
            }
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                lost.fetch_add(missed, Ordering::Relaxed);
            }
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

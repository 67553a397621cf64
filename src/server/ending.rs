//! How serving ends: a signal asks for it, what has begun is finished, and perhaps another program
//! takes over.

use std::pin::pin;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::signals::{Asked, Signals};
use super::succession::Successor;
use super::supervisor::Supervisor;
use crate::defences;
use crate::http::Admission;

/// For so long clients that stay connected may take to come back anew, before their connections end.
const LEAVING: Duration = Duration::from_secs(5);
/// How often it is looked whether they have.
const LOOK: Duration = Duration::from_millis(10);
/// Instead of a limit that a test has taken away.
const FOR_EVER: Duration = Duration::from_secs(3600);

pub struct Ending {
    pub signals: Signals,
    pub supervisor: Supervisor,
    pub doorkeepers: [Admission; 2],
    /// `--drain-timeout`
    pub limit: Duration,
}

impl Ending {
    /// Returns when serving is to end; with who comes after, if that works and is asked for.
    pub async fn asked(&self, mut successor: Successor, serving: &str) -> Option<Successor> {
        let limit = self.limit.as_secs();
        loop {
            if self.signals.asked().await == Asked::End {
                break;
            }
            self.supervisor.reloading();
            let tried = tokio::select! {
                tried = successor.rehearse() => tried,
                () = self.signals.stop() => break,
            };
            match tried {
                Ok(()) => {
                    tracing::info!("a new program takes over: requests in flight may take {limit} s more");
                    self.doorkeepers.iter().for_each(Admission::leave);
                    return Some(successor);
                }
                Err(reason) => {
                    tracing::error!("no other program takes over, this one serves on: {reason}");
                    let first = reason.lines().next().unwrap_or_default();
                    self.supervisor.ready(&format!("{serving}; no other program took over: {first}"));
                }
            }
        }
        self.supervisor.stopping();
        self.doorkeepers.iter().for_each(Admission::leave);
        tracing::info!("stopping: requests in flight may take {limit} s more");
        None
    }

    /// Where another program takes over, clients are served on until they have heard that they should
    /// come back, and until the events have ended that nobody waits for: of all that only this is seen.
    pub async fn quieted(
        &self,
        successor: Option<Successor>,
        events: &mut JoinHandle<()>,
    ) -> Option<Successor> {
        let successor = successor?;
        let quiet = async {
            let gone = async {
                while self.doorkeepers.iter().any(Admission::is_awaited) {
                    tokio::time::sleep(LOOK).await;
                }
            };
            let (_, ended) =
                tokio::join!(tokio::time::timeout(LEAVING, gone), tokio::time::timeout(self.limit, events));
            if ended.is_err() {
                tracing::warn!("some events had not ended; they begin again with the new program");
            }
        };
        tokio::select! {
            () = quiet => Some(successor),
            () = self.signals.stop() => {
                self.give_up(successor);
                None
            }
        }
    }

    /// Waits for what is in flight; a signal makes that shorter. With who still comes after.
    pub async fn drained(
        &self,
        mut successor: Option<Successor>,
        in_flight: impl Future<Output = ()>,
    ) -> Option<Successor> {
        let limit = match (defences::off("drain"), defences::off("drain-deadline")) {
            (true, _) => Duration::ZERO,
            (_, true) => FOR_EVER,
            _ => self.limit,
        };
        let mut in_flight = pin!(tokio::time::timeout(limit, in_flight));
        loop {
            tokio::select! {
                result = &mut in_flight => {
                    if result.is_err() {
                        tracing::warn!("some requests had not ended; they are cut off");
                    }
                    return successor;
                }
                () = self.signals.stop() => match successor.take() {
                    Some(successor) => self.give_up(successor),
                    None if defences::off("second-stop") => {}
                    None => {
                        tracing::warn!("stopped at once");
                        return None;
                    }
                },
            }
        }
    }

    /// The end is asked for after all. With the successor its sockets are closed.
    fn give_up(&self, successor: Successor) {
        drop(successor);
        self.supervisor.stopping();
        tracing::info!("no other program takes over: stopping");
    }
}

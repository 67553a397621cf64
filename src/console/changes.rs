//! What changes, as it changes: a stream of deployments and invocations.
//!
//! Everything is made when the reader takes it, so that a slow one holds nothing up and keeps nothing
//! in memory; what it has missed it is told, and asks for the overview.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use futures_util::stream::unfold;
use http::StatusCode;
use serde_json::json;
use tokio::sync::{Semaphore, SemaphorePermit, broadcast, watch};
use tokio::time::{Instant, sleep_until};

use super::error::ViewError;
use super::stream::{BEAT, COMMENT, event, stopped};
use super::{Console, stream};
use crate::control_plane::{Routes, Scope};
use crate::deployment::{Deployed, Deployment};
use crate::function::FunctionName;
use crate::history::Entry;

pub fn routes() -> Routes<Console> {
    Routes::new().at("/_handlerd/changes").get(Scope::Read, changes)
}

/// Readers at once; each is a connection that stays.
static READERS: Semaphore = Semaphore::const_new(64);
/// Invocations are told this often at most, the last one of each function.
const PAUSE: Duration = Duration::from_millis(250);

async fn changes(State(console): State<Console>) -> Result<Response, ViewError> {
    let turn = READERS.try_acquire().map_err(|_| {
        ViewError::new(StatusCode::SERVICE_UNAVAILABLE, "64 others follow the changes already")
            .hint("close some tabs of the console")
    })?;
    let surroundings = &console.0;
    let mut deployment = surroundings.deployment.clone();
    let last = deployment.borrow_and_update().clone();
    let follower = Follower {
        last,
        deployment,
        published: surroundings.invoker.published().changes(),
        judgements: surroundings.invoker.judgements(),
        invocations: Some(surroundings.invoker.history().subscribe()),
        stop: surroundings.stop.clone(),
        generation: 0,
        untold: BTreeMap::new(),
        due: Instant::now(),
        beat: Instant::now() + BEAT,
        _turn: turn,
    };
    let hello = event("hello", &json!({"version": env!("CARGO_PKG_VERSION")}));
    let events = unfold(follower, |mut follower| async move { Some((follower.next().await?, follower)) });
    Ok(stream::response(hello, events))
}

struct Follower {
    deployment: watch::Receiver<Arc<Deployment>>,
    last: Arc<Deployment>,
    /// Aliases and function URLs, which the Lambda API makes.
    published: watch::Receiver<u64>,
    /// Whether code can be loaded, which is known a moment after it is deployed.
    judgements: watch::Receiver<u64>,
    /// `None`: there will be none any more.
    invocations: Option<broadcast::Receiver<Arc<Entry>>>,
    stop: watch::Receiver<bool>,
    generation: u64,
    /// The last invocation of each function that the reader does not know of.
    untold: BTreeMap<FunctionName, Arc<Entry>>,
    /// When they may be told.
    due: Instant,
    beat: Instant,
    _turn: SemaphorePermit<'static>,
}

impl Follower {
    /// One or several events; `None`: the gateway stops.
    async fn next(&mut self) -> Option<String> {
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut self.stop) => return None,
                changed = self.deployment.changed() => {
                    changed.ok()?;
                    return Some(self.deployed());
                }
                changed = self.published.changed() => {
                    changed.ok()?;
                    return Some(self.told_of(&[], &[]));
                }
                changed = self.judgements.changed() => {
                    changed.ok()?;
                    return Some(self.told_of(&[], &[]));
                }
                () = sleep_until(self.due), if !self.untold.is_empty() => return Some(self.invoked()),
                () = sleep_until(self.beat) => {
                    self.beat = Instant::now() + BEAT;
                    return Some(COMMENT.to_owned());
                }
                told = next_of(&mut self.invocations) => match told {
                    Ok(told) => drop(self.untold.insert(told.function.clone(), told)),
                    Err(broadcast::error::RecvError::Lagged(_)) => {
                        self.untold.clear();
                        return Some(self.sent(event("lagged", &json!({}))));
                    }
                    Err(broadcast::error::RecvError::Closed) => self.invocations = None,
                },
            }
        }
    }

    fn deployed(&mut self) -> String {
        let now = self.deployment.borrow_and_update().clone();
        let (changed, removed) = differences(&self.last, &now);
        self.last = now;
        self.told_of(&changed, &removed)
    }

    fn told_of(&mut self, changed: &[String], removed: &[String]) -> String {
        self.generation += 1;
        let told = json!({"generation": self.generation, "changed": changed, "removed": removed});
        self.sent(event("deployment", &told))
    }

    fn invoked(&mut self) -> String {
        self.due = Instant::now() + PAUSE;
        let lines = std::mem::take(&mut self.untold).into_values().map(|told| {
            let ms = (told.usage.duration.as_secs_f64() * 1e6).round() / 1e3;
            let told =
                json!({"function": told.function.as_str(), "request_id": told.request_id, "ok": told.ok, "ms": ms});
            event("invocation", &told)
        });
        let text = lines.collect();
        self.sent(text)
    }

    fn sent(&mut self, text: String) -> String {
        self.beat = Instant::now() + BEAT;
        text
    }
}

async fn next_of<T: Clone>(
    receiver: &mut Option<broadcast::Receiver<T>>,
) -> Result<T, broadcast::error::RecvError> {
    match receiver {
        Some(receiver) => receiver.recv().await,
        None => std::future::pending().await,
    }
}

/// Functions that are new or others now, and those that are gone.
fn differences(before: &Deployment, after: &Deployment) -> (Vec<String>, Vec<String>) {
    let same = |one: &Deployed, other: &Deployed| match (one, other) {
        (Deployed::Ready(one), Deployed::Ready(other)) => Arc::ptr_eq(one, other),
        (Deployed::Broken { reason: one }, Deployed::Broken { reason: other }) => one == other,
        _ => false,
    };
    let changed = after.functions.iter().filter(|(name, deployed)| {
        !before.functions.get(*name).is_some_and(|former| same(former, deployed))
            || before.attached.get(*name) != after.attached.get(*name)
    });
    let removed = before.functions.keys().filter(|name| !after.functions.contains_key(*name));
    (changed.map(|(name, _)| name.to_string()).collect(), removed.map(ToString::to_string).collect())
}

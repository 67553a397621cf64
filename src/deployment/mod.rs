//! What is deployed now, as one immutable snapshot, and how a saved file becomes the next one.
//!
//! - `discover`: a folder on disk -> a function, or what is wrong with it.
//! - `function_yaml`: its `function.yaml`, in the words of a SAM template.
//! - `dotenv`: the `.env` beside it.
//! - `watch`: notices changes. The moment one is noticed, requests for that function wait; a few
//!   quiet milliseconds later its folder is read again, and they go on with what it holds now.

mod discover;
mod dotenv;
mod function_yaml;
mod watch;
mod yaml;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch as signal;

use crate::function::{Function, FunctionName};

pub use discover::{Discovery, Found, Problem, Severity};
pub use watch::{Judge, Listener, WatchError, Watcher};

/// How long a request waits, at most, for a function that is being saved. Whoever writes without a
/// pause gets what there is.
const PATIENCE: Duration = Duration::from_millis(500);

/// Everything deployed at one moment.
#[derive(Debug, Default)]
pub struct Deployment {
    pub functions: BTreeMap<FunctionName, Deployed>,
    /// Folders that are no function, and why.
    pub problems: Vec<Problem>,
}

/// One name's place in a deployment.
#[derive(Debug, Clone)]
pub enum Deployed {
    Ready(Arc<Function>),
    /// There is a function, but it cannot run as it is configured.
    Broken {
        reason: String,
    },
}

impl Deployed {
    pub fn function(&self) -> Option<&Arc<Function>> {
        match self {
            Self::Ready(function) => Some(function),
            Self::Broken { .. } => None,
        }
    }
}

/// How a snapshot differs from the one before.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub added: Vec<FunctionName>,
    pub changed: Vec<FunctionName>,
    pub removed: Vec<FunctionName>,
}

#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum ResolveError {
    #[error("there is no function `{0}`")]
    NotFound(String),
    #[error("function `{name}` cannot run: {reason}")]
    Broken { name: FunctionName, reason: String },
}

/// The current deployment; a cheap handle.
#[derive(Clone)]
pub struct Deployments(Arc<Shared>);

struct Shared {
    handlers: PathBuf,
    current: ArcSwap<Deployment>,
    discovery: Mutex<Discovery>,
    /// Functions in whose folders something has happened that is not in `current` yet.
    dirty: Mutex<HashSet<String>>,
    dirty_count: AtomicUsize,
    settled: signal::Sender<u64>,
}

impl Deployments {
    /// Reads the folder for the first time.
    pub fn read(handlers: &Path) -> Self {
        let mut discovery = Discovery::new(handlers);
        let deployment = discovery.all();
        Self(Arc::new(Shared {
            handlers: handlers.to_owned(),
            current: ArcSwap::from_pointee(deployment),
            discovery: Mutex::new(discovery),
            dirty: Mutex::default(),
            dirty_count: AtomicUsize::new(0),
            settled: signal::Sender::new(0),
        }))
    }

    pub fn handlers(&self) -> &Path {
        &self.0.handlers
    }

    pub fn current(&self) -> Arc<Deployment> {
        self.0.current.load_full()
    }

    /// The function of this name. If its files are changing right now, waits for them to come to
    /// rest, so that whoever saved and then asks gets what was saved.
    pub async fn resolve(&self, name: &str) -> Result<Arc<Function>, ResolveError> {
        if self.0.dirty_count.load(Ordering::Acquire) > 0 {
            self.settle(name).await;
        }
        let deployment = self.0.current.load();
        match deployment.functions.get_key_value(name) {
            Some((_, Deployed::Ready(function))) => Ok(function.clone()),
            Some((name, Deployed::Broken { reason })) => {
                Err(ResolveError::Broken { name: name.clone(), reason: reason.clone() })
            }
            None => Err(ResolveError::NotFound(name.to_owned())),
        }
    }

    /// Like `resolve`, for routing: is there, or will there be in a moment, such a function?
    pub async fn has(&self, name: &str) -> bool {
        !matches!(self.resolve(name).await, Err(ResolveError::NotFound(_)))
    }

    async fn settle(&self, name: &str) {
        let mut settled = self.0.settled.subscribe();
        let is_dirty = || self.0.dirty.lock().unwrap().contains(name);
        let _ =
            tokio::time::timeout(PATIENCE, async { while is_dirty() && settled.changed().await.is_ok() {} })
                .await;
    }

    /// Something has happened in this function's folder.
    fn mark_dirty(&self, name: &str) {
        let mut dirty = self.0.dirty.lock().unwrap();
        dirty.insert(name.to_owned());
        self.0.dirty_count.store(dirty.len(), Ordering::Release);
    }

    /// Reads these functions' folders again (all of them: `None`). What it finds is not deployed
    /// yet: the caller may want to try it first.
    fn reread(&self, names: Option<&HashSet<String>>) -> Next {
        let mut discovery = self.0.discovery.lock().unwrap();
        let current = self.current();
        let deployment = match names {
            None => discovery.all_after(&current),
            Some(names) => discovery.some_after(&current, names),
        };
        let changes = changes(&current, &deployment);
        Next { deployment, changes }
    }

    fn deploy(&self, deployment: Deployment) {
        self.0.current.store(Arc::new(deployment));
    }

    fn mark_clean(&self, names: Option<&HashSet<String>>) {
        {
            let mut dirty = self.0.dirty.lock().unwrap();
            match names {
                None => dirty.clear(),
                Some(names) => dirty.retain(|name| !names.contains(name)),
            }
            self.0.dirty_count.store(dirty.len(), Ordering::Release);
        }
        self.0.settled.send_modify(|generation| *generation += 1);
    }
}

/// A snapshot that could be next.
struct Next {
    deployment: Deployment,
    changes: Changes,
}

fn changes(before: &Deployment, after: &Deployment) -> Changes {
    let mut changes = Changes::default();
    for (name, deployed) in &after.functions {
        match (before.functions.get(name), deployed) {
            (None, _) => changes.added.push(name.clone()),
            (Some(Deployed::Ready(old)), Deployed::Ready(new)) if Arc::ptr_eq(old, new) => {}
            (Some(Deployed::Broken { reason: old }), Deployed::Broken { reason: new }) if old == new => {}
            _ => changes.changed.push(name.clone()),
        }
    }
    changes.removed =
        before.functions.keys().filter(|name| !after.functions.contains_key(*name)).cloned().collect();
    changes
}

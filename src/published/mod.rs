//! What has been published: versions of functions, the aliases that lead to them, versions of
//! layers. Immutable copies in the state folder, told of in the store.
//!
//! - `versions/NAME/NUMBER/code/` holds a version's code, `layers/` beside it copies of the project's
//!   folders that it used as layers; `layers/NAME/NUMBER/` a published layer's content.
//! - `document`: a version as it is kept in the store.
//! - `copy`: a folder, copied so that a power cut leaves all of it or nothing.
//! - `version`, `alias`, `layer`, `url`, `provisioned`: each with what may be done with it.
//!
//! Invocations look only into a snapshot in memory. Changes are written to the store first; one at a
//! time, so that nobody comes in between.

mod alias;
mod copy;
mod document;
mod layer;
mod provisioned;
mod url;
mod version;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use serde_json::Value;
use tokio::sync::{Mutex, MutexGuard, watch};

use crate::api::Api;
use crate::function::{Function, Version};
use crate::store::{Store, StoreError};

pub use alias::{Alias, AliasError, Weight};
pub use layer::{Layer, LayerError, NewLayer};
pub use provisioned::Provision;
pub use url::UrlConfig;
pub use version::{DeleteError, PublishError};

/// Kinds of documents in the store; `owner` is a function's name, or a layer's.
const VERSION: &str = "version";
const COUNTER: &str = "version-counter";
const ALIAS: &str = "alias";
const PROVISIONED: &str = "provisioned-concurrency";
pub const URL: &str = "function-url";
const LAYER: &str = "layer";
const LAYER_COUNTER: &str = "layer-counter";
/// Written by the Lambda API, which alone knows what they mean.
pub const POLICY: &str = "policy";
pub const EVENT_INVOKE: &str = "event-invoke-config";
pub const EVENT_INVOKE_TIME: &str = "event-invoke-time";
pub const LAYER_POLICY: &str = "layer-policy";

/// What goes when a function goes.
const OF_FUNCTIONS: [&str; 8] =
    [VERSION, COUNTER, ALIAS, PROVISIONED, URL, POLICY, EVENT_INVOKE, EVENT_INVOKE_TIME];

/// A cheap handle.
#[derive(Clone)]
pub struct Published(Arc<Shared>);

struct Shared {
    store: Store,
    state_dir: PathBuf,
    snapshot: ArcSwap<Snapshot>,
    /// Held by whoever changes something.
    changing: Mutex<()>,
    /// Numbers versions in the order in which they came into this process: see `Function::sequence`.
    sequence: AtomicU64,
    /// Counts the changes.
    changes: watch::Sender<u64>,
}

/// Everything published, at one moment.
#[derive(Debug, Clone, Default)]
struct Snapshot {
    functions: BTreeMap<String, Arc<Of>>,
    layers: BTreeMap<String, BTreeMap<u64, Arc<Layer>>>,
    /// The URLs of aliases.
    apis: Arc<Vec<Arc<Api>>>,
}

/// What has been published of one function.
#[derive(Debug, Clone, Default)]
struct Of {
    /// The number of the latest version that there ever was.
    last: u64,
    versions: BTreeMap<u64, version::Kept>,
    aliases: BTreeMap<String, Alias>,
    /// By alias; what is said of `$LATEST` too, under an empty name.
    urls: BTreeMap<String, UrlConfig>,
    /// By version or alias.
    provisioned: BTreeMap<String, Provision>,
}

/// What a qualifier leads to.
#[derive(Debug, Clone)]
pub enum Resolved {
    Version(Arc<Function>),
    /// An alias of `$LATEST`.
    Latest,
}

impl Published {
    /// Reads what the store tells.
    pub fn open(store: Store, state_dir: &Path) -> Result<Self, StoreError> {
        let mut snapshot = Snapshot::default();
        let sequence = AtomicU64::new(1);
        let mut of: BTreeMap<String, Of> = BTreeMap::new();
        for found in store.resources_now(VERSION)? {
            let folder = version_folder(state_dir, &found.owner);
            let number = found.name.parse().unwrap_or(0);
            match version::Kept::read(&found.owner, number, &folder, &found.document) {
                Some(mut kept) => {
                    kept.number_in_process(&sequence);
                    of.entry(found.owner).or_default().versions.insert(number, kept);
                }
                None => tracing::warn!(
                    "version {} of {} cannot be read from {}; it is left out",
                    found.name,
                    found.owner,
                    store.path().display()
                ),
            }
        }
        for found in store.resources_now(COUNTER)? {
            of.entry(found.owner).or_default().last = found.document.as_u64().unwrap_or(0);
        }
        for found in store.resources_now(ALIAS)? {
            if let Some(alias) = Alias::read(&found.name, &found.document) {
                of.entry(found.owner).or_default().aliases.insert(found.name, alias);
            }
        }
        for found in store.resources_now(URL)? {
            if let Some(url) = UrlConfig::read(&found.document) {
                of.entry(found.owner).or_default().urls.insert(found.name, url);
            }
        }
        for found in store.resources_now(PROVISIONED)? {
            if let Some(provision) = Provision::read(&found.document) {
                of.entry(found.owner).or_default().provisioned.insert(found.name, provision);
            }
        }
        snapshot.functions = of.into_iter().map(|(name, of)| (name, Arc::new(of))).collect();
        for found in store.resources_now(LAYER)? {
            let number = found.name.parse().unwrap_or(0);
            if let Some(layer) = Layer::read(&found.owner, number, &found.document) {
                snapshot.layers.entry(found.owner).or_default().insert(number, Arc::new(layer));
            }
        }
        snapshot.apis = Arc::new(url::apis(&snapshot.functions));
        let shared = Shared {
            store,
            state_dir: state_dir.to_owned(),
            snapshot: ArcSwap::from_pointee(snapshot),
            changing: Mutex::new(()),
            sequence,
            changes: watch::Sender::new(0),
        };
        Ok(Self(Arc::new(shared)))
    }

    /// Removes what a publication that was cut off has left. Only for the one gateway of this folder;
    /// `used`: folders that functions use as layers now, if that is known of all of them.
    pub fn clean(&self, used: Option<&BTreeSet<PathBuf>>) {
        let snapshot = self.0.snapshot.load();
        version::clean(&self.0.state_dir, &snapshot);
        layer::clean(&self.0.state_dir, &snapshot, used);
    }

    /// What a qualifier leads to: a version, or the one that an alias chooses for this invocation.
    pub fn resolve(&self, function: &str, qualifier: &str) -> Option<Resolved> {
        let snapshot = self.0.snapshot.load();
        let of = snapshot.functions.get(function)?;
        let version = match of.aliases.get(qualifier) {
            Some(alias) => alias.choose(),
            None => qualifier.parse().ok()?,
        };
        match version {
            Version::Latest => Some(Resolved::Latest),
            Version::Number(number) => {
                of.versions.get(&number).map(|kept| Resolved::Version(kept.function.clone()))
            }
        }
    }

    /// Whether there is a version or an alias of this name.
    pub fn has(&self, function: &str, qualifier: &str) -> bool {
        let snapshot = self.0.snapshot.load();
        let Some(of) = snapshot.functions.get(function) else { return false };
        match qualifier.parse() {
            Ok(Version::Latest) => true,
            Ok(Version::Number(number)) => of.versions.contains_key(&number),
            Err(_) => of.aliases.contains_key(qualifier),
        }
    }

    /// The APIs that came into being through the Lambda API: URLs of aliases. The same value as long
    /// as nothing changes.
    pub fn apis(&self) -> Arc<Vec<Arc<Api>>> {
        self.0.snapshot.load().apis.clone()
    }

    /// Told of every change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Forgets all that belongs to a function that is deleted.
    pub async fn forget(&self, function: &str) -> Result<(), StoreError> {
        let changing = self.change().await;
        for kind in OF_FUNCTIONS {
            self.0.store.delete_resources(kind, function).await?;
        }
        let gone = changing.update(|snapshot| {
            let of = snapshot.functions.remove(function);
            snapshot.apis = Arc::new(url::apis(&snapshot.functions));
            of
        });
        drop(changing);
        if gone.is_some() {
            self.discard_versions(function, None);
        }
        Ok(())
    }

    async fn change(&self) -> Changing<'_> {
        Changing { published: self, _turn: self.0.changing.lock().await }
    }

    fn of(&self, function: &str) -> Option<Arc<Of>> {
        self.0.snapshot.load().functions.get(function).cloned()
    }
}

/// The turn of whoever changes something. The store is written before the snapshot.
struct Changing<'a> {
    published: &'a Published,
    _turn: MutexGuard<'a, ()>,
}

impl Changing<'_> {
    fn update<T>(&self, change: impl FnOnce(&mut Snapshot) -> T) -> T {
        let shared = &self.published.0;
        let mut next = (**shared.snapshot.load()).clone();
        let value = change(&mut next);
        shared.snapshot.store(Arc::new(next));
        shared.changes.send_modify(|changes| *changes += 1);
        value
    }

    fn update_function<T>(&self, function: &str, change: impl FnOnce(&mut Of) -> T) -> T {
        self.update(|snapshot| {
            let value = change(Arc::make_mut(snapshot.functions.entry(function.to_owned()).or_default()));
            snapshot.apis = Arc::new(url::apis(&snapshot.functions));
            value
        })
    }

    async fn put(
        &self,
        kind: &'static str,
        owner: &str,
        name: &str,
        document: Value,
    ) -> Result<(), StoreError> {
        let key = crate::store::Key { kind, owner, name };
        self.published.0.store.put_resource(key, document).await
    }

    async fn delete(&self, kind: &'static str, owner: &str, name: &str) -> Result<bool, StoreError> {
        let key = crate::store::Key { kind, owner, name };
        self.published.0.store.delete_resource(key).await
    }

    fn next_sequence(&self) -> u64 {
        self.published.0.sequence.fetch_add(1, Ordering::Relaxed)
    }
}

/// Where the versions of a function are.
fn version_folder(state_dir: &Path, function: &str) -> PathBuf {
    state_dir.join("versions").join(function)
}

#[cfg(test)]
mod tests;

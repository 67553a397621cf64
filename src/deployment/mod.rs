//! What is deployed now, as one immutable snapshot, and how a saved file becomes the next one.
//!
//! - `discover`: what is on disk -> a deployment, or what is wrong with it.
//! - `function_yaml`: its `function.yaml`, in the words of a SAM template.
//! - `dotenv`: the `.env` beside it.
//! - `properties`: how a function is run, as `function.yaml` and templates say it.
//! - `layers`: layers by their ARNs, published here.
//! - `convention`: the routes of functions that have none.
//! - `template`: a SAM or CloudFormation template -> functions and APIs, and the way back.
//! - `declared`: what the template declares, kept while it is broken.
//! - `territory`: whose concern a path is.
//! - `yaml`, `json`: text -> a tree with line numbers.
//! - `nearest`: what may have been meant.
//! - `edit`: the writing side: what the Lambda API changes.
//! - `watch`: notices changes. The moment one is noticed, requests for that function wait; a few
//!   quiet milliseconds later its folder is read again, and they go on with what it holds now.

mod convention;
mod declared;
mod discover;
mod dotenv;
mod edit;
mod function_yaml;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod json;
mod layers;
mod nearest;
mod properties;
mod template;
mod territory;
mod watch;
mod yaml;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch as signal;

use crate::api::{Api, Authorizer, AuthorizerKind, Integration, Kind};
use crate::config::{Account, Settings, Template};
use crate::function::{Attached, Function, FunctionName};
use crate::trigger::Trigger;

pub use discover::{Discovery, Found, Problem, Severity, is_left_out};
pub use dotenv::names as dotenv_names;
pub use edit::{
    Code, ComesTo, EditError, EventChange, Events, LARGEST_TEST_EVENT, Properties, TestEvent, Written,
    is_configuration, written_in,
};
pub use template::parameters::parse_overrides;
pub use template::{Finding, Frame, Status, write as export};
use territory::{TEMPLATE, Territory};
pub use watch::{Judge, Listener, WatchError, Watcher};
pub use yaml::mistake as yaml_mistake;

/// How long a request waits, at most, for a function that is being saved. Whoever writes without a
/// pause gets what there is.
const PATIENCE: Duration = Duration::from_millis(500);

/// Everything deployed at one moment.
#[derive(Debug, Default)]
pub struct Deployment {
    pub functions: BTreeMap<FunctionName, Deployed>,
    /// What stands beside functions and is no part of a version, also of those that cannot run.
    pub attached: BTreeMap<FunctionName, Arc<Attached>>,
    /// What requests come in by.
    pub apis: Vec<Arc<Api>>,
    /// Folders that are no function, and why.
    pub problems: Vec<Problem>,
    /// What became of every resource and property of the template.
    pub findings: Vec<Finding>,
    /// The template cannot be read, and never could: nothing of it is deployed.
    pub template_failed: bool,
    /// What the functions of the handlers folder say of their routes and layers.
    surroundings: BTreeMap<FunctionName, function_yaml::Surroundings>,
}

impl Deployment {
    /// Of all functions.
    pub fn triggers(&self) -> impl Iterator<Item = &Trigger> {
        self.attached.values().flat_map(|attached| &attached.triggers)
    }

    /// Whether this qualifier of a function is spoken of: by its own properties, or by a route or an
    /// authorizer of a template, which AWS would not deploy without it.
    pub fn declares(&self, function: &str, qualifier: &str) -> bool {
        let own = self.attached.get(function).is_some_and(|attached| {
            attached.auto_publish_alias.as_deref() == Some(qualifier)
                || attached.declared_qualifiers.iter().any(|declared| declared == qualifier)
        });
        if own {
            return true;
        }
        let qualified = format!("{function}:{qualifier}");
        self.triggers().any(|trigger| trigger.function == qualified)
            || self.apis.iter().any(|api| {
                let asked = |authorizer: &Authorizer| match &authorizer.kind {
                    AuthorizerKind::Token(lambda) | AuthorizerKind::Request(lambda) => {
                        lambda.function == qualified
                    }
                    AuthorizerKind::Jwt(_) | AuthorizerKind::Cognito(_) => false,
                };
                api.routes.iter().any(|route| route.function() == Some(&*qualified))
                    || api.authorizers.values().any(asked)
            })
    }

    /// The same value as before, if nothing has changed.
    fn attach(&mut self, name: &FunctionName, attached: Attached, before: &Deployment) {
        let former = before.attached.get(name).filter(|former| ***former == attached);
        self.attached.insert(name.clone(), former.cloned().unwrap_or_else(|| Arc::new(attached)));
    }
}

/// What is read.
#[derive(Debug, Clone)]
pub struct Sources {
    /// A folder whose subfolders are functions.
    pub handlers: Option<PathBuf>,
    pub template: Option<Template>,
    pub account: Account,
    /// For files that a deployment needs and nobody has written: code that stands in a template.
    pub state_dir: PathBuf,
    pub check: Check,
}

/// Whether the gateway can do what a route asks of it: what it cannot do is refused here, by name.
pub type Check = fn(Kind, &Integration) -> Result<(), String>;

impl Sources {
    pub fn new(settings: &Settings, check: Check) -> Self {
        Self {
            handlers: settings.serves_handlers.then(|| settings.handlers.clone()),
            template: settings.template.clone(),
            account: settings.account.clone(),
            state_dir: settings.state_dir.clone(),
            check,
        }
    }

    #[cfg(test)]
    fn of_handlers(handlers: &std::path::Path) -> Self {
        Self {
            handlers: Some(handlers.to_owned()),
            template: None,
            account: Account { id: "123456789012".into(), region: "us-east-1".into() },
            state_dir: handlers.join(".handlerd"),
            check: |_, _| Ok(()),
        }
    }
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
#[derive(Debug, Default, PartialEq)]
pub struct Changes {
    pub added: Vec<FunctionName>,
    pub changed: Vec<FunctionName>,
    pub removed: Vec<FunctionName>,
    /// The template, or its routes, are others.
    pub template: bool,
    /// What became of resources and properties that are new, or are treated otherwise than before.
    pub findings: Vec<Finding>,
    /// What is wrong now and was not before.
    pub problems: Vec<Problem>,
    /// Triggers that are new, or are others now.
    pub triggers: Vec<Trigger>,
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
    sources: Sources,
    /// Whose concern a path is; what is watched changes with the deployment.
    territory: ArcSwap<Territory>,
    current: ArcSwap<Deployment>,
    discovery: Mutex<Discovery>,
    /// Functions in whose folders something has happened that is not in `current` yet.
    dirty: Mutex<HashMap<String, Dirty>>,
    dirty_count: AtomicUsize,
    /// Numbers the changes, of all functions together.
    changes: AtomicU64,
    settled: signal::Sender<u64>,
    /// Held by whoever writes to the handlers folder.
    editing: tokio::sync::Mutex<()>,
    /// Set while changes are watched for.
    ears: OnceLock<watch::Ears>,
}

/// Changes of one function, by their numbers: the last one noticed, and up to where they are deployed.
#[derive(Debug, Clone, Copy)]
struct Dirty {
    noticed: u64,
    deployed: u64,
}

impl Deployments {
    /// Reads everything for the first time.
    pub fn read(sources: Sources) -> Self {
        let mut discovery = Discovery::new(&sources);
        let deployment = discovery.all();
        Self(Arc::new(Shared {
            sources,
            territory: ArcSwap::from_pointee(discovery.territory()),
            current: ArcSwap::from_pointee(deployment),
            discovery: Mutex::new(discovery),
            dirty: Mutex::default(),
            dirty_count: AtomicUsize::new(0),
            changes: AtomicU64::new(0),
            settled: signal::Sender::new(0),
            editing: tokio::sync::Mutex::default(),
            ears: OnceLock::new(),
        }))
    }

    pub fn sources(&self) -> &Sources {
        &self.0.sources
    }

    pub fn current(&self) -> Arc<Deployment> {
        self.0.current.load_full()
    }

    /// The function of this name. If its files are changing right now, waits for them to come to
    /// rest, so that whoever saved and then asks gets what was saved.
    pub async fn resolve(&self, name: &str) -> Result<Arc<Function>, ResolveError> {
        self.hear();
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

    /// Waits for what is being saved right now, as far as it could concern a request: everything, if
    /// no function has been found for it, else that function. `true`: routes may be others now.
    pub async fn settle_routes(&self, function: Option<&str>) -> bool {
        self.hear();
        if self.0.dirty_count.load(Ordering::Acquire) == 0 {
            return false;
        }
        let before = self.current();
        match function {
            // Without its alias.
            Some(function) => self.settle(function.split(':').next().unwrap_or(function)).await,
            None => self.settle_all().await,
        }
        !Arc::ptr_eq(&before, &self.current())
    }

    /// Whether its files are not, or not any more, those of this version, so that a process that
    /// loaded them just now may have met something else.
    pub async fn is_outdated(&self, function: &Arc<Function>) -> bool {
        self.hear();
        let name = function.name.as_str();
        let current = self.current();
        let deployed = current.functions.get(name).and_then(Deployed::function);
        if !deployed.is_some_and(|deployed| Arc::ptr_eq(deployed, function))
            || self.0.dirty.lock().unwrap().contains_key(name)
        {
            return true;
        }
        // A file may be cut off for a moment before the kernel speaks of it.
        !self.is_on_disk(function).await
    }

    /// Whether its folder holds the code of this version: not if new code is held back, or being saved.
    pub async fn is_on_disk(&self, function: &Arc<Function>) -> bool {
        let (shared, function) = (self.0.clone(), function.clone());
        let look = move || shared.discovery.lock().unwrap().holds(&function);
        tokio::task::spawn_blocking(look).await.unwrap_or(true)
    }

    /// Notices what has been saved by now.
    fn hear(&self) {
        if let Some(ears) = self.0.ears.get() {
            ears.hear(self);
        }
    }

    fn listen_with(&self, ears: watch::Ears) {
        let _ = self.0.ears.set(ears);
    }

    /// Waits until all that has been noticed so far is deployed; not for what comes after it.
    async fn settle(&self, name: &str) {
        // A change of the template may concern any function.
        for name in [TEMPLATE, name] {
            let mut settled = self.0.settled.subscribe();
            let state = || self.0.dirty.lock().unwrap().get(name).copied();
            let Some(Dirty { noticed: wanted, .. }) = state() else { continue };
            let is_missing = || state().is_some_and(|dirty| dirty.deployed < wanted);
            let wait = async { while is_missing() && settled.changed().await.is_ok() {} };
            let _ = tokio::time::timeout(PATIENCE, wait).await;
        }
    }

    /// The same for everything that is being saved.
    async fn settle_all(&self) {
        let names: Vec<String> = self.0.dirty.lock().unwrap().keys().cloned().collect();
        let all = async {
            for name in &names {
                self.settle(name).await;
            }
        };
        let _ = tokio::time::timeout(PATIENCE, all).await;
    }

    /// Something has happened in this function's folder.
    fn mark_dirty(&self, name: &str) {
        let mut dirty = self.0.dirty.lock().unwrap();
        let number = self.0.changes.fetch_add(1, Ordering::Relaxed) + 1;
        dirty.entry(name.to_owned()).or_insert(Dirty { noticed: 0, deployed: number - 1 }).noticed = number;
        self.0.dirty_count.store(dirty.len(), Ordering::Release);
    }

    /// What a reading that begins now will have seen, of these functions or of all.
    fn noticed(&self, names: Option<&HashSet<String>>) -> HashMap<String, u64> {
        let dirty = self.0.dirty.lock().unwrap();
        let wanted = dirty.iter().filter(|(name, _)| names.is_none_or(|names| names.contains(*name)));
        wanted.map(|(name, dirty)| (name.clone(), dirty.noticed)).collect()
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
        self.0.territory.store(Arc::new(discovery.territory()));
        let changes = changes(&current, &deployment);
        Next { deployment, changes }
    }

    fn deploy(&self, deployment: Deployment) {
        self.0.current.store(Arc::new(deployment));
    }

    /// What was noticed by then is deployed; what was saved while it was read is not.
    fn mark_deployed(&self, noticed: &HashMap<String, u64>) {
        {
            let mut dirty = self.0.dirty.lock().unwrap();
            for (name, noticed) in noticed {
                if let Some(dirty) = dirty.get_mut(name) {
                    dirty.deployed = *noticed;
                }
            }
            dirty.retain(|_, dirty| dirty.deployed < dirty.noticed);
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
    let same_apis = before.apis.len() == after.apis.len()
        && before.apis.iter().zip(&after.apis).all(|(old, new)| Arc::ptr_eq(old, new) || old == new);
    let has_template = !before.findings.is_empty() || !after.findings.is_empty();
    changes.template = has_template && !(same_apis && before.findings == after.findings);
    // Those that only stand on another line now are no news.
    let known = |finding: &&Finding| before.findings.iter().any(|former| former.is_like(finding));
    changes.findings = after.findings.iter().filter(|finding| !known(finding)).cloned().collect();
    let known: HashSet<&str> = before.triggers().map(|trigger| trigger.name.as_str()).collect();
    let is_other = |trigger: &&Trigger| {
        // Where it stands is no news.
        let same =
            |former: &Trigger| Trigger { source: trigger.source.clone(), ..former.clone() } == **trigger;
        !known.contains(trigger.name.as_str()) || !before.triggers().any(same)
    };
    changes.triggers = after.triggers().filter(is_other).cloned().collect();
    changes.problems =
        after.problems.iter().filter(|problem| !before.problems.contains(problem)).cloned().collect();
    changes
}

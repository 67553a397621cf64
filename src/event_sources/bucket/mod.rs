//! Folders that stand for S3 buckets: `BUCKETS/NAME/` is the bucket `NAME`, if a trigger names it.
//!
//! A file that is closed after writing, or moved here, is an object that was created; one that is gone
//! was removed. What an object was like when its event was queued is kept, so that what happened while
//! the gateway was down is told at the next start: once for each object, however often it changed.
//! Files that are there when a bucket is named for the first time are no news, as on AWS.
//!
//! Events are made from what is found, not from what the kernel says, which only tells where to look.
//! An event is queued before it is remembered: a crash between the two makes it come twice, as S3's
//! may, and never not at all.

mod event;
mod folder;
mod listener;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinHandle;

use super::Surroundings;
use crate::inotify::{Happened, Inotify};
use crate::store::{ObjectChange, ObjectState, StoreError};
use crate::trigger::{Bucket, Kind, Trigger};
use event::Happening;
use folder::Look;
use listener::Listener;

/// How often files that may still be written are looked at again, and everything where the kernel
/// does not say what happens.
const AGAIN: Duration = Duration::from_millis(500);
/// Files that are looked at together, and share their way to the disk.
const BATCH: usize = 64;
/// After something could not be kept.
const PAUSE: Duration = Duration::from_secs(2);

pub fn start(surroundings: &Surroundings) -> JoinHandle<()> {
    let surroundings = surroundings.clone();
    tokio::spawn(async move {
        let run = async {
            let mut deployment = surroundings.deployment.clone();
            let wanted =
                |surroundings: &Surroundings| surroundings.triggers().iter().any(|t| bucket(t).is_some());
            // Most projects have none: nothing is watched for them.
            while !wanted(&surroundings) {
                forget_others(&surroundings, Vec::new()).await;
                if deployment.changed().await.is_err() {
                    return;
                }
            }
            match Listener::start() {
                Ok(listener) => Buckets::new(&surroundings, listener).run().await,
                Err(error) => tracing::error!("buckets are not watched: {error}"),
            }
        };
        tokio::select! {
            () = surroundings.stopped() => {}
            () = run => {}
        }
    })
}

fn bucket(trigger: &Trigger) -> Option<&Bucket> {
    match &trigger.kind {
        Kind::Bucket(bucket) if trigger.enabled => Some(bucket),
        _ => None,
    }
}

/// A bucket that nobody names begins anew when it is named again.
async fn forget_others(surroundings: &Surroundings, kept: Vec<String>) {
    if surroundings.deployment.borrow().template_failed {
        return;
    }
    if let Err(error) = surroundings.invoker.store().forget_other_buckets(kept).await {
        tracing::error!("{error}");
    }
}

struct Buckets {
    surroundings: Surroundings,
    listener: Listener,
    inotify: Arc<Inotify>,
    /// By name: those that are watched.
    known: BTreeMap<String, Known>,
    triggers: Vec<Trigger>,
    /// Files that are being written.
    open: HashSet<PathBuf>,
    /// Files to be looked at, and whether their writer has closed them.
    pending: BTreeMap<PathBuf, bool>,
    /// To be looked at when some time has passed.
    later: BTreeSet<PathBuf>,
    sequence: u64,
}

/// One bucket.
struct Known {
    folder: PathBuf,
    objects: HashMap<String, ObjectState>,
    /// It has been said why it is not seen as a whole.
    problem: Option<String>,
}

impl Buckets {
    fn new(surroundings: &Surroundings, listener: Listener) -> Self {
        Self {
            surroundings: surroundings.clone(),
            inotify: listener.inotify(),
            listener,
            known: BTreeMap::new(),
            triggers: Vec::new(),
            open: HashSet::new(),
            pending: BTreeMap::new(),
            later: BTreeSet::new(),
            sequence: 0,
        }
    }

    async fn run(&mut self) {
        let mut deployment = self.surroundings.deployment.clone();
        deployment.mark_changed();
        let mut again = tokio::time::interval(AGAIN);
        again.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let is_polling = self.known.values().any(|known| known.problem.is_some());
            tokio::select! {
                changed = deployment.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    deployment.mark_unchanged();
                    if let Err(error) = self.settle().await {
                        tracing::error!("buckets are not watched: {error}");
                        tokio::time::sleep(PAUSE).await;
                        deployment.mark_changed();
                    }
                }
                happened = self.listener.next() => {
                    for happened in happened {
                        self.hear(happened).await;
                    }
                }
                () = std::future::ready(()), if !self.pending.is_empty() => {
                    if let Err(error) = self.work().await {
                        tracing::error!("events of buckets wait: {error}");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
                _ = again.tick(), if is_polling || !self.later.is_empty() => {
                    for path in std::mem::take(&mut self.later) {
                        self.pending.entry(path).or_insert(false);
                    }
                    if is_polling {
                        self.read_all().await;
                    }
                }
            }
        }
    }

    /// Takes over the buckets that are named now.
    async fn settle(&mut self) -> Result<(), StoreError> {
        if self.surroundings.deployment.borrow().template_failed {
            return Ok(());
        }
        self.triggers = self.surroundings.triggers().into_iter().filter(|t| bucket(t).is_some()).collect();
        let named: BTreeSet<String> =
            self.triggers.iter().filter_map(bucket).map(|bucket| bucket.bucket.clone()).collect();
        self.known.retain(|name, known| {
            let stays = named.contains(name);
            if !stays {
                self.inotify.forget(&known.folder);
            }
            stays
        });
        forget_others(&self.surroundings, named.iter().cloned().collect()).await;
        for name in named {
            if !self.known.contains_key(&name) {
                let opened = self.open_bucket(&name).await;
                if opened.is_err() {
                    self.known.remove(&name);
                    return opened;
                }
            }
        }
        Ok(())
    }

    async fn open_bucket(&mut self, name: &str) -> Result<(), StoreError> {
        let folder = self.surroundings.buckets.join(name);
        // S3's own names are; no other may lead out of here.
        if name.is_empty() || name.starts_with('.') || name.contains('/') {
            tracing::error!("`{name}` is no name of a bucket");
            return Ok(());
        }
        let made = {
            let folder = folder.clone();
            tokio::task::spawn_blocking(move || std::fs::create_dir_all(folder)).await
        };
        if let Ok(Err(error)) = made {
            tracing::error!(
                "could not make {}, which stands for bucket {name}: {error}\nhint: choose another place with `--buckets`",
                folder.display()
            );
        }
        let store = self.surroundings.invoker.store().clone();
        let stored = store.objects(name).await?;
        let is_new = stored.is_none();
        let known = Known {
            folder: folder.clone(),
            objects: stored.unwrap_or_default().into_iter().collect(),
            problem: None,
        };
        self.known.insert(name.to_owned(), known);
        let files = self.read(&folder).await;
        if is_new {
            // No news, but known from now on; in one go, so that a crash makes none of them news.
            let objects = tokio::task::spawn_blocking({
                let folder = folder.clone();
                move || {
                    let look = |path: PathBuf| match folder::look(&path, None, true) {
                        Look::Object(state) => Some((folder::key(&folder, &path)?, state)),
                        _ => None,
                    };
                    files.into_iter().filter_map(look).collect::<Vec<_>>()
                }
            });
            let objects = objects.await.unwrap_or_default();
            let changes = objects.iter().map(|(key, state)| (key.clone(), Some(state.clone()))).collect();
            store.change_objects(name, changes).await?;
            if let Some(known) = self.known.get_mut(name) {
                known.objects = objects.into_iter().collect();
            }
        } else {
            self.compare(name, files);
        }
        tracing::info!("bucket {name} is {}", folder.display());
        Ok(())
    }

    /// What is in a folder of a bucket; from now on it is watched.
    async fn read(&mut self, folder: &Path) -> Vec<PathBuf> {
        let (inotify, path) = (self.inotify.clone(), folder.to_owned());
        let contents = tokio::task::spawn_blocking(move || folder::contents(&path, Some(&inotify))).await;
        let contents = contents.unwrap_or_default();
        if let Some(known) = self.known.values_mut().find(|known| folder.starts_with(&known.folder))
            && known.problem != contents.problem
            && (contents.problem.is_some() || folder == known.folder)
        {
            if let Some(problem) = &contents.problem {
                tracing::warn!("{problem}");
            }
            known.problem = contents.problem;
        }
        contents.files
    }

    /// All that may differ from what is known is to be looked at.
    fn compare(&mut self, name: &str, files: Vec<PathBuf>) {
        let Some(known) = self.known.get(name) else { return };
        let gone = known.objects.keys().map(|key| known.folder.join(key));
        for path in files.into_iter().chain(gone) {
            if !self.open.contains(&path) {
                self.pending.entry(path).or_insert(false);
            }
        }
    }

    async fn read_all(&mut self) {
        let folders: Vec<(String, PathBuf)> =
            self.known.iter().map(|(name, known)| (name.clone(), known.folder.clone())).collect();
        for (name, folder) in folders {
            let files = self.read(&folder).await;
            self.compare(&name, files);
        }
    }

    async fn hear(&mut self, happened: Happened) {
        match happened {
            Happened::Begun(path) => {
                self.pending.remove(&path);
                // Links and the like are begun and never closed.
                if self.open.len() >= folder::MOST_FILES {
                    self.open.clear();
                }
                self.open.insert(path);
            }
            Happened::Changed(path) => {
                self.open.remove(&path);
                self.pending.insert(path, true);
            }
            Happened::Adjusted(_) => {}
            // The folder itself is gone; it may come again.
            Happened::Replaced(path) if self.known.values().any(|known| known.folder == path) => {
                self.read_all().await;
            }
            Happened::Replaced(path) => {
                self.open.remove(&path);
                // A folder: all that was in it, and all that is now.
                let below = self.bucket_of(&path).map(|(name, known)| {
                    let keys = known.objects.keys().map(|key| known.folder.join(key));
                    (name.to_owned(), keys.filter(|known| known.starts_with(&path)).collect::<Vec<_>>())
                });
                if let Some((_, below)) = below {
                    self.pending.extend(below.into_iter().map(|path| (path, true)));
                }
                self.pending.insert(path, true);
            }
            Happened::Lost => {
                self.open.clear();
                self.read_all().await;
            }
        }
    }

    fn bucket_of(&self, path: &Path) -> Option<(&str, &Known)> {
        let found = self.known.iter().find(|(_, known)| path.starts_with(&known.folder));
        found.map(|(name, known)| (name.as_str(), known))
    }

    /// Looks at some of the files, and makes events of what is new about them.
    async fn work(&mut self) -> Result<(), StoreError> {
        let mut looks = Vec::new();
        while looks.len() < BATCH
            && let Some((path, heard)) = self.pending.pop_first()
        {
            let Some((name, known)) = self.bucket_of(&path).filter(|_| !self.open.contains(&path)) else {
                continue;
            };
            let Some(key) = folder::key(&known.folder, &path) else { continue };
            looks.push((name.to_owned(), key.clone(), path, heard, known.objects.get(&key).cloned()));
        }
        let looked = tokio::task::spawn_blocking(move || {
            let look =
                |(name, key, path, heard, known): (String, String, PathBuf, bool, Option<ObjectState>)| {
                    let found = folder::look(&path, known.as_ref(), heard);
                    (name, key, path, heard, known, found)
                };
            looks.into_iter().map(look).collect::<Vec<_>>()
        });
        let mut news: BTreeMap<String, Vec<(ObjectChange, PathBuf)>> = BTreeMap::new();
        for (name, key, path, heard, known, found) in looked.await.unwrap_or_default() {
            let now = match found {
                Look::Object(state) => Some(state),
                Look::Nothing => None,
                Look::Folder => {
                    let files = self.read(&path).await;
                    for path in files {
                        self.pending.entry(path).or_insert(false);
                    }
                    None
                }
                Look::Unsettled => {
                    // Whoever writes will close it; if that was missed, time will tell.
                    if !self.open.contains(&path) {
                        self.later.insert(path);
                    }
                    continue;
                }
            };
            if now != known {
                news.entry(name).or_default().push(((key, now), path));
            } else if heard && now.is_some() {
                // Written again with the same content, within one tick of the clock: no news.
                tracing::debug!("{} is as it was", path.display());
            }
        }
        for (name, changes) in news {
            if let Err(error) =
                self.tell(&name, changes.iter().map(|(change, _)| change.clone()).collect()).await
            {
                self.pending.extend(changes.into_iter().map(|(_, path)| (path, true)));
                return Err(error);
            }
        }
        Ok(())
    }

    /// Queues the events, all together, then remembers.
    async fn tell(&mut self, name: &str, changes: Vec<ObjectChange>) -> Result<(), StoreError> {
        let region = self.surroundings.invoker.account().region.clone();
        let mut accepting = tokio::task::JoinSet::new();
        for (key, object) in &changes {
            let now = Timestamp::now();
            // Grows even if the clock does not.
            self.sequence = (self.sequence + 1).max(now.as_nanosecond().max(0) as u64);
            let happening =
                Happening { bucket: name, key, object: object.as_ref(), time: now, sequence: self.sequence };
            for trigger in &self.triggers {
                let Some(wanted) = bucket(trigger) else { continue };
                let fits = wanted.bucket == name
                    && wanted.events.iter().any(|wanted| happening.is_meant(wanted))
                    && wanted.prefix.as_ref().is_none_or(|prefix| key.starts_with(prefix.as_str()))
                    && wanted.suffix.as_ref().is_none_or(|suffix| key.ends_with(suffix.as_str()));
                if !fits {
                    continue;
                }
                let mut invocation = self.surroundings.invocation(&trigger.function, Vec::new());
                invocation.event = happening.event(&trigger.name, &region, &invocation.request_id);
                let (invoker, function) = (self.surroundings.invoker.clone(), trigger.function.clone());
                let what = format!("{}: {name}/{key}", happening.name());
                accepting.spawn(async move {
                    match invoker.accept(&function, invocation).await {
                        Ok(()) => tracing::info!("{what} invokes {function}"),
                        Err(crate::invoker::AcceptError::Store(error)) => return Err(error),
                        Err(error) => tracing::error!("{what} could not invoke {function}: {error}"),
                    }
                    Ok(())
                });
            }
        }
        while let Some(accepted) = accepting.join_next().await {
            accepted.unwrap_or(Ok(()))?;
        }
        self.surroundings.invoker.store().change_objects(name, changes.clone()).await?;
        if let Some(known) = self.known.get_mut(name) {
            for (key, object) in changes {
                match object {
                    Some(object) => drop(known.objects.insert(key, object)),
                    None => drop(known.objects.remove(&key)),
                }
            }
        }
        Ok(())
    }
}

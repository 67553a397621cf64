//! Notices that a function's folder has changed.
//!
//! Directories are watched, one by one, never files: editors replace files. Virtual environments and
//! caches are not watched at all. An event means only "look again": what counts is the content, by
//! hash. A directory is watched before it is read, so nothing falls between the two.
//!
//! Two threads: one hears what the kernel has to say (requests do too, see `inotify`), the other
//! waits for the writing to come to rest and deploys.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::territory::{Concern, TEMPLATE};
use super::{Changes, Deployment, Deployments};
use crate::inotify::{Happened, Inotify};

/// An editor's last write is followed by this much quiet before the folder is read.
const QUIET: Duration = Duration::from_millis(3);
/// A folder that never comes to rest, or a file that is not closed, is read all the same.
const LONGEST: Duration = Duration::from_millis(150);
/// How often everything is read where the kernel gives no events.
const POLL: Duration = Duration::from_millis(500);
/// What has been heard and not been looked at; beyond that everything is looked at.
const UNREAD: usize = 4096;

#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    #[error("could not watch for changes: {0}")]
    Start(#[from] std::io::Error),
}

/// Asked before a new snapshot is deployed; may hold back what does not work.
pub type Judge = Box<dyn Fn(&Deployment, &mut Deployment, &Changes) + Send>;
/// Told after a new snapshot is deployed.
pub type Listener = Box<dyn Fn(&Deployment, &Changes) + Send>;

/// Watches as long as it is held.
pub struct Watcher {
    stop: Sender,
    inotify: Arc<Inotify>,
    threads: Vec<JoinHandle<()>>,
}

enum Message {
    Happened(Happened),
    /// Only to look whether there is something in `Sender`, or whether it is time to.
    Look,
}

/// Never waits: what there is no room for is summed up.
#[derive(Clone)]
struct Sender {
    messages: SyncSender<Message>,
    summary: Arc<Summary>,
}

#[derive(Default)]
struct Summary {
    /// Something was said that there was no room for.
    lost: AtomicBool,
    stop: AtomicBool,
}

impl Sender {
    fn send(&self, happened: Happened) {
        if let Err(TrySendError::Full(_)) = self.messages.try_send(Message::Happened(happened)) {
            // Whoever reads will come upon it after what is there.
            self.summary.lost.store(true, Ordering::Release);
        }
    }

    fn stop(&self) {
        self.summary.stop.store(true, Ordering::Release);
        // If there is no room, the thread is awake.
        let _ = self.messages.try_send(Message::Look);
    }
}

impl Watcher {
    pub fn start(deployments: Deployments, judge: Judge, listener: Listener) -> Result<Self, WatchError> {
        let (messages, receiver) = mpsc::sync_channel(UNREAD);
        let summary = Arc::<Summary>::default();
        let sender = Sender { messages, summary: summary.clone() };
        let inotify = Arc::new(Inotify::new()?);
        let ears = Ears { inotify: inotify.clone(), sender: sender.clone() };
        let mut thread = Thread {
            deployments: deployments.clone(),
            inotify: inotify.clone(),
            receiver,
            summary,
            watched: HashSet::new(),
            polling: false,
            judge,
            listener,
        };
        // Whatever was saved between the first reading and now is seen by this one.
        thread.look_again(None);
        deployments.listen_with(ears);
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.into()).spawn(run)
        };
        let threads = vec![
            spawn("watcher", Box::new(move || thread.run()))?,
            spawn("listener", {
                let inotify = inotify.clone();
                Box::new(move || {
                    while inotify.wait() {
                        deployments.hear();
                    }
                })
            })?,
        ];
        Ok(Self { stop: sender, inotify, threads })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.stop();
        self.inotify.stop();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Hears of changes and passes on those that concern a function.
pub(super) struct Ears {
    inotify: Arc<Inotify>,
    sender: Sender,
}

impl Ears {
    /// Has a path looked at that we have changed ourselves: the kernel may say so later, or never.
    pub(super) fn tell(&self, path: &std::path::Path) {
        self.sender.send(Happened::Replaced(path.to_owned()));
    }

    /// From the moment this returns, requests for a function that has changed wait.
    pub(super) fn hear(&self, deployments: &Deployments) {
        self.inotify.hear(|happened| {
            if let Happened::Begun(path)
            | Happened::Changed(path)
            | Happened::Adjusted(path)
            | Happened::Replaced(path) = &happened
            {
                match deployments.0.territory.load().concern(path) {
                    Concern::Nobody => return,
                    Concern::Everybody => {}
                    Concern::These(_) if crate::defences::off("requests-wait-for-saves") => {}
                    Concern::These(names) => names.iter().for_each(|name| deployments.mark_dirty(name)),
                }
            }
            self.sender.send(happened);
        });
    }
}

struct Thread {
    deployments: Deployments,
    inotify: Arc<Inotify>,
    receiver: Receiver<Message>,
    summary: Arc<Summary>,
    watched: HashSet<PathBuf>,
    /// Set when the kernel has run out of watches, or the handlers folder is gone.
    polling: bool,
    judge: Judge,
    listener: Listener,
}

impl Thread {
    fn run(&mut self) {
        loop {
            let first = if self.polling && !crate::defences::off("polling-without-watches") {
                match self.receiver.recv_timeout(POLL) {
                    Ok(message) => message,
                    Err(RecvTimeoutError::Timeout) => Message::Look,
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            } else {
                match self.receiver.recv() {
                    Ok(message) => message,
                    Err(_) => return,
                }
            };
            let Some(names) = self.collect(first) else { return };
            match &names {
                Some(names) if names.is_empty() => {}
                names => self.look_again(names.as_ref()),
            }
        }
    }

    /// Names whose folders have come to rest; `Some(None)` is all of them, `None` the end.
    fn collect(&mut self, first: Message) -> Option<Option<HashSet<String>>> {
        let mut names = HashSet::new();
        // Of what the kernel does not tell nothing is known but that it may be another.
        let mut everything = self.polling;
        let mut open = HashSet::new();
        let began = Instant::now();
        let mut next = Some(first);
        while let Some(message) = next.take() {
            let path = match message {
                Message::Look => None,
                Message::Happened(Happened::Lost) => {
                    self.summary.lost.store(true, Ordering::Release);
                    None
                }
                Message::Happened(Happened::Begun(path)) => {
                    open.insert(path.clone());
                    Some(path)
                }
                Message::Happened(Happened::Changed(path) | Happened::Adjusted(path)) => {
                    open.remove(&path);
                    Some(path)
                }
                Message::Happened(Happened::Replaced(path)) => {
                    open.remove(&path);
                    // Another directory may stand there now; the watch was on the former one.
                    self.watched.retain(|watched| !watched.starts_with(&path));
                    Some(path)
                }
            };
            if let Some(path) = path {
                match self.deployments.0.territory.load().concern(&path) {
                    Concern::These(those) => names.extend(those),
                    Concern::Nobody | Concern::Everybody => everything = true,
                }
            }
            let left = LONGEST.saturating_sub(began.elapsed());
            if !left.is_zero() {
                next = self.receiver.recv_timeout(if open.is_empty() { QUIET } else { left }).ok();
            }
        }
        if self.summary.stop.load(Ordering::Acquire) {
            return None;
        }
        if self.summary.lost.swap(false, Ordering::AcqRel)
            && !crate::defences::off("reading-again-after-overflow")
        {
            // Other directories may stand anywhere now.
            self.watched.clear();
            everything = true;
        }
        Some(if everything || names.contains(TEMPLATE) { None } else { Some(names) })
    }

    fn look_again(&mut self, names: Option<&HashSet<String>>) {
        let before = self.deployments.current();
        let began = Instant::now();
        let (noticed, next) = loop {
            let noticed = self.deployments.noticed(names);
            let mut next = self.deployments.reread(names);
            // A directory found just now may have got files before it was watched.
            while self.watch_all() {
                next = self.deployments.reread(names);
            }
            // What was written to while it was read may have been read half.
            self.deployments.hear();
            if self.deployments.noticed(names) == noticed || began.elapsed() > LONGEST {
                break (noticed, next);
            }
            std::thread::sleep(QUIET);
        };
        let mut deployment = next.deployment;
        (self.judge)(&before, &mut deployment, &next.changes);
        // What it held back is no change.
        let changes = super::changes(&before, &deployment);
        self.deployments.deploy(deployment);
        self.deployments.mark_deployed(&noticed);
        (self.listener)(&self.deployments.current(), &changes);
    }

    /// Watches every directory that belongs to a function. `true` if one was new.
    fn watch_all(&mut self) -> bool {
        let (folders, roots) = {
            let discovery = self.deployments.0.discovery.lock().unwrap();
            // A layer that is waited for will come below this folder.
            let all_layers = discovery.awaited().first().and_then(|layer| layer.ancestors().nth(2));
            if let Some(Err(error)) = all_layers.map(std::fs::create_dir_all) {
                tracing::warn!("could not make a folder for layers: {error}");
            }
            (discovery.folders(), discovery.roots())
        };
        let absolute = |folder: PathBuf| std::path::absolute(&folder).unwrap_or(folder);
        let mut new = false;
        for folder in folders {
            let folder = absolute(folder);
            if self.watched.contains(&folder) {
                continue;
            }
            match self.inotify.watch(&folder) {
                Ok(()) => new |= self.watched.insert(folder),
                Err(error) => {
                    if folder.exists() && !self.polling {
                        let interval = POLL.as_millis();
                        tracing::warn!(
                            "could not watch {}: {error}; all functions are looked at every {interval} ms instead\n\
                             hint: raise fs.inotify.max_user_watches",
                            folder.display()
                        );
                        self.polling = true;
                    }
                }
            }
        }
        if !roots.into_iter().all(|root| self.watched.contains(&absolute(root))) {
            self.polling = true;
        }
        new
    }
}

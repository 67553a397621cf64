//! Notices that a function's folder has changed.
//!
//! Directories are watched, one by one, never files: editors replace files. Virtual environments and
//! caches are not watched at all. An event means only "look again": what counts is the content, by
//! hash. A directory is watched before it is read, so nothing falls between the two.

use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::{Changes, Deployment, Deployments, discover};

/// An editor's last write is followed by this much quiet before the folder is read.
const QUIET: Duration = Duration::from_millis(3);
/// A folder that never comes to rest is read all the same.
const LONGEST: Duration = Duration::from_millis(150);
/// How often everything is read where the kernel gives no events.
const POLL: Duration = Duration::from_millis(500);

#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    #[error("could not watch for changes: {0}")]
    Start(#[from] notify::Error),
}

/// Asked before a new snapshot is deployed; may hold back what does not work.
pub type Judge = Box<dyn Fn(&Deployment, &mut Deployment, &Changes) + Send>;
/// Told after a new snapshot is deployed.
pub type Listener = Box<dyn Fn(&Deployment, &Changes) + Send>;

/// Watches as long as it is held.
pub struct Watcher {
    stop: Sender<Message>,
    thread: Option<std::thread::JoinHandle<()>>,
}

enum Message {
    /// Something happened to this path.
    Path {
        path: PathBuf,
        replaced: bool,
    },
    /// Events were lost.
    Everything,
    Stop,
}

impl Watcher {
    pub fn start(deployments: Deployments, judge: Judge, listener: Listener) -> Result<Self, WatchError> {
        let (sender, receiver) = mpsc::channel();
        let events = EventFilter {
            deployments: deployments.clone(),
            root: root(&deployments),
            sender: sender.clone(),
        };
        let notify = notify::recommended_watcher(move |event| events.hear(event))?;
        let mut thread = Thread {
            deployments,
            notify,
            receiver,
            watched: HashSet::new(),
            polling: false,
            judge,
            listener,
        };
        // Whatever was saved between the first reading and now is seen by this one.
        thread.look_again(None);
        let thread = std::thread::Builder::new()
            .name("watcher".into())
            .spawn(move || thread.run())
            .map_err(notify::Error::io)?;
        Ok(Self { stop: sender, thread: Some(thread) })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.stop.send(Message::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Events name paths below the real folder.
fn root(deployments: &Deployments) -> PathBuf {
    std::path::absolute(deployments.handlers()).unwrap_or_else(|_| deployments.handlers().to_owned())
}

/// Runs on the notifier's thread, right after the kernel has spoken.
struct EventFilter {
    deployments: Deployments,
    root: PathBuf,
    sender: Sender<Message>,
}

impl EventFilter {
    fn hear(&self, event: notify::Result<notify::Event>) {
        let event = match event {
            Ok(event) if event.need_rescan() => return self.everything(),
            Ok(event) => event,
            Err(error) => {
                tracing::warn!("watching for changes: {error}");
                return self.everything();
            }
        };
        let replaced = match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
            EventKind::Access(_) => return,
            EventKind::Modify(ModifyKind::Name(_)) | EventKind::Create(_) | EventKind::Remove(_) => true,
            _ => false,
        };
        for path in event.paths {
            let Some(names) = names(&self.root, &path) else { continue };
            if names.iter().any(|name| discover::is_left_out(name)) {
                continue;
            }
            if let Some(function) = names.first() {
                // From here on requests for it wait.
                self.deployments.mark_dirty(function);
            }
            let _ = self.sender.send(Message::Path { path, replaced });
        }
    }

    fn everything(&self) {
        let _ = self.sender.send(Message::Everything);
    }
}

/// The path below the handlers folder, name by name; `None` for what is elsewhere.
fn names(root: &Path, path: &Path) -> Option<Vec<String>> {
    let relative = path.strip_prefix(root).ok()?;
    Some(
        relative
            .components()
            .filter_map(|component| match component {
                Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
                _ => None,
            })
            .collect(),
    )
}

struct Thread {
    deployments: Deployments,
    notify: RecommendedWatcher,
    receiver: Receiver<Message>,
    watched: HashSet<PathBuf>,
    /// Set when the kernel has run out of watches, or the handlers folder is gone.
    polling: bool,
    judge: Judge,
    listener: Listener,
}

impl Thread {
    fn run(&mut self) {
        loop {
            let first = if self.polling {
                match self.receiver.recv_timeout(POLL) {
                    Ok(message) => message,
                    Err(RecvTimeoutError::Timeout) => Message::Everything,
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
        let root = root(&self.deployments);
        let mut names = HashSet::new();
        let mut everything = false;
        let began = Instant::now();
        let mut next = Some(first);
        while let Some(message) = next.take() {
            match message {
                Message::Stop => return None,
                Message::Everything => everything = true,
                Message::Path { path, replaced } => {
                    if replaced {
                        // Another directory may stand there now; the watch was on the former one.
                        self.watched.retain(|watched| !watched.starts_with(&path));
                    }
                    match self::names(&root, &path).and_then(|names| names.into_iter().next()) {
                        Some(name) => drop(names.insert(name)),
                        None => everything = true,
                    }
                }
            }
            if began.elapsed() < LONGEST {
                next = self.receiver.recv_timeout(QUIET).ok();
            }
        }
        Some(if everything { None } else { Some(names) })
    }

    fn look_again(&mut self, names: Option<&HashSet<String>>) {
        let before = self.deployments.current();
        let mut next = self.deployments.reread(names);
        // A directory found just now may have got files before it was watched.
        while self.watch_all() {
            next = self.deployments.reread(names);
        }
        let mut deployment = next.deployment;
        (self.judge)(&before, &mut deployment, &next.changes);
        self.deployments.deploy(deployment);
        self.deployments.mark_clean(names);
        (self.listener)(&self.deployments.current(), &next.changes);
    }

    /// Watches every directory that belongs to a function. `true` if one was new.
    fn watch_all(&mut self) -> bool {
        let folders = self.deployments.0.discovery.lock().unwrap().folders();
        let mut new = false;
        for folder in folders {
            let folder = std::path::absolute(&folder).unwrap_or(folder);
            if self.watched.contains(&folder) {
                continue;
            }
            match self.notify.watch(&folder, RecursiveMode::NonRecursive) {
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
        let root_is_there = self.watched.contains(&root(&self.deployments));
        if !root_is_there {
            self.polling = true;
        }
        new
    }
}

//! What the kernel has to say about folders. Linux only.
//!
//! It is asked by whoever needs to know, and not only by a thread that runs some time later: a
//! request that begins after a save has returned finds the save here, because the kernel has queued
//! it by then. That is why this speaks to the kernel itself and not through a library, whose queue
//! is emptied by a thread of its own.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::hash::BuildHasher;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rustix::event::{EventfdFlags, PollFd, PollFlags};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

/// What happened to a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happened {
    /// It is being written; whoever does has not closed it.
    Begun(PathBuf),
    /// It is as its writer left it.
    Changed(PathBuf),
    /// Its owner, mode or times are others; whoever writes it may not have closed it.
    Adjusted(PathBuf),
    /// Something else stands there now, or nothing.
    Replaced(PathBuf),
    /// The kernel had more to say than it could keep.
    Lost,
}

/// Of an event without a name: `struct inotify_event`.
const SMALLEST_EVENT: u64 = 16;

pub struct Inotify {
    descriptor: OwnedFd,
    stop: OwnedFd,
    folders: Mutex<Folders>,
}

#[derive(Default)]
struct Folders {
    /// Through symbolic links one folder may have several paths.
    by_watch: HashMap<i32, Vec<PathBuf>>,
    by_path: HashMap<PathBuf, i32>,
}

impl Inotify {
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            descriptor: inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?,
            stop: rustix::event::eventfd(0, EventfdFlags::CLOEXEC)?,
            folders: Mutex::default(),
        })
    }

    /// From now on; what is in the folder already is for the caller to read.
    pub fn watch(&self, folder: &Path) -> std::io::Result<()> {
        let kinds = WatchFlags::MODIFY
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::ATTRIB
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        let mut folders = self.folders.lock().unwrap();
        let watch = inotify::add_watch(&self.descriptor, folder, kinds)?;
        if let Some(former) = folders.by_path.insert(folder.to_owned(), watch)
            && former != watch
            && let Some(paths) = folders.by_watch.get_mut(&former)
        {
            paths.retain(|path| path != folder);
            if paths.is_empty() {
                folders.by_watch.remove(&former);
                let _ = inotify::remove_watch(&self.descriptor, former);
            }
        }
        let paths = folders.by_watch.entry(watch).or_default();
        if !paths.iter().any(|path| path == folder) {
            paths.push(folder.to_owned());
        }
        Ok(())
    }

    /// Tells `listener` all that has happened since the last time, without waiting. When this
    /// returns, everything that the kernel knew when it was called has been told, to whichever
    /// caller; what comes meanwhile is left for the next time, or a folder that never comes to rest
    /// would keep the caller here for ever.
    pub fn hear(&self, mut listener: impl FnMut(Happened)) {
        let mut folders = self.folders.lock().unwrap();
        // In bytes, so there cannot be more events than this comes to.
        let Ok(waiting) = rustix::io::ioctl_fionread(&self.descriptor) else {
            return listener(Happened::Lost);
        };
        if waiting == 0 {
            return;
        }
        let most = waiting.div_ceil(SMALLEST_EVENT);
        let mut told = 0;
        // What happens to the same place again and again is told once.
        let mut latest = HashMap::new();
        let hasher = std::hash::RandomState::new();
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.descriptor, &mut buffer);
        // What is in the buffer the kernel will not say again.
        while told < most || !reader.is_buffer_empty() {
            told += 1;
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return,
                Err(_) => return listener(Happened::Lost),
            };
            let kind = event.events();
            if kind.contains(ReadFlags::QUEUE_OVERFLOW) {
                listener(Happened::Lost);
                continue;
            }
            if kind.contains(ReadFlags::IGNORED) {
                for path in folders.by_watch.remove(&event.wd()).unwrap_or_default() {
                    folders.by_path.remove(&path);
                }
                continue;
            }
            let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
            let is_folder = kind.contains(ReadFlags::ISDIR);
            let (number, happened): (u8, fn(PathBuf) -> Happened) = match () {
                () if kind.contains(ReadFlags::MODIFY) => (0, Happened::Begun),
                () if kind.contains(ReadFlags::CREATE) && !is_folder => (0, Happened::Begun),
                () if kind.contains(ReadFlags::CLOSE_WRITE) => (1, Happened::Changed),
                () if kind.contains(ReadFlags::ATTRIB) => (2, Happened::Adjusted),
                () => (3, Happened::Replaced),
            };
            let place = hasher.hash_one((event.wd(), name));
            if latest.insert(place, number) == Some(number) {
                continue;
            }
            for folder in folders.by_watch.get(&event.wd()).into_iter().flatten() {
                listener(happened(name.map_or_else(|| folder.clone(), |name| folder.join(name))));
            }
        }
    }

    /// Waits until there is something to hear; `false` after [`Inotify::stop`].
    pub fn wait(&self) -> bool {
        loop {
            let mut ready =
                [PollFd::new(&self.descriptor, PollFlags::IN), PollFd::new(&self.stop, PollFlags::IN)];
            match rustix::event::poll(&mut ready, None) {
                Ok(_) => return ready[1].revents().is_empty(),
                Err(Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    }

    /// What happens in this folder is not of interest any more.
    pub fn forget(&self, folder: &Path) {
        let mut folders = self.folders.lock().unwrap();
        let Some(watch) = folders.by_path.remove(folder) else { return };
        let Some(paths) = folders.by_watch.get_mut(&watch) else { return };
        paths.retain(|path| path != folder);
        if paths.is_empty() {
            folders.by_watch.remove(&watch);
            let _ = inotify::remove_watch(&self.descriptor, watch);
        }
    }

    pub fn stop(&self) {
        let _ = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_save_is_heard_as_soon_as_it_has_returned() {
        let folder = tempfile::tempdir().unwrap();
        let inotify = Inotify::new().unwrap();
        inotify.watch(folder.path()).unwrap();
        let heard = || {
            let mut heard = Vec::new();
            inotify.hear(|happened| heard.push(happened));
            heard
        };
        let file = folder.path().join("x.py");
        for round in 0..1000 {
            std::fs::write(&file, "x").unwrap();
            // That it is closed too may be heard later: a process that was forked just now, by
            // another test, may hold it open.
            assert!(heard().contains(&Happened::Begun(file.clone())), "{round}");
        }
        std::fs::rename(&file, folder.path().join("y.py")).unwrap();
        let heard = heard();
        for name in ["x.py", "y.py"] {
            assert!(heard.contains(&Happened::Replaced(folder.path().join(name))), "{heard:?}");
        }
        inotify.stop();
        assert!(!inotify.wait());
    }

    #[test]
    fn a_folder_that_never_comes_to_rest_keeps_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let inotify = Inotify::new().unwrap();
        inotify.watch(folder.path()).unwrap();
        std::fs::write(folder.path().join("0"), "x").unwrap();
        // Whatever is told makes more happen.
        let mut heard = 0;
        for _ in 0..3 {
            inotify.hear(|_| {
                heard += 1;
                std::fs::write(folder.path().join(heard.to_string()), "x").unwrap();
                assert!(heard < 10_000, "it would go on for ever");
            });
        }
        // Nothing of it is lost.
        let latest = folder.path().join(heard.to_string());
        let mut told = false;
        inotify.hear(|happened| told |= happened == Happened::Begun(latest.clone()));
        assert!(told && heard > 3, "{heard}");
    }
}

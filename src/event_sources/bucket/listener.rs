//! A thread that waits for what the kernel has to say about folders.

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::mpsc;

use crate::inotify::{Happened, Inotify};

/// Of what has been heard and not been asked for; the kernel keeps some more, then says that it lost.
const WAITING: usize = 64;

/// Listens as long as it is held.
pub struct Listener {
    inotify: Arc<Inotify>,
    heard: mpsc::Receiver<Vec<Happened>>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    pub fn start() -> std::io::Result<Self> {
        let inotify = Arc::new(Inotify::new()?);
        let (sender, heard) = mpsc::channel(WAITING);
        let ear = inotify.clone();
        let thread = std::thread::Builder::new().name("buckets".to_owned()).spawn(move || {
            while ear.wait() {
                // Passed on after it has all been heard: whoever waits for this lock may be the one
                // who is to take it.
                let mut happened = Vec::new();
                ear.hear(|one| happened.push(one));
                if !happened.is_empty() && sender.blocking_send(happened).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { inotify, heard, thread: Some(thread) })
    }

    pub fn inotify(&self) -> Arc<Inotify> {
        self.inotify.clone()
    }

    /// What happened next. Nothing is lost if this is not waited for to its end.
    pub async fn next(&mut self) -> Vec<Happened> {
        match self.heard.recv().await {
            Some(happened) => happened,
            // The thread has ended; there is nothing to hear any more.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.heard.close();
        self.inotify.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

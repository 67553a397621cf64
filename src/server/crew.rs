//! The threads that serve the routes. One is enough for a few cores: it has little to compute beside what
//! handlers compute. Where there are many cores it would be what all of them wait for, so that it gets help.
//!
//! Each thread has a runtime, connections and execution environments of its own, and lends environments
//! that are idle to the others. All that is not a request's work stays with the first.

use std::io;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

use crate::execution_environment;
use crate::http::Threads;

/// So many cores keep one thread busy: a handler computes longer than the gateway does for it.
const CORES_FOR_ONE: usize = 4;

/// How many threads serve, unless somebody says.
pub fn usual_threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores / CORES_FOR_ONE).max(1)
}

/// A runtime of the thread that runs it: tasks that never move between cores cost a tenth less.
pub fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .on_thread_park(execution_environment::before_sleep)
        .on_thread_unpark(execution_environment::after_sleep)
        .build()
}

/// The threads beside the first. They end when this is dropped.
pub struct Crew(Vec<Member>);

struct Member {
    runtime: Handle,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Crew {
    /// So many threads in all, with the one that calls.
    pub fn start(threads: usize) -> io::Result<Self> {
        (1..threads).map(Member::start).collect::<io::Result<_>>().map(Self)
    }

    /// All of them, for whoever has connections to deal out.
    pub fn threads(&self) -> Threads {
        let others = self.0.iter().map(|member| member.runtime.clone());
        Threads::new([Handle::current()].into_iter().chain(others))
    }
}

impl Member {
    fn start(number: usize) -> io::Result<Self> {
        let runtime = runtime()?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel::<()>();
        let serve = async move {
            if let Err(error) = execution_environment::hang_up_bell() {
                tracing::warn!("a thread of the gateway hears answers by way of the first one: {error}");
            }
            let _ = ended.await;
        };
        let thread = std::thread::Builder::new().name(format!("gateway-{number}"));
        let thread = thread.spawn(move || runtime.block_on(serve))?;
        Ok(Self { runtime: handle, end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

//! Which thread a connection belongs to, from its first byte to its last: connections are dealt out among
//! those there are, and never move.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::runtime::Handle;

/// The threads that serve connections, the one that accepts them among them.
#[derive(Clone)]
pub struct Threads(Arc<[Thread]>);

struct Thread {
    runtime: Handle,
    connections: AtomicUsize,
}

/// A connection's thread, for as long as it is open.
pub(super) struct Seat {
    threads: Threads,
    number: usize,
}

impl Threads {
    /// Each is a runtime of one thread, the first one the one that accepts.
    pub fn new(runtimes: impl IntoIterator<Item = Handle>) -> Self {
        let thread = |runtime| Thread { runtime, connections: AtomicUsize::new(0) };
        Self(runtimes.into_iter().map(thread).collect())
    }

    /// On the one with the fewest.
    pub(super) fn seat(&self) -> Seat {
        let fewest = (0..self.0.len()).min_by_key(|number| self.0[*number].connections.load(Relaxed));
        let number = fewest.unwrap_or_default();
        self.0[number].connections.fetch_add(1, Relaxed);
        Seat { threads: self.clone(), number }
    }
}

impl Seat {
    /// `None`: on the thread that has accepted it.
    pub(super) fn elsewhere(&self) -> Option<&Handle> {
        (self.number > 0).then(|| &self.threads.0[self.number].runtime)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.threads.0[self.number].connections.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_are_dealt_out_evenly() {
        let threads = Threads::new([(); 3].map(|()| Handle::current()));
        let mut seats: Vec<Seat> = (0..6).map(|_| threads.seat()).collect();
        assert_eq!(seats.iter().map(|seat| seat.number).collect::<Vec<_>>(), [0, 1, 2, 0, 1, 2]);
        seats.remove(4);
        assert_eq!(threads.seat().number, 1, "where one has ended");
    }
}

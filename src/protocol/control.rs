//! Gateway <-> whoever forks: a zygote, or a template (SnapStart). Rare messages (one per environment), so
//! they are JSON; file descriptors travel beside them.
//!
//! What a zygote says is believed. A template has run a function's own code, so what it says is hostile.

use serde::{Deserialize, Serialize};

use super::isolation::{InForce, Paths};

/// The descriptor under which the zygote finds its end of the control socket.
pub const CONTROL_FD: i32 = 3;

/// Names the modules to import ahead, in the zygote's own environment.
pub const PRELOAD_VARIABLE: &str = "HANDLERD_ZYGOTE_PRELOAD";

/// A message never exceeds this: environment variables are limited to 4 KB by Lambda's rule, paths
/// by the kernel. Both sides read into a buffer of this size.
pub const MAX_MESSAGE: usize = 128 * 1024;

/// How many descriptors travel with a [`Fork`]: the pipe to read requests from, the pipe to write
/// answers to, the pipe for stdout and stderr, the mailbox, the gateway's page, the bell.
pub const FORK_DESCRIPTORS: usize = 6;

/// With a [`Fork`] that becomes a template there is one more: its end of a control socket of its own.
pub const MOST_DESCRIPTORS: usize = FORK_DESCRIPTORS + 1;

/// Gateway to zygote or template: make an execution environment.
#[derive(Debug, Serialize, Deserialize)]
pub struct Fork {
    /// Names this environment in later messages; process ids are reused, tickets are not.
    pub ticket: u64,
    /// Shown by `ps` and `top`.
    pub process_name: String,
    /// The complete environment, as `NAME`, value.
    pub environment: Vec<(String, String)>,
    pub task_root: String,
    /// Folders of shared code, in the order of `sys.path`.
    pub layers: Vec<String>,
    /// Where compiled forms of large vendored files may be kept.
    pub bytecode_cache: Option<String>,
    /// Beside the interpreter and the system's libraries.
    pub paths: Paths,
    pub becomes: Becomes,
}

/// What a forked process is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Becomes {
    /// Runs the init phase, then serves.
    Environment,
    /// Runs the init phase, then forks environments that need none. Whatever stands in the way of that
    /// is the payload of its word that it is ready.
    Template,
    /// Forked by a template: serves.
    Restored,
}

/// Zygote or template to gateway.
#[derive(Debug, Serialize, Deserialize)]
pub enum Report {
    /// CPython is initialised, the standard library is imported.
    Ready { python: String, prefix: String, threads: usize, isolation: InForce },
    /// The environment exists; its pidfd travels with this message.
    Forked { ticket: u64, pid: i32 },
    /// The environment could not be made.
    Failed { ticket: u64, reason: String },
    /// This environment is being ended, because it wanted one process more than it may have.
    Crowded { process_name: String },
    /// The environment has ended; what it had started is being ended.
    Exited { ticket: u64, exit: Exit },
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    Status(i32),
    Signal(i32),
}

//! Execution environments, the parent's side: processes that embed CPython, forked from a zygote,
//! each prepared for one function version and busy with one invocation at a time.
//!
//! - `library`: how this binary becomes a zygote.
//! - `zygote`: starting zygotes, forking environments, hearing how they end.
//! - `line`, `bell`: what lies between the gateway and an environment, and how answers are noticed.
//! - `environment`: one environment: init phase, invocations, timeout, end.
//! - `template`: a process past its init phase, from which environments are forked (SnapStart).
//! - `stream`: an answer that leaves piece by piece.
//! - `memory`, `output`, `variables`: what is enforced, kept and set for it.
//! - `isolation`: what a function may read and write, and what is in force.
//! - `orphans`: what a zygote that was killed leaves behind.
//! - `pool`: which environment serves the next invocation.

pub mod library;

mod bell;
mod environment;
mod isolation;
mod line;
mod memory;
mod orphans;
mod output;
mod pool;
mod stream;
mod template;
mod variables;
mod zygote;

pub use crate::protocol::isolation::InForce;
pub use bell::{after_sleep, before_sleep, hang_up_bell};
pub use environment::{Ask, Common, Ended, Environment, Finished, InitReport, StartError};
pub use isolation::{describe as describe_isolation, told as isolation_told};
pub use pool::{
    AcquireError, Environments, Lease, Place, PoolCounts, Provisioned, PythonFor, Snapshot, Turn,
};
pub use stream::{Listener, Speaker, stream};
pub use template::RESTORE_LIMIT;
pub use variables::{RESERVED, RESERVED_PREFIX};
pub use zygote::{Python, ZygoteError};

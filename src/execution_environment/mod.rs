//! Execution environments, the parent's side: processes that embed CPython, forked from a zygote,
//! each prepared for one function version and busy with one invocation at a time.
//!
//! - `library`: how this binary becomes a zygote.
//! - `zygote`: starting zygotes, forking environments, hearing how they end.
//! - `environment`: one environment: init phase, invocations, timeout, end.
//! - `memory`, `output`, `variables`: what is enforced, kept and set for it.
//! - `orphans`: what a zygote that was killed leaves behind.
//! - `pool`: which environment serves the next invocation.

pub mod library;

mod environment;
mod memory;
mod orphans;
mod output;
mod pool;
mod variables;
mod zygote;

pub use environment::{Common, Ended, Environment, Finished, InitReport, StartError};
pub use pool::{AcquireError, Environments, Lease, PoolCounts, PythonFor};
pub use variables::{RESERVED, RESERVED_PREFIX};
pub use zygote::{Python, ZygoteError};

//! What parent and child say to each other. Compiled into both: into the gateway from here, into
//! `python/` by path, so the two sides cannot drift apart.
//!
//! - `control`: gateway <-> zygote, over one Unix seqpacket socket: fork this, it has exited.
//! - `frame`: gateway <-> execution environment, over a pair of pipes: one invocation, one answer.

pub mod control;
pub mod frame;

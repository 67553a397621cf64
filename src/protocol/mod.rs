//! What parent and child say to each other. Compiled into both: into the gateway from here, into
//! `python/` by path, so the two sides cannot drift apart.
//!
//! - `control`: gateway <-> zygote, over one Unix seqpacket socket: fork this, it has exited.
//! - `frame`: gateway <-> execution environment: one invocation, one answer.
//! - `isolation`: what keeps an environment to itself, wanted and in force.
//! - `mailbox`: how frames cross while both sides are busy: memory that they share. What does not
//!   fit goes through a pair of pipes.
//! - `turn`: the mailbox's steps that must be right in every order.

pub mod control;
pub mod frame;
pub mod isolation;
pub mod mailbox;
mod turn;

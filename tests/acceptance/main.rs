//! The house seen from the street: the real program, over real sockets, in the user's words.
//!
//! One binary with subjects as modules, because linking is what takes time. `harness` starts the
//! server; each module says what belongs into it.

mod harness;
mod smoke;

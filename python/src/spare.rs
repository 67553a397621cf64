//! A child that is forked before anybody asks: whoever wants an environment finds the fork, and what Python
//! does after one, behind them.
//!
//! It holds nothing that its zygote does not hold, and runs no function's code before it is told what it is to
//! be. While it waits it rehearses what it will have to do: each page of memory that is written to after a fork
//! is copied first, which is most of what a new environment takes.

use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Pid, Signal, WaitOptions};

use crate::forker::{receive, send, set_process_name};
use crate::protocol::control::Fork;

/// The zygote's side.
pub struct Spare {
    pub pid: Pid,
    pub pidfd: OwnedFd,
    socket: OwnedFd,
}

/// Where a spare child hears what it is to be.
pub struct Waiting(OwnedFd);

/// Both sides, before the fork.
pub fn pair() -> Result<(OwnedFd, Waiting), Errno> {
    let flags = SocketFlags::CLOEXEC;
    let (ours, theirs) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    Ok((ours, Waiting(theirs)))
}

impl Spare {
    pub fn new(pid: Pid, pidfd: OwnedFd, socket: OwnedFd) -> Self {
        Self { pid, pidfd, socket }
    }

    /// Tells it what to be. An error: it is not there any more.
    pub fn become_one(&self, fork: &Fork, descriptors: &[OwnedFd]) -> Result<(), Errno> {
        let descriptors: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
        send(&self.socket, fork, &descriptors)
    }

    /// It is not needed.
    pub fn end(self) {
        let _ = rustix::process::kill_process(self.pid, Signal::KILL);
        let _ = rustix::process::waitpid(Some(self.pid), WaitOptions::empty());
    }
}

impl Waiting {
    /// Returns when it is needed; `None`: it never will be. Its own descriptor is left open, to be closed by
    /// number with all that is the zygote's.
    pub fn wait(self, zygote: Pid, rehearse: &dyn Fn()) -> Option<(Fork, Vec<OwnedFd>)> {
        set_process_name("handlerd-spare");
        // Whatever becomes of the zygote: copies of its descriptors must not outlive it.
        let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
        if rustix::process::getppid() != Some(zygote) {
            return None;
        }
        rehearse();
        let received = receive(&self.0).ok().flatten();
        let _ = self.0.into_raw_fd();
        received
    }
}

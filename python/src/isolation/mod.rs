//! What keeps a handler to itself. Said by `src/protocol/isolation.rs`, told to users by
//! `docs/isolation.md`.
//!
//! - `births`: how many processes one environment may be; in every environment.
//! - `calls`: system calls that no handler needs, refused; once, in the zygote, inherited by all.
//! - `capabilities`: what root could do beyond files, given up; likewise.
//! - `control_group`: how many processes all of them may be; likewise.
//! - `files`: what one function may read and write, and whom it may signal; in every environment.
//! - `probe`: whether all that holds, found out by trying.

mod births;
mod calls;
mod capabilities;
mod control_group;
mod files;
mod probe;

use rustix::process::{Pid, Resource, Rlimit};

use crate::defences;
use crate::protocol::isolation::{ISOLATION_VARIABLE, InForce, Paths, Wanted};

pub use births::{Asked, Births, Registry};
pub use files::Interpreter;

/// The zygote's part, with what did not work.
pub struct Isolation {
    wanted: Wanted,
    pub births: Result<births::Registry, String>,
    calls: Result<(), String>,
    capabilities: Result<(), String>,
    control_group: Result<String, String>,
}

impl Isolation {
    /// In the zygote, while it has one thread and has forked nothing.
    pub fn enter() -> Self {
        let wanted = std::env::var(ISOLATION_VARIABLE).unwrap_or_default();
        // Without a word from the gateway everything is wanted: a mistake must not open doors.
        let all = || Wanted { confined: true, ..Wanted::default() };
        let wanted: Wanted = serde_json::from_str(&wanted).unwrap_or_else(|_| all());
        if !wanted.confined {
            let off = || Err("switched off (`--isolation 0`)".to_owned());
            return Self {
                wanted,
                births: Err(off().unwrap_err()),
                calls: off(),
                capabilities: off(),
                control_group: Err(off().unwrap_err()),
            };
        }
        // Needs rights that are given up next.
        let control_group = control_group::enter();
        let capabilities = capabilities::drop_dangerous();
        let calls = if defences::off("seccomp") { Ok(()) } else { calls::deny() };
        // Those of many environments are held here.
        let most = rustix::process::getrlimit(Resource::Nofile).maximum;
        let _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most });
        let births = births::Registry::open().map_err(|error| format!("no socket could be made: {error}"));
        Self { wanted, births, calls, capabilities, control_group }
    }

    /// In an environment, before any code of its function runs. An environment that cannot be closed
    /// although the kernel knows how is not to run.
    pub fn confine(&self, paths: &Paths, interpreter: &Interpreter) -> Result<(), String> {
        match self.wanted.confined && !defences::off("landlock") {
            true => files::confine(paths, interpreter).map(drop),
            false => Ok(()),
        }
    }

    /// In an environment: what it starts is counted from here on. Where that cannot be had, as the probe
    /// has told, the gateway looks now and then.
    pub fn announce(&self, ticket: u64) {
        if let Ok(registry) = &self.births {
            let _ = registry.announce(ticket);
        }
    }

    /// Forks a process like an environment, and has it try what must not work.
    pub fn probe(&self, interpreter: &Interpreter) -> InForce {
        probe::probe(self, interpreter, rustix::process::getpid())
    }
}

/// What an environment is closed off with, as its zygote has found it.
pub struct Confinement {
    pub isolation: Isolation,
    pub interpreter: Interpreter,
}

impl Confinement {
    pub fn confine(&self, paths: &Paths) -> Result<(), String> {
        self.isolation.confine(paths, &self.interpreter)
    }
}

/// What the process can be told to do that needs no rights and no kernel of a certain age.
pub fn tier_zero(zygote: Pid) -> Result<(), rustix::io::Errno> {
    use rustix::process::Signal;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if rustix::process::getppid() != Some(zygote) {
        return Err(rustix::io::Errno::SRCH);
    }
    rustix::process::setsid()?;
    rustix::process::set_child_subreaper(Some(Pid::INIT))?;
    if !defences::off("no-new-privileges") {
        rustix::thread::set_no_new_privs(true)?;
    }
    let limit = |resource, value: u64| {
        let maximum = rustix::process::getrlimit(resource).maximum;
        let value = Some(maximum.map_or(value, |maximum| maximum.min(value)));
        rustix::process::setrlimit(resource, Rlimit { current: value, maximum: value })
    };
    if !defences::off("descriptor-limit") {
        limit(Resource::Nofile, MAX_DESCRIPTORS)?;
    }
    limit(Resource::Core, 0)
}

/// Lambda allows so many; so do we.
const MAX_DESCRIPTORS: u64 = 1024;

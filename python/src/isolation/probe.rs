//! Whether the defences hold: a process is forked and closed off as an environment is, and tries what
//! must not work. What it reports is what it has seen, not what was asked for.

use std::io::Read;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Resource, WaitOptions};

use super::{Interpreter, Isolation, births, capabilities, files, tier_zero};
use crate::protocol::isolation::{InForce, Part, Paths};

const NAMESPACES: &str =
    "not built: a process of a namespace of its own would be its process 1, whom signals do not end";
const MEMORY: &str =
    "not built: memory is watched by the gateway, every 20 ms, and processors are shared as they are";
const OWN_USER: &str = "not built: another user could seldom read the files of a project";

pub fn probe(isolation: &Isolation, interpreter: &Interpreter, zygote: Pid) -> InForce {
    let parts = look(isolation, interpreter, zygote).unwrap_or_else(|error| {
        let missing = Some(format!("could not be probed: {error}"));
        vec![Part { name: "own session".into(), tier: 0, missing }]
    });
    InForce { parts, control_group: isolation.control_group.as_ref().ok().cloned() }
}

fn look(isolation: &Isolation, interpreter: &Interpreter, zygote: Pid) -> std::io::Result<Vec<Part>> {
    let (mut reader, writer) = std::io::pipe()?;
    // Somebody to call, for whoever still can.
    let address = SocketAddr::from_abstract_name(format!("handlerd-probe-{}", zygote.as_raw_pid()))?;
    let listener = UnixListener::bind_addr(&address)?;
    // SAFETY: this process has one thread; the child does nothing that needs Python.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let parts = inside(isolation, interpreter, zygote, &address);
        let text = serde_json::to_vec(&parts).unwrap_or_default();
        let mut rest = text.as_slice();
        while let Ok(written @ 1..) = rustix::io::write(&writer, rest) {
            rest = &rest[written..];
        }
        // SAFETY: ends the process, and runs nobody's clean-up twice.
        unsafe { libc::_exit(0) };
    }
    let fork_error = std::io::Error::last_os_error();
    drop((writer, listener));
    let Some(child) = Pid::from_raw(child).filter(|pid| pid.as_raw_pid() > 0) else { return Err(fork_error) };
    let mut text = Vec::new();
    let read = reader.read_to_end(&mut text);
    let _ = rustix::process::waitpid(Some(child), WaitOptions::empty());
    read?;
    Ok(serde_json::from_slice(&text)?)
}

fn inside(isolation: &Isolation, interpreter: &Interpreter, zygote: Pid, address: &SocketAddr) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut part = |tier, name: &str, missing: Result<(), String>| {
        parts.push(Part { name: name.to_owned(), tier, missing: missing.err() });
    };

    let begun = tier_zero(zygote).map_err(|error| format!("could not be prepared: {error}"));
    let own = rustix::process::getsid(None).is_ok_and(|session| session == rustix::process::getpid());
    part(0, "own session", begun.and(seen(own, "it shares the zygote's session")));
    let no_new = rustix::thread::no_new_privs().unwrap_or(false);
    part(0, "no new privileges", seen(no_new, "setuid programs would work"));
    let cores = rustix::process::getrlimit(Resource::Core).current == Some(0);
    part(0, "no core dumps", seen(cores, "RLIMIT_CORE is not 0"));

    let state_dir = isolation.wanted.state_dir.clone();
    let landlock = match isolation.wanted.confined {
        false => Err("switched off (`--isolation 0`)".to_owned()),
        true => {
            let closed = Vec::from_iter((!state_dir.is_empty()).then(|| state_dir.clone()));
            let paths = Paths { closed, ..Paths::default() };
            files::confine(&paths, interpreter).and_then(|status| files::missing(&status).map_or(Ok(()), Err))
        }
    };
    let denied = |result: Result<(), Errno>, what: &str| match (&landlock, result) {
        (_, Err(Errno::ACCESS | Errno::PERM)) => Ok(()),
        (Err(reason), _) => Err(reason.clone()),
        (Ok(()), Ok(())) => Err(format!("tried, and {what}")),
        (Ok(()), Err(error)) => Err(format!("could not be tried: {error}")),
    };
    let open = |path: &str| rustix::fs::open(path, OFlags::RDONLY, Mode::empty()).map(drop);
    let state = if state_dir.is_empty() { "/" } else { state_dir.as_str() };
    part(1, "files", denied(open(state), "the state folder could be read"));
    let environment = open(&format!("/proc/{}/environ", zygote.as_raw_pid()));
    part(1, "other processes", denied(environment, "another process's environment could be read"));
    let signal = rustix::process::test_kill_process(zygote);
    part(1, "signals", denied(signal, "another process could be signalled"));
    let call = UnixStream::connect_addr(address).map(drop);
    let call = call.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO));
    part(1, "abstract sockets", denied(call, "an abstract socket could be reached"));

    part(2, "namespaces", Err(NAMESPACES.to_owned()));

    let group = isolation.control_group.clone().and_then(|folder| {
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let name = folder.rsplit('/').next().unwrap_or_default();
        seen(own.lines().any(|line| line.ends_with(name)), "tried, and it is not in its control group")
    });
    part(3, "process count", group);
    part(3, "memory and processors by control group", Err(MEMORY.to_owned()));

    let calls = isolation.calls.clone().and_then(|()| {
        // SAFETY: asks the kernel for what it refuses; none of it touches memory.
        let refused = unsafe {
            [
                libc::syscall(libc::SYS_keyctl, 0, -3, 0, 0, 0),
                libc::syscall(libc::SYS_unshare, libc::CLONE_NEWUSER),
                libc::syscall(libc::SYS_ptrace, libc::PTRACE_TRACEME, 0, 0, 0),
            ]
        };
        seen(refused.iter().all(|result| *result == -1), "tried, and one of them worked")
    });
    part(4, "system calls", calls);
    part(4, "process limit", isolation.births.as_ref().map(drop).map_err(Clone::clone).and_then(|()| asks()));
    let dropped = isolation.capabilities.clone().and_then(|()| {
        let left = capabilities::dangerous().map_err(|error| error.to_string())?;
        seen(left == 0, "tried, and some are left")
    });
    part(4, "capabilities", dropped);
    part(4, "user of its own", Err(OWN_USER.to_owned()));
    parts
}

fn seen(holds: bool, otherwise: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}

/// Whether a fork waits for leave: with nobody there to give it, none works.
fn asks() -> Result<(), String> {
    let listener =
        births::listen().map_err(|error| format!("the kernel lets nobody else decide: {error}"))?;
    drop(listener);
    // SAFETY: the child, if there is one, ends at once.
    match unsafe { libc::fork() } {
        0 => unsafe { libc::_exit(0) },
        -1 => Ok(()),
        child => {
            let _ = rustix::process::waitpid(Pid::from_raw(child), WaitOptions::empty());
            Err("tried, and a process could fork without leave".to_owned())
        }
    }
}

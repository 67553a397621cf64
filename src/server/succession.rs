//! A new binary takes over (SIGHUP): without a request that fails, and under the same process id.
//!
//! 1. What stands where this program was started from is tried out, with the same arguments: a process
//!    of its own that settles them and says that it could serve. If it does not, nothing happens.
//! 2. For a moment answers say `Connection: close`, so that kept-alive clients come back anew.
//! 3. What is in flight ends, as with SIGTERM. New connections wait in the kernel.
//! 4. This process becomes the new program (`exec`), which finds the listening sockets open.
//!
//! The store has one owner at a time, so that the new one cannot begin before the old one has ended;
//! and whoever supervises this process sees it live on.

use std::ffi::OsString;
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

/// Names the sockets that a former program leaves: `http=7,api=8`.
const SOCKETS: &str = "HANDLERD_SOCKETS";
/// Asks a program to say whether it could serve.
const REHEARSAL: &str = "HANDLERD_REHEARSAL";
/// What it says then.
const READY: &str = "ready to serve";
/// How long it may take to say so.
const REHEARSAL_LIMIT: Duration = Duration::from_secs(10);
/// What a supervisor and a former program tell by the environment is no business of functions.
const OURS: [&str; 8] = [
    SOCKETS,
    REHEARSAL,
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
];

/// Whether a variable is for this program only.
pub fn is_ours(name: &str) -> bool {
    OURS.contains(&name)
}

/// Whether somebody only wants to know if this program could serve.
pub fn is_rehearsal() -> bool {
    std::env::var_os(REHEARSAL).is_some()
}

/// Says that it could.
pub fn rehearsed() {
    println!("{READY}");
}

/// Listening sockets that were open before this program began: a former one's, or a supervisor's.
#[derive(Debug, Default)]
pub struct Inherited(Vec<(String, TcpListener)>);

impl Inherited {
    /// To be called once: they are owned from here on.
    pub fn take() -> Self {
        let variable = |name: &str| std::env::var(name).ok();
        let mut found: Vec<(String, i32)> = Vec::new();
        for part in variable(SOCKETS).unwrap_or_default().split(',') {
            if let Some((name, number)) = part.split_once('=')
                && let Ok(number) = number.parse()
            {
                found.push((name.to_owned(), number));
            }
        }
        if variable("LISTEN_PID").is_some_and(|pid| pid == std::process::id().to_string()) {
            let count: i32 = variable("LISTEN_FDS").and_then(|count| count.parse().ok()).unwrap_or(0);
            let names = variable("LISTEN_FDNAMES").unwrap_or_default();
            let mut names = names.split(':').filter(|name| !name.is_empty());
            // Without names the order counts.
            let mut by_order = ["http", "api"].into_iter();
            for number in 3..3 + count.clamp(0, 16) {
                let next = by_order.next();
                if let Some(name) = names.next().filter(|name| *name != "unknown").or(next) {
                    found.push((name.to_owned(), number));
                }
            }
        }
        Self(found.into_iter().filter_map(|(name, number)| Some((name, listener(number)?))).collect())
    }

    pub fn get(&mut self, name: &str) -> Option<TcpListener> {
        let index = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.swap_remove(index).1)
    }
}

/// `None`: nothing that listens is open there.
fn listener(number: i32) -> Option<TcpListener> {
    // SAFETY: only looked at, and only for as long as this takes; -1 is never open.
    let socket = unsafe { rustix::fd::BorrowedFd::borrow_raw(number.max(0)) };
    if number < 3 || !rustix::net::sockopt::socket_acceptconn(socket).unwrap_or(false) {
        return None;
    }
    rustix::io::fcntl_setfd(socket, rustix::io::FdFlags::CLOEXEC).ok()?;
    // SAFETY: it is open, was left to this program under this number, and is taken once.
    let listener = unsafe { TcpListener::from_raw_fd(number) };
    listener.set_nonblocking(true).ok()?;
    Some(listener)
}

/// Who comes after this program, and what is left to it.
pub struct Successor {
    executable: PathBuf,
    arguments: Vec<OsString>,
    sockets: Vec<(&'static str, OwnedFd)>,
}

impl Successor {
    /// What stands in this program's place now, should it be asked for.
    pub fn new(sockets: &[(&'static str, &tokio::net::TcpListener)]) -> std::io::Result<Self> {
        let sockets = sockets.iter().map(|(name, socket)| Ok((*name, socket.as_fd().try_clone_to_owned()?)));
        Ok(Self {
            executable: std::env::current_exe()?,
            arguments: std::env::args_os().skip(1).collect(),
            sockets: sockets.collect::<std::io::Result<_>>()?,
        })
    }

    /// Whether it works at all; the error is what is told.
    pub async fn rehearse(&self) -> Result<(), String> {
        if crate::defences::off("rehearsal") {
            return Ok(());
        }
        let shown = self.executable.display();
        let mut command = tokio::process::Command::new(&self.executable);
        command.args(&self.arguments).env(REHEARSAL, "1").kill_on_drop(true);
        for name in OURS.iter().filter(|name| **name != REHEARSAL) {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let rehearsal = async {
            let child = command.spawn().map_err(|error| format!("{shown} cannot be started: {error}"))?;
            child.wait_with_output().await.map_err(|error| format!("{shown}: {error}"))
        };
        let limit = REHEARSAL_LIMIT.as_secs();
        let output = tokio::time::timeout(REHEARSAL_LIMIT, rehearsal)
            .await
            .unwrap_or_else(|_| Err(format!("{shown} has not said within {limit} s that it could serve")))?;
        if output.status.success() && String::from_utf8_lossy(&output.stdout).contains(READY) {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim().chars().take(1000).collect::<String>();
        Err(match said.is_empty() {
            true => format!("{shown} ended ({}) and did not say that it could serve", output.status),
            false => format!("{shown} ended ({}): {said}", output.status),
        })
    }

    /// This process becomes the new program. Returns only if that is not possible.
    pub fn take_over(self) -> std::io::Error {
        // Between the two programs nobody hears it, and it would end the process.
        // SAFETY: a plain call; the new program listens to it again.
        unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
        let mut named = Vec::new();
        for (name, socket) in &self.sockets {
            if let Err(error) = rustix::io::fcntl_setfd(socket, rustix::io::FdFlags::empty()) {
                return error.into();
            }
            named.push(format!("{name}={}", socket.as_raw_fd()));
        }
        let mut command = std::process::Command::new(&self.executable);
        command.args(&self.arguments).env(SOCKETS, named.join(","));
        for name in ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"] {
            command.env_remove(name);
        }
        command.exec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_listens_is_taken() {
        let listening = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listening.local_addr().unwrap();
        let number = OwnedFd::from(listening);
        let taken = listener(std::os::fd::IntoRawFd::into_raw_fd(number)).unwrap();
        assert_eq!(taken.local_addr().unwrap(), address);
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(listener(file.as_raw_fd()).is_none());
        for number in [-1, 0, 2, 1_000_000] {
            assert!(listener(number).is_none(), "{number}");
        }
    }
}

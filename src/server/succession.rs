//! A new binary takes over (SIGHUP): without a request that fails, and under the same process id.
//!
//! 1. What stands where this program was started from is tried out (`rehearsal`), in a process of its
//!    own. If it does not say that it could serve, nothing happens.
//! 2. Answers say `Connection: close`, so that kept-alive clients come back anew; events that nobody
//!    waits for end, and no others begin (`ending`).
//! 3. What is in flight ends, as with SIGTERM. New connections wait in the kernel.
//! 4. This process becomes the new program (`exec`), which finds open what it needs (`inherited`).
//!
//! The store has one owner at a time, so that the new one cannot begin before the old one has ended;
//! and whoever supervises this process, or only knows its id, sees it live on.

use std::ffi::OsString;
use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use super::inherited::{LEFT, OURS, Open, TOLD};
use super::rehearsal::{READY, REHEARSAL};
use crate::defences;

/// How long a new program may take to say that it could serve.
const LIMIT: Duration = Duration::from_secs(30);
/// Of what it says, so much is read.
const HEARD: u64 = 64 * 1024;
/// And so many letters of that are told.
const TOLD_OF_IT: usize = 1000;

/// Who comes after this program, and what is left to it.
pub struct Successor {
    executable: PathBuf,
    arguments: Vec<OsString>,
    sockets: Vec<(Open<SocketAddr>, OwnedFd)>,
    lock: Option<OwnedFd>,
    outlives_terminal: bool,
    /// The file that was tried out.
    tried: Option<Identity>,
}

/// Which file this is, and that nobody has written to it since.
type Identity = (u64, u64, u64, i64, i64);

fn identity(path: &Path) -> Option<Identity> {
    let file = std::fs::metadata(path).ok()?;
    Some((file.dev(), file.ino(), file.size(), file.mtime(), file.mtime_nsec()))
}

impl Successor {
    /// What stands in this program's place now, should it be asked for.
    pub fn new(sockets: &[(&'static str, bool, &tokio::net::TcpListener)]) -> std::io::Result<Self> {
        let sockets = sockets.iter().map(|&(name, given, socket)| {
            Ok((Open { name, given, what: socket.local_addr()? }, socket.as_fd().try_clone_to_owned()?))
        });
        Ok(Self {
            executable: place(std::env::current_exe()?),
            arguments: std::env::args_os().collect(),
            sockets: sockets.collect::<std::io::Result<_>>()?,
            lock: None,
            outlives_terminal: false,
            tried: None,
        })
    }

    /// The lock of the state folder stays held from one program to the next.
    pub fn leave_lock(&mut self, lock: Option<&File>) -> std::io::Result<()> {
        self.lock = lock.map(|lock| lock.as_fd().try_clone_to_owned()).transpose()?;
        Ok(())
    }

    pub fn outlives_terminal(&mut self, outlives: bool) {
        self.outlives_terminal = outlives;
    }

    /// Whether it works at all; the error is what is told.
    pub async fn rehearse(&mut self) -> Result<(), String> {
        self.tried = identity(&self.executable);
        if defences::off("rehearsal") {
            return Ok(());
        }
        let open: Vec<String> = self.sockets.iter().map(|(socket, _)| socket.to_string()).collect();
        let mut command = Command::new(&self.executable);
        command.args(self.arguments.iter().skip(1));
        for name in OURS {
            command.env_remove(name);
        }
        command.env(REHEARSAL, open.join(","));
        heard(command, LIMIT).await.map_err(|what| format!("{} {what}", self.executable.display()))
    }

    /// This process becomes the new program. Returns only if that is not possible.
    pub fn take_over(self) -> std::io::Error {
        // Between the two programs nobody hears it, and it would end the process.
        // SAFETY: a plain call; the new program listens to it again.
        unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
        let mut left: Vec<String> = Vec::new();
        for (Open { name, given, .. }, socket) in &self.sockets {
            left.push(Open { name, given: *given, what: socket.as_raw_fd() }.to_string());
        }
        left.extend(self.lock.as_ref().map(|lock| format!("lock={}", lock.as_raw_fd())));
        left.push(format!("outlives-terminal={}", i32::from(self.outlives_terminal)));
        for descriptor in self.sockets.iter().map(|(_, socket)| socket).chain(&self.lock) {
            if let Err(error) = rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::empty()) {
                return error.into();
            }
        }
        let command = |program: &Path| {
            let mut command = std::process::Command::new(program);
            if let Some(name) = self.arguments.first() {
                command.arg0(name);
            }
            command.args(self.arguments.iter().skip(1)).env(LEFT, left.join(",")).env_remove(TOLD);
            for name in ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"] {
                command.env_remove(name);
            }
            command
        };
        let shown = self.executable.display();
        let reason = match identity(&self.executable) == self.tried {
            true => format!("{shown} was not started: {}", command(&self.executable).exec()),
            false => format!("{shown} was exchanged once more after it had been tried out"),
        };
        // This program itself, which works.
        command(Path::new("/proc/self/exe"))
            .env(TOLD, format!("no other program takes over, this one begins anew: {reason}"))
            .exec()
    }
}

/// A program whose file was removed, or replaced by another one, is where it was.
fn place(executable: PathBuf) -> PathBuf {
    let before = executable.to_str().and_then(|path| path.strip_suffix(" (deleted)"));
    match before {
        Some(before) if !executable.exists() => PathBuf::from(before),
        _ => executable,
    }
}

/// Runs it and hears whether it could serve. What it has started ends with it.
async fn heard(mut command: Command, limit: Duration) -> Result<(), String> {
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().map_err(|error| format!("cannot be started: {error}"))?;
    let mut rehearsal = Rehearsal(child);
    let end = tokio::time::timeout(limit, rehearsal.end()).await;
    let seconds = limit.as_secs_f64();
    let (status, said, complaint) =
        end.map_err(|_| format!("has not said within {seconds} s that it could serve"))?;
    let status = status.map_err(|error| error.to_string())?;
    if status.success() && said.contains(READY) {
        return Ok(());
    }
    Err(match complaint.trim() {
        "" => format!("ended ({status}) and did not say that it could serve"),
        complaint => {
            let complaint: String = complaint.chars().take(TOLD_OF_IT).collect();
            format!("ended ({status}): {complaint}")
        }
    })
}

/// A process group that is ended when this is dropped, unless its first process has ended.
struct Rehearsal(Child);

impl Rehearsal {
    async fn end(&mut self) -> (std::io::Result<ExitStatus>, String, String) {
        let (stdout, stderr) = (self.0.stdout.take(), self.0.stderr.take());
        let (said, complaint) = tokio::join!(text(stdout), text(stderr));
        (self.0.wait().await, said, complaint)
    }
}

impl Drop for Rehearsal {
    fn drop(&mut self) {
        // Its number is its own as long as nobody has asked how it ended.
        if let Some(pid) = self.0.id().and_then(|pid| Pid::from_raw(pid.try_into().ok()?)) {
            let _ = rustix::process::kill_process_group(pid, Signal::KILL);
        }
    }
}

/// The beginning of what is said; whoever goes on after that speaks to nobody.
async fn text(pipe: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        let _ = pipe.take(HEARD).read_to_end(&mut bytes).await;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn heard_of(script: &str, limit: u64) -> Result<(), String> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        heard(command, Duration::from_millis(limit)).await
    }

    #[tokio::test]
    async fn a_rehearsal_is_bounded() {
        assert_eq!(heard_of("echo ready to serve", 10_000).await, Ok(()));
        let said = heard_of("echo ready to serve; exit 1", 10_000).await.unwrap_err();
        assert!(said.contains("exit status: 1"), "{said}");
        // It says more than anybody wants to hear.
        let said = heard_of("yes; echo ready to serve", 10_000).await.unwrap_err();
        assert!(said.contains("did not say"), "{said}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let hangs = format!("sleep 1000 & echo $! > {}; wait", file.display());
        let said = heard_of(&hangs, 300).await.unwrap_err();
        assert!(said.contains("within 0.3 s"), "{said}");
        let pid = std::fs::read_to_string(file).unwrap().trim().to_owned();
        let began = std::time::Instant::now();
        let lives = || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.contains("(sleep)") && !stat.contains(") Z ")
        };
        while lives() {
            assert!(began.elapsed() < Duration::from_secs(10), "it goes on");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[test]
    fn a_program_that_was_replaced_is_where_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("handlerd");
        let shown = PathBuf::from(format!("{} (deleted)", path.display()));
        assert_eq!(place(shown.clone()), path);
        assert_eq!(place(path.clone()), path);
        std::fs::write(&shown, "").unwrap();
        assert_eq!(place(shown.clone()), shown);
    }
}

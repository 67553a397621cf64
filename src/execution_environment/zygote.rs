//! The gateway's side of a zygote: starts it, asks it for environments, hears how they end.
//!
//! The other side is `python/src/zygote.rs`. There is one zygote for each interpreter and virtual
//! environment that functions ask for; it is started with the first environment that needs it. A
//! template (`template`) is spoken to like a zygote, but has run code of a function: it is not believed.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use rustix::process::Signal;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, Interest};
use tokio::sync::{OnceCell, oneshot, watch};

use super::library::ZYGOTE_COMMAND;
use super::{isolation, memory, orphans};
use crate::config::Isolation;
use crate::protocol::control::{
    CONTROL_FD, Exit, Fork, MAX_MESSAGE, MOST_DESCRIPTORS, PRELOAD_VARIABLE, Report,
};
use crate::protocol::isolation::{ISOLATION_VARIABLE, InForce, Wanted};

/// CPython initialises in well under a second; a cold disk may take longer.
const START_LIMIT: Duration = Duration::from_secs(30);
/// More reports that nobody waits for than a mistake of ours explains.
const MAX_STRAYS: u32 = 100;
/// A template forks in a few milliseconds.
const FORK_LIMIT: Duration = Duration::from_secs(5);

/// What a zygote is started from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Python {
    /// The executable whose folder decides the virtual environment.
    pub executable: PathBuf,
    pub libpython: PathBuf,
    /// Modules to import before anything is forked.
    pub preload: Vec<String>,
    /// Major and minor.
    pub version: (u32, u32),
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum ZygoteError {
    #[error("could not start Python ({python}): {reason}")]
    Start { python: String, reason: String },
    #[error(
        "handlers are not run: tier {required} of isolation is asked for (`--require-isolation`), but tier {tier} is \
         what this machine gives\nmissing: {reason}"
    )]
    NotIsolated { required: u8, tier: u8, reason: String },
    #[error("the process that environments are forked from ended; the next request starts a new one")]
    Ended,
    #[error("could not fork an execution environment: {0}")]
    Fork(String),
}

/// All zygotes, by what they were started from.
pub struct Zygotes {
    started: Mutex<HashMap<Python, Arc<OnceCell<Zygote>>>>,
    wanted: Wanted,
    /// The tier of isolation without which a zygote is of no use.
    required: u8,
}

impl Zygotes {
    pub fn new(isolation: &Isolation, state_dir: &std::path::Path) -> Self {
        let wanted = Wanted { confined: !isolation.off, state_dir: state_dir.display().to_string() };
        Self { started: Mutex::default(), wanted, required: isolation.required }
    }

    /// What was found to be in force where the least is; `None` before any zygote has started.
    pub fn isolation(&self) -> Option<InForce> {
        let started = self.started.lock().unwrap();
        let found = started.values().filter_map(|cell| cell.get()?.0.isolation.get());
        found.min_by_key(|in_force| (in_force.tier(), in_force.holding().count())).cloned()
    }

    /// The zygote for this Python, started if need be; many callers share one start.
    pub async fn get(&self, python: &Python) -> Result<Zygote, ZygoteError> {
        let cell = {
            let mut started = self.started.lock().unwrap();
            let cell = started.entry(python.clone()).or_default();
            if cell.get().is_some_and(Zygote::has_ended) {
                *cell = Arc::default();
            }
            cell.clone()
        };
        cell.get_or_try_init(|| self.start(python)).await.cloned()
    }

    async fn start(&self, python: &Python) -> Result<Zygote, ZygoteError> {
        let zygote = Zygote::start(python, &self.wanted).await?;
        let in_force = zygote.0.isolation.get().cloned().unwrap_or_default();
        if in_force.tier() < self.required {
            zygote.stop();
            return Err(ZygoteError::NotIsolated {
                required: self.required,
                tier: in_force.tier(),
                reason: isolation::why_not(&in_force, self.required),
            });
        }
        Ok(zygote)
    }

    /// Process ids of those that run.
    pub fn pids(&self) -> Vec<u32> {
        let started = self.started.lock().unwrap();
        started.values().filter_map(|cell| cell.get()).filter(|z| !z.has_ended()).map(|z| z.0.pid).collect()
    }

    /// Closes every control socket and waits until the zygotes, and with them all environments, are
    /// gone.
    pub async fn end(&self) {
        let zygotes: Vec<Zygote> =
            self.started.lock().unwrap().drain().filter_map(|(_, cell)| cell.get().cloned()).collect();
        for zygote in zygotes {
            let mut ended = zygote.0.ended.subscribe();
            zygote.stop();
            let _ = tokio::time::timeout(Duration::from_secs(5), ended.wait_for(|ended| *ended)).await;
        }
    }
}

#[derive(Clone)]
pub struct Zygote(Arc<Inner>);

struct Inner {
    control: AsyncFd<OwnedFd>,
    pid: u32,
    next_ticket: AtomicU64,
    environments: Mutex<HashMap<u64, Expected>>,
    ended: watch::Sender<bool>,
    isolation: OnceLock<InForce>,
    /// What it says is checked.
    is_template: bool,
}

/// What the gateway waits to hear of one ticket.
struct Expected {
    forked: Option<oneshot::Sender<Result<(i32, OwnedFd), String>>>,
    exit: watch::Sender<Option<Exit>>,
}

impl Zygote {
    async fn start(python: &Python, wanted: &Wanted) -> Result<Self, ZygoteError> {
        let mut first = Self::start_with(python, wanted, &python.preload, &[]).await?;
        if first.1 > 1 && !python.preload.is_empty() {
            tracing::warn!(
                "one of the modules to preload ({}) starts a thread when it is imported, which a forked process \
                 would not have; nothing is preloaded",
                python.preload.join(", ")
            );
            first.0.stop();
            first = Self::start_with(python, wanted, &[], &[]).await?;
        }
        if first.1 <= 1 {
            return Ok(first.0);
        }
        // A fork of several threads is a fork into deadlocks. What starts threads this early is a
        // `.pth` file in site-packages, so go without those.
        tracing::warn!(
            "{} starts {} threads before any handler is loaded (a `.pth` file in its site-packages does that); \
             it is started again without the code in `.pth` files",
            python.executable.display(),
            first.1 - 1
        );
        first.0.stop();
        let second = Self::start_with(python, wanted, &[], &["-S".into()]).await?;
        match second.1 {
            0 | 1 => Ok(second.0),
            threads => Err(ZygoteError::Start {
                python: python.executable.display().to_string(),
                reason: format!(
                    "it has {threads} threads before any handler is loaded, so it cannot be forked"
                ),
            }),
        }
    }

    /// The zygote and how many threads it has.
    async fn start_with(
        python: &Python,
        wanted: &Wanted,
        preload: &[String],
        options: &[OsString],
    ) -> Result<(Self, usize), ZygoteError> {
        let failed =
            |reason: String| ZygoteError::Start { python: python.executable.display().to_string(), reason };
        orphans::adopt();
        let (ours, theirs) = control_socket().map_err(|error| failed(error.to_string()))?;

        let mut command = std::process::Command::new("/proc/self/exe");
        command
            .arg0("handlerd-zygote")
            .arg(ZYGOTE_COMMAND)
            .arg(&python.libpython)
            .arg(&python.executable)
            .args(options)
            .current_dir("/")
            .env_clear()
            .envs([("LANG", "C.UTF-8"), ("LC_CTYPE", "C.UTF-8")])
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .envs(crate::defences::handed_on())
            .env(PRELOAD_VARIABLE, preload.join(","))
            .env(ISOLATION_VARIABLE, serde_json::to_string(wanted).unwrap_or_default())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        // SAFETY: only async-signal-safe calls between fork and exec.
        unsafe {
            command.pre_exec(move || {
                rustix::process::setsid()?;
                // The copy is inherited over exec; everything else is closed by it.
                if libc::dup2(std::os::fd::AsRawFd::as_raw_fd(&theirs), CONTROL_FD) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                libc::fcntl(CONTROL_FD, libc::F_SETFD, 0);
                Ok(())
            });
        }
        let mut child = orphans::start(command.into()).map_err(|error| failed(error.to_string()))?;
        let mut errors = child.stderr.take().expect("piped");
        let complaint = Arc::new(Mutex::new(String::new()));
        let heard = tokio::spawn({
            let complaint = complaint.clone();
            async move {
                let mut buffer = vec![0; 4096];
                while let Ok(read @ 1..) = errors.read(&mut buffer).await {
                    let text = String::from_utf8_lossy(&buffer[..read]).into_owned();
                    for line in text.lines() {
                        match line.strip_prefix("warning: ") {
                            Some(warning) => tracing::warn!("{warning}"),
                            None => tracing::debug!("zygote: {line}"),
                        }
                    }
                    let mut complaint = complaint.lock().unwrap();
                    if complaint.len() < 4096 {
                        complaint.push_str(&text);
                    }
                }
            }
        });

        let pid = child.id().unwrap_or_default();
        let zygote = Self::new(ours, pid, false).map_err(|error| failed(error.to_string()))?;
        let (ready_sender, ready) = oneshot::channel();
        tokio::spawn({
            let zygote = zygote.clone();
            async move {
                zygote.listen(ready_sender).await;
                let _ = child.wait().await;
                zygote.finish();
                let pid = zygote.0.pid;
                let group = zygote.0.isolation.get().and_then(|found| found.control_group.clone());
                let swept = move || {
                    orphans::sweep_after(pid);
                    group.map(std::fs::remove_dir);
                };
                let _ = tokio::task::spawn_blocking(swept).await;
            }
        });
        match tokio::time::timeout(START_LIMIT, ready).await {
            Ok(Ok(threads)) => Ok((zygote, threads)),
            Ok(Err(_)) => {
                let _ = heard.await;
                let complaint = complaint.lock().unwrap().trim().to_owned();
                Err(failed(if complaint.is_empty() { "it ended without a word".into() } else { complaint }))
            }
            Err(_) => {
                zygote.stop();
                Err(failed(format!("it was not ready after {} s", START_LIMIT.as_secs())))
            }
        }
    }

    fn new(control: OwnedFd, pid: u32, is_template: bool) -> std::io::Result<Self> {
        // SAFETY: an `OwnedFd` keeps its descriptor open, and it is not taken out of the `AsyncFd`.
        let control = unsafe { AsyncFd::register_with_interest(control, Interest::READABLE) }?;
        Ok(Self(Arc::new(Inner {
            control,
            pid,
            next_ticket: AtomicU64::new(1),
            environments: Mutex::default(),
            ended: watch::Sender::new(false),
            isolation: OnceLock::new(),
            is_template,
        })))
    }

    /// A process that forks as a zygote does, but has run code of a function.
    pub fn of_template(control: OwnedFd, pid: u32) -> std::io::Result<Self> {
        let template = Self::new(control, pid, true)?;
        tokio::spawn({
            let template = template.clone();
            async move {
                // Nobody waits for its word that it is ready: that came by another way.
                template.listen(oneshot::channel().0).await;
                template.stop();
                template.finish();
            }
        });
        Ok(template)
    }

    /// The zygote takes a closed socket for the end of the gateway: it ends all it has started.
    pub fn stop(&self) {
        let _ = rustix::net::shutdown(self.0.control.get_ref(), rustix::net::Shutdown::Both);
    }

    pub fn has_ended(&self) -> bool {
        *self.0.ended.borrow()
    }

    /// A name for a new environment.
    pub fn ticket(&self) -> u64 {
        self.0.next_ticket.fetch_add(1, Ordering::Relaxed)
    }

    /// Forks an environment that holds these descriptors.
    pub async fn fork(&self, fork: &Fork, descriptors: &[BorrowedFd<'_>]) -> Result<Process, ZygoteError> {
        let message = serde_json::to_vec(fork).map_err(|error| ZygoteError::Fork(error.to_string()))?;
        if message.len() > MAX_MESSAGE {
            return Err(ZygoteError::Fork("its environment variables are too long".into()));
        }
        let (forked_sender, forked) = oneshot::channel();
        let (exit_sender, exit) = watch::channel(None);
        {
            let mut environments = self.0.environments.lock().unwrap();
            environments.insert(fork.ticket, Expected { forked: Some(forked_sender), exit: exit_sender });
        }
        if self.has_ended() {
            self.finish();
            return Err(ZygoteError::Ended);
        }
        // A message of a few kilobytes on a socket that is read at once: it does not fill up.
        let sent = self.send(&message, descriptors);
        if sent.is_err() {
            self.0.environments.lock().unwrap().remove(&fork.ticket);
            return Err(ZygoteError::Ended);
        }
        let forked = match self.0.is_template {
            false => forked.await,
            // What a function has registered to be called at a fork may never return.
            true => match tokio::time::timeout(FORK_LIMIT, forked).await {
                Ok(forked) => forked,
                Err(_) => {
                    self.stop();
                    return Err(ZygoteError::Ended);
                }
            },
        };
        match forked {
            Ok(Ok((pid, pidfd))) => Ok(Process { pid, pidfd, exit }),
            Ok(Err(reason)) => Err(ZygoteError::Fork(reason)),
            Err(_) => Err(ZygoteError::Ended),
        }
    }

    fn send(&self, message: &[u8], descriptors: &[BorrowedFd<'_>]) -> rustix::io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
        let control = self.0.control.get_ref();
        loop {
            match rustix::net::sendmsg(control, &[IoSlice::new(message)], &mut ancillary, SendFlags::NOSIGNAL)
            {
                Err(rustix::io::Errno::INTR) => {}
                // A template that does not read is as good as gone; the gateway waits for none.
                Err(rustix::io::Errno::AGAIN) if !self.0.is_template => std::thread::yield_now(),
                other => return other.map(drop),
            }
        }
    }

    /// Hears the zygote out until it closes its end.
    async fn listen(&self, ready: oneshot::Sender<usize>) {
        let mut ready = Some(ready);
        let mut buffer = vec![0; MAX_MESSAGE];
        let mut strays = 0;
        while let Ok(mut guard) = self.0.control.readable().await {
            match guard.try_io(|control| Ok(receive(control.get_ref(), &mut buffer)?)) {
                Err(_would_block) => {}
                Ok(Err(_)) | Ok(Ok((0, _))) => return,
                Ok(Ok((length, descriptor))) => match serde_json::from_slice(&buffer[..length]) {
                    Ok(report) => {
                        let was_expected = self.hear(report, descriptor, &mut ready);
                        strays += u32::from(!was_expected && self.0.is_template);
                        if strays > MAX_STRAYS {
                            return;
                        }
                    }
                    Err(error) => {
                        tracing::error!("a zygote sent nonsense: {error}");
                        return;
                    }
                },
            }
        }
    }

    /// `false`: nobody waits to hear this.
    fn hear(
        &self,
        report: Report,
        pidfd: Option<OwnedFd>,
        ready: &mut Option<oneshot::Sender<usize>>,
    ) -> bool {
        let mut environments = self.0.environments.lock().unwrap();
        match report {
            Report::Ready { python, prefix, threads, isolation } => {
                let _ = self.0.isolation.set(isolation);
                tracing::debug!("zygote {} is ready: Python {python} in {prefix}", self.0.pid);
                ready.take().map(|ready| ready.send(threads)).is_some()
            }
            Report::Forked { ticket, pid } => {
                let expected = environments.get_mut(&ticket).and_then(|expected| expected.forked.take());
                let was_expected = expected.is_some();
                let pidfd = pidfd.filter(|pidfd| !self.0.is_template || is_child(pid, pidfd, self.0.pid));
                if let (Some(forked), Some(pidfd)) = (expected, pidfd)
                    && let Err(Ok((_, pidfd))) = forked.send(Ok((pid, pidfd)))
                {
                    // Whoever wanted it has gone away meanwhile.
                    let _ = rustix::process::pidfd_send_signal(&pidfd, Signal::KILL);
                }
                was_expected
            }
            Report::Failed { ticket, reason } => {
                let forked = environments.remove(&ticket).and_then(|expected| expected.forked);
                forked.map(|forked| forked.send(Err(reason))).is_some()
            }
            // A template counts nobody.
            Report::Crowded { process_name } if !self.0.is_template => {
                let name = process_name.split_once(':').map_or(&*process_name, |(_, name)| name);
                memory::tell_crowded(name);
                true
            }
            Report::Crowded { .. } => false,
            Report::Exited { ticket, exit } => {
                let expected = environments.remove(&ticket);
                expected.map(|expected| expected.exit.send_replace(Some(exit))).is_some()
            }
        }
    }

    /// The zygote is gone, and by its death signal every environment with it.
    fn finish(&self) {
        self.0.ended.send_replace(true);
        for (_, expected) in self.0.environments.lock().unwrap().drain() {
            expected.exit.send_replace(Some(Exit::Signal(Signal::KILL.as_raw())));
        }
    }
}

/// The gateway's end, which does not block, and the other one.
pub fn control_socket() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    Ok((ours, theirs))
}

/// Whether this is a child of a template, and the pidfd is that child's: whoever is killed by it, and
/// whose memory is looked at, must belong to the function.
fn is_child(pid: i32, pidfd: &OwnedFd, template: u32) -> bool {
    let text = |path: String| std::fs::read_to_string(path).unwrap_or_default();
    let number = |line: Option<&str>| line?.split_whitespace().last()?.parse::<i64>().ok();
    let status = text(format!("/proc/{pid}/status"));
    // After that: while the pidfd is of a process that is there, its number is not another's.
    let information = text(format!("/proc/self/fdinfo/{}", std::os::fd::AsRawFd::as_raw_fd(pidfd)));
    let meant = number(information.lines().find(|line| line.starts_with("Pid:")));
    let parent = number(status.lines().find(|line| line.starts_with("PPid:")));
    meant == Some(i64::from(pid)) && parent == Some(i64::from(template))
}

fn receive(control: &OwnedFd, buffer: &mut [u8]) -> rustix::io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let message = rustix::net::recvmsg(
        control,
        &mut [IoSliceMut::new(buffer)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
    )?;
    let mut descriptor = None;
    for received in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(mut descriptors) = received {
            descriptor = descriptors.next();
        }
    }
    Ok((message.bytes, descriptor))
}

/// One environment's process, whoever its parent is.
pub struct Process {
    pub pid: i32,
    pidfd: OwnedFd,
    exit: watch::Receiver<Option<Exit>>,
}

impl Process {
    /// Through the pidfd, so that a reused process id is never hit.
    pub fn kill(&self) {
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    pub fn has_exited(&self) -> bool {
        self.exit.borrow().is_some()
    }

    /// Asks the kernel, which knows before the zygote has reported.
    pub fn is_gone(&self) -> bool {
        let mut ready = [PollFd::new(&self.pidfd, PollFlags::IN)];
        matches!(rustix::event::poll(&mut ready, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(1..))
    }

    pub async fn exited(&mut self) -> Exit {
        match self.exit.wait_for(Option::is_some).await {
            Ok(exit) => exit.unwrap_or(Exit::Signal(0)),
            Err(_) => Exit::Signal(Signal::KILL.as_raw()),
        }
    }
}

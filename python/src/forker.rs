//! What a zygote and a template have in common: a loop that forks when the gateway asks, reports how
//! what it has forked ends, and ends all of it when the gateway has gone.
//!
//! The gateway's side of this conversation is `src/execution_environment/zygote.rs`.

use std::collections::HashMap;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};
use serde::Serialize;

use crate::defences;
use crate::isolation::{Asked, Births, Registry};
use crate::protocol::control::{Exit, Fork, MAX_MESSAGE, MOST_DESCRIPTORS, Report};
use crate::spare::{self, Spare};

pub struct Forker {
    control: OwnedFd,
    children_signal: ChildSignal,
    /// By process id: every environment that has not been reaped.
    environments: HashMap<i32, Known>,
    spare: Option<Spare>,
    /// When an environment was asked for last.
    asked: Option<Instant>,
}

/// What is known of an environment.
struct Known {
    ticket: u64,
    process_name: String,
    /// Once it has been handed over.
    births: Option<Births>,
    /// Nobody is answered any more.
    is_ending: bool,
}

/// What a forked process is to do: from here on it is its own master.
pub type Child<'a> = dyn Fn(&Fork, Pid, Vec<OwnedFd>) -> PyResult<()> + 'a;

/// What a zygote does when nobody asks.
pub struct Leisure<'a> {
    /// Once, after so long.
    pub after: Duration,
    pub import_more: &'a dyn Fn() -> PyResult<()>,
    /// In a spare child, while it waits.
    pub rehearse: &'a dyn Fn(),
}

/// Nothing has happened for so long: time to fork a spare child.
const PAUSE: Duration = Duration::from_millis(20);
/// So long after an environment has been asked for another one may be; then the spare child ends.
const KEPT: Duration = Duration::from_secs(60);

/// What is to be done if nothing happens for a while.
enum Chore {
    Answer,
    Import,
    ForkSpare,
    EndSpare,
}

impl Forker {
    /// From now on SIGCHLD is heard here. The descriptors are numbered from `lowest`.
    pub fn new(control: OwnedFd, lowest: i32) -> Result<Self, Errno> {
        let children_signal = ChildSignal::listen(lowest)?;
        Ok(Self { control, children_signal, environments: HashMap::new(), spare: None, asked: None })
    }

    pub fn send(&self, report: &Report) -> Result<(), Errno> {
        send(&self.control, report, &[])
    }

    /// Runs until the gateway closes the control socket. Returns in the parent only then; returns in a
    /// forked child when that has ended, with what ended it. Where births are announced here, processes
    /// are counted as they are born.
    pub fn serve(
        mut self,
        py: Python<'_>,
        leisure: Option<&Leisure<'_>>,
        registry: Option<&Registry>,
        child: &Child<'_>,
    ) -> PyResult<()> {
        let mut has_imported = false;
        loop {
            let chore = leisure.and_then(|leisure| self.chore(leisure, has_imported));
            let chore = self.wait().map(|wait| (wait, Chore::Answer)).or(chore);
            let timeout = chore.as_ref().map(|(after, _)| timespec(*after));
            let mut ready = self.listened_to(registry);
            match rustix::event::poll(&mut ready, timeout.as_ref()) {
                Ok(0) => {
                    drop(ready);
                    match (chore, leisure) {
                        (Some((_, Chore::Import)), Some(leisure)) => {
                            has_imported = true;
                            (leisure.import_more)()?;
                            // The next one has what this was about.
                            self.end_spare();
                        }
                        (Some((_, Chore::ForkSpare)), Some(leisure)) => {
                            if let Some(result) = self.fork_spare(py, leisure.rehearse, child) {
                                std::mem::forget(self);
                                return result;
                            }
                        }
                        (Some((_, Chore::EndSpare)), _) => self.end_spare(),
                        _ => {}
                    }
                    continue;
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(os_error(error)),
            }
            let has_news = |index: usize| ready.get(index).is_some_and(|one| !one.revents().is_empty());
            let (message, child_ended) = (has_news(0), has_news(1));
            let new = registry.is_some() && has_news(2);
            let asks = |one: &&PollFd<'_>| one.revents().contains(PollFlags::IN);
            let asking = ready.iter().skip(2 + usize::from(registry.is_some())).filter(asks);
            let asking: Vec<i32> = asking.map(|one| one.as_fd().as_raw_fd()).collect();
            drop(ready);
            for listener in asking {
                self.answer(listener);
            }
            if let Some(registry) = registry.filter(|_| new) {
                self.take_births(registry);
            }
            if child_ended {
                self.children_signal.clear();
                self.reap();
            }
            if message {
                match receive(&self.control) {
                    Ok(Some((fork, descriptors))) => {
                        if let Some(result) = self.fork(py, &fork, descriptors, child) {
                            // In a child, which has closed these descriptors by number.
                            std::mem::forget(self);
                            return result;
                        }
                    }
                    // The gateway has gone, or speaks nonsense: in either case nothing may go on here.
                    Ok(None) | Err(_) => {
                        self.end_all();
                        return Ok(());
                    }
                }
            }
        }
    }

    /// The control socket, the signal, what environments are announced on; then whoever asks to fork.
    fn listened_to<'a>(&'a self, registry: Option<&'a Registry>) -> Vec<PollFd<'a>> {
        let now = Instant::now();
        let births = self.births().filter(|births| births.wait(now).is_none());
        let first = [self.control.as_fd(), self.children_signal.descriptor.as_fd()];
        let registry = registry.map(Registry::descriptor);
        let all = first.into_iter().chain(registry).chain(births.map(Births::descriptor));
        all.map(|descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN)).collect()
    }

    /// Of those that are answered.
    fn births(&self) -> impl Iterator<Item = &Births> {
        self.environments.values().filter(|known| !known.is_ending).filter_map(|known| known.births.as_ref())
    }

    /// How long it is until somebody who was too quick may be answered.
    fn wait(&self) -> Option<Duration> {
        let now = Instant::now();
        self.births().filter_map(|births| births.wait(now)).min()
    }

    /// What comes next, and after how long without news.
    fn chore(&self, leisure: &Leisure<'_>, has_imported: bool) -> Option<(Duration, Chore)> {
        let kept = self.asked.map_or(Duration::ZERO, |asked| KEPT.saturating_sub(asked.elapsed()));
        match &self.spare {
            None if !kept.is_zero() => Some((PAUSE, Chore::ForkSpare)),
            _ if !has_imported => Some((leisure.after, Chore::Import)),
            Some(_) => Some((kept, Chore::EndSpare)),
            None => None,
        }
    }

    fn take_births(&mut self, registry: &Registry) {
        while let Some((ticket, births)) = registry.next() {
            // One that has ended meanwhile cannot fork any more once this is closed.
            if let Some(known) = self.environments.values_mut().find(|known| known.ticket == ticket) {
                known.births = Some(births);
            }
        }
    }

    /// Somebody below an environment wants to fork.
    fn answer(&mut self, listener: i32) {
        let asked_by = |known: &Known| {
            known.births.as_ref().is_some_and(|births| births.descriptor().as_raw_fd() == listener)
        };
        let Some((&pid, known)) = self.environments.iter_mut().find(|(_, known)| asked_by(known)) else {
            return;
        };
        let Some(births) = &mut known.births else { return };
        if let Asked::TooMany = births.answer(|| tree_of(pid).len()) {
            let report = Report::Crowded { process_name: known.process_name.clone() };
            // Whoever below it wants to fork waits on, until it is killed.
            known.is_ending = true;
            let _ = send(&self.control, &report, &[]);
            let _ = rustix::process::kill_process(Pid::from_raw(pid).expect("forked"), Signal::KILL);
        }
    }

    /// In the parent: `None`. In the child: what ended it.
    fn fork(
        &mut self,
        py: Python<'_>,
        fork: &Fork,
        descriptors: Vec<OwnedFd>,
        child: &Child<'_>,
    ) -> Option<PyResult<()>> {
        self.asked = Some(Instant::now());
        if let Some(spare) = self.spare.take() {
            if spare.become_one(fork, &descriptors).is_ok() {
                self.has_forked(fork, spare.pid, Ok(spare.pidfd));
                return None;
            }
            spare.end();
        }
        let parent = rustix::process::getpid();
        match self.split(py) {
            Ok(None) => Some(child(fork, parent, descriptors)),
            // It cannot have been reaped yet, so the pidfd is certainly its own.
            Ok(Some(pid)) => {
                self.has_forked(fork, pid, rustix::process::pidfd_open(pid, PidfdFlags::empty()));
                None
            }
            Err(error) => {
                self.failed(fork.ticket, &format!("could not fork: {error}"));
                None
            }
        }
    }

    /// A child for whoever comes next; in it: what ended it, when it has become something.
    fn fork_spare(&mut self, py: Python<'_>, rehearse: &dyn Fn(), child: &Child<'_>) -> Option<PyResult<()>> {
        let parent = rustix::process::getpid();
        let Ok((ours, waiting)) = spare::pair() else { return self.do_without_spare() };
        match self.split(py) {
            Ok(None) => {
                drop(ours);
                Some(match waiting.wait(parent, rehearse) {
                    Some((fork, descriptors)) => child(&fork, parent, descriptors),
                    // SAFETY: ends this process, which has nothing to clean up.
                    None => unsafe { libc::_exit(0) },
                })
            }
            Ok(Some(pid)) => match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
                Ok(pidfd) => {
                    self.spare = Some(Spare::new(pid, pidfd, ours));
                    None
                }
                Err(_) => {
                    let _ = rustix::process::kill_process(pid, Signal::KILL);
                    self.do_without_spare()
                }
            },
            Err(_) => self.do_without_spare(),
        }
    }

    /// Whoever comes next forks, and then there is another try.
    fn do_without_spare(&mut self) -> Option<PyResult<()>> {
        self.asked = None;
        None
    }

    fn end_spare(&mut self) {
        if let Some(spare) = self.spare.take() {
            spare.end();
        }
    }

    /// The child's process id in the parent, `None` in the child.
    fn split(&mut self, _py: Python<'_>) -> std::io::Result<Option<Pid>> {
        // SAFETY: this process has one thread, the interpreter is told before and after, and the
        // child goes on in ordinary Rust and Python.
        let pid = unsafe {
            pyo3::ffi::PyOS_BeforeFork();
            libc::fork()
        };
        if pid == 0 {
            // SAFETY: called once, in the child, right after fork.
            unsafe { pyo3::ffi::PyOS_AfterFork_Child() };
            self.children_signal.forget();
            // The answering sides of others, which lie where no closing of small descriptors gets.
            self.environments.clear();
            return Ok(None);
        }
        let error = std::io::Error::last_os_error();
        // SAFETY: called once, in the parent, right after fork.
        unsafe { pyo3::ffi::PyOS_AfterFork_Parent() };
        if pid < 0 { Err(error) } else { Ok(Pid::from_raw(pid)) }
    }

    fn has_forked(&mut self, fork: &Fork, pid: Pid, pidfd: Result<OwnedFd, Errno>) {
        let known = Known {
            ticket: fork.ticket,
            process_name: fork.process_name.clone(),
            births: None,
            is_ending: false,
        };
        let number = pid.as_raw_pid();
        self.environments.insert(number, known);
        match pidfd {
            Ok(pidfd) => {
                let report = Report::Forked { ticket: fork.ticket, pid: number };
                let _ = send(&self.control, &report, &[pidfd.as_fd()]);
            }
            Err(error) => {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
                self.failed(fork.ticket, &format!("could not open a pidfd: {error}"));
            }
        }
    }

    fn failed(&self, ticket: u64, reason: &str) {
        let _ = self.send(&Report::Failed { ticket, reason: reason.to_owned() });
    }

    /// Reports environments that ended, and ends what they left behind.
    fn reap(&mut self) {
        let mut ended = Vec::new();
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if self.spare.as_ref().is_some_and(|spare| spare.pid == pid) {
                self.spare = None;
            }
            let pid = pid.as_raw_pid();
            let Some(known) = self.environments.remove(&pid) else { continue };
            // The environment led its own process group; its plain children are still in it, and none of
            // them can fork any more once this has been said.
            if !defences::off("descendants-killed") {
                let group = Pid::from_raw(pid).expect("reaped");
                let _ = rustix::process::kill_process_group(group, Signal::KILL);
            }
            let exit = match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => Exit::Status(code),
                (None, signal) => Exit::Signal(signal.unwrap_or(0)),
            };
            ended.push((known, exit));
        }
        if ended.is_empty() {
            return;
        }
        for (known, exit) in &ended {
            let report = Report::Exited { ticket: known.ticket, exit: *exit };
            let _ = send(&self.control, &report, &[]);
        }
        self.sweep();
        // Only now are the answering sides closed: a bomb that is refused at once tries again and again,
        // and takes the processors; one that waits for leave is quiet.
        drop(ended);
    }

    /// Kills every child that is not an environment, with all below it, until none is left: what is born
    /// meanwhile, where births are not asked for, comes here when its parent ends. Bounded, because a bomb
    /// may fork as fast as it is swept; what is left then is swept with the next exit.
    fn sweep(&mut self) {
        if defences::off("descendants-killed") {
            return;
        }
        for _ in 0..1000 {
            let spare = self.spare.as_ref().map(|spare| spare.pid.as_raw_pid());
            let is_stranger = |pid: &i32| !self.environments.contains_key(pid) && Some(*pid) != spare;
            let strangers: Vec<i32> = children().into_iter().filter(is_stranger).collect();
            if strangers.is_empty() {
                return;
            }
            for stranger in &strangers {
                for pid in tree_of(*stranger) {
                    let pid = Pid::from_raw(pid).expect("listed by the kernel");
                    let _ = rustix::process::kill_process(pid, Signal::KILL);
                }
            }
            for pid in strangers {
                let _ = rustix::process::waitpid(Pid::from_raw(pid), WaitOptions::empty());
            }
        }
    }

    fn end_all(&mut self) {
        self.end_spare();
        // Whoever wants to fork meanwhile waits for ever.
        let mut births = Vec::new();
        for (pid, known) in &mut self.environments {
            births.push(known.births.take());
            let pid = Pid::from_raw(*pid).expect("forked");
            let _ = rustix::process::kill_process(pid, Signal::KILL);
            let _ = rustix::process::kill_process_group(pid, Signal::KILL);
        }
        while let Some((&pid, _)) = self.environments.iter().next() {
            let _ = rustix::process::waitpid(Pid::from_raw(pid), WaitOptions::empty());
            self.environments.remove(&pid);
        }
        self.sweep();
    }
}

/// Direct children of this process, which has one thread.
pub fn children() -> Vec<i32> {
    let pid = rustix::process::getpid().as_raw_pid();
    children_of(&format!("/proc/self/task/{pid}/children"))
}

fn children_of(list: &str) -> Vec<i32> {
    std::fs::read_to_string(list)
        .map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect())
        .unwrap_or_default()
}

/// A process that nobody has waited for yet, and all below it.
fn tree_of(root: i32) -> Vec<i32> {
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(pid) = tree.get(next) {
        for thread in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            tree.extend(children_of(&format!("{}/children", thread.path().display())));
        }
        next += 1;
    }
    tree
}

/// SIGCHLD as a descriptor, so that one `poll` waits for messages and exits alike.
struct ChildSignal {
    descriptor: OwnedFd,
    set: libc::sigset_t,
}

impl ChildSignal {
    fn listen(lowest: i32) -> Result<Self, Errno> {
        // SAFETY: plain libc calls on a set that is initialised first.
        unsafe {
            let mut set = MaybeUninit::<libc::sigset_t>::uninit();
            libc::sigemptyset(set.as_mut_ptr());
            libc::sigaddset(set.as_mut_ptr(), libc::SIGCHLD);
            let set = set.assume_init();
            libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
            let descriptor = libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            if descriptor < 0 {
                return Err(Errno::from_raw_os_error(*libc::__errno_location()));
            }
            let descriptor = OwnedFd::from_raw_fd(descriptor);
            let descriptor = match descriptor.as_raw_fd() < lowest {
                true => rustix::io::fcntl_dupfd_cloexec(&descriptor, lowest)?,
                false => descriptor,
            };
            Ok(Self { descriptor, set })
        }
    }

    fn clear(&self) {
        let mut buffer = [0; 16 * size_of::<libc::signalfd_siginfo>()];
        while matches!(rustix::io::read(&self.descriptor, &mut buffer), Ok(read) if read > 0) {}
    }

    /// In a child: handlers that start processes expect SIGCHLD to behave as usual.
    fn forget(&self) {
        // SAFETY: as in `listen`.
        unsafe { libc::sigprocmask(libc::SIG_UNBLOCK, &self.set, std::ptr::null_mut()) };
    }
}

/// One message with its descriptors.
pub fn send(socket: &OwnedFd, message: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let message = serde_json::to_vec(message).map_err(|_| Errno::INVAL)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    loop {
        match rustix::net::sendmsg(socket, &[IoSlice::new(&message)], &mut ancillary, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            other => return other.map(drop),
        }
    }
}

/// One message with its descriptors; `None` when the gateway has closed the socket.
pub fn receive(control: &OwnedFd) -> Result<Option<(Fork, Vec<OwnedFd>)>, Errno> {
    let mut buffer = vec![0; MAX_MESSAGE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = loop {
        match rustix::net::recvmsg(control, &mut [IoSliceMut::new(&mut buffer)], &mut ancillary, flags) {
            Err(Errno::INTR) => {}
            other => break other?,
        }
    };
    if received.bytes == 0 || received.flags.contains(ReturnFlags::TRUNC) {
        return Ok(None);
    }
    let descriptors = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .collect();
    let fork = serde_json::from_slice(&buffer[..received.bytes]).map_err(|_| Errno::BADMSG)?;
    Ok(Some((fork, descriptors)))
}

fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: duration.as_secs() as i64, tv_nsec: i64::from(duration.subsec_nanos()) }
}

pub fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count)
}

pub fn set_process_name(name: &str) {
    if let Ok(name) = std::ffi::CString::new(name.replace('\0', "")) {
        let _ = rustix::thread::set_name(&name);
    }
}

pub fn os_error(error: Errno) -> PyErr {
    PyOSError::new_err((error.raw_os_error(), error.to_string()))
}

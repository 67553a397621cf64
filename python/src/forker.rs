//! What a zygote and a template have in common: a loop that forks when the gateway asks, reports how
//! what it has forked ends, and ends all of it when the gateway has gone.
//!
//! The gateway's side of this conversation is `src/execution_environment/zygote.rs`.

use std::collections::HashMap;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};

use crate::protocol::control::{Exit, Fork, MAX_MESSAGE, MOST_DESCRIPTORS, Report};

pub struct Forker {
    control: OwnedFd,
    children_signal: ChildSignal,
    /// Process id -> ticket, for every environment that has not been reaped.
    environments: HashMap<i32, u64>,
}

/// What a forked process is to do: from here on it is its own master.
pub type Child<'a> = dyn Fn(&Fork, Pid, Vec<OwnedFd>) -> PyResult<()> + 'a;

/// After so long without a message this is called, once.
pub struct Spare<'a> {
    pub after: Timespec,
    pub call: &'a dyn Fn() -> PyResult<()>,
}

impl Forker {
    /// From now on SIGCHLD is heard here. The descriptors are numbered from `lowest`.
    pub fn new(control: OwnedFd, lowest: i32) -> Result<Self, Errno> {
        let children_signal = ChildSignal::listen(lowest)?;
        Ok(Self { control, children_signal, environments: HashMap::new() })
    }

    pub fn send(&self, report: &Report) -> Result<(), Errno> {
        send(&self.control, report, None)
    }

    /// Runs until the gateway closes the control socket. Returns in the parent only then; returns in a
    /// forked child when that has ended, with what ended it.
    pub fn serve(mut self, py: Python<'_>, spare: Option<&Spare<'_>>, child: &Child<'_>) -> PyResult<()> {
        let mut patience = spare.map(|spare| spare.after);
        loop {
            let mut ready = [
                PollFd::new(&self.control, PollFlags::IN),
                PollFd::new(&self.children_signal.descriptor, PollFlags::IN),
            ];
            match rustix::event::poll(&mut ready, patience.as_ref()) {
                Ok(0) => {
                    patience = None;
                    if let Some(spare) = spare {
                        (spare.call)()?;
                    }
                    continue;
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(os_error(error)),
            }
            let (message, child_ended) = (!ready[0].revents().is_empty(), !ready[1].revents().is_empty());
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

    /// In the parent: `None`. In the child: what ended it.
    fn fork(
        &mut self,
        _py: Python<'_>,
        fork: &Fork,
        descriptors: Vec<OwnedFd>,
        child: &Child<'_>,
    ) -> Option<PyResult<()>> {
        let parent = rustix::process::getpid();
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
            return Some(child(fork, parent, descriptors));
        }
        let fork_error = std::io::Error::last_os_error();
        // SAFETY: called once, in the parent, right after fork.
        unsafe { pyo3::ffi::PyOS_AfterFork_Parent() };
        if pid < 0 {
            self.failed(fork.ticket, &format!("could not fork: {fork_error}"));
            return None;
        }
        self.environments.insert(pid, fork.ticket);
        let child = Pid::from_raw(pid).expect("fork returned a process id");
        // The child cannot have been reaped yet, so the pidfd is certainly the child's.
        match rustix::process::pidfd_open(child, PidfdFlags::empty()) {
            Ok(pidfd) => {
                let report = Report::Forked { ticket: fork.ticket, pid };
                let _ = send(&self.control, &report, Some(pidfd.as_fd()));
            }
            Err(error) => {
                let _ = rustix::process::kill_process(child, Signal::KILL);
                self.failed(fork.ticket, &format!("could not open a pidfd: {error}"));
            }
        }
        None
    }

    fn failed(&self, ticket: u64, reason: &str) {
        let _ = self.send(&Report::Failed { ticket, reason: reason.to_owned() });
    }

    /// Reports environments that ended, and ends what they left behind.
    fn reap(&mut self) {
        let mut ended = Vec::new();
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            let pid = pid.as_raw_pid();
            let Some(ticket) = self.environments.remove(&pid) else { continue };
            // The environment led its own process group; its plain children are still in it.
            let _ = rustix::process::kill_process_group(Pid::from_raw(pid).expect("reaped"), Signal::KILL);
            let exit = match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => Exit::Status(code),
                (None, signal) => Exit::Signal(signal.unwrap_or(0)),
            };
            ended.push((ticket, exit));
        }
        if ended.is_empty() {
            return;
        }
        for (ticket, exit) in ended {
            let _ = self.send(&Report::Exited { ticket, exit });
        }
        self.sweep();
    }

    /// Kills every child that is not an environment, until none is left: killing one can bring its
    /// own children here. Bounded, because a bomb may fork as fast as it is swept; what is left then
    /// is swept with the next exit.
    fn sweep(&mut self) {
        for _ in 0..1000 {
            let strangers: Vec<i32> =
                children().into_iter().filter(|pid| !self.environments.contains_key(pid)).collect();
            if strangers.is_empty() {
                return;
            }
            for pid in &strangers {
                let pid = Pid::from_raw(*pid).expect("listed by the kernel");
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
            for pid in strangers {
                let _ = rustix::process::waitpid(Pid::from_raw(pid), WaitOptions::empty());
            }
        }
    }

    fn end_all(&mut self) {
        for pid in self.environments.keys() {
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
    std::fs::read_to_string(format!("/proc/self/task/{pid}/children"))
        .map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect())
        .unwrap_or_default()
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

fn send(control: &OwnedFd, report: &Report, descriptor: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
    let message = serde_json::to_vec(report).map_err(|_| Errno::INVAL)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if let Some(descriptor) = &descriptor {
        ancillary.push(SendAncillaryMessage::ScmRights(std::slice::from_ref(descriptor)));
    }
    loop {
        match rustix::net::sendmsg(control, &[IoSlice::new(&message)], &mut ancillary, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            other => return other.map(drop),
        }
    }
}

/// One message with its descriptors; `None` when the gateway has closed the socket.
fn receive(control: &OwnedFd) -> Result<Option<(Fork, Vec<OwnedFd>)>, Errno> {
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

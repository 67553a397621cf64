//! A template: a process that has run a function's init phase, and from then on forks environments that
//! need none. This is what stands here for the snapshot of Lambda's SnapStart.
//!
//! A fork copies memory and the one thread that asks for it. What else an init phase may have made (other
//! threads, connections, child processes) would be missing in the copies, or be shared by all of them:
//! with such a thing there is no template, and the gateway is told why.

use std::collections::HashSet;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use pyo3::exceptions::PySystemExit;
use pyo3::prelude::*;
use pyo3::types::PyModule;
use rustix::fs::{FileType, Mode, OFlags, SeekFrom};

use crate::channel::Channel;
use crate::environment::{self, HIGH_DESCRIPTORS};
use crate::forker::{Forker, children, os_error, threads};
use crate::isolation::Confinement;
use crate::protocol::frame::Kind;

/// The exit status of Lambda's own runtime when a hook that runs before a snapshot fails.
const SNAPSHOT_FAILED: i32 = 64;

/// What there was before the init phase.
pub struct Ahead {
    shared: HashSet<String>,
}

impl Ahead {
    pub fn look() -> Self {
        Self { shared: shared_memory() }
    }
}

/// What follows the init phase: the hooks, a look around, and the loop.
pub fn serve<'py>(
    py: Python<'py>,
    bootstrap: &Bound<'py, PyModule>,
    handler: Bound<'py, PyAny>,
    channel: &mut Channel,
    control: OwnedFd,
    ahead: &Ahead,
    confinement: &Confinement,
) -> PyResult<()> {
    if let Err(error) = bootstrap.call_method0("take_snapshot") {
        environment::report_fault(py, bootstrap, channel, error)?;
        return Err(PySystemExit::new_err(SNAPSHOT_FAILED));
    }
    if let Some(obstacle) = obstacle(py, ahead)? {
        return channel.report(Kind::Ready, obstacle.as_bytes());
    }
    let forker = Forker::new(control, HIGH_DESCRIPTORS).map_err(os_error)?;
    channel.report(Kind::Ready, b"")?;
    forker.serve(py, None, None, &|fork, template, descriptors| {
        environment::restore(py, fork, template, descriptors, (bootstrap, &handler), confinement)
    })
}

/// A thread that has been joined has ended for Python a moment before it has for the kernel.
fn other_threads() -> usize {
    for _ in 0..100 {
        if threads() <= 1 {
            return 0;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    threads().saturating_sub(1)
}

/// Why this process cannot be forked, if so: in words that follow "its init phase".
fn obstacle(py: Python<'_>, ahead: &Ahead) -> PyResult<Option<String>> {
    let more = other_threads();
    if more > 0 {
        let names: Vec<String> = python_threads(py).unwrap_or_default();
        let names = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
        return Ok(Some(format!("has left {} running{names}", plural(more, "thread"))));
    }
    let children = children().len();
    if children > 0 {
        return Ok(Some(format!("has left {} running", plural(children, "process"))));
    }
    for descriptor in descriptors() {
        // SAFETY: a descriptor of this process that nobody closes meanwhile: it has one thread.
        let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) };
        if let Some(obstacle) = open_obstacle(descriptor) {
            return Ok(Some(obstacle));
        }
    }
    if shared_memory().difference(&ahead.shared).next().is_some() {
        return Ok(Some("has made memory that is shared between processes".to_owned()));
    }
    Ok(None)
}

fn python_threads(py: Python<'_>) -> PyResult<Vec<String>> {
    let threading = py.import("threading")?;
    let main = threading.call_method0("main_thread")?;
    let mut names = Vec::new();
    for thread in threading.call_method0("enumerate")?.try_iter()?.take(4) {
        let thread = thread?;
        if !thread.is(&main) {
            names.push(thread.getattr("name")?.extract()?);
        }
    }
    Ok(names)
}

fn plural(number: usize, noun: &str) -> String {
    match (number, noun.ends_with('s')) {
        (1, _) => format!("1 {noun}"),
        (_, false) => format!("{number} {noun}s"),
        (_, true) => format!("{number} {noun}es"),
    }
}

/// Those that are not the runtime's own.
fn descriptors() -> Vec<RawFd> {
    let entries = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let mut numbers: Vec<RawFd> =
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.retain(|number| (3..HIGH_DESCRIPTORS).contains(number));
    // The one that the folder itself was read by is closed by now.
    // SAFETY: asks for flags; an error is an answer.
    numbers.retain(|number| unsafe { libc::fcntl(*number, libc::F_GETFD) } >= 0);
    numbers.sort_unstable();
    numbers
}

/// What would be shared by all forks, in its state and not only in its content.
fn open_obstacle(descriptor: BorrowedFd<'_>) -> Option<String> {
    let name = name(descriptor);
    let kind = rustix::fs::fstat(descriptor).map(|status| FileType::from_raw_mode(status.st_mode));
    match kind {
        Ok(FileType::Socket) => Some("has left a socket open".to_owned()),
        Ok(FileType::Fifo) => Some("has left a pipe open".to_owned()),
        // Without a state of their own, as far as functions have any.
        Ok(FileType::CharacterDevice) => None,
        Ok(FileType::RegularFile | FileType::Directory) if !name.starts_with("/memfd:") => {
            match is_for_reading(descriptor) && open_anew(descriptor).is_some() {
                true => None,
                false => Some(format!("has left the file {name} open for writing")),
            }
        }
        _ if name.contains("[eventpoll]") => Some("has left an event loop open".to_owned()),
        _ => Some(format!("has left {name} open")),
    }
}

fn name(descriptor: BorrowedFd<'_>) -> String {
    let link = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
    std::fs::read_link(link).map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn is_for_reading(descriptor: BorrowedFd<'_>) -> bool {
    rustix::fs::fcntl_getfl(descriptor).is_ok_and(|flags| flags & OFlags::RWMODE == OFlags::RDONLY)
}

/// The same file once more, at the same place, with a place of its own from here on.
fn open_anew(descriptor: BorrowedFd<'_>) -> Option<OwnedFd> {
    let flags = rustix::fs::fcntl_getfl(descriptor).ok()? & !(OFlags::CREATE | OFlags::EXCL | OFlags::TRUNC);
    let place = rustix::fs::seek(descriptor, SeekFrom::Current(0)).ok()?;
    let link = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
    let anew = rustix::fs::open(link, flags | OFlags::CLOEXEC, Mode::empty()).ok()?;
    rustix::fs::seek(&anew, SeekFrom::Start(place)).ok()?;
    Some(anew)
}

/// In a fork: how far a file has been read is no longer shared with the others.
pub fn open_files_anew() {
    for number in descriptors() {
        // SAFETY: as in `obstacle`.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        let kind = rustix::fs::fstat(descriptor).map(|status| FileType::from_raw_mode(status.st_mode));
        let is_file = matches!(kind, Ok(FileType::RegularFile | FileType::Directory));
        let inherited = rustix::io::fcntl_getfd(descriptor);
        if let (true, Ok(inherited)) = (is_file && is_for_reading(descriptor), inherited)
            && let Some(anew) = open_anew(descriptor)
        {
            let cloexec = inherited.contains(rustix::io::FdFlags::CLOEXEC);
            let flags = if cloexec { libc::O_CLOEXEC } else { 0 };
            // SAFETY: replaces what the handler's own object owns by its like.
            unsafe { libc::dup3(anew.as_raw_fd(), number, flags) };
        }
    }
}

/// What this process shares for writing: the kernel's names of it.
fn shared_memory() -> HashSet<String> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let shared = |line: &str| -> Option<String> {
        // 7f0c00000000-7f0c00001000 rw-s 00000000 00:01 1234   /memfd:name (deleted)
        let mut fields = line.split_ascii_whitespace().skip(1);
        let rights = fields.next()?;
        let (device, number) = (fields.nth(1)?, fields.next()?);
        (rights.contains('w') && rights.ends_with('s')).then(|| format!("{device} {number}"))
    };
    maps.lines().filter_map(shared).collect()
}

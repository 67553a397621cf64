//! Runs an interpreter once and lets it tell what it is.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};

use super::problem::Problem;
use super::version::Version;

pub(super) const SCRIPT: &str = include_str!("probe.py");

/// Several times what the slowest disk needs; whatever takes longer waits for something else.
const PATIENCE: Duration = Duration::from_secs(5);

/// The answer is about 1 kB long; a program that is no Python may write without end.
const LONGEST_OUTPUT: usize = 64 * 1024;

/// What an interpreter says of itself: only what stays true as long as its file is the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Facts {
    pub(super) implementation: String,
    version: [u16; 3],
    pub(super) executable: Option<PathBuf>,
    pub(super) prefix: PathBuf,
    pub(super) base_prefix: PathBuf,
    pub(super) stdlib: PathBuf,
    pub(super) free_threaded: bool,
    pub(super) optimised: Option<bool>,
    pub(super) loaded_library: Option<PathBuf>,
    pub(super) library_names: Vec<Option<String>>,
    pub(super) library_folders: Vec<Option<PathBuf>>,
    pub(super) ld_version: String,
    pub(super) multiarch: Option<String>,
}

impl Facts {
    pub(super) fn version(&self) -> Version {
        let [major, minor, micro] = self.version;
        Version { major, minor, micro }
    }

    #[cfg(test)]
    pub(super) fn example(prefix: &Path) -> Facts {
        Facts {
            implementation: "cpython".into(),
            version: [3, 12, 1],
            executable: Some(prefix.join("bin/python3.12")),
            prefix: prefix.into(),
            base_prefix: prefix.into(),
            stdlib: prefix.join("lib/python3.12"),
            free_threaded: false,
            optimised: Some(true),
            loaded_library: None,
            library_names: Vec::new(),
            library_folders: Vec::new(),
            ld_version: "3.12".into(),
            multiarch: None,
        }
    }
}

pub(super) fn run(program: &Path, current_dir: &Path) -> Result<Facts, Problem> {
    run_for(program, current_dir, PATIENCE)
}

pub(super) fn run_for(program: &Path, current_dir: &Path, patience: Duration) -> Result<Facts, Problem> {
    let failed = |error: io::Error| Problem::CouldNotRun(error.to_string());
    let deadline = Instant::now() + patience;
    let mut command = Command::new(program);
    command
        // Without `site` it starts in half the time, and nobody's `sitecustomize` runs or prints.
        // `-I` would say more in one letter, but Python 2 does not know it.
        .args(["-E", "-s", "-S", "-B", "-c", SCRIPT])
        .current_dir(if current_dir.is_dir() { current_dir } else { Path::new("/") })
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own: a shim starts further processes, and all of them are to end.
        .process_group(0);
    // SAFETY: the closure runs between fork and exec and makes one system call, which is allowed
    // there; it neither allocates nor takes a lock.
    unsafe {
        command.pre_exec(close_other_files_on_exec);
    }
    let mut child = command.spawn().map_err(failed)?;
    let answer = listen(&mut child, deadline).and_then(|output| match output {
        Some(output) => Ok(wait(&mut child, deadline)?.map(|status| (output, status))),
        None => Ok(None),
    });
    if !matches!(answer, Ok(Some(_))) {
        end(&mut child);
    }
    let seconds = patience.as_secs();
    let (output, status) = answer.map_err(failed)?.ok_or(Problem::TimedOut { seconds })?;
    read(&output, status)
}

/// Files that the gateway or its parent opened for other purposes are not handed on to a program
/// that merely happens to be called `python`.
fn close_other_files_on_exec() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        const FIRST_AFTER_STANDARD: libc::c_uint = 3;
        // SAFETY: takes three numbers and touches no memory. A kernel that does not know the call
        // says so and nothing has changed, which is good enough here.
        unsafe {
            libc::syscall(
                libc::SYS_close_range,
                FIRST_AFTER_STANDARD,
                libc::c_uint::MAX,
                libc::CLOSE_RANGE_CLOEXEC,
            );
        }
    }
    Ok(())
}

#[derive(Default)]
struct Output {
    answer: Vec<u8>,
    complaint: Vec<u8>,
}

/// Both outputs to their ends; `None` when the time is over. Both, because a full pipe would stop
/// the child for ever.
fn listen(child: &mut Child, deadline: Instant) -> io::Result<Option<Output>> {
    let mut output = Output::default();
    let mut stdout = child.stdout.take();
    let mut stderr = child.stderr.take();
    while stdout.is_some() || stderr.is_some() {
        let Some(left) = deadline.checked_duration_since(Instant::now()) else {
            return Ok(None);
        };
        let ready: Vec<bool> = {
            let open: Vec<Option<BorrowedFd<'_>>> =
                vec![stdout.as_ref().map(AsFd::as_fd), stderr.as_ref().map(AsFd::as_fd)];
            let mut polled: Vec<PollFd<'_>> =
                open.iter().flatten().map(|file| PollFd::from_borrowed_fd(*file, PollFlags::IN)).collect();
            let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
            match poll(&mut polled, Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let mut results = polled.iter().map(|file| !file.revents().is_empty());
            open.iter().map(|file| file.is_some() && results.next().unwrap_or(false)).collect()
        };
        if ready[0] && take(stdout.as_mut(), &mut output.answer)? {
            stdout = None;
        }
        if ready[1] && take(stderr.as_mut(), &mut output.complaint)? {
            stderr = None;
        }
    }
    Ok(Some(output))
}

/// Reads once. True at the end of the file, or when more has come than anyone wants.
fn take(file: Option<&mut impl Read>, into: &mut Vec<u8>) -> io::Result<bool> {
    let Some(file) = file else { return Ok(true) };
    let mut buffer = [0; 4096];
    match file.read(&mut buffer) {
        Ok(0) => Ok(true),
        Ok(length) => {
            into.extend_from_slice(&buffer[..length]);
            Ok(into.len() > LONGEST_OUTPUT)
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
        Err(error) => Err(error),
    }
}

/// A process that has closed its outputs is about to end, so that looking again and again is cheap.
fn wait(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    let mut pause = Duration::from_micros(50);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

fn end(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

fn read(output: &Output, status: ExitStatus) -> Result<Facts, Problem> {
    let complaint = String::from_utf8_lossy(&output.complaint);
    // The last line of a traceback is the one that says what is wrong.
    let complaint = complaint.lines().rev().map(str::trim).find(|line| !line.is_empty());
    if !status.success() {
        let ended = match (status.code(), status.signal()) {
            (Some(code), _) => format!("it ended with exit code {code}"),
            (None, Some(signal)) => format!("it was ended by signal {signal}"),
            (None, None) => "it ended".to_owned(),
        };
        return Err(Problem::CouldNotRun(complaint.map_or(ended, str::to_owned)));
    }
    serde_json::from_slice(&output.answer)
        .map_err(|_| Problem::CouldNotRun("its answer is not that of a Python".to_owned()))
}

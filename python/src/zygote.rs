//! The zygote: one single-threaded process per interpreter, with CPython initialised and the
//! standard library imported, that does nothing but fork execution environments and report how
//! they end. It holds no handler code, no secrets and no sockets of the gateway but its own.
//!
//! The gateway's side of this conversation is `src/execution_environment/zygote.rs`.
//!
//! Nothing outlives it: when the control socket closes (the gateway ended, however it ended), every
//! environment is killed, and with it whatever the environment had started. Environments are
//! subreapers of their own descendants and the zygote is the subreaper above them, so a daemon that
//! a handler left behind arrives here as a child that nobody knows, and is killed.

use std::mem::ManuallyDrop;
use std::os::fd::{FromRawFd, OwnedFd};
use std::time::Duration;

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use rustix::process::Pid;

use crate::defences;
use crate::environment;
use crate::forker::{Forker, Leisure, os_error, set_process_name, threads};
use crate::isolation::{Confinement, Interpreter, Isolation};
use crate::protocol::control::{CONTROL_FD, PRELOAD_VARIABLE, Report};

/// Runs until the gateway closes the control socket. Returns in the parent only then; returns in a
/// forked child when its environment has ended, with the exception that ended it, if any: the
/// interpreter's own main function turns `SystemExit` and its like into an exit status.
#[pyfunction]
pub fn zygote(py: Python<'_>) -> PyResult<()> {
    // SAFETY: the gateway places the control socket at this number before exec; nobody else owns it.
    let control = unsafe { OwnedFd::from_raw_fd(CONTROL_FD) };
    rustix::io::fcntl_setfd(&control, rustix::io::FdFlags::CLOEXEC).map_err(os_error)?;
    rustix::process::set_child_subreaper(Some(Pid::INIT)).map_err(os_error)?;
    set_process_name("handlerd-zygote");
    // The handlers that the program around us has set up for itself (Rust's word on stack overflow)
    // take the first such signal for their own: a crash is to end an environment at once.
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        // SAFETY: the default action runs no code.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // Named in a variable; those of a child are its function's.
    let _ = defences::off("");
    let isolation = Isolation::enter();
    let forker = Forker::new(control, 0).map_err(os_error)?;

    let bootstrap = crate::bootstrap(py)?;
    let preload = std::env::var(PRELOAD_VARIABLE).unwrap_or_default();
    let preload: Vec<&str> = preload.split(',').filter(|name| !name.is_empty()).collect();
    bootstrap.call_method1("prepare", (preload,))?;
    let sys = py.import("sys")?;
    let interpreter = Interpreter::find(py)?;
    let report = Report::Ready {
        python: sys.getattr("version")?.extract::<String>()?.split(' ').next().unwrap_or("?").to_owned(),
        prefix: sys.getattr("prefix")?.extract()?,
        threads: threads(),
        isolation: isolation.probe(&interpreter),
    };
    forker.send(&report).map_err(os_error)?;

    // Not dropped: an environment, which comes back here when it ends, has closed its descriptors by number.
    let confinement = ManuallyDrop::new(Confinement { isolation, interpreter });
    // The larger part of the standard library is imported when nobody has asked for a while.
    let import_more = || {
        bootstrap.call_method0("prepare_more")?;
        match threads() {
            0 | 1 => Ok(()),
            _ => Err(PyOSError::new_err("the standard library has started a thread")),
        }
    };
    // What comes of it is seen when it is done in earnest.
    let rehearse = || drop(bootstrap.call_method0("rehearse"));
    let leisure = Leisure { after: IDLE, import_more: &import_more, rehearse: &rehearse };
    let registry = confinement.isolation.births.as_ref().ok();
    forker.serve(py, Some(&leisure), registry, &|fork, zygote, descriptors| {
        environment::run(py, fork, zygote, descriptors, &confinement)
    })
}

/// How long nothing must have happened before time is spent on what may be wanted later.
const IDLE: Duration = Duration::from_millis(150);

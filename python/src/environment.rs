//! One execution environment, from inside: set up the process, init phase (or what follows a restore),
//! then invoke by invoke.
//!
//! The gateway's side is `src/execution_environment/environment.rs`. Between invocations this thread
//! waits at the mailbox and keeps the interpreter's lock, so threads that a handler started stand still
//! until the next invocation, as they do when Lambda freezes an environment.

use std::mem::ManuallyDrop;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::time::{Duration, SystemTime};

use pyo3::exceptions::{PyException, PyOSError, PySystemExit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::channel::Channel;
use crate::forker::{os_error, set_process_name};
use crate::isolation::{self, Confinement};
use crate::payload;
use crate::protocol::control::{Becomes, FORK_DESCRIPTORS, Fork};
use crate::protocol::frame::{Kind, MAX_RESULT, Request};
use crate::protocol::mailbox::Desk;
use crate::stream::Outlet;
use crate::template;

/// The pipes to the gateway live up here, where a handler that closes "all" small descriptors does
/// not reach them, below the limit of 1,024.
pub const HIGH_DESCRIPTORS: i32 = 1000;

/// Runs the environment until somebody ends it: the gateway by killing it, the handler by its own
/// doing.
pub fn run(
    py: Python<'_>,
    fork: &Fork,
    zygote: Pid,
    descriptors: Vec<OwnedFd>,
    confinement: &Confinement,
) -> PyResult<()> {
    let announce = || confinement.isolation.announce(fork.ticket);
    let (channel, control) =
        prepare_process(fork, zygote, descriptors, Parent::Zygote, announce).map_err(os_error)?;
    // Never closed from here: how the process ends tells the gateway more than that its pipes are
    // closed, and a handler may have closed them already.
    let channel: &mut Channel = &mut ManuallyDrop::new(channel);
    if let Some(folder) = &fork.bytecode_cache {
        // What is not there yet could not be opened.
        let _ = std::fs::create_dir_all(folder);
    }
    confinement.confine(&fork.paths).map_err(PyOSError::new_err)?;

    let bootstrap = crate::bootstrap(py)?;
    bootstrap.call_method1("start", (settings(py, fork)?,))?;
    let ahead = control.map(|control| (control, template::Ahead::look()));
    let handler = match bootstrap.call_method0("load") {
        Ok(handler) => handler,
        Err(error) if error.is_instance_of::<PyException>(py) => {
            report_fault(py, &bootstrap, channel, error)?;
            return Ok(());
        }
        Err(exit) => return Err(exit),
    };
    match ahead {
        None => serve(py, &bootstrap, handler, channel),
        Some((control, ahead)) => {
            template::serve(py, &bootstrap, handler, channel, control, &ahead, confinement)
        }
    }
}

/// The same for what a template has forked: its init phase lies behind it.
pub fn restore(
    py: Python<'_>,
    fork: &Fork,
    template: Pid,
    descriptors: Vec<OwnedFd>,
    (bootstrap, handler): (&Bound<'_, PyModule>, &Bound<'_, PyAny>),
    confinement: &Confinement,
) -> PyResult<()> {
    // What it starts is asked for where its template is announced, and counted with that.
    let (channel, _) =
        prepare_process(fork, template, descriptors, Parent::Template, || ()).map_err(os_error)?;
    let channel: &mut Channel = &mut ManuallyDrop::new(channel);
    template::open_files_anew();
    // Once more, inside of what its template is closed off with: what it writes is its own.
    confinement.confine(&fork.paths).map_err(PyOSError::new_err)?;
    if let Err(error) = bootstrap.call_method1("restore", (settings(py, fork)?,)) {
        report_fault(py, bootstrap, channel, error)?;
        return Err(PySystemExit::new_err(RESTORE_FAILED));
    }
    serve(py, bootstrap, handler.clone(), channel)
}

/// The exit status of Lambda's own runtime when a hook that runs after a restore fails.
const RESTORE_FAILED: i32 = 65;

/// The process ends after this.
pub fn report_fault(
    py: Python<'_>,
    bootstrap: &Bound<'_, PyModule>,
    channel: &mut Channel,
    error: PyErr,
) -> PyResult<()> {
    let fault = bootstrap.call_method1("init_fault", (error.into_value(py),))?;
    let payload = fault.cast::<PyBytes>()?.as_bytes();
    channel.report(Kind::InitFault, payload)
}

fn serve<'py>(
    py: Python<'py>,
    bootstrap: &Bound<'py, PyModule>,
    handler: Bound<'py, PyAny>,
    channel: &mut Channel,
) -> PyResult<()> {
    let invoker = Invoker::new(py, bootstrap, handler)?;
    channel.report(Kind::Ready, b"")?;

    while channel.serve(py, |request, outlet, answer| {
        let kind = invoker.invoke(py, request, outlet, answer)?;
        invoker.end_copies();
        Ok(kind)
    })? {}
    Ok(())
}

/// Who has forked this process, and so which descriptors it must not keep.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parent {
    /// None of its are a handler's business.
    Zygote,
    /// Those below are its init phase's, and so the handler's; those above are the template's.
    Template,
}

/// Everything about the process that does not need Python. The order matters: the parent is checked
/// after the death signal is set, descriptors are closed after the needed ones have moved up.
fn prepare_process(
    fork: &Fork,
    forker: Pid,
    mut descriptors: Vec<OwnedFd>,
    parent: Parent,
    announce: impl FnOnce(),
) -> Result<(Channel, Option<OwnedFd>), Errno> {
    isolation::tier_zero(forker)?;
    // By a descriptor that is closed below.
    announce();
    set_process_name(&fork.process_name);
    give_way();
    // The gateway does without huge pages; what a handler computes with may want them.
    // SAFETY: changes a setting of this process.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 0, 0, 0, 0) };
    if parent == Parent::Template {
        // SAFETY: no value of this process is used any more that owns a descriptor up there.
        unsafe { libc::close_range(HIGH_DESCRIPTORS as u32, u32::MAX, 0) };
    }

    let is_template = fork.becomes == Becomes::Template;
    let control = descriptors.split_off(FORK_DESCRIPTORS.min(descriptors.len())).pop();
    let given = <[OwnedFd; FORK_DESCRIPTORS]>::try_from(descriptors).map_err(|_| Errno::BADF)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    let [requests, answers, output, mailbox, gateway, bell] = &given;
    rustix::stdio::dup2_stdout(output)?;
    rustix::stdio::dup2_stderr(output)?;
    let up = |descriptor: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(descriptor, HIGH_DESCRIPTORS);
    // The memory stays mapped when its descriptors are closed.
    let pipes = [up(requests)?, up(answers)?, up(output)?];
    let channel = Channel::new(Desk::open(mailbox, gateway, up(bell)?)?, pipes);
    let moved = control.as_ref().map(up).transpose()?;
    if is_template != moved.is_some() {
        return Err(Errno::BADF);
    }
    if parent == Parent::Zygote {
        // The zygote's descriptors are closed with these, once.
        for closed in given.into_iter().chain(control).chain([null]) {
            let _ = closed.into_raw_fd();
        }
        // SAFETY: what is still wanted has moved up; no value owns a descriptor in this range any more
        // (the zygote's own are forgotten by its loop in a child).
        unsafe { libc::close_range(3, HIGH_DESCRIPTORS as u32 - 1, 0) };
    }
    Ok((channel, moved))
}

/// An environment, and what it starts, does not push the gateway off its processor when it is woken: that
/// hands out all it has first, and sleeps then. Under load that is a quarter of the processor time of a request
/// (docs/performance.md); whoever is awake has the same share as before. Nor does it push off the zygote,
/// which ends what has become too much.
fn give_way() {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: changes a setting of this process. Where it is refused, everything works as well.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &parameters) };
}

fn settings<'py>(py: Python<'py>, fork: &Fork) -> PyResult<Bound<'py, PyDict>> {
    let environment = PyDict::new(py);
    for (name, value) in &fork.environment {
        environment.set_item(name, value)?;
    }
    let settings = PyDict::new(py);
    settings.set_item("environment", environment)?;
    settings.set_item("task_root", &fork.task_root)?;
    settings.set_item("layers", &fork.layers)?;
    settings.set_item("bytecode_cache", &fork.bytecode_cache)?;
    Ok(settings)
}

/// The handler with what is needed around each call, looked up once.
struct Invoker<'py> {
    handler: Bound<'py, PyAny>,
    begin: Bound<'py, PyAny>,
    context: Bound<'py, PyAny>,
    bootstrap: Bound<'py, PyAny>,
    faults: Bound<'py, PyAny>,
    response: Bound<'py, PyAny>,
    ensure_ascii: bool,
    process: Pid,
}

impl<'py> Invoker<'py> {
    fn new(py: Python<'py>, bootstrap: &Bound<'py, PyAny>, handler: Bound<'py, PyAny>) -> PyResult<Self> {
        Ok(Self {
            handler,
            begin: bootstrap.getattr("begin")?,
            context: py.import("lambda_runtime.context")?.getattr("LambdaContext")?,
            bootstrap: bootstrap.clone(),
            faults: py.import("lambda_runtime.faults")?.into_any(),
            response: py.import("lambda_runtime.streaming")?.getattr("Response")?,
            ensure_ascii: bootstrap.getattr("ensure_ascii")?.call0()?.extract()?,
            process: rustix::process::getpid(),
        })
    }

    /// Writes the answer's payload behind what `out` holds and says what it is. Whatever is
    /// not an `Exception` (SystemExit, KeyboardInterrupt, ...) ends the environment, as on Lambda.
    fn invoke(
        &self,
        py: Python<'py>,
        request: &Request<'_>,
        outlet: Option<&Py<Outlet>>,
        out: &mut Vec<u8>,
    ) -> PyResult<Kind> {
        let start = out.len();
        match self.call(py, request, outlet, out) {
            Ok(_) if out.len() - start > MAX_RESULT => {
                out.truncate(start);
                out.shrink_to(64 * 1024);
                Ok(Kind::TooLarge)
            }
            Ok(kind) => Ok(kind),
            Err(error) if !ends_process(py, &error) => {
                out.truncate(start);
                let fault = self
                    .bootstrap
                    .call_method1("invoke_fault", (error.into_value(py), request.request_id))?;
                let fault = fault.cast::<PyBytes>()?.as_bytes();
                if fault.len() > MAX_RESULT {
                    return Ok(Kind::TooLarge);
                }
                out.extend_from_slice(fault);
                Ok(Kind::Fault)
            }
            Err(exit) => Err(exit),
        }
    }

    fn call(
        &self,
        py: Python<'py>,
        request: &Request<'_>,
        outlet: Option<&Py<Outlet>>,
        out: &mut Vec<u8>,
    ) -> PyResult<Kind> {
        let deadline = SystemTime::now() + Duration::from_millis(request.timeout_ms);
        let deadline_ms = deadline.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_millis());
        self.begin.call1((request.request_id, request.trace_id))?;
        let context = self.context.call1((
            request.request_id,
            request.client_context,
            request.cognito_identity,
            deadline_ms as u64,
            request.function_arn,
            py.None(),
        ))?;
        let event = payload::loads(py, request.event)
            .map_err(|error| self.explained(py, "unmarshal_fault", error))?;
        let result = match outlet {
            None => self.handler.call1((event, context))?,
            Some(outlet) => match self.stream(py, event, context, outlet)? {
                Some(result) => result,
                None => return Ok(Kind::End),
            },
        };
        if let Ok(bytes) = result.cast::<PyBytes>() {
            out.extend_from_slice(bytes.as_bytes());
            return Ok(Kind::Raw);
        }
        payload::dumps(py, &result, self.ensure_ascii, out)
            .map_err(|error| self.explained(py, "marshal_fault", error))?;
        Ok(Kind::Json)
    }

    /// The handler's result, for a caller who takes a stream. `None`: it has been sent as one.
    fn stream(
        &self,
        py: Python<'py>,
        event: Bound<'py, PyAny>,
        context: Bound<'py, PyAny>,
        outlet: &Py<Outlet>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let response = self.response.call1((outlet,))?;
        context.setattr("stream_response", response.getattr("open")?)?;
        let result = self.handler.call1((event, context)).and_then(|result| {
            self.end_copies();
            let is_sent = response.call_method1("send", (&result,))?.is_truthy()?;
            Ok(match is_sent {
                false => Some(result),
                true if outlet.get().has_begun() => None,
                // Whoever asked had gone before the first byte.
                true => Some(py.None().into_bound(py)),
            })
        });
        // Threads that the handler has left behind have nothing more to say.
        response.call_method0("close")?;
        result
    }

    /// The handler may have forked, and both sides come back; only the original may answer.
    fn end_copies(&self) {
        if rustix::process::getpid() != self.process {
            // SAFETY: ends this process at once, without running anybody's clean-up twice.
            unsafe { libc::_exit(0) };
        }
    }

    /// A fault with Lambda's own name for what went wrong on the way in or out.
    fn explained(&self, py: Python<'py>, method: &str, error: PyErr) -> PyErr {
        if ends_process(py, &error) {
            return error;
        }
        match self.faults.call_method1(method, (error.into_value(py),)) {
            Ok(fault) => PyErr::from_value(fault),
            Err(error) => error,
        }
    }
}

/// What Lambda's own runtime does not survive either: whatever is no `Exception`, and what cannot be
/// sent at all, which `lambda_runtime.faults` marks.
fn ends_process(py: Python<'_>, error: &PyErr) -> bool {
    let marked = || error.value(py).getattr("ends_process").and_then(|mark| mark.is_truthy());
    !error.is_instance_of::<PyException>(py) || marked().unwrap_or(false)
}

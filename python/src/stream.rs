//! What a streamed response leaves by: frames through the pipe of answers, while the handler runs.
//! The pipe holds little, so that a handler waits here for a slow reader.

use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::{PyBrokenPipeError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use rustix::io::Errno;
use rustix::process::Pid;

use crate::forker::os_error;
use crate::protocol::frame::{Answer, Kind, MAX_PIECE};
use crate::protocol::mailbox::Desk;

/// The outlet of one invocation. `lambda_runtime.streaming` sees to it that one thread at a time uses
/// it, and none after the invocation has ended.
#[pyclass(frozen)]
pub struct Outlet {
    desk: &'static Desk,
    answers: &'static OwnedFd,
    nonce: u64,
    process: Pid,
    begun: AtomicBool,
}

impl Outlet {
    pub fn new(desk: &'static Desk, answers: &'static OwnedFd, nonce: u64) -> Self {
        let process = rustix::process::getpid();
        Self { desk, answers, nonce, process, begun: AtomicBool::new(false) }
    }

    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    fn frame(&self, py: Python<'_>, kind: Kind, payload: &[u8]) -> PyResult<()> {
        let answer = Answer {
            kind,
            has_waited: false,
            has_printed: false,
            nonce: self.nonce,
            max_memory_kib: 0,
            took_us: 0,
            payload: &[],
        };
        let header = answer.header(payload.len());
        // Other threads of the handler run on while this one waits.
        py.detach(|| write(self.answers, &header, payload)).map_err(os_error)
    }
}

#[pymethods]
impl Outlet {
    /// Begins the stream, with what comes before its body.
    fn begin(&self, py: Python<'_>, metadata: &[u8]) -> PyResult<()> {
        if metadata.len() > MAX_PIECE {
            let message = format!("status, headers and cookies have more than {MAX_PIECE} bytes together");
            return Err(PyValueError::new_err(message));
        }
        self.check()?;
        self.begun.store(true, Ordering::Relaxed);
        self.frame(py, Kind::Head, metadata)
    }

    fn send(&self, py: Python<'_>, piece: &[u8]) -> PyResult<()> {
        for part in piece.chunks(MAX_PIECE) {
            self.check()?;
            self.frame(py, Kind::Piece, part)?;
        }
        Ok(())
    }

    fn check(&self) -> PyResult<()> {
        if self.desk.is_abandoned() {
            return Err(PyBrokenPipeError::new_err("whoever asked for this response has gone away"));
        }
        if rustix::process::getpid() != self.process {
            let message = "a response can only be streamed by the process that was asked for it";
            return Err(PyRuntimeError::new_err(message));
        }
        Ok(())
    }
}

fn write(pipe: &OwnedFd, mut header: &[u8], mut payload: &[u8]) -> Result<(), Errno> {
    while !header.is_empty() || !payload.is_empty() {
        match rustix::io::writev(pipe, &[IoSlice::new(header), IoSlice::new(payload)]) {
            Ok(written) => {
                let of_header = written.min(header.len());
                header = &header[of_header..];
                payload = &payload[written - of_header..];
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

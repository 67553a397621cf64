//! The environment's end of what lies between it and the gateway: the mailbox, and the pipes for
//! what does not fit into it.

use std::os::fd::OwnedFd;
use std::time::Instant;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use rustix::io::Errno;

use crate::forker::os_error;
use crate::protocol::frame::{Answer, Kind, Request};
use crate::protocol::mailbox::{Desk, Place};
use crate::stream::Outlet;

/// More than this is not kept for the next time.
const KEPT: usize = 1024 * 1024;

pub struct Channel {
    /// These two live as long as the process: a handler may keep the outlet of a stream for ever.
    desk: &'static Desk,
    answers: &'static OwnedFd,
    requests: OwnedFd,
    /// The pipe of what is printed.
    output: OwnedFd,
    /// A request that came through the pipe.
    incoming: Vec<u8>,
    /// The answer, until it is sent.
    pub outgoing: Vec<u8>,
    /// Voluntary context switches up to the last answer.
    waits: i64,
    /// Those among the ones since then that were a wait for the request.
    slept: i64,
    began: Instant,
}

impl Channel {
    pub fn new(desk: Desk, [requests, answers, output]: [OwnedFd; 3]) -> Self {
        Self {
            desk: Box::leak(Box::new(desk)),
            answers: Box::leak(Box::new(answers)),
            requests,
            output,
            incoming: Vec::new(),
            outgoing: Vec::new(),
            waits: 0,
            slept: 0,
            began: Instant::now(),
        }
    }

    /// Waits for a request; `serve` reads it and writes the answer's payload behind the room that
    /// [`Answer::begin`] left, or sends a stream by the outlet, if there is one. `false` when the gateway
    /// has gone.
    pub fn serve(
        &mut self,
        py: Python<'_>,
        serve: impl FnOnce(&Request<'_>, Option<&Py<Outlet>>, &mut Vec<u8>) -> PyResult<Kind>,
    ) -> PyResult<bool> {
        self.slept = self.desk.wait().map_err(os_error)?;
        self.began = Instant::now();
        let frame = match self.desk.request() {
            Some(frame) => frame,
            None if read_frame(&self.requests, &mut self.incoming)? => &self.incoming,
            None => return Ok(false),
        };
        let (request, _) = Request::decode(frame)
            .ok()
            .flatten()
            .ok_or_else(|| PyRuntimeError::new_err("the gateway sent a malformed request"))?;
        self.outgoing.clear();
        Answer::begin(&mut self.outgoing);
        let nonce = request.nonce;
        let outlet = match request.streams {
            true => Some(Py::new(py, Outlet::new(self.desk, self.answers, nonce))?),
            false => None,
        };
        let kind = serve(&request, outlet.as_ref(), &mut self.outgoing)?;
        let in_stream = outlet.is_some_and(|outlet| outlet.get().has_begun());
        let answer = self.finish(kind, nonce, in_stream);
        self.outgoing.shrink_to(KEPT);
        if self.incoming.capacity() > KEPT {
            self.incoming = Vec::new();
        }
        answer.map(|()| true)
    }

    /// How the init phase went: always through the pipe, as nobody has asked yet.
    pub fn report(&mut self, kind: Kind, payload: &[u8]) -> PyResult<()> {
        self.outgoing.clear();
        Answer::begin(&mut self.outgoing);
        self.outgoing.extend_from_slice(payload);
        self.fill_header(kind, 0);
        self.write()
    }

    /// The last word on a stream follows its pieces through the pipe.
    fn finish(&mut self, kind: Kind, nonce: u64, in_stream: bool) -> PyResult<()> {
        let has_printed = self.fill_header(kind, nonce);
        // What was printed belongs to this request: the gateway reads it before the next one prints.
        if in_stream || self.desk.leave(&self.outgoing, !has_printed) == Place::Pipe {
            self.write()?;
            self.desk.has_answered_by_pipe();
        }
        Ok(())
    }

    /// Whether it says that something was printed.
    fn fill_header(&mut self, kind: Kind, nonce: u64) -> bool {
        let usage = usage();
        let has_waited = usage.ru_nvcsw - self.waits > self.slept;
        self.waits = usage.ru_nvcsw;
        // A handler may have closed it: then the gateway had better look.
        let has_printed = rustix::io::ioctl_fionread(&self.output) != Ok(0);
        let answer = Answer {
            kind,
            has_waited,
            has_printed,
            nonce,
            max_memory_kib: usage.ru_maxrss as u32,
            took_us: u32::try_from(self.began.elapsed().as_micros()).unwrap_or(u32::MAX),
            payload: &[],
        };
        answer.finish(&mut self.outgoing, 0);
        has_printed
    }

    fn write(&self) -> PyResult<()> {
        let mut rest = &self.outgoing[..];
        while !rest.is_empty() {
            match rustix::io::write(self.answers, rest) {
                Ok(written) => rest = &rest[written..],
                Err(Errno::INTR) => {}
                Err(error) => return Err(os_error(error)),
            }
        }
        Ok(())
    }
}

/// Reads one whole frame; `false` when the gateway has closed the pipe.
fn read_frame(pipe: &OwnedFd, frame: &mut Vec<u8>) -> PyResult<bool> {
    frame.clear();
    frame.resize(4, 0);
    let mut filled = 0;
    while filled < frame.len() {
        match rustix::io::read(pipe, &mut frame[filled..]) {
            Ok(0) => return Ok(false),
            Ok(read) => filled += read,
            Err(Errno::INTR) => {}
            Err(error) => return Err(os_error(error)),
        }
        if filled == 4 && frame.len() == 4 {
            let length = u32::from_le_bytes(frame[..4].try_into().expect("four bytes"));
            frame.resize(4 + length as usize, 0);
        }
    }
    Ok(true)
}

fn usage() -> libc::rusage {
    // SAFETY: the structure is plain data and is filled by the call.
    unsafe {
        let mut usage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    }
}

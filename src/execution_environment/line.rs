//! The line to one environment, from the gateway's side: a mailbox for requests and answers, pipes
//! for what does not fit into it, a pipe for what the function prints.
//!
//! Everything that comes back is hostile: it is copied before it is read, and believed only if it
//! is the answer to the question that was asked.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::unix::pipe;

use super::bell::{Bell, Mailbox, bell};
use super::output::Output;
use super::stream::{Refused, Speaker};
use crate::defences;
use crate::protocol::control::FORK_DESCRIPTORS;
use crate::protocol::frame::{Answer, Kind, MAX_RESULT};
use crate::protocol::mailbox::{Found, Office, Place};

/// More answers that nobody has asked for than a mistake explains.
const MAX_STALE_ANSWERS: u32 = 10_000;
/// What is still read of an environment that has ended; its children may go on writing.
const MAX_LAST_WORDS: usize = MAX_RESULT + 64 * 1024;

pub struct Line {
    pub bell: &'static Bell,
    pub mailbox: Arc<Mailbox>,
    pub requests: pipe::Sender,
    pub answers: pipe::Receiver,
    pub output: pipe::Receiver,
    pub answers_are_open: bool,
    pub output_is_open: bool,
    /// What has come through the pipe and is no whole frame yet.
    incoming: Vec<u8>,
    stale_answers: u32,
    /// Something came that nobody had asked for.
    pub is_soiled: bool,
}

/// The environment's ends.
pub struct Ends {
    owned: [OwnedFd; 4],
    bell: &'static Bell,
}

impl Ends {
    pub fn descriptors(&self) -> [BorrowedFd<'_>; FORK_DESCRIPTORS] {
        let [requests, answers, output, mailbox] = self.owned.each_ref().map(AsFd::as_fd);
        let (page, event) = self.bell.pull.descriptors();
        [requests, answers, output, mailbox, page, event]
    }
}

/// An answer that may be one.
pub enum Taken {
    Incomplete,
    Answer(Letter),
    Malformed,
    /// A stream is longer than it may be.
    TooLong,
}

/// An answer, copied out.
pub struct Letter {
    pub kind: Kind,
    pub payload: Vec<u8>,
    pub max_memory_kib: u32,
    pub has_waited: bool,
    pub has_printed: bool,
    pub took: Duration,
}

/// What counts as the answer.
#[derive(Clone, Copy)]
pub struct Expected {
    pub nonce: u64,
    /// The environment's word on its init phase, or an answer to a request.
    pub init: bool,
}

impl Line {
    pub fn open() -> std::io::Result<(Self, Ends)> {
        let (requests, requests_end) = pipe::pipe()?;
        let (answers_end, answers) = pipe::pipe()?;
        let (output_end, output) = pipe::pipe()?;
        let (office, mailbox_end) = Office::create()?;
        let bell = bell()?;
        let owned = [
            requests_end.into_blocking_fd()?,
            answers_end.into_blocking_fd()?,
            output_end.into_blocking_fd()?,
            mailbox_end,
        ];
        let line = Self {
            bell,
            mailbox: Mailbox::new(office, bell),
            requests,
            answers,
            output,
            answers_are_open: true,
            output_is_open: true,
            incoming: Vec::new(),
            stale_answers: 0,
            is_soiled: false,
        };
        Ok((line, Ends { owned, bell }))
    }

    /// Leaves a request. What is to be written into the pipe comes back.
    pub fn leave<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        match self.mailbox.office.leave(frame) {
            Place::Here => &[],
            Place::Pipe => frame,
        }
    }

    /// Collects what lies in the mailbox.
    pub fn collect(&mut self, expected: Expected) -> Taken {
        let mut letter = Vec::new();
        match self.mailbox.office.collect(&mut letter) {
            Found::Nothing => Taken::Incomplete,
            Found::Malformed => Taken::Malformed,
            Found::Here => match Answer::decode(&letter) {
                Ok(Some((answer, length))) if length == letter.len() && expected.is(&answer) => {
                    taken(&answer)
                }
                _ => Taken::Malformed,
            },
        }
    }

    /// Reads from the pipe of answers what is there now. `Err`: the other end is closed.
    pub fn read_answers(&mut self) -> Result<(), ()> {
        self.incoming.reserve(self.room());
        match self.answers.try_read_buf(&mut self.incoming) {
            Ok(0) => Err(()),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
            Err(_) => Err(()),
        }
    }

    /// All of it, without asking the reactor, which may not have heard yet.
    pub fn read_last_answers(&mut self) {
        while self.incoming.len() < MAX_LAST_WORDS {
            let filled = self.incoming.len();
            self.incoming.resize(filled + self.room(), 0);
            let read = rustix::io::read(self.answers.as_fd(), &mut self.incoming[filled..]);
            self.incoming.truncate(filled + read.unwrap_or(0));
            if !matches!(read, Ok(1..)) {
                return;
            }
        }
    }

    /// How much more to read at once: the rest of the frame that has begun, or a usual one.
    fn room(&self) -> usize {
        let begun = Answer::expected_length(&self.incoming);
        begun.map_or(0, |length| length.saturating_sub(self.incoming.len())).max(16 * 1024)
    }

    /// The expected answer out of what the pipe brought, past those to nobody's question: they are
    /// not believed, and the process is not kept. Whoever sends nothing else is not listened to for
    /// ever.
    pub fn take(&mut self, expected: Expected) -> Taken {
        loop {
            match Answer::decode(&self.incoming) {
                Ok(None) => return Taken::Incomplete,
                Err(_) if defences::off("malformed-answers") => return Taken::Incomplete,
                Err(_) => return Taken::Malformed,
                Ok(Some((answer, length))) if expected.is(&answer) => {
                    let taken = taken(&answer);
                    self.is_soiled |= self.incoming.len() > length;
                    self.incoming = Vec::new();
                    self.mailbox.office.clear();
                    return taken;
                }
                Ok(Some(_)) if self.stale_answers > MAX_STALE_ANSWERS => return Taken::Malformed,
                Ok(Some((_, length))) => {
                    self.is_soiled = true;
                    self.stale_answers += 1;
                    self.incoming.drain(..length);
                }
            }
        }
    }

    /// The same where the answer may be a stream: its pieces go to `speaker`.
    pub fn take_stream(&mut self, expected: Expected, speaker: &mut Speaker) -> Taken {
        let mut at = 0;
        let taken = loop {
            let (answer, length) = match Answer::decode(&self.incoming[at..]) {
                Ok(None) => break Taken::Incomplete,
                Err(_) => break Taken::Malformed,
                Ok(Some(decoded)) => decoded,
            };
            at += length;
            if answer.nonce != expected.nonce || answer.kind.is_of_init() {
                self.is_soiled = true;
                self.stale_answers += 1;
                if self.stale_answers > MAX_STALE_ANSWERS {
                    break Taken::Malformed;
                }
                continue;
            }
            match speaker.take(answer.kind, answer.payload) {
                Ok(true) => {}
                Ok(false) => break taken(&answer),
                Err(Refused::OutOfTurn) => break Taken::Malformed,
                Err(Refused::TooLong) => break Taken::TooLong,
            }
        };
        self.incoming.drain(..at);
        if !matches!(taken, Taken::Incomplete) {
            self.is_soiled |= !self.incoming.is_empty();
            self.incoming = Vec::new();
            self.mailbox.office.clear();
        }
        taken
    }

    /// Whether an environment that has died had not seen the last request.
    pub fn is_untouched(&self) -> bool {
        self.mailbox.office.is_untouched()
    }

    pub fn read_output(&mut self, output: &mut Output) {
        self.output_is_open = output.read_with(|scratch| self.output.try_read(scratch));
    }

    pub fn drain_output(&mut self, output: &mut Output) {
        self.output_is_open = self.output_is_open && output.drain(self.output.as_fd());
    }
}

impl Expected {
    fn is(self, answer: &Answer<'_>) -> bool {
        let is_its_own = answer.nonce == self.nonce || defences::off("answers-by-number");
        is_its_own && self.init == answer.kind.is_of_init() && !answer.kind.is_of_stream()
    }
}

fn taken(answer: &Answer<'_>) -> Taken {
    Taken::Answer(Letter {
        kind: answer.kind,
        payload: answer.payload.to_vec(),
        max_memory_kib: answer.max_memory_kib,
        has_waited: answer.has_waited,
        has_printed: answer.has_printed,
        took: Duration::from_micros(answer.took_us.into()),
    })
}

//! Frames of HTTP/2, counted: a client that sends nothing but those that ask for nothing is a flood.
//!
//! The h2 library bounds what resets and continuations cost; pings, settings and the like it answers
//! for as long as they come.

use crate::defences;

/// So many frames without a request or a byte of a body. Who measures the round trip, or keeps a
/// connection alive, stays far below.
const IDLE_FRAMES: u32 = 1000;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADER: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const WINDOW_UPDATE: u8 = 8;

/// Where in the frames of a connection its client is.
#[derive(Debug, Default)]
pub(super) struct Frames {
    header: [u8; HEADER],
    filled: usize,
    /// Bytes of a frame that are to come.
    payload: usize,
    idle: u32,
}

/// More than can be meant well.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Flood;

impl Frames {
    /// How many of these bytes are the preface; `None` if they are none, or not yet.
    pub fn preface(bytes: &[u8]) -> Option<usize> {
        bytes.starts_with(PREFACE).then_some(PREFACE.len())
    }

    pub fn pass(&mut self, mut bytes: &[u8]) -> Result<(), Flood> {
        while !bytes.is_empty() {
            if self.payload > 0 {
                let passed = self.payload.min(bytes.len());
                self.payload -= passed;
                bytes = &bytes[passed..];
                continue;
            }
            let taken = (HEADER - self.filled).min(bytes.len());
            self.header[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            if self.filled == HEADER {
                self.filled = 0;
                self.begin()?;
            }
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<(), Flood> {
        let [high, middle, low, kind, ..] = self.header;
        self.payload = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        match kind {
            DATA | HEADERS if self.payload > 0 => self.idle = 0,
            // As many as an answer is long, and none of them is answered.
            WINDOW_UPDATE => {}
            _ => self.idle += 1,
        }
        if self.idle > IDLE_FRAMES && !defences::off("frame-flood") { Err(Flood) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, length: usize) -> Vec<u8> {
        let size = (length as u32).to_be_bytes();
        let mut frame = vec![size[1], size[2], size[3], kind, 0, 0, 0, 0, 1];
        // What is in it looks like pings.
        frame.resize(HEADER + length, 6);
        frame
    }

    #[test]
    fn floods_are_seen_and_work_is_none() {
        for (kind, length) in [(6, 8), (4, 0), (4, 6), (0, 0), (2, 5), (3, 4), (9, 0), (99, 0)] {
            let mut frames = Frames::default();
            let flood = frame(kind, length).repeat(IDLE_FRAMES as usize);
            assert_eq!(frames.pass(&flood), Ok(()), "{kind}");
            assert_eq!(frames.pass(&frame(kind, length)), Err(Flood), "{kind}");
        }
        let mut frames = Frames::default();
        for _ in 0..10_000 {
            assert_eq!(frames.pass(&frame(1, 20)), Ok(()));
            assert_eq!(frames.pass(&frame(6, 8).repeat(900)), Ok(()));
        }
    }

    proptest! {
        /// However they are cut into reads.
        #[test]
        fn frames_are_counted_not_bytes(
            sizes in proptest::collection::vec((0..8u8, 0..50usize), 0..40),
            cuts in proptest::collection::vec(1..30usize, 1..30),
        ) {
            let all: Vec<u8> = sizes.iter().flat_map(|(kind, length)| frame(*kind, *length)).collect();
            let mut frames = Frames::default();
            let mut rest = &all[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                frames.pass(now).unwrap();
                rest = later;
            }
            let works = |(kind, length): &&(u8, usize)| *kind < 2 && *length > 0;
            let idle = sizes.iter().rev().take_while(|frame| !works(frame)).count();
            prop_assert_eq!((frames.idle as usize, frames.payload, frames.filled), (idle, 0, 0));
        }
    }
}

//! What an environment prints, kept for one invocation: the beginning and the end of it. A handler
//! that prints without end fills neither the gateway's memory nor the disk.

use std::cell::RefCell;
use std::os::fd::BorrowedFd;

use crate::defences;

const BEGINNING: usize = 256 * 1024;
const END: usize = 64 * 1024;

#[derive(Debug, Default)]
pub struct Output {
    beginning: Vec<u8>,
    end: Vec<u8>,
    left_out: u64,
}

impl Output {
    pub fn push(&mut self, bytes: &[u8]) {
        let room = BEGINNING - self.beginning.len().min(BEGINNING);
        let (first, rest) = bytes.split_at(room.min(bytes.len()));
        self.beginning.extend_from_slice(first);
        self.end.extend_from_slice(rest);
        if self.end.len() > 2 * END && !defences::off("output-limit") {
            let surplus = self.end.len() - END;
            self.end.drain(..surplus);
            self.left_out += surplus as u64;
        }
    }

    /// Everything that was kept, with a line that says how much was not.
    pub fn take(&mut self) -> Vec<u8> {
        let mut text = std::mem::take(&mut self.beginning);
        if self.left_out > 0 {
            let note = format!("\n[handlerd: {} bytes of output are left out here]\n", self.left_out);
            text.extend_from_slice(note.as_bytes());
        }
        text.append(&mut self.end);
        self.left_out = 0;
        text
    }

    /// Takes what one call of `read` brings. `false`: nothing more will come.
    pub fn read_with(&mut self, read: impl FnOnce(&mut [u8]) -> std::io::Result<usize>) -> bool {
        SCRATCH.with_borrow_mut(|scratch| match read(scratch) {
            Ok(0) => false,
            Ok(length) => {
                self.push(&scratch[..length]);
                true
            }
            Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
        })
    }

    /// Reads what is there now, without waiting. `false`: nothing more will come.
    pub fn drain(&mut self, pipe: BorrowedFd<'_>) -> bool {
        SCRATCH.with_borrow_mut(|scratch| {
            // A pipe holds 64 KiB unless a handler enlarged it; a writer that never stops is not chased.
            for _ in 0..32 {
                match rustix::io::read(pipe, &mut scratch[..]) {
                    Ok(0) => return false,
                    Ok(read) => self.push(&scratch[..read]),
                    Err(rustix::io::Errno::INTR) => {}
                    Err(rustix::io::Errno::AGAIN) => return true,
                    Err(_) => return false,
                }
            }
            true
        })
    }
}

thread_local! {
    /// Shared by all environments: nothing stays in it between two reads.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; 64 * 1024]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_beginning_and_the_end() {
        let mut output = Output::default();
        output.push(b"first\n");
        for _ in 0..1000 {
            output.push(&[b'x'; 1024]);
        }
        output.push(b"last\n");
        let text = output.take();
        assert!(text.starts_with(b"first\n") && text.ends_with(b"last\n"));
        assert!(text.len() < BEGINNING + 2 * END + 100);
        assert!(String::from_utf8_lossy(&text).contains("bytes of output are left out here"));
        assert!(output.take().is_empty());
    }

    #[test]
    fn short_output_is_kept_whole() {
        let mut output = Output::default();
        output.push(b"a");
        output.push(b"b\n");
        assert_eq!(output.take(), b"ab\n");
    }
}

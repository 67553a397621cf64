//! A mailbox: memory shared by the gateway and one environment, through which a request goes in and
//! its answer comes out without a system call while both sides are busy.
//!
//! ```text
//! Empty --the gateway writes--> Request --the environment takes--> Taken
//!   ^                                                               |
//!   +-- the gateway copies -- Answer <-- the environment writes ----+
//! ```
//!
//! One side at a time may touch the data: the one whose turn the state says it is. Wake-ups go to
//! sleepers only. Whoever is about to sleep says so, looks once more, and sleeps; whoever writes
//! looks, after writing, whether somebody sleeps. All of it is sequentially consistent, so at least
//! one of the two sees the other: `turn` holds these steps alone, and its tests try every order.
//!
//! What does not fit goes through the pipes: a request is announced here, an answer is not.
//!
//! The environment is hostile: the gateway believes no length and no state, copies before it looks,
//! and the memory is sealed, so that it cannot be cut off under the gateway's feet. Every mailbox
//! belongs to one environment; there is nothing that two environments share for writing.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;

use rustix::event::EventfdFlags;
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use rustix::thread::futex;

use super::turn::{self, Turn, Word};

/// What a mailbox holds at most; an API Gateway event has about a kilobyte.
pub const CAPACITY: usize = 64 * 1024;

const HEADER: usize = 4096;
const SIZE: usize = HEADER + CAPACITY;
/// In place of a length: the frame goes through the pipe.
const IN_PIPE: u32 = u32::MAX;

/// In cache lines of their own, so that the two sides do not disturb each other.
#[repr(C, align(64))]
struct Line(AtomicU32);

#[repr(C)]
struct Header {
    state: Line,
    length: Line,
    /// 1 while the environment sleeps, or is about to.
    sleeper: Line,
    /// 1 when nobody listens any more to the stream that the environment sends.
    abandoned: Line,
}

/// The mapping; it lives as long as the value.
struct Memory {
    start: NonNull<u8>,
    size: usize,
}

// SAFETY: reached through atomics, and through pointers only by the side whose turn it is.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    fn map(descriptor: impl AsFd, size: usize, protection: ProtFlags) -> Result<Self, Errno> {
        // SAFETY: a mapping of its own; that the descriptor is long enough is sealed.
        let start = unsafe {
            rustix::mm::mmap(std::ptr::null_mut(), size, protection, MapFlags::SHARED, descriptor, 0)?
        };
        Ok(Self { start: NonNull::new(start.cast()).ok_or(Errno::NOMEM)?, size })
    }

    fn first_word(&self) -> &AtomicU32 {
        // SAFETY: every mapping is at least a page, aligned to one, and lives as long as `self`.
        unsafe { self.start.cast::<AtomicU32>().as_ref() }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: mapped in `map` with this size; nothing borrowed from it outlives it.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.size) };
    }
}

/// Memory of a size that nobody can change.
fn sealed_memory(name: &str, size: usize) -> Result<OwnedFd, Errno> {
    let descriptor = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    rustix::fs::ftruncate(&descriptor, size as u64)?;
    rustix::fs::fcntl_add_seals(&descriptor, SealFlags::SHRINK | SealFlags::GROW)?;
    Ok(descriptor)
}

/// The mailbox itself, from either side.
struct Mailbox(Memory);

impl Mailbox {
    fn open(descriptor: impl AsFd) -> Result<Self, Errno> {
        Memory::map(descriptor, SIZE, ProtFlags::READ | ProtFlags::WRITE).map(Self)
    }

    fn header(&self) -> &Header {
        // SAFETY: the mapping begins with it, aligned to a page, and lives as long as `self`.
        unsafe { self.0.start.cast::<Header>().as_ref() }
    }

    fn turn(&self) -> Turn<'_, AtomicU32> {
        let header = self.header();
        Turn { state: &header.state.0, sleeper: &header.sleeper.0 }
    }

    fn data(&self) -> *mut u8 {
        // SAFETY: within the mapping.
        unsafe { self.0.start.as_ptr().add(HEADER) }
    }

    /// Writes a frame, if it fits. Only for the side whose turn it is.
    fn write(&self, frame: &[u8]) -> Place {
        if frame.len() > CAPACITY {
            self.header().length.0.set(IN_PIPE);
            return Place::Pipe;
        }
        // SAFETY: the range is within the mapping, and the other side does not read it before the
        // state has changed.
        unsafe { std::ptr::copy_nonoverlapping(frame.as_ptr(), self.data(), frame.len()) };
        self.header().length.0.set(frame.len() as u32);
        Place::Here
    }
}

/// Where a frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Here,
    Pipe,
}

/// What the gateway finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    Nothing,
    /// Copied out.
    Here,
    /// A length that cannot be.
    Malformed,
}

/// The gateway's side.
pub struct Office(Mailbox);

impl Office {
    /// A new mailbox, and the descriptor with which the environment opens it.
    pub fn create() -> Result<(Self, OwnedFd), Errno> {
        let descriptor = sealed_memory("handlerd-mailbox", SIZE)?;
        rustix::fs::fcntl_add_seals(&descriptor, SealFlags::SEAL)?;
        Ok((Self(Mailbox::open(&descriptor)?), descriptor))
    }

    /// Leaves a request, and wakes the environment if it sleeps. A frame for the pipe is only
    /// announced: the caller writes it there.
    pub fn leave(&self, frame: &[u8]) -> Place {
        let place = self.0.write(frame);
        if self.0.turn().offer() {
            let _ = futex::wake(&self.0.header().sleeper.0, futex::Flags::empty(), 1);
        }
        place
    }

    pub fn has_answer(&self) -> bool {
        self.0.turn().is_answered()
    }

    /// Whether the last request still lies there unseen.
    pub fn is_untouched(&self) -> bool {
        self.0.turn().is_requested()
    }

    /// About to leave a request whose answer may be a stream: somebody listens.
    pub fn attend(&self) {
        self.0.header().abandoned.0.set(0);
    }

    /// Nobody listens any more; the environment finds out when it next sends a piece.
    pub fn abandon(&self) {
        self.0.header().abandoned.0.set(1);
    }

    /// The answer has come through the pipe: makes room for the next request.
    pub fn clear(&self) {
        self.0.turn().clear();
    }

    /// Copies an answer out, behind what `into` holds, and makes room for the next request.
    pub fn collect(&self, into: &mut Vec<u8>) -> Found {
        if !self.has_answer() {
            return Found::Nothing;
        }
        // Read once: the environment can change it at any time.
        let found = match self.0.header().length.0.get() {
            length if length as usize <= CAPACITY => {
                let length = length as usize;
                into.reserve(length);
                // SAFETY: both ranges have `length` bytes. If the environment writes meanwhile, the
                // copy is a mixture, which the reader of frames has to bear anyway.
                unsafe {
                    std::ptr::copy_nonoverlapping(self.0.data(), into.as_mut_ptr().add(into.len()), length);
                    into.set_len(into.len() + length);
                }
                Found::Here
            }
            _ => Found::Malformed,
        };
        self.0.turn().clear();
        found
    }
}

/// The environment's side.
pub struct Desk {
    mailbox: Mailbox,
    bell: Bell,
}

impl Desk {
    pub fn open(mailbox: impl AsFd, gateway: impl AsFd, bell: OwnedFd) -> Result<Self, Errno> {
        let gateway = Memory::map(gateway, HEADER, ProtFlags::READ)?;
        Ok(Self { mailbox: Mailbox::open(mailbox)?, bell: Bell { gateway, event: bell } })
    }

    /// Sleeps until a request lies there.
    pub fn wait(&self) -> Result<(), Errno> {
        let turn = self.mailbox.turn();
        while !turn.is_requested() {
            if turn.may_sleep() {
                match futex::wait(&self.mailbox.header().sleeper.0, futex::Flags::empty(), 1, None) {
                    Ok(()) | Err(Errno::AGAIN | Errno::INTR) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Takes the request that lies there; `None` if it is in the pipe.
    pub fn take(&self) -> Option<&[u8]> {
        self.mailbox.turn().take();
        match self.mailbox.header().length.0.get() {
            IN_PIPE => None,
            // SAFETY: the gateway wrote so many bytes and does not touch them before the answer.
            length => Some(unsafe {
                std::slice::from_raw_parts(self.mailbox.data(), (length as usize).min(CAPACITY))
            }),
        }
    }

    /// Whether nobody listens any more to the stream that answers the last request.
    pub fn is_abandoned(&self) -> bool {
        self.mailbox.header().abandoned.0.get() == 1
    }

    /// Leaves an answer, and wakes the gateway if it sleeps. What does not fit is left to the caller,
    /// who writes it into the pipe.
    pub fn leave(&self, frame: &[u8]) -> Place {
        if frame.len() > CAPACITY {
            return Place::Pipe;
        }
        let place = self.mailbox.write(frame);
        if self.mailbox.turn().answer(self.bell.gateway.first_word()) {
            self.bell.ring();
        }
        place
    }
}

struct Bell {
    /// Read-only here: its first word is 1 while the gateway sleeps.
    gateway: Memory,
    event: OwnedFd,
}

impl Bell {
    /// If a handler has closed it, the gateway's clock finds the answer a moment later.
    fn ring(&self) {
        let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
    }
}

/// What wakes the gateway: one for all its mailboxes.
pub struct BellPull {
    memory: Memory,
    /// Opens the page for reading only.
    page: OwnedFd,
    event: OwnedFd,
}

impl BellPull {
    /// Until [`BellPull::may_sleep`] is used, every answer rings.
    pub fn create() -> Result<Self, Errno> {
        let page = sealed_memory("handlerd-gateway", HEADER)?;
        let memory = Memory::map(&page, HEADER, ProtFlags::READ | ProtFlags::WRITE)?;
        // From now on the page can be mapped for reading only; the mapping above keeps its right.
        rustix::fs::fcntl_add_seals(&page, SealFlags::FUTURE_WRITE | SealFlags::SEAL)?;
        let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        memory.first_word().set(1);
        Ok(Self { memory, page, event })
    }

    /// For a new environment: the page and the bell.
    pub fn descriptors(&self) -> (BorrowedFd<'_>, BorrowedFd<'_>) {
        (self.page.as_fd(), self.event.as_fd())
    }

    /// Takes note of the ringing.
    pub fn hear(&self) {
        let _ = rustix::io::read(&self.event, &mut [0; 8]);
    }

    /// About to sleep: from now on answers ring. `false`: one has come in already.
    pub fn may_sleep(&self, has_answer: impl FnOnce() -> bool) -> bool {
        turn::gateway_may_sleep(self.memory.first_word(), has_answer)
    }

    /// Awake: nobody needs to ring.
    pub fn is_awake(&self) {
        self.memory.first_word().set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Office, Desk, BellPull) {
        let bell = BellPull::create().unwrap();
        let (office, mailbox) = Office::create().unwrap();
        let (page, event) = bell.descriptors();
        let desk =
            Desk::open(mailbox, page.try_clone_to_owned().unwrap(), event.try_clone_to_owned().unwrap());
        (office, desk.unwrap(), bell)
    }

    #[test]
    fn a_hundred_thousand_requests_each_get_their_answer() {
        let (office, desk, bell) = pair();
        let environment = std::thread::spawn(move || {
            loop {
                desk.wait().unwrap();
                let request = desk.take().unwrap().to_vec();
                desk.leave(&request);
                if request == b"end" {
                    return;
                }
            }
        });
        let mut answer = Vec::new();
        for number in 0..100_000u32 {
            let request = if number == 99_999 { b"end".to_vec() } else { number.to_le_bytes().to_vec() };
            assert_eq!(office.leave(&request), Place::Here);
            answer.clear();
            while office.collect(&mut answer) == Found::Nothing {
                bell.hear();
                std::thread::yield_now();
            }
            assert_eq!(answer, request);
        }
        environment.join().unwrap();
    }

    #[test]
    fn what_does_not_fit_goes_through_the_pipes() {
        let (office, desk, _bell) = pair();
        assert_eq!(office.leave(&vec![7; CAPACITY]), Place::Here);
        assert!(office.is_untouched());
        assert_eq!(desk.take().unwrap().len(), CAPACITY);
        assert!(!office.is_untouched());
        assert_eq!(desk.leave(&vec![7; CAPACITY + 1]), Place::Pipe);
        assert_eq!(office.collect(&mut Vec::new()), Found::Nothing);
        office.clear();
        assert_eq!(office.leave(&vec![7; CAPACITY + 1]), Place::Pipe);
        assert_eq!(desk.take(), None);
    }

    #[test]
    fn an_environment_hears_when_nobody_listens_any_more() {
        let (office, desk, _bell) = pair();
        assert!(!desk.is_abandoned());
        office.abandon();
        assert!(desk.is_abandoned());
        office.attend();
        assert!(!desk.is_abandoned());
    }

    #[test]
    fn impossible_lengths_and_states_are_not_believed() {
        let (office, desk, _bell) = pair();
        office.leave(b"request");
        desk.mailbox.header().length.0.set(CAPACITY as u32 + 1);
        desk.mailbox.header().state.0.set(turn::ANSWER);
        assert_eq!(office.collect(&mut Vec::new()), Found::Malformed);
        desk.mailbox.header().state.0.set(77);
        desk.mailbox.header().length.0.set(3);
        let mut answer = Vec::new();
        assert_eq!(office.collect(&mut answer), Found::Here);
        assert_eq!(answer.len(), 3);
        assert_eq!(office.collect(&mut answer), Found::Nothing);
    }

    #[test]
    fn an_environment_can_neither_shrink_the_memory_nor_write_the_gateways_page() {
        let bell = BellPull::create().unwrap();
        let (page, _) = bell.descriptors();
        assert!(Memory::map(page, HEADER, ProtFlags::READ | ProtFlags::WRITE).is_err());
        assert!(rustix::io::write(page, b"x").is_err());
        let (_office, mailbox) = Office::create().unwrap();
        assert!(rustix::fs::ftruncate(&mailbox, 0).is_err());
        assert!(rustix::fs::fcntl_add_seals(&mailbox, SealFlags::WRITE).is_err());
    }
}

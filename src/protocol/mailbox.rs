//! A mailbox: memory shared by the gateway and one environment, through which a request goes in and
//! its answer comes out without a system call while both sides are busy.
//!
//! It is a ring of slots. Both sides go from one to the next, and each request is answered in its own:
//!
//! ```text
//! Empty --the gateway writes--> Request or Ahead --the environment takes--> Taken
//!   ^                                                                        |
//!   +------ the gateway copies ----- Answer <----- the environment writes ---+
//! ```
//!
//! `Ahead` is what the gateway leaves while the environment still works on another: it goes on with that
//! without having to be woken, unless the gateway has to do something in between. What is not begun can be
//! taken back, last first.
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
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use rustix::event::EventfdFlags;
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use rustix::thread::futex;

use super::turn::{self, Turn, Word};

/// What a slot holds at most; an API Gateway event has about a kilobyte. Memory that was never written to
/// takes none.
pub const CAPACITY: usize = 64 * 1024;
/// Requests that may lie in a mailbox, with the one that is worked on.
pub const SLOTS: usize = 64;

const HEADER: usize = 8192;
const SIZE: usize = HEADER + SLOTS * CAPACITY;
/// In place of a length: the frame goes through the pipe.
const IN_PIPE: u32 = u32::MAX;

/// In cache lines of their own, so that the two sides do not disturb each other.
#[repr(C, align(64))]
struct Line(AtomicU32);

#[repr(C, align(64))]
struct Slot {
    state: AtomicU32,
    length: AtomicU32,
}

#[repr(C)]
struct Header {
    slots: [Slot; SLOTS],
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

    fn slot(&self, number: u32) -> &Slot {
        &self.header().slots[number as usize % SLOTS]
    }

    fn turn(&self, number: u32) -> Turn<'_, AtomicU32> {
        Turn { state: &self.slot(number).state, sleeper: &self.header().sleeper.0 }
    }

    fn data(&self, number: u32) -> *mut u8 {
        // SAFETY: within the mapping.
        unsafe { self.0.start.as_ptr().add(HEADER + number as usize % SLOTS * CAPACITY) }
    }

    /// Writes a frame, if it fits. Only for the side whose turn it is.
    fn write(&self, number: u32, frame: &[u8]) -> Place {
        if frame.len() > CAPACITY {
            self.slot(number).length.set(IN_PIPE);
            return Place::Pipe;
        }
        // SAFETY: the range is within the mapping, and the other side does not read it before the
        // state has changed.
        unsafe { std::ptr::copy_nonoverlapping(frame.as_ptr(), self.data(number), frame.len()) };
        self.slot(number).length.set(frame.len() as u32);
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

/// The gateway's side. Slots are counted on and on; which one is meant is the remainder.
pub struct Office {
    mailbox: Mailbox,
    /// Where the next answer will lie.
    front: AtomicU32,
    /// Where the next request goes.
    back: AtomicU32,
}

impl Office {
    /// A new mailbox, and the descriptor with which the environment opens it.
    pub fn create() -> Result<(Self, OwnedFd), Errno> {
        let descriptor = sealed_memory("handlerd-mailbox", SIZE)?;
        rustix::fs::fcntl_add_seals(&descriptor, SealFlags::SEAL)?;
        let mailbox = Mailbox::open(&descriptor)?;
        Ok((Self { mailbox, front: AtomicU32::new(0), back: AtomicU32::new(0) }, descriptor))
    }

    fn front(&self) -> u32 {
        self.front.load(Ordering::Acquire)
    }

    fn back(&self) -> u32 {
        self.back.load(Ordering::Acquire)
    }

    /// How many requests are not answered yet.
    pub fn asked(&self) -> usize {
        self.back().wrapping_sub(self.front()) as usize
    }

    /// Leaves a request for an environment that has no other, and wakes it if it sleeps. A frame for the
    /// pipe is only announced: the caller writes it there.
    pub fn leave(&self, frame: &[u8]) -> Place {
        let number = self.back();
        let place = self.mailbox.write(number, frame);
        self.back.store(number.wrapping_add(1), Ordering::Release);
        self.wake(self.mailbox.turn(number).offer());
        place
    }

    /// Whether something may be left ahead: not before whoever was given an environment has left the first
    /// request with it, or it would take the one for the other.
    pub fn has_room(&self) -> bool {
        (1..SLOTS).contains(&self.asked())
    }

    /// Leaves a request for an environment that has been left another. `false`: there is no room for it. If
    /// it has fallen asleep meanwhile, it sleeps on until it is roused. One caller at a time; others may
    /// collect meanwhile.
    pub fn leave_ahead(&self, frame: &[u8]) -> bool {
        let number = self.back();
        let turn = self.mailbox.turn(number);
        // The environment can write anything anywhere: what is not empty is left alone.
        if !self.has_room() || !turn.is_empty() || frame.len() > CAPACITY {
            return false;
        }
        self.mailbox.write(number, frame);
        self.back.store(number.wrapping_add(1), Ordering::Release);
        turn.offer_ahead();
        true
    }

    /// Wakes the environment if it sleeps while requests lie there.
    pub fn rouse(&self) {
        self.wake(self.mailbox.turn(self.front()).has_to_be_woken());
    }

    /// Whether so many requests lie there that were left ahead, and none of them is begun.
    pub fn has_unbegun(&self, count: usize) -> bool {
        let first = self.back().wrapping_sub(count as u32);
        self.asked() >= count && self.mailbox.turn(first).is_untouched()
    }

    /// What was left ahead comes next: it may be taken, whatever the environment was waiting for.
    pub fn release(&self) {
        self.wake(self.mailbox.turn(self.front()).release());
    }

    /// Takes the last request back that was left ahead. `false`: it has been taken, and so have all before
    /// it; or there is none.
    pub fn take_back(&self) -> bool {
        let number = self.back();
        if self.asked() == 0 || !self.mailbox.turn(number.wrapping_sub(1)).take_back() {
            return false;
        }
        self.back.store(number.wrapping_sub(1), Ordering::Release);
        true
    }

    fn wake(&self, has_to_be_woken: bool) {
        if has_to_be_woken {
            let _ = futex::wake(&self.mailbox.header().sleeper.0, futex::Flags::empty(), 1);
        }
    }

    pub fn has_answer(&self) -> bool {
        self.asked() > 0 && self.mailbox.turn(self.front()).is_answered()
    }

    /// Whether the request that is to be answered next still lies there unseen.
    pub fn is_untouched(&self) -> bool {
        self.mailbox.turn(self.front()).is_untouched()
    }

    /// About to leave a request whose answer may be a stream: somebody listens.
    pub fn attend(&self) {
        self.mailbox.header().abandoned.0.set(0);
    }

    /// Nobody listens any more; the environment finds out when it next sends a piece.
    pub fn abandon(&self) {
        self.mailbox.header().abandoned.0.set(1);
    }

    /// The answer has come through the pipe: makes room for the next request.
    pub fn clear(&self) {
        if self.asked() == 0 {
            return;
        }
        let number = self.front();
        self.mailbox.turn(number).clear();
        self.front.store(number.wrapping_add(1), Ordering::Release);
    }

    /// Copies an answer out, behind what `into` holds, and makes room for the next request.
    pub fn collect(&self, into: &mut Vec<u8>) -> Found {
        if !self.has_answer() {
            return Found::Nothing;
        }
        let number = self.front();
        // Read once: the environment can change it at any time.
        let found = match self.mailbox.slot(number).length.get() {
            length if length as usize <= CAPACITY => {
                let length = length as usize;
                into.reserve(length);
                // SAFETY: both ranges have `length` bytes. If the environment writes meanwhile, the
                // copy is a mixture, which the reader of frames has to bear anyway.
                unsafe {
                    let target = into.as_mut_ptr().add(into.len());
                    std::ptr::copy_nonoverlapping(self.mailbox.data(number), target, length);
                    into.set_len(into.len() + length);
                }
                Found::Here
            }
            _ => Found::Malformed,
        };
        self.clear();
        found
    }
}

/// The environment's side.
pub struct Desk {
    mailbox: Mailbox,
    bell: Bell,
    /// The slot that it works on, or waits at.
    number: AtomicU32,
    /// Whether what lies there ahead may be begun, or the gateway has something to do before.
    goes_on: AtomicBool,
}

impl Desk {
    pub fn open(mailbox: impl AsFd, gateway: impl AsFd, bell: OwnedFd) -> Result<Self, Errno> {
        let gateway = Memory::map(gateway, HEADER, ProtFlags::READ)?;
        Ok(Self {
            mailbox: Mailbox::open(mailbox)?,
            bell: Bell { gateway, event: bell },
            number: AtomicU32::new(0),
            goes_on: AtomicBool::new(false),
        })
    }

    fn number(&self) -> u32 {
        self.number.load(Ordering::Relaxed)
    }

    /// Sleeps until there is a request, and begins with it. How often it has slept.
    pub fn wait(&self) -> Result<i64, Errno> {
        let goes_on = self.goes_on.load(Ordering::Relaxed);
        let turn = self.mailbox.turn(self.number());
        let mut slept = 0;
        while !turn.take(goes_on) {
            if turn.may_sleep(goes_on) {
                match futex::wait(&self.mailbox.header().sleeper.0, futex::Flags::empty(), 1, None) {
                    Ok(()) | Err(Errno::INTR) => slept += 1,
                    Err(Errno::AGAIN) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(slept)
    }

    /// The request that was begun; `None` if it is in the pipe.
    pub fn request(&self) -> Option<&[u8]> {
        let number = self.number();
        match self.mailbox.slot(number).length.get() {
            IN_PIPE => None,
            // SAFETY: the gateway wrote so many bytes and does not touch them before the answer.
            length => Some(unsafe {
                std::slice::from_raw_parts(self.mailbox.data(number), (length as usize).min(CAPACITY))
            }),
        }
    }

    /// Whether nobody listens any more to the stream that answers the last request.
    pub fn is_abandoned(&self) -> bool {
        self.mailbox.header().abandoned.0.get() == 1
    }

    /// Leaves an answer, and wakes the gateway if it sleeps. What does not fit is left to the caller,
    /// who writes it into the pipe and then says so by [`Desk::has_answered_by_pipe`]. `goes_on`: the
    /// gateway has nothing to do before the next request is begun.
    pub fn leave(&self, frame: &[u8], goes_on: bool) -> Place {
        if frame.len() > CAPACITY {
            return Place::Pipe;
        }
        let number = self.number();
        let place = self.mailbox.write(number, frame);
        self.goes_on.store(goes_on, Ordering::Relaxed);
        self.number.store(number.wrapping_add(1), Ordering::Relaxed);
        if self.mailbox.turn(number).answer(self.bell.gateway.first_word()) {
            self.bell.ring();
        }
        place
    }

    /// The next request is begun when the gateway has read the pipe.
    pub fn has_answered_by_pipe(&self) {
        self.goes_on.store(false, Ordering::Relaxed);
        self.number.fetch_add(1, Ordering::Relaxed);
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

    /// Repeats what it is asked, until that is `end`. How often it has slept.
    fn repeat(desk: Desk, goes_on: bool) -> std::thread::JoinHandle<i64> {
        std::thread::spawn(move || {
            let mut slept = 0;
            loop {
                slept += desk.wait().unwrap();
                let request = desk.request().unwrap().to_vec();
                desk.leave(&request, goes_on);
                if request == b"end" {
                    return slept;
                }
            }
        })
    }

    fn collect(office: &Office, bell: &BellPull) -> Vec<u8> {
        let mut answer = Vec::new();
        while office.collect(&mut answer) == Found::Nothing {
            bell.hear();
            std::thread::yield_now();
        }
        answer
    }

    #[test]
    fn a_hundred_thousand_requests_each_get_their_answer() {
        let (office, desk, bell) = pair();
        let environment = repeat(desk, true);
        for number in 0..100_000u32 {
            let request = if number == 99_999 { b"end".to_vec() } else { number.to_le_bytes().to_vec() };
            assert_eq!(office.leave(&request), Place::Here);
            assert_eq!(collect(&office, &bell), request);
        }
        environment.join().unwrap();
    }

    /// As many ahead as there is room for, now and then some taken back.
    #[test]
    fn what_is_left_ahead_is_answered_in_order_or_taken_back() {
        for goes_on in [true, false] {
            let (office, desk, bell) = pair();
            let environment = repeat(desk, goes_on);
            let mut expected = std::collections::VecDeque::new();
            let mut taken_back = 0;
            for number in 0..100_000u32 {
                let request = number.to_le_bytes().to_vec();
                if expected.is_empty() {
                    assert!(!office.leave_ahead(&request));
                    office.leave(&request);
                    expected.push_back(request);
                } else if office.leave_ahead(&request) {
                    office.rouse();
                    expected.push_back(request);
                } else {
                    assert_eq!(Some(collect(&office, &bell)), expected.pop_front());
                    office.release();
                }
                if number % 50 == 0 && expected.len() > 1 && office.take_back() {
                    expected.pop_back();
                    taken_back += 1;
                }
            }
            for request in expected {
                office.release();
                assert_eq!(collect(&office, &bell), request);
            }
            assert!(!office.take_back());
            assert!(taken_back > 0);
            office.leave(b"end");
            environment.join().unwrap();
        }
    }

    #[test]
    fn what_lies_there_ahead_is_begun_without_sleep() {
        let (office, desk, bell) = pair();
        office.leave(b"1");
        assert!(office.leave_ahead(b"2") && office.leave_ahead(b"end"));
        assert!(office.has_unbegun(2) && !office.has_unbegun(4));
        assert_eq!(repeat(desk, true).join().unwrap(), 0);
        assert!(!office.has_unbegun(1));
        for answer in ["1", "2", "end"] {
            assert_eq!(collect(&office, &bell), answer.as_bytes());
        }
    }

    #[test]
    fn there_is_room_for_so_many_and_no_more() {
        let (office, _desk, _bell) = pair();
        office.leave(b"first");
        for _ in 1..SLOTS {
            assert!(office.leave_ahead(b"another"));
        }
        assert!(!office.leave_ahead(b"too many"));
        for _ in 1..SLOTS {
            assert!(office.take_back());
        }
        assert!(!office.take_back(), "the first was not left ahead");
        assert!(!office.leave_ahead(&[0; CAPACITY + 1]));
        // Nobody has asked for an answer any more, whatever lies there.
        office.clear();
        office.mailbox.slot(1).state.set(turn::ANSWER);
        assert_eq!(office.collect(&mut Vec::new()), Found::Nothing);
        office.clear();
        assert_eq!(office.asked(), 0);
        office.leave(b"second");
        // What an environment has scribbled on is not written to.
        office.mailbox.slot(2).state.set(77);
        assert!(!office.leave_ahead(b"another"));
    }

    #[test]
    fn what_does_not_fit_goes_through_the_pipes() {
        let (office, desk, _bell) = pair();
        assert_eq!(office.leave(&vec![7; CAPACITY]), Place::Here);
        assert!(office.is_untouched());
        desk.wait().unwrap();
        assert_eq!(desk.request().unwrap().len(), CAPACITY);
        assert!(!office.is_untouched());
        assert_eq!(desk.leave(&vec![7; CAPACITY + 1], true), Place::Pipe);
        desk.has_answered_by_pipe();
        assert_eq!(office.collect(&mut Vec::new()), Found::Nothing);
        office.clear();
        assert_eq!(office.leave(&vec![7; CAPACITY + 1]), Place::Pipe);
        desk.wait().unwrap();
        assert_eq!(desk.request(), None);
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
        desk.mailbox.slot(0).length.set(CAPACITY as u32 + 1);
        desk.mailbox.slot(0).state.set(turn::ANSWER);
        assert_eq!(office.collect(&mut Vec::new()), Found::Malformed);
        office.leave(b"request");
        desk.mailbox.slot(1).state.set(77);
        desk.mailbox.slot(1).length.set(3);
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

//! How many processes one environment may be: 1,024, as on Lambda, without any rights and to the last one.
//!
//! Every `fork` below an environment is held by the kernel until the zygote has let it go on (a filter of
//! system calls whose answers are given by somebody else). It is that waiting which makes bombs harmless:
//! who forks without end waits without end, and does not take the processors from those who are to end it.
//! When an environment ends, nobody below it is answered any more: what is left can be killed without a
//! race. Threads are not counted, and do not wait.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

use crate::protocol::isolation::MAX_PROCESSES;

/// The way on which environments hand over the answering side.
pub struct Registry {
    ours: OwnedFd,
    theirs: OwnedFd,
}

impl Registry {
    pub fn open() -> Result<Self, Errno> {
        let (ours, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )?;
        Ok(Self { ours, theirs })
    }

    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.ours.as_fd()
    }

    /// In an environment, before it has started anything: from here on each process is asked for.
    pub fn announce(&self, ticket: u64) -> Result<(), Errno> {
        let listener = listen()?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors = [listener.as_fd()];
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        let message = ticket.to_ne_bytes();
        loop {
            match rustix::net::sendmsg(
                &self.theirs,
                &[IoSlice::new(&message)],
                &mut ancillary,
                SendFlags::NOSIGNAL,
            ) {
                Err(Errno::INTR) => {}
                // As many as the socket holds are under way.
                Err(Errno::AGAIN) => std::thread::yield_now(),
                other => return other.map(drop),
            }
        }
    }

    /// In the zygote: the next one that has been handed over, and whose it is.
    pub fn next(&self) -> Option<(u64, Births)> {
        let mut ticket = [0; 8];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let parts = &mut [IoSliceMut::new(&mut ticket)];
        rustix::net::recvmsg(&self.ours, parts, &mut ancillary, flags).ok()?;
        let listener = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        })?;
        Some((u64::from_ne_bytes(ticket), Births { listener, counted: 1, since: 0, even: Instant::now() }))
    }
}

/// The answering side of one environment.
pub struct Births {
    listener: OwnedFd,
    /// How many there were when they were counted last, and how many were born since.
    counted: usize,
    since: usize,
    /// When the next one would be due if they came evenly.
    even: Instant,
}

/// What has become of a question.
pub enum Asked {
    Answered,
    /// It would be one too many, and waits still.
    TooMany,
}

impl Births {
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// How long whoever asks has to wait: nobody, but for those who start processes by the hundred.
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        self.even.checked_duration_since(now + AT_ONCE * EVERY).filter(|wait| !wait.is_zero())
    }

    /// Answers whoever waits. `count` tells how many the environment is, itself included.
    pub fn answer(&mut self, count: impl Fn() -> usize) -> Asked {
        // SAFETY: plain numbers, and the kernel wants them to be zero.
        let mut question: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        let listener = self.listener.as_raw_fd();
        // SAFETY: the kernel fills in one question, as long as its own description of it.
        if unsafe { libc::ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_RECV, &mut question) } != 0 {
            // Whoever asked has been killed meanwhile.
            return Asked::Answered;
        }
        if self.counted + self.since + 1 > MAX_PROCESSES {
            (self.counted, self.since) = (settled(count), 0);
            if self.counted + 1 > MAX_PROCESSES && !crate::defences::off("process-limit") {
                return Asked::TooMany;
            }
        }
        self.since += 1;
        self.even = self.even.max(Instant::now()) + EVERY;
        let answer = libc::seccomp_notif_resp {
            id: question.id,
            val: 0,
            error: 0,
            flags: libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
        };
        // SAFETY: as above; who is gone needs no answer.
        unsafe { libc::ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_SEND, &answer) };
        Asked::Answered
    }
}

/// So many may be born at once, and one in so long after that: else hundreds that have got leave crowd the
/// processors at the same time. Nobody who waits for what it starts comes near this.
const AT_ONCE: u32 = 256;
const EVERY: Duration = Duration::from_millis(2);

/// Who has got leave may not have been born yet, where many want the processors. Nobody gets leave
/// meanwhile, so that there will soon be as many as there are going to be.
fn settled(count: impl Fn() -> usize) -> usize {
    let (mut last, mut unchanged) = (0, 0);
    for _ in 0..ROUNDS {
        let now = count();
        unchanged = if now == last { unchanged + 1 } else { 0 };
        if unchanged == 2 || now >= MAX_PROCESSES {
            return now;
        }
        last = now;
        std::thread::sleep(PAUSE);
    }
    last
}

const ROUNDS: usize = 40;
const PAUSE: Duration = Duration::from_millis(5);

/// Puts the filter up, for this process and all it will start; the side that answers.
pub fn listen() -> Result<OwnedFd, Errno> {
    let mut filter = filter();
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    let install = |flags: libc::c_ulong| {
        let mode = libc::SECCOMP_SET_MODE_FILTER;
        // SAFETY: the program outlives the call, and its length is right.
        unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &program) }
    };
    // Who waits for an answer is not to be woken by every signal, to ask once more; Linux 5.19 knows that.
    let patient = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    let descriptor = match install(patient) {
        -1 => install(libc::SECCOMP_FILTER_FLAG_NEW_LISTENER),
        descriptor => descriptor,
    };
    match descriptor {
        // SAFETY: the kernel has just made it, for us.
        0.. => Ok(unsafe { OwnedFd::from_raw_fd(descriptor as i32) }),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
    }
}

/// Where the kernel puts what the filter looks at: number, architecture, the lower half of the first
/// argument.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const FIRST_ARGUMENT: u32 = if cfg!(target_endian = "little") { 16 } else { 20 };

#[cfg(target_arch = "x86_64")]
const OURS: (u32, &[libc::c_long]) = (0xc000_003e, &[libc::SYS_fork, libc::SYS_vfork]);
#[cfg(target_arch = "aarch64")]
const OURS: (u32, &[libc::c_long]) = (0xc000_00b7, &[]);

/// `fork`, `vfork`, and `clone` unless it makes a thread. (`clone3` is refused by `calls`.)
fn filter() -> Vec<libc::sock_filter> {
    let (load, equal) = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, libc::BPF_JMP | libc::BPF_JEQ);
    let give = libc::BPF_RET | libc::BPF_K;
    let (ask, pass) = (libc::SECCOMP_RET_USER_NOTIF, libc::SECCOMP_RET_ALLOW);
    let refuse = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
    // SAFETY: both only put numbers together.
    let step = |code: u32, value: u32| unsafe { libc::BPF_STMT(code as u16, value) };
    let jump = |code: u32, value: u32, to: usize, or: usize| unsafe {
        libc::BPF_JUMP(code as u16, value, to as u8, or as u8)
    };
    let (architecture, plain) = OURS;
    let mut filter = vec![
        step(load, ARCHITECTURE),
        jump(equal, architecture, 1, 0),
        // Nobody here speaks with the kernel as programs of another kind of machine do.
        step(give, refuse),
        step(load, NUMBER),
        jump(libc::BPF_JMP | libc::BPF_JGE, 0x4000_0000, 0, 1),
        step(give, refuse),
    ];
    for (index, call) in plain.iter().enumerate() {
        // Over the others, `clone` with its look at the flags, and the pass.
        filter.push(jump(equal, *call as u32, plain.len() - index + 3, 0));
    }
    filter.extend([
        jump(equal, libc::SYS_clone as u32, 0, 2),
        step(load, FIRST_ARGUMENT),
        jump(libc::BPF_JMP | libc::BPF_JSET, libc::CLONE_THREAD as u32, 0, 1),
        step(give, pass),
        step(give, ask),
    ]);
    filter
}

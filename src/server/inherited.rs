//! What was open before this program began: listening sockets, of a supervisor such as systemd or of a
//! former program, and the lock that a former program held.
//!
//! Sockets that a supervisor has opened decide where this program listens: they are served as they are.
//! Those of a former program are served on if the settings still say so.

use std::fs::File;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::{BorrowedFd, FromRawFd};

use anyhow::bail;

use crate::config::Settings;

/// What a former program leaves: `http=7,given-api=8,lock=9`.
pub const LEFT: &str = "HANDLERD_INHERITED";
/// What it has to say to who comes after: why that is itself.
pub const TOLD: &str = "HANDLERD_INHERITED_NEWS";
/// What a supervisor and a former program tell by the environment is no business of functions.
pub const OURS: [&str; 9] = [
    LEFT,
    TOLD,
    super::rehearsal::REHEARSAL,
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
];
/// HTTP routes; console and Lambda API; the same, for this machine only.
const NAMES: [&str; 3] = ["http", "api", "back"];
/// systemd's sockets begin here.
const FIRST: i32 = 3;

/// Whether a variable is for this program only.
pub fn is_ours(name: &str) -> bool {
    OURS.contains(&name)
}

/// A socket that is open: its descriptor, or where it listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open<T> {
    pub name: &'static str,
    /// By a supervisor, at whatever address that likes.
    pub given: bool,
    pub what: T,
}

impl<T: std::fmt::Display> std::fmt::Display for Open<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}{}={}", if self.given { "given-" } else { "" }, self.name, self.what)
    }
}

/// The list as it is told; what is not understood is left out.
pub fn parse<T: std::str::FromStr>(list: &str) -> Vec<Open<T>> {
    let parts = list.split(',').filter_map(|part| part.split_once('='));
    parts
        .filter_map(|(name, what)| {
            let (given, name) = match name.strip_prefix("given-") {
                Some(name) => (true, name),
                None => (false, name),
            };
            let name = NAMES.into_iter().find(|known| *known == name)?;
            Some(Open { name, given, what: what.parse().ok()? })
        })
        .collect()
}

/// What systemd's sockets are for, by their names (`FileDescriptorName=`) or by their order. Who gives
/// no names has them all named after the unit.
fn purposes(count: usize, names: &str) -> Vec<Option<&'static str>> {
    let names: Vec<&str> = names.split(':').collect();
    let known = |name: &&str| NAMES[..2].iter().copied().find(|known| known == name);
    if names.iter().any(|name| known(name).is_some()) {
        return (0..count).map(|index| names.get(index).and_then(known)).collect();
    }
    (0..count).map(|index| NAMES[..2].get(index).copied()).collect()
}

/// Which of these are served on, where `host` and `ports` are in the settings. What a supervisor has
/// opened says where this program listens, so that what has to be settled before other machines reach it
/// is settled for that address.
pub fn agree(host: &mut IpAddr, ports: [u16; 2], open: &[Open<SocketAddr>]) -> Vec<&'static str> {
    let wanted = *host;
    let given = open.iter().filter(|socket| socket.given).map(|socket| socket.what.ip());
    // The one that most can reach.
    let decisive = given.min_by_key(IpAddr::is_loopback);
    if let Some(given) = decisive.filter(|given| wanted.is_loopback() || !given.is_loopback()) {
        *host = given;
    }
    let fits = |socket: &&Open<SocketAddr>| {
        let port = NAMES.iter().position(|name| *name == socket.name).and_then(|index| ports.get(index));
        let is_same = |port: &u16| wanted == socket.what.ip() && [0, socket.what.port()].contains(port);
        // Whoever has no port in the settings is behind the others.
        socket.given || port.is_none_or(is_same)
    };
    open.iter().filter(fits).map(|socket| socket.name).collect()
}

/// All that there was.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<Open<TcpListener>>,
    lock: Option<File>,
    /// From a former program.
    pub is_heir: bool,
    /// That one was not to end with its terminal.
    pub outlives_terminal: bool,
}

impl Inherited {
    /// To be called once: they are owned from here on.
    pub fn take() -> anyhow::Result<Self> {
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        let left = variable(LEFT);
        let mut found: Vec<Open<i32>> = parse(&left);
        if variable("LISTEN_PID") == std::process::id().to_string() {
            let count = variable("LISTEN_FDS").parse().unwrap_or(0_i32).clamp(0, 16);
            let purposes = purposes(count as usize, &variable("LISTEN_FDNAMES"));
            for (what, name) in (FIRST..).zip(purposes) {
                match name {
                    Some(name) => found.push(Open { name, given: true, what }),
                    None => tracing::warn!(
                        "socket {what} is served by nobody: `http` and `api` are the names of those that are"
                    ),
                }
            }
        }
        let mut inherited = Self { is_heir: !left.is_empty(), ..Self::default() };
        for Open { name, given, what } in found {
            if inherited.sockets.iter().any(|socket| socket.name == name) {
                bail!("more than one open socket is called `{name}`\nhint: one `ListenStream=` for each");
            }
            let Some(socket) = listener(what) else {
                bail!(
                    "descriptor {what}, which is to be the socket `{name}`, does not listen for TCP\nhint: \
                     `ListenStream=127.0.0.1:3000` in the unit of the socket"
                )
            };
            inherited.sockets.push(Open { name, given, what: socket });
        }
        for (name, number) in left.split(',').filter_map(|part| part.split_once('=')) {
            match (name, number.parse::<i32>()) {
                ("lock", Ok(number)) if open(number).is_some() => {
                    // SAFETY: it is open, was left to this program under this number, and is taken once.
                    inherited.lock = Some(unsafe { File::from_raw_fd(number) });
                }
                ("outlives-terminal", Ok(1)) => inherited.outlives_terminal = true,
                _ => {}
            }
        }
        if let Ok(told) = std::env::var(TOLD) {
            tracing::error!("{told}");
        }
        Ok(inherited)
    }

    /// Keeps what fits the settings; the others are closed. See [`agree`].
    pub fn agree(&mut self, settings: &mut Settings) -> std::io::Result<()> {
        let told = self.sockets.iter().map(|socket| {
            let what = socket.what.local_addr()?;
            Ok(Open { name: socket.name, given: socket.given, what })
        });
        let told = told.collect::<std::io::Result<Vec<_>>>()?;
        let kept = agree(&mut settings.host, [settings.port, settings.api_port], &told);
        self.sockets.retain(|socket| kept.contains(&socket.name));
        Ok(())
    }

    pub fn is_given(&self, name: &str) -> bool {
        self.sockets.iter().any(|socket| socket.given && socket.name == name)
    }

    pub fn socket(&mut self, name: &str) -> Option<TcpListener> {
        let index = self.sockets.iter().position(|socket| socket.name == name)?;
        Some(self.sockets.swap_remove(index).what)
    }

    /// The lock of a state folder, which nobody else could take meanwhile.
    pub fn lock(&mut self) -> Option<File> {
        self.lock.take()
    }
}

/// A descriptor that somebody has left open; children do not get it.
fn open(number: i32) -> Option<BorrowedFd<'static>> {
    // SAFETY: only looked at; the kernel says if it is not open, and -1 never is.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number.max(0)) };
    let is_left =
        number >= FIRST && rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::CLOEXEC).is_ok();
    is_left.then_some(descriptor)
}

/// `None`: nothing that listens is open there.
fn listener(number: i32) -> Option<TcpListener> {
    let socket = open(number)?;
    if !rustix::net::sockopt::socket_acceptconn(socket).unwrap_or(false) {
        return None;
    }
    // SAFETY: it is open, was left to this program under this number, and is taken once.
    let listener = unsafe { TcpListener::from_raw_fd(number) };
    match (listener.local_addr(), listener.set_nonblocking(true)) {
        (Ok(_), Ok(())) => Some(listener),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsRawFd, IntoRawFd};

    use super::*;

    #[test]
    fn only_what_listens_is_taken() {
        let listening = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listening.local_addr().unwrap();
        let taken = listener(listening.into_raw_fd()).unwrap();
        assert_eq!(taken.local_addr().unwrap(), address);
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(listener(file.as_raw_fd()).is_none());
        for number in [-1, 0, 2, 1_000_000] {
            assert!(listener(number).is_none(), "{number}");
        }
        let folder = tempfile::tempdir().unwrap();
        let local = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
        assert!(listener(local.into_raw_fd()).is_none(), "no TCP");
    }

    #[test]
    fn sockets_have_purposes_by_name_or_by_order() {
        let (http, api) = (Some("http"), Some("api"));
        for (count, names, wanted) in [
            (2, "api:http", vec![api, http]),
            (2, "handlerd.socket:handlerd.socket", vec![http, api]),
            (2, "unknown:unknown", vec![http, api]),
            (2, "", vec![http, api]),
            (1, "", vec![http]),
            (1, "api", vec![api]),
            (3, "other:http:api", vec![None, http, api]),
            (3, "", vec![http, api, None]),
            (2, "http", vec![http, None]),
        ] {
            assert_eq!(purposes(count, names), wanted, "{count} {names}");
        }
    }

    #[test]
    fn a_list_is_read_as_it_is_told() {
        let told = [
            Open { name: "http", given: true, what: "0.0.0.0:80".parse::<SocketAddr>().unwrap() },
            Open { name: "api", given: false, what: "[::1]:3001".parse().unwrap() },
        ];
        let list = told.each_ref().map(ToString::to_string).join(",");
        assert_eq!(list, "given-http=0.0.0.0:80,api=[::1]:3001");
        assert_eq!(parse::<SocketAddr>(&list), told);
        for nothing in ["", "http", "http=", "other=127.0.0.1:1", "lock=7,http=x"] {
            assert_eq!(parse::<SocketAddr>(nothing), [], "{nothing}");
        }
    }

    #[test]
    fn an_address_that_others_have_opened_is_the_one_that_counts() {
        let open = |list: &str| parse::<SocketAddr>(list);
        let agreed = |host: &str, list: &str| {
            let mut host = host.parse().unwrap();
            let kept = agree(&mut host, [3000, 0], &open(list));
            (host.to_string(), kept)
        };
        let near = "127.0.0.1";
        for (host, list, listens, kept) in [
            (near, "http=127.0.0.1:3000", near, vec!["http"]),
            (near, "http=127.0.0.1:4000,api=127.0.0.1:4001", near, vec!["api"]),
            (near, "http=0.0.0.0:3000,back=127.0.0.1:9", near, vec!["back"]),
            ("0.0.0.0", "http=127.0.0.1:3000", "0.0.0.0", vec![]),
            (near, "given-http=0.0.0.0:80", "0.0.0.0", vec!["http"]),
            (near, "given-http=127.0.0.1:80,given-api=192.0.2.1:81", "192.0.2.1", vec!["http", "api"]),
            ("0.0.0.0", "given-http=127.0.0.1:80", "0.0.0.0", vec!["http"]),
        ] {
            assert_eq!(agreed(host, list), (listens.to_owned(), kept), "{host} {list}");
        }
    }
}

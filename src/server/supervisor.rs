//! What a supervisor such as systemd is told: that this program serves, begins anew, ends; and, if it
//! asks for that, that it is not stuck.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Where it wants to hear from us, if there is one.
#[derive(Clone)]
pub struct Supervisor {
    address: Option<OsString>,
}

impl Supervisor {
    pub fn from_environment() -> Self {
        Self { address: std::env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty()) }
    }

    pub fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}\n"));
    }

    /// Followed by `ready`, from this program or from its successor.
    pub fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let microseconds = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}\nSTATUS=a new program takes over\n"));
    }

    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=requests in flight are finished\n");
    }

    /// Says that requests are still looked at, as often as it wants to hear it: from the very loop that
    /// serves them.
    pub async fn alive(self) {
        let variable = |name: &str| std::env::var(name).ok();
        let is_ours = variable("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let limit: Option<u64> = variable("WATCHDOG_USEC").and_then(|limit| limit.parse().ok());
        let Some(limit) = limit.filter(|limit| is_ours && *limit > 0) else { return };
        let mut times = tokio::time::interval(Duration::from_micros(limit / 2));
        loop {
            times.tick().await;
            self.tell("WATCHDOG=1\n");
        }
    }

    /// A datagram that is not taken is lost: nothing here depends on it.
    fn tell(&self, what: &str) {
        let Some(address) = &self.address else { return };
        let told = || {
            let address = match address.as_bytes().strip_prefix(b"@") {
                Some(name) => <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name)?,
                None => SocketAddr::from_pathname(address)?,
            };
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            socket.send_to_addr(what.as_bytes(), &address)
        };
        if let Err(error) = told() {
            tracing::debug!("the supervisor cannot be told: {error}");
        }
    }
}

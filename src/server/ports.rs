//! The ports, and how many connections this process can have there.

use std::net::IpAddr;

use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpSocket};

/// Connections that wait to be accepted: one more has to try again, a second later.
const BACKLOG: u32 = 4096;
/// Descriptors, for two ports and all else.
const ENOUGH: u64 = 65_536;

/// What is open already, or a socket of our own; `flag` is what another port is chosen with.
pub fn bind(
    inherited: Option<std::net::TcpListener>,
    host: IpAddr,
    port: u16,
    flag: &str,
) -> anyhow::Result<TcpListener> {
    if let Some(listener) = inherited {
        return TcpListener::from_std(listener).context("a socket that was open already cannot be used");
    }
    let listen = || {
        let socket = if host.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind((host, port).into())?;
        socket.listen(BACKLOG)
    };
    listen().with_context(|| {
        format!(
            "could not listen on {host}:{port}\nhint: another program, perhaps another handlerd, may listen there; \
             choose another with `{flag}` (0: any free one)"
        )
    })
}

/// As many descriptors as may be had without asking anybody. How many that is; `None`: no end to them.
pub fn more_descriptors() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.unwrap_or(ENOUGH).min(ENOUGH);
    if current.is_some_and(|current| current < wanted)
        && setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).is_ok()
    {
        return Some(wanted);
    }
    current
}

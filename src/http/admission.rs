//! Who may connect: so many in all and from one address, and nobody when there are no descriptors.
//!
//! Whoever is one too many is told so from the accept loop itself, by bytes that are ready, without a
//! task: turning away must stay cheap when there is much of it.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::TcpStream;

use super::counters::{Counters, count};
use super::proxies::{self, Proxies};
use crate::config::Connections;
use crate::defences;

/// From one address, unless it is this machine's own.
const MOST_PER_ADDRESS: usize = 256;
/// Descriptors that no client's connection gets: for the store, environments, and all that is read.
const RESERVED: usize = 1024;
/// Of connections that were turned away so many are kept for so long: one that is closed on unread
/// bytes is reset, and the client may never see why.
const LINGERING: usize = 64;
const LINGERING_TIME: Duration = Duration::from_secs(1);

const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n\
    content-length: 33\r\nconnection: close\r\n\r\n{\"message\":\"Service Unavailable\"}";

/// The doorkeeper of one port.
#[derive(Clone)]
pub struct Admission {
    shared: Arc<Shared>,
    proxies: Proxies,
}

struct Shared {
    limits: Connections,
    most: usize,
    counters: Counters,
    by_address: Mutex<HashMap<IpAddr, usize>>,
    leaving: AtomicBool,
    /// Connections that were there when it was not yet so.
    former: AtomicU64,
}

/// A place, for as long as the connection is open.
pub(super) struct Place {
    admission: Admission,
    address: IpAddr,
    is_former: bool,
}

impl Admission {
    /// `descriptors`: how many this process may have, if anybody knows.
    pub fn new(limits: Connections, descriptors: Option<u64>) -> Self {
        let counters = Counters::default();
        let most = limits.most.min(room(descriptors));
        let shared = Arc::new(Shared {
            limits,
            most,
            counters,
            by_address: Mutex::default(),
            leaving: AtomicBool::new(false),
            former: AtomicU64::new(0),
        });
        Self { shared, proxies: Proxies::from([]) }
    }

    /// The same places, where these proxies are believed. All clients come through them, so that what
    /// one address may have is not for them.
    pub fn trusting(&self, proxies: impl Into<Proxies>) -> Self {
        Self { shared: self.shared.clone(), proxies: proxies.into() }
    }

    pub(super) fn proxies(&self) -> &Proxies {
        &self.proxies
    }

    /// From now on each answer is the last one on its connection: who comes back finds the one who
    /// comes after us.
    pub fn leave(&self) {
        self.shared.leaving.store(true, Relaxed);
    }

    pub fn is_leaving(&self) -> bool {
        self.shared.leaving.load(Relaxed)
    }

    /// Whether connections are open whose clients cannot have heard of it.
    pub fn is_awaited(&self) -> bool {
        self.shared.former.load(Relaxed) > 0
    }

    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Connections that may be open at once: what was asked for, or what the descriptors allow.
    pub fn most(&self) -> usize {
        self.shared.most
    }

    pub(super) fn limits(&self) -> &Connections {
        &self.shared.limits
    }

    fn most_of(&self, address: IpAddr) -> usize {
        if proxies::trusts(&self.proxies, address) {
            return usize::MAX;
        }
        match self.shared.limits.most_per_address {
            Some(most) => most,
            None if address.is_loopback() => usize::MAX,
            None => MOST_PER_ADDRESS,
        }
    }

    pub(super) fn admit(&self, peer: SocketAddr) -> Option<Place> {
        let counters = &self.shared.counters;
        let mut by_address = self.shared.by_address.lock().unwrap();
        if counters.open.load(Relaxed) >= self.shared.most as u64 && !defences::off("connection-cap") {
            count(&counters.full);
            return None;
        }
        let address = one_client(peer.ip());
        let open = by_address.entry(address).or_default();
        if *open >= self.most_of(peer.ip().to_canonical()) {
            count(&counters.full_of_address);
            return None;
        }
        *open += 1;
        count(&counters.open);
        count(&counters.accepted);
        let is_former = !self.is_leaving();
        self.shared.former.fetch_add(is_former.into(), Relaxed);
        Some(Place { admission: self.clone(), address, is_former })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let shared = &self.admission.shared;
        let mut by_address = shared.by_address.lock().unwrap();
        shared.counters.open.fetch_sub(1, Relaxed);
        shared.former.fetch_sub(self.is_former.into(), Relaxed);
        if let Some(open) = by_address.get_mut(&self.address) {
            *open -= 1;
            if *open == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}

/// Two ports share what is not reserved.
fn room(descriptors: Option<u64>) -> usize {
    let Some(descriptors) = descriptors else { return usize::MAX };
    let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
    ((descriptors - RESERVED.min(descriptors / 2)) / 2).max(1)
}

/// Whoever has an IPv6 address has the 2^64 beside it as well.
fn one_client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            let network = address.segments();
            Ipv6Addr::new(network[0], network[1], network[2], network[3], 0, 0, 0, 0).into()
        }
        address => address,
    }
}

/// Connections that were turned away, until their clients have seen it.
#[derive(Default)]
pub(super) struct Lingering(VecDeque<(Instant, TcpStream)>);

impl Lingering {
    /// `speaks_tls`: there is no answer before a handshake, and handshakes are dear.
    pub async fn turn_away(&mut self, mut stream: TcpStream, speaks_tls: bool) {
        if speaks_tls || !matches!(stream.try_write(FULL), Ok(written) if written == FULL.len()) {
            return;
        }
        // Of a TCP connection that is at once.
        let _ = stream.shutdown().await;
        while self.0.len() >= LINGERING {
            self.close_first();
        }
        self.0.push_back((Instant::now() + LINGERING_TIME, stream));
    }

    fn close_first(&mut self) {
        if let Some((_, stream)) = self.0.pop_front() {
            // Read, so that it is closed and not reset.
            let mut buffer = [0; 16 * 1024];
            let _ = stream.try_io(Interest::READABLE, || Ok(()));
            let _ = stream.try_read(&mut buffer);
        }
    }

    /// Closes what has lingered for long enough; never returns. May be given up half-way.
    pub async fn close(&mut self) {
        loop {
            match self.0.front() {
                Some((until, _)) => tokio::time::sleep_until((*until).into()).await,
                None => std::future::pending().await,
            }
            self.close_first();
        }
    }
}

/// A descriptor to be given up when there are no others: a connection can then be accepted, and turned
/// away, where it would otherwise stand in line and be reported again and again.
pub(super) struct Spare(Option<File>);

impl Spare {
    pub fn new() -> Self {
        Self(File::open("/dev/null").ok())
    }

    /// Gives it up. False: there was none.
    pub fn give(&mut self) -> bool {
        self.0.take().is_some()
    }

    pub fn take_back(&mut self) {
        if self.0.is_none() {
            self.0 = File::open("/dev/null").ok();
        }
    }
}

/// Whether accepting failed because there are no descriptors, of this process or of the machine.
pub(super) fn is_out_of_descriptors(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> SocketAddr {
        SocketAddr::new(address.parse().unwrap(), 1)
    }

    #[test]
    fn the_answer_is_as_long_as_it_says() {
        let text = std::str::from_utf8(FULL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{text}");
    }

    #[test]
    fn places_are_taken_and_given_back() {
        let limits = Connections { most: 3, most_per_address: Some(2), ..Connections::default() };
        let admission = Admission::new(limits, None);
        let first = admission.admit(peer("192.0.2.1")).unwrap();
        let _second = admission.admit(peer("192.0.2.1")).unwrap();
        assert!(admission.admit(peer("192.0.2.1")).is_none(), "two from one address");
        let _third = admission.admit(peer("192.0.2.2")).unwrap();
        assert!(admission.admit(peer("192.0.2.3")).is_none(), "three in all");
        drop(first);
        let _again = admission.admit(peer("192.0.2.1")).unwrap();
        let seen = admission.counters().snapshot();
        let seen = |name: &str| seen.iter().find(|(known, _)| *known == name).unwrap().1;
        assert_eq!((seen("open"), seen("accepted")), (3, 4));
        assert_eq!((seen("refusedFull"), seen("refusedFullOfAddress")), (1, 1));
    }

    #[test]
    fn this_machine_has_no_limit_of_its_own_unless_asked_for() {
        let admission = Admission::new(Connections::default(), None);
        let from = |address: &str| {
            let places: Vec<_> = (0..300).map_while(|_| admission.admit(peer(address))).collect();
            places.len()
        };
        assert_eq!(from("127.0.0.1"), 300);
        assert_eq!(from("::1"), 300);
        assert_eq!(from("::ffff:127.0.0.1"), 300);
        assert_eq!(from("192.0.2.1"), 256);
        assert_eq!(from("2001:db8::1"), 256);
        assert!(admission.shared.by_address.lock().unwrap().is_empty());
    }

    #[test]
    fn a_proxy_brings_everybody() {
        let limits = Connections { most: 400, most_per_address: Some(2), ..Connections::default() };
        let admission = Admission::new(limits, None).trusting(["192.0.2.0/30".parse().unwrap()]);
        let places: Vec<_> = (0..500).map_while(|_| admission.admit(peer("192.0.2.1"))).collect();
        assert_eq!(places.len(), 400);
        drop(places);
        let places: Vec<_> = (0..500).map_while(|_| admission.admit(peer("192.0.2.9"))).collect();
        assert_eq!(places.len(), 2);
        // Who is not trusted at another entry has a share there.
        let _proxy: Vec<_> = (0..2).map_while(|_| admission.admit(peer("192.0.2.1"))).collect();
        assert!(admission.trusting([]).admit(peer("192.0.2.1")).is_none());
    }

    #[test]
    fn neighbours_in_a_network_of_ipv6_are_one_client() {
        assert_eq!(
            one_client("2001:db8:1:2:3::4".parse().unwrap()),
            "2001:db8:1:2::".parse::<IpAddr>().unwrap()
        );
        assert_eq!(one_client("::ffff:192.0.2.1".parse().unwrap()), "192.0.2.1".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn descriptors_are_left_for_others() {
        assert_eq!(room(Some(20_000)), 9_488);
        assert_eq!(room(Some(256)), 64);
        assert_eq!(room(Some(0)), 1);
        assert_eq!(room(Some(u64::MAX)), (usize::MAX - 1024) / 2);
        assert_eq!(Admission::new(Connections::default(), Some(1024)).most(), 256);
    }
}

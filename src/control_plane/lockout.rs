//! Who guesses too often waits: ten failures within a minute, by address, in a table of bounded size.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

const FAILURES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
const MOST: usize = 4096;

#[derive(Default)]
pub struct Lockout(Mutex<HashMap<IpAddr, (Instant, u32)>>);

impl Lockout {
    /// For how many seconds this peer is not listened to.
    pub fn locked(&self, peer: IpAddr, now: Instant) -> Option<u64> {
        let table = self.0.lock().unwrap();
        let (since, failures) = table.get(&group(peer))?;
        let left = WINDOW.checked_sub(now.duration_since(*since)).filter(|left| !left.is_zero())?;
        (*failures >= FAILURES).then(|| left.as_secs() + 1)
    }

    pub fn failed(&self, peer: IpAddr, now: Instant) {
        let mut table = self.0.lock().unwrap();
        let peer = group(peer);
        if table.len() >= MOST && !table.contains_key(&peer) {
            table.retain(|_, (since, _)| now.duration_since(*since) < WINDOW);
            // All of them within a minute: the one that has done least is let go.
            let least = table.iter().min_by_key(|(_, (_, failures))| *failures).map(|(peer, _)| *peer);
            if let Some(least) = least.filter(|_| table.len() >= MOST) {
                table.remove(&least);
            }
        }
        let entry = table.entry(peer).or_insert((now, 0));
        if now.duration_since(entry.0) >= WINDOW {
            *entry = (now, 0);
        }
        entry.1 = entry.1.saturating_add(1);
        if entry.1 == FAILURES {
            // From the last failure on, not from the first.
            entry.0 = now;
            tracing::warn!(target: "request", "{peer} has sent {FAILURES} wrong credentials, and is locked out for a minute");
        }
    }
}

/// Whoever has one IPv6 address has the 2^64 beside it.
fn group(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => std::net::Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_failures_lock_one_address_for_a_minute() {
        let (lockout, now) = (Lockout::default(), Instant::now());
        let (bad, good): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        for _ in 0..9 {
            lockout.failed(bad, now);
        }
        assert_eq!(lockout.locked(bad, now), None);
        lockout.failed(bad, now);
        assert!(lockout.locked(bad, now).is_some());
        assert!(lockout.locked("::ffff:192.0.2.1".parse().unwrap(), now).is_some());
        assert_eq!(lockout.locked(good, now), None);
        assert_eq!(lockout.locked(bad, now + WINDOW), None);
        lockout.failed(bad, now + WINDOW);
        assert_eq!(lockout.locked(bad, now + WINDOW), None, "the count begins anew");
        let neighbours = ["2001:db8::1", "2001:db8::2"].map(|text| text.parse::<IpAddr>().unwrap());
        (0..10).for_each(|_| lockout.failed(neighbours[0], now));
        assert!(lockout.locked(neighbours[1], now).is_some());
    }

    #[test]
    fn the_table_is_bounded_and_forgets_no_offender_for_a_crowd() {
        let (lockout, now) = (Lockout::default(), Instant::now());
        let offender: IpAddr = "192.0.2.1".parse().unwrap();
        (0..10).for_each(|_| lockout.failed(offender, now));
        for number in 0..3 * MOST as u32 {
            lockout.failed(IpAddr::from(number.to_be_bytes()), now);
        }
        assert!(lockout.0.lock().unwrap().len() <= MOST);
        assert!(lockout.locked(offender, now).is_some());
    }
}

//! `Fn::Cidr`: subnets of an address block.

use std::net::IpAddr;

/// The most that it gives at once.
const MOST: u32 = 256;

/// The first `count` subnets with `bits` bits for hosts.
pub fn subnets(block: &str, count: &str, bits: Option<&str>) -> Result<Vec<String>, String> {
    let invalid = || format!("`{block}` is no address block such as 10.0.0.0/16");
    let (address, prefix) = block.trim().split_once('/').ok_or_else(invalid)?;
    let address: IpAddr = address.parse().map_err(|_| invalid())?;
    let prefix: u32 = prefix.parse().map_err(|_| invalid())?;
    let (base, width, default) = match address {
        IpAddr::V4(address) => (u128::from(u32::from(address)), 32, "8"),
        IpAddr::V6(address) => (u128::from(address), 128, "64"),
    };
    let count: u32 = count
        .trim()
        .parse()
        .ok()
        .filter(|count| (1..=MOST).contains(count))
        .ok_or_else(|| format!("`{count}` is no number of subnets from 1 to {MOST}"))?;
    let bits = bits.unwrap_or(default);
    let bits: u32 = bits
        .trim()
        .parse()
        .ok()
        .filter(|bits| *bits < width)
        .ok_or_else(|| format!("`{bits}` is no number of bits from 0 to {}", width - 1))?;
    let room = width.checked_sub(prefix).ok_or_else(invalid)?.checked_sub(bits);
    if room.is_none_or(|room| room < 32 && u64::from(count) > 1 << room) {
        return Err(format!("`{block}` has no room for {count} subnets of {bits} bits"));
    }
    let hosts = u128::MAX.checked_shr(128 - (width - prefix)).unwrap_or(0);
    let first = base & !hosts;
    let subnet = |index: u32| {
        let address = first + (u128::from(index) << bits);
        let address = match u32::try_from(address) {
            Ok(address) if width == 32 => IpAddr::from(address.to_be_bytes()),
            _ => IpAddr::from(address.to_be_bytes()),
        };
        format!("{address}/{}", width - bits)
    };
    Ok((0..count).map(subnet).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divides_blocks() {
        for (block, count, bits, expected) in [
            ("10.0.0.0/16", "3", Some("8"), vec!["10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24"]),
            ("192.168.1.77/24", "2", Some("5"), vec!["192.168.1.0/27", "192.168.1.32/27"]),
            ("10.0.0.0/16", "1", None, vec!["10.0.0.0/24"]),
            ("2001:db8::/56", "2", Some("64"), vec!["2001:db8::/64", "2001:db8:0:1::/64"]),
            ("255.255.255.0/24", "256", Some("0"), vec![]),
            ("0.0.0.0/0", "1", Some("8"), vec!["0.0.0.0/24"]),
            ("::/0", "1", Some("127"), vec!["::/1"]),
        ] {
            let found = subnets(block, count, bits).unwrap();
            if expected.is_empty() {
                assert_eq!(found.last().unwrap(), "255.255.255.255/32");
            } else {
                assert_eq!(found, expected);
            }
        }
        for (block, count, bits, expected) in [
            ("10.0.0.0", "1", None, "is no address block"),
            ("10.0.0.0/33", "1", Some("0"), "is no address block"),
            ("10.0.0.0/24", "2", Some("8"), "has no room for 2 subnets"),
            ("10.0.0.0/24", "0", None, "is no number of subnets"),
            ("10.0.0.0/24", "1", Some("32"), "is no number of bits"),
        ] {
            let error = subnets(block, count, bits).unwrap_err();
            assert!(error.contains(expected), "{block}: {error}");
        }
    }
}

//! Where the gateway never asks on somebody's behalf: the metadata services of clouds, which give whoever
//! asks from this machine the machine's own credentials.
//!
//! URLs of integrations, key sets, destinations and collectors are the developer's own, and what runs on
//! this machine and in its network is what he needs. But parts of a URL may come from a request, and a
//! name leads wherever its owner wants. So it is the address that counts: written in the URL, in whatever
//! way, or found for its name at the moment of connecting.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{ClientBuilder, Url};

use crate::defences;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{host} is an address where clouds keep a machine's credentials; handlerd never asks there")]
pub struct Forbidden {
    host: String,
}

/// A client that connects to no such address by a name. Those that stand in a URL it cannot see: they
/// are for [`check`].
pub fn guarded(builder: ClientBuilder) -> ClientBuilder {
    builder.dns_resolver(Resolver)
}

/// Whether the host of this URL is such an address.
pub fn check(url: &Url) -> Result<(), Forbidden> {
    let host = url.host_str().unwrap_or_default();
    match host.trim_matches(['[', ']']).parse() {
        Ok(address) if is_forbidden(address) => Err(Forbidden { host: host.to_owned() }),
        _ => Ok(()),
    }
}

/// As [`check`], for a URL that is not parsed yet; what is none is for others to refuse.
pub fn check_text(url: &str) -> Result<(), Forbidden> {
    Url::parse(url).map_or(Ok(()), |url| check(&url))
}

/// Link-local addresses, where every cloud has its own (169.254.169.254, .170.2, .170.23), and AWS's
/// among the unique local ones (fd00:ec2::254, ::23).
fn is_forbidden(address: IpAddr) -> bool {
    let forbidden = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => {
            let segments = address.segments();
            address.is_unicast_link_local()
                || segments[..2] == [0xfd00, 0x0ec2]
                || embedded(address).is_some_and(|address| address.is_link_local())
        }
    };
    forbidden && !defences::off("metadata-addresses")
}

/// `::ffff:1.2.3.4`, `::1.2.3.4`, and `64:ff9b::1.2.3.4`, which a network may translate.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = address.segments();
    let is_embedded = matches!(segments[..6], [0, 0, 0, 0, 0, 0 | 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0]);
    let [.., a, b, c, d] = address.octets();
    is_embedded.then_some(Ipv4Addr::new(a, b, c, d))
}

struct Resolver;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            Ok(allowed(name.as_str(), found)?)
        })
    }
}

/// One address of that kind, and the name is refused: the next answer may have it alone.
fn allowed(name: &str, found: Vec<SocketAddr>) -> Result<Addrs, Forbidden> {
    match found.iter().find(|address| is_forbidden(address.ip())) {
        Some(address) => Err(Forbidden { host: format!("{name} ({})", address.ip()) }),
        None => Ok(Box::new(found.into_iter())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_metadata_services_are_known_however_they_are_written() {
        for host in [
            "169.254.169.254",
            "169.254.170.2",
            "2852039166",
            "0xA9FEA9FE",
            "0xa9.0xfe.0xa9.0xfe",
            "0251.0376.0251.0376",
            "169.16689662",
            "169.254.169.254.",
            "169%2E254.169.254",
            "１６９.254.169.254",
            "[::ffff:169.254.169.254]",
            "[::ffff:a9fe:a9fe]",
            "[::169.254.169.254]",
            "[64:ff9b::a9fe:a9fe]",
            "[fd00:ec2::254]",
            "[FD00:0EC2:0:0:0:0:0:23]",
            "[fe80::1]",
            "user@169.254.169.254",
        ] {
            let url = format!("http://{host}:80/latest/meta-data/");
            assert!(check_text(&url).is_err(), "{url} -> {:?}", Url::parse(&url));
        }
    }

    #[test]
    fn what_a_developer_needs_is_asked() {
        for host in [
            "localhost",
            "127.0.0.1",
            "[::1]",
            "10.0.0.7",
            "172.17.0.1",
            "192.168.1.5",
            "[fd12:3456::1]",
            "[::ffff:10.0.0.7]",
            "example.com",
            "169.254.169.254.example.com",
            "169.253.255.255",
        ] {
            assert_eq!(check_text(&format!("https://{host}/x")), Ok(()), "{host}");
        }
        assert_eq!(check_text("no URL"), Ok(()));
    }

    #[test]
    fn a_name_that_leads_there_is_refused_whatever_else_it_leads_to() {
        let address = |text: &str| SocketAddr::new(text.parse().unwrap(), 0);
        let found = vec![address("192.0.2.1"), address("169.254.169.254")];
        let refused = allowed("rebound.example", found).err().unwrap();
        assert!(
            refused.to_string().starts_with("rebound.example (169.254.169.254) is an address"),
            "{refused}"
        );
        let found = vec![address("192.0.2.1"), address("10.0.0.1")];
        assert_eq!(allowed("fine.example", found.clone()).ok().unwrap().collect::<Vec<_>>(), found);
    }

    /// The client asks this resolver, and tells what it said.
    #[tokio::test]
    async fn the_client_goes_by_it() {
        let client = guarded(reqwest::Client::builder().no_proxy()).build().unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let accepted = tokio::spawn(async move { listener.accept().await.map(drop) });
        // Closed without an answer: it was found and connected to.
        assert!(client.get(format!("http://localhost:{port}/")).send().await.is_err());
        accepted.await.unwrap().unwrap();
    }
}

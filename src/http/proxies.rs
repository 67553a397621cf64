//! What a proxy in front says of the client: believed of those that were named, and of nobody else.
//!
//! This is the only place where it is read. Behind it the client's address is in `Peer`, its name for
//! us in `Host`, and the rest in [`Forwarded`].

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::header::HOST;
use http::{HeaderMap, HeaderValue, Request, Uri};

use super::Peer;
use crate::config::Network;
use crate::defences;

const FOR: &str = "x-forwarded-for";

/// The proxies that are believed; a cheap handle.
pub type Proxies = Arc<[Network]>;

/// An extension of requests that came through a trusted proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forwarded {
    pub https: bool,
    /// Of the proxy, where it says so.
    pub port: Option<u16>,
}

/// Puts the client in the proxy's place, as far as a trusted proxy tells of it.
pub fn correct<B>(request: &mut Request<B>, peer: SocketAddr, proxies: &Proxies) {
    if proxies.is_empty() || !trusts(proxies, peer.ip()) {
        request.extensions_mut().insert(Peer(peer));
        return;
    }
    let headers = request.headers_mut();
    let last = |headers: &HeaderMap, name: &str| {
        let value = headers.get_all(name).iter().next_back()?.to_str().ok()?;
        let value = value.rsplit(',').next()?.trim();
        (!value.is_empty()).then(|| value.to_owned())
    };
    let https = last(headers, "x-forwarded-proto").is_some_and(|proto| proto.eq_ignore_ascii_case("https"));
    let port = last(headers, "x-forwarded-port").and_then(|port| port.parse().ok());
    let host = last(headers, "x-forwarded-host").and_then(|host| HeaderValue::try_from(host).ok());
    if let Some(host) = host {
        headers.insert(HOST, host);
        // HTTP/2 has its own place for it.
        let target = request.uri().path_and_query().filter(|_| request.uri().authority().is_some());
        if let Some(target) = target.cloned() {
            *request.uri_mut() = Uri::from(target);
        }
    }
    let client = client(request.headers_mut(), proxies);
    let peer = client.map_or(peer, |client| SocketAddr::new(client, 0));
    request.extensions_mut().insert(Peer(peer));
    request.extensions_mut().insert(Forwarded { https, port });
}

/// From the right, the first that is no proxy of ours: what stands to the left of it anybody may have
/// written. It is taken out, as the gateway puts the client there itself.
fn client(headers: &mut HeaderMap, proxies: &Proxies) -> Option<IpAddr> {
    let chain: Vec<String> = headers
        .get_all(FOR)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|part| part.trim().to_owned())
        .filter(|part| !part.is_empty())
        .collect();
    let mut found = None;
    let mut left = chain.len();
    for (index, part) in chain.iter().enumerate().rev() {
        let Some(address) = address(part) else { break };
        (found, left) = (Some(address), index);
        if !trusts(proxies, address) {
            break;
        }
    }
    found?;
    headers.remove(FOR);
    if let Ok(rest) = HeaderValue::try_from(chain[..left].join(", "))
        && left > 0
    {
        headers.insert(FOR, rest);
    }
    found
}

/// Some proxies write the port too.
fn address(part: &str) -> Option<IpAddr> {
    let bare = part.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(part);
    bare.parse().ok().or_else(|| part.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

pub(super) fn trusts(proxies: &Proxies, address: IpAddr) -> bool {
    defences::off("trusted-proxies") || proxies.iter().any(|network| network.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The client, the chain that is left, and Host.
    fn seen(peer: &str, headers: &[(&str, &str)]) -> (String, String, String, Option<Forwarded>) {
        let proxies: Proxies = ["10.0.0.0/8", "fd00::/16"].map(|text| text.parse().unwrap()).into();
        let mut request = Request::new(());
        request.headers_mut().insert(HOST, HeaderValue::from_static("inside"));
        for (name, value) in headers {
            let name: http::HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, value.parse().unwrap());
        }
        correct(&mut request, SocketAddr::new(peer.parse().unwrap(), 4000), &proxies);
        let text = |name: &str| {
            let values = request.headers().get_all(name);
            values.iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>().join(" | ")
        };
        let peer = request.extensions().get::<Peer>().unwrap().0.ip().to_string();
        (peer, text(FOR), text("host"), request.extensions().get::<Forwarded>().copied())
    }

    #[test]
    fn only_named_proxies_are_believed() {
        let lies = [
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "localhost"),
        ];
        let of = |peer: &str, chain: &str, host: &str, forwarded| {
            (peer.to_owned(), chain.to_owned(), host.to_owned(), forwarded)
        };
        assert_eq!(seen("192.0.2.9", &lies), of("192.0.2.9", "127.0.0.1", "inside", None));
        let https = Some(Forwarded { https: true, port: None });
        assert_eq!(seen("10.1.2.3", &lies), of("127.0.0.1", "", "localhost", https));
        assert_eq!(seen("::ffff:10.1.2.3", &lies), of("127.0.0.1", "", "localhost", https));
        let plain = Some(Forwarded { https: false, port: None });
        assert_eq!(seen("10.1.2.3", &[]), of("10.1.2.3", "", "inside", plain));
    }

    #[test]
    fn the_client_is_the_last_that_is_no_proxy() {
        for (chain, client, left) in [
            (&["203.0.113.7"][..], "203.0.113.7", ""),
            (&["127.0.0.1, 203.0.113.7"], "203.0.113.7", "127.0.0.1"),
            (&["127.0.0.1", "203.0.113.7, 10.9.9.9"], "203.0.113.7", "127.0.0.1"),
            (&["10.1.1.1, 10.2.2.2"], "10.1.1.1", ""),
            (&["203.0.113.7:5555"], "203.0.113.7", ""),
            (&["[2001:db8::1]:5555"], "2001:db8::1", ""),
            (&["[2001:db8::1]"], "2001:db8::1", ""),
            (&["203.0.113.7, unknown"], "10.0.0.1", "203.0.113.7, unknown"),
            (&["evil, 10.2.2.2"], "10.2.2.2", "evil"),
            (&[", ,"], "10.0.0.1", ", ,"),
        ] {
            let headers: Vec<_> = chain.iter().map(|value| (FOR, *value)).collect();
            let (peer, rest, ..) = seen("10.0.0.1", &headers);
            assert_eq!((peer.as_str(), rest.as_str()), (client, left), "{chain:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_header_is_too_strange(chain in "[ -~]{0,60}", host in "[ -~]{0,30}") {
            seen("10.0.0.1", &[(FOR, &chain), ("x-forwarded-host", &host), ("x-forwarded-port", &chain)]);
        }
    }
}

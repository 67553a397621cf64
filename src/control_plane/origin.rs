//! Keeps web pages out: whether a request names us, and comes from nobody's page but our own.
//!
//! Three things must hold: the Host is one of our own names (a page whose name was rebound to
//! 127.0.0.1 still sends its own), the Origin, if there is one, is ours including scheme and port, and
//! the browser does not say that the request comes from elsewhere. No address is special as an Origin.

use std::net::IpAddr;

use axum::extract::Request;
use http::StatusCode;
use http::header::{HOST, ORIGIN};

use crate::defences;
use crate::http::{Encryption, Forwarded};

/// Why a request is turned away.
pub type Refusal = (StatusCode, String);

/// Under which names we are reached.
#[derive(Clone, Default)]
pub struct Names {
    ports: Vec<u16>,
    /// The address that we listen on, where it is one, and what `--allowed-host` says.
    names: Vec<(String, Option<u16>)>,
}

impl Names {
    pub fn new(ports: Vec<u16>, listening: Option<IpAddr>, allowed: &[String]) -> Self {
        let address = listening.filter(|address| !address.is_unspecified()).map(|address| match address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        });
        let names = allowed.iter().cloned().chain(address);
        let names =
            names.filter_map(|name| split(&name).map(|(name, port)| (name.to_ascii_lowercase(), port)));
        Self { ports, names: names.collect() }
    }

    pub fn check(&self, request: &Request) -> Result<(), Refusal> {
        let hosts: Vec<&[u8]> = request.headers().get_all(HOST).iter().map(|host| host.as_bytes()).collect();
        // HTTP/2 has the authority instead.
        let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
        let misdirected = |reason: String| (StatusCode::MISDIRECTED_REQUEST, reason);
        let host = match (hosts.as_slice(), authority) {
            ([host], None) => *host,
            ([], Some(authority)) => authority,
            ([host], Some(authority)) if *host == authority => *host,
            _ => return Err(misdirected("exactly one Host header is needed".to_owned())),
        };
        let host =
            std::str::from_utf8(host).map_err(|_| misdirected("the Host header is not text".to_owned()))?;
        if !self.has(host) && !defences::off("host-allow-list") {
            let shown: String = crate::logs::escape_control(host).chars().take(100).collect();
            let port = self.ports.first().copied().unwrap_or_default();
            return Err(misdirected(format!(
                "Host `{shown}` is not one of this server's names, such as localhost:{port}; `--allowed-host NAME` \
                 adds one"
            )));
        }
        let forbidden = |reason: &str| Err((StatusCode::FORBIDDEN, reason.to_owned()));
        let own = format!("{}://{host}", scheme(request));
        for origin in request.headers().get_all(ORIGIN) {
            if origin.as_bytes() != own.as_bytes() && !defences::off("origin-check") {
                return forbidden("web pages of another origin may not use the control plane");
            }
        }
        for site in request.headers().get_all("sec-fetch-site") {
            let is_own = matches!(site.as_bytes(), b"same-origin" | b"none");
            if !is_own && !defences::off("fetch-site-check") {
                return forbidden("web pages of another site may not use the control plane");
            }
        }
        Ok(())
    }

    /// Our names, with our port or (as some clients write it) none.
    fn has(&self, host: &str) -> bool {
        let Some((name, port)) = split(host) else { return false };
        let name = name.to_ascii_lowercase();
        let our_port = port.is_none_or(|port| self.ports.contains(&port));
        our_port && is_loopback(&name)
            || self.names.iter().any(|(known, at)| *known == name && (our_port || port == *at))
    }
}

/// Names that no name server is asked for.
fn is_loopback(name: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
        || name.strip_suffix(".localhost").is_some_and(|rest| rest.split('.').all(is_label))
}

fn split(host: &str) -> Option<(&str, Option<u16>)> {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => {
            let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
            (name, Some(port.parse().ok().filter(|_| digits)?))
        }
        _ => (host, None),
    };
    (!name.is_empty()).then_some((name, port))
}

/// Of the URL in the client's address bar.
fn scheme(request: &Request) -> &'static str {
    let extensions = request.extensions();
    let forwarded = extensions.get::<Forwarded>().is_some_and(|forwarded| forwarded.https);
    if forwarded || extensions.get::<Encryption>().is_some() { "https" } else { "http" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&str, &str)]) -> Request {
        let mut request = Request::new(axum::body::Body::empty());
        for (name, value) in headers {
            let name: http::HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, value.parse().unwrap());
        }
        request
    }

    fn check(headers: &[(&str, &str)]) -> Result<(), u16> {
        let names = Names::new(vec![3001], Some([127, 0, 0, 1].into()), &[]);
        names.check(&request(headers)).map_err(|(status, _)| status.as_u16())
    }

    #[test]
    fn programs_pass() {
        for host in [
            "localhost:3001",
            "LOCALHOST:3001",
            "127.0.0.1:3001",
            "[::1]:3001",
            "localhost",
            "a.localhost:3001",
        ] {
            assert_eq!(check(&[("host", host)]), Ok(()), "{host}");
        }
        assert_eq!(check(&[("host", "localhost:3001"), ("origin", "http://localhost:3001")]), Ok(()));
        assert_eq!(check(&[("host", "localhost:3001"), ("sec-fetch-site", "none")]), Ok(()));
    }

    #[test]
    fn other_names_do_not() {
        assert_eq!(check(&[]), Err(421));
        assert_eq!(check(&[("host", "localhost:3001"), ("host", "localhost:3001")]), Err(421));
        for host in [
            "evil.example:3001",
            "localhost.evil.example:3001",
            "localhost:3000",
            "localhost:99999",
            "localhost:",
            "localhost:+3001",
            "127.0.0.2:3001",
            "127.1:3001",
            "2130706433:3001",
            "0.0.0.0:3001",
            "[::]:3001",
            "localhost.:3001",
            ".localhost:3001",
            "a..localhost:3001",
            "evil.example@localhost:3001",
            ":3001",
            "",
        ] {
            assert_eq!(check(&[("host", host)]), Err(421), "{host}");
        }
    }

    #[test]
    fn pages_do_not() {
        for origin in [
            "http://localhost:3000",
            "http://127.0.0.1:3001",
            "null",
            "https://localhost:3001",
            "http://localhost",
            "http://LOCALHOST:3001",
            "http://localhost:3001.evil.example",
            "http://localhost:3001/",
            "",
            "http://evil.example",
            "http://[::1]:3001",
            "file://",
            "chrome-extension://abc",
            "http://a.localhost:3001",
        ] {
            assert_eq!(check(&[("host", "localhost:3001"), ("origin", origin)]), Err(403), "{origin}");
        }
        for site in ["cross-site", "same-site", "", "Same-Origin", "same-origin, cross-site"] {
            assert_eq!(check(&[("host", "localhost:3001"), ("sec-fetch-site", site)]), Err(403), "{site}");
        }
    }

    #[test]
    fn configured_names_and_the_scheme_of_the_outside() {
        let allowed = ["Console.example.com".to_owned(), "other.example:8443".to_owned()];
        let names = Names::new(vec![3001], Some([192, 0, 2, 2].into()), &allowed);
        let ok = |request: &Request| names.check(request).is_ok();
        for host in
            ["console.example.com", "console.example.com:3001", "other.example:8443", "192.0.2.2:3001"]
        {
            assert!(ok(&request(&[("host", host)])), "{host}");
        }
        for host in ["console.example.com:8443", "x.console.example.com", "other.example:1", "192.0.2.3:3001"]
        {
            assert!(!ok(&request(&[("host", host)])), "{host}");
        }
        let page = |origin| request(&[("host", "console.example.com"), ("origin", origin)]);
        assert!(!ok(&page("https://console.example.com")));
        let mut through_proxy = page("https://console.example.com");
        through_proxy.extensions_mut().insert(Forwarded { https: true, port: None });
        assert!(ok(&through_proxy));
        let mut downgraded = page("http://console.example.com");
        downgraded.extensions_mut().insert(Forwarded { https: true, port: None });
        assert!(!ok(&downgraded));
    }
}

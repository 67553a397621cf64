//! Keeps web pages out of the control plane, which can run code by design.
//!
//! On loopback no password is asked for, so three things must hold: the Host is one of our own names
//! (a page whose name was rebound to 127.0.0.1 still sends its own), the Origin, if there is one, is
//! ours including the port, and the browser does not say that the request comes from elsewhere.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::StatusCode;
use http::header::{HOST, ORIGIN};

use super::{Entry, Scope, refusal, scope_of};

#[derive(Clone)]
pub struct Guard {
    port: u16,
    table: Vec<Entry>,
}

impl Guard {
    pub fn new(port: u16) -> Self {
        Self { port, table: Vec::new() }
    }

    /// The guard of these routes.
    pub(super) fn of(mut self, table: Vec<Entry>) -> Self {
        self.table = table;
        self
    }

    /// Whether whoever sent this may do what the scope stands for.
    fn admits(&self, _request: &Request, _scope: Scope) -> bool {
        true
    }

    fn check(&self, request: &Request) -> Result<(), String> {
        let hosts: Vec<&[u8]> = request.headers().get_all(HOST).iter().map(|host| host.as_bytes()).collect();
        // HTTP/2 has the authority instead.
        let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
        let host = match (hosts.as_slice(), authority) {
            ([host], None) => *host,
            ([], Some(authority)) => authority,
            ([host], Some(authority)) if *host == authority => *host,
            _ => return Err("exactly one Host header is needed".to_owned()),
        };
        let host = std::str::from_utf8(host).map_err(|_| "the Host header is not text".to_owned())?;
        if !self.is_ours(host) {
            return Err(format!(
                "Host `{}` is not one of this server's names: localhost:{port} or 127.0.0.1:{port}",
                crate::logs::escape_control(host),
                port = self.port
            ));
        }
        for origin in request.headers().get_all(ORIGIN) {
            let ours = origin
                .to_str()
                .ok()
                .and_then(|origin| origin.strip_prefix("http://"))
                .is_some_and(|o| o == host);
            if !ours {
                return Err("web pages of another origin may not use the control plane".to_owned());
            }
        }
        for site in request.headers().get_all("sec-fetch-site") {
            if !matches!(site.as_bytes(), b"same-origin" | b"none") {
                return Err("web pages of another site may not use the control plane".to_owned());
            }
        }
        Ok(())
    }

    /// Our names, with our port or (as some clients write it) none.
    fn is_ours(&self, host: &str) -> bool {
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, port.parse::<u16>().ok()),
            _ => (host, Some(self.port)),
        };
        port == Some(self.port)
            && matches!(name.to_ascii_lowercase().as_str(), "localhost" | "127.0.0.1" | "[::1]")
    }
}

pub async fn guard(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    if let Err(reason) = guard.check(&request) {
        tracing::warn!(target: "request", "refused on the control plane: {reason}");
        return refusal(StatusCode::FORBIDDEN, "AccessDeniedException", &reason);
    }
    let scope = scope_of(&guard.table, request.method(), request.extensions().get());
    if !guard.admits(&request, scope) {
        return refusal(StatusCode::UNAUTHORIZED, "UnrecognizedClientException", "credentials are needed");
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[(&str, &str)]) -> bool {
        let mut request = Request::new(axum::body::Body::empty());
        for (name, value) in headers {
            let name: http::HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, value.parse().unwrap());
        }
        Guard::new(3001).check(&request).is_ok()
    }

    #[test]
    fn programs_pass() {
        assert!(check(&[("host", "localhost:3001")]));
        assert!(check(&[("host", "LOCALHOST:3001")]));
        assert!(check(&[("host", "127.0.0.1:3001")]));
        assert!(check(&[("host", "[::1]:3001")]));
        assert!(check(&[("host", "localhost")]));
        assert!(check(&[("host", "localhost:3001"), ("origin", "http://localhost:3001")]));
        assert!(check(&[("host", "localhost:3001"), ("sec-fetch-site", "none")]));
    }

    #[test]
    fn pages_do_not() {
        for headers in [
            &[][..],
            &[("host", "localhost:3001"), ("host", "localhost:3001")],
            &[("host", "evil.example:3001")],
            &[("host", "localhost.evil.example:3001")],
            &[("host", "localhost:3000")],
            &[("host", "localhost:99999")],
            &[("host", "127.0.0.2:3001")],
            &[("host", "localhost:3001"), ("origin", "http://localhost:3000")],
            &[("host", "localhost:3001"), ("origin", "http://127.0.0.1:3001")],
            &[("host", "localhost:3001"), ("origin", "null")],
            &[("host", "localhost:3001"), ("origin", "https://localhost:3001")],
            &[("host", "localhost:3001"), ("sec-fetch-site", "cross-site")],
            &[("host", "localhost:3001"), ("sec-fetch-site", "same-site")],
        ] {
            assert!(!check(headers), "{headers:?}");
        }
    }
}

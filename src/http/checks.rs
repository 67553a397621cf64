//! What hyper lets through and servers understand in different ways: refused, so that no proxy in
//! front of this one can be made to see other requests than are seen here.

use http::{HeaderMap, Uri, Version, header};

use super::Spelling;
use crate::defences;

/// Of a request's target.
const URI_BYTES: usize = 32 * 1024;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Malformed(&'static str),
    UriTooLong,
}

use Refusal::{Malformed, UriTooLong};

pub(super) fn check(
    version: Version,
    uri: &Uri,
    headers: &HeaderMap,
    spelling: Option<&Spelling>,
) -> Result<(), Refusal> {
    if version == Version::HTTP_2 {
        return check_http2(uri, headers);
    }
    // It is seen here as hyper sees it, or it is not served.
    let head = spelling.ok_or(Malformed("a head that is not where it should be"))?.bytes();
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().map(|host| host.as_bytes());
    if hosts.next().is_some() || (host.is_none() && version == Version::HTTP_11) {
        return Err(Malformed("not exactly one Host"));
    }
    if !defences::off("bare-line-feed-check") {
        check_lines(head)?;
    }
    check_target(head, host)?;
    check_framing(headers, head)
}

fn check_http2(uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
    if uri.path().len() + uri.query().map_or(0, str::len) > URI_BYTES {
        return Err(UriTooLong);
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    let authority = uri.authority().map(|authority| authority.as_str().as_bytes());
    match (authority, hosts.next(), hosts.next()) {
        (Some(_), None, _) | (None, Some(_), None) => Ok(()),
        (Some(authority), Some(host), None) if authority.eq_ignore_ascii_case(host.as_bytes()) => Ok(()),
        _ => Err(Malformed("not exactly one authority")),
    }
}

/// Each ends with a carriage return and a line feed, and neither stands anywhere else.
fn check_lines(head: &[u8]) -> Result<(), Refusal> {
    // Looked at as a whole, which compilers turn into a few steps.
    let pairs = head.iter().zip(head.iter().skip(1));
    let alone = pairs.fold(false, |found, (one, next)| found | ((*one == b'\r') != (*next == b'\n')));
    match alone || head.first() == Some(&b'\n') {
        true => Err(Malformed("a line that does not end with CR LF")),
        false => Ok(()),
    }
}

/// `METHOD SP target SP HTTP/1.x`, where the target is a path, or a URL that says the same as Host.
fn check_target(head: &[u8], host: Option<&[u8]>) -> Result<(), Refusal> {
    let line = &head[..memchr::memchr(b'\r', head).unwrap_or(head.len())];
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(_), Some(target), Some(_), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Malformed("a request line that is not three words"));
    };
    if target.len() > URI_BYTES {
        return Err(UriTooLong);
    }
    if target.iter().any(|byte| matches!(byte, b'#' | 0..=b' ' | 0x7f)) {
        return Err(Malformed("a target with a fragment or control characters"));
    }
    if target.first() == Some(&b'/') {
        return Ok(());
    }
    let authority = authority_of(target).ok_or(Malformed("a target that is no path and no URL"))?;
    match host {
        Some(host) if host.eq_ignore_ascii_case(authority) => Ok(()),
        None => Ok(()),
        Some(_) if defences::off("target-check") => Ok(()),
        Some(_) => Err(Malformed("a target that differs from Host")),
    }
}

/// `localhost:3000` of `http://localhost:3000/path`.
fn authority_of(target: &[u8]) -> Option<&[u8]> {
    let after = |scheme: &[u8]| {
        let (begin, rest) = target.split_at_checked(scheme.len())?;
        begin.eq_ignore_ascii_case(scheme).then_some(rest)
    };
    let rest = after(b"http://").or_else(|| after(b"https://"))?;
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let authority = &rest[..end];
    (!authority.is_empty() && !authority.contains(&b'@')).then_some(authority)
}

/// How long the body is can be said in one way, once.
fn check_framing(headers: &HeaderMap, head: &[u8]) -> Result<(), Refusal> {
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(encoding) = encodings.next() {
        if encodings.next().is_some() || !encoding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err(Malformed("a Transfer-Encoding that is not `chunked`"));
        }
        // hyper takes the length away where there is an encoding.
        if times(head, b"content-length") > 0 && !defences::off("length-and-chunked-check") {
            return Err(Malformed("both Content-Length and Transfer-Encoding"));
        }
    } else if headers.contains_key(header::CONTENT_LENGTH) && times(head, b"content-length") > 1 {
        return Err(Malformed("more than one Content-Length"));
    }
    Ok(())
}

fn times(head: &[u8], name: &[u8]) -> usize {
    let is_named = |line: &&[u8]| {
        let (begin, rest) = line.split_at_checked(name.len()).unwrap_or_default();
        begin.eq_ignore_ascii_case(name) && rest.first() == Some(&b':')
    };
    head.split(|byte| *byte == b'\n').skip(1).filter(is_named).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Of a head that hyper would let through.
    fn checked(head: &str) -> Result<(), Refusal> {
        let mut headers = HeaderMap::new();
        for line in head.lines().skip(1).filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').unwrap();
            let name: http::HeaderName = name.parse().unwrap();
            headers.append(name, value.trim().parse().unwrap());
        }
        if headers.contains_key(header::TRANSFER_ENCODING) {
            headers.remove(header::CONTENT_LENGTH);
        }
        let version = if head.contains("HTTP/1.0") { Version::HTTP_10 } else { Version::HTTP_11 };
        check(version, &Uri::from_static("/"), &headers, Some(&Spelling::for_test(head)))
    }

    fn refused(head: &str) -> bool {
        matches!(checked(head), Err(Malformed(_)))
    }

    #[test]
    fn proper_requests_pass() {
        for head in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
            "GET /a?b=%20 HTTP/1.1\r\nHOST: a:1\r\nX: \r\n\r\n",
            "GET http://a:1/x HTTP/1.1\r\nHost: A:1\r\n\r\n",
            "GET HTTP://a?x HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET http://a/ HTTP/1.0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n",
        ] {
            assert_eq!(checked(head), Ok(()), "{head:?}");
        }
    }

    #[test]
    fn what_can_be_understood_in_two_ways_is_refused() {
        for head in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /#x HTTP/1.1\r\nHost: a\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
            "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
            "GET a HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET http://a@a/x HTTP/1.1\r\nHost: a@a\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n",
            "GET http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\ncontent-LENGTH: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n",
        ] {
            assert!(refused(head), "{head:?}");
        }
        let long = "x".repeat(URI_BYTES);
        assert_eq!(checked(&format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n")), Err(UriTooLong));
        let none = check(Version::HTTP_11, &Uri::from_static("/"), &HeaderMap::new(), None);
        assert!(matches!(none, Err(Malformed(_))));
    }

    #[test]
    fn http2_has_one_authority() {
        let checked = |uri: &'static str, hosts: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(header::HOST, http::HeaderValue::from_static(host));
            }
            check(Version::HTTP_2, &Uri::from_static(uri), &headers, None).is_ok()
        };
        assert!(checked("https://a/", &[]) && checked("https://a/", &["A"]) && checked("/", &["a"]));
        assert!(!checked("https://a/", &["b"]) && !checked("/", &[]) && !checked("/", &["a", "a"]));
        assert!(!checked("https://a/", &["a", "a"]));
    }

    proptest! {
        #[test]
        fn no_head_is_too_strange(head in proptest::collection::vec(any::<u8>(), 0..200)) {
            let spelling = Spelling::for_test(head);
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, http::HeaderValue::from_static("a"));
            headers.insert(header::CONTENT_LENGTH, http::HeaderValue::from_static("1"));
            let _ = check(Version::HTTP_11, &Uri::from_static("/"), &headers, Some(&spelling));
        }
    }
}

//! The pages themselves, carried in the binary: compressed where they are text, since nearly every
//! client takes them so; for the others they are unpacked once.
//!
//! Names have no hash, so each is asked for again, and told to be the same by its `ETag`.

use std::sync::OnceLock;

use axum::body::Bytes;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderValue};
use sha2::{Digest, Sha256};

use super::Console;
use super::error::ViewError;
use crate::archive::gunzip;
use crate::control_plane::{Routes, Scope};
use crate::hexadecimal::hex;

/// Path, whether the content is compressed, content.
type Page = (&'static str, bool, &'static [u8]);
/// Made by `build.rs` from `console/dist`.
static PAGES: &[Page] = include!(concat!(env!("OUT_DIR"), "/pages.rs"));
/// Of a page, unpacked.
const LARGEST: usize = 16 * 1024 * 1024;

pub fn routes() -> Routes<Console> {
    Routes::new()
        .at("/")
        .get(Scope::Open, |headers: HeaderMap| async move { page("/index.html", &headers) })
        .at("/index.html")
        .get(Scope::Open, |headers: HeaderMap| async move { page("/index.html", &headers) })
        .at("/icon.svg")
        .get(Scope::Open, |headers: HeaderMap| async move { page("/icon.svg", &headers) })
        .at("/assets/{file}")
        .get(Scope::Open, |Path(file): Path<String>, headers: HeaderMap| async move {
            page(&format!("/assets/{file}"), &headers)
        })
}

/// What is found out about a page when it is asked for first.
#[derive(Default)]
struct Known {
    hash: OnceLock<String>,
    plain: OnceLock<Bytes>,
}

fn known() -> &'static [Known] {
    static KNOWN: OnceLock<Vec<Known>> = OnceLock::new();
    KNOWN.get_or_init(|| PAGES.iter().map(|_| Known::default()).collect())
}

fn page(path: &str, asked: &HeaderMap) -> Response {
    let Some(at) = PAGES.iter().position(|(known, ..)| *known == path) else {
        return ViewError::not_found(format!("the console has no page {path:?}")).into_response();
    };
    let (_, is_compressed, content) = PAGES[at];
    let compressed = is_compressed && takes_gzip(asked);
    let hash = known()[at].hash.get_or_init(|| hex(&Sha256::digest(content)));
    // The two forms have other bytes, so other tags.
    let tag = if compressed { format!("\"{hash}-gzip\"") } else { format!("\"{hash}\"") };
    let mut response = if is_unchanged(asked, hash) {
        StatusCode::NOT_MODIFIED.into_response()
    } else if compressed || !is_compressed {
        Bytes::from_static(content).into_response()
    } else {
        match plain(at, content) {
            Ok(plain) => plain.into_response(),
            Err(error) => {
                let text = format!("the page {path:?} cannot be unpacked: {error}");
                return ViewError::new(StatusCode::INTERNAL_SERVER_ERROR, text).into_response();
            }
        }
    };
    let is_whole = response.status() == StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(header::ETAG, HeaderValue::from_str(&tag).expect("a hash is a header"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if is_whole {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(path)));
        if compressed {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
    }
    response
}

fn plain(at: usize, content: &'static [u8]) -> std::io::Result<Bytes> {
    let cell = &known()[at].plain;
    if let Some(plain) = cell.get() {
        return Ok(plain.clone());
    }
    let plain = Bytes::from(gunzip(content, LARGEST)?);
    Ok(cell.get_or_init(|| plain).clone())
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("json") => "application/json",
        Some("png") => "image/png",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    }
}

/// `Accept-Encoding`: `gzip` by its name counts before `*`, and a weight of zero means never.
fn takes_gzip(asked: &HeaderMap) -> bool {
    let (mut named, mut any) = (None, None);
    let values = asked.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    for item in values.flat_map(|value| value.split(',')) {
        let mut parts = item.split(';').map(str::trim);
        let coding = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let wanted = weight.is_none_or(|weight| weight.parse::<f32>().is_ok_and(|weight| weight > 0.0));
        if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") {
            named = Some(wanted);
        } else if coding == "*" {
            any = Some(wanted);
        }
    }
    named.or(any).unwrap_or(false)
}

/// Either form is the same page.
fn is_unchanged(asked: &HeaderMap, hash: &str) -> bool {
    let values = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).any(|tag| {
        let tag = tag.strip_prefix("W/").unwrap_or(tag);
        let bare = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
        tag == "*" || bare.is_some_and(|bare| bare.strip_suffix("-gzip").unwrap_or(bare) == hash)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name.clone(), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn the_binary_carries_what_was_built() {
        let dist = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("console/dist");
        assert!(PAGES.iter().any(|(path, ..)| *path == "/index.html") && PAGES.len() > 5);
        for (path, is_compressed, content) in PAGES {
            let built = std::fs::read(dist.join(&path[1..])).unwrap();
            let carried = if *is_compressed { gunzip(content, LARGEST).unwrap() } else { content.to_vec() };
            assert!(carried == built, "{path}: the file beside it is of another build");
            assert_ne!(content_type(path), "application/octet-stream", "{path}");
        }
    }

    #[test]
    fn encodings_are_weighed() {
        for (values, expected) in [
            (&["gzip, deflate, br"][..], true),
            (&["GZIP"], true),
            (&["br", "gzip"], true),
            (&["gzip;q=0.5"], true),
            (&["gzip; q=1.0, identity"], true),
            (&["*"], true),
            (&["*;q=0, gzip"], true),
            (&["gzip;q=0"], false),
            (&["gzip;q=0.000, *"], false),
            (&["*;q=0"], false),
            (&["gzip;q=much"], false),
            (&["br, identity"], false),
            (&["gzipped"], false),
            (&[""], false),
            (&[], false),
        ] {
            assert_eq!(takes_gzip(&headers(header::ACCEPT_ENCODING, values)), expected, "{values:?}");
        }
    }

    #[test]
    fn a_tag_is_known_again() {
        for (values, expected) in [
            (&["\"abc\""][..], true),
            (&["\"abc-gzip\""], true),
            (&["W/\"abc\""], true),
            (&["\"x\", \"abc\""], true),
            (&["\"x\"", "\"abc\""], true),
            (&["*"], true),
            (&["abc"], false),
            (&["\"abcd\""], false),
            (&[], false),
        ] {
            assert_eq!(is_unchanged(&headers(header::IF_NONE_MATCH, values), "abc"), expected, "{values:?}");
        }
    }

    #[test]
    fn what_claims_to_be_too_much_is_not_unpacked() {
        let (.., content) =
            PAGES.iter().find(|(path, compressed, _)| *compressed && *path == "/index.html").unwrap();
        assert!(gunzip(content, 10).is_err() && gunzip(b"no gzip", 10).is_err());
    }
}

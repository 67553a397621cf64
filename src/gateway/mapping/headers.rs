//! Headers that do not pass an API as they are.

use http::{HeaderMap, HeaderName};

use crate::gateway::payload::rest;

/// Between two neighbours only.
pub const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Those, and what `Connection` names.
pub fn drop_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all("connection")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// The name under which a REST API sends this header of its integration; `None`: not at all.
pub fn of_rest(name: &HeaderName) -> Option<HeaderName> {
    match name.as_str() {
        "keep-alive" | "proxy-connection" | "te" => None,
        known => HeaderName::try_from(&*rest::rename(known)?).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hop_by_hop_headers_go() {
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("connection", "close, X-Own"), ("x-own", "1"), ("te", "trailers"), ("x-kept", "1")]
        {
            headers.insert(HeaderName::from_static(name), value.parse().unwrap());
        }
        drop_hop_by_hop(&mut headers);
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["x-kept"]);
    }

    #[test]
    fn some_headers_have_other_names() {
        let of = |name: &'static str| of_rest(&HeaderName::from_static(name)).map(|name| name.to_string());
        assert_eq!(of("www-authenticate").as_deref(), Some("x-amzn-remapped-www-authenticate"));
        assert_eq!(of("date").as_deref(), Some("x-amzn-remapped-date"));
        assert_eq!(of("x-own").as_deref(), Some("x-own"));
        assert_eq!(of("transfer-encoding"), None);
    }
}

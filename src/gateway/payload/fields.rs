//! A request's headers in an event: what is left out, what is added, and how names are spelled.

use std::borrow::Cow;
use std::collections::BTreeMap;

use http::header::HeaderValue;
use serde_json::{Map, Value};

use super::super::Site;
use super::super::request::{FORWARDED_FOR, Request};
use super::joined::Joined;
use crate::http::Spelling;

/// Between client and gateway only; nobody passes these on.
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection" | "keep-alive" | "proxy-connection" | "te" | "trailer" | "transfer-encoding" | "upgrade"
    )
}

/// What a REST API leaves out besides.
const NOT_FOR_REST: [&str; 7] = [
    "content-length",
    "content-md5",
    "expect",
    "max-forwards",
    "proxy-authenticate",
    "server",
    "www-authenticate",
];

/// However a client spells these, REST events have them so.
const WELL_KNOWN: [(&str, &str); 9] = [
    ("accept", "Accept"),
    ("authorization", "Authorization"),
    ("content-type", "Content-Type"),
    ("host", "Host"),
    ("user-agent", "User-Agent"),
    ("x-amzn-trace-id", "X-Amzn-Trace-Id"),
    ("x-forwarded-for", "X-Forwarded-For"),
    ("x-forwarded-port", "X-Forwarded-Port"),
    ("x-forwarded-proto", "X-Forwarded-Proto"),
];

/// Name -> values in the order in which they came.
pub type Fields<'a> = BTreeMap<Cow<'a, str>, Vec<Cow<'a, str>>>;

/// Names in lower case, all values; hop-by-hop ones are left out.
pub fn lower_case<'a>(request: &'a Request, site: &Site) -> Fields<'a> {
    let mut fields = Fields::new();
    for (name, value) in &request.head.headers {
        if !is_hop_by_hop(name.as_str()) {
            fields.entry(name.as_str().into()).or_default().push(text(value));
        }
    }
    for (name, value) in added(request, site) {
        fields.insert(name.into(), vec![value]);
    }
    fields
}

/// The same with the body's length, which HTTP APIs tell.
pub fn lower_case_with_length<'a>(request: &'a Request, site: &Site) -> Fields<'a> {
    let mut fields = lower_case(request, site);
    fields.insert("content-length".into(), vec![request.body.len().to_string().into()]);
    fields
}

/// Names as the client spelled them.
pub fn as_spelled<'a>(request: &'a Request, site: &Site) -> Fields<'a> {
    let mut spelled: BTreeMap<String, &str> = BTreeMap::new();
    if let Some(spelling) = request.head.extensions.get::<Spelling>() {
        for name in spelling.names() {
            spelled.entry(name.to_ascii_lowercase()).or_insert(name);
        }
    }
    for (name, canonical) in WELL_KNOWN {
        spelled.insert(name.to_owned(), canonical);
    }
    let fields = lower_case(request, site).into_iter();
    let fields = fields.filter(|(name, _)| !NOT_FOR_REST.contains(&&**name));
    fields
        .map(|(name, values)| {
            let spelled = spelled.get(&*name).map(|spelled| Cow::Owned((*spelled).to_owned()));
            (spelled.unwrap_or(name), values)
        })
        .collect()
}

/// Names in lower case; what came several times is joined by commas; cookies stand by themselves.
pub fn joined<'a>(request: &'a Request, site: &Site, cookies: &mut Vec<&'a str>) -> Joined<'a> {
    let mut headers = Joined::with_capacity(request.head.headers.len() + 6);
    for (name, value) in &request.head.headers {
        let name = name.as_str();
        if is_hop_by_hop(name) {
            continue;
        }
        if name == "cookie" {
            if let Ok(text) = std::str::from_utf8(value.as_bytes()) {
                cookies.extend(text.split(';').map(str::trim).filter(|cookie| !cookie.is_empty()));
            }
            continue;
        }
        headers.append(name, text(value));
    }
    for (name, value) in added(request, site) {
        headers.insert(name, value);
    }
    headers
}

/// The same with the body's length, which HTTP APIs tell.
pub fn joined_with_length<'a>(request: &'a Request, site: &Site, cookies: &mut Vec<&'a str>) -> Joined<'a> {
    let mut headers = joined(request, site, cookies);
    headers.insert("content-length", request.body.len().to_string().into());
    headers
}

/// What the gateway says about the request in every event.
fn added<'a>(request: &'a Request, site: &Site) -> [(&'static str, Cow<'a, str>); 5] {
    let (scheme, port) = request.scheme_and_port(site);
    let mut forwarded = request.source_ip();
    for earlier in request.head.headers.get_all(&FORWARDED_FOR).iter().rev() {
        forwarded = [&text(earlier), ", ", &forwarded].concat();
    }
    [
        ("host", request.host()),
        ("x-amzn-trace-id", ["Root=", &request.trace.root].concat().into()),
        ("x-forwarded-for", forwarded.into()),
        ("x-forwarded-port", itoa::Buffer::new().format(port).to_owned().into()),
        ("x-forwarded-proto", scheme.into()),
    ]
}

pub fn last(fields: &Fields<'_>) -> Map<String, Value> {
    let last = |values: &Vec<Cow<'_, str>>| values.last().map_or(Value::Null, |value| (&**value).into());
    fields.iter().map(|(name, values)| (name.to_string(), last(values))).collect()
}

pub fn all(fields: &Fields<'_>) -> Map<String, Value> {
    let all = |values: &[Cow<'_, str>]| values.iter().map(|value| Value::from(&**value)).collect();
    fields.iter().map(|(name, values)| (name.to_string(), all(values))).collect()
}

/// A value that is no UTF-8 is Latin 1.
pub fn text(value: &HeaderValue) -> Cow<'_, str> {
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(value.as_bytes().iter().map(|&byte| char::from(byte)).collect()),
    }
}

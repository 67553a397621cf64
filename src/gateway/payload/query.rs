//! A query string in an event: decoded or as it was sent, once or with all values.

use std::borrow::Cow;

use percent_encoding::percent_decode;
use serde_json::{Map, Value};

use super::joined::Joined;

/// As sent.
pub fn raw(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    pairs(query).map(|(name, value)| (name.into(), value.into()))
}

/// Percent-encoding is undone, and `+` is a space.
pub fn decoded(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    pairs(query).map(|(name, value)| (decode(name), decode(value)))
}

fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

fn decode(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return text.into();
    }
    let spaced = text.replace('+', " ");
    percent_decode(spaced.as_bytes()).decode_utf8_lossy().into_owned().into()
}

pub fn joined(query: &str) -> Joined<'_> {
    let mut parameters = Joined::default();
    for (name, value) in decoded(query) {
        parameters.append(name, value);
    }
    parameters
}

/// The last value of each name, in the order in which names came first.
pub fn last<'a>(pairs: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>) -> Map<String, Value> {
    let mut parameters = Map::new();
    for (name, value) in pairs {
        parameters.insert(name.into_owned(), value.into());
    }
    parameters
}

/// All values of each name, in the order in which names came first.
pub fn all<'a>(pairs: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>) -> Map<String, Value> {
    let mut parameters = Map::new();
    for (name, value) in pairs {
        let values = parameters.entry(name).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(values) = values {
            values.push(value.into());
        }
    }
    parameters
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_form_of_a_query() {
        let query = "z=1&a=%2B+x&z=2&&flag&e=&=v&%26=%3D&bad=%zz&u=%EC%95%88";
        assert_eq!(
            Value::from(last(decoded(query))).to_string(),
            r#"{"z":"2","a":"+ x","flag":"","e":"","":"v","&":"=","bad":"%zz","u":"안"}"#
        );
        assert_eq!(Value::from(all(decoded("z=1&a=b&z=2"))), json!({"z": ["1", "2"], "a": ["b"]}));
        assert_eq!(Value::from(all(raw("z=%20+&z"))), json!({"z": ["%20+", ""]}));
        assert_eq!(Value::from(last(raw("a%20=b%2B&a%20=c"))), json!({"a%20": "c"}));
        assert_eq!(joined("z=1&a=b&z=2").iter().collect::<Vec<_>>(), [("a", "b"), ("z", "1,2")]);
        assert!(last(decoded("")).is_empty());
    }
}

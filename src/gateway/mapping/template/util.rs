//! `$util`: texts in other forms.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use percent_encoding::percent_decode_str;

/// For a text between quotes in JavaScript, as Apache Commons has it: quotes of both kinds, slashes,
/// and all that is not ASCII.
pub fn escape_java_script(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 16);
    for unit in text.encode_utf16() {
        match u8::try_from(unit) {
            Ok(c @ (b'"' | b'\'' | b'\\' | b'/')) => {
                escaped.push('\\');
                escaped.push(c.into());
            }
            Ok(b'\n') => escaped.push_str("\\n"),
            Ok(b'\r') => escaped.push_str("\\r"),
            Ok(b'\t') => escaped.push_str("\\t"),
            Ok(0x08) => escaped.push_str("\\b"),
            Ok(0x0c) => escaped.push_str("\\f"),
            Ok(c @ b' '..=b'~') => escaped.push(c.into()),
            _ => drop(write!(escaped, "\\u{unit:04X}")),
        }
    }
    escaped
}

/// As a form has it: `+` for a space.
pub fn url_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'*' | b'_' => encoded.push(byte.into()),
            b' ' => encoded.push('+'),
            byte => drop(write!(encoded, "%{byte:02X}")),
        }
    }
    encoded
}

pub fn url_decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

pub fn base64_encode(text: &str) -> String {
    STANDARD.encode(text)
}

pub fn base64_decode(text: &str) -> Option<String> {
    let bytes = STANDARD_NO_PAD.decode(text.trim_end_matches('=')).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_take_other_forms() {
        assert_eq!(escape_java_script("a\"b'c\\d/é\n\u{1}😀"), r#"a\"b\'c\\d\/\u00E9\n\u0001\uD83D\uDE00"#);
        assert_eq!(url_encode("a b&ü*~"), "a+b%26%C3%BC*%7E");
        assert_eq!(url_decode("a+b%26%C3%BC%zz"), "a b&ü%zz");
        assert_eq!(base64_encode("hé"), "aMOp");
        assert_eq!(base64_decode("aMOp").as_deref(), Some("hé"));
        assert_eq!(base64_decode("aA").as_deref(), Some("h"));
        assert_eq!(base64_decode("a!"), None);
    }
}

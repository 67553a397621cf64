//! A request's body in an event: as text, or as base64.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

/// What came is text, or it is encoded. `None`: nothing came.
pub fn text_or_base64(body: &[u8], is_text: bool) -> Option<Cow<'_, str>> {
    match std::str::from_utf8(body) {
        _ if body.is_empty() => None,
        Ok(text) if is_text => Some(Cow::Borrowed(text)),
        // Labelled as text, but not UTF-8: the bytes arrive damaged, as on AWS.
        Err(_) if is_text => Some(String::from_utf8_lossy(body)),
        _ => Some(Cow::Owned(BASE64.encode(body))),
    }
}

/// `Text/HTML; charset=utf-8` -> `text/html`
pub fn essence(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// What HTTP APIs and load balancers were measured to treat as text: anything else, a missing type
/// too, arrives as base64.
pub fn is_text(content_type: Option<&str>) -> bool {
    let essence = content_type.map(essence).unwrap_or_default();
    essence.starts_with("text/")
        || matches!(essence.as_str(), "application/json" | "application/xml" | "application/javascript")
}

/// Function URLs take more for text.
pub fn is_like_text(content_type: Option<&str>) -> bool {
    let essence = content_type.map(essence).unwrap_or_default();
    essence.starts_with("text/") || ["json", "xml", "javascript"].iter().any(|kind| essence.ends_with(kind))
}

/// Whether a media type is one of a REST API's `binaryMediaTypes`.
pub fn is_binary(media_type: Option<&str>, patterns: &[String]) -> bool {
    let essence = media_type.map(essence).unwrap_or_default();
    patterns.iter().any(|pattern| {
        let pattern = pattern.to_ascii_lowercase();
        match pattern.strip_suffix("/*") {
            Some("*") => true,
            // `*/*` in a request is not one of a pattern's types.
            Some(group) => essence.split('/').next() == Some(group),
            None => essence == pattern,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_type_says_what_is_text() {
        for (content_type, text, like_text) in [
            ("text/plain", true, true),
            ("TEXT/CSV; charset=utf-8", true, true),
            ("application/json;charset=utf-8", true, true),
            ("application/xml", true, true),
            ("application/javascript", true, true),
            ("application/vnd.api+json", false, true),
            ("image/svg+xml", false, true),
            ("application/x-www-form-urlencoded", false, false),
            ("multipart/form-data; boundary=json", false, false),
            ("image/png", false, false),
            ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", false, false),
            ("", false, false),
        ] {
            assert_eq!(
                (is_text(Some(content_type)), is_like_text(Some(content_type))),
                (text, like_text),
                "{content_type}"
            );
        }
        assert!(!is_text(None) && !is_like_text(None));
    }

    #[test]
    fn patterns_say_what_is_binary() {
        for (media_type, patterns, expected) in [
            ("image/png", &["image/png"][..], true),
            ("image/PNG;q=1", &["image/png"], true),
            ("image/png", &["image/jpeg", "image/*"], true),
            ("image/png", &["text/*"], false),
            ("image", &["image/png"], false),
            ("*/*", &["image/png"], false),
            ("*/*", &["image/*"], false),
            ("*/*", &["*/*"], true),
            ("", &["*/*"], true),
            ("", &["image/png"], false),
            ("image/png", &[], false),
        ] {
            let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
            assert_eq!(is_binary(Some(media_type), &patterns), expected, "{media_type} {patterns:?}");
        }
    }

    #[test]
    fn bytes_are_text_or_base64_or_nothing() {
        assert_eq!(text_or_base64(b"", true), None);
        assert_eq!(text_or_base64("é".as_bytes(), true).as_deref(), Some("é"));
        assert_eq!(text_or_base64(b"a\xff", true).as_deref(), Some("a\u{fffd}"));
        assert_eq!(text_or_base64(b"abc", false).as_deref(), Some("YWJj"));
    }
}

//! What AWS says when it refuses, read from JSON or XML.

use serde_json::Value;

/// Of an answer that is neither; enough to see what it is.
const SHOWN: usize = 200;

/// AWS's code and message, from JSON (`{"__type": "prefix#Code", "message": ...}`) or XML.
pub fn refusal(text: &str) -> (String, String) {
    let clean = |code: &str| code.rsplit(['#', '.']).next().unwrap_or(code).to_owned();
    if let Ok(Value::Object(body)) = serde_json::from_str(text) {
        let get = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
        let code = clean(get("__type"));
        let message = if get("message").is_empty() { get("Message") } else { get("message") };
        return (code, message.to_owned());
    }
    match element(text, "Code") {
        Some(code) => (code, element(text, "Message").unwrap_or_default()),
        None => (String::new(), text.chars().take(SHOWN).collect()),
    }
}

/// The text of the first element of this name, in an answer of the query protocol.
pub fn element(xml: &str, name: &str) -> Option<String> {
    let start = xml.find(&format!("<{name}>"))? + name.len() + 2;
    let end = start + xml[start..].find(&format!("</{name}>"))?;
    Some(unescape(&xml[start..end]))
}

/// With XML's entities read; what is none stays as it is.
fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        plain.push_str(&rest[..start]);
        rest = &rest[start..];
        let known = rest.find(';').and_then(|end| Some((entity(&rest[1..end])?, end)));
        let (letter, end) = known.unwrap_or(('&', 0));
        plain.push(letter);
        rest = &rest[end + 1..];
    }
    plain.push_str(rest);
    plain
}

fn entity(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_read_in_each_protocol() {
        let json = r#"{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"no such queue"}"#;
        assert_eq!(refusal(json), ("QueueDoesNotExist".into(), "no such queue".into()));
        let xml = "<ErrorResponse><Error><Type>Sender</Type><Code>NotFound</Code><Message>Topic &quot;a&#38;b\
                   &quot; does not exist</Message></Error></ErrorResponse>";
        assert_eq!(refusal(xml), ("NotFound".into(), "Topic \"a&b\" does not exist".into()));
        assert_eq!(refusal("<html>"), (String::new(), "<html>".into()));
    }

    #[test]
    fn entities_that_are_none_stay() {
        for (text, plain) in [
            ("a &amp; b", "a & b"),
            ("&lt;&gt;&apos;&#x41;", "<>'A"),
            ("R&D; &", "R&D; &"),
            ("&#xD800;", "&#xD800;"),
            ("&&amp;", "&&"),
        ] {
            assert_eq!(unescape(text), plain);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_answer_is_read(text in "(<Code>|</Code>|<Message>|&|;|amp|#x?[0-9]{0,3}|한){0,20}") {
            refusal(&text);
        }
    }
}

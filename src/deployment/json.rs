//! JSON as a tree with line numbers, the same as YAML's. JSON is nearly YAML, but not where it has
//! tabs for indentation or characters beyond `\uffff` in escapes.

use std::collections::HashSet;

use super::yaml::{MOST_BYTES, MOST_DEPTH, Node, SyntaxError, Value};

pub fn parse(text: &str) -> Result<Node, SyntaxError> {
    let mut reader = Reader { text: text.strip_prefix('\u{feff}').unwrap_or(text), at: 0, line: 1 };
    if text.len() > MOST_BYTES {
        return reader.error(format!("it has {} bytes; the most that is read is {MOST_BYTES}", text.len()));
    }
    let node = reader.value(0)?;
    match reader.next() {
        None => Ok(node),
        Some(_) => reader.unexpected("the end"),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Result<Node, SyntaxError> {
        if depth > MOST_DEPTH {
            return self.error(format!("lists and maps are nested deeper than {MOST_DEPTH} levels"));
        }
        let first = self.next();
        let line = self.line;
        let value = match first {
            Some(b'{') => Value::Mapping(self.mapping(depth)?),
            Some(b'[') => Value::Sequence(self.sequence(depth)?),
            Some(b'"') => Value::Scalar { text: self.string()?, quoted: true },
            Some(_) => Value::Scalar { text: self.word()?, quoted: false },
            None => return self.unexpected("a value"),
        };
        Ok(Node { line, tag: None, value })
    }

    fn mapping(&mut self, depth: usize) -> Result<Vec<(Node, Node)>, SyntaxError> {
        let (mut entries, mut names) = (Vec::new(), HashSet::new());
        self.at += 1;
        if self.take(b'}') {
            return Ok(entries);
        }
        loop {
            if self.next() != Some(b'"') {
                return self.unexpected("a name in double quotes");
            }
            let line = self.line;
            let name = self.string()?;
            if !names.insert(name.clone()) {
                return self.error(format!("`{name}` stands here a second time"));
            }
            if !self.take(b':') {
                return self.unexpected("`:`");
            }
            entries.push((Node::scalar(&name, line), self.value(depth + 1)?));
            if self.take(b'}') {
                return Ok(entries);
            }
            if !self.take(b',') {
                return self.unexpected("`,` or `}`");
            }
        }
    }

    fn sequence(&mut self, depth: usize) -> Result<Vec<Node>, SyntaxError> {
        let mut items = Vec::new();
        self.at += 1;
        if self.take(b']') {
            return Ok(items);
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.take(b']') {
                return Ok(items);
            }
            if !self.take(b',') {
                return self.unexpected("`,` or `]`");
            }
        }
    }

    fn string(&mut self) -> Result<String, SyntaxError> {
        let bytes = self.text.as_bytes();
        let mut end = self.at + 1;
        while let Some(byte) = bytes.get(end).filter(|byte| **byte != b'"') {
            end += if *byte == b'\\' { 2 } else { 1 };
        }
        let literal = self.text.get(self.at..=end);
        let text = literal.and_then(|literal| serde_json::from_str(literal).ok());
        let Some(text) = text else {
            return self.error("this text does not end, or holds what JSON does not allow");
        };
        self.at = end + 1;
        Ok(text)
    }

    /// `true`, `null`, `1.50`: as it is written.
    fn word(&mut self) -> Result<String, SyntaxError> {
        let rest = &self.text[self.at..];
        let is_part = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        let word = &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())];
        let valid = serde_json::from_str::<&serde_json::value::RawValue>(word).is_ok();
        if !valid {
            return self.unexpected("a value");
        }
        self.at += word.len();
        Ok(word.to_owned())
    }

    /// The next byte that is no white space.
    fn next(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(byte @ (b' ' | b'\t' | b'\r' | b'\n')) = bytes.get(self.at) {
            self.line += usize::from(*byte == b'\n');
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    fn take(&mut self, wanted: u8) -> bool {
        let found = self.next() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn unexpected<T>(&self, expected: &str) -> Result<T, SyntaxError> {
        let found = self.text[self.at..].chars().next();
        let found = found.map_or("the text ends".to_owned(), |found| format!("there is `{found}`"));
        self.error(format!("{expected} is expected, but {found}"))
    }

    fn error<T>(&self, text: impl Into<String>) -> Result<T, SyntaxError> {
        Err(SyntaxError::new(self.line, text))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_yaml_readers_stumble_over() {
        let node = parse("{\n\t\"a\": [1, -2.50, true, null],\n\t\"b\": {\"c\": \"\\ud83d\\ude00\\/\"}\n}\n")
            .unwrap();
        let items = node.get("a").unwrap().items().unwrap();
        let texts: Vec<_> = items.iter().map(|item| item.text().unwrap()).collect();
        assert_eq!(texts, ["1", "-2.50", "true", "null"]);
        assert!(items[3].is_null());
        let inner = node.get("b").unwrap().get("c").unwrap();
        assert_eq!((inner.text(), inner.line), (Some("😀/"), 3));
    }

    #[test]
    fn says_where_it_breaks() {
        for (text, line, expected) in [
            ("{\n\"a\": 1,\n}", 3, "a name in double quotes is expected, but there is `}`"),
            ("{\n\"a\" 1}", 2, "`:` is expected"),
            ("{\"a\": 1,\n\"a\": 2}", 2, "a second time"),
            ("[1 2]", 1, "`,` or `]` is expected"),
            ("[\n\"x", 2, "does not end"),
            ("{} x", 1, "the end is expected"),
            ("", 1, "a value is expected, but the text ends"),
            ("[tru]", 1, "a value is expected"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.line == line && error.text.contains(expected), "{text}: {error:?}");
        }
        assert!(parse(&"[".repeat(100_000)).unwrap_err().text.contains("deeper than"));
    }

    proptest! {
        #[test]
        fn never_panics(text in "[\\[\\]{}\",:\\\\ua-f0-9\n\té-]{0,60}") {
            let valid = serde_json::from_str::<serde_json::Value>(&text).is_ok();
            let read = parse(&text);
            // What serde reads is read, but for names that are given twice.
            prop_assert!(!valid || read.is_ok() || text.contains(':'));
        }
    }
}

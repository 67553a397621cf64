//! JSON of a result, read as far as a response needs it: the keys of an object, and what stands for them.
//!
//! Most of a result is its body: JSON within JSON, a text with an escape before each of its quotes. Such texts
//! are read here, the rest by serde_json; what one takes the other takes.

use std::borrow::Cow;

use serde_json::Value;

use super::json::{is_special, specials};

/// What is left to be read.
pub struct Reader<'a>(&'a str);

impl<'a> Reader<'a> {
    /// `None`: it is no UTF-8.
    pub fn new(json: &'a [u8]) -> Option<Self> {
        std::str::from_utf8(json).ok().map(Self)
    }

    /// Gives each key of the object that all of it is to whoever reads its value. `None`: it is no such
    /// object, or they could not read it.
    pub fn object(mut self, mut member: impl FnMut(&str, &mut Self) -> Option<()>) -> Option<()> {
        self.sign(b'{')?;
        if self.sign(b'}').is_none() {
            loop {
                let key = self.text()?;
                self.sign(b':')?;
                member(&key, &mut self)?;
                if self.sign(b',').is_none() {
                    break self.sign(b'}')?;
                }
            }
        }
        self.skip_spaces();
        self.0.is_empty().then_some(())
    }

    pub fn value(&mut self) -> Option<Value> {
        self.skip_spaces();
        match self.0.as_bytes().first() {
            Some(b'"') => self.text().map(|text| Value::String(text.into_owned())),
            _ => self.any(),
        }
    }

    /// A value of this type, as serde_json reads it.
    pub fn any<T: serde::Deserialize<'a>>(&mut self) -> Option<T> {
        let mut values = serde_json::Deserializer::from_str(self.0).into_iter();
        let value = values.next()?.ok()?;
        self.0 = &self.0[values.byte_offset()..];
        Some(value)
    }

    fn skip_spaces(&mut self) {
        let is_space = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
        self.0 = &self.0[self.0.bytes().take_while(is_space).count()..];
    }

    fn sign(&mut self, sign: u8) -> Option<()> {
        self.skip_spaces();
        self.0 = self.0.strip_prefix(char::from(sign))?;
        Some(())
    }

    fn text(&mut self) -> Option<Cow<'a, str>> {
        self.skip_spaces();
        let bytes = self.0.strip_prefix('"')?.as_bytes();
        let plain = bytes.iter().position(|&byte| is_special(byte))?;
        if bytes[plain] == b'"' {
            let (text, rest) = self.0.split_at(plain + 1);
            self.0 = &rest[1..];
            return Some(Cow::Borrowed(&text[1..]));
        }
        let (mut text, mut from, mut to) = (Vec::new(), 0, 0);
        loop {
            if text.len() < to + 8 {
                text.resize(2 * to + 256, 0);
            }
            // Eight bytes are copied at once, of which those count that stand for themselves.
            if let Some(eight) = bytes[from..].first_chunk::<8>() {
                text[to..to + 8].copy_from_slice(eight);
                let count = specials(u64::from_le_bytes(*eight)).trailing_zeros() as usize / 8;
                (from, to) = (from + count, to + count);
                if count == 8 {
                    continue;
                }
            }
            let (byte, length) = match bytes[from..] {
                [b'"', ..] => break,
                [b'\\', same @ (b'"' | b'\\' | b'/'), ..] => (same, 2),
                [b'\\', b'n', ..] => (b'\n', 2),
                [b'\\', b'r', ..] => (b'\r', 2),
                [b'\\', b't', ..] => (b'\t', 2),
                [same, ..] if !is_special(same) => (same, 1),
                // Numbers of characters, and what is no text.
                _ => return self.any().map(Cow::Owned),
            };
            text[to] = byte;
            (from, to) = (from + length, to + 1);
        }
        self.0 = &self.0[from + 2..];
        text.truncate(to);
        String::from_utf8(text).ok().map(Cow::Owned)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Map;

    use super::*;

    fn read(json: &[u8]) -> Option<Value> {
        let mut object = Map::new();
        Reader::new(json)?.object(|key, reader| {
            object.insert(key.to_owned(), reader.value()?);
            Some(())
        })?;
        Some(Value::Object(object))
    }

    fn read_by_library(json: &[u8]) -> Option<Value> {
        serde_json::from_slice(json).ok().filter(Value::is_object)
    }

    #[test]
    fn what_is_no_object_is_not_read() {
        for json in [
            "",
            "{",
            "{}x",
            "[]",
            "{\"a\"}",
            "{\"a\":1,}",
            "{,}",
            "{\"a\":1 \"b\":2}",
            "{\"a\":\"\n\"}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":\"b}",
            "{a:1}",
            "{\"a\":tru}",
            "{\"a\":1}}",
            "{\"a\":12 3}",
        ] {
            assert_eq!(read(json.as_bytes()), None, "{json}");
            assert_eq!(read_by_library(json.as_bytes()), None, "{json}");
        }
        assert_eq!(read(b"{\"a\":\"\xff\"}"), None);
    }

    #[test]
    fn texts_are_read_with_all_their_escapes() {
        for json in [
            "{}",
            " { } \n",
            r#"{"a":"b","c":1,"d":null , "e" : [true, {"f":"\n"}],"a":2}"#,
            r#"{"body":"{\"message\": \"Hello\", \"path\": \"\\\/\\u00e9\"}","\"":"\b\f\n\r\t\u00e9\ud83d\ude00é"}"#,
            r#"{"":"\\","x":-1.5e3,"y":"\"","z":"a\""}"#,
        ] {
            let read = read(json.as_bytes());
            assert!(read.is_some() && read == read_by_library(json.as_bytes()), "{json}");
        }
    }

    #[test]
    fn an_escape_is_seen_at_each_place() {
        for escape in ["\\\"", "\\n", "\\u0041", "\u{1}", "\\", "é"] {
            for place in 0..20 {
                for length in place..20 {
                    let mut text = "a".repeat(length);
                    text.insert_str(place, escape);
                    for json in [
                        format!("{{\"{text}\":1}}"),
                        format!("{{\"k\":\"{text}\"}}"),
                        format!("{{\"k\":\"{text}"),
                    ] {
                        assert_eq!(read(json.as_bytes()), read_by_library(json.as_bytes()), "{json}");
                    }
                }
            }
        }
    }

    fn json() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("{"),
            Just("}"),
            Just("["),
            Just("]"),
            Just("\""),
            Just(":"),
            Just(","),
            Just("\\"),
            Just("u00e9"),
            Just("\\ud83d\\ude00"),
            Just("a"),
            Just("n"),
            Just("1"),
            Just("-"),
            Just(" "),
            Just("\n"),
            Just("null"),
            Just("\"a\":"),
            Just("\"b\":\"c\\\"d\""),
            Just("é"),
            Just("\u{1}"),
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| ["{", &pieces.concat(), "}"].concat())
    }

    proptest! {
        #[test]
        fn it_reads_what_the_library_reads(json in json()) {
            prop_assert_eq!(read(json.as_bytes()), read_by_library(json.as_bytes()));
        }

        #[test]
        fn every_text_comes_back(key in any::<String>(), text in any::<String>()) {
            let json = serde_json::to_vec(&serde_json::json!({key: text})).unwrap();
            prop_assert_eq!(read(&json), read_by_library(&json));
        }
    }
}

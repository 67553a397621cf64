//! JSON text, written as it is said: an event is made with every request, and knows its own form.

use serde::Serialize;

/// The text of an object.
pub fn object(fill: impl FnOnce(&mut Object<'_>)) -> Vec<u8> {
    let mut text = Vec::with_capacity(2048);
    add_object(&mut text, fill);
    text
}

/// Between its braces.
pub struct Object<'a> {
    text: &'a mut Vec<u8>,
    is_empty: bool,
}

impl Object<'_> {
    /// Of AWS's, which have nothing to escape. Where it is called the name is known: so its bytes become a
    /// part of the code there.
    #[inline(always)]
    fn name(&mut self, name: &'static str) {
        self.comma();
        self.text.reserve(name.len() + 3);
        self.text.push(b'"');
        self.text.extend_from_slice(name.as_bytes());
        self.text.extend_from_slice(b"\":");
    }

    #[inline(always)]
    fn comma(&mut self) {
        if !std::mem::replace(&mut self.is_empty, false) {
            self.text.push(b',');
        }
    }

    #[inline(always)]
    pub fn text(&mut self, name: &'static str, value: &str) {
        self.name(name);
        add_text(self.text, value);
    }

    /// A value of our own, or one that has been checked: it has nothing to escape.
    #[inline(always)]
    pub fn plain(&mut self, name: &'static str, value: &str) {
        self.name(name);
        add_plain(self.text, value);
    }

    pub fn number(&mut self, name: &'static str, value: i64) {
        self.name(name);
        self.text.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    pub fn flag(&mut self, name: &'static str, value: bool) {
        self.name(name);
        self.text.extend_from_slice(if value { b"true" } else { b"false" });
    }

    pub fn texts<'t>(&mut self, name: &'static str, values: impl IntoIterator<Item = &'t str>) {
        self.name(name);
        self.text.push(b'[');
        for (index, value) in values.into_iter().enumerate() {
            if index > 0 {
                self.text.push(b',');
            }
            add_text(self.text, value);
        }
        self.text.push(b']');
    }

    /// An object of header fields, whose names have nothing to escape.
    pub fn fields<'t>(&mut self, name: &'static str, fields: impl IntoIterator<Item = (&'t str, &'t str)>) {
        self.object(name, |object| {
            for (name, value) in fields {
                object.comma();
                add_plain(object.text, name);
                object.text.push(b':');
                add_text(object.text, value);
            }
        });
    }

    /// An object of texts.
    pub fn map<N: AsRef<str>, V: AsRef<str>>(
        &mut self,
        name: &'static str,
        values: impl IntoIterator<Item = (N, V)>,
    ) {
        self.object(name, |object| {
            for (name, value) in values {
                object.comma();
                add_text(object.text, name.as_ref());
                object.text.push(b':');
                add_text(object.text, value.as_ref());
            }
        });
    }

    pub fn object(&mut self, name: &'static str, fill: impl FnOnce(&mut Object<'_>)) {
        self.name(name);
        add_object(self.text, fill);
    }

    /// Whatever is text in the end; for what is rare.
    pub fn value(&mut self, name: &'static str, value: &impl Serialize) {
        self.name(name);
        serde_json::to_writer(&mut *self.text, value).expect("text is always serialisable");
    }
}

fn add_object(text: &mut Vec<u8>, fill: impl FnOnce(&mut Object<'_>)) {
    text.push(b'{');
    fill(&mut Object { text, is_empty: true });
    text.push(b'}');
}

fn add_text(text: &mut Vec<u8>, value: &str) {
    if has_special(value.as_bytes()) {
        return serde_json::to_writer(text, value).expect("text is always serialisable");
    }
    add_plain(text, value);
}

fn add_plain(text: &mut Vec<u8>, value: &str) {
    text.reserve(value.len() + 2);
    text.push(b'"');
    text.extend_from_slice(value.as_bytes());
    text.push(b'"');
}

/// Whether something is to be escaped: most texts have nothing, and sixteen or eight bytes are seen at once.
fn has_special(bytes: &[u8]) -> bool {
    if let Some(last) = bytes.last_chunk() {
        let (sixteens, _) = bytes.as_chunks();
        return sixteens.iter().any(one_of_sixteen) || one_of_sixteen(last);
    }
    match (bytes.first_chunk(), bytes.last_chunk()) {
        (Some(first), Some(last)) => {
            (specials(u64::from_le_bytes(*first)) | specials(u64::from_le_bytes(*last))) != 0
        }
        _ => bytes.iter().any(|&byte| is_special(byte)),
    }
}

/// Whether this byte cannot stand in a text by itself.
pub fn is_special(byte: u8) -> bool {
    (byte < b' ') | (byte == b'"') | (byte == b'\\')
}

/// Without an early end, compilers make a few steps of it.
fn one_of_sixteen(sixteen: &[u8; 16]) -> bool {
    sixteen.iter().fold(false, |found, &byte| found | is_special(byte))
}

/// The lowest bit that is set is the highest of the first byte that is special.
pub fn specials(eight: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    // Borrows reach the high bit of a byte that is less; those that had it set are taken out.
    let less_than = |eight: u64, byte: u8| eight.wrapping_sub(ONES * u64::from(byte)) & !eight & (ONES << 7);
    let equal = |byte: u8| less_than(eight ^ (ONES * u64::from(byte)), 1);
    less_than(eight, b' ') | equal(b'"') | equal(b'\\')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn all_that_an_event_has() {
        let text = object(|event| {
            event.text("text", "a\"b\\c\n\u{1}é");
            event.number("number", -7);
            event.flag("yes", true);
            event.flag("no", false);
            event.texts("texts", ["a", "b"]);
            event.texts("none", []);
            event.map("map", [("k", "v"), ("l", "w")]);
            event.plain("plain", "a-b");
            event.fields("fields", [("a", "\""), ("b", "c")]);
            event.object("object", |_| {});
            event.value("value", &json!({"b": [1, null]}));
        });
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "{\"text\":\"a\\\"b\\\\c\\n\\u0001é\",\"number\":-7,\"yes\":true,\"no\":false,\"texts\":[\"a\",\"b\"],\
             \"none\":[],\"map\":{\"k\":\"v\",\"l\":\"w\"},\"plain\":\"a-b\",\
             \"fields\":{\"a\":\"\\\"\",\"b\":\"c\"},\"object\":{},\"value\":{\"b\":[1,null]}}"
        );
    }

    #[test]
    fn each_byte_is_seen_at_each_place() {
        for byte in 0..=0x7f_u8 {
            for place in 0..40 {
                let mut bytes = [b'a'; 40];
                bytes[place] = byte;
                for length in place + 1..=40 {
                    let text = std::str::from_utf8(&bytes[..length]).unwrap();
                    let mut written = Vec::new();
                    add_text(&mut written, text);
                    assert_eq!(written, serde_json::to_vec(text).unwrap(), "{text:?}");
                }
            }
        }
    }

    proptest! {
        /// The same bytes as the library's.
        #[test]
        fn texts_are_written_as_serde_json_does(name in any::<String>(), value in any::<String>()) {
            let written = object(|event| event.map("map", [(&name, &value)]));
            let expected = json!({"map": Value::Object([(name, value.into())].into_iter().collect())});
            prop_assert_eq!(written, serde_json::to_vec(&expected).unwrap());
        }
    }
}

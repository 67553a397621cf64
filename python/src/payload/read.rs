//! JSON text -> Python values: a parser for regular JSON that gives up on everything else.

use std::cell::RefCell;
use std::ffi::CStr;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use super::{Nesting, slow_loads, stack_position};

/// Reads a payload.
pub fn loads<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let outcome = KEYS.with_borrow_mut(|keys| Parser::new(py, bytes, keys).document());
    match outcome {
        Ok(value) => Ok(value),
        Err(Stop::Raised(error)) => Err(error),
        Err(Stop::Irregular) => {
            slow_loads(py)?.call1(py, (PyBytes::new(py, bytes),)).map(|value| value.into_bound(py))
        }
    }
}

/// Why the parser gave up.
enum Stop {
    /// Not plainly regular JSON; someone slower has to say whether and why it is wrong.
    Irregular,
    Raised(PyErr),
}

impl From<PyErr> for Stop {
    fn from(error: PyErr) -> Self {
        Stop::Raised(error)
    }
}

type Parsed<T> = Result<T, Stop>;

struct Parser<'a, 'py> {
    py: Python<'py>,
    input: &'a [u8],
    at: usize,
    outermost: usize,
    keys: &'a mut KeyCache,
    /// The elements of the arrays being read, innermost last: a list is made when its length is known.
    elements: Vec<Bound<'py, PyAny>>,
}

impl<'a, 'py> Parser<'a, 'py> {
    fn new(py: Python<'py>, bytes: &'a [u8], keys: &'a mut KeyCache) -> Self {
        let input = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        Parser { py, input, at: 0, outermost: stack_position(), keys, elements: Vec::new() }
    }

    fn document(mut self) -> Parsed<Bound<'py, PyAny>> {
        self.skip_whitespace();
        let value = self.value()?;
        self.skip_whitespace();
        if self.at == self.input.len() { Ok(value) } else { Err(Stop::Irregular) }
    }

    fn peek(&self) -> Option<u8> {
        self.input.get(self.at).copied()
    }

    fn skip_whitespace(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn value(&mut self) -> Parsed<Bound<'py, PyAny>> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'{') => self.object(),
            Some(b'[') => self.array(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => {
                self.literal(b"true", |py| true.into_pyobject(py).map(|value| value.to_owned().into_any()))
            }
            Some(b'f') => {
                self.literal(b"false", |py| false.into_pyobject(py).map(|value| value.to_owned().into_any()))
            }
            Some(b'n') => self.literal(b"null", |py| Ok(py.None().into_bound(py))),
            _ => Err(Stop::Irregular),
        }
    }

    fn literal(
        &mut self,
        text: &[u8],
        value: impl FnOnce(Python<'py>) -> Result<Bound<'py, PyAny>, std::convert::Infallible>,
    ) -> Parsed<Bound<'py, PyAny>> {
        if !self.input[self.at..].starts_with(text) {
            return Err(Stop::Irregular);
        }
        self.at += text.len();
        let Ok(value) = value(self.py);
        Ok(value)
    }

    fn object(&mut self) -> Parsed<Bound<'py, PyAny>> {
        let _nesting =
            Nesting::enter(self.py, c" while decoding a JSON object from a unicode string", self.outermost)?;
        self.at += 1;
        let dict = PyDict::new(self.py);
        self.skip_whitespace();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(dict.into_any());
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(Stop::Irregular);
            }
            let key = self.key()?;
            self.skip_whitespace();
            if self.peek() != Some(b':') {
                return Err(Stop::Irregular);
            }
            self.at += 1;
            self.skip_whitespace();
            let value = self.value()?;
            // SAFETY: three live objects; the dict takes references of its own.
            if unsafe { ffi::PyDict_SetItem(dict.as_ptr(), key.as_ptr(), value.as_ptr()) } != 0 {
                return Err(PyErr::fetch(self.py).into());
            }
            self.skip_whitespace();
            match self.peek() {
                Some(b',') => {
                    self.at += 1;
                    self.skip_whitespace();
                }
                Some(b'}') => {
                    self.at += 1;
                    return Ok(dict.into_any());
                }
                _ => return Err(Stop::Irregular),
            }
        }
    }

    fn array(&mut self) -> Parsed<Bound<'py, PyAny>> {
        let _nesting =
            Nesting::enter(self.py, c" while decoding a JSON array from a unicode string", self.outermost)?;
        self.at += 1;
        let first = self.elements.len();
        self.skip_whitespace();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(PyList::empty(self.py).into_any());
        }
        loop {
            let value = self.value()?;
            self.elements.push(value);
            self.skip_whitespace();
            match self.peek() {
                Some(b',') => {
                    self.at += 1;
                    self.skip_whitespace();
                }
                Some(b']') => {
                    self.at += 1;
                    return Ok(PyList::new(self.py, self.elements.drain(first..))?.into_any());
                }
                _ => return Err(Stop::Irregular),
            }
        }
    }

    fn number(&mut self) -> Parsed<Bound<'py, PyAny>> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.skip_digits(),
            _ => return Err(Stop::Irregular),
        }
        let mut float = false;
        if self.peek() == Some(b'.') {
            self.at += 1;
            float = true;
            if !matches!(self.peek(), Some(b'0'..=b'9')) {
                return Err(Stop::Irregular);
            }
            self.skip_digits();
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            float = true;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            if !matches!(self.peek(), Some(b'0'..=b'9')) {
                return Err(Stop::Irregular);
            }
            self.skip_digits();
        }
        let text = str::from_utf8(&self.input[start..self.at]).map_err(|_| Stop::Irregular)?;
        if float {
            // Rust and Python both round to the nearest double, and both make 1e400 infinite.
            let Ok(number) = text.parse::<f64>() else { return Err(Stop::Irregular) };
            let Ok(number) = number.into_pyobject(self.py);
            return Ok(number.into_any());
        }
        match text.parse::<i64>() {
            Ok(number) => {
                let Ok(number) = number.into_pyobject(self.py);
                Ok(number.into_any())
            }
            // Larger than 64 bits: Python's own int, which also knows how many digits it allows.
            Err(_) => self.py.get_type::<pyo3::types::PyInt>().call1((text,)).map_err(|_| Stop::Irregular),
        }
    }

    fn skip_digits(&mut self) {
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
    }

    fn string(&mut self) -> Parsed<Bound<'py, PyAny>> {
        let start = self.at + 1;
        let end = start + plain_length(&self.input[start..], false);
        match self.input.get(end) {
            Some(b'"') => {
                self.at = end + 1;
                text(self.py, &self.input[start..end], None)
            }
            Some(b'\\') => self.escaped_string(start),
            _ => Err(Stop::Irregular),
        }
    }

    fn key(&mut self) -> Parsed<Bound<'py, PyAny>> {
        let start = self.at + 1;
        let end = start + plain_length(&self.input[start..], false);
        if self.input.get(end) != Some(&b'"') {
            return self.string();
        }
        self.at = end + 1;
        self.keys.get(self.py, &self.input[start..end])
    }

    fn escaped_string(&mut self, start: usize) -> Parsed<Bound<'py, PyAny>> {
        let mut unescaped = Vec::new();
        let mut lone_surrogate = false;
        let mut at = start;
        loop {
            let end = at + plain_length(&self.input[at..], false);
            unescaped.extend_from_slice(&self.input[at..end]);
            match self.input.get(end) {
                Some(b'"') => {
                    self.at = end + 1;
                    // Raw bytes are checked in the strict way even where an escape was a surrogate.
                    if lone_surrogate && str::from_utf8(&self.input[start..end]).is_err() {
                        return Err(Stop::Irregular);
                    }
                    return text(self.py, &unescaped, lone_surrogate.then_some(c"surrogatepass"));
                }
                Some(b'\\') => {}
                _ => return Err(Stop::Irregular),
            }
            at = end + 2;
            match self.input.get(end + 1) {
                Some(&byte @ (b'"' | b'\\' | b'/')) => unescaped.push(byte),
                Some(b'b') => unescaped.push(0x08),
                Some(b'f') => unescaped.push(0x0c),
                Some(b'n') => unescaped.push(b'\n'),
                Some(b'r') => unescaped.push(b'\r'),
                Some(b't') => unescaped.push(b'\t'),
                Some(b'u') => {
                    let mut code = self.hex4(at)?;
                    at += 4;
                    if code & 0xfc00 == 0xd800 && self.input[at..].starts_with(b"\\u") {
                        let low = self.hex4(at + 2)?;
                        if low & 0xfc00 == 0xdc00 {
                            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                            at += 6;
                        }
                    }
                    lone_surrogate |= code & 0xfffff800 == 0xd800;
                    push_code_point(&mut unescaped, code);
                }
                _ => return Err(Stop::Irregular),
            }
        }
    }

    fn hex4(&self, at: usize) -> Parsed<u32> {
        let digits = self.input.get(at..at + 4).ok_or(Stop::Irregular)?;
        digits.iter().try_fold(0, |code, &digit| {
            (digit as char).to_digit(16).map(|digit| code << 4 | digit).ok_or(Stop::Irregular)
        })
    }
}

/// UTF-8, and for the surrogates what UTF-8 would be if it had them (Python's `surrogatepass`).
fn push_code_point(bytes: &mut Vec<u8>, code: u32) {
    match char::from_u32(code) {
        Some(character) => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        None => bytes.extend_from_slice(&[
            0xe0 | (code >> 12) as u8,
            0x80 | (code >> 6 & 0x3f) as u8,
            0x80 | (code & 0x3f) as u8,
        ]),
    }
}

fn text<'py>(py: Python<'py>, bytes: &[u8], errors: Option<&CStr>) -> Parsed<Bound<'py, PyAny>> {
    let errors = errors.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: pointer and length are those of a live slice; the result is ours or null.
    let value = unsafe {
        let value = ffi::PyUnicode_DecodeUTF8(bytes.as_ptr().cast(), bytes.len() as ffi::Py_ssize_t, errors);
        Bound::from_owned_ptr_or_err(py, value)
    };
    // Bad UTF-8 is reported with its position in the whole payload, which is not known here.
    value.map_err(|_| Stop::Irregular)
}

/// How many bytes from the start can stand in a JSON text as they are: no quote, no backslash, no
/// control character, and with `ascii` nothing outside printable ASCII.
pub(super) fn plain_length(bytes: &[u8], ascii: bool) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\' && !(ascii && byte >= 0x7f);
    let mut at = 0;
    // Eight bytes at a time: for each test a byte's high bit is set if some lower or equal byte
    // matches. A word that may hold a match is left to the loop below, which decides.
    while let Some(chunk) = bytes[at..].first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        let equal = |byte: u8| {
            let difference = word ^ (ONES * byte as u64);
            difference.wrapping_sub(ONES) & !difference
        };
        let mut found = (word.wrapping_sub(ONES * 0x20) & !word) | equal(b'"') | equal(b'\\');
        if ascii {
            found |= word | equal(0x7f);
        }
        if found & HIGHS != 0 {
            break;
        }
        at += 8;
    }
    // Not past the word just looked at, unless it was the last: a match in it is certain or, by
    // carry, merely possible.
    at + bytes[at..].iter().position(|&byte| !plain(byte)).unwrap_or(bytes.len() - at)
}

thread_local! {
    static KEYS: RefCell<KeyCache> = const { RefCell::new(KeyCache { entries: Vec::new() }) };
}

/// The keys of recent payloads, as Python strings. Events of one kind have the same keys time and
/// again, and a string used before already knows its hash.
struct KeyCache {
    entries: Vec<Option<KeyEntry>>,
}

struct KeyEntry {
    length: u8,
    text: [u8; KeyCache::LONGEST],
    key: Py<PyAny>,
}

impl KeyCache {
    const LONGEST: usize = 31;
    const ENTRIES: usize = 512;

    fn get<'py>(&mut self, py: Python<'py>, bytes: &[u8]) -> Parsed<Bound<'py, PyAny>> {
        if bytes.len() > Self::LONGEST {
            return text(py, bytes, None);
        }
        if self.entries.is_empty() {
            self.entries.resize_with(Self::ENTRIES, || None);
        }
        let entry = &mut self.entries[Self::slot(bytes)];
        if let Some(entry) = entry
            && entry.text[..entry.length as usize] == *bytes
        {
            return Ok(entry.key.bind(py).clone());
        }
        let key = text(py, bytes, None)?;
        let key = if entry.is_none() {
            // Interned, a key is the very object that `event["key"]` was compiled with. Only the
            // first key of a slot, because interned strings may never be freed, and a caller
            // chooses the keys.
            let mut key = key.into_ptr();
            // SAFETY: we own the reference, which is exchanged for one to the interned string.
            unsafe {
                ffi::PyUnicode_InternInPlace(&mut key);
                Bound::from_owned_ptr(py, key)
            }
        } else {
            key
        };
        let mut stored = [0; Self::LONGEST];
        stored[..bytes.len()].copy_from_slice(bytes);
        *entry = Some(KeyEntry { length: bytes.len() as u8, text: stored, key: key.clone().unbind() });
        Ok(key)
    }

    fn slot(bytes: &[u8]) -> usize {
        let mix = |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
        let mut hash = bytes.len() as u64;
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            hash = mix(hash, u64::from_le_bytes(chunk.try_into().expect("eight bytes")));
        }
        let rest = chunks.remainder().iter().fold(0, |word, &byte| word << 8 | u64::from(byte));
        (mix(hash, rest) >> 55) as usize % Self::ENTRIES
    }
}

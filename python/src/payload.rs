//! Payload bytes <-> Python values.
//!
//! What AWS does here is simplejson as its runtime client configures it, so that is what "correct"
//! means in this file: `NaN` may leave but not enter, an object with `_asdict()` is an object, a
//! `Decimal` keeps its digits. Payloads that are regular JSON take the parser below. Everything
//! else goes to `lambda_runtime.slow_json`, which finds simplejson's words for what is wrong; so
//! this parser never has to explain itself, only to be certain when it answers.
use std::cell::RefCell;
use std::ffi::CStr;
use std::io::Write;

use pyo3::exceptions::{PyRecursionError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

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

/// Appends the JSON text of `value` to `out`. After an error `out` is as it was before.
///
/// A text that holds a lone surrogate cannot leave as UTF-8. AWS's runtime notices only when it
/// sends the response, and dies of it; so that error carries `ends_process = True`.
pub fn dumps(
    py: Python<'_>,
    value: &Bound<'_, PyAny>,
    ensure_ascii: bool,
    out: &mut Vec<u8>,
) -> PyResult<()> {
    let start = out.len();
    let mut writer = Writer {
        py,
        out,
        ensure_ascii,
        open: Vec::new(),
        outermost: stack_position(),
        lone_surrogate: false,
    };
    let outcome = writer.value(value);
    let lone_surrogate = writer.lone_surrogate;
    let outcome = match outcome {
        Ok(()) if lone_surrogate => Err(unencodable(py, &out[start..])),
        outcome => outcome,
    };
    if outcome.is_err() {
        out.truncate(start);
    }
    outcome
}

/// Makes both directions callable from Python, as the tests and `lambda_runtime` do.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(py_loads, module)?)?;
    module.add_function(wrap_pyfunction!(py_dumps, module)?)
}

#[pyfunction]
#[pyo3(name = "loads")]
fn py_loads<'py>(py: Python<'py>, payload: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    loads(py, payload)
}

#[pyfunction]
#[pyo3(name = "dumps")]
fn py_dumps<'py>(
    py: Python<'py>,
    value: &Bound<'py, PyAny>,
    ensure_ascii: bool,
) -> PyResult<Bound<'py, PyBytes>> {
    let mut out = Vec::with_capacity(256);
    dumps(py, value, ensure_ascii, &mut out)?;
    Ok(PyBytes::new(py, &out))
}

/// Held from the first use on: a function may bring a module of its own named `lambda_runtime`.
fn slow_loads(py: Python<'_>) -> PyResult<&'static Py<PyAny>> {
    static LOADS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    LOADS.get_or_try_init(py, || Ok(py.import("lambda_runtime.slow_json")?.getattr("loads")?.unbind()))
}

fn decimal_type(py: Python<'_>) -> PyResult<&'static Py<PyAny>> {
    static DECIMAL: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    DECIMAL.get_or_try_init(py, || Ok(py.import("decimal")?.getattr("Decimal")?.unbind()))
}

/// One level of nesting, counted by the interpreter itself: its message is the one that users of
/// Lambda see, and its limit was chosen to protect the C stack.
struct Nesting;

impl Nesting {
    /// What Python allows, a program can raise, and what a level costs differs: so this much stack
    /// is the end in any case. Half of what a process usually has.
    const STACK: usize = 4 << 20;

    /// `outermost` is where the stack stood at the first level.
    #[inline(never)]
    fn enter(py: Python<'_>, doing: &CStr, outermost: usize) -> PyResult<Nesting> {
        // SAFETY: attached to the interpreter, and `doing` ends with NUL. Left again in `drop`.
        if unsafe { ffi::Py_EnterRecursiveCall(doing.as_ptr()) } != 0 {
            return Err(PyErr::fetch(py));
        }
        let nesting = Nesting;
        if outermost.abs_diff(stack_position()) > Self::STACK {
            let doing = doing.to_string_lossy();
            return Err(PyRecursionError::new_err(format!("maximum recursion depth exceeded{doing}")));
        }
        Ok(nesting)
    }
}

#[inline(never)]
fn stack_position() -> usize {
    let here = 0u8;
    std::hint::black_box(&raw const here) as usize
}

impl Drop for Nesting {
    fn drop(&mut self) {
        // SAFETY: made only by a successful `enter`, on the same thread.
        unsafe { ffi::Py_LeaveRecursiveCall() }
    }
}

// ---------------------------------------------------------------------------------------------
// Reading

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
fn plain_length(bytes: &[u8], ascii: bool) -> usize {
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

// ---------------------------------------------------------------------------------------------
// Writing

struct Writer<'a, 'py> {
    py: Python<'py>,
    out: &'a mut Vec<u8>,
    ensure_ascii: bool,
    /// The addresses of the containers being written, outermost first.
    open: Vec<usize>,
    outermost: usize,
    lone_surrogate: bool,
}

/// What decides how a value is written. Exact types first: they are nearly all there is, and only
/// a subclass can have overridden anything.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Text,
    Int,
    Float,
    Dict,
    List,
    Tuple,
    Other,
}

fn exact_kind(value: &Bound<'_, PyAny>) -> Kind {
    let kind = value.get_type_ptr();
    if kind == &raw mut ffi::PyUnicode_Type {
        Kind::Text
    } else if kind == &raw mut ffi::PyDict_Type {
        Kind::Dict
    } else if kind == &raw mut ffi::PyLong_Type {
        Kind::Int
    } else if kind == &raw mut ffi::PyFloat_Type {
        Kind::Float
    } else if kind == &raw mut ffi::PyList_Type {
        Kind::List
    } else if kind == &raw mut ffi::PyTuple_Type {
        Kind::Tuple
    } else {
        Kind::Other
    }
}

impl<'py> Writer<'_, 'py> {
    fn value(&mut self, value: &Bound<'py, PyAny>) -> PyResult<()> {
        match exact_kind(value) {
            Kind::Text => self.text(value),
            Kind::Int => self.int(value),
            Kind::Float => self.float(value),
            Kind::Dict => self.dict(value, true),
            Kind::List | Kind::Tuple => self.sequence(value, true),
            Kind::Other => self.other(value),
        }
    }

    // Apart, as are the rarer ones below: what stands on the stack at each level of nesting has to
    // stay small enough for as many levels as the interpreter allows.
    #[inline(never)]
    fn other(&mut self, value: &Bound<'py, PyAny>) -> PyResult<()> {
        if self.constant(value) {
            return Ok(());
        }
        if value.is_instance_of::<PyBytes>() {
            return self.bytes(value);
        }
        if value.is_instance_of::<PyString>() {
            return self.text(value);
        }
        if value.is_instance_of::<pyo3::types::PyInt>() {
            // A subclass may print itself as it likes; only its number counts.
            let number = self.py.get_type::<pyo3::types::PyInt>().call1((value,))?;
            return self.int(&number);
        }
        if value.is_instance_of::<pyo3::types::PyFloat>() {
            return self.float(value);
        }
        if let Some(fields) = self.as_dict(value)? {
            let _nesting = self.nest()?;
            if !fields.is_instance_of::<PyDict>() {
                let kind = type_name(&fields, 80);
                return Err(PyTypeError::new_err(format!("_asdict() must return a dict, not {kind}")));
            }
            let exact = exact_kind(&fields) == Kind::Dict;
            return self.dict_nested(&fields, exact);
        }
        if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
            return self.sequence(value, false);
        }
        if value.is_instance_of::<PyDict>() {
            return self.dict(value, false);
        }
        if value.is_instance(decimal_type(self.py)?.bind(self.py))? {
            if value.call_method0("is_nan")?.is_truthy()? {
                self.out.extend_from_slice(b"NaN");
            } else {
                let digits = value.str()?;
                self.raw(digits.as_any())?;
            }
            return Ok(());
        }
        let class = value.getattr("__class__")?.getattr("__name__")?.str()?;
        Err(PyTypeError::new_err(format!("Object of type {class} is not JSON serializable")))
    }

    fn constant(&mut self, value: &Bound<'py, PyAny>) -> bool {
        // SAFETY: only the addresses of these singletons are compared.
        let text: &[u8] = unsafe {
            if value.as_ptr() == ffi::Py_None() {
                b"null"
            } else if value.as_ptr() == ffi::Py_True() {
                b"true"
            } else if value.as_ptr() == ffi::Py_False() {
                b"false"
            } else {
                return false;
            }
        };
        self.out.extend_from_slice(text);
        true
    }

    /// The outcome of `value._asdict()`, if it has one: lookups that fail and calls that raise
    /// TypeError (a class rather than an instance, say) count as not having it.
    fn as_dict(&self, value: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Ok(method) = value.getattr(pyo3::intern!(self.py, "_asdict")) else { return Ok(None) };
        if !method.is_callable() {
            return Ok(None);
        }
        match method.call0() {
            Ok(fields) => Ok(Some(fields)),
            Err(error) if error.is_instance_of::<PyTypeError>(self.py) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn nest(&self) -> PyResult<Nesting> {
        Nesting::enter(self.py, c" while encoding a JSON object", self.outermost)
    }

    fn open(&mut self, container: &Bound<'py, PyAny>) -> PyResult<()> {
        let address = container.as_ptr() as usize;
        if self.open.contains(&address) {
            return Err(PyValueError::new_err("Circular reference detected"));
        }
        self.open.push(address);
        Ok(())
    }

    fn sequence(&mut self, items: &Bound<'py, PyAny>, exact: bool) -> PyResult<()> {
        let _nesting = self.nest()?;
        if !items.is_truthy()? {
            self.out.extend_from_slice(b"[]");
            return Ok(());
        }
        self.open(items)?;
        self.out.push(b'[');
        let mut first = true;
        if let (true, Ok(list)) = (exact, items.cast::<PyList>()) {
            // Asked for its length each time: writing an element can run code that shortens it.
            let mut index = 0;
            while index < list.len() {
                self.element(&list.get_item(index)?, &mut first)?;
                index += 1;
            }
        } else {
            for item in items.try_iter()? {
                self.element(&item?, &mut first)?;
            }
        }
        self.open.pop();
        self.out.push(b']');
        Ok(())
    }

    fn element(&mut self, item: &Bound<'py, PyAny>, first: &mut bool) -> PyResult<()> {
        if !std::mem::take(first) {
            self.out.extend_from_slice(b", ");
        }
        self.value(item)
    }

    fn dict(&mut self, dict: &Bound<'py, PyAny>, exact: bool) -> PyResult<()> {
        let _nesting = self.nest()?;
        self.dict_nested(dict, exact)
    }

    fn dict_nested(&mut self, dict: &Bound<'py, PyAny>, exact: bool) -> PyResult<()> {
        // SAFETY: callers have checked that it is a dict.
        if unsafe { ffi::PyDict_Size(dict.as_ptr()) } == 0 {
            self.out.extend_from_slice(b"{}");
            return Ok(());
        }
        self.open(dict)?;
        self.out.push(b'{');
        let mut first = true;
        if exact {
            let mut position = 0;
            while let Some((key, value)) = next_item(dict, &mut position) {
                self.member(&key, &value, &mut first)?;
            }
        } else {
            // SAFETY: a live object; the result is ours or null.
            let items =
                unsafe { Bound::from_owned_ptr_or_err(self.py, ffi::PyMapping_Items(dict.as_ptr())) }?;
            for item in items.try_iter()? {
                let item = item?;
                match item.cast::<PyTuple>() {
                    Ok(pair) if pair.len() == 2 => {
                        self.member(&pair.get_item(0)?, &pair.get_item(1)?, &mut first)?;
                    }
                    _ => return Err(PyValueError::new_err("items must return 2-tuples")),
                }
            }
        }
        self.open.pop();
        self.out.push(b'}');
        Ok(())
    }

    fn member(
        &mut self,
        key: &Bound<'py, PyAny>,
        value: &Bound<'py, PyAny>,
        first: &mut bool,
    ) -> PyResult<()> {
        if !std::mem::take(first) {
            self.out.extend_from_slice(b", ");
        }
        if exact_kind(key) == Kind::Text {
            self.text(key)?;
        } else {
            self.unusual_key(key)?;
        }
        self.out.extend_from_slice(b": ");
        self.value(value)
    }

    #[inline(never)]
    fn unusual_key(&mut self, key: &Bound<'py, PyAny>) -> PyResult<()> {
        if key.is_instance_of::<PyString>() {
            return self.text(key);
        }
        if key.is_instance_of::<PyBytes>() {
            return self.bytes(key);
        }
        self.out.push(b'"');
        if key.is_instance_of::<pyo3::types::PyFloat>() {
            self.float(key)?;
        } else if self.constant(key) {
        } else if key.is_instance_of::<pyo3::types::PyInt>() {
            self.value(key)?;
        } else {
            let kind = type_name(key, 100);
            return Err(PyTypeError::new_err(format!(
                "keys must be str, int, float, bool or None, not {kind}"
            )));
        }
        self.out.push(b'"');
        Ok(())
    }

    #[inline(never)]
    fn int(&mut self, number: &Bound<'py, PyAny>) -> PyResult<()> {
        let mut overflow = 0;
        // SAFETY: called with ints only.
        let small = unsafe { ffi::PyLong_AsLongLongAndOverflow(number.as_ptr(), &mut overflow) };
        if overflow != 0 {
            let digits = number.str()?;
            return self.raw(digits.as_any());
        }
        let _ = write!(self.out, "{small}");
        Ok(())
    }

    #[inline(never)]
    fn float(&mut self, number: &Bound<'py, PyAny>) -> PyResult<()> {
        // SAFETY: called with floats only, subclasses included; for these it reads the number itself.
        let mut value = unsafe { ffi::PyFloat_AsDouble(number.as_ptr()) };
        if value.is_finite() && exact_kind(number) != Kind::Float {
            value = self.py.get_type::<pyo3::types::PyFloat>().call1((number,))?.extract()?;
        }
        write_float(self.out, value);
        Ok(())
    }

    #[inline(never)]
    fn bytes(&mut self, bytes: &Bound<'py, PyAny>) -> PyResult<()> {
        let bytes = bytes.cast::<PyBytes>()?;
        // SAFETY: a live slice; the result is ours or null. Python decodes, for the error it raises.
        let decoded = unsafe {
            let bytes = bytes.as_bytes();
            let decoded = ffi::PyUnicode_DecodeUTF8(
                bytes.as_ptr().cast(),
                bytes.len() as ffi::Py_ssize_t,
                std::ptr::null(),
            );
            Bound::from_owned_ptr_or_err(self.py, decoded)
        }?;
        self.text(&decoded)
    }

    #[inline(never)]
    fn text(&mut self, text: &Bound<'py, PyAny>) -> PyResult<()> {
        match utf8(text) {
            Some(bytes) => self.quoted(bytes),
            None => {
                let bytes = text.call_method1("encode", ("utf-8", "surrogatepass"))?;
                self.lone_surrogate |= !self.ensure_ascii;
                self.quoted(bytes.cast::<PyBytes>()?.as_bytes());
            }
        }
        Ok(())
    }

    /// Text that is JSON already.
    fn raw(&mut self, text: &Bound<'py, PyAny>) -> PyResult<()> {
        self.out.extend_from_slice(text.cast::<PyString>()?.to_str()?.as_bytes());
        Ok(())
    }

    fn quoted(&mut self, mut bytes: &[u8]) {
        self.out.reserve(bytes.len() + 2);
        self.out.push(b'"');
        loop {
            let (plain, rest) = bytes.split_at(plain_length(bytes, self.ensure_ascii));
            self.out.extend_from_slice(plain);
            let Some(&byte) = rest.first() else { break };
            let mut used = 1;
            match byte {
                b'"' => self.out.extend_from_slice(b"\\\""),
                b'\\' => self.out.extend_from_slice(b"\\\\"),
                0x08 => self.out.extend_from_slice(b"\\b"),
                0x0c => self.out.extend_from_slice(b"\\f"),
                b'\n' => self.out.extend_from_slice(b"\\n"),
                b'\r' => self.out.extend_from_slice(b"\\r"),
                b'\t' => self.out.extend_from_slice(b"\\t"),
                _ => {
                    let (code, length) = code_point(rest);
                    used = length;
                    if code < 0x10000 {
                        self.escape(code);
                    } else {
                        self.escape(0xd800 | (code - 0x10000) >> 10);
                        self.escape(0xdc00 | (code - 0x10000) & 0x3ff);
                    }
                }
            }
            bytes = &rest[used..];
        }
        self.out.push(b'"');
    }

    fn escape(&mut self, unit: u32) {
        let _ = write!(self.out, "\\u{unit:04x}");
    }
}

/// The text as UTF-8 without a copy, or None where it holds a lone surrogate.
fn utf8<'a>(text: &'a Bound<'_, PyAny>) -> Option<&'a [u8]> {
    let mut length = 0;
    // SAFETY: called with strs only. The bytes belong to the str, which does not change, and live
    // as long as it does.
    unsafe {
        let bytes = ffi::PyUnicode_AsUTF8AndSize(text.as_ptr(), &mut length);
        if bytes.is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        Some(std::slice::from_raw_parts(bytes.cast(), length as usize))
    }
}

fn next_item<'py>(
    dict: &Bound<'py, PyAny>,
    position: &mut ffi::Py_ssize_t,
) -> Option<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    let (mut key, mut value) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: called with dicts only. Both references are borrowed and made our own at once,
    // because writing the value can run code that removes them from the dict; a position in a dict
    // that has changed stays a position, if not a meaningful one.
    unsafe {
        if ffi::PyDict_Next(dict.as_ptr(), position, &mut key, &mut value) == 0 {
            return None;
        }
        Some((Bound::from_borrowed_ptr(dict.py(), key), Bound::from_borrowed_ptr(dict.py(), value)))
    }
}

/// The first code point and its length in bytes, of UTF-8 that Python has written.
fn code_point(bytes: &[u8]) -> (u32, usize) {
    let (first, length) = match bytes[0] {
        byte @ 0..0x80 => return (u32::from(byte), 1),
        byte @ 0x80..0xe0 => (byte & 0x1f, 2),
        byte @ 0xe0..0xf0 => (byte & 0x0f, 3),
        byte @ 0xf0.. => (byte & 0x07, 4),
    };
    let code =
        bytes[1..length].iter().fold(u32::from(first), |code, &byte| code << 6 | u32::from(byte & 0x3f));
    (code, length)
}

/// As Python's `repr`, by Python: where two shortest forms are equally near, it and Rust choose
/// differently.
fn write_float(out: &mut Vec<u8>, value: f64) {
    let plain: &[u8] = match value {
        f64::INFINITY => b"Infinity",
        f64::NEG_INFINITY => b"-Infinity",
        value if value.is_nan() => b"NaN",
        value if value != 0.0 && value.abs() < 1e15 && value.fract() == 0.0 => {
            let _ = write!(out, "{}", value as i64);
            b".0"
        }
        value => {
            // SAFETY: the text ends with NUL and is ours to free; null when out of memory.
            unsafe {
                let text = ffi::PyOS_double_to_string(
                    value,
                    b'r' as std::ffi::c_char,
                    0,
                    ffi::Py_DTSF_ADD_DOT_0,
                    std::ptr::null_mut(),
                );
                assert!(!text.is_null(), "out of memory");
                out.extend_from_slice(CStr::from_ptr(text).to_bytes());
                ffi::PyMem_Free(text.cast());
            }
            b""
        }
    };
    out.extend_from_slice(plain);
}

/// The type's name as CPython's C code prints it (`datetime.date`, but `MyClass`). The stable ABI
/// does not give it away, an error message of `str.join` does.
fn type_name(value: &Bound<'_, PyAny>, longest: usize) -> String {
    let error = PyString::new(value.py(), "").call_method1("join", ((value,),)).err();
    let message = error.map(|error| error.value(value.py()).to_string()).unwrap_or_default();
    let name = message.rsplit_once("instance, ").and_then(|(_, rest)| rest.strip_suffix(" found"));
    name.unwrap_or("object").chars().take(longest).collect()
}

/// The error that encoding the whole response to UTF-8 ends with.
fn unencodable(py: Python<'_>, text: &[u8]) -> PyErr {
    let encode = || -> PyResult<PyErr> {
        let text = PyBytes::new(py, text).call_method1("decode", ("utf-8", "surrogatepass"))?;
        match text.call_method1("encode", ("utf-8",)) {
            Ok(_) => Ok(PyValueError::new_err("the response holds a lone surrogate")),
            Err(error) => {
                error.value(py).setattr("ends_process", true)?;
                Ok(error)
            }
        }
    };
    encode().unwrap_or_else(|error| error)
}

//! Python values -> JSON text, as simplejson writes it.

use std::ffi::CStr;
use std::io::Write;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use super::read::plain_length;
use super::{Nesting, decimal_type, stack_position};

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

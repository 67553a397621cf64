//! Payload bytes <-> Python values.
//!
//! What AWS does here is simplejson as its runtime client configures it, so that is what "correct"
//! means here: `NaN` may leave but not enter, an object with `_asdict()` is an object, a `Decimal`
//! keeps its digits. Payloads that are regular JSON take the parser in `read`. Everything else goes
//! to `lambda_runtime.slow_json`, which finds simplejson's words for what is wrong; so that parser
//! never has to explain itself, only to be certain when it answers.

mod read;
mod write;

use std::ffi::CStr;

use pyo3::exceptions::PyRecursionError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyBytes;

pub use read::loads;
pub use write::dumps;

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

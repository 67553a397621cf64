//! The child's side: all that runs inside CPython. Sole owner of `pyo3`.
//!
//! - `zygote`: the process that environments are forked from.
//! - `template`: the process that environments of one function are forked from after its init phase.
//! - `forker`: what those two have in common.
//! - `environment`: one environment: process set-up, init phase, invoke by invoke.
//! - `channel`: the mailbox and the pipes to the gateway.
//! - `stream`: what a streamed response leaves by, while the handler runs.
//! - `isolation`: what keeps a handler to itself.
//! - `payload`: payload bytes <-> Python values, as Lambda's own runtime converts them.
//! - `trace_id`: the one variable that changes with every invocation.
//! - `../lambda_runtime/`: what must be Python: loading the handler, context, faults, logging.
//!
//! It is built as a shared library against Python's stable ABI, carried in the gateway's binary, and
//! loaded only in the zygote, after the chosen interpreter's libpython.

mod channel;
#[path = "../../src/defences.rs"]
mod defences;
mod environment;
mod forker;
mod isolation;
mod payload;
#[path = "../../src/protocol/mod.rs"]
#[allow(dead_code)] // each side uses its half
mod protocol;
mod spare;
mod stream;
mod template;
mod trace_id;
mod zygote;

use std::ffi::{CString, c_char, c_int};

use pyo3::prelude::*;
use pyo3::types::PyModule;

#[pymodule]
fn _handlerd(module: &Bound<'_, PyModule>) -> PyResult<()> {
    payload::register(module)?;
    module.add_function(wrap_pyfunction!(trace_id::set_trace_id, module)?)?;
    module.add_function(wrap_pyfunction!(zygote::zygote, module)?)
}

unsafe extern "C" {
    /// Python's own main function: finds the standard library and the virtual environment by the
    /// path in `argv[0]`, as the `python` executable does.
    fn Py_BytesMain(argc: c_int, argv: *mut *mut c_char) -> c_int;
}

/// Where the gateway's binary hands over; never returns before the zygote has ended, and returns a
/// second time in each environment that has ended in an orderly way.
///
/// # Safety
/// `argv` holds `argc` C strings and a null pointer, and Python has not been initialised.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handlerd_python_main(argc: c_int, argv: *mut *mut c_char) -> c_int {
    // SAFETY: before initialisation, as both functions want it; the name lives for ever.
    unsafe {
        pyo3::ffi::PyImport_AppendInittab(c"_handlerd".as_ptr(), Some(_handlerd::__pyo3_init));
        Py_BytesMain(argc, argv)
    }
}

macro_rules! runtime_files {
    ($($name:literal),*) => {
        [$(($name, include_str!(concat!("../lambda_runtime/", $name, ".py")))),*]
    };
}

/// In an order in which each imports only what comes before.
const RUNTIME_FILES: [(&str, &str); 8] = runtime_files![
    "slow_json",
    "faults",
    "loader",
    "log_setup",
    "context",
    "streaming",
    "snapshot",
    "bootstrap"
];

/// The module `lambda_runtime.bootstrap`; the first call loads the package out of this library.
fn bootstrap(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    let modules = py.import("sys")?.getattr("modules")?;
    if let Ok(loaded) = modules.get_item("lambda_runtime.bootstrap") {
        return Ok(loaded.cast_into()?);
    }
    let package = load(py, "lambda_runtime", include_str!("../lambda_runtime/__init__.py"), "__init__")?;
    package.setattr("__path__", pyo3::types::PyList::empty(py))?;
    for (name, source) in RUNTIME_FILES {
        let module = load(py, &format!("lambda_runtime.{name}"), source, name)?;
        package.setattr(name, module)?;
    }
    Ok(modules.get_item("lambda_runtime.bootstrap")?.cast_into()?)
}

fn load<'py>(py: Python<'py>, name: &str, source: &str, file: &str) -> PyResult<Bound<'py, PyModule>> {
    let source = CString::new(source).expect("Python files hold no null bytes");
    let file = CString::new(format!("<lambda_runtime/{file}.py>")).expect("names hold no null bytes");
    let name = CString::new(name).expect("names hold no null bytes");
    // Puts the module into `sys.modules` too.
    PyModule::from_code(py, &source, &file, &name)
}

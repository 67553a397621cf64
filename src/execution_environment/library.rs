//! The zygote's first steps: this same binary, started anew as `handlerd __zygote`, becomes a Python
//! process. It opens the chosen interpreter's libpython for everyone to see, then the library that
//! was built from `python/` and travels inside this binary, and hands over to it for good.
//!
//! In this order because that library is built against the stable ABI and links no libpython: it
//! finds Python's symbols in whatever was opened before it.

use std::ffi::{CString, OsString, c_char, c_int};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use anyhow::{Context, bail};
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_LOCAL, RTLD_NOW};
use rustix::fs::MemfdFlags;

/// The hidden first argument.
pub const ZYGOTE_COMMAND: &str = "__zygote";

static LIBRARY: &[u8] = include_bytes!(env!("HANDLERD_PYTHON_LIBRARY"));

/// `arguments`: path of libpython, path of the interpreter's executable (its folder decides the
/// virtual environment), then options for the interpreter.
pub fn zygote_main(arguments: &[OsString]) -> ExitCode {
    match run(arguments) {
        Ok(status) => ExitCode::from(status as u8),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[OsString]) -> anyhow::Result<c_int> {
    let [libpython, python, options @ ..] = arguments else {
        bail!("`{ZYGOTE_COMMAND}` is how handlerd starts itself; it is not for use by hand")
    };
    if LIBRARY.is_empty() {
        bail!("this binary was built without its Python side; build it again with `cargo build`");
    }
    // SAFETY: loading runs the libraries' initialisers; both are what they are named to be.
    let (_libpython, library) = unsafe {
        let libpython = Library::open(Some(libpython), RTLD_NOW | RTLD_GLOBAL)
            .with_context(|| format!("could not load {}", libpython.display()))?;
        let memory = rustix::fs::memfd_create("handlerd_python.so", MemfdFlags::CLOEXEC)
            .context("could not create a memory file")?;
        let mut rest = LIBRARY;
        while !rest.is_empty() {
            let written = rustix::io::write(&memory, rest).context("could not fill the memory file")?;
            rest = &rest[written..];
        }
        forget_pages_of(LIBRARY);
        let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
        let library = Library::open(Some(path), RTLD_NOW | RTLD_LOCAL)
            .context("could not load handlerd's Python side")?;
        (libpython, library)
    };

    let mut argv = vec![CString::new(python.as_bytes())?];
    for option in options {
        argv.push(CString::new(option.as_bytes())?);
    }
    argv.push(c"-c".to_owned());
    argv.push(c"import _handlerd; _handlerd.zygote()".to_owned());
    let mut pointers: Vec<*mut c_char> = argv.iter().map(|argument| argument.as_ptr().cast_mut()).collect();
    pointers.push(std::ptr::null_mut());
    // SAFETY: the signature is the one in python/src/lib.rs; the strings outlive the call, and
    // CPython does not write to them.
    let status = unsafe {
        let main =
            library.get::<unsafe extern "C" fn(c_int, *mut *mut c_char) -> c_int>("handlerd_python_main")?;
        main(argv.len() as c_int, pointers.as_mut_ptr())
    };
    Ok(status)
}

/// They were read once; they are in the file still, should anybody want them again.
fn forget_pages_of(bytes: &'static [u8]) {
    let page = rustix::param::page_size();
    let skipped = bytes.as_ptr().align_offset(page).min(bytes.len());
    let whole = (bytes.len() - skipped) / page * page;
    let begin = bytes[skipped..].as_ptr().cast_mut().cast();
    // SAFETY: a constant of this program, mapped from its file: what is read again is the same.
    let _ = unsafe { rustix::mm::madvise(begin, whole, rustix::mm::Advice::LinuxDontNeed) };
}

//! `_X_AMZN_TRACE_ID`, which Lambda changes with every invocation, in the C library's environment.
//!
//! `setenv` keeps every value it has ever been given: a hundred bytes and more per invocation, for
//! as long as the environment lives. A string that is handed over by `putenv` stays the caller's,
//! so one buffer is written anew each time.

use std::cell::UnsafeCell;

use pyo3::prelude::*;

const NAME: &[u8] = b"_X_AMZN_TRACE_ID=";
const CAPACITY: usize = 512;

struct Buffer(UnsafeCell<[u8; CAPACITY]>);

// SAFETY: written only by `set_trace_id`, which holds the interpreter's lock.
unsafe impl Sync for Buffer {}

static BUFFER: Buffer = Buffer(UnsafeCell::new([0; CAPACITY]));

/// Sets the variable; what does not fit is cut off.
#[pyfunction]
pub fn set_trace_id(value: &[u8]) {
    let value = &value[..value.len().min(CAPACITY - NAME.len() - 1)];
    let buffer: *mut u8 = BUFFER.0.get().cast();
    // SAFETY: one writer at a time; the string ends within the buffer, which lives for ever, and is
    // ended before it is lengthened, so that whoever reads meanwhile finds an end too.
    unsafe {
        *buffer.add(CAPACITY - 1) = 0;
        std::ptr::copy_nonoverlapping(NAME.as_ptr(), buffer, NAME.len());
        std::ptr::copy_nonoverlapping(value.as_ptr(), buffer.add(NAME.len()), value.len());
        *buffer.add(NAME.len() + value.len()) = 0;
        libc::putenv(buffer.cast());
    }
}

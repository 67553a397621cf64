//! Parses arguments, runs one command, prints its error, exits.

use std::process::ExitCode;

use handlerd::allocator;
use handlerd::execution_environment::library;

/// Gives memory back after load, and is quick at small allocations.
#[global_allocator]
static ALLOCATOR: allocator::Mimalloc = allocator::Mimalloc;

fn main() -> ExitCode {
    // A few megabytes of small values would each be rounded up to huge pages: three times the
    // memory for nothing. Environments get them back.
    // SAFETY: changes a setting of this process.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == library::ZYGOTE_COMMAND) {
        return library::zygote_main(&arguments.collect::<Vec<_>>());
    }
    handlerd::cli::main()
}

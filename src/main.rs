//! Parses arguments, runs one command, prints its error, exits.

use std::process::ExitCode;

use handlerd::execution_environment::library;

/// Gives memory back after load, and is quick at small allocations.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == library::ZYGOTE_COMMAND) {
        return library::zygote_main(&arguments.collect::<Vec<_>>());
    }
    handlerd::cli::main()
}

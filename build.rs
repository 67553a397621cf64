//! Finds the shared library of `python/`, so that `src/execution_environment/library.rs` can carry
//! it in the binary. Cargo has built it by the time this crate is compiled, because it is an
//! ordinary dependency, but not yet when this script runs: only its place is determined here.

use std::path::{Path, PathBuf};

fn main() {
    let out_dir = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    // OUT_DIR is <profile folder>/build/<package>-<hash>/out; dependencies are in <profile folder>/deps.
    let profile = out_dir.ancestors().nth(3).expect("OUT_DIR lies in a profile folder");
    let library = profile.join("deps").join("libhandlerd_python.so");
    // `cargo check` and `clippy` build no shared libraries, yet compile the line that includes it.
    if !library.exists() {
        write_placeholder(&library);
    }
    println!("cargo:rustc-env=HANDLERD_PYTHON_LIBRARY={}", library.display());
    println!("cargo:rerun-if-changed=build.rs");
}

fn write_placeholder(library: &Path) {
    let _ = std::fs::create_dir_all(library.parent().expect("has a parent"));
    std::fs::write(library, b"").expect("the target folder can be written");
}

//! Finds the shared library of `python/`, so that `src/execution_environment/library.rs` can carry
//! it in the binary. Cargo has built it by the time this crate is compiled, because it is an
//! ordinary dependency, but not yet when this script runs: only its place is determined here.
//!
//! And lists the console's pages, for `src/console/assets.rs`.

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
    println!("cargo:rerun-if-changed=console/dist");
    std::fs::write(out_dir.join("pages.rs"), pages()).expect("OUT_DIR can be written");
}

/// `&[("/index.html", true, include_bytes!("...")), ...]`: what is served, and whether it is compressed.
/// Of a file and the `.gz` beside it, the smaller one is carried in the binary.
fn pages() -> String {
    let root = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    let dist = PathBuf::from(root).join("console/dist");
    let mut pages = Vec::new();
    for (folder, place) in [("", "/"), ("assets", "/assets/")] {
        let entries = std::fs::read_dir(dist.join(folder)).into_iter().flatten().flatten();
        for file in entries.map(|entry| entry.path()).filter(|path| path.is_file()) {
            let name = file.file_name().and_then(|name| name.to_str()).expect("the build names its files");
            if name.ends_with(".gz") {
                continue;
            }
            let compressed = file.with_file_name(format!("{name}.gz"));
            let (content, is_compressed) =
                if compressed.is_file() { (&compressed, true) } else { (&file, false) };
            let path = format!("{place}{name}");
            pages.push(format!("({path:?}, {is_compressed}, include_bytes!({content:?}) as &[u8]),\n"));
        }
    }
    pages.sort();
    format!("&[{}]", pages.concat())
}

fn write_placeholder(library: &Path) {
    let _ = std::fs::create_dir_all(library.parent().expect("has a parent"));
    std::fs::write(library, b"").expect("the target folder can be written");
}

//! The Python side's own tests, `tests/python`: so that `cargo test` runs everything.

use std::path::{Path, PathBuf};

use crate::python_tools::python_tools;

#[test]
fn the_python_side_passes_its_own_tests() {
    let Some(tools) = python_tools("tests/python") else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = tools
        .program("python")
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider"])
        .arg(root.join("tests/python"))
        .current_dir(root)
        .env("HANDLERD_PYTHON_SO", library())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("the environment has a python");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{stdout}\n{stderr}", output.status);
    // pytest is content with finding nothing to do under some options; we are not.
    assert!(stdout.contains(" passed"), "{stdout}");
}

/// Cargo has built it as a dependency: it lies beside this test's binary.
fn library() -> PathBuf {
    let binary = std::env::current_exe().unwrap();
    let library = binary.parent().unwrap().join("libhandlerd_python.so");
    let length = std::fs::metadata(&library).map_or(0, |metadata| metadata.len());
    assert!(length > 0, "{} is not built", library.display());
    library
}

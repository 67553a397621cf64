//! Why functions cannot run on an interpreter, in words that say what to do about it.

use std::path::{Path, PathBuf};

use super::probe::Facts;
use super::version::{OLDEST_SUPPORTED, Version};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("could not be run: {0}")]
    CouldNotRun(String),
    #[error("gave no answer within {seconds} s")]
    TimedOut { seconds: u64 },
    #[error("{0} is not CPython, which is needed")]
    NotCPython(String),
    #[error("older than 3.10")]
    TooOld(Version),
    #[error(
        "free-threaded build ({}t) is not supported: use the ordinary {}",
        .0.runtime(),
        .0.runtime()
    )]
    FreeThreaded(Version),
    #[error("no shared library: {}", remedy(.version, .prefix))]
    NoSharedLibrary { version: Version, prefix: PathBuf },
}

impl Problem {
    pub(super) fn of(facts: &Facts, libpython: Option<&Path>) -> Option<Problem> {
        let version = facts.version();
        if facts.implementation != "cpython" {
            return Some(Problem::NotCPython(facts.implementation.clone()));
        }
        if version < OLDEST_SUPPORTED {
            return Some(Problem::TooOld(version));
        }
        if facts.free_threaded {
            return Some(Problem::FreeThreaded(version));
        }
        if libpython.is_none() {
            let prefix = facts.base_prefix.clone();
            return Some(Problem::NoSharedLibrary { version, prefix });
        }
        None
    }
}

fn remedy(version: &Version, prefix: &Path) -> String {
    let (major, minor) = (version.major, version.minor);
    if prefix == Path::new("/usr") {
        return format!(
            "install `libpython{major}.{minor}` (Debian, Ubuntu: apt install libpython{major}.{minor}; \
             Fedora: dnf install python{major}-libs)"
        );
    }
    let of_pyenv = prefix.parent().is_some_and(|parent| parent.ends_with("versions"));
    if of_pyenv {
        return format!(
            "build it again with PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install --force {version}"
        );
    }
    format!("build it with --enable-shared, or install another with uv python install {major}.{minor}")
}

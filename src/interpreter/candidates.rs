//! Where Pythons may lie. Nothing is run here: this only looks at files.

use std::env;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::environment;
use super::search::Search;
use super::version::Version;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) path: PathBuf,
    pub(super) found_by: String,
}

impl Candidate {
    pub(super) fn new(path: impl Into<PathBuf>, found_by: impl Into<String>) -> Candidate {
        Candidate { path: path.into(), found_by: found_by.into() }
    }
}

/// The minor versions whose names are tried. The oldest are there to be named in an error, the
/// newest do not exist yet: a folder is not listed, as `/usr/bin` has thousands of files.
const MINORS: std::ops::RangeInclusive<u16> = 6..=20;

fn names() -> impl Iterator<Item = String> {
    let plain = ["python3", "python"].into_iter().map(str::to_owned);
    plain.chain(MINORS.rev().map(|minor| format!("python3.{minor}")))
}

/// The Pythons on `PATH` in the order of preference: `python3` means what it means in a shell, so
/// the name goes before the folder.
pub(super) fn on_path(search: &Search) -> impl Iterator<Item = Candidate> + '_ {
    names().flat_map(|name| named_on_path(search, &name).collect::<Vec<_>>())
}

/// What a shell would start for `name`, and after it what it would start if that were not there.
pub(super) fn named_on_path<'a>(search: &'a Search, name: &'a str) -> impl Iterator<Item = Candidate> + 'a {
    env::split_paths(&search.path)
        // A relative entry means another file in every folder; nobody wants it to be run by itself.
        .filter(|folder| folder.is_absolute())
        .map(move |folder| folder.join(name))
        .filter(|path| is_executable(path))
        .filter_map(|path| match behind_pyenv_shim(search, &path) {
            Shim::No => Some(Candidate::new(path, "PATH")),
            Shim::Leads(real) => Some(Candidate::new(real, "PATH, pyenv")),
            Shim::LeadsNowhere => None,
        })
}

/// `PATH` first, then the places where Pythons lie that are not on it.
pub(super) fn everywhere(search: &Search) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = on_path(search).collect();
    for folder in ["/usr/bin", "/usr/local/bin"] {
        let paths = names().map(|name| Path::new(folder).join(name));
        found.extend(paths.filter(|path| is_executable(path)).map(|path| Candidate::new(path, folder)));
    }
    let pyenv = search.pyenv().map(|root| (root.join("versions"), "pyenv"));
    let uv = search.uv().map(|folder| (folder, "uv"));
    for (folder, found_by) in pyenv.into_iter().chain(uv) {
        for installation in newest_first(&folder) {
            let programs = ["bin/python3", "bin/python"].map(|name| installation.join(name));
            let program = programs.into_iter().find(|path| is_executable(path));
            found.extend(program.map(|path| Candidate::new(path, found_by)));
        }
    }
    found
}

/// Folders named after versions (`3.12.1`, `cpython-3.12.1-linux-x86_64-gnu`).
fn newest_first(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    folders.sort_by_cached_key(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let version = name.split('-').find_map(Version::parse).unwrap_or(Version::UNKNOWN);
        std::cmp::Reverse((version, name))
    });
    folders
}

pub(super) fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// The installed Python behind a path: links are followed, and so is the copy of an executable in
/// a virtual environment.
pub(super) fn base_executable(path: &Path) -> Result<PathBuf, String> {
    let real = path.canonicalize().map_err(|error| error.to_string())?;
    match environment::containing(&real) {
        None => Ok(real),
        Some(folder) => environment::base_of_copy(&folder).ok_or_else(|| {
            format!("the Python that the virtual environment {} was made from is gone", folder.display())
        }),
    }
}

/// A small program in place of an interpreter, which picks one when it is started.
pub(super) fn is_shim(path: &Path) -> bool {
    path.parent().is_some_and(|folder| folder.ends_with("shims"))
}

enum Shim {
    No,
    Leads(PathBuf),
    LeadsNowhere,
}

/// A shim of pyenv is a bash script that starts bash scripts for some 50 ms. What it would pick is
/// written in `PYENV_VERSION` or in small files, so that it need not be run.
fn behind_pyenv_shim(search: &Search, path: &Path) -> Shim {
    if !is_shim(path) {
        return Shim::No;
    }
    let mut script = Vec::new();
    let read = File::open(path).and_then(|file| file.take(1024).read_to_end(&mut script));
    let script = String::from_utf8_lossy(&script);
    if read.is_err() || !script.starts_with("#!") || !script.contains("pyenv") {
        return Shim::No;
    }
    let named = script.split_once("PYENV_ROOT=\"").and_then(|(_, rest)| rest.split_once('"'));
    let root = match named {
        Some((root, _)) => PathBuf::from(root),
        None => path.parent().and_then(Path::parent).map(Path::to_owned).unwrap_or_default(),
    };
    let Some(program) = path.file_name() else { return Shim::LeadsNowhere };
    pyenv_versions(search, &root)
        .iter()
        .filter_map(|name| pyenv_version(&root, name))
        .map(|installation| installation.join("bin").join(program))
        .find(|program| is_executable(program))
        .map_or(Shim::LeadsNowhere, Shim::Leads)
}

/// The versions that pyenv has selected here, in its own order of precedence.
fn pyenv_versions(search: &Search, root: &Path) -> Vec<String> {
    if let Some(versions) = search.pyenv_version.as_deref().filter(|text| !text.is_empty()) {
        return versions.split(':').map(str::to_owned).collect();
    }
    let local = search.current_dir.ancestors().map(|folder| folder.join(".python-version"));
    let text = local.chain([root.join("version")]).find_map(|file| fs::read_to_string(file).ok());
    let text = text.unwrap_or_default();
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

/// `system` is no folder: the Pythons further down on `PATH` are meant, and they come next anyway.
fn pyenv_version(root: &Path, name: &str) -> Option<PathBuf> {
    // The name comes from a file of the project; it is not to lead out of the folder of versions.
    if name.is_empty() || name.starts_with('.') || name.contains("..") {
        return None;
    }
    let versions = root.join("versions");
    let short = name.strip_prefix("python-").unwrap_or(name);
    let exact = [name, short].into_iter().map(|name| versions.join(name)).find(|path| path.is_dir());
    exact.or_else(|| {
        let beginning = format!("{short}.");
        newest_first(&versions)
            .into_iter()
            .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&beginning)))
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::write_executable;
    use super::*;

    fn pyenv(folder: &Path) -> Search {
        let root = folder.join("pyenv");
        for version in ["3.9.1", "3.12.1", "3.12.10", "3.13.0"] {
            let minor = &version[..version.rfind('.').unwrap()];
            for name in ["python3".to_owned(), format!("python{minor}")] {
                write_executable(&root.join("versions").join(version).join("bin").join(name), "#!/bin/sh\n");
            }
        }
        for name in ["python3", "python3.13"] {
            let script = format!("#!/usr/bin/env bash\nexport PYENV_ROOT=\"{}\"\nexit 1\n", root.display());
            write_executable(&root.join("shims").join(name), &script);
        }
        let current_dir = folder.join("project/deep");
        fs::create_dir_all(&current_dir).unwrap();
        let path = root.join("shims").into();
        Search { path, current_dir, pyenv_root: Some(root), ..Search::default() }
    }

    fn first(search: &Search, name: &str) -> Option<String> {
        let candidate = named_on_path(search, name).next()?;
        assert_eq!(candidate.found_by, "PATH, pyenv");
        let versions = search.pyenv().unwrap().join("versions");
        Some(candidate.path.strip_prefix(versions).unwrap().to_str().unwrap().to_owned())
    }

    #[test]
    fn a_pyenv_shim_is_followed_without_running_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut search = pyenv(folder.path());
        assert_eq!(first(&search, "python3"), None);
        fs::write(search.pyenv().unwrap().join("version"), "3.13.0\n").unwrap();
        assert_eq!(first(&search, "python3").as_deref(), Some("3.13.0/bin/python3"));
        fs::write(folder.path().join("project/.python-version"), "# ours\n3.12 # the newest\n").unwrap();
        assert_eq!(first(&search, "python3").as_deref(), Some("3.12.10/bin/python3"));
        assert_eq!(first(&search, "python3.13"), None, "3.13 is not selected here");
        search.pyenv_version = Some("system:python-3.9.1:3.13.0".into());
        assert_eq!(first(&search, "python3").as_deref(), Some("3.9.1/bin/python3"));
        assert_eq!(first(&search, "python3.13").as_deref(), Some("3.13.0/bin/python3.13"));
        search.pyenv_version = Some("../../evil".into());
        assert_eq!(first(&search, "python3"), None);
    }

    #[test]
    fn the_name_goes_before_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let paths =
            ["a/python3.13", "b/python3", "b/python", "b/python3.11"].map(|path| folder.path().join(path));
        for path in &paths {
            write_executable(path, "#!/bin/sh\n");
        }
        fs::write(folder.path().join("a/python3"), "not executable").unwrap();
        let folders = ["relative".into(), folder.path().join("a"), folder.path().join("b")];
        let search = Search { path: env::join_paths(folders).unwrap(), ..Search::default() };
        let found: Vec<PathBuf> = on_path(&search).map(|candidate| candidate.path).collect();
        let [third, first, second, fourth] = paths;
        assert_eq!(found, [first, second, third, fourth]);
    }

    #[test]
    fn uv_and_pyenv_are_looked_into() {
        let folder = tempfile::tempdir().unwrap();
        let mut search = pyenv(folder.path());
        search.home = Some(folder.path().into());
        let uv = folder.path().join(".local/share/uv/python/cpython-3.12.5-linux-x86_64-gnu/bin/python3");
        write_executable(&uv, "#!/bin/sh\n");
        let found = everywhere(&search);
        assert!(found.contains(&Candidate::new(uv, "uv")));
        let pyenv: Vec<_> = found.iter().filter(|candidate| candidate.found_by == "pyenv").collect();
        assert_eq!(pyenv.len(), 4);
        assert!(pyenv[0].path.to_string_lossy().contains("3.13.0"));
        assert!(pyenv[1].path.to_string_lossy().contains("3.12.10"));
    }
}

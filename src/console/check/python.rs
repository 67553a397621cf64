//! Python's own syntax check, in a process that lives no longer than the answer takes.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use http::StatusCode;
use rustix::process::{Resource, Rlimit, setrlimit};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::sync::Semaphore;

use super::super::error::ViewError;
use super::super::{Console, blocking};
use super::{Mark, Severity};

const SCRIPT: &str = include_str!("syntax.py");
const PATIENCE: Duration = Duration::from_secs(2);
/// Of one process. A megabyte of code needs some 200 MB.
const MEMORY: u64 = 1024 * 1024 * 1024;
const LONGEST_ANSWER: u64 = 256 * 1024;
static AT_ONCE: Semaphore = Semaphore::const_new(2);

#[derive(Deserialize)]
struct Answer {
    problems: Vec<Mark>,
}

pub async fn check(console: &Console, text: String) -> Result<Vec<Mark>, ViewError> {
    let busy = || {
        ViewError::new(StatusCode::SERVICE_UNAVAILABLE, "other texts are being checked just now")
            .hint("ask again in a moment")
    };
    let turn = tokio::time::timeout(PATIENCE, AT_ONCE.acquire()).await.map_err(|_| busy())?;
    let _turn = turn.map_err(|_| busy())?;
    let surroundings = console.0.clone();
    let choice = blocking(move || {
        surroundings.interpreters.choose(None, surroundings.settings.root()).map_err(|none| none.to_string())
    });
    let choice = choice.await?.map_err(|none| ViewError::new(StatusCode::SERVICE_UNAVAILABLE, none))?;
    let mut command = Command::new(&choice.interpreter.executable);
    command
        // Nobody's packages and settings; nothing is written.
        .args(["-I", "-S", "-B", "-c", SCRIPT])
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    // SAFETY: the closure runs between fork and exec and makes system calls only; it neither allocates
    // nor takes a lock.
    unsafe {
        command.pre_exec(limit);
    }
    let failed = |error: std::io::Error| {
        ViewError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{} could not be run: {error}", choice.interpreter.executable.display()),
        )
    };
    let mut child = command.spawn().map_err(failed)?;
    let (mut input, output) = (child.stdin.take(), child.stdout.take());
    let work = async {
        let write = async {
            if let Some(input) = &mut input {
                // It may have ended already; what it says then counts.
                let _ = input.write_all(text.as_bytes()).await;
            }
            drop(input);
        };
        let read = async {
            let mut answer = Vec::new();
            match output {
                Some(output) => output.take(LONGEST_ANSWER).read_to_end(&mut answer).await.map(|_| answer),
                None => Ok(answer),
            }
        };
        let ((), answer) = tokio::join!(write, read);
        Ok::<_, std::io::Error>((answer?, child.wait().await?))
    };
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(Ok((answer, status))) => Ok(understood(&answer, status)),
        Ok(Err(error)) => Err(failed(error)),
        Err(_) => {
            let _ = child.start_kill();
            Ok(vec![unread(&format!("Python has not read this within {} s", PATIENCE.as_secs()))])
        }
    }
}

fn understood(answer: &[u8], status: ExitStatus) -> Vec<Mark> {
    match serde_json::from_slice::<Answer>(answer) {
        Ok(answer) if status.success() => answer.problems,
        _ => vec![unread(&format!("Python gave up reading this ({status})"))],
    }
}

fn unread(message: &str) -> Mark {
    let message = message.to_owned();
    Mark { line: 1, column: 1, end_line: 1, end_column: 1, message, severity: Severity::Error }
}

fn limit() -> std::io::Result<()> {
    let both = |value| Rlimit { current: Some(value), maximum: Some(value) };
    setrlimit(Resource::As, both(MEMORY))?;
    setrlimit(Resource::Cpu, both(PATIENCE.as_secs() + 1))?;
    setrlimit(Resource::Core, both(0))?;
    setrlimit(Resource::Fsize, both(0))?;
    Ok(())
}

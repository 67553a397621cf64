//! `handlerd logs [NAME]`: what functions have logged, and what they log now.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::options::{NamedPlace, State};
use crate::logs::{Line, Reader};

#[derive(Args)]
pub struct Arguments {
    /// Only the log of this function
    name: Option<String>,
    /// Go on with new lines as they come, until Ctrl-C
    #[arg(long, short)]
    follow: bool,
    /// Only the last N lines
    #[arg(long, short = 'n', value_name = "N", default_value_t = 1000)]
    lines: usize,
    /// Only lines of the invocation with this request id
    #[arg(long, value_name = "ID")]
    request: Option<String>,
    #[command(flatten)]
    place: NamedPlace,
    #[command(flatten)]
    state: State,
}

/// How often new lines are looked for.
const INTERVAL: Duration = Duration::from_millis(100);

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let (settings, _) = arguments.place.settle(&arguments.state.clone().into())?;
    let name = arguments.name.as_deref();
    let mut reader = Reader::open(&settings.state_dir, name);
    let wanted = |line: &Line| arguments.request.as_ref().is_none_or(|request| *request == line.request_id);
    let mut lines = reader.next_lines(&settings.state_dir, name);
    lines.retain(wanted);
    if lines.is_empty() && !arguments.follow {
        let whose = name.map_or("no function".to_owned(), |name| format!("`{name}`"));
        let verb = if name.is_some() { "has logged nothing" } else { "has logged anything" };
        eprintln!("{whose} {verb} in {}", settings.state_dir.display());
        return Ok(ExitCode::SUCCESS);
    }
    let first = lines.len().saturating_sub(arguments.lines);
    let mut gone = !show(&lines[first..], name.is_none());
    while arguments.follow && !gone {
        std::thread::sleep(INTERVAL);
        let mut lines = reader.next_lines(&settings.state_dir, name);
        lines.retain(wanted);
        gone = !show(&lines, name.is_none());
    }
    Ok(ExitCode::SUCCESS)
}

/// `false` when nobody reads any more.
fn show(lines: &[Line], with_name: bool) -> bool {
    let mut stdout = std::io::stdout().lock();
    for Line { time, function, text, .. } in lines {
        let result = match with_name {
            true => writeln!(stdout, "{time} {function} {text}"),
            false => writeln!(stdout, "{time} {text}"),
        };
        if result.is_err() {
            return false;
        }
    }
    stdout.flush().is_ok()
}

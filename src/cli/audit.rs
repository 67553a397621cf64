//! `handlerd audit`: who has changed what, and whether the log of it is as it was written.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::options::{Common, NamedPlace, State};
use super::output;
use crate::control_plane::{Verdict, audit_entries, verify_audit};

#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Check every line; the first that has been changed is named
    Verify(Place),
    /// List the last changes
    Show(Show),
}

#[derive(Args)]
struct Show {
    /// Only the last N changes
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50)]
    lines: usize,
    /// One JSON object a line, with everything that is known
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Args)]
struct Place {
    #[command(flatten)]
    place: NamedPlace,
    #[command(flatten)]
    state: State,
}

impl Place {
    fn folder(&self) -> anyhow::Result<std::path::PathBuf> {
        let (settings, _) = self.place.settle(&Common::from(self.state.clone()))?;
        Ok(settings.state_dir)
    }
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    match &arguments.action {
        Action::Verify(place) => {
            let verdict = verify_audit(&place.folder()?)?;
            match &verdict {
                Verdict::Whole { .. } => output::print(&format!("{verdict}\n")),
                Verdict::Broken { .. } => anyhow::bail!(
                    "{verdict}\nhint: compare with a copy of the log; what stands before this line is as it was written"
                ),
            }
        }
        Action::Show(arguments) => show(arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn show(arguments: &Show) -> anyhow::Result<()> {
    let entries = audit_entries(&arguments.place.folder()?)?;
    let last = &entries[entries.len().saturating_sub(arguments.lines)..];
    if arguments.json {
        last.iter().for_each(|entry| output::print(&format!("{entry}\n")));
        return Ok(());
    }
    if last.is_empty() {
        eprintln!("nothing has been changed yet");
        return Ok(());
    }
    let mut rows = vec![["TIME", "WHO", "FROM", "ACTION", "RESOURCE", "OUTCOME"].map(str::to_owned).to_vec()];
    rows.extend(last.iter().map(|entry| {
        let text = |name: &str| match &entry[name] {
            // Whatever the file says, the terminal is not to obey it.
            Value::String(text) => crate::logs::escape_control(text).to_string(),
            _ => String::new(),
        };
        let resource = text("resource");
        let resource = if matches!(&*resource, "" | "*") { text("request") } else { resource };
        let time = text("time").split('.').next().unwrap_or_default().to_owned();
        vec![time, text("who"), text("from"), text("action"), resource, text("outcome")]
    }));
    output::print(&output::table(&rows));
    Ok(())
}

//! `handlerd backup` and `handlerd restore`: the state folder as one file.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::options::{Common, NamedPlace, State};
use super::output;
use crate::server;

#[derive(Args)]
pub struct Arguments {
    /// The backup: one file, which holds secrets where the state folder does
    file: PathBuf,
    #[command(flatten)]
    place: NamedPlace,
    #[command(flatten)]
    state: State,
}

impl Arguments {
    fn state_dir(&self) -> anyhow::Result<PathBuf> {
        let (settings, _) = self.place.settle(&Common::from(self.state.clone()))?;
        Ok(settings.state_dir)
    }
}

pub fn backup(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let state_dir = arguments.state_dir()?;
    let kept = server::backup(&state_dir, &arguments.file)?;
    output::print(&format!(
        "{}: {} files, {:.1} MB, of {}\n",
        arguments.file.display(),
        kept.files,
        kept.bytes as f64 / 1e6,
        state_dir.display()
    ));
    Ok(ExitCode::SUCCESS)
}

pub fn restore(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let state_dir = arguments.state_dir()?;
    let files = server::restore(&arguments.file, &state_dir)?;
    output::print(&format!("{}: {files} files, from {}\n", state_dir.display(), arguments.file.display()));
    Ok(ExitCode::SUCCESS)
}

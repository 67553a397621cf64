//! `handlerd backup` and `handlerd restore`: all that is kept, in one file and back.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;

use super::options::{Common, NamedPlace, State};
use crate::backup;
use crate::server::{self, Keeper};

#[derive(Args)]
pub struct Arguments {
    /// The file: to be written, or to be restored. A zip file with a checksum of all of it
    #[arg(value_name = "FILE")]
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

/// While a gateway runs, or without one.
pub fn make(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let state_dir = arguments.state_dir()?;
    let made = backup::make(&state_dir, &arguments.file)?;
    eprintln!(
        "{} holds {} files of {} in {}; events, credentials and private keys are among them: keep it where nobody \
         else reads\nhint: `handlerd restore {}` in another project, or with `--state-dir`, brings them back",
        arguments.file.display(),
        made.files,
        state_dir.display(),
        size(made.bytes),
        arguments.file.display()
    );
    Ok(ExitCode::SUCCESS)
}

pub fn restore(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let state_dir = arguments.state_dir()?;
    // The lock is the first thing that a gateway makes there.
    if state_dir.join("lock").is_file()
        && let Keeper::Gateway { api, .. } = server::keeper(&state_dir)?
    {
        bail!(
            "a gateway is at work in {} ({api})\nhint: stop it and move the folder away, or restore into another with \
             `--state-dir`",
            state_dir.display()
        );
    }
    let restored = backup::restore(&arguments.file, &state_dir)?;
    eprintln!(
        "{} is as it was at {}: {} files\nhint: what was accepted and not yet executed begins with the next start; if \
         the gateway that it comes from still runs, it is executed by both",
        state_dir.display(),
        restored.made,
        restored.files
    );
    Ok(ExitCode::SUCCESS)
}

fn size(bytes: u64) -> String {
    match bytes {
        0..10_000_000 => format!("{} kB", bytes.div_ceil(1000)),
        _ => format!("{} MB", bytes.div_ceil(1_000_000)),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_are_short() {
        assert_eq!([1, 9_999_000, 10_000_000].map(super::size), ["1 kB", "9999 kB", "10 MB"]);
    }
}

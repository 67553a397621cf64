//! `handlerd export`: a SAM template of what is served.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;

use super::options::{Common, Place, Python, TemplateOptions};
use super::output;
use crate::deployment::{Frame, dotenv_names, export};
use crate::function::Function;
use crate::interpreter::{Interpreters, Search};

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    template: TemplateOptions,
    #[command(flatten)]
    python: Python,
    /// File to write; paths in the template start where it stands [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let common = Common {
        template: arguments.template.clone(),
        python: arguments.python.clone(),
        ..Common::default()
    };
    let (settings, _) = arguments.place.settle(&common)?;
    let deployment = super::deployment(&settings)?;
    let search = Search::from_environment(settings.python.clone(), settings.root());
    let interpreters = Interpreters::new(search, Some(&settings.state_dir.join("interpreters.json")));
    let runtime = |function: &Function| match interpreters.choose(None, &function.task_root) {
        Ok(choice) => choice.interpreter.version.runtime(),
        Err(_) => "python3.13".to_owned(),
    };
    let folder = match arguments.output.as_deref().and_then(Path::parent) {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let frame = Frame { folder, runtime: &runtime, secrets: &|function| dotenv_names(&function.task_root) };
    let (text, left_out) = export(&deployment, &frame);
    for what in left_out {
        eprintln!("warning: left out: {what}");
    }
    match &arguments.output {
        None => output::print(&text),
        Some(path) => {
            // Never over somebody's work.
            if path.exists() {
                bail!("{} exists already\nhint: choose another name for `--output`", path.display());
            }
            std::fs::write(path, text).with_context(|| format!("could not write {}", path.display()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

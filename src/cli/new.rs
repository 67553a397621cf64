//! `handlerd new NAME`: a first handler to change.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;

use super::options::{Common, NamedPlace};
use super::output;
use crate::function::FunctionName;

#[derive(Args)]
pub struct Arguments {
    /// Name of the function: letters, digits, `-` and `_`
    name: FunctionName,
    #[command(flatten)]
    place: NamedPlace,
}

/// What the console of AWS offers as well, and a look at the event.
const HANDLER: &str = "\
import json


def lambda_handler(event, context):
    query = event.get('queryStringParameters') or {}
    name = query.get('name', 'Lambda')
    return {
        'statusCode': 200,
        'body': json.dumps(f'Hello from {name}!')
    }
";

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let (settings, in_file) = arguments.place.settle(&Common::default())?;
    let folder = settings.handlers.join(arguments.name.as_str());
    std::fs::create_dir_all(&folder).with_context(|| format!("could not create {}", folder.display()))?;
    let path = folder.join("lambda_function.py");
    // Never over somebody's work, not even in a race.
    let mut file = match std::fs::File::create_new(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            bail!("{} exists already\nhint: choose another name, or edit that file", path.display())
        }
        Err(error) => return Err(error).with_context(|| format!("could not create {}", path.display())),
    };
    file.write_all(HANDLER.as_bytes()).with_context(|| format!("could not write {}", path.display()))?;
    output::print(&format!("{}\n", path.display()));
    let port = in_file.port.unwrap_or(settings.port);
    eprintln!("it answers on http://127.0.0.1:{port}/{} when `handlerd` runs", arguments.name);
    Ok(ExitCode::SUCCESS)
}

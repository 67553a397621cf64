//! `handlerd invoke NAME`: one invocation, without a server. The result goes to stdout, what the
//! function logs to stderr.

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;

use super::options::{Common, NamedPlace};
use super::output::{self, LogStyle};
use crate::invocation::{Asker, Invocation};
use crate::invoker::InvokeError;
use crate::server::{self, House};

#[derive(Args)]
pub struct Arguments {
    /// Name of the function
    name: String,
    /// The event: JSON, a file, or `-` for standard input [default: {}]
    #[arg(long, short, value_name = "JSON|FILE|-")]
    event: Option<String>,
    /// A saved event of the function, as the console keeps them: handlers/NAME/.events/EVENT.json
    #[arg(long, value_name = "EVENT", conflicts_with = "event")]
    test_event: Option<String>,
    /// Show the whole log, from START to REPORT
    #[arg(long)]
    tail: bool,
    #[command(flatten)]
    place: NamedPlace,
    #[command(flatten)]
    common: Common,
}

pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let mut event = read_event(arguments.event.as_deref())?;
    let (settings, _) = arguments.place.settle(&arguments.common)?;
    // With `--tail` the log is shown whole; else line by line, as the server shows it.
    let level = if arguments.tail { "warn,function=off" } else { "info" };
    let flusher = output::start_logging(LogStyle::Text, level);
    let runtime = server::runtime()?;
    let completed = runtime.block_on(async {
        let house = House::build(&settings, None, None)?;
        if let Some(saved) = &arguments.test_event
            // Else it is told below that there is no such function.
            && house.invoker.deployments().current().functions.contains_key(arguments.name.as_str())
        {
            let saved = house.invoker.deployments().test_event(&arguments.name, saved).await?;
            event = saved.get().as_bytes().to_vec();
        }
        let invocation = Invocation {
            request_id: Invocation::new_request_id(),
            trace_id: Invocation::new_trace_id(jiff::Timestamp::now().as_second().max(0) as u64)
                .for_function(),
            function_arn: settings.account.function_arn(&settings.account.region, &arguments.name),
            client_context: None,
            event,
            asker: Asker::Invoke,
        };
        let completed = house.invoker.invoke(&arguments.name, invocation).await;
        house.invoker.finish().await;
        let functions = house.invoker.deployments().current();
        completed.map_err(|error| {
            let names: Vec<&str> = functions.functions.keys().map(|name| name.as_str()).collect();
            match &error {
                InvokeError::NotFound(_) if names.is_empty() => {
                    anyhow::anyhow!(
                        "{error}\nhint: there are none yet; `handlerd new {}` makes it",
                        arguments.name
                    )
                }
                InvokeError::NotFound(_) => anyhow::anyhow!("{error}\nhint: there are: {}", names.join(", ")),
                _ => anyhow::anyhow!("{error}"),
            }
        })
    });
    runtime.shutdown_timeout(server::LAST_WAIT);
    drop(flusher);
    let completed = completed?;
    if arguments.tail {
        eprint!("{}", String::from_utf8_lossy(&completed.log));
    }
    output::print(&format!("{}\n", String::from_utf8_lossy(completed.outcome.payload())));
    Ok(if completed.outcome.failure().is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn read_event(given: Option<&str>) -> anyhow::Result<Vec<u8>> {
    let (text, source) = match given {
        None => return Ok(b"{}".to_vec()),
        Some("-") => {
            let mut text = Vec::new();
            std::io::stdin()
                .read_to_end(&mut text)
                .context("could not read the event from standard input")?;
            (text, "standard input".to_owned())
        }
        Some(path) if Path::new(path).is_file() => {
            (std::fs::read(path).with_context(|| format!("could not read {path}"))?, path.to_owned())
        }
        Some(path) if looks_like_a_path(path) => bail!("there is no file {path} to read the event from"),
        Some(json) => (json.as_bytes().to_vec(), "--event".to_owned()),
    };
    if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&text) {
        bail!(
            "the event in {source} is no JSON: {error}\nhint: --event takes JSON, the path of a file, or `-`"
        );
    }
    Ok(text)
}

/// No JSON text begins with a letter but `true`, `false` and `null`, nor with a dot or a slash.
fn looks_like_a_path(text: &str) -> bool {
    let first = text.bytes().next().unwrap_or_default();
    let begins = first.is_ascii_alphabetic() || matches!(first, b'.' | b'/' | b'~');
    begins && (text.contains('/') || text.ends_with(".json"))
}

//! `handlerd list`: the functions of a folder, working or not.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::options::{Common, Place, TemplateOptions};
use super::output;
use crate::deployment::Deployed;
use crate::function::Attached;
use crate::trigger::Trigger;

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    template: TemplateOptions,
    /// One JSON document instead of a table
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let (settings, _) = arguments.place.settle(&Common::from(arguments.template.clone()))?;
    let deployment = super::deployment(&settings)?;
    if arguments.json {
        let functions: Vec<_> = deployment
            .functions
            .iter()
            .map(|(name, deployed)| match deployed {
                Deployed::Ready(function) => json!({
                    "name": name.as_str(),
                    "state": "Active",
                    "handler": function.configuration.handler,
                    "runtime": function.configuration.runtime,
                    "timeout": function.configuration.timeout.as_secs(),
                    "memorySize": function.configuration.memory_mb,
                    "codeSize": function.code.size,
                    "folder": function.task_root,
                    "triggers": triggers(deployment.attached.get(name).map(|attached| attached.as_ref())),
                }),
                Deployed::Broken { reason } => {
                    json!({"name": name.as_str(), "state": "Failed", "reason": reason})
                }
            })
            .collect();
        output::print(&format!("{}\n", serde_json::to_string_pretty(&json!({"functions": functions}))?));
        return Ok(ExitCode::SUCCESS);
    }
    if deployment.functions.is_empty() {
        match settings.template.as_ref().filter(|_| !settings.serves_handlers) {
            Some(template) => eprintln!("{} declares no functions", template.path.display()),
            None => {
                eprintln!("there are no functions in {} yet", settings.handlers.display());
                eprintln!("hint: `handlerd new hello` makes one");
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows =
        vec![["NAME", "HANDLER", "RUNTIME", "TIMEOUT", "MEMORY", "DESCRIPTION"].map(str::to_owned).to_vec()];
    for (name, deployed) in &deployment.functions {
        rows.push(match deployed {
            Deployed::Ready(function) => {
                let configuration = &function.configuration;
                vec![
                    name.to_string(),
                    configuration.handler.clone(),
                    configuration.runtime.clone().unwrap_or_else(|| "default".to_owned()),
                    format!("{} s", configuration.timeout.as_secs()),
                    format!("{} MB", configuration.memory_mb),
                    configuration.description.clone(),
                ]
            }
            Deployed::Broken { reason } => {
                let reason = reason.lines().next().unwrap_or_default().to_owned();
                vec![name.to_string(), format!("cannot run: {reason}")]
            }
        });
    }
    output::print(&output::table(&rows));
    Ok(ExitCode::SUCCESS)
}

fn triggers(attached: Option<&Attached>) -> Vec<Value> {
    let triggers = attached.map(|attached| attached.triggers.as_slice()).unwrap_or_default();
    let described = |trigger: &Trigger| {
        json!({
            "name": trigger.name,
            "kind": trigger.kind.name(),
            "source": trigger.kind.source(),
            "function": trigger.function,
            "enabled": trigger.enabled,
        })
    };
    triggers.iter().map(described).collect()
}

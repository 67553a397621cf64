//! `handlerd doctor`: the Pythons of this machine, what functions need beside them, and what is wrong.

use std::process::ExitCode;

use clap::Args;

use super::options::{Common, Place, Python, State, TemplateOptions};
use super::output;
use crate::deployment::{Deployed, Deployments};
use crate::interpreter::{self, Interpreters, Search, VirtualEnvironment};
use crate::server;

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    template: TemplateOptions,
    #[command(flatten)]
    state: State,
    #[command(flatten)]
    python: Python,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let common = Common {
        template: arguments.template.clone(),
        state: arguments.state.clone(),
        python: arguments.python.clone(),
        ..Common::default()
    };
    let (settings, _) = arguments.place.settle(&common)?;
    let cache = settings.state_dir.join("interpreters.json");
    let search = Search::from_environment(settings.python.clone(), settings.root());
    let interpreters = Interpreters::discover(search, Some(&cache));
    let environments = virtual_environments(&interpreters, settings.root());
    let report = interpreter::report(&interpreters, &environments);

    let mut text = String::from("Pythons\n");
    let mut rows = Vec::new();
    for row in &report.interpreters {
        rows.push(vec![
            if row.is_default { "*".to_owned() } else { " ".to_owned() },
            row.version.to_string(),
            row.executable.display().to_string(),
            row.libpython.as_ref().map_or("no shared library".to_owned(), |path| path.display().to_string()),
            format!("found by {}", row.found_by),
            row.verdict.to_string(),
        ]);
    }
    text.push_str(&if rows.is_empty() { "  none\n".to_owned() } else { output::table(&rows) });
    text.push_str("\nVirtual environments\n");
    let rows: Vec<Vec<String>> = report
        .environments
        .iter()
        .map(|row| {
            vec![
                if row.is_default { "*".to_owned() } else { " ".to_owned() },
                row.version.to_string(),
                row.path.display().to_string(),
                row.verdict.to_string(),
            ]
        })
        .collect();
    text.push_str(&if rows.is_empty() { "  none\n".to_owned() } else { output::table(&rows) });

    text.push_str("\nFunctions\n");
    let mut rows = Vec::new();
    let deployment = Deployments::read(server::sources(&settings)).current();
    for (name, deployed) in &deployment.functions {
        let Deployed::Ready(function) = deployed else {
            rows.push(vec![
                name.to_string(),
                "-".to_owned(),
                "its configuration is wrong: see `handlerd check`".to_owned(),
            ]);
            continue;
        };
        let runtime = function.configuration.runtime.as_deref();
        rows.push(match interpreters.choose(runtime, &function.task_root) {
            Ok(choice) => {
                let packages = server::packages_told(&settings, function, &choice);
                let notes: Vec<String> = choice.note.iter().cloned().chain(packages).collect();
                let note = notes.join("; ").replace('\n', "; ");
                vec![
                    name.to_string(),
                    choice.interpreter.version.to_string(),
                    choice.python.display().to_string(),
                    note,
                ]
            }
            Err(_) => vec![name.to_string(), "-".to_owned(), "no usable Python".to_owned()],
        });
    }
    text.push_str(&if rows.is_empty() { "  none\n".to_owned() } else { output::table(&rows) });
    let missing = server::unreachable(&deployment, &super::endpoints());
    if !missing.is_empty() {
        text.push_str("\nServices\n");
        for line in missing {
            text.push_str(&format!("  {}\n", line.replace('\n', "\n    ")));
        }
    }
    output::print(&text);
    match report.default {
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(none) => Err(none.into()),
    }
}

/// Where they are looked for: named, active, beside the handlers, in a function.
fn virtual_environments(interpreters: &Interpreters, handlers: &std::path::Path) -> Vec<VirtualEnvironment> {
    let search = interpreters.search();
    let mut folders: Vec<std::path::PathBuf> = search.virtual_env.iter().cloned().collect();
    folders.extend(search.python.iter().filter(|path| path.join("pyvenv.cfg").exists()).cloned());
    folders.extend(handlers.parent().map(|parent| parent.join(".venv")));
    folders.push(handlers.join(".venv"));
    if let Ok(entries) = std::fs::read_dir(handlers) {
        folders.extend(entries.flatten().map(|entry| entry.path().join(".venv")));
    }
    folders.retain(|folder| folder.is_dir());
    folders.sort();
    folders.dedup();
    folders.iter().map(|folder| VirtualEnvironment::open(folder, interpreters)).collect()
}

//! `handlerd check`: everything that can be known without a request. Exit status 1 if something is
//! wrong, so that it can stand in a pipeline.

use std::process::ExitCode;

use clap::Args;

use super::options::{Common, Place};
use super::output::{self, LogStyle};
use super::template_report;
use crate::deployment::{Deployed, Severity};
use crate::server::{self, House};

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    common: Common,
    /// Do not load the handlers, only read their configuration
    #[arg(long)]
    no_load: bool,
}

pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let (settings, _) = arguments.place.settle(&arguments.common)?;
    let flusher = output::start_logging(LogStyle::Text, "warn");
    let runtime = server::runtime()?;
    let result = runtime.block_on(async {
        let house = House::build(&settings, None, None)?;
        let deployment = house.invoker.deployments().current();
        let mut rows = Vec::new();
        let mut wrong = 0;
        for (name, deployed) in &deployment.functions {
            let verdict = match deployed {
                Deployed::Broken { .. } => Err("its configuration is wrong".to_owned()),
                Deployed::Ready(_) if arguments.no_load => Ok(()),
                Deployed::Ready(function) => house.invoker.rehearse(function).await,
            };
            wrong += usize::from(verdict.is_err());
            rows.push(match verdict {
                Ok(()) => vec!["ok".to_owned(), name.to_string()],
                Err(reason) => {
                    let reason = reason.lines().next().unwrap_or_default().to_owned();
                    vec!["FAILED".to_owned(), name.to_string(), reason]
                }
            });
        }
        house.invoker.finish().await;
        let mut problems = String::new();
        if !deployment.findings.is_empty() {
            let report = template_report::text(&deployment.findings, &deployment.problems);
            let summary = template_report::summary(&deployment.findings);
            problems.push_str(&format!("the template has {summary}{report}\n"));
        }
        for problem in &deployment.problems {
            let label = match problem.severity {
                Severity::Error => "error: ",
                Severity::Warning => "warning: ",
                Severity::Note => "note: ",
            };
            // A function that is broken is counted already.
            wrong += usize::from(
                problem.severity == Severity::Error && is_no_function(&deployment.functions, problem),
            );
            problems.push_str(&format!("{label}{problem}\n"));
        }
        for missing in server::unreachable(&deployment, house.aws.endpoints()) {
            problems.push_str(&format!("warning: {missing}\n"));
        }
        anyhow::Ok((output::table(&rows), problems, wrong))
    });
    runtime.shutdown_timeout(server::LAST_WAIT);
    drop(flusher);
    let (table, problems, wrong) = result?;
    eprint!("{problems}");
    output::print(&table);
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn is_no_function(
    functions: &std::collections::BTreeMap<crate::function::FunctionName, Deployed>,
    problem: &crate::deployment::Problem,
) -> bool {
    !problem
        .path
        .components()
        .any(|component| functions.contains_key(&*component.as_os_str().to_string_lossy()))
}

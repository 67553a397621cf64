//! `handlerd routes`: method and path, and what is behind them; and what else invokes functions.

use std::process::ExitCode;

use clap::Args;

use super::options::{Common, Place, TemplateOptions};
use super::{output, urls};
use crate::trigger::Trigger;

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    template: TemplateOptions,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let (settings, _) = arguments.place.settle(&Common::from(arguments.template.clone()))?;
    let deployment = super::deployment(&settings)?;
    let mut rows = vec![["METHOD", "PATH", "API", "FUNCTION", "AUTHORIZER"].map(str::to_owned).to_vec()];
    for api in &deployment.apis {
        rows.extend(api.routes.iter().map(|route| urls::row(api, route)));
    }
    output::print(&output::table(&rows));
    let triggers: Vec<Vec<String>> = deployment.triggers().map(Trigger::row).collect();
    if !triggers.is_empty() {
        let heading = ["TRIGGER", "KIND", "SOURCE", "FUNCTION"].map(str::to_owned).to_vec();
        let rows: Vec<Vec<String>> = [vec![heading], triggers].concat();
        output::print(&format!("\n{}", output::table(&rows)));
    }
    Ok(ExitCode::SUCCESS)
}

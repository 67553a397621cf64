//! `handlerd routes`: method and path, and the function behind it.

use std::process::ExitCode;

use clap::Args;

use super::options::{Common, Place};
use super::output;
use crate::deployment::Deployments;
use crate::gateway;
use crate::server;

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let (settings, _) = arguments.place.settle(&Common::default())?;
    server::check_folder(&settings.handlers)?;
    let deployment = Deployments::read(&settings.handlers).current();
    let mut rows = vec![["METHOD", "PATH", "API", "FUNCTION"].map(str::to_owned).to_vec()];
    for name in deployment.functions.keys() {
        for key in gateway::of_function(name.as_str()) {
            let (method, path) = key.split_once(' ').unwrap_or(("ANY", &key));
            rows.push(vec![
                method.to_owned(),
                path.to_owned(),
                "HTTP API, payload 2.0".to_owned(),
                name.to_string(),
            ]);
        }
    }
    output::print(&output::table(&rows));
    Ok(ExitCode::SUCCESS)
}

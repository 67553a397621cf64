//! `handlerd serve`: the list of what starts is `server::serve`.

use std::net::IpAddr;
use std::process::ExitCode;

use clap::Args;

use super::options::{self, Common, Place};
use super::output::{self, LogStyle};
use crate::config::Settings;
use crate::deployment::{Changes, Deployed, Deployment, Severity};
use crate::server::{self, Addresses};

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    common: Common,
    /// Address to listen on [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS", env = "HANDLERD_HOST", value_parser = address)]
    host: Option<IpAddr>,
    /// Port of the HTTP routes; 0 takes any free one [default: 3000]
    #[arg(long, value_name = "PORT", env = "HANDLERD_PORT")]
    port: Option<u16>,
    /// Port of the Lambda API; 0 takes any free one [default: 3001]
    #[arg(long, value_name = "PORT", env = "HANDLERD_API_PORT")]
    api_port: Option<u16>,
    /// Modules such as boto3 that every execution environment finds imported already, so that it
    /// starts sooner [default: none]
    #[arg(long, value_name = "MODULE,...", value_delimiter = ',', env = "HANDLERD_PRELOAD")]
    preload: Option<Vec<String>>,
    /// Go on with the last version that worked when new code cannot be loaded [default: false]
    #[arg(long, value_name = "BOOL", env = "HANDLERD_KEEP_LAST_GOOD")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_parser = clap::builder::BoolishValueParser::new(), hide_possible_values = true)]
    keep_last_good: Option<bool>,
    /// How log lines look [default: text]
    #[arg(long, value_name = "FORMAT", value_enum, env = "HANDLERD_LOG_FORMAT")]
    log_format: Option<LogStyle>,
    /// Execution environments at once, over all functions [default: 100]
    #[arg(long, value_name = "N", env = "HANDLERD_CONCURRENCY")]
    concurrency: Option<usize>,
    /// Requests that may wait for one function; more are turned away [default: 1000]
    #[arg(long, value_name = "N", env = "HANDLERD_QUEUE")]
    queue: Option<usize>,
    /// How long a request may wait for an environment [default: 10]
    #[arg(long, value_name = "SECONDS", env = "HANDLERD_QUEUE_TIMEOUT")]
    queue_timeout: Option<f64>,
    /// How long an environment without work is kept [default: 300]
    #[arg(long, value_name = "SECONDS", env = "HANDLERD_IDLE_TIMEOUT")]
    idle_timeout: Option<f64>,
    /// How long requests in flight may take when the server stops [default: 30]
    #[arg(long, value_name = "SECONDS", env = "HANDLERD_DRAIN_TIMEOUT")]
    drain_timeout: Option<f64>,
    /// How long an HTTP route waits for its function, 30 on AWS [default: 30]
    #[arg(long, value_name = "SECONDS", env = "HANDLERD_INTEGRATION_TIMEOUT")]
    integration_timeout: Option<f64>,
}

fn address(text: &str) -> Result<IpAddr, String> {
    match text {
        "localhost" => Ok(IpAddr::from([127, 0, 0, 1])),
        _ => text.parse().map_err(|_| "an IP address is needed, such as 127.0.0.1 or ::1".to_owned()),
    }
}

impl Arguments {
    fn settle(&self) -> anyhow::Result<(Settings, LogStyle)> {
        let (mut settings, file) = self.place.settle(&self.common)?;
        settings.host = self.host.or(file.host).unwrap_or(settings.host);
        settings.port = self.port.or(file.port).unwrap_or(settings.port);
        settings.api_port = self.api_port.or(file.api_port).unwrap_or(settings.api_port);
        settings.preload = self.preload.clone().or(file.preload).unwrap_or_default();
        if let Some(name) = settings.preload.iter().find(|name| !is_module_name(name)) {
            anyhow::bail!("`{name}` is no name of a Python module (`--preload`)");
        }
        settings.keep_last_good =
            self.keep_last_good.or(file.keep_last_good).unwrap_or(settings.keep_last_good);
        let limits = &mut settings.limits;
        limits.concurrency = self.concurrency.or(file.concurrency).unwrap_or(limits.concurrency);
        anyhow::ensure!(limits.concurrency > 0, "`--concurrency` must be at least 1");
        limits.queue = self.queue.or(file.queue).unwrap_or(limits.queue);
        anyhow::ensure!(limits.queue > 0, "`--queue` must be at least 1");
        for (given, limit, name) in [
            (self.queue_timeout.or(file.queue_timeout), &mut limits.queue_timeout, "--queue-timeout"),
            (self.idle_timeout.or(file.idle_timeout), &mut limits.idle_timeout, "--idle-timeout"),
            (self.drain_timeout.or(file.drain_timeout), &mut limits.drain, "--drain-timeout"),
            (
                self.integration_timeout.or(file.integration_timeout),
                &mut limits.integration_timeout,
                "--integration-timeout",
            ),
        ] {
            if let Some(value) = given {
                *limit = options::seconds(value, name)?;
            }
        }
        Ok((settings, self.log_format.or(file.log_format).unwrap_or_default()))
    }
}

/// `boto3`, `concurrent.futures`
fn is_module_name(name: &str) -> bool {
    let is_part = |part: &str| {
        part.chars().all(|c| c.is_alphanumeric() || c == '_') && !part.starts_with(|c: char| c.is_numeric())
    };
    name.split('.').all(|part| !part.is_empty() && is_part(part))
}

pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let (settings, style) = arguments.settle()?;
    let _flusher = output::start_logging(style, "info");
    let runtime = super::runtime()?;
    let result = runtime.block_on(server::serve(settings, announce, announce_changes));
    runtime.shutdown_timeout(server::LAST_WAIT);
    result.map(|()| ExitCode::SUCCESS)
}

/// URLs on stdout, one per line, when everything answers.
fn announce(addresses: &Addresses, deployment: &Deployment) {
    let mut lines = vec![
        vec![format!("http://{}", addresses.http), "HTTP routes".to_owned()],
        vec![format!("http://{}", addresses.api), "Lambda API".to_owned()],
    ];
    for (name, deployed) in &deployment.functions {
        if deployed.function().is_some() {
            lines.push(vec![addresses.function_url(name), format!("function {name}")]);
        }
    }
    output::print(&output::table(&lines));
    report_problems(deployment, |_| true);
    if deployment.functions.is_empty() {
        tracing::warn!("there are no functions yet\nhint: `handlerd new hello` makes one");
    }
}

fn announce_changes(addresses: &Addresses, deployment: &Deployment, changes: &Changes) {
    for name in &changes.added {
        if deployment.functions.get(name).and_then(Deployed::function).is_some() {
            output::print(&format!("{}  function {name}\n", addresses.function_url(name)));
            tracing::info!("deployed {name}: {}", addresses.function_url(name));
        }
    }
    for name in &changes.changed {
        match deployment.functions.get(name) {
            Some(Deployed::Ready(function)) => tracing::info!("deployed {name} {}", function.short_hash()),
            Some(Deployed::Broken { .. }) => tracing::error!("{name} cannot run as it is configured"),
            None => {}
        }
    }
    for name in &changes.removed {
        tracing::info!("removed {name}");
    }
    let touched = |path: &std::path::Path| {
        changes
            .added
            .iter()
            .chain(&changes.changed)
            .any(|name| path.components().any(|component| component.as_os_str() == name.as_str()))
    };
    report_problems(deployment, touched);
}

fn report_problems(deployment: &Deployment, concerns: impl Fn(&std::path::Path) -> bool) {
    for problem in deployment.problems.iter().filter(|problem| concerns(&problem.path)) {
        match problem.severity {
            Severity::Error => tracing::error!("{problem}"),
            Severity::Warning => tracing::warn!("{problem}"),
            Severity::Note => tracing::info!("{problem}"),
        }
    }
}

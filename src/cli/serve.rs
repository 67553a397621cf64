//! `handlerd serve`: the list of what starts is `server::serve`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::options::{self, Common, Place, SnapStartChoice};
use super::output::{self, LogStyle, Screen};
use super::{template_report, urls};
use crate::config::{Access, Doors, Settings, Tls};
use crate::deployment::{Changes, Deployed, Deployment, Finding, Problem, Severity};
use crate::server::{self, Addresses};
use crate::trigger::Trigger;

/// More would only wait for each other.
const MOST_THREADS: usize = 64;

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
    /// Port of the console and the Lambda API; 0 takes any free one [default: 3001]
    #[arg(long, value_name = "PORT", env = "HANDLERD_API_PORT")]
    api_port: Option<u16>,
    /// HTTPS in place of HTTP, with a certificate of its own making [default: false]
    #[arg(long, value_name = "BOOL", env = "HANDLERD_TLS")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_parser = clap::builder::BoolishValueParser::new(), hide_possible_values = true)]
    tls: Option<bool>,
    /// HTTPS with the certificate in this PEM file [default: none]
    #[arg(long, value_name = "FILE", env = "HANDLERD_TLS_CERT")]
    tls_cert: Option<PathBuf>,
    /// The key of that certificate, a PEM file [default: none]
    #[arg(long, value_name = "FILE", env = "HANDLERD_TLS_KEY")]
    tls_key: Option<PathBuf>,
    /// Modules such as boto3 that every execution environment finds imported already, so that it
    /// starts sooner [default: none]
    #[arg(long, value_name = "MODULE,...", value_delimiter = ',', env = "HANDLERD_PRELOAD")]
    preload: Option<Vec<String>>,
    /// Which versions of functions with SnapStart start from a snapshot: the published ones as on AWS,
    /// $LATEST too, or none [default: published]
    #[arg(long, value_name = "VERSIONS", value_enum, env = "HANDLERD_SNAP_START")]
    snap_start: Option<SnapStartChoice>,
    /// Install what a function's requirements.txt asks for, with uv or pip [default: true]
    #[arg(long, value_name = "BOOL", env = "HANDLERD_INSTALL_PACKAGES")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_parser = clap::builder::BoolishValueParser::new(), hide_possible_values = true)]
    install_packages: Option<bool>,
    /// Go on with the last version that worked when new code cannot be loaded [default: false]
    #[arg(long, value_name = "BOOL", env = "HANDLERD_KEEP_LAST_GOOD")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_parser = clap::builder::BoolishValueParser::new(), hide_possible_values = true)]
    keep_last_good: Option<bool>,
    /// Claims of a user, as JSON: routes that ask for an authorizer let everybody pass as that
    /// user; for development only [default: none]
    #[arg(long, value_name = "JSON|FILE", env = "HANDLERD_ACT_AS")]
    act_as: Option<String>,
    /// Keys of a JWT issuer that does not exist here, or cannot be reached [default: those that the
    /// issuer publishes]
    #[arg(long, value_name = "ISSUER=URL|FILE", num_args = 1.., env = "HANDLERD_JWKS")]
    jwks: Option<Vec<String>>,
    /// Access keys and tokens in the form of ~/.aws/credentials, as AWS_IAM accepts them, and the control
    /// plane where it asks for them [default: those in the environment of handlerd]
    #[arg(long, value_name = "FILE", env = "HANDLERD_CREDENTIALS")]
    credentials: Option<PathBuf>,
    /// The control plane asks for credentials on loopback too, as it always does elsewhere [default: false]
    #[arg(long, value_name = "BOOL", env = "HANDLERD_REQUIRE_CREDENTIALS")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_parser = clap::builder::BoolishValueParser::new(), hide_possible_values = true)]
    require_credentials: Option<bool>,
    /// Another name under which the control plane is reached [default: localhost and the address
    /// that it listens on]
    #[arg(long, value_name = "NAME", num_args = 1.., env = "HANDLERD_ALLOWED_HOST")]
    allowed_host: Option<Vec<String>>,
    /// A proxy in front ends HTTPS; the control plane then speaks to no other machine [default: false]
    #[arg(long, value_name = "BOOL", env = "HANDLERD_BEHIND_PROXY")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_parser = clap::builder::BoolishValueParser::new(), hide_possible_values = true)]
    behind_proxy: Option<bool>,
    /// Address or network of a proxy whose X-Forwarded headers are believed [default: none]
    #[arg(long, value_name = "CIDR", num_args = 1.., env = "HANDLERD_TRUSTED_PROXY")]
    trusted_proxy: Option<Vec<String>>,
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
    /// What the delays and ages of asynchronous invocations are multiplied by, so that tests need not
    /// wait for minutes
    #[arg(
        long,
        value_name = "FACTOR",
        env = "HANDLERD_ASYNC_TIME_SCALE",
        hide = true,
        default_value_t = 1.0
    )]
    async_time_scale: f64,
    /// Connections that clients may have open on each port; more are turned away [default: 10000]
    #[arg(long, value_name = "N", env = "HANDLERD_MAX_CONNECTIONS")]
    max_connections: Option<usize>,
    /// Of these, from one address [default: 256, and no limit for this machine itself]
    #[arg(long, value_name = "N", env = "HANDLERD_MAX_CONNECTIONS_PER_IP")]
    max_connections_per_ip: Option<usize>,
    /// Threads of the gateway, beside those of the handlers [default: one for every four cores]
    #[arg(long, value_name = "N", env = "HANDLERD_THREADS")]
    threads: Option<usize>,
    /// What the deadlines of connections are multiplied by, so that tests need not wait for minutes
    #[arg(long, value_name = "FACTOR", env = "HANDLERD_DEADLINE_SCALE", hide = true, default_value_t = 1.0)]
    deadline_scale: f64,
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
        settings.tls = tls(
            self.tls.or(file.tls),
            self.tls_cert.clone().or(file.tls_cert),
            self.tls_key.clone().or(file.tls_key),
        )?;
        settings.preload = self.preload.clone().or(file.preload).unwrap_or_default();
        if let Some(name) = settings.preload.iter().find(|name| !is_module_name(name)) {
            anyhow::bail!("`{name}` is no name of a Python module (`--preload`)");
        }
        settings.snap_start = self.snap_start.or(file.snap_start).unwrap_or_default().into();
        settings.installs_packages =
            self.install_packages.or(file.install_packages).unwrap_or(settings.installs_packages);
        settings.keep_last_good =
            self.keep_last_good.or(file.keep_last_good).unwrap_or(settings.keep_last_good);
        settings.access = Access {
            act_as: self.act_as.clone().or(file.act_as).map(|given| act_as(&given)).transpose()?,
            jwks: key_sets(self.jwks.clone().or(file.jwks).unwrap_or_default())?,
            credentials: self.credentials.clone().or(file.credentials),
        };
        if let Some(missing) = settings.access.credentials.as_ref().filter(|path| !path.is_file()) {
            anyhow::bail!("there is no file {} (`--credentials`)", missing.display());
        }
        let proxies = self.trusted_proxy.clone().or(file.trusted_proxy).unwrap_or_default();
        let proxies = proxies.iter().map(|proxy| proxy.parse());
        settings.doors = Doors {
            require_credentials: self.require_credentials.or(file.require_credentials).unwrap_or(false),
            allowed_hosts: self.allowed_host.clone().or(file.allowed_host).unwrap_or_default(),
            behind_proxy: self.behind_proxy.or(file.behind_proxy).unwrap_or(false),
            trusted_proxies: proxies
                .collect::<Result<_, String>>()
                .map_err(|error| anyhow::anyhow!("{error} (`--trusted-proxy`)"))?,
        };
        if let Some(wrong) = settings.doors.allowed_hosts.iter().find(|host| !is_host(host)) {
            anyhow::bail!(
                "`{wrong}` is no host: it should look like console.example.com or 192.0.2.7:8443 (`--allowed-host`)"
            );
        }
        settings.threads = self.threads.or(file.threads).unwrap_or_else(server::usual_threads);
        anyhow::ensure!(
            (1..=MOST_THREADS).contains(&settings.threads),
            "`--threads` must be between 1 and {MOST_THREADS}"
        );
        let limits = &mut settings.limits;
        limits.concurrency = self.concurrency.or(file.concurrency).unwrap_or(limits.concurrency);
        anyhow::ensure!(limits.concurrency > 0, "`--concurrency` must be at least 1");
        limits.queue = self.queue.or(file.queue).unwrap_or(limits.queue);
        anyhow::ensure!(limits.queue > 0, "`--queue` must be at least 1");
        anyhow::ensure!(
            self.async_time_scale > 0.0 && self.async_time_scale <= 1.0,
            "`--async-time-scale` must be between 0 and 1"
        );
        limits.asynchronous_time_scale = self.async_time_scale;
        anyhow::ensure!(
            self.deadline_scale > 0.0 && self.deadline_scale <= 1.0,
            "`--deadline-scale` must be between 0 and 1"
        );
        let connections = &mut settings.connections;
        *connections = connections.scaled(self.deadline_scale);
        connections.most = self.max_connections.or(file.max_connections).unwrap_or(connections.most);
        connections.most_per_address = self.max_connections_per_ip.or(file.max_connections_per_ip);
        anyhow::ensure!(connections.most > 0, "`--max-connections` must be at least 1");
        anyhow::ensure!(
            connections.most_per_address != Some(0),
            "`--max-connections-per-ip` must be at least 1"
        );
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

/// A JSON object, or the file that holds one.
fn act_as(given: &str) -> anyhow::Result<serde_json::Map<String, serde_json::Value>> {
    let text = match given.trim_start().starts_with('{') {
        true => given.to_owned(),
        false => std::fs::read_to_string(given)
            .map_err(|error| anyhow::anyhow!("could not read {given}: {error} (`--act-as`)"))?,
    };
    serde_json::from_str(&text).map_err(|error| {
        anyhow::anyhow!(
            "`--act-as` needs a JSON object of claims: {error}\nhint: for example \
             `--act-as '{{\"sub\": \"kim\", \"scope\": \"read\"}}'`"
        )
    })
}

fn key_sets(given: Vec<String>) -> anyhow::Result<Vec<(String, String)>> {
    // An issuer has no `=` in it; a key set's URL may.
    let split = |text: &str| text.split_once('=').map(|(a, b)| (a.to_owned(), b.to_owned()));
    let settled = |text: String| {
        split(&text)
            .filter(|(issuer, place)| !issuer.is_empty() && !place.is_empty())
            .ok_or_else(|| anyhow::anyhow!("`{text}` is not ISSUER=URL or ISSUER=FILE (`--jwks`)"))
    };
    given.into_iter().map(settled).collect()
}

/// Files ask for HTTPS by being named; `--tls=false` is for those that stand in `handlerd.toml`.
fn tls(wanted: Option<bool>, cert: Option<PathBuf>, key: Option<PathBuf>) -> anyhow::Result<Option<Tls>> {
    match (wanted, cert, key) {
        (Some(false), ..) | (None, None, None) => Ok(None),
        (_, Some(certificate), Some(key)) => Ok(Some(Tls::Files { certificate, key })),
        (Some(true), None, None) => Ok(Some(Tls::SelfSigned)),
        (_, Some(_), None) => anyhow::bail!("`--tls-cert` needs `--tls-key` beside it"),
        (_, None, Some(_)) => anyhow::bail!("`--tls-key` needs `--tls-cert` beside it"),
    }
}

/// A name or an address, perhaps with a port.
fn is_host(text: &str) -> bool {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (text, None),
    };
    let is_address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_address = is_address.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
    !name.is_empty() && (is_address || is_name) && port.is_none_or(|port| port.parse::<u16>().is_ok())
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
    let flusher = output::start_logging(style, "info");
    let runtime = server::runtime()?;
    if server::is_rehearsal() {
        runtime.block_on(server::rehearse(settings))?;
        server::rehearsed();
        return Ok(ExitCode::SUCCESS);
    }
    let (screen, printing) = output::start_printing();
    let announced = |addresses: &Addresses, deployment: &Deployment| announce(&screen, addresses, deployment);
    let changed = {
        let screen = screen.clone();
        move |addresses: &Addresses, deployment: &Deployment, changes: &Changes| {
            announce_changes(&screen, addresses, deployment, changes);
        }
    };
    let result = runtime.block_on(server::serve(settings, announced, changed));
    runtime.shutdown_timeout(server::LAST_WAIT);
    let Some(successor) = result? else { return Ok(ExitCode::SUCCESS) };
    drop((flusher, printing));
    Err(successor.take_over()).context("the new program could not take over, and this one has ended")
}

/// URLs on stdout, one per line, when everything answers.
fn announce(screen: &Screen, addresses: &Addresses, deployment: &Deployment) {
    let mut lines = vec![
        vec![addresses.routes_url(), "HTTP routes".to_owned()],
        vec![format!("{}://{}", addresses.api_scheme, addresses.api), "console and Lambda API".to_owned()],
    ];
    lines.extend(urls::lines(addresses, deployment));
    screen.print(&output::table(&lines));
    report_triggers("triggers:", deployment.triggers());
    report_template(
        &format!("the template has {}", template_report::summary(&deployment.findings)),
        &deployment.findings,
        deployment,
    );
    report_problems(&deployment.problems);
    let has_template = deployment.template_failed || !deployment.findings.is_empty();
    if deployment.functions.is_empty() && !has_template {
        tracing::warn!("there are no functions yet\nhint: `handlerd new hello` makes one");
    }
}

fn announce_changes(screen: &Screen, addresses: &Addresses, deployment: &Deployment, changes: &Changes) {
    let all = if changes.added.is_empty() { Vec::new() } else { urls::lines(addresses, deployment) };
    for name in &changes.added {
        if deployment.functions.get(name).and_then(Deployed::function).is_some() {
            let function = format!("function {name}");
            let own = |line: &&Vec<String>| line[1].split(", ").any(|part| part == function);
            let lines: Vec<Vec<String>> = all.iter().filter(own).cloned().collect();
            screen.print(&output::table(&lines));
            let urls: Vec<&str> = lines.iter().map(|line| line[0].as_str()).collect();
            tracing::info!("deployed {name}: {}", urls.join(" "));
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
    report_triggers("new or changed triggers:", changes.triggers.iter());
    let touched = |path: &std::path::Path| {
        changes
            .added
            .iter()
            .chain(&changes.changed)
            .any(|name| path.components().any(|component| component.as_os_str() == name.as_str()))
    };
    if changes.template {
        tracing::info!("deployed the template anew: `handlerd routes` lists what is served");
        report_template("new or changed in the template, by line:", &changes.findings, deployment);
    }
    let is_told = |problem: &&Problem| touched(&problem.path) || changes.problems.contains(problem);
    report_problems(&deployment.problems.iter().filter(is_told).cloned().collect::<Vec<_>>());
}

/// What invokes functions and is no route.
fn report_triggers<'a>(title: &str, triggers: impl Iterator<Item = &'a Trigger>) {
    let rows: Vec<Vec<String>> = triggers.map(Trigger::row).collect();
    if !rows.is_empty() {
        tracing::info!("{title}\n{}", output::table(&rows).trim_end());
    }
}

/// What became of the template's resources.
fn report_template(title: &str, findings: &[Finding], deployment: &Deployment) {
    if !findings.is_empty() {
        let report = template_report::text(findings, &deployment.problems);
        tracing::info!("{title}{report}");
    }
}

fn report_problems(problems: &[Problem]) {
    for problem in problems {
        match problem.severity {
            Severity::Error => tracing::error!("{problem}"),
            Severity::Warning => tracing::warn!("{problem}"),
            Severity::Note => tracing::info!("{problem}"),
        }
    }
}

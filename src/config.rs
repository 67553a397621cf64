//! The settled settings: what flags, environment and file came to. How they are said is `cli`'s.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder whose subfolders are functions.
    pub handlers: PathBuf,
    /// Not beside a template, unless it was asked for.
    pub serves_handlers: bool,
    /// The folder of the project, where what it keeps begins: state, buckets, databases of destinations.
    pub project: PathBuf,
    pub state_dir: PathBuf,
    /// The folder whose subfolders stand for S3 buckets.
    pub buckets: PathBuf,
    pub host: IpAddr,
    /// HTTP routes.
    pub port: u16,
    /// The Lambda API.
    pub api_port: u16,
    pub account: Account,
    /// `--python`: a path, a virtual environment or a version.
    pub python: Option<PathBuf>,
    /// Modules that every environment finds imported already.
    pub preload: Vec<String>,
    /// What a `requirements.txt` asks for is installed.
    pub installs_packages: bool,
    /// Serve the last version that loaded when a new one does not.
    pub keep_last_good: bool,
    /// A SAM or CloudFormation template to serve.
    pub template: Option<Template>,
    pub access: Access,
    pub tls: Option<Tls>,
    pub isolation: Isolation,
    pub limits: Limits,
}

impl Settings {
    /// The folder of the project: where virtual environments and the like are looked for.
    pub fn root(&self) -> &Path {
        match &self.template {
            Some(template) if !self.serves_handlers => match template.path.parent() {
                Some(folder) if !folder.as_os_str().is_empty() => folder,
                _ => Path::new("."),
            },
            _ => &self.handlers,
        }
    }
}

/// What keeps handlers to themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Isolation {
    /// `--isolation 0`: nothing beyond what every process gets.
    pub off: bool,
    /// The tier without which nothing is run.
    pub required: u8,
    /// What handlers may write to, beside /tmp and the buckets.
    pub writable: Vec<PathBuf>,
}

/// A template, and what it is read with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pub path: PathBuf,
    /// `--parameter-overrides`, in the order given; a later one counts.
    pub parameters: Vec<(String, String)>,
    /// `--env-vars`: variables by function, as JSON.
    pub env_vars: Option<PathBuf>,
    /// The section of `samconfig.toml`.
    pub config_env: String,
}

/// Who may pass the authorizers of routes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Access {
    /// Claims that take the place of every authorizer's decision.
    pub act_as: Option<serde_json::Map<String, serde_json::Value>>,
    /// Issuer -> key set, a URL or a file, for issuers that do not exist here.
    pub jwks: Vec<(String, String)>,
    /// Access key ids, secrets and whose they are, for AWS_IAM: in the form of `~/.aws/credentials`.
    pub credentials: Option<PathBuf>,
}

/// HTTPS on the port of the HTTP routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// A certificate of its own making, kept in the state folder.
    SelfSigned,
    Files {
        certificate: PathBuf,
        key: PathBuf,
    },
}

/// Whose functions these appear to be.
#[derive(Debug, Clone)]
pub struct Account {
    pub id: String,
    pub region: String,
}

impl Account {
    pub fn function_arn(&self, region: &str, name: &str) -> String {
        format!("arn:aws:lambda:{region}:{}:function:{name}", self.id)
    }
}

/// Bounds on execution environments.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Environments at once, over all functions.
    pub concurrency: usize,
    /// Requests that may wait for an environment of one function.
    pub queue: usize,
    /// How long they may wait.
    pub queue_timeout: Duration,
    /// How long an environment stays without work.
    pub idle_timeout: Duration,
    /// The init phase; 10 seconds on AWS.
    pub init_timeout: Duration,
    /// How long an integration waits for the function; 30 seconds on AWS.
    pub integration_timeout: Duration,
    /// How long requests in flight may take when the gateway stops.
    pub drain: Duration,
    /// What the delays and ages of asynchronous invocations are multiplied by: 1, but for tests, which
    /// do not wait for minutes.
    pub asynchronous_time_scale: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            concurrency: 100,
            queue: 1000,
            queue_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(300),
            init_timeout: Duration::from_secs(10),
            integration_timeout: Duration::from_secs(30),
            drain: Duration::from_secs(30),
            asynchronous_time_scale: 1.0,
        }
    }
}

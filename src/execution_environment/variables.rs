//! The environment variables of a function: Lambda's own, then the user's.

use std::path::Path;

use crate::config::Account;
use crate::function::{Function, LogFormat};

/// Handed on from the gateway's own environment when set there: credentials and endpoints, so that
/// boto3 in a handler reaches what the user's shell reaches.
const HANDED_ON: [&str; 8] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    // The certificates of an endpoint that speaks HTTPS, and whether endpoints count at all.
    "AWS_CA_BUNDLE",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
];
const HANDED_ON_PREFIX: &str = "AWS_ENDPOINT_URL";

/// What this gateway serves itself, so that `boto3.client("lambda")` finds the functions beside it.
/// Whoever sets one of these, or the endpoint of all services, has another in mind; empty it is AWS.
const OWN_SERVICES: [&str; 2] = ["AWS_ENDPOINT_URL_LAMBDA", "AWS_ENDPOINT_URL_EVENTBRIDGE"];

/// What Lambda does not let a function's configuration set.
pub const RESERVED: [&str; 12] = [
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "LAMBDA_TASK_ROOT",
    "LAMBDA_RUNTIME_DIR",
    "AWS_LAMBDA_RUNTIME_API",
];
pub const RESERVED_PREFIX: &str = "AWS_LAMBDA_";

/// Why, and how, an environment is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    OnDemand,
    /// Ahead of demand, to be kept.
    Provisioned,
    /// A template, or from one.
    FromSnapshot,
}

impl Start {
    /// `AWS_LAMBDA_INITIALIZATION_TYPE`
    pub fn name(self) -> &'static str {
        match self {
            Self::OnDemand => "on-demand",
            Self::Provisioned => "provisioned-concurrency",
            Self::FromSnapshot => "snap-start",
        }
    }
}

pub struct Surroundings<'a> {
    pub account: &'a Account,
    /// `python3.12`
    pub runtime: &'a str,
    pub log_stream: &'a str,
    pub temporary_folder: &'a str,
    pub path: &'a str,
    /// Where the Lambda API and the event bus of this gateway are served.
    pub control_plane: Option<&'a str>,
    pub start: Start,
    /// The folder whose subfolders stand for S3 buckets; functions learn of it once it is there.
    pub buckets: &'a Path,
    /// Of the gateway process.
    pub inherited: &'a [(String, String)],
}

/// The complete environment, in the order in which it is set: later entries win.
pub fn complete(function: &Function, surroundings: &Surroundings<'_>) -> Vec<(String, String)> {
    let task_root = function.task_root.display().to_string();
    let configuration = &function.configuration;
    let mut variables: Vec<(String, String)> = Vec::with_capacity(40);
    let mut set = |name: &str, value: &str| variables.push((name.to_owned(), value.to_owned()));

    // The user may change these.
    set("LANG", "en_US.UTF-8");
    set("LC_CTYPE", "C.UTF-8");
    set("TZ", ":UTC");
    set("PATH", surroundings.path);
    set("LD_LIBRARY_PATH", &format!("{task_root}:{task_root}/lib"));
    set("PWD", &task_root);
    set("SHLVL", "0");
    set("TMPDIR", surroundings.temporary_folder);
    set("AWS_XRAY_CONTEXT_MISSING", "LOG_ERROR");
    set("AWS_XRAY_DAEMON_ADDRESS", "169.254.100.1:2000");
    set("_AWS_XRAY_DAEMON_ADDRESS", "169.254.100.1");
    set("_AWS_XRAY_DAEMON_PORT", "2000");
    if surroundings.buckets.is_dir() {
        set("HANDLERD_BUCKETS", &surroundings.buckets.display().to_string());
    }
    let value = |name: &str| surroundings.inherited.iter().find(|(given, _)| given == name);
    let given = |name: &str| value(name).is_some_and(|(_, value)| !value.is_empty());
    if given("AWS_PROFILE") {
        // Functions have no HOME, below which the SDKs would look for it.
        for (name, file) in [("AWS_SHARED_CREDENTIALS_FILE", "credentials"), ("AWS_CONFIG_FILE", "config")] {
            if let Some((_, home)) = value("HOME") {
                set(name, &format!("{home}/.aws/{file}"));
            }
        }
    } else if !given("AWS_ACCESS_KEY_ID") {
        set("AWS_ACCESS_KEY_ID", "handlerd");
        set("AWS_SECRET_ACCESS_KEY", "handlerd");
        set("AWS_SESSION_TOKEN", "handlerd");
    }
    for (name, value) in surroundings.inherited {
        let is_handed_on = HANDED_ON.contains(&name.as_str()) || name.starts_with(HANDED_ON_PREFIX);
        if is_handed_on || crate::defences::off("clean-environment") {
            // An empty one is none to some SDKs, and a wrong one to others.
            if !value.is_empty() {
                set(name, value);
            }
        }
    }
    if let Some(control_plane) = surroundings.control_plane {
        for name in OWN_SERVICES {
            let others = [HANDED_ON_PREFIX, name];
            let configured =
                || configuration.environment.iter().any(|(name, _)| others.contains(&name.as_str()));
            let inherited = || surroundings.inherited.iter().any(|(name, _)| others.contains(&name.as_str()));
            if !configured() && !inherited() {
                set(name, control_plane);
            }
        }
    }
    for (name, value) in &configuration.environment {
        set(name, value);
    }

    // The user may not change these; deployment has refused them already.
    set("AWS_REGION", &surroundings.account.region);
    set("AWS_DEFAULT_REGION", &surroundings.account.region);
    set("AWS_EXECUTION_ENV", &format!("AWS_Lambda_{}", surroundings.runtime));
    set("AWS_LAMBDA_FUNCTION_NAME", function.name.as_str());
    set("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &configuration.memory_mb.to_string());
    set("AWS_LAMBDA_FUNCTION_VERSION", &function.version.to_string());
    set("AWS_LAMBDA_INITIALIZATION_TYPE", surroundings.start.name());
    // A snapshot is of no one log stream: AWS leaves these out of it.
    if surroundings.start != Start::FromSnapshot {
        set("AWS_LAMBDA_LOG_GROUP_NAME", &function.log_group());
        set("AWS_LAMBDA_LOG_STREAM_NAME", surroundings.log_stream);
    }
    if configuration.logging.format == LogFormat::Json {
        set("AWS_LAMBDA_LOG_FORMAT", "JSON");
        set("AWS_LAMBDA_LOG_LEVEL", configuration.logging.application_level.as_deref().unwrap_or("INFO"));
    }
    set("_HANDLER", &configuration.handler);
    set("LAMBDA_TASK_ROOT", &task_root);
    set("LAMBDA_RUNTIME_DIR", "/var/runtime");
    variables
}

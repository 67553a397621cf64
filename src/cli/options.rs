//! Options that several commands share, and how flag, environment, file and default come together:
//! in this order, the first that says something counts.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use serde::Deserialize;

use crate::config::{Account, Limits, Settings};

/// Where the functions are.
#[derive(Args, Clone, Default)]
pub struct Place {
    /// Folder whose subfolders are the functions [default: handlers]
    #[arg(value_name = "FOLDER", env = "HANDLERD_HANDLERS")]
    pub folder: Option<PathBuf>,
}

/// The same, for commands whose first argument is something else.
#[derive(Args, Clone, Default)]
pub struct NamedPlace {
    /// Folder whose subfolders are the functions [default: handlers]
    #[arg(long = "handlers", value_name = "FOLDER", env = "HANDLERD_HANDLERS")]
    pub folder: Option<PathBuf>,
}

/// For commands that read or write what is kept between runs.
#[derive(Args, Clone, Default)]
pub struct State {
    /// Folder for logs and other state [default: .handlerd beside the handlers folder]
    #[arg(long, value_name = "FOLDER", env = "HANDLERD_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
}

/// For commands that look for a Python.
#[derive(Args, Clone, Default)]
pub struct Python {
    /// Python to use: a version such as 3.12, an executable, or a virtual environment
    /// [default: that of the nearest virtual environment, else python3]
    #[arg(long, value_name = "PYTHON", env = "HANDLERD_PYTHON")]
    pub python: Option<PathBuf>,
}

/// For commands that run functions.
#[derive(Args, Clone, Default)]
pub struct Common {
    #[command(flatten)]
    pub state: State,
    #[command(flatten)]
    pub python: Python,
    /// Region in ARNs and AWS_REGION [default: us-east-1]
    #[arg(long, value_name = "REGION", env = "HANDLERD_REGION")]
    pub region: Option<String>,
    /// Account in ARNs [default: 123456789012]
    #[arg(long, value_name = "ID", env = "HANDLERD_ACCOUNT_ID")]
    pub account_id: Option<String>,
}

impl From<State> for Common {
    fn from(state: State) -> Self {
        Self { state, ..Self::default() }
    }
}

/// `handlerd.toml`: the same names as the flags.
#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct File {
    pub handlers: Option<PathBuf>,
    pub state_dir: Option<PathBuf>,
    pub python: Option<PathBuf>,
    pub region: Option<String>,
    pub account_id: Option<String>,
    pub host: Option<IpAddr>,
    pub port: Option<u16>,
    pub api_port: Option<u16>,
    pub preload: Option<Vec<String>>,
    pub keep_last_good: Option<bool>,
    pub log_format: Option<super::output::LogStyle>,
    pub concurrency: Option<usize>,
    pub queue: Option<usize>,
    pub queue_timeout: Option<f64>,
    pub idle_timeout: Option<f64>,
    pub drain_timeout: Option<f64>,
    pub integration_timeout: Option<f64>,
}

const FILE_NAME: &str = "handlerd.toml";

impl Place {
    pub fn settle(&self, common: &Common) -> anyhow::Result<(Settings, File)> {
        settle(self.folder.as_deref(), common)
    }
}

impl NamedPlace {
    pub fn settle(&self, common: &Common) -> anyhow::Result<(Settings, File)> {
        settle(self.folder.as_deref(), common)
    }
}

fn settle(folder: Option<&Path>, common: &Common) -> anyhow::Result<(Settings, File)> {
    let beside = folder.map_or(Path::new("."), parent);
    let mut file = read_file(&beside.join(FILE_NAME))?;
    // Paths in the file are meant from where the file is.
    for path in [&mut file.handlers, &mut file.state_dir].into_iter().flatten() {
        *path = beside.join(&*path);
    }
    // A Python may also be a version or a name.
    if let Some(python) = file.python.as_mut().filter(|python| beside.join(python).exists()) {
        *python = beside.join(&*python);
    }
    let handlers = folder.map(Path::to_owned).or(file.handlers.take()).unwrap_or_else(|| "handlers".into());
    let state_dir = common.state.state_dir.clone().or(file.state_dir.take());
    let region = common.region.clone().or(file.region.take()).unwrap_or_else(|| "us-east-1".to_owned());
    let account =
        common.account_id.clone().or(file.account_id.take()).unwrap_or_else(|| "123456789012".to_owned());
    if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
        bail!("`{account}` is no account id: it must be twelve digits, such as 123456789012");
    }
    if region.is_empty() || !region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        bail!("`{region}` is no region: it should look like us-east-1");
    }
    let settings = Settings {
        state_dir: state_dir.unwrap_or_else(|| parent(&handlers).join(".handlerd")),
        handlers,
        host: IpAddr::from([127, 0, 0, 1]),
        port: 3000,
        api_port: 3001,
        account: Account { id: account, region },
        python: common.python.python.clone().or(file.python.take()),
        preload: Vec::new(),
        keep_last_good: false,
        limits: Limits::default(),
    };
    Ok((settings, file))
}

/// The folder that a folder is in, also for a bare name.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn read_file(path: &Path) -> anyhow::Result<File> {
    match std::fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            anyhow::anyhow!(
                "{}:{line}: {}\nhint: the names are those of the options in `handlerd serve --help`, without `--`",
                path.display(),
                error.message().lines().next().unwrap_or_default()
            )
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(File::default()),
        Err(error) => Err(error).with_context(|| format!("could not read {}", path.display())),
    }
}

pub fn seconds(value: f64, name: &str) -> anyhow::Result<Duration> {
    match Duration::try_from_secs_f64(value) {
        Ok(duration) if duration <= Duration::from_secs(86_400) => Ok(duration),
        _ => bail!("`{value}` is no number of seconds for `{name}`"),
    }
}

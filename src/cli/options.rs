//! Options that several commands share, and how flag, environment, file and default come together:
//! in this order, the first that says something counts.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use serde::Deserialize;

use crate::config::{Access, Account, Doors, Isolation, Limits, Settings, SnapStart, Template};

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

/// What is read beside, or in place of, the handlers folder.
#[derive(Args, Clone, Default)]
pub struct TemplateOptions {
    /// SAM or CloudFormation template to serve [default: template.yaml, if it is there and no
    /// FOLDER is named]
    #[arg(long, short, value_name = "FILE", env = "HANDLERD_TEMPLATE")]
    pub template: Option<PathBuf>,
    /// Values for the template's parameters, also in SAM's forms [default: those of samconfig.toml]
    #[arg(long, value_name = "KEY=VALUE", num_args = 1.., env = "HANDLERD_PARAMETER_OVERRIDES")]
    pub parameter_overrides: Option<Vec<String>>,
    /// Environment variables by function, a file in SAM's format [default: none]
    #[arg(long, short = 'n', value_name = "FILE", env = "HANDLERD_ENV_VARS")]
    pub env_vars: Option<PathBuf>,
    /// Section of samconfig.toml to read [default: default]
    #[arg(long, value_name = "NAME", env = "HANDLERD_CONFIG_ENV")]
    pub config_env: Option<String>,
}

/// For commands that run functions.
#[derive(Args, Clone, Default)]
pub struct Common {
    #[command(flatten)]
    pub template: TemplateOptions,
    #[command(flatten)]
    pub state: State,
    #[command(flatten)]
    pub python: Python,
    /// Folder whose subfolders stand for S3 buckets [default: buckets beside the handlers folder]
    #[arg(long, value_name = "FOLDER", env = "HANDLERD_BUCKETS")]
    pub buckets: Option<PathBuf>,
    /// How handlers are kept to themselves: `auto`, all that this machine can, or 0, nothing
    /// [default: auto]
    #[arg(long, value_name = "auto|0", env = "HANDLERD_ISOLATION")]
    pub isolation: Option<IsolationChoice>,
    /// Run nothing unless this tier of isolation is in force: 0 to 4 [default: 0]
    #[arg(long, value_name = "TIER", env = "HANDLERD_REQUIRE_ISOLATION")]
    #[arg(value_parser = clap::value_parser!(u8).range(0..=4))]
    pub require_isolation: Option<u8>,
    /// Folders and files that handlers may write to, beside /tmp [default: none]
    #[arg(long, value_name = "PATH,...", value_delimiter = ',', env = "HANDLERD_WRITABLE")]
    pub writable: Option<Vec<PathBuf>>,
    /// Region in ARNs and AWS_REGION [default: us-east-1]
    #[arg(long, value_name = "REGION", env = "HANDLERD_REGION")]
    pub region: Option<String>,
    /// Account in ARNs [default: 123456789012]
    #[arg(long, value_name = "ID", env = "HANDLERD_ACCOUNT_ID")]
    pub account_id: Option<String>,
}

/// Everything that can be had, or nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IsolationChoice {
    Auto,
    #[value(name = "0")]
    #[serde(rename = "0")]
    Off,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SnapStartChoice {
    Off,
    #[default]
    Published,
    Latest,
}

impl From<SnapStartChoice> for SnapStart {
    fn from(choice: SnapStartChoice) -> Self {
        match choice {
            SnapStartChoice::Off => Self::Off,
            SnapStartChoice::Published => Self::Published,
            SnapStartChoice::Latest => Self::Latest,
        }
    }
}

impl From<TemplateOptions> for Common {
    fn from(template: TemplateOptions) -> Self {
        Self { template, ..Self::default() }
    }
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
    pub template: Option<PathBuf>,
    pub parameter_overrides: Option<Vec<String>>,
    pub env_vars: Option<PathBuf>,
    pub config_env: Option<String>,
    pub act_as: Option<String>,
    pub jwks: Option<Vec<String>>,
    pub credentials: Option<PathBuf>,
    pub require_credentials: Option<bool>,
    pub allowed_host: Option<Vec<String>>,
    pub behind_proxy: Option<bool>,
    pub trusted_proxy: Option<Vec<String>>,
    pub state_dir: Option<PathBuf>,
    pub buckets: Option<PathBuf>,
    pub python: Option<PathBuf>,
    pub isolation: Option<IsolationChoice>,
    pub require_isolation: Option<u8>,
    pub writable: Option<Vec<PathBuf>>,
    pub region: Option<String>,
    pub account_id: Option<String>,
    pub host: Option<IpAddr>,
    pub port: Option<u16>,
    pub api_port: Option<u16>,
    pub tls: Option<bool>,
    pub tls_cert: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    pub preload: Option<Vec<String>>,
    pub snap_start: Option<SnapStartChoice>,
    pub install_packages: Option<bool>,
    pub keep_last_good: Option<bool>,
    pub log_format: Option<super::output::LogStyle>,
    pub concurrency: Option<usize>,
    pub queue: Option<usize>,
    pub queue_timeout: Option<f64>,
    pub idle_timeout: Option<f64>,
    pub drain_timeout: Option<f64>,
    pub integration_timeout: Option<f64>,
    pub max_connections: Option<usize>,
    pub max_connections_per_ip: Option<usize>,
    pub threads: Option<usize>,
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
    for path in [
        &mut file.handlers,
        &mut file.state_dir,
        &mut file.buckets,
        &mut file.template,
        &mut file.env_vars,
        &mut file.credentials,
        &mut file.tls_cert,
        &mut file.tls_key,
    ]
    .into_iter()
    .flatten()
    {
        *path = beside.join(&*path);
    }
    // A Python may also be a version or a name.
    if let Some(python) = file.python.as_mut().filter(|python| beside.join(python).exists()) {
        *python = beside.join(&*python);
    }
    let named = folder.map(Path::to_owned).or(file.handlers.take());
    let template = template(&common.template, &mut file, named.is_some())?;
    let serves_handlers = named.is_some() || template.is_none();
    let handlers = named.unwrap_or_else(|| "handlers".into());
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
    let served = template.as_ref().filter(|_| !serves_handlers).map_or(&*handlers, |known| &*known.path);
    let project = beside_builds(parent(served)).to_owned();
    let buckets = common.buckets.clone().or(file.buckets.take());
    let settings = Settings {
        state_dir: state_dir.unwrap_or_else(|| project.join(".handlerd")),
        buckets: buckets.unwrap_or_else(|| project.join("buckets")),
        project,
        handlers,
        serves_handlers,
        host: IpAddr::from([127, 0, 0, 1]),
        port: 3000,
        api_port: 3001,
        account: Account { id: account, region },
        python: common.python.python.clone().or(file.python.take()),
        preload: Vec::new(),
        snap_start: Default::default(),
        installs_packages: true,
        keep_last_good: false,
        template,
        access: Access::default(),
        doors: Doors::default(),
        tls: None,
        isolation: isolation(common, &mut file)?,
        limits: Limits::default(),
        connections: Default::default(),
        threads: 1,
    };
    Ok((settings, file))
}

fn isolation(common: &Common, file: &mut File) -> anyhow::Result<Isolation> {
    let choice = common.isolation.or(file.isolation.take());
    let required = common.require_isolation.or(file.require_isolation.take()).unwrap_or(0);
    let off = choice == Some(IsolationChoice::Off);
    if required > LAST_TIER {
        bail!("there is no tier {required} of isolation: the last one is {LAST_TIER} (`require-isolation`)");
    }
    if off && required > 0 {
        bail!(
            "`--isolation 0` switches off what `--require-isolation {required}` asks for\nhint: leave out one of them"
        );
    }
    let given = common.writable.clone().or(file.writable.take()).unwrap_or_default();
    let mut writable = Vec::with_capacity(given.len());
    for path in given {
        match path.canonicalize() {
            Ok(path) => writable.push(path),
            Err(error) => bail!(
                "handlers cannot be allowed to write to {}: {error}\nhint: `--writable` names folders and files that \
                 are there",
                path.display()
            ),
        }
    }
    Ok(Isolation { off, required, writable })
}

const LAST_TIER: u8 = crate::protocol::isolation::LAST_TIER;

/// Where SAM looks for a template.
const TEMPLATES: [&str; 3] = ["template.yaml", "template.yml", "template.json"];

fn template(
    given: &TemplateOptions,
    file: &mut File,
    folder_is_named: bool,
) -> anyhow::Result<Option<Template>> {
    let named = given.template.clone().or(file.template.take());
    let found = || {
        let template = TEMPLATES.iter().map(PathBuf::from).find(|path| path.is_file());
        template.filter(|_| !folder_is_named)
    };
    let overrides = given.parameter_overrides.clone().or(file.parameter_overrides.take());
    let parameters = crate::deployment::parse_overrides(&overrides.unwrap_or_default())
        .map_err(|error| anyhow::anyhow!("{error} (`--parameter-overrides`)"))?;
    let env_vars = given.env_vars.clone().or(file.env_vars.take());
    let config_env = given.config_env.clone().or(file.config_env.take());
    match named.clone().or_else(found) {
        Some(path) if !path.is_file() => bail!(
            "there is no template {}\nhint: `--template` names a SAM or CloudFormation template",
            path.display()
        ),
        Some(_) if env_vars.as_ref().is_some_and(|file| !file.is_file()) => {
            bail!("there is no file {} (`--env-vars`)", env_vars.unwrap_or_default().display())
        }
        Some(path) => Ok(Some(Template {
            path,
            parameters,
            env_vars,
            config_env: config_env.unwrap_or_else(|| "default".to_owned()),
        })),
        None if env_vars.is_some() || config_env.is_some() || !parameters.is_empty() => bail!(
            "`--parameter-overrides`, `--env-vars` and `--config-env` are for a template, and none is served\n\
             hint: name one with `--template`"
        ),
        None => Ok(None),
    }
}

/// `sam build` empties the folder that it builds into: what is kept stands beside it.
fn beside_builds(folder: &Path) -> &Path {
    let build = folder.ancestors().find(|folder| folder.file_name().is_some_and(|name| name == ".aws-sam"));
    build.map_or(folder, parent)
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

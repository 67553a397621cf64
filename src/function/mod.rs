//! A function is what is deployed: a handler, its code, and how it is to be run.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::hexadecimal::hex;

mod attached;
mod content;
mod layer;
mod name;
mod version;

pub use attached::{Asynchronous, Attached, RecursiveLoop};
pub use content::{ContentHash, Contents, LeftBehind, is_left_out};
pub use layer::LayerVersion;
pub use name::{FunctionName, InvalidName};
pub use version::{LATEST, Version};

/// One version of a function, immutable: a change on disk makes a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Grows with each deployment: of two versions of a function, the newer has the larger one.
    pub sequence: u64,
    pub name: FunctionName,
    pub version: Version,
    /// The folder that holds the code.
    pub task_root: PathBuf,
    /// Folders of layers, in the order in which they are laid over each other (a later one wins).
    pub layers: Vec<PathBuf>,
    pub configuration: Configuration,
    pub code: Code,
}

/// What `function.yaml` and `.env` say, settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    pub handler: String,
    /// As written: `python3.12`. `None`: the default interpreter.
    pub runtime: Option<String>,
    pub timeout: Duration,
    pub memory_mb: u32,
    pub description: String,
    /// The user's own variables, in the order of `function.yaml`, then `.env`.
    pub environment: Vec<(String, String)>,
    pub logging: Logging,
    /// Only told, never used: functions run as the user.
    pub role: Option<String>,
    /// Layers as the function names them (`arn:aws:lambda:...:layer:NAME:1`), the first one lowest;
    /// those that are folders of the project are not among them.
    pub layer_arns: Vec<String>,
    /// `DeadLetterConfig.TargetArn`
    pub dead_letter: Option<String>,
    /// `TracingConfig.Mode` is Active.
    pub traced: bool,
    /// `EphemeralStorage.Size`
    pub ephemeral_storage_mb: u32,
    /// `SnapStart.ApplyOn` is PublishedVersions.
    pub snap_start: bool,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            handler: DEFAULT_HANDLER.to_owned(),
            runtime: None,
            timeout: Duration::from_secs(3),
            memory_mb: 128,
            description: String::new(),
            environment: Vec::new(),
            logging: Logging::default(),
            role: None,
            layer_arns: Vec::new(),
            dead_letter: None,
            traced: false,
            ephemeral_storage_mb: 512,
            snap_start: false,
        }
    }
}

pub const DEFAULT_HANDLER: &str = "lambda_function.lambda_handler";

/// How the function's log is written (`LoggingConfig`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Logging {
    pub format: LogFormat,
    /// `ApplicationLogLevel`; only meaningful with JSON, where it is INFO unless said otherwise.
    pub application_level: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// The content of the function's folder, by hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// SHA-256 over the sorted paths and contents.
    pub sha256: [u8; 32],
    /// The same of what an upload replaces: without layers, `function.yaml` and `.env`.
    pub own_sha256: [u8; 32],
    pub size: u64,
    pub last_modified: SystemTime,
}

impl Function {
    /// Equal exactly when an environment of one may serve the other.
    pub fn same_version(&self, other: &Self) -> bool {
        self.name == other.name
            && self.version == other.version
            && self.task_root == other.task_root
            && self.layers == other.layers
            && self.configuration == other.configuration
            && self.code.sha256 == other.code.sha256
    }

    /// Where Python looks for what the layers hold: on Lambda `/opt/python/lib/RUNTIME/site-packages`,
    /// then `/opt/python`; of two layers the later one first. Last come folders that are not laid out
    /// as layers: what `sam build` would make one of, or has made of a function.
    pub fn layer_paths(&self, runtime: &str) -> Vec<PathBuf> {
        let packages = PathBuf::from("python/lib").join(runtime).join("site-packages");
        let inside = [packages, PathBuf::from("python")];
        let below =
            |inside: &PathBuf| self.layers.iter().rev().map(|layer| layer.join(inside)).collect::<Vec<_>>();
        let plain = self.layers.iter().rev().filter(|layer| !layer.join("python").is_dir());
        let folders = inside.iter().flat_map(below).chain(plain.cloned());
        folders.filter(|folder| folder.is_dir()).collect()
    }

    /// A short form of the code's hash, for people.
    pub fn short_hash(&self) -> String {
        hex(&self.code.sha256[..4])
    }

    pub fn log_group(&self) -> String {
        format!("/aws/lambda/{}", self.name)
    }
}

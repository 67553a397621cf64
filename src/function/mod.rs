//! A function is what is deployed: a handler, its code, and how it is to be run.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

mod name;

pub use name::{FunctionName, InvalidName};

/// One version of a function, immutable: a change on disk makes a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Grows with each deployment: of two versions of a function, the newer has the larger one.
    pub sequence: u64,
    pub name: FunctionName,
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
    pub size: u64,
    pub last_modified: SystemTime,
}

impl Function {
    /// Equal exactly when an environment of one may serve the other.
    pub fn same_version(&self, other: &Self) -> bool {
        self.name == other.name
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
        self.code.sha256[..4].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub fn log_group(&self) -> String {
        format!("/aws/lambda/{}", self.name)
    }
}

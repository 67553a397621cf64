//! Versions: code and configuration as they were at one moment, for good.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::{COUNTER, EVENT_INVOKE, POLICY, PROVISIONED, Published, Snapshot, VERSION};
use super::{copy, document, version_folder};
use crate::function::{ContentHash, Function, Version};
use crate::hexadecimal::hex;
use crate::store::StoreError;

/// As long as an invocation of a version that was deleted may still run.
const LAST_INVOCATION: Duration = Duration::from_secs(960);

#[derive(Debug, Clone)]
pub struct Kept {
    pub function: Arc<Function>,
    /// What it was made of: the same again needs no new version.
    source: String,
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum PublishError {
    #[error("the code of {0} is being changed right now")]
    Changing(String),
    #[error("the code could not be copied to {}: {reason}", path.display())]
    Copy { path: PathBuf, reason: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum DeleteError {
    /// Their names, in order.
    #[error("aliases lead to it: {0:?}")]
    Referenced(Vec<String>),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Kept {
    pub fn read(name: &str, number: u64, folder: &Path, kept: &Value) -> Option<Self> {
        let state_dir = folder.parent()?.parent()?;
        let function = document::read(name, number, state_dir, kept).filter(|_| number > 0)?;
        let source = kept["Source"].as_str().unwrap_or_default().to_owned();
        Some(Self { function: Arc::new(function), source })
    }

    pub fn number_in_process(&mut self, sequence: &AtomicU64) {
        if let Some(function) = Arc::get_mut(&mut self.function) {
            function.sequence = sequence.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Published {
    /// Makes a version of the function as it is now. Where nothing has changed since the last one,
    /// it is that one again. When this returns, it is on the disk.
    pub async fn publish(
        &self,
        function: &Arc<Function>,
        description: Option<&str>,
    ) -> Result<Arc<Function>, PublishError> {
        let changing = self.change().await;
        let name = function.name.as_str();
        let source = source(function);
        let last = match self.of(name) {
            None => 0,
            Some(of) => match of.versions.get(&of.last) {
                Some(kept) if kept.source == source => return Ok(kept.function.clone()),
                _ => of.last,
            },
        };
        let number = last + 1;
        let copied = {
            let (function, state_dir) = (function.clone(), self.0.state_dir.clone());
            tokio::task::spawn_blocking(move || copy_code(&function, number, &state_dir))
        };
        let folder = version_folder(&self.0.state_dir, name);
        let failed = |reason: String| PublishError::Copy { path: folder.clone(), reason };
        let layers = match copied.await.map_err(|error| failed(error.to_string()))? {
            Ok(Some(layers)) => layers,
            Ok(None) => return Err(PublishError::Changing(name.to_owned())),
            Err(error) => return Err(failed(error.to_string())),
        };
        let mut version = Function {
            sequence: changing.next_sequence(),
            version: Version::Number(number),
            task_root: folder.join(number.to_string()).join("code"),
            layers,
            ..(**function).clone()
        };
        // To the millisecond, as it will be read.
        version.code.last_modified = document::time(document::milliseconds(SystemTime::now()));
        if let Some(description) = description {
            version.configuration.description = description.to_owned();
        }
        let mut kept = document::function(&version, &self.0.state_dir);
        kept["Source"] = source.clone().into();
        // In this order: a number is never given twice.
        changing.put(COUNTER, name, "", json!(number)).await?;
        changing.put(VERSION, name, &number.to_string(), kept).await?;
        let version = Arc::new(version);
        let kept = Kept { function: version.clone(), source };
        changing.update_function(name, |of| {
            of.last = number;
            of.versions.insert(number, kept);
        });
        Ok(version)
    }

    /// The oldest first.
    pub fn versions(&self, function: &str) -> Vec<Arc<Function>> {
        let of = self.of(function);
        of.iter().flat_map(|of| of.versions.values()).map(|kept| kept.function.clone()).collect()
    }

    pub fn version(&self, function: &str, number: u64) -> Option<Arc<Function>> {
        self.of(function)?.versions.get(&number).map(|kept| kept.function.clone())
    }

    /// `false`: there was none.
    pub async fn delete_version(&self, function: &str, number: u64) -> Result<bool, DeleteError> {
        let changing = self.change().await;
        let Some(of) = self.of(function).filter(|of| of.versions.contains_key(&number)) else {
            return Ok(false);
        };
        let leads_here = of.aliases.values().filter(|alias| alias.leads_to(number));
        let aliases: Vec<String> = leads_here.map(|alias| alias.name.clone()).collect();
        if !aliases.is_empty() {
            return Err(DeleteError::Referenced(aliases));
        }
        let qualifier = number.to_string();
        // The version itself first: what is left without it means nothing.
        for kind in [VERSION, PROVISIONED, POLICY, EVENT_INVOKE] {
            changing.delete(kind, function, &qualifier).await?;
        }
        changing.update_function(function, |of| {
            of.versions.remove(&number);
            of.provisioned.remove(&qualifier);
        });
        drop(changing);
        self.discard_versions(function, Some(number));
        Ok(true)
    }

    /// Removes the folder once nothing can run from it any more. What is left when the gateway stops
    /// before that goes when it starts.
    pub(super) fn discard_versions(&self, function: &str, number: Option<u64>) {
        let published = self.clone();
        let name = function.to_owned();
        tokio::spawn(async move {
            tokio::time::sleep(LAST_INVOCATION).await;
            let folder = version_folder(&published.0.state_dir, &name);
            let changing = published.change().await;
            let of = published.of(&name);
            let is_used = |number| of.as_ref().is_some_and(|of| of.versions.contains_key(&number));
            let gone: Vec<PathBuf> = match number {
                Some(number) if is_used(number) => Vec::new(),
                Some(number) => vec![folder.join(number.to_string())],
                None if of.is_some() => Vec::new(),
                None => vec![folder],
            };
            let removed = tokio::task::spawn_blocking(move || {
                gone.iter().for_each(|folder| drop(copy::discard(folder)));
            });
            let _ = removed.await;
            drop(changing);
        });
    }
}

/// What a version is made of: two that agree in this are the same.
fn source(function: &Function) -> String {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    hash.update(function.code.sha256);
    hash.update(document::configuration(&function.configuration).to_string());
    hex(&hash.finalize())
}

/// Copies code and layers, and returns the folders of the latter. `None`: it is not what was deployed.
fn copy_code(function: &Function, number: u64, state_dir: &Path) -> std::io::Result<Option<Vec<PathBuf>>> {
    let folder = version_folder(state_dir, function.name.as_str());
    let (half, place) = (folder.join(copy::temporary_name()), folder.join(number.to_string()));
    let published = state_dir.join("layers");
    let attempt = || -> std::io::Result<Option<Vec<PathBuf>>> {
        let code = copy::copy(&function.task_root, &half.join("code"))?;
        // Its packages are no part of the code, but of what it is run with.
        let environment = function.task_root.join(".venv");
        if environment.exists() {
            std::os::unix::fs::symlink(&environment, half.join("code/.venv"))?;
        }
        let (mut hashes, mut layers) = (Vec::new(), Vec::new());
        for (index, layer) in function.layers.iter().enumerate() {
            let own = Path::new("layers").join(index.to_string());
            hashes.push(copy::copy(layer, &half.join(&own))?);
            if layer.starts_with(&published) {
                fs::remove_dir_all(half.join(&own))?;
                layers.push(layer.clone());
            } else {
                layers.push(place.join(&own));
            }
        }
        if ContentHash::with_layers(code, &hashes) != function.code.sha256 {
            return Ok(None);
        }
        copy::settle(&half, &place)?;
        Ok(Some(layers))
    };
    let result = attempt();
    if !matches!(result, Ok(Some(_))) {
        let _ = fs::remove_dir_all(&half);
    }
    match result {
        // It was replaced as a whole while it was copied.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && folder.is_dir() => Ok(None),
        result => result,
    }
}

/// Removes folders that the store does not know: of versions that were being published, or are deleted.
pub fn clean(state_dir: &Path, snapshot: &Snapshot) {
    let versions = state_dir.join("versions");
    for entry in fs::read_dir(&versions).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let of = snapshot.functions.get(&name);
        for version in fs::read_dir(entry.path()).into_iter().flatten().flatten() {
            let number = version.file_name().to_string_lossy().parse::<u64>().ok();
            let known = number.is_some_and(|number| of.is_some_and(|of| of.versions.contains_key(&number)));
            if !known {
                let _ = fs::remove_dir_all(version.path());
            }
        }
        // Only if it is empty.
        let _ = fs::remove_dir(entry.path());
    }
}

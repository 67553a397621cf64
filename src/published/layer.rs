//! Versions of layers: unpacked for good, with the zip file that they came in beside them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{LAYER, LAYER_COUNTER, LAYER_POLICY, Published, Snapshot, copy, document};
use crate::archive::{self, ArchiveError, Limits};
use crate::function::LayerVersion;
use crate::store::StoreError;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    pub name: String,
    pub version: u64,
    pub about: NewLayer,
    /// Base64, of the zip file.
    pub sha256: String,
    pub size: u64,
    pub created_ms: u64,
    /// Not to be had any more; functions that have it go on using it.
    deleted: bool,
}

/// What whoever publishes says of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewLayer {
    pub description: String,
    pub license: Option<String>,
    /// `None`: nothing was said.
    pub runtimes: Option<Vec<String>>,
    pub architectures: Option<Vec<String>>,
}

#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// In AWS's words.
    #[error("{0}")]
    Zip(String),
    #[error("the layer could not be kept in {}: {reason}", path.display())]
    Disk { path: PathBuf, reason: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Layer {
    pub(super) fn read(name: &str, version: u64, document: &Value) -> Option<Self> {
        let text = |name: &str| document[name].as_str().map(str::to_owned);
        let list = |name: &str| {
            let items = document[name].as_array()?;
            items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
        };
        Some(Self {
            name: name.to_owned(),
            version: Some(version).filter(|version| *version > 0)?,
            about: NewLayer {
                description: text("Description").unwrap_or_default(),
                license: text("License"),
                runtimes: list("Runtimes"),
                architectures: list("Architectures"),
            },
            sha256: text("Sha256")?,
            size: document["Size"].as_u64()?,
            created_ms: document["CreatedMs"].as_u64()?,
            deleted: document["Deleted"].as_bool().unwrap_or(false),
        })
    }

    fn document(&self) -> Value {
        json!({
            "Description": self.about.description,
            "License": self.about.license,
            "Runtimes": self.about.runtimes,
            "Architectures": self.about.architectures,
            "Sha256": self.sha256,
            "Size": self.size,
            "CreatedMs": self.created_ms,
            "Deleted": self.deleted,
        })
    }
}

impl Published {
    /// When this returns, it is on the disk.
    pub async fn publish_layer(
        &self,
        name: &str,
        about: NewLayer,
        zip: Vec<u8>,
    ) -> Result<Arc<Layer>, LayerError> {
        let changing = self.change().await;
        let snapshot = self.0.snapshot.load_full();
        let last = snapshot.layers.get(name).and_then(|versions| versions.keys().next_back().copied());
        let counted = self.0.store.resource(crate::store::Key { kind: LAYER_COUNTER, owner: name, name: "" });
        let counted = counted.await?.and_then(|counted| counted.as_u64());
        let version = last.unwrap_or(0).max(counted.unwrap_or(0)) + 1;
        let id = LayerVersion { name: name.to_owned(), version };
        let place = id.folder(&self.0.state_dir);
        let disk = |reason: String| LayerError::Disk { path: place.clone(), reason };
        let kept = tokio::task::spawn_blocking({
            let place = place.clone();
            move || keep(&zip, &place).map(|()| (BASE64.encode(Sha256::digest(&zip)), zip.len() as u64))
        });
        let (sha256, size) = match kept.await.map_err(|error| disk(error.to_string()))? {
            Ok(kept) => kept,
            Err(NotKept::Zip(message)) => return Err(LayerError::Zip(message)),
            Err(NotKept::Disk(error)) => return Err(disk(error.to_string())),
        };
        let created_ms = document::milliseconds(std::time::SystemTime::now());
        let name = name.to_owned();
        let layer = Layer { name, version, about, sha256, size, created_ms, deleted: false };
        changing.put(LAYER_COUNTER, &layer.name, "", json!(version)).await?;
        changing.put(LAYER, &layer.name, &version.to_string(), layer.document()).await?;
        let layer = Arc::new(layer);
        changing.update(|snapshot| {
            snapshot.layers.entry(layer.name.clone()).or_default().insert(version, layer.clone());
        });
        Ok(layer)
    }

    /// The oldest first; those that are deleted are not among them.
    pub fn layer_versions(&self, name: &str) -> Vec<Arc<Layer>> {
        let snapshot = self.0.snapshot.load();
        let versions = snapshot.layers.get(name).into_iter().flat_map(|versions| versions.values());
        versions.filter(|layer| !layer.deleted).cloned().collect()
    }

    pub fn layer(&self, layer: &LayerVersion) -> Option<Arc<Layer>> {
        let snapshot = self.0.snapshot.load();
        let found = snapshot.layers.get(&layer.name)?.get(&layer.version)?;
        Some(found.clone()).filter(|layer| !layer.deleted)
    }

    /// The latest version of each layer, by name.
    pub fn latest_layers(&self) -> Vec<Arc<Layer>> {
        let names: Vec<String> = self.0.snapshot.load().layers.keys().cloned().collect();
        names.iter().filter_map(|name| self.layer_versions(name).pop()).collect()
    }

    /// The zip file that it came in.
    pub fn layer_zip(&self, layer: &Layer) -> PathBuf {
        let id = LayerVersion { name: layer.name.clone(), version: layer.version };
        zip_of(&id.folder(&self.0.state_dir))
    }

    /// Functions that use it go on doing so: its content stays.
    pub async fn delete_layer(&self, layer: &LayerVersion) -> Result<(), StoreError> {
        let changing = self.change().await;
        let Some(found) = self.layer(layer) else { return Ok(()) };
        let number = layer.version.to_string();
        let deleted = Layer { deleted: true, ..(*found).clone() };
        changing.put(LAYER, &layer.name, &number, deleted.document()).await?;
        changing.delete(LAYER_POLICY, &layer.name, &number).await?;
        changing.update(|snapshot| {
            let versions = snapshot.layers.entry(layer.name.clone()).or_default();
            versions.insert(layer.version, Arc::new(deleted));
        });
        Ok(())
    }
}

enum NotKept {
    Zip(String),
    Disk(std::io::Error),
}

impl From<std::io::Error> for NotKept {
    fn from(error: std::io::Error) -> Self {
        Self::Disk(error)
    }
}

/// In AWS's words; the reason goes to the terminal.
fn not_kept(error: ArchiveError) -> NotKept {
    let message = match &error {
        ArchiveError::Disk { .. } => return NotKept::Disk(std::io::Error::other(error.to_string())),
        ArchiveError::TooLarge { limit } => format!("Unzipped size must be smaller than {limit} bytes"),
        ArchiveError::Empty => "Uploaded file must be a non-empty zip".to_owned(),
        ArchiveError::NoZip(_) | ArchiveError::Refused { .. } | ArchiveError::TooMany { .. } => {
            "Could not unzip uploaded file. Please check your file, then try to upload again.".to_owned()
        }
    };
    tracing::warn!("a layer was not published: {error}");
    NotKept::Zip(message)
}

fn keep(zip: &[u8], place: &Path) -> Result<(), NotKept> {
    let folder = place.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    let half = folder.join(copy::temporary_name());
    let result = (|| {
        archive::unpack(zip, &half, Limits::LAMBDA).map_err(not_kept)?;
        fs::write(zip_of(&half), zip)?;
        fs::rename(zip_of(&half), zip_of(place))?;
        Ok(copy::settle(&half, place)?)
    })();
    if result.is_err() {
        let _ = fs::remove_dir_all(&half);
        let _ = fs::remove_file(zip_of(&half));
    }
    result
}

fn zip_of(folder: &Path) -> PathBuf {
    let mut name = folder.as_os_str().to_owned();
    name.push(".zip");
    name.into()
}

/// Removes what was being published, and (if it is known what is used) what is deleted and unused.
pub fn clean(state_dir: &Path, snapshot: &Snapshot, used: Option<&BTreeSet<PathBuf>>) {
    let of_versions: BTreeSet<&PathBuf> = snapshot
        .functions
        .values()
        .flat_map(|of| of.versions.values())
        .flat_map(|kept| &kept.function.layers)
        .collect();
    for entry in fs::read_dir(state_dir.join("layers")).into_iter().flatten().flatten() {
        let versions = snapshot.layers.get(&*entry.file_name().to_string_lossy());
        for version in fs::read_dir(entry.path()).into_iter().flatten().flatten() {
            let (path, name) = (version.path(), version.file_name().to_string_lossy().into_owned());
            let number = name.trim_end_matches(".zip").parse::<u64>().ok();
            let layer = number.and_then(|number| versions?.get(&number));
            let folder = path.with_extension("");
            let keep = match layer {
                None => false,
                Some(layer) if !layer.deleted => true,
                Some(_) if of_versions.contains(&folder) => true,
                Some(_) => used.is_none_or(|used| used.contains(&folder)),
            };
            if !keep {
                let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
            }
        }
        // Only if it is empty.
        let _ = fs::remove_dir(entry.path());
    }
}

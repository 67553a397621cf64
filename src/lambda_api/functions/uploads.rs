//! What zip file a function's code came from: its hash and size are told as long as the folder holds
//! what was in it, and the file itself is kept to be downloaded again.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::function::Function;
use crate::hexadecimal::hex;
use crate::store::{Key, Store, StoreError};

const KIND: &str = "upload";

#[derive(Debug, Clone, PartialEq)]
pub struct Upload {
    /// Base64, as `CodeSha256`.
    pub sha256: String,
    pub size: u64,
    pub architecture: Option<String>,
}

/// By function and content. Written through to the store.
#[derive(Default)]
pub struct Uploads(Arc<Mutex<Known>>);

type Known = HashMap<(String, String), Upload>;

impl Uploads {
    pub async fn open(store: &Store) -> Result<Self, StoreError> {
        let known = store.resources(KIND, None).await?.into_iter().map(|resource| {
            let document = &resource.document;
            let upload = Upload {
                sha256: document["CodeSha256"].as_str().unwrap_or_default().to_owned(),
                size: document["CodeSize"].as_u64().unwrap_or_default(),
                architecture: document["Architecture"].as_str().map(str::to_owned),
            };
            ((resource.owner, resource.name), upload)
        });
        Ok(Self(Arc::new(Mutex::new(known.collect()))))
    }

    /// The file that this version's code came from, if it is still what was in it.
    pub fn of(&self, function: &Function) -> Option<Upload> {
        self.0.lock().unwrap().get(&(function.name.to_string(), content(function))).cloned()
    }

    /// Code with the hash that this is called with comes from this file: known from the moment it is
    /// deployed, or the function would be told with another `CodeSha256` until it is on the disk.
    pub fn foretell(&self, function: &str, upload: &Upload) -> impl FnOnce([u8; 32]) + Send + 'static {
        let (known, owner, upload) = (self.0.clone(), function.to_owned(), upload.clone());
        move |own_sha256| {
            known.lock().unwrap().insert((owner, hex(&own_sha256)), upload);
        }
    }

    /// This function, as it is now, came from this file. Of files only the latest is kept.
    pub async fn put(
        &self,
        store: &Store,
        function: &Function,
        upload: Upload,
        state_dir: &Path,
        zip: Option<Vec<u8>>,
    ) -> Result<(), StoreError> {
        let (owner, name) = (function.name.to_string(), content(function));
        let document = json!({
            "CodeSha256": upload.sha256, "CodeSize": upload.size, "Architecture": upload.architecture,
        });
        store.put_resource(Key { kind: KIND, owner: &owner, name: &name }, document).await?;
        let folder = folder(state_dir, &owner);
        let file = file(state_dir, function);
        self.0.lock().unwrap().insert((owner, name), upload);
        // What cannot be kept is packed anew when it is asked for.
        let keep = move || {
            let _ = std::fs::remove_dir_all(&folder);
            let fresh = file.with_extension("new");
            let written = zip.map(|zip| {
                std::fs::create_dir_all(&folder)?;
                std::fs::write(&fresh, zip)?;
                std::fs::rename(&fresh, &file)
            });
            if let Some(Err(error)) = written {
                tracing::warn!("an uploaded file is not kept: {}: {error}", folder.display());
            }
        };
        let _ = tokio::task::spawn_blocking(keep).await;
        Ok(())
    }

    pub async fn forget(&self, store: &Store, function: &str, state_dir: &Path) -> Result<(), StoreError> {
        store.delete_resources(KIND, function).await?;
        self.0.lock().unwrap().retain(|(owner, _), _| owner != function);
        let folder = folder(state_dir, function);
        let _ = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(folder)).await;
        Ok(())
    }

    /// `CodeSha256` and `CodeSize`: of the file, or of the folder where nobody has sent one.
    pub fn describe(upload: Option<&Upload>, function: &Function) -> (Value, Value) {
        use base64::Engine;
        match upload {
            Some(upload) => (upload.sha256.clone().into(), upload.size.into()),
            None => {
                let hash = base64::engine::general_purpose::STANDARD.encode(function.code.own_sha256);
                (hash.into(), function.code.size.into())
            }
        }
    }
}

/// Where the file is kept, if it is.
pub fn file(state_dir: &Path, function: &Function) -> PathBuf {
    folder(state_dir, function.name.as_str()).join(format!("{}.zip", content(function)))
}

fn folder(state_dir: &Path, function: &str) -> PathBuf {
    state_dir.join("uploads").join(function)
}

fn content(function: &Function) -> String {
    hex(&function.code.own_sha256)
}

//! What a state folder keeps, into one file and back; also while a gateway runs.
//!
//! In it: the store (events, versions, aliases, schedules, figures), published code and layers, the audit log,
//! credentials and certificates. Not in it: what is made again by itself (packages, compiled files,
//! temporary folders), logs, and what has been thrown away.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::state_folder;
use crate::archive::sealed::{Sealing, unseal};
use crate::store;

/// What is not kept: made again, or of no use elsewhere. The store is copied in a way of its own.
const LEFT_OUT: [&str; 9] =
    ["bytecode", "inline", "interpreters.json", "lock", "logs", "packages", "tmp", "trash", "uploads"];

/// How much it was.
#[derive(Debug, PartialEq, Eq)]
pub struct Kept {
    pub files: u64,
    pub bytes: u64,
}

/// Writes a backup. The file is there whole, or not at all.
pub fn backup(state_dir: &Path, to: &Path) -> anyhow::Result<Kept> {
    if !state_dir.is_dir() {
        bail!("there is no state in {}\nhint: `--state-dir` names another folder", state_dir.display());
    }
    if to.exists() {
        bail!("{} is there already\nhint: backups are not written over; name another file", to.display());
    }
    let to = &std::path::absolute(to)?;
    let folder = to.parent().unwrap_or(to);
    let begun = Scratch(beside(to, "begun"));
    let copy = Scratch(beside(to, "store"));
    // First the store: what it names lies in the folders, and stays there.
    let has_store = store::backup::copy(state_dir, &copy.0)?;
    let sealed = (|| {
        let mut sealing = Sealing::begin(&begun.0)?;
        if has_store {
            sealing.add(store::backup::NAME, &copy.0)?;
        }
        for name in kept(state_dir)? {
            sealing.add(&name, &state_dir.join(&name))?;
        }
        let kept = Kept { files: sealing.files, bytes: sealing.bytes };
        sealing.finish().map(|()| kept)
    })();
    let kept = sealed.with_context(|| format!("the backup {} could not be written", to.display()))?;
    std::fs::hard_link(&begun.0, to)
        .and_then(|()| std::fs::File::open(folder)?.sync_all())
        .with_context(|| format!("the backup could not be put to {}", to.display()))?;
    Ok(kept)
}

fn kept(state_dir: &Path) -> Result<Vec<String>, crate::archive::ArchiveError> {
    let failed = |error| crate::archive::ArchiveError::Disk { path: state_dir.to_owned(), error };
    let entries = std::fs::read_dir(state_dir).map_err(failed)?;
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> =
        names.filter(|name| !LEFT_OUT.contains(&&**name) && !name.starts_with(store::backup::NAME)).collect();
    names.sort();
    Ok(names)
}

/// Puts a backup into a state folder that is not there yet, or empty. The folder is there whole, or as it was.
pub fn restore(from: &Path, state_dir: &Path) -> anyhow::Result<u64> {
    let state_dir = &std::path::absolute(state_dir)?;
    let is_empty = |folder: &Path| {
        let mut names =
            std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
        names.all(|name| name == "lock")
    };
    // Held until the folder is exchanged: no gateway begins meanwhile.
    let lock = match state_dir.exists() {
        true => Some(state_folder::lock(state_dir, std::time::Duration::ZERO)?),
        false => None,
    };
    if !is_empty(state_dir) {
        bail!(
            "{} holds state already, which is not written over\nhint: move it away first: `mv {0} {0}.before`",
            state_dir.display()
        );
    }
    if let Some(above) = state_dir.parent() {
        std::fs::create_dir_all(above).with_context(|| format!("could not create {}", above.display()))?;
    }
    let begun = Scratch(beside(state_dir, "restored"));
    state_folder::create_private(&begun.0)?;
    let files = unseal(from, &begun.0).with_context(|| {
        format!("{} is not restored, and {} is as it was", from.display(), state_dir.display())
    })?;
    if lock.is_some() {
        std::fs::remove_file(state_dir.join("lock"))?;
        std::fs::remove_dir(state_dir)?;
    }
    std::fs::rename(&begun.0, state_dir)
        .with_context(|| format!("the backup could not be put to {}", state_dir.display()))?;
    Ok(files)
}

fn beside(path: &Path, what: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{what}-{}", std::process::id()))
}

/// Goes when it is not needed any more, file or folder.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

//! The state folder -> a backup, while a gateway may be at work in it.
//!
//! The store first, as it is at one moment; then the folders. What the store tells of lies there before
//! it is told, and stays for a quarter of an hour after it is no more: it is all there to be copied.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{ABOUT, About, BackupError, FORMAT};
use crate::archive::{Sealing, move_away};
use crate::store;

/// Not in a backup, as it is made again when it is missed (or means nothing without its gateway)...
const MADE_AGAIN: [&str; 5] = ["bytecode", "interpreters.json", "lock", "packages", "tmp"];
/// ... or is what functions have printed, and what was thrown away. Whatever else there is, is kept.
const LEFT_OUT: [&str; 2] = ["logs", "trash"];
/// Names of what is not finished, or being removed.
const HALF: &str = ".half-";

/// What was made.
#[derive(Debug)]
pub struct Made {
    pub files: usize,
    pub bytes: u64,
}

/// Makes a backup at `target`, which must not exist yet. When this returns, it is on the disk.
pub fn make(state_dir: &Path, target: &Path) -> Result<Made, BackupError> {
    if !state_dir.join(store::FILE).is_file() {
        return Err(BackupError::Nothing(state_dir.to_owned()));
    }
    let target = std::path::absolute(target).map_err(BackupError::disk(target))?;
    if fs::symlink_metadata(&target).is_ok() {
        return Err(BackupError::Exists(target));
    }
    let folder = target.parent().unwrap_or(Path::new("/"));
    let inside = fs::canonicalize(folder).map_err(BackupError::disk(folder))?;
    if inside.starts_with(fs::canonicalize(state_dir).map_err(BackupError::disk(state_dir))?) {
        return Err(BackupError::Within(target));
    }
    // Beside it, where there must be room anyway.
    let half = format!("{HALF}{}", uuid::Uuid::new_v4().simple());
    let (half, copy) = (folder.join(&half), folder.join(format!("{half}.db")));
    let _removed = [Removed(&half), Removed(&copy)];

    store::snapshot(state_dir, &copy)?;
    let mut sealing = Sealing::create(&half).map_err(BackupError::writing)?;
    let about = About {
        format: FORMAT,
        handlerd: env!("CARGO_PKG_VERSION").to_owned(),
        made: jiff::Timestamp::now().to_string(),
    };
    let about = serde_json::to_vec(&about).unwrap_or_default();
    sealing.add_bytes(ABOUT, &about).map_err(BackupError::writing)?;
    let of_store = File::open(&copy).map_err(BackupError::disk(&copy))?;
    sealing.add_file(store::FILE, &of_store).map_err(BackupError::writing)?;
    add_folder(state_dir, "", &mut sealing)?;
    let files = sealing.entries;
    let bytes = sealing.seal().map_err(BackupError::writing)?;
    match move_away(&half, &target) {
        Ok(true) => Ok(Made { files, bytes }),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(BackupError::Exists(target)),
        Ok(false) => Err(BackupError::Disk { path: target, error: ErrorKind::CrossesDevices.into() }),
        Err(error) => Err(BackupError::Disk { path: target, error }),
    }
}

/// Whether this entry of the state folder is not for a backup.
fn is_left_out(name: &str) -> bool {
    // The store is there already; what SQLite keeps beside it belongs to that moment alone.
    let is_of_store = name.starts_with(store::FILE);
    is_of_store || MADE_AGAIN.contains(&name) || LEFT_OUT.contains(&name)
}

/// What disappears meanwhile is not there: no more than if it had been a moment earlier.
fn add_folder(folder: &Path, prefix: &str, sealing: &mut Sealing) -> Result<(), BackupError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(BackupError::disk(folder))?,
    };
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(BackupError::disk(folder))?.path());
    }
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default();
        let Some(name) = name.to_str() else {
            let error = std::io::Error::other("its name is no UTF-8");
            return Err(BackupError::Disk { path, error });
        };
        if name.starts_with(HALF) || (prefix.is_empty() && is_left_out(name)) {
            continue;
        }
        let metadata = match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            metadata => metadata.map_err(BackupError::disk(&path))?,
        };
        let name = format!("{prefix}{name}");
        let kind = metadata.file_type();
        if kind.is_dir() {
            sealing.add_folder(&name, metadata.permissions().mode()).map_err(BackupError::writing)?;
            add_folder(&path, &format!("{name}/"), sealing)?;
        } else if kind.is_symlink() {
            let Ok(link) = fs::read_link(&path) else { continue };
            let link = link.to_string_lossy();
            sealing.add_link(&name, &link).map_err(BackupError::writing)?;
        } else if kind.is_file() {
            match File::open(&path) {
                Ok(file) => sealing.add_file(&name, &file).map_err(BackupError::writing)?,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(BackupError::Disk { path, error }),
            }
        }
    }
    Ok(())
}

/// Whatever happens, nothing half done is left.
struct Removed<'a>(&'a Path);

impl Drop for Removed<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.0);
    }
}

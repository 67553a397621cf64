//! A backup -> a state folder: all of it, or nothing.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;

use super::{ABOUT, About, BackupError, FORMAT};
use crate::archive::Sealed;
use crate::store;

/// Far more than it takes.
const LONGEST_ABOUT: u64 = 64 * 1024;

/// What was restored.
#[derive(Debug)]
pub struct Restored {
    pub files: usize,
    /// When the backup was made.
    pub made: String,
}

/// Unpacks beside `state_dir`, looks whether all of it is whole, and puts it there. There must be nothing
/// yet. When this returns, it is on the disk.
pub fn restore(backup: &Path, state_dir: &Path) -> Result<Restored, BackupError> {
    let state_dir = std::path::absolute(state_dir).map_err(BackupError::disk(state_dir))?;
    let there = fs::read_dir(&state_dir);
    match there.map(|mut entries| entries.next().is_none()) {
        Ok(true) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Ok(false) => return Err(BackupError::NotEmpty(state_dir)),
        Err(error) => return Err(BackupError::Disk { path: state_dir, error }),
    }
    let reading = BackupError::reading(backup);
    let mut sealed = Sealed::open(backup).map_err(&reading)?;
    let about = sealed.read(ABOUT, LONGEST_ABOUT).map_err(&reading)?;
    let about: Option<About> = about.and_then(|about| serde_json::from_slice(&about).ok());
    let Some(about) = about else {
        let reason = format!("it has no `{ABOUT}`, which says what it is");
        return Err(BackupError::Damaged { path: backup.to_owned(), reason });
    };
    if about.format > FORMAT {
        return Err(BackupError::Newer { path: backup.to_owned(), made_by: about.handlerd });
    }
    let parent = state_dir.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).map_err(BackupError::disk(parent))?;
    let half = parent.join(format!(".half-{}", uuid::Uuid::new_v4().simple()));
    let restored = (|| {
        let files = sealed.unpack(&half, ABOUT, u64::MAX).map_err(&reading)?;
        store::check_copy(&half).map_err(|error| BackupError::Damaged {
            path: backup.to_owned(),
            reason: error.to_string().split("\nhint: ").next().unwrap_or_default().to_owned(),
        })?;
        settle(&half, &state_dir)?;
        Ok(Restored { files, made: about.made })
    })();
    if restored.is_err() {
        let _ = fs::remove_dir_all(&half);
    }
    restored
}

/// Replaces an empty folder, or none.
fn settle(half: &Path, state_dir: &Path) -> Result<(), BackupError> {
    let put = || -> std::io::Result<()> {
        rustix::fs::syncfs(File::open(half)?)?;
        fs::rename(half, state_dir)?;
        File::open(state_dir.parent().unwrap_or(Path::new("/")))?.sync_all()
    };
    put().map_err(|error| match error.kind() {
        ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists => {
            BackupError::NotEmpty(state_dir.to_owned())
        }
        _ => BackupError::Disk { path: state_dir.to_owned(), error },
    })
}

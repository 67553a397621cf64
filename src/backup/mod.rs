//! Backups: all of the state folder that could not be made again, in one file.
//!
//! - `make`: while a gateway runs and writes, or none does.
//! - `restore`: into a folder in which nothing is yet.
//!
//! A backup is a zip file, sealed with a checksum of all of it, for its owner only: it holds events,
//! credentials and private keys.

mod make;
mod restore;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::archive::ArchiveError;
use crate::store::StoreError;

pub use make::{Made, make};
pub use restore::{Restored, restore};

/// Says what the file is; the first of its entries.
const ABOUT: &str = "handlerd-backup.json";
/// What this handlerd writes, and all that it can read.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct About {
    format: u32,
    /// Which handlerd has made it, and when.
    handlerd: String,
    made: String,
}

#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error(
        "there is nothing to keep in {}: no gateway has ever run there\nhint: name the folder with `--state-dir`, or \
         stand where its project is", .0.display()
    )]
    Nothing(PathBuf),
    #[error("{} exists already\nhint: choose another name; backups do not replace each other", .0.display())]
    Exists(PathBuf),
    #[error(
        "{} lies in the folder that it would be a backup of\nhint: choose a place outside it, best on another disk",
        .0.display()
    )]
    Within(PathBuf),
    #[error("there is something in {} already\nhint: move it away, or restore into another folder with `--state-dir`", .0.display())]
    NotEmpty(PathBuf),
    #[error("{} was made by a newer handlerd ({made_by})\nhint: restore it with that one", path.display())]
    Newer { path: PathBuf, made_by: String },
    #[error(
        "{} is no backup that can be restored: {reason}\nhint: nothing was changed; take another copy of it",
        path.display()
    )]
    Damaged { path: PathBuf, reason: String },
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("{}: {error}\nhint: is there room on the disk, and may you write there?", path.display())]
    Disk { path: PathBuf, error: std::io::Error },
}

impl BackupError {
    fn disk(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        |error| Self::Disk { path, error }
    }

    /// Of an archive that is being written.
    fn writing(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Disk { path, error } => Self::Disk { path, error },
            other => {
                Self::Disk { path: "the backup".into(), error: std::io::Error::other(other.to_string()) }
            }
        }
    }

    /// Of the archive at this path.
    fn reading(path: &std::path::Path) -> impl Fn(ArchiveError) -> Self {
        let path = path.to_owned();
        move |error| match error {
            ArchiveError::Disk { path, error } => Self::Disk { path, error },
            other => Self::Damaged { path: path.clone(), reason: other.to_string() },
        }
    }
}

#[cfg(test)]
mod tests;

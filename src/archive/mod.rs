//! Zip files: unpacked without leaving the folder, packed the same way each time.
//!
//! - `unpack`: an archive that somebody has sent -> a fresh folder, or a refusal.
//! - `names`: what an entry may be called.
//! - `pack`: a folder -> an archive, equal bytes for equal content.
//! - `place`: a finished folder takes its place in one step.
//! - `sealed`: a folder as it is, for keeping: a backup.

#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod gunzip;
mod names;
mod pack;
mod place;
pub mod sealed;
mod unpack;

use std::path::{Path, PathBuf};

pub use gunzip::gunzip;
pub use pack::{Packing, pack, pack_files};
pub use place::{move_away, put};
pub use unpack::{Unpacked, unpack};

/// What an archive may come to.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// All files together, in bytes.
    pub unzipped: u64,
    pub entries: usize,
}

impl Limits {
    /// Lambda's for code; the number of entries is ours.
    pub const LAMBDA: Self = Self { unzipped: 262_144_000, entries: 100_000 };
}

#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is no zip file, or a damaged one.
    #[error("it is no zip file that can be read: {0}")]
    NoZip(String),
    #[error("it holds no files")]
    Empty,
    /// It could be read, and something in it may not be unpacked.
    #[error("its entry {entry:?} {reason}")]
    Refused { entry: String, reason: String },
    #[error("it unpacks to more than {limit} bytes")]
    TooLarge { limit: u64 },
    #[error("it has more than {limit} entries")]
    TooMany { limit: usize },
    /// The disk.
    #[error("{}: {error}", path.display())]
    Disk { path: PathBuf, error: std::io::Error },
}

impl ArchiveError {
    fn disk(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        |error| Self::Disk { path, error }
    }

    fn refused(entry: &str, reason: impl Into<String>) -> Self {
        // As much of a name as a message can bear.
        Self::Refused { entry: entry.chars().take(200).collect(), reason: reason.into() }
    }
}

//! A copy of the store as it is at one moment, also while others write to it.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ffi};

use super::{FILE, StoreError, file};

/// For somebody who keeps the file locked.
const PATIENCE: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(5);

/// Copies the store of this state folder to a new file: all that was committed before this was called, as
/// one file, checked. A damaged store is not copied. `false`: there is none yet.
pub fn copy(state_dir: &Path, to: &Path) -> Result<bool, StoreError> {
    let path = state_dir.join(FILE);
    if !path.exists() {
        return Ok(false);
    }
    file::require_whole_log(&path)?;
    let from = file::connect_to_read(&path).map_err(|error| file::explained(&path, &error))?;
    file::make(to)?;
    // It is the original that has to be looked at.
    match copied(&from, to) {
        Ok(verdict) if verdict == "ok" => Ok(true),
        Ok(damage) => Err(file::damaged(&path, &damage)),
        Err(error) => Err(file::explained(&path, &error)),
    }
}

fn copied(from: &Connection, to: &Path) -> rusqlite::Result<String> {
    let mut into = file::connect_plainly(to)?;
    let began = Instant::now();
    {
        let backup = Backup::new(from, &mut into)?;
        // In one step: a reader of its own, which keeps nobody from writing.
        while backup.step(-1)? != StepResult::Done {
            if began.elapsed() > PATIENCE {
                return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_BUSY), None));
            }
            std::thread::sleep(AGAIN);
        }
    }
    // One file, with no log beside it.
    into.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))?;
    into.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
}

/// The name of the store's file in its folder.
pub const NAME: &str = FILE;

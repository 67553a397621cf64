//! The whole file as it is at one moment, in another place; and whether such a copy is whole.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::{FILE, Store, StoreError, file, frames};

/// For somebody who keeps the file locked.
const PATIENCE: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(20);

/// Copies the store of a state folder to `target`, which must not exist yet: one file, with all that was
/// committed before this was called. Others may write meanwhile. A damaged one is not copied.
pub fn snapshot(state_dir: &Path, target: &Path) -> Result<(), StoreError> {
    let path = state_dir.join(FILE);
    require_whole_log(&path)?;
    let from = file::connect_to_read(&path).map_err(|error| file::explained(&path, &error))?;
    file::make(target)?;
    let copied = copy(&from, target);
    // It is the original that has to be looked at.
    copied
        .map_err(|error| file::explained(&path, &error))?
        .map_or(Ok(()), |damage| Err(file::damaged(&path, &damage)))
}

/// What is wrong with the copy, if something is.
fn copy(from: &Connection, target: &Path) -> rusqlite::Result<Option<String>> {
    let mut to = file::connect_plainly(target)?;
    {
        let backup = Backup::new(from, &mut to)?;
        let began = std::time::Instant::now();
        // In one step: the reader's moment lasts for all of it.
        while !matches!(backup.step(-1)?, StepResult::Done) {
            if began.elapsed() > PATIENCE {
                let locked = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
                return Err(rusqlite::Error::SqliteFailure(locked, None));
            }
            std::thread::sleep(AGAIN);
        }
    }
    // One file, without a log beside it.
    to.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))?;
    let said: String = to.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    Ok(Some(said).filter(|said| said != "ok"))
}

/// Whether the store of a folder that nobody uses is whole and one that this handlerd understands; brings
/// it up to date.
pub fn check_copy(state_dir: &Path) -> Result<(), StoreError> {
    let path: PathBuf = state_dir.join(FILE);
    let unreadable = |error: rusqlite::Error| file::explained(&path, &error);
    let connection = file::connect_to_read(&path).map_err(unreadable)?;
    let said: String =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(unreadable)?;
    if said != "ok" {
        return Err(file::damaged(&path, &said));
    }
    drop(connection);
    Store::open(state_dir).map(drop)
}

/// Commits that SQLite would pass over.
pub fn require_whole_log(path: &Path) -> Result<(), StoreError> {
    let log = file::log_of(path);
    if file::note_of(path).exists() || crate::defences::off("log-checksum") {
        return Ok(());
    }
    match frames::damage(&log) {
        Ok(None) => Ok(()),
        Ok(Some(damage)) => Err(file::damaged(path, &damage)),
        Err(error) => Err(file::refused(path, &format!("{} could not be read: {error}", log.display()))),
    }
}

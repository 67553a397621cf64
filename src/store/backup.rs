//! A copy of the store as it is at one moment, also while others write to it.

use std::path::Path;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::{FILE, StoreError, file};

/// Copies the store of this state folder to a new file, checked. `false`: there is none yet.
pub fn copy(state_dir: &Path, to: &Path) -> Result<bool, StoreError> {
    let path = state_dir.join(FILE);
    if !path.exists() {
        return Ok(false);
    }
    file::make(to)?;
    let copied = || {
        let from = file::connect_to_read(&path)?;
        let mut into = Connection::open(to)?;
        // In one step: a reader of its own, which keeps nobody from writing.
        while Backup::new(&from, &mut into)?.step(-1)? != StepResult::Done {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        // One file, with no log beside it.
        into.pragma_update(None, "journal_mode", "delete")?;
        into.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0))
    };
    match copied() {
        Ok(verdict) if verdict == "ok" => Ok(true),
        Ok(damage) => Err(StoreError::Unusable(format!(
            "{} is damaged, and so would be a backup of it: {damage}\nhint: `handlerd restore` puts an earlier one back",
            path.display()
        ))),
        Err(error) => Err(StoreError::Read { path, reason: error.to_string() }),
    }
}

/// The name of the store's file in its folder.
pub const NAME: &str = FILE;

//! Whether the file is whole, found out when it is opened.
//!
//! A start does not wait long for it: what is not checked by then, as the file is large, is checked
//! beside the work. Damage that is found then stops all writing: what is added to a damaged file may
//! be lost with it.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use super::{StoreError, file};

/// How long a start waits.
const AT_START: Duration = Duration::from_millis(250);
/// Then it is left at that; as long as it reads, the log cannot be written over.
const BESIDE: Duration = Duration::from_secs(60);

#[derive(Debug, PartialEq, Eq)]
pub enum Checked {
    Whole,
    /// Nothing was found in the time there was.
    SoFar,
}

/// Checks as much as can be in the time that a start has.
pub fn at_start(connection: &Connection, path: &Path) -> Result<Checked, StoreError> {
    if crate::defences::off("check-of-the-store") {
        return Ok(Checked::Whole);
    }
    check(connection, path, AT_START)
}

/// Checks the rest on a thread of its own; tells only of damage.
pub fn beside(path: PathBuf, found: impl FnOnce(StoreError) + Send + 'static) {
    let check = move || {
        let connection = match file::connect_to_read(&path) {
            Ok(connection) => connection,
            Err(error) => return tracing::warn!("{} could not be checked: {error}", path.display()),
        };
        match check(&connection, &path, BESIDE) {
            Ok(Checked::Whole) => tracing::debug!("{} is whole", path.display()),
            Ok(Checked::SoFar) => {
                let seconds = BESIDE.as_secs();
                tracing::info!("{} is large: no damage found in {seconds} s of checking it", path.display());
            }
            Err(damage) => found(damage),
        }
    };
    let started = std::thread::Builder::new().name("store-check".to_owned()).spawn(check);
    if let Err(error) = started {
        tracing::warn!("the state is not checked: {error}");
    }
}

fn check(connection: &Connection, path: &Path, limit: Duration) -> Result<Checked, StoreError> {
    let (done, still_at_it) = mpsc::channel::<()>();
    let interrupt = connection.get_interrupt_handle();
    let watch = std::thread::Builder::new().spawn(move || {
        if still_at_it.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
            interrupt.interrupt();
        }
    });
    // Without a watch it could take as long as it likes.
    let Ok(watch) = watch else { return Ok(Checked::SoFar) };
    let said: rusqlite::Result<String> = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
    drop(done);
    let _ = watch.join();
    match said {
        Ok(said) if said == "ok" => Ok(Checked::Whole),
        Ok(damage) => Err(file::damaged(path, &one_line(&damage))),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
            Ok(Checked::SoFar)
        }
        Err(error) => Err(file::explained(path, &error)),
    }
}

fn one_line(text: &str) -> String {
    text.trim_start_matches("*** in database main ***").split_whitespace().collect::<Vec<_>>().join(" ")
}

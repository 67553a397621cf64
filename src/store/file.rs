//! The file itself: made for its owner only, opened, and refused with a reason.

use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{StoreError, checksums, frames};

/// For another process that writes (`handlerd invoke` beside a gateway).
const BUSY: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(5);
/// Of the write-ahead log, what stays on the disk to be written over: writing over costs less than
/// growing, as no metadata change with it.
const LOG_KEPT: i64 = 64 << 20;
const STATEMENTS: usize = 128;

/// Larger files of an older handlerd stay without checksums: a start does not write so much anew.
const ADOPTED: i64 = 64 << 20;

/// Makes the file if there is none, readable for nobody else.
pub fn make(path: &Path) -> Result<(), StoreError> {
    let made = std::fs::File::options().write(true).create_new(true).mode(0o600).open(path);
    match made {
        Ok(_) => {
            // Its name must outlive a power cut as well; that of its folder, if that is new, too.
            let sync = |folder: &Path| std::fs::File::open(folder).and_then(|folder| folder.sync_all());
            let folder = path.parent().unwrap_or(Path::new("/"));
            sync(folder).map_err(|error| refused(path, &error.to_string()))?;
            let _ = folder.parent().map(sync);
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => only_for_the_owner(path),
        Err(error) => Err(refused(path, &error.to_string())),
    }
}

/// What somebody restored or copied there may be open to all.
fn only_for_the_owner(path: &Path) -> Result<(), StoreError> {
    let metadata = std::fs::metadata(path).map_err(|error| refused(path, &error.to_string()))?;
    if !metadata.is_file() {
        return Err(refused(path, "it is no file"));
    }
    if metadata.permissions().mode() & 0o077 != 0
        && let Err(error) = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
    {
        tracing::warn!("{} can be read by others, and that could not be changed: {error}", path.display());
    }
    Ok(())
}

/// A connection that writes.
pub fn connect(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags_and_vfs(path, flags, checksums::layer());
    let connection = connection.map_err(|error| explained(path, &error))?;
    // SQLite opens what it cannot write for reading, without a word.
    if connection.is_readonly("main").map_err(|error| explained(path, &error))? {
        return Err(refused(path, "it can be read, but not written"));
    }
    let mode = configure_in_turn(&connection).map_err(|error| explained(path, &error))?;
    if mode != "wal" {
        return Err(refused(path, &format!("its file system has no write-ahead log for it (`{mode}`)")));
    }
    Ok(connection)
}

/// Of two that make a file's log at the same time SQLite turns one away at once, where its waiting could
/// never end: that one begins again.
fn configure_in_turn(connection: &Connection) -> rusqlite::Result<String> {
    let began = Instant::now();
    loop {
        match configure(connection) {
            Err(error) if is_busy(&error) && began.elapsed() < BUSY => std::thread::sleep(AGAIN),
            configured => return configured,
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Durable before it is told: `synchronous=FULL` syncs the log with every commit. Returns how SQLite
/// keeps its promise: `wal`.
fn configure(connection: &Connection) -> rusqlite::Result<String> {
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // Counts for a file that is still empty: others were made with it, and are not written to by whoever
    // only opens them: they may be damaged, or a sync of theirs has failed.
    if connection.pragma_query_value(None, "page_count", |row| row.get::<_, i64>(0))? == 0 {
        checksums::begin(connection);
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    let mode = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "journal_size_limit", LOG_KEPT)?;
    // The writer does it when nobody waits.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    // Undoing one piece of work needs no file.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(mode)
}

/// A connection that reads.
pub fn connect_to_read(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags_and_vfs(path, flags, checksums::layer())?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// A connection for a copy that is being made: what is in it decides how it is kept.
pub fn connect_plainly(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags_and_vfs(path, flags, checksums::layer())
}

/// Gives the pages of a file their checksums. One of an older handlerd, which has none, is written anew;
/// where that does not work, it goes on without.
pub fn protect(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    match checksums::adopt(connection, ADOPTED) {
        Ok(Ok(true)) => {}
        Ok(Ok(false)) => {
            tracing::info!("{} has no checksums: it is large, and of an older handlerd", path.display());
        }
        Ok(Err(damage)) => return Err(damaged(path, damage)),
        Err(error) => tracing::warn!("{} has got no checksums: {error}", path.display()),
    }
    Ok(())
}

/// Where SQLite keeps the write-ahead log of a file.
pub fn log_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name)
}

/// Stands beside the file while its log is written again: if the power is cut then, some of it is on the
/// disk and some is not, in any order, and that is no damage.
pub fn note_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-again");
    PathBuf::from(name)
}

/// Its name is on the disk when this returns. Nothing where there is no log.
pub fn leave_note(path: &Path) -> std::io::Result<()> {
    if std::fs::metadata(log_of(path)).map_or(0, |log| log.len()) == 0 {
        return Ok(());
    }
    std::fs::File::options().write(true).create(true).truncate(false).mode(0o600).open(note_of(path))?;
    std::fs::File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

/// Refuses a log in which commits stand behind damage: SQLite would pass over them.
pub fn require_whole_log(path: &Path) -> Result<(), StoreError> {
    if note_of(path).exists() || crate::defences::off("log-checksum") {
        return Ok(());
    }
    let log = log_of(path);
    match frames::damage(&log) {
        Ok(None) => Ok(()),
        Ok(Some(damage)) => Err(damaged(path, &damage)),
        Err(error) => Err(refused(path, &format!("{} could not be read: {error}", log.display()))),
    }
}

/// Writes over a file with what it already says, and syncs it.
///
/// What a failed sync did not write the kernel takes for written: it shows it to whoever reads, and
/// the next sync leaves it out and succeeds. SQLite trusts that sync, writes pages of the log to the
/// file, and a power cut in the middle leaves some of them there, with a log that lacks the others.
/// Written once more it is part of the next sync; and whenever the power is cut, no byte differs from
/// what was there.
pub fn write_again(path: &Path) -> std::io::Result<()> {
    let file = match std::fs::File::options().read(true).write(true).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    let mut buffer = vec![0; 64 << 10];
    let mut offset = 0;
    loop {
        let length = file.read_at(&mut buffer, offset)?;
        if length == 0 {
            break;
        }
        file.write_all_at(&buffer[..length], offset)?;
        offset += length as u64;
    }
    if offset > 0 { file.sync_data() } else { Ok(()) }
}

/// Which file this is, whatever its name: another one of the same name is not the one that was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity(u64, u64);

pub fn identity(path: &Path) -> std::io::Result<Identity> {
    let metadata = std::fs::metadata(path)?;
    Ok(Identity(metadata.dev(), metadata.ino()))
}

pub fn explained(path: &Path, error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => damaged(path, &error.to_string()),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Unusable(format!(
            "{} is being written by another program ({error})\nhint: end it, or use another folder with \
             `--state-dir`",
            path.display()
        )),
        _ => refused(path, &error.to_string()),
    }
}

/// Not ours to write, or nowhere to write to.
pub fn refused(path: &Path, reason: &str) -> StoreError {
    StoreError::Unusable(format!(
        "the state cannot be kept in {}: {reason}\nhint: give yourself the right to write there (and room on the \
         disk), or choose another place with `--state-dir`",
        path.display()
    ))
}

pub fn damaged(path: &Path, what: &str) -> StoreError {
    let path = path.display();
    StoreError::Unusable(format!(
        "{path} is damaged: {what}\nhint: put a backup of it back, or move it away to begin with an empty one: `mv \
         {path} {path}.damaged`, and with it, if they are there, {path}-wal and {path}-shm; `sqlite3 \
         {path}.damaged .recover` shows what can be saved; `--state-dir` with another folder serves meanwhile"
    ))
}

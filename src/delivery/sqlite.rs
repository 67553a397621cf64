//! Tables of SQLite files.
//!
//! One connection a file, kept open, and one row at a time: SQLite has one writer anyway. A row is on
//! the disk before it counts as delivered.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, params};

use super::DeliveryError;
use super::row::{COLUMNS, Row};

/// How long somebody else's transaction is waited for.
const BUSY: Duration = Duration::from_secs(5);
/// How many files are kept open; beyond that all are opened anew.
const OPEN: usize = 64;

pub struct Sqlite {
    root: PathBuf,
    files: Mutex<HashMap<PathBuf, Slot>>,
}

/// The connection while nobody writes. Whoever waits for it waits without a thread.
type Slot = Arc<tokio::sync::Mutex<Option<Opened>>>;

struct Opened {
    connection: Connection,
    /// Device and number of the file: another may have taken its place.
    file: (u64, u64),
}

impl Sqlite {
    pub fn new(root: PathBuf) -> Self {
        Self { root, files: Mutex::default() }
    }

    pub async fn insert(&self, path: &str, table: &str, row: Row) -> Result<(), DeliveryError> {
        let path = self.root.join(path);
        let slot = {
            let mut files = self.files.lock().unwrap();
            if files.len() >= OPEN && !files.contains_key(&path) {
                files.clear();
            }
            files.entry(path.clone()).or_default().clone()
        };
        let table = table.to_owned();
        let mut slot = slot.lock_owned().await;
        let task = tokio::task::spawn_blocking(move || {
            let opened = match slot.take().filter(|opened| is_still_there(opened, &path)) {
                Some(opened) => opened,
                None => open(&path)?,
            };
            let written = write(&opened.connection, &table, &row);
            written.map_err(|error| explain(&error, &path, &table))?;
            // A connection that has failed is not used again.
            *slot = Some(opened);
            Ok(())
        });
        task.await.unwrap_or_else(|error| Err(DeliveryError::transient(error.to_string())))
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// A file that was removed would take rows that nobody sees.
fn is_still_there(opened: &Opened, path: &Path) -> bool {
    identity(path) == Some(opened.file)
}

fn open(path: &Path) -> Result<Opened, DeliveryError> {
    let cannot = |reason: String| {
        DeliveryError::transient(format!("the database {} cannot be opened: {reason}", path.display()))
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| cannot(error.to_string()))?;
    }
    let prepare = || {
        let connection = Connection::open(path)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        // How a database that is there already keeps its journal is its owner's affair.
        let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
        if pages == 0 {
            connection.pragma_update(None, "journal_mode", "WAL")?;
        }
        Ok(connection)
    };
    let connection = prepare().map_err(|error: rusqlite::Error| DeliveryError {
        transient: may_pass(&error),
        ..cannot(error.to_string())
    })?;
    let file = identity(path).ok_or_else(|| cannot("it has been removed".to_owned()))?;
    Ok(Opened { connection, file })
}

fn write(connection: &Connection, table: &str, row: &Row) -> rusqlite::Result<()> {
    match insert(connection, table, row) {
        Err(error) if is_missing_table(&error, table) => {
            connection.execute_batch(&definition(table))?;
            insert(connection, table, row)
        }
        result => result,
    }
}

/// A row that is there already has been delivered before.
fn insert(connection: &Connection, table: &str, row: &Row) -> rusqlite::Result<()> {
    let sql = format!(
        "INSERT INTO \"{table}\" ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) \
         ON CONFLICT (request_id) DO NOTHING"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    statement.execute(params![
        row.request_id,
        row.function,
        row.version,
        row.succeeded,
        row.condition,
        row.attempts,
        row.timestamp,
        row.request,
        row.response,
    ])?;
    Ok(())
}

fn definition(table: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS \"{table}\" (request_id TEXT NOT NULL PRIMARY KEY, function TEXT NOT NULL, \
         version TEXT, succeeded BOOLEAN NOT NULL, condition TEXT, attempts INTEGER, timestamp TEXT NOT NULL, \
         request JSON, response JSON)"
    )
}

fn is_missing_table(error: &rusqlite::Error, table: &str) -> bool {
    error.to_string().contains(&format!("no such table: {table}"))
}

fn may_pass(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::CannotOpen
                | ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::OutOfMemory
                | ErrorCode::OperationInterrupted
                | ErrorCode::SchemaChanged
                | ErrorCode::FileLockingProtocolFailed
        )
    )
}

fn explain(error: &rusqlite::Error, path: &Path, table: &str) -> DeliveryError {
    let transient = may_pass(error);
    let said = error.to_string();
    let hint = if transient {
        String::new()
    } else if said.contains("column") || said.contains("ON CONFLICT") || said.contains("constraint") {
        format!(
            "\nhint: the table has another shape than a record's; name one that is not there yet, or make it so: {}",
            definition(table)
        )
    } else {
        String::new()
    };
    let reason = format!("table `{table}` of the database {} does not take it: {said}{hint}", path.display());
    DeliveryError { reason, transient }
}

//! What must outlive the gateway: one SQLite file in the state folder.
//!
//! One thread writes. What is asked of it while it waits for the disk is committed together with the
//! next `fdatasync` (group commit), so that many callers share one. `write` returns when the disk
//! has it; until then nothing has been promised. Reading never waits for writing (WAL).
//!
//! - `schema`: the tables, and how a file of an older handlerd becomes one of this.
//! - `file`, `integrity`: how it is opened, and when that is refused.
//! - `checksums`, `frames`: how damage of the file and of its log is noticed.
//! - `backup`: all of it in another place.
//! - `writer`, `job`: the thread that writes, and what it is asked to do.
//! - `retention`: what is thrown away.
//! - one file per thing that is kept, each with its own SQL; nobody else speaks SQL.

pub mod backup;
mod checkpoints;
mod checksums;
mod file;
mod frames;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod integrity;
mod job;
mod mappings;
mod metrics;
mod objects;
mod queue;
mod queue_view;
mod resources;
mod retention;
mod schedules;
mod schema;
mod subscriptions;
mod writer;

#[cfg(test)]
mod damage;
#[cfg(test)]
mod power_cut;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rusqlite::{Connection, Transaction};
use tokio::sync::Semaphore;

pub use checkpoints::Checkpoint;
use integrity::Checked;
pub use mappings::{KeptMapping, MappingState, MappingStatus, declared_uuid};
pub use objects::{ObjectChange, ObjectState};
pub use queue::{Added, After, Due, Entry, Kind, Settlement, Wanted};
pub use queue_view::{Chosen, Counts, Overview, Shown};
pub use resources::{Key, Resource};
pub use retention::Cleaned;
pub use schedules::{DueTime, ScheduleState};
pub use subscriptions::Subscription;
use writer::{Log, Writer};

/// The file in the state folder.
const FILE: &str = "handlerd.db";

/// So many read at once, and so many connections are kept for them.
const READERS: usize = 8;

/// A cheap handle. The writing thread ends when the last one is dropped.
#[derive(Clone)]
pub struct Store(Arc<Shared>);

struct Shared {
    path: PathBuf,
    /// Connections that nobody reads with at the moment. Closed before the writer's: the last one writes the
    /// log back, which those that only read cannot.
    readers: Mutex<Vec<Connection>>,
    writer: Writer,
    /// Counts the changes of event source mappings, for those who run them.
    mapping_changes: tokio::sync::watch::Sender<u64>,
    reading: Semaphore,
}

/// Why something could not be kept or found.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The file as a whole: another owner, damage, a newer version.
    #[error("{0}")]
    Unusable(String),
    /// Nothing was written: no room, or the disk failed.
    #[error("the state could not be written to {}: {reason}", path.display())]
    Disk { path: PathBuf, reason: String },
    #[error("the state in {} could not be read: {reason}", path.display())]
    Read { path: PathBuf, reason: String },
}

impl Store {
    /// Opens the store of this state folder, or makes it. The caller holds the folder's lock.
    ///
    /// A file that is damaged, that a newer handlerd has written or that cannot be written is refused.
    pub fn open(state_dir: &Path) -> Result<Self, StoreError> {
        let path = state_dir.join(FILE);
        file::make(&path)?;
        file::require_whole_log(&path)?;
        let mut connection = file::connect(&path)?;
        let checked = integrity::at_start(&connection, &path)?;
        let begun = writer::begin_anew(&connection, &path)?;
        file::protect(&connection, &path)?;
        schema::migrate(&mut connection, &path)?;
        let store = Self::on(connection, path.clone(), true, begun)?;
        if checked == Checked::SoFar {
            let condition = store.0.writer.condition().clone();
            integrity::beside(path, move |damage| {
                tracing::error!("{damage}\nnothing is written to it any more");
                let _ = condition.damage.set(damage);
            });
        }
        Ok(store)
    }

    /// Opens the store of a folder that a running gateway has the lock of, as it is: nothing is
    /// brought up to date, checked or cleaned up.
    pub fn open_beside(state_dir: &Path) -> Result<Self, StoreError> {
        let path = state_dir.join(FILE);
        let connection = file::connect(&path)?;
        schema::require_current(&connection, &path)?;
        Self::on(connection, path, false, Log::Trusted)
    }

    /// Whether [`Store::open`] could, beside the gateway that has the lock: nothing is changed.
    pub fn could_be_opened(state_dir: &Path) -> Result<(), StoreError> {
        let path = state_dir.join(FILE);
        if !path.exists() {
            return Ok(());
        }
        let connection = file::connect_to_read(&path).map_err(|error| file::explained(&path, &error))?;
        schema::refuse_newer(&connection, &path)
    }

    fn on(connection: Connection, path: PathBuf, owner: bool, log: Log) -> Result<Self, StoreError> {
        let writer = Writer::start(connection, path.clone(), owner, log)?;
        let reading = Semaphore::new(READERS);
        Ok(Self(Arc::new(Shared {
            path,
            writer,
            readers: Mutex::default(),
            reading,
            mapping_changes: tokio::sync::watch::Sender::new(0),
        })))
    }

    /// Why nothing can be kept at the moment.
    pub fn trouble(&self) -> Option<String> {
        let condition = self.0.writer.condition();
        let damage = condition.damage.get().map(ToString::to_string);
        damage.or_else(|| condition.trouble.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone())
    }

    /// Does the work in a transaction and waits until it is on the disk. Work that fails leaves
    /// nothing behind; that of others, committed with it, stays.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.0.writer.write(work).await
    }

    /// Looks something up, on a thread that may wait.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let _turn = self.0.reading.acquire().await;
        let store = self.clone();
        let task = tokio::task::spawn_blocking(move || store.read_now(work));
        task.await.unwrap_or_else(|error| Err(self.cannot_read(error.to_string())))
    }

    /// The same, on this thread.
    fn read_now<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let idle = self.readers().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => {
                file::connect_to_read(&self.0.path).map_err(|error| self.cannot_read(error.to_string()))?
            }
        };
        let result = work(&connection);
        // One that has failed may not have understood what became of the file.
        let mut readers = self.readers();
        if result.is_ok() && readers.len() < READERS {
            readers.push(connection);
        }
        result.map_err(|error| self.cannot_read(error.to_string()))
    }

    fn readers(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.0.readers.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn cannot_read(&self, reason: String) -> StoreError {
        StoreError::Read { path: self.0.path.clone(), reason }
    }

    pub fn path(&self) -> &Path {
        &self.0.path
    }
}

//! The thread that writes: takes what has gathered, does it in one transaction, and answers when the
//! disk has it.
//!
//! While one group is on its way to the disk the next one gathers: nobody waits for a clock, and
//! the more callers there are, the more of them share a sync. The log is written back to the file
//! when nobody waits for an answer.
//!
//! When the disk fails, the whole group is refused, and nothing is written before the file has
//! proved itself again (`recover`).

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};
use tokio::sync::Semaphore;

use super::StoreError;
use super::file::{self, Identity};
use super::job::{Job, Ran, Work, is_of_the_disk};

/// Of one transaction: more would keep the first of them waiting.
const GROUP: usize = 512;
/// The same for work that takes long.
const GROUP_TIME: Duration = Duration::from_millis(10);
/// So many wait here at once; the others hold their memory where it is already counted (a request's
/// body).
const PLACES: usize = 2048;
/// A disk that takes longer than this has failed, for whoever waits for it.
const PATIENCE: Duration = Duration::from_secs(30);
/// A disk that has failed is not asked more often than this; it is back at most so much later.
const RECOVERY: Duration = Duration::from_millis(100);
/// Pages in the log, after which it is written back.
const LOG_PAGES: i64 = 2000;
/// Or so long after the last commit.
const IDLE: Duration = Duration::from_secs(1);
/// Somebody reads for very long, so that the log cannot be written over.
const LOG_IS_LONG: i64 = 100_000;
/// The end of the gateway does not wait longer for a disk that hangs.
const LAST_WAIT: Duration = Duration::from_secs(5);

const IN_USE: &str = "another program reads it for so long that its log cannot be written back";

/// What is known of the file beyond one piece of work.
#[derive(Default)]
pub struct Condition {
    /// Damage that was found: nothing is written any more.
    pub damage: OnceLock<StoreError>,
    /// Why the last group could not be written; none when it could.
    pub trouble: Mutex<Option<String>>,
}

pub struct Writer {
    path: PathBuf,
    condition: Arc<Condition>,
    places: Arc<Semaphore>,
    jobs: Option<mpsc::Sender<Box<dyn Job>>>,
    ended: Mutex<mpsc::Receiver<()>>,
}

impl Writer {
    /// `owner`: nobody else writes this file back and cleans up.
    pub fn start(connection: Connection, path: PathBuf, owner: bool, log: Log) -> Result<Self, StoreError> {
        let condition: Arc<Condition> = Arc::default();
        let (jobs, waiting) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        let opened = file::identity(&path).map_err(|error| StoreError::Unusable(error.to_string()))?;
        let mut thread = WriterThread {
            path: path.clone(),
            opened,
            connection,
            condition: condition.clone(),
            suspect: match log {
                Log::Trusted => None,
                Log::Suspect => Some((None, IN_USE.to_owned())),
            },
            growth: Growth::default(),
            log_pages: test_setting("HANDLERD_TEST_LOG_PAGES").unwrap_or(LOG_PAGES),
            owner,
            answers_first: crate::defences::off("commit-before-answer"),
        };
        std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || {
                thread.work(&waiting);
                drop(thread);
                let _ = end.send(());
            })
            .map_err(|error| StoreError::Unusable(format!("no thread could be started: {error}")))?;
        let places = Arc::new(Semaphore::new(PLACES));
        Ok(Self { path, condition, places, jobs: Some(jobs), ended: Mutex::new(ended) })
    }

    pub fn condition(&self) -> &Arc<Condition> {
        &self.condition
    }

    pub async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let failed = |reason: &str| StoreError::Disk { path: self.path.clone(), reason: reason.to_owned() };
        let written = async {
            let place = self.places.clone().acquire_owned().await.expect("it is never closed");
            let (work, answered) = Work::new(work, self.path.clone(), place);
            let sent = self.jobs.as_ref().map(|jobs| jobs.send(Box::new(work)));
            match sent {
                Some(Ok(())) => answered.await.unwrap_or_else(|_| Err(failed("its thread has ended"))),
                _ => Err(failed("its thread has ended")),
            }
        };
        match tokio::time::timeout(PATIENCE, written).await {
            Ok(result) => result,
            Err(_) => Err(failed(&format!("the disk has not answered for {} s", PATIENCE.as_secs()))),
        }
    }
}

impl Drop for Writer {
    /// What has been asked for is still written.
    fn drop(&mut self) {
        drop(self.jobs.take());
        let ended = self.ended.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        if ended.recv_timeout(LAST_WAIT) == Err(RecvTimeoutError::Timeout) {
            tracing::error!("{} is not yet written; its disk does not answer", self.path.display());
        }
    }
}

struct WriterThread {
    path: PathBuf,
    opened: Identity,
    connection: Connection,
    condition: Arc<Condition>,
    /// The file has to prove itself before anything is written: since when it is left in peace, and why.
    suspect: Option<(Option<Instant>, String)>,
    growth: Growth,
    /// See `LOG_PAGES`.
    log_pages: i64,
    owner: bool,
    /// The mistake that the tests of durability must find when it is made on purpose.
    answers_first: bool,
}

/// How far the log has grown, and what has been written back of it; in pages.
#[derive(Default)]
struct Growth {
    length: i64,
    written_back: i64,
    /// Its length when it was last written back: not before it has grown on.
    tried: i64,
    is_long: bool,
}

impl WriterThread {
    fn work(&mut self, waiting: &mpsc::Receiver<Box<dyn Job>>) {
        loop {
            let first = if self.growth.written_back < self.growth.length && self.owner {
                match waiting.recv_timeout(IDLE) {
                    Ok(job) => job,
                    Err(RecvTimeoutError::Timeout) => {
                        self.write_back();
                        // What could not be, will be with what comes next.
                        self.growth.written_back = self.growth.length;
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            } else {
                match waiting.recv() {
                    Ok(job) => job,
                    Err(_) => return,
                }
            };
            let mut group = vec![first];
            let committed = match self.ready() {
                Ok(()) => self.commit(waiting, &mut group),
                Err(error) => Err(error),
            };
            self.tell(committed.as_ref().err());
            for job in group {
                job.answer(committed.as_ref().copied());
            }
            if committed.is_ok() {
                self.after_commit();
            }
        }
    }

    /// Whether anything may be written at all.
    fn ready(&mut self) -> Result<(), StoreError> {
        if let Some(damage) = self.condition.damage.get() {
            return Err(damage.clone());
        }
        // What is written to a file without a name is lost with this process.
        if file::identity(&self.path).ok() != Some(self.opened) {
            return Err(
                self.failed("it was deleted or replaced while handlerd runs; start it again".to_owned())
            );
        }
        if let Some((since, reason)) = &self.suspect {
            if since.is_some_and(|since| since.elapsed() < RECOVERY) {
                return Err(self.failed(reason.clone()));
            }
            if let Err(reason) = self.recover() {
                self.suspect = Some((Some(Instant::now()), reason.clone()));
                return Err(self.failed(reason));
            }
            self.suspect = None;
        }
        Ok(())
    }

    /// After a failed sync nobody knows what the disk has: the kernel may hold pages for clean that
    /// were never written. What was promised is still known to the log's index, and is written out
    /// once more, all of it, to the file; the log begins anew, so that nothing new is chained to
    /// what may not be there.
    fn recover(&mut self) -> Result<(), String> {
        // The new connection first: the index lives in memory that the last one to leave takes along.
        let fresh = file::connect(&self.path).map_err(|error| error.to_string())?;
        self.connection = fresh;
        match begin_anew(&self.connection, &self.path).map_err(|error| error.to_string())? {
            Log::Trusted => self.growth = Growth::default(),
            Log::Suspect => return Err(IN_USE.to_owned()),
        }
        Ok(())
    }

    /// Each job in a savepoint of its own: one that fails takes nothing of the others with it. Jobs
    /// that come while others are done are taken along.
    fn commit(
        &mut self,
        waiting: &mpsc::Receiver<Box<dyn Job>>,
        group: &mut Vec<Box<dyn Job>>,
    ) -> Result<(), StoreError> {
        let done = run(&mut self.connection, waiting, group, self.answers_first);
        done.map_err(|failure| {
            if failure.suspect {
                self.suspect = Some((Some(Instant::now()), failure.reason.clone()));
            }
            self.failed(failure.reason)
        })
    }

    fn failed(&self, reason: String) -> StoreError {
        StoreError::Disk { path: self.path.clone(), reason }
    }

    /// The terminal hears of a change only.
    fn tell(&self, error: Option<&StoreError>) {
        let mut trouble = self.condition.trouble.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match (error, trouble.as_deref()) {
            (Some(error), None) => {
                tracing::error!(
                    "{error}\nhint: whatever has to be kept is refused until it can be written again; functions can be \
                     invoked meanwhile"
                );
            }
            (None, Some(_)) => tracing::info!("the state is written to {} again", self.path.display()),
            _ => {}
        }
        *trouble = error.map(ToString::to_string);
    }

    fn after_commit(&mut self) {
        if !self.owner {
            return;
        }
        let Ok((_, length, written_back)) = checkpoint(&self.connection, "NOOP") else { return };
        let begun_anew = length < self.growth.length;
        self.growth.length = length;
        self.growth.written_back = written_back;
        if begun_anew {
            self.growth.tried = 0;
            self.growth.is_long = false;
        }
        if length - self.growth.tried >= self.log_pages {
            self.write_back();
        }
        if length > LOG_IS_LONG && !self.growth.is_long {
            self.growth.is_long = true;
            tracing::warn!(
                "{}-wal grows, as another program has been reading the file for long ({length} pages)",
                self.path.display()
            );
        }
    }

    fn write_back(&mut self) {
        match checkpoint(&self.connection, "PASSIVE") {
            Ok((_, length, written_back)) => {
                self.growth = Growth { length, written_back, tried: length, is_long: self.growth.is_long };
            }
            Err(error) => {
                // It is still in the log; but what else the disk has lost is not known.
                tracing::warn!("{}-wal could not be written back: {error}", self.path.display());
                self.suspect = Some((Some(Instant::now()), error.to_string()));
            }
        }
    }
}

/// Whether new work may be chained to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    Trusted,
    Suspect,
}

/// Writes all of the log to the file, and begins it anew.
///
/// Also at each start: an earlier process may have ended after a sync that failed. What it wrote last
/// is then read as if it were there, but is not on the disk; what is chained to it would be lost
/// with it. Suspect if somebody reads or writes, so that it was not possible.
pub fn begin_anew(connection: &Connection, path: &Path) -> Result<Log, StoreError> {
    let failed = |error: rusqlite::Error| file::explained(path, &error);
    if !crate::defences::off("log-written-again") {
        // Nobody adds to the log meanwhile.
        match connection.execute_batch("BEGIN IMMEDIATE") {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                return Ok(Log::Suspect);
            }
            begun => begun.map_err(failed)?,
        }
        let written = file::leave_note(path).and_then(|()| file::write_again(&file::log_of(path)));
        connection.execute_batch("ROLLBACK").map_err(failed)?;
        written.map_err(|error| file::refused(path, &format!("its log could not be synced: {error}")))?;
    }
    let (blocked, _, _) = checkpoint(connection, "TRUNCATE").map_err(failed)?;
    if blocked {
        return Ok(Log::Suspect);
    }
    let _ = std::fs::remove_file(file::note_of(path));
    Ok(Log::Trusted)
}

/// Whether a reader was in the way, the log's pages, and those of them that are in the file.
fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<(bool, i64, i64)> {
    let mut statement = connection.prepare_cached(&format!("PRAGMA wal_checkpoint({mode})"))?;
    statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
}

/// Why a group could not be written.
struct Failure {
    reason: String,
    suspect: bool,
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self { reason: error.to_string(), suspect: is_of_the_disk(&error) }
    }
}

fn run(
    connection: &mut Connection,
    waiting: &mpsc::Receiver<Box<dyn Job>>,
    group: &mut Vec<Box<dyn Job>>,
    answers_first: bool,
) -> Result<(), Failure> {
    let began = Instant::now();
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut next = 0;
    while next < group.len() {
        transaction.prepare_cached("SAVEPOINT job")?.execute([])?;
        match group[next].run(&transaction) {
            Ran::Well => {}
            Ran::Badly => {
                transaction.prepare_cached("ROLLBACK TO job")?.execute([])?;
            }
            Ran::DiskFailed(reason) => return Err(Failure { reason, suspect: true }),
        }
        transaction.prepare_cached("RELEASE job")?.execute([])?;
        next += 1;
        if group.len() < GROUP && began.elapsed() < GROUP_TIME {
            group.extend(waiting.try_recv());
        }
    }
    if answers_first {
        for job in group.drain(..) {
            job.answer(Ok(()));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(transaction.commit()?)
}

/// What tests set; a release knows nothing of it.
fn test_setting(name: &str) -> Option<i64> {
    if !cfg!(debug_assertions) {
        return None;
    }
    std::env::var(name).ok()?.parse().ok()
}

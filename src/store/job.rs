//! One piece of work for the thread that writes, and how its caller learns what came of it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use rusqlite::{ErrorCode, Transaction};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::StoreError;

/// How a piece of work went.
pub enum Ran {
    Well,
    /// What it wrote must be undone; that of others may stay.
    Badly,
    /// The disk failed it: no reason to think better of what the others wrote.
    DiskFailed(String),
}

pub trait Job: Send {
    fn run(&mut self, transaction: &Transaction<'_>) -> Ran;
    /// The transaction has ended: on the disk, or not.
    fn answer(self: Box<Self>, committed: Result<(), &StoreError>);
}

pub struct Work<F, T> {
    work: Option<F>,
    result: Option<Result<T, String>>,
    path: PathBuf,
    answer: oneshot::Sender<Result<T, StoreError>>,
    /// Its place in line.
    _place: OwnedSemaphorePermit,
}

impl<F, T> Work<F, T> {
    pub fn new(
        work: F,
        path: PathBuf,
        place: OwnedSemaphorePermit,
    ) -> (Self, oneshot::Receiver<Result<T, StoreError>>) {
        let (answer, answered) = oneshot::channel();
        (Self { work: Some(work), result: None, path, answer, _place: place }, answered)
    }
}

impl<F, T> Job for Work<F, T>
where
    F: FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send,
    T: Send,
{
    /// Also for a caller that has given up: who asks and goes does not know whether it was done,
    /// and that it was is what most of them hope for.
    fn run(&mut self, transaction: &Transaction<'_>) -> Ran {
        let Some(work) = self.work.take() else { return Ran::Badly };
        // A mistake in one piece of work must not end the writing of all.
        let (ran, result) = match catch_unwind(AssertUnwindSafe(|| work(transaction))) {
            Ok(Ok(value)) => (Ran::Well, Ok(value)),
            Ok(Err(error)) if is_of_the_disk(&error) => {
                (Ran::DiskFailed(error.to_string()), Err(error.to_string()))
            }
            Ok(Err(error)) => (Ran::Badly, Err(error.to_string())),
            Err(panic) => (Ran::Badly, Err(format!("a bug in handlerd: {}", said(&*panic)))),
        };
        self.result = Some(result);
        ran
    }

    fn answer(self: Box<Self>, committed: Result<(), &StoreError>) {
        let Self { result, path, answer, .. } = *self;
        let result = match (result, committed) {
            (Some(Err(reason)), _) => Err(StoreError::Disk { path, reason }),
            (_, Err(error)) => Err(error.clone()),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(StoreError::Disk { path, reason: "it was not begun".to_owned() }),
        };
        let _ = answer.send(result);
    }
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic")
}

/// Whether an error is the file's or the disk's: not the fault of this statement.
pub fn is_of_the_disk(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::SystemIoFailure
                | ErrorCode::DiskFull
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::OutOfMemory
                | ErrorCode::FileLockingProtocolFailed
        )
    )
}

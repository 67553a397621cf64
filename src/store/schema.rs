//! The tables, and how a file of an older handlerd becomes one of this.
//!
//! Steps are only ever added: the number of steps that a file has been through is its
//! `user_version`. All that are missing are one transaction.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::{StoreError, checksums, file};

/// What each version added, in order.
const STEPS: &[&str] = &["
    -- What the Lambda API was told that no file says: aliases, policies, mappings, ... as JSON.
    CREATE TABLE resources (
        kind TEXT NOT NULL,       -- `alias`, `policy`, ...
        owner TEXT NOT NULL,      -- whose: a function's or a layer's name
        name TEXT NOT NULL,       -- which of them: an alias' name, a version's number, ...
        document TEXT NOT NULL,   -- JSON
        PRIMARY KEY (kind, owner, name)
    ) STRICT, WITHOUT ROWID;

    -- Event source mappings that the Lambda API was told.
    CREATE TABLE mappings (
        uuid TEXT NOT NULL PRIMARY KEY,
        document TEXT NOT NULL    -- JSON
    ) STRICT, WITHOUT ROWID;

    -- How they are, also those that files declare.
    CREATE TABLE mapping_statuses (
        uuid TEXT NOT NULL PRIMARY KEY,
        state TEXT NOT NULL,      -- `Creating`, `Enabled`, ...
        result TEXT               -- of the last processing
    ) STRICT, WITHOUT ROWID;

    -- How far the shards of streams have been read.
    CREATE TABLE checkpoints (
        mapping TEXT NOT NULL,    -- its UUID
        shard TEXT NOT NULL,
        start TEXT NOT NULL,      -- where reading begins while nothing has been read
        position TEXT,            -- the last sequence number that is done with
        window TEXT,              -- JSON: the tumbling window that is open, and its state
        finished INTEGER NOT NULL,-- the shard is closed, and all of it done with
        PRIMARY KEY (mapping, shard)
    ) STRICT, WITHOUT ROWID;
    -- What is to be done without anybody waiting for it: asynchronous invocations, and deliveries of
    -- what came of them. A row is there until it is done; what could not be done stays as `dead`.
    CREATE TABLE queue (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        state INTEGER NOT NULL,       -- 0: to be done, 1: dead
        lane TEXT NOT NULL,           -- lanes take turns: a function's name, or `> ` and a destination
        due_at INTEGER NOT NULL,      -- this and all times: milliseconds since 1970
        accepted_at INTEGER NOT NULL,
        function TEXT NOT NULL,
        qualifier TEXT,
        destination TEXT,             -- of a delivery
        request_id TEXT NOT NULL,
        trace_id TEXT NOT NULL,
        function_arn TEXT NOT NULL,
        attempts INTEGER NOT NULL,    -- that counted
        setbacks INTEGER NOT NULL,    -- in a row, that did not: throttled, no environment, unreachable
        error TEXT,                   -- of the last attempt
        body BLOB NOT NULL            -- the event; of a delivery, the message
    ) STRICT;
    CREATE INDEX queue_turns ON queue (state, lane, due_at);
    -- What each schedule has done.
    CREATE TABLE schedules (
        name TEXT NOT NULL PRIMARY KEY,
        definition TEXT NOT NULL,     -- what it says
        enabled INTEGER NOT NULL,
        begin INTEGER NOT NULL,       -- since when; times are milliseconds since 1970
        last INTEGER                  -- the last due time whose event has been queued
    ) STRICT, WITHOUT ROWID;

    -- Folders that stand for buckets, and their files as they were when their events were queued.
    CREATE TABLE buckets (bucket TEXT NOT NULL PRIMARY KEY) STRICT, WITHOUT ROWID;
    CREATE TABLE objects (
        bucket TEXT NOT NULL,
        key TEXT NOT NULL,
        size INTEGER NOT NULL,
        modified INTEGER NOT NULL,    -- nanoseconds since 1970
        etag TEXT NOT NULL,
        PRIMARY KEY (bucket, key)
    ) STRICT, WITHOUT ROWID;

    -- Topics that are subscribed by HTTP.
    CREATE TABLE subscriptions (
        topic_arn TEXT NOT NULL PRIMARY KEY,
        token TEXT NOT NULL,          -- in the path of the endpoint
        endpoint TEXT NOT NULL,
        arn TEXT                      -- of the subscription, once there is one
    ) STRICT, WITHOUT ROWID;

    -- What happened in each minute.
    CREATE TABLE metrics (
        function TEXT NOT NULL,
        minute INTEGER NOT NULL,      -- since 1970
        invocations INTEGER NOT NULL,
        errors INTEGER NOT NULL,
        throttles INTEGER NOT NULL,
        cold_starts INTEGER NOT NULL,
        concurrency INTEGER NOT NULL, -- the most at once
        durations BLOB NOT NULL,      -- a histogram
        PRIMARY KEY (function, minute)
    ) STRICT;
    CREATE INDEX metrics_by_minute ON metrics (minute);
"];

/// Brings the file up to date; refuses one that a newer handlerd has written. Two that do this at the
/// same time wait for each other.
pub fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let failed = |error: rusqlite::Error| file::explained(path, &error);
    if version(connection).map_err(failed)? == STEPS.len() as i64 {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let been_through = version(&transaction).map_err(failed)?;
    let missing = missing(been_through, path)?;
    for step in missing {
        transaction.execute_batch(step).map_err(failed)?;
    }
    checksums::mark(&transaction).map_err(failed)?;
    transaction.pragma_update(None, "user_version", STEPS.len() as i64).map_err(failed)?;
    transaction.commit().map_err(failed)
}

/// What a file that has been through so many steps has not been through.
fn missing(been_through: i64, path: &Path) -> Result<&'static [&'static str], StoreError> {
    let missing = usize::try_from(been_through).ok().and_then(|steps| STEPS.get(steps..));
    missing.ok_or_else(|| {
        StoreError::Unusable(format!(
            "{} was written by a newer handlerd (its schema is {been_through}, this one knows {})\nhint: run the \
             newer handlerd, or give this one its own folder with `--state-dir`",
            path.display(),
            STEPS.len()
        ))
    })
}

/// For whoever would bring it up to date later.
pub fn refuse_newer(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let been_through = version(connection).map_err(|error| file::explained(path, &error))?;
    missing(been_through, path).map(drop)
}

/// For a program beside the gateway, which works with the file as it is.
pub fn require_current(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let found = version(connection).map_err(|error| file::explained(path, &error))?;
    if found == STEPS.len() as i64 {
        return Ok(());
    }
    Err(StoreError::Unusable(format!(
        "{} is in use by another version of handlerd (its schema is {found}, that of this one {})\nhint: restart the \
         running handlerd with this version, or use its version here",
        path.display(),
        STEPS.len()
    )))
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

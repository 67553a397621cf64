//! What is thrown away, and when: by age, by number and by size. The file shrinks with it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Transaction, params};

use super::{Store, StoreError};

/// How long the rows of a table are kept. The names are ours: they stand in statements as they are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    pub table: &'static str,
    /// The condition on rows that may go at all; `TRUE` for all of them.
    pub which: &'static str,
    /// Since when a row is there, in milliseconds since 1970.
    pub since: &'static str,
    /// An expression for the bytes of a row.
    pub size: &'static str,
    pub longest: Duration,
    pub most_rows: u64,
    pub most_bytes: u64,
}

/// Events and deliveries that were given up, for `handlerd queue`; a row's `due_at` is when it died.
pub(super) const DEAD: Kept = Kept {
    table: "queue",
    which: "state = 1",
    since: "due_at",
    size: "length(body)",
    longest: Duration::from_secs(14 * 24 * 60 * 60),
    most_rows: 10_000,
    most_bytes: 256 * 1024 * 1024,
};

/// What is thrown away.
const KEPT: &[Kept] = &[DEAD, super::metrics::METRICS];

/// In one piece of work: others wait for it.
const ROWS_AT_ONCE: u32 = 500;
const PAGES_AT_ONCE: i64 = 256;
/// Free pages (of 4 kB) that the file keeps, to be written next.
const FREE_PAGES: i64 = if cfg!(test) { 16 } else { 1024 };
/// Between two looks at what has grown old.
const INTERVAL: Duration = Duration::from_secs(600);
/// A start has better things to do.
const FIRST: Duration = Duration::from_secs(60);

/// What one look has thrown away.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Cleaned {
    pub rows: u64,
    pub pages: u64,
}

impl Store {
    /// Keeps the file small for as long as the gateway runs.
    pub async fn keep_house_forever(self) {
        tokio::time::sleep(FIRST).await;
        loop {
            match self.keep_house(SystemTime::now()).await {
                Ok(Cleaned { rows, pages }) if rows + pages > 0 => {
                    tracing::debug!("{rows} old rows deleted, {pages} pages given back");
                }
                Ok(_) => {}
                Err(error) => tracing::warn!("what is old could not be deleted: {error}"),
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Deletes what is older than its limit or more than there may be, oldest first, and gives free
    /// pages back. In small pieces: whatever else is to be written comes in between.
    pub async fn keep_house(&self, now: SystemTime) -> Result<Cleaned, StoreError> {
        let mut cleaned = Cleaned::default();
        for kept in KEPT {
            cleaned.rows += self.retain(*kept, now).await?;
        }
        cleaned.pages = self.give_back().await?;
        Ok(cleaned)
    }

    pub(super) async fn retain(&self, kept: Kept, now: SystemTime) -> Result<u64, StoreError> {
        let mut deleted = 0;
        loop {
            let rows = self.write(move |transaction| delete(transaction, &kept, now)).await?;
            deleted += rows;
            if rows == 0 {
                return Ok(deleted);
            }
        }
    }

    async fn give_back(&self) -> Result<u64, StoreError> {
        let mut given = 0;
        loop {
            let pages = self.write(shrink).await?;
            given += pages;
            if pages == 0 {
                return Ok(given);
            }
        }
    }
}

fn delete(transaction: &Transaction<'_>, kept: &Kept, now: SystemTime) -> rusqlite::Result<u64> {
    let Kept { table, which, since, size, .. } = kept;
    let oldest = now.checked_sub(kept.longest).and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let oldest = oldest.map_or(0, |age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
    let old = transaction
        .prepare_cached(&format!(
            "DELETE FROM {table} WHERE rowid IN
             (SELECT rowid FROM {table} WHERE ({which}) AND {since} < ? ORDER BY {since} LIMIT ?)"
        ))?
        .execute(params![oldest, ROWS_AT_ONCE])?;
    if old > 0 {
        return Ok(old as u64);
    }
    // Numbered from the newest: those beyond a limit are the oldest.
    let many = transaction
        .prepare_cached(&format!(
            "DELETE FROM {table} WHERE rowid IN (
                 SELECT id FROM (
                     SELECT rowid AS id, {since} AS since,
                            row_number() OVER newest AS number, sum({size}) OVER newest AS bytes
                     FROM {table} WHERE ({which})
                     WINDOW newest AS (ORDER BY {since} DESC, rowid DESC ROWS UNBOUNDED PRECEDING)
                 ) WHERE number > ? OR bytes > ? ORDER BY since LIMIT ?)"
        ))?
        .execute(params![clamped(kept.most_rows), clamped(kept.most_bytes), ROWS_AT_ONCE])?;
    Ok(many as u64)
}

fn clamped(limit: u64) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Gives some free pages back to the file system, if there are many.
fn shrink(transaction: &Transaction<'_>) -> rusqlite::Result<u64> {
    let free = || transaction.query_row("PRAGMA freelist_count", [], |row| row.get::<_, i64>(0));
    let before = free()?;
    if before <= FREE_PAGES {
        return Ok(0);
    }
    let pages = (before - FREE_PAGES).min(PAGES_AT_ONCE);
    // One page with each step.
    let mut statement = transaction.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok((before - free()?).max(0) as u64)
}

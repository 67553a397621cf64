//! Figures of functions by minute, for thirty days.

use std::time::Duration;

use rusqlite::{Row, params};

use super::retention::Kept;
use super::{Store, StoreError};
use crate::metrics::{Figures, Histogram};

pub(super) const METRICS: Kept = Kept {
    table: "metrics",
    which: "TRUE",
    since: "minute * 60000",
    size: "length(durations) + 64",
    longest: Duration::from_secs(30 * 24 * 60 * 60),
    most_rows: 2_000_000,
    most_bytes: 256 * 1024 * 1024,
};

const COLUMNS: &str = "function, minute, invocations, errors, throttles, cold_starts, concurrency, durations";

impl Store {
    /// These minutes are now what is known of them.
    pub async fn set_metrics(&self, figures: Vec<(String, Figures)>) -> Result<(), StoreError> {
        self.write(move |transaction| {
            let mut statement = transaction.prepare_cached(&format!(
                "INSERT OR REPLACE INTO metrics ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
            ))?;
            for (function, figures) in &figures {
                statement.execute(params![
                    function,
                    figures.minute as i64,
                    figures.invocations as i64,
                    figures.errors as i64,
                    figures.throttles as i64,
                    figures.cold_starts as i64,
                    figures.concurrency,
                    figures.durations.to_bytes(),
                ])?;
            }
            Ok(())
        })
        .await
    }

    /// From one minute to before the other, of one function or of all.
    pub async fn metrics(
        &self,
        function: Option<String>,
        from: u64,
        to: u64,
    ) -> Result<Vec<(String, Figures)>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM metrics WHERE minute >= ?1 AND minute < ?2 AND (?3 IS NULL OR function = ?3) \
                 ORDER BY minute"
            ))?;
            let rows = statement.query_map(params![from as i64, to as i64, function], figures)?;
            rows.collect()
        })
        .await
    }
}

fn figures(row: &Row<'_>) -> rusqlite::Result<(String, Figures)> {
    let number = |index: usize| row.get::<_, i64>(index).map(|number| number as u64);
    let figures = Figures {
        minute: number(1)?,
        invocations: number(2)?,
        errors: number(3)?,
        throttles: number(4)?,
        cold_starts: number(5)?,
        concurrency: row.get(6)?,
        durations: Histogram::from_bytes(row.get_ref(7)?.as_blob().unwrap_or_default()),
    };
    Ok((row.get(0)?, figures))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn minutes_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let mut durations = Histogram::default();
        durations.add(Duration::from_millis(7));
        let one = Figures { minute: 100, invocations: 1, concurrency: 2, durations, ..Figures::default() };
        let more = Figures { invocations: 5, ..one.clone() };
        let other = Figures { minute: 101, ..one.clone() };
        store.set_metrics(vec![("a".to_owned(), one), ("b".to_owned(), other.clone())]).await.unwrap();
        store.set_metrics(vec![("a".to_owned(), more.clone())]).await.unwrap();
        assert_eq!(store.metrics(Some("a".to_owned()), 0, 200).await.unwrap(), [("a".to_owned(), more)]);
        assert_eq!(store.metrics(None, 101, 200).await.unwrap(), [("b".to_owned(), other)]);
    }
}

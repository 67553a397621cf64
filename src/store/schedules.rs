//! What each schedule has done: since when it is as it is, and the last due time that was taken care
//! of.

use rusqlite::{Transaction, params};

use super::{Store, StoreError};

/// Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleState {
    /// What it says: when this changes it is another schedule.
    pub definition: String,
    pub enabled: bool,
    /// Since when it is enabled and says this.
    pub begin: i64,
    /// The last due time whose event has been queued.
    pub last: Option<i64>,
}

/// An event that a schedule makes: it is queued only if no event of that time, or of a later one, has
/// been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueTime {
    pub schedule: String,
    pub due: i64,
}

impl Store {
    pub async fn schedules(&self) -> Result<Vec<(String, ScheduleState)>, StoreError> {
        self.read(|connection| {
            let sql = "SELECT name, definition, enabled, begin, last FROM schedules ORDER BY name";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map([], |row| {
                let state = ScheduleState {
                    definition: row.get(1)?,
                    enabled: row.get(2)?,
                    begin: row.get(3)?,
                    last: row.get(4)?,
                };
                Ok((row.get(0)?, state))
            })?;
            rows.collect()
        })
        .await
    }

    pub async fn put_schedules(&self, states: Vec<(String, ScheduleState)>) -> Result<(), StoreError> {
        self.write(move |transaction| {
            let sql = "INSERT OR REPLACE INTO schedules (name, definition, enabled, begin, last)
                       VALUES (?, ?, ?, ?, ?)";
            let mut statement = transaction.prepare_cached(sql)?;
            for (name, state) in &states {
                let ScheduleState { definition, enabled, begin, last } = state;
                statement.execute(params![name, definition, enabled, begin, last])?;
            }
            Ok(())
        })
        .await
    }

    /// `false`: an event of this time had been queued before.
    pub async fn record_due_time(&self, due: DueTime) -> Result<bool, StoreError> {
        self.write(move |transaction| record(transaction, &due)).await
    }
}

/// In the transaction that queues the event, so that neither is there without the other.
pub(super) fn record(transaction: &Transaction<'_>, due: &DueTime) -> rusqlite::Result<bool> {
    let sql = "UPDATE schedules SET last = ?2 WHERE name = ?1 AND (last IS NULL OR last < ?2)";
    Ok(transaction.prepare_cached(sql)?.execute(params![due.schedule, due.due])? > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_due_time_is_recorded_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let state =
            ScheduleState { definition: "rate(1 minute)".into(), enabled: true, begin: 5, last: None };
        store.put_schedules(vec![("tick".into(), state.clone())]).await.unwrap();
        assert_eq!(store.schedules().await.unwrap(), [("tick".to_owned(), state)]);
        let record = |schedule: &str, due| store.record_due_time(DueTime { schedule: schedule.into(), due });
        assert!(record("tick", 60_005).await.unwrap());
        assert!(!record("tick", 60_005).await.unwrap());
        assert!(!record("tick", 5).await.unwrap(), "the past comes after it");
        assert!(record("tick", 120_005).await.unwrap());
        assert!(!record("other", 5).await.unwrap(), "there is none");
        assert_eq!(store.schedules().await.unwrap()[0].1.last, Some(120_005));
    }
}

//! How far the shards of streams have been read, by event source mapping.

use rusqlite::params;

use super::{Store, StoreError};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    pub shard: String,
    /// Where reading begins while there is no position; the reader's own words.
    pub start: String,
    /// The last sequence number that is done with, as all before it are.
    pub position: Option<String>,
    /// JSON: the tumbling window that is open, and its state.
    pub window: Option<String>,
    /// The shard is closed, and all of it done with.
    pub finished: bool,
}

impl Store {
    pub async fn checkpoints(&self, mapping: &str) -> Result<Vec<Checkpoint>, StoreError> {
        let mapping = mapping.to_owned();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT shard, start, position, window, finished FROM checkpoints WHERE mapping = ? ORDER BY shard",
            )?;
            let rows = statement.query_map([mapping], |row| {
                Ok(Checkpoint {
                    shard: row.get(0)?,
                    start: row.get(1)?,
                    position: row.get(2)?,
                    window: row.get(3)?,
                    finished: row.get(4)?,
                })
            })?;
            rows.collect()
        })
        .await
    }

    /// All of these, or none.
    pub async fn set_checkpoints(
        &self,
        mapping: &str,
        checkpoints: Vec<Checkpoint>,
    ) -> Result<(), StoreError> {
        let mapping = mapping.to_owned();
        self.write(move |transaction| {
            let mut statement = transaction.prepare_cached(
                "INSERT OR REPLACE INTO checkpoints (mapping, shard, start, position, window, finished)
                 VALUES (?, ?, ?, ?, ?, ?)",
            )?;
            for Checkpoint { shard, start, position, window, finished } in checkpoints {
                statement.execute(params![mapping, shard, start, position, window, finished])?;
            }
            Ok(())
        })
        .await
    }

    /// Of shards that are no more.
    pub async fn forget_checkpoints(&self, mapping: &str, shards: Vec<String>) -> Result<(), StoreError> {
        let mapping = mapping.to_owned();
        self.write(move |transaction| {
            let mut statement =
                transaction.prepare_cached("DELETE FROM checkpoints WHERE mapping = ? AND shard = ?")?;
            for shard in shards {
                statement.execute(params![mapping, shard])?;
            }
            Ok(())
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn shards_go_on_where_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let begin = |shard: &str| Checkpoint {
            shard: shard.to_owned(),
            start: "TRIM_HORIZON".to_owned(),
            position: None,
            window: None,
            finished: false,
        };
        store.set_checkpoints("m", vec![begin("a"), begin("b")]).await.unwrap();
        let done = Checkpoint { position: Some("49".to_owned()), finished: true, ..begin("a") };
        store.set_checkpoints("m", vec![done.clone()]).await.unwrap();
        assert_eq!(store.checkpoints("m").await.unwrap(), [done, begin("b")]);
        assert!(store.checkpoints("other").await.unwrap().is_empty());
        store.forget_checkpoints("m", vec!["a".to_owned()]).await.unwrap();
        assert_eq!(store.checkpoints("m").await.unwrap(), [begin("b")]);
    }
}

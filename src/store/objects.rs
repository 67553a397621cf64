//! The files of folders that stand for buckets, as they were when their events were queued.

use rusqlite::{OptionalExtension, params};

use super::{Store, StoreError};

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectState {
    pub size: u64,
    /// Nanoseconds since 1970.
    pub modified: i64,
    pub etag: String,
}

/// The key, and what is there now; `None`: nothing.
pub type ObjectChange = (String, Option<ObjectState>);

impl Store {
    /// `None`: this bucket has never been looked at.
    pub async fn objects(&self, bucket: &str) -> Result<Option<Vec<(String, ObjectState)>>, StoreError> {
        let bucket = bucket.to_owned();
        self.read(move |connection| {
            let known = connection
                .prepare_cached("SELECT 1 FROM buckets WHERE bucket = ?")?
                .query_row(params![bucket], |_| Ok(()))
                .optional()?;
            if known.is_none() {
                return Ok(None);
            }
            let sql = "SELECT key, size, modified, etag FROM objects WHERE bucket = ?";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map(params![bucket], |row| {
                let size: i64 = row.get(1)?;
                let state =
                    ObjectState { size: size.unsigned_abs(), modified: row.get(2)?, etag: row.get(3)? };
                Ok((row.get(0)?, state))
            })?;
            rows.collect::<rusqlite::Result<_>>().map(Some)
        })
        .await
    }

    /// The bucket is known from now on.
    pub async fn change_objects(&self, bucket: &str, changes: Vec<ObjectChange>) -> Result<(), StoreError> {
        let bucket = bucket.to_owned();
        self.write(move |transaction| {
            let sql = "INSERT OR IGNORE INTO buckets (bucket) VALUES (?)";
            transaction.prepare_cached(sql)?.execute(params![bucket])?;
            let sql =
                "INSERT OR REPLACE INTO objects (bucket, key, size, modified, etag) VALUES (?, ?, ?, ?, ?)";
            let mut put = transaction.prepare_cached(sql)?;
            let mut delete =
                transaction.prepare_cached("DELETE FROM objects WHERE bucket = ? AND key = ?")?;
            for (key, state) in &changes {
                match state {
                    Some(ObjectState { size, modified, etag }) => {
                        let size = i64::try_from(*size).unwrap_or(i64::MAX);
                        put.execute(params![bucket, key, size, modified, etag])?
                    }
                    None => delete.execute(params![bucket, key])?,
                };
            }
            Ok(())
        })
        .await
    }

    /// All buckets but these are as if they had never been looked at.
    pub async fn forget_other_buckets(&self, kept: Vec<String>) -> Result<(), StoreError> {
        self.write(move |transaction| {
            let mut statement = transaction.prepare_cached("SELECT bucket FROM buckets")?;
            let known: Vec<String> =
                statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
            for bucket in known.iter().filter(|bucket| !kept.contains(bucket)) {
                transaction.execute("DELETE FROM objects WHERE bucket = ?", params![bucket])?;
                transaction.execute("DELETE FROM buckets WHERE bucket = ?", params![bucket])?;
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
    async fn files_are_known_until_their_bucket_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.objects("photos").await.unwrap(), None);
        store.change_objects("photos", Vec::new()).await.unwrap();
        assert_eq!(store.objects("photos").await.unwrap(), Some(Vec::new()));
        let state = ObjectState { size: 3, modified: 7, etag: "abc".into() };
        store.change_objects("photos", vec![("a b".into(), Some(state.clone()))]).await.unwrap();
        assert_eq!(store.objects("photos").await.unwrap(), Some(vec![("a b".into(), state)]));
        store.change_objects("photos", vec![("a b".into(), None)]).await.unwrap();
        assert_eq!(store.objects("photos").await.unwrap(), Some(Vec::new()));
        store.forget_other_buckets(vec!["photos".into()]).await.unwrap();
        assert!(store.objects("photos").await.unwrap().is_some());
        store.forget_other_buckets(Vec::new()).await.unwrap();
        assert_eq!(store.objects("photos").await.unwrap(), None);
    }
}

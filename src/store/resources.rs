//! What the Lambda API was told that no file says, one JSON document each: aliases, policies,
//! mappings, published versions, ...

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;

use super::{Store, StoreError};

/// Which document: its kind (`alias`), whose it is (a function's or a layer's name), and which of
/// those (the alias' name). Parts that mean nothing are empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key<'a> {
    pub kind: &'static str,
    pub owner: &'a str,
    pub name: &'a str,
}

/// A document with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    pub owner: String,
    pub name: String,
    pub document: Value,
}

impl Store {
    pub async fn resource(&self, key: Key<'_>) -> Result<Option<Value>, StoreError> {
        let (kind, owner, name) = owned(key);
        self.read(move |connection| {
            let text: Option<String> = connection
                .prepare_cached("SELECT document FROM resources WHERE kind = ? AND owner = ? AND name = ?")?
                .query_row(params![kind, owner, name], |row| row.get(0))
                .optional()?;
            text.map(|text| parse(&text)).transpose()
        })
        .await
    }

    /// All of a kind, by owner and name; on this thread, which waits for the disk.
    pub fn resources_now(&self, kind: &'static str) -> Result<Vec<Resource>, StoreError> {
        self.read_now(move |connection| of_kind(connection, kind, None))
    }

    /// All of a kind, by owner and name; of one owner, or of all.
    pub async fn resources(
        &self,
        kind: &'static str,
        owner: Option<&str>,
    ) -> Result<Vec<Resource>, StoreError> {
        let owner = owner.map(str::to_owned);
        self.read(move |connection| of_kind(connection, kind, owner.as_deref())).await
    }

    pub async fn put_resource(&self, key: Key<'_>, document: Value) -> Result<(), StoreError> {
        self.change_resource(key, move |_| Ok::<_, ()>((Some(document), ()))).await.map(drop)
    }

    /// `false`: there was none.
    pub async fn delete_resource(&self, key: Key<'_>) -> Result<bool, StoreError> {
        let (kind, owner, name) = owned(key);
        self.write(move |transaction| {
            let sql = "DELETE FROM resources WHERE kind = ? AND owner = ? AND name = ?";
            Ok(transaction.execute(sql, params![kind, owner, name])? > 0)
        })
        .await
    }

    /// Everything of this kind that belongs to the owner.
    pub async fn delete_resources(&self, kind: &'static str, owner: &str) -> Result<(), StoreError> {
        let owner = owner.to_owned();
        self.write(move |transaction| {
            transaction.execute("DELETE FROM resources WHERE kind = ? AND owner = ?", params![kind, owner])
        })
        .await
        .map(drop)
    }

    /// Looks at a document and replaces it (`None`: deletes it) without anybody coming in between.
    /// The inner error is the caller's own: nothing is changed then.
    pub async fn change_resource<T, E>(
        &self,
        key: Key<'_>,
        change: impl FnOnce(Option<Value>) -> Result<(Option<Value>, T), E> + Send + 'static,
    ) -> Result<Result<T, E>, StoreError>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let (kind, owner, name) = owned(key);
        self.write(move |transaction| {
            let text: Option<String> = transaction
                .prepare_cached("SELECT document FROM resources WHERE kind = ? AND owner = ? AND name = ?")?
                .query_row(params![kind, owner, name], |row| row.get(0))
                .optional()?;
            let before = text.map(|text| parse(&text)).transpose()?;
            let (after, value) = match change(before) {
                Ok(changed) => changed,
                Err(error) => return Ok(Err(error)),
            };
            match after {
                Some(document) => transaction
                    .prepare_cached(
                        "INSERT OR REPLACE INTO resources (kind, owner, name, document) VALUES (?, ?, ?, ?)",
                    )?
                    .execute(params![kind, owner, name, document.to_string()])?,
                None => transaction
                    .prepare_cached("DELETE FROM resources WHERE kind = ? AND owner = ? AND name = ?")?
                    .execute(params![kind, owner, name])?,
            };
            Ok(Ok(value))
        })
        .await
    }
}

fn of_kind(connection: &Connection, kind: &str, owner: Option<&str>) -> rusqlite::Result<Vec<Resource>> {
    let mut statement = connection.prepare_cached(
        "SELECT owner, name, document FROM resources
         WHERE kind = ?1 AND (?2 IS NULL OR owner = ?2) ORDER BY owner, name",
    )?;
    let rows = statement.query_map(params![kind, owner], |row| {
        let text: String = row.get(2)?;
        Ok(Resource { owner: row.get(0)?, name: row.get(1)?, document: parse(&text)? })
    })?;
    rows.collect()
}

fn owned(key: Key<'_>) -> (&'static str, String, String) {
    (key.kind, key.owner.to_owned(), key.name.to_owned())
}

fn parse(text: &str) -> rusqlite::Result<Value> {
    serde_json::from_str(text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_document_is_kept_changed_and_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let key = Key { kind: "alias", owner: "hello", name: "live" };
        assert_eq!(store.resource(key).await.unwrap(), None);
        store.put_resource(key, json!({"version": 1})).await.unwrap();
        let refused = store.change_resource(key, |_| Err::<(Option<Value>, ()), _>("no")).await.unwrap();
        assert_eq!(refused, Err("no"));
        let changed = store
            .change_resource(key, |before| Ok::<_, ()>((Some(json!({"version": 2})), before)))
            .await
            .unwrap();
        assert_eq!(changed, Ok(Some(json!({"version": 1}))));

        // What was committed is there for whoever opens it next.
        drop(store);
        let store = Store::open(folder.path()).unwrap();
        let all = store.resources("alias", Some("hello")).await.unwrap();
        assert_eq!(
            all.iter().map(|resource| resource.document.clone()).collect::<Vec<_>>(),
            [json!({"version": 2})]
        );
        assert!(store.resources("alias", Some("other")).await.unwrap().is_empty());
        assert!(store.delete_resource(key).await.unwrap());
        assert!(!store.delete_resource(key).await.unwrap());
    }
}

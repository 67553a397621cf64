//! Event source mappings that the Lambda API was told, and how each is, also those that files declare.

use std::collections::HashMap;

use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::watch;

use super::{Store, StoreError};
use crate::trigger::Trigger;

/// A mapping as the Lambda API was told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptMapping {
    pub uuid: String,
    /// `NAME` or `NAME:QUALIFIER`.
    pub function: String,
    pub function_arn: String,
    pub enabled: bool,
    /// It goes as soon as what it has begun has ended.
    pub deleted: bool,
    /// Milliseconds since 1970; later with every change.
    pub modified: i64,
    pub tags: Map<String, Value>,
    /// In the words of the Lambda API: see `trigger::Mapping::from_properties`.
    pub properties: Map<String, Value>,
}

impl KeptMapping {
    /// The ARN of its queue or stream.
    pub fn source(&self) -> &str {
        self.properties.get("EventSourceArn").and_then(Value::as_str).unwrap_or_default()
    }
}

/// AWS's words for how a mapping is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MappingState {
    Creating,
    Enabling,
    Enabled,
    Disabling,
    Disabled,
    Updating,
    Deleting,
}

impl MappingState {
    pub fn name(self) -> &'static str {
        match self {
            Self::Creating => "Creating",
            Self::Enabling => "Enabling",
            Self::Enabled => "Enabled",
            Self::Disabling => "Disabling",
            Self::Disabled => "Disabled",
            Self::Updating => "Updating",
            Self::Deleting => "Deleting",
        }
    }

    fn of(name: &str) -> Self {
        let all =
            [Self::Enabling, Self::Enabled, Self::Disabling, Self::Disabled, Self::Updating, Self::Deleting];
        all.into_iter().find(|state| state.name() == name).unwrap_or(Self::Creating)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingStatus {
    pub state: MappingState,
    /// `OK` or `PROBLEM: ...`; `None`: nothing has been processed.
    pub result: Option<String>,
}

/// Of a mapping that a file declares: the same for as long as it is declared.
pub fn declared_uuid(trigger: &Trigger) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(format!("{}\n{}", trigger.name, trigger.function));
    let bytes: [u8; 16] = digest[..16].try_into().expect("a hash has 32 bytes");
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

impl Store {
    /// All of them, by UUID.
    pub async fn mappings(&self) -> Result<Vec<KeptMapping>, StoreError> {
        self.read(all).await
    }

    /// Looks at all mappings, and keeps one as `change` makes it, in the state that it names, without
    /// anybody coming in between. The inner error is the caller's own: nothing is changed then.
    pub async fn change_mapping<E: Send + 'static>(
        &self,
        change: impl FnOnce(&[KeptMapping]) -> Result<(KeptMapping, MappingState), E> + Send + 'static,
    ) -> Result<Result<KeptMapping, E>, StoreError> {
        let result = self
            .write(move |transaction| {
                let (mapping, state) = match change(&all(transaction)?) {
                    Ok(changed) => changed,
                    Err(error) => return Ok(Err(error)),
                };
                let document = serde_json::to_string(&mapping).expect("a mapping is JSON");
                let sql = "INSERT OR REPLACE INTO mappings (uuid, document) VALUES (?, ?)";
                transaction.execute(sql, params![mapping.uuid, document])?;
                set_state(transaction, &mapping.uuid, state)?;
                Ok(Ok(mapping))
            })
            .await;
        if let Ok(Ok(_)) = &result {
            self.0.mapping_changes.send_modify(|count| *count += 1);
        }
        result
    }

    /// Tells whenever one has changed.
    pub fn mapping_changes(&self) -> watch::Receiver<u64> {
        self.0.mapping_changes.subscribe()
    }

    pub async fn mapping_statuses(&self) -> Result<HashMap<String, MappingStatus>, StoreError> {
        self.read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT uuid, state, result FROM mapping_statuses")?;
            let rows = statement.query_map([], |row| {
                let state: String = row.get(1)?;
                Ok((row.get(0)?, MappingStatus { state: MappingState::of(&state), result: row.get(2)? }))
            })?;
            rows.collect()
        })
        .await
    }

    pub async fn set_mapping_state(&self, uuid: &str, state: MappingState) -> Result<(), StoreError> {
        let uuid = uuid.to_owned();
        self.write(move |transaction| set_state(transaction, &uuid, state)).await
    }

    pub async fn set_mapping_result(&self, uuid: &str, result: &str) -> Result<(), StoreError> {
        let (uuid, result) = (uuid.to_owned(), result.to_owned());
        self.write(move |transaction| {
            let sql = "INSERT INTO mapping_statuses (uuid, state, result) VALUES (?1, 'Creating', ?2)
                       ON CONFLICT (uuid) DO UPDATE SET result = ?2";
            transaction.prepare_cached(sql)?.execute(params![uuid, result]).map(drop)
        })
        .await
    }

    /// Everything about a mapping that is gone: itself, how it is, how far it had read.
    pub async fn forget_mapping(&self, uuid: &str) -> Result<(), StoreError> {
        let uuid = uuid.to_owned();
        self.write(move |transaction| {
            transaction.execute("DELETE FROM mappings WHERE uuid = ?", [&uuid])?;
            transaction.execute("DELETE FROM mapping_statuses WHERE uuid = ?", [&uuid])?;
            transaction.execute("DELETE FROM checkpoints WHERE mapping = ?", [&uuid]).map(drop)
        })
        .await
    }
}

fn set_state(connection: &Connection, uuid: &str, state: MappingState) -> rusqlite::Result<()> {
    let sql = "INSERT INTO mapping_statuses (uuid, state) VALUES (?1, ?2)
               ON CONFLICT (uuid) DO UPDATE SET state = ?2";
    connection.prepare_cached(sql)?.execute(params![uuid, state.name()]).map(drop)
}

fn all(connection: &Connection) -> rusqlite::Result<Vec<KeptMapping>> {
    let mut statement = connection.prepare_cached("SELECT document FROM mappings ORDER BY uuid")?;
    let rows = statement.query_map([], |row| {
        let text: String = row.get(0)?;
        serde_json::from_str(&text).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into())
        })
    })?;
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(uuid: &str) -> KeptMapping {
        KeptMapping {
            uuid: uuid.to_owned(),
            function: "hello".to_owned(),
            function_arn: "arn:aws:lambda:us-east-1:123456789012:function:hello".to_owned(),
            enabled: true,
            deleted: false,
            modified: 1_764_025_920_123,
            tags: Map::new(),
            properties: Map::new(),
        }
    }

    #[tokio::test]
    async fn mappings_are_kept_with_their_status_and_forgotten_with_all() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let mut changes = store.mapping_changes();
        let kept = store
            .change_mapping(|all| {
                assert!(all.is_empty());
                Ok::<_, ()>((mapping("one"), MappingState::Creating))
            })
            .await;
        assert_eq!(kept.unwrap(), Ok(mapping("one")));
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        let refused = store.change_mapping(|_| Err::<(KeptMapping, MappingState), _>("no")).await;
        assert_eq!(refused.unwrap(), Err("no"));
        assert!(!changes.has_changed().unwrap());

        store.set_mapping_result("one", "OK").await.unwrap();
        store.set_mapping_state("one", MappingState::Enabled).await.unwrap();
        let status = MappingStatus { state: MappingState::Enabled, result: Some("OK".to_owned()) };
        drop(store);
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.mappings().await.unwrap(), [mapping("one")]);
        assert_eq!(store.mapping_statuses().await.unwrap().get("one"), Some(&status));
        store.forget_mapping("one").await.unwrap();
        assert!(store.mappings().await.unwrap().is_empty());
        assert!(store.mapping_statuses().await.unwrap().is_empty());
    }
}

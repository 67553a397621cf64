//! What is to be done without anybody waiting for it: asynchronous invocations, and deliveries of
//! what came of them.
//!
//! A row is there from the moment it is promised until what came of it is settled; settling adds the
//! deliveries in the same transaction. Who works on a row is nobody's business here: the one gateway
//! remembers it, and its end frees everything.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::schedules::{self, DueTime};
use super::{Store, StoreError};

/// To be done, or given up.
pub(super) const WAITING: i64 = 0;
pub(super) const DEAD: i64 = 1;

/// What is to be done with a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// The body is the event.
    Invocation,
    /// The body is the message, `destination` as it was written.
    Delivery { destination: String },
}

/// One row, as it is promised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    pub kind: Kind,
    /// Unqualified.
    pub function: String,
    /// As the caller gave it.
    pub qualifier: Option<String>,
    pub request_id: String,
    pub trace_id: String,
    pub function_arn: String,
    pub body: Vec<u8>,
}

impl Added {
    /// Those of one lane are done in order; lanes take turns. No name of a function begins with `>`.
    pub fn lane(&self) -> String {
        match &self.kind {
            Kind::Invocation => self.function.clone(),
            Kind::Delivery { destination } => format!("> {destination}"),
        }
    }
}

/// One row that is to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub id: i64,
    pub lane: String,
    pub accepted_at: i64,
    pub attempts: u32,
    pub setbacks: u32,
    pub added: Added,
}

/// What the gateway can take.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub now: i64,
    /// Rows that somebody works on.
    pub claimed: HashSet<i64>,
    /// Lanes of which enough is in memory.
    pub full: HashSet<String>,
    /// Lanes are visited from behind this one, round and round.
    pub after: String,
    pub per_lane: usize,
    /// Bodies together; one row is taken however long it is.
    pub bytes: usize,
}

/// What there was.
#[derive(Debug, Clone, Default)]
pub struct Due {
    pub entries: Vec<Entry>,
    /// Lanes that may hold more that is due.
    pub more: HashSet<String>,
    /// When the first of the others is due.
    pub next: Option<i64>,
    /// The last lane that was visited, if the bytes were used up before all were.
    pub stopped_at: Option<String>,
}

/// What becomes of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After {
    Done,
    Again { due_at: i64, attempts: u32, setbacks: u32, error: String },
    Dead { attempts: u32, error: String },
}

/// The same, with what it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    pub id: i64,
    pub after: After,
    pub added: Vec<Added>,
}

impl Store {
    /// When this returns, it will be done or found dead, whatever happens to this process.
    pub async fn add_to_queue(&self, added: Added, now: i64) -> Result<i64, StoreError> {
        self.write(move |transaction| insert(transaction, &added, now)).await
    }

    /// The same for an event that a schedule makes. `false`: an event of this due time had been added
    /// before, and this one is not.
    pub async fn add_due_to_queue(&self, added: Added, due: DueTime, now: i64) -> Result<bool, StoreError> {
        self.write(move |transaction| {
            let is_new = schedules::record(transaction, &due)?;
            if is_new {
                insert(transaction, &added, now)?;
            }
            Ok(is_new)
        })
        .await
    }

    /// A row that is not to be done any more (somebody has discarded it) leads to nothing. `false`: so
    /// it was. Settling twice is settling once.
    pub async fn settle(&self, settlement: std::sync::Arc<Settlement>, now: i64) -> Result<bool, StoreError> {
        self.write(move |transaction| {
            let Settlement { id, after, added } = &*settlement;
            let changed = match after {
                After::Done => transaction
                    .prepare_cached("DELETE FROM queue WHERE id = ? AND state = 0")?
                    .execute(params![id])?,
                After::Again { due_at, attempts, setbacks, error } => transaction
                    .prepare_cached(
                        "UPDATE queue SET due_at = ?, attempts = ?, setbacks = ?, error = ?
                         WHERE id = ? AND state = 0",
                    )?
                    .execute(params![due_at, attempts, setbacks, error, id])?,
                After::Dead { attempts, error } => transaction
                    .prepare_cached(
                        "UPDATE queue SET state = 1, due_at = ?, attempts = ?, error = ?
                         WHERE id = ? AND state = 0",
                    )?
                    .execute(params![now, attempts, error, id])?,
            };
            if changed > 0 {
                for added in added {
                    insert(transaction, added, now)?;
                }
            }
            Ok(changed > 0)
        })
        .await
    }

    /// What is due, some of each lane.
    pub async fn due(&self, wanted: Wanted) -> Result<Due, StoreError> {
        self.read(move |connection| find_due(connection, &wanted)).await
    }

    /// At the start: what was promised in a future that the clock has been set back from is due now.
    pub async fn forgive_clock(&self, now: i64) -> Result<(), StoreError> {
        self.write(move |transaction| {
            let sql = "UPDATE queue SET accepted_at = ?1, due_at = min(due_at, ?1)
                       WHERE state = 0 AND accepted_at > ?1";
            transaction.execute(sql, params![now]).map(drop)
        })
        .await
    }

    /// What waits for this function becomes dead, because the function was deleted.
    pub async fn bury_events(&self, function: &str, reason: &str, now: i64) -> Result<usize, StoreError> {
        let (function, reason) = (function.to_owned(), reason.to_owned());
        self.write(move |transaction| {
            let sql = "UPDATE queue SET state = 1, due_at = ?, error = ? WHERE state = 0 AND lane = ?";
            transaction.execute(sql, params![now, reason, function])
        })
        .await
    }
}

fn insert(transaction: &Transaction<'_>, added: &Added, now: i64) -> rusqlite::Result<i64> {
    let destination = match &added.kind {
        Kind::Invocation => None,
        Kind::Delivery { destination } => Some(destination),
    };
    transaction
        .prepare_cached(
            "INSERT INTO queue (state, lane, due_at, accepted_at, function, qualifier, destination, request_id,
                                trace_id, function_arn, attempts, setbacks, body)
             VALUES (0, ?1, ?2, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, 0, ?9)",
        )?
        .execute(params![
            added.lane(),
            now,
            added.function,
            added.qualifier,
            destination,
            added.request_id,
            added.trace_id,
            added.function_arn,
            added.body
        ])?;
    Ok(transaction.last_insert_rowid())
}

/// Each lane costs a few steps in the index, however long it is.
fn find_due(connection: &Connection, wanted: &Wanted) -> rusqlite::Result<Due> {
    let mut due = Due::default();
    let mut lanes = lanes(connection)?;
    let begin = lanes.partition_point(|lane| *lane <= wanted.after);
    lanes.rotate_left(begin);
    let mut bytes = 0;
    for lane in lanes {
        let mut next = connection.prepare_cached(
            "SELECT due_at FROM queue WHERE state = 0 AND lane = ? AND due_at > ? ORDER BY due_at LIMIT 1",
        )?;
        let next: Option<i64> = next.query_row(params![lane, wanted.now], |row| row.get(0)).optional()?;
        due.next = due.next.into_iter().chain(next).min();
        if due.stopped_at.is_some() || wanted.full.contains(&lane) {
            continue;
        }
        let mut ids = connection.prepare_cached(
            "SELECT id FROM queue WHERE state = 0 AND lane = ? AND due_at <= ? ORDER BY due_at, id",
        )?;
        let mut ids = ids.query(params![lane, wanted.now])?;
        let mut taken = 0;
        while let Some(row) = ids.next()? {
            let id: i64 = row.get(0)?;
            if wanted.claimed.contains(&id) {
                continue;
            }
            if taken == wanted.per_lane {
                due.more.insert(lane.clone());
                break;
            }
            let entry = entry(connection, id)?;
            taken += 1;
            bytes += entry.added.body.len();
            due.entries.push(entry);
            if bytes >= wanted.bytes {
                due.more.insert(lane.clone());
                due.stopped_at = Some(lane.clone());
                break;
            }
        }
    }
    Ok(due)
}

/// All lanes in which something waits, in order: a step in the index each.
fn lanes(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare_cached(
        "WITH RECURSIVE lanes (lane) AS (
             SELECT min(lane) FROM queue WHERE state = 0
             UNION ALL
             SELECT (SELECT min(lane) FROM queue WHERE state = 0 AND lane > lanes.lane)
             FROM lanes WHERE lane IS NOT NULL
         )
         SELECT lane FROM lanes WHERE lane IS NOT NULL",
    )?;
    let rows = statement.query_map([], |row| row.get(0))?;
    rows.collect()
}

fn entry(connection: &Connection, id: i64) -> rusqlite::Result<Entry> {
    let mut statement = connection.prepare_cached(
        "SELECT id, lane, accepted_at, attempts, setbacks, function, qualifier, destination, request_id, trace_id,
                function_arn, body
         FROM queue WHERE id = ?",
    )?;
    statement.query_row(params![id], |row| {
        let destination: Option<String> = row.get(7)?;
        Ok(Entry {
            id: row.get(0)?,
            lane: row.get(1)?,
            accepted_at: row.get(2)?,
            attempts: row.get(3)?,
            setbacks: row.get(4)?,
            added: Added {
                kind: match destination {
                    Some(destination) => Kind::Delivery { destination },
                    None => Kind::Invocation,
                },
                function: row.get(5)?,
                qualifier: row.get(6)?,
                request_id: row.get(8)?,
                trace_id: row.get(9)?,
                function_arn: row.get(10)?,
                body: row.get(11)?,
            },
        })
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn event(function: &str, body: &str) -> Added {
        Added {
            kind: Kind::Invocation,
            function: function.to_owned(),
            qualifier: None,
            request_id: format!("request-{body}"),
            trace_id: "Root=1".to_owned(),
            function_arn: format!("arn:{function}"),
            body: body.into(),
        }
    }

    fn wanted(now: i64) -> Wanted {
        Wanted { now, per_lane: 2, bytes: 1000, ..Wanted::default() }
    }

    fn bodies(due: &Due) -> Vec<&str> {
        due.entries.iter().map(|entry| std::str::from_utf8(&entry.added.body).unwrap()).collect()
    }

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        (folder, store)
    }

    #[tokio::test]
    async fn lanes_take_turns_and_what_is_claimed_is_left_out() {
        let (_folder, store) = store();
        for number in 0..5 {
            store.add_to_queue(event("busy", &format!("b{number}")), 10).await.unwrap();
        }
        store.add_to_queue(event("quiet", "q0"), 10).await.unwrap();
        let due = store.due(wanted(10)).await.unwrap();
        assert_eq!(bodies(&due), ["b0", "b1", "q0"]);
        assert!(due.more.contains("busy") && !due.more.contains("quiet"));

        let claimed = due.entries.iter().map(|entry| entry.id).collect();
        let due = store.due(Wanted { claimed, ..wanted(10) }).await.unwrap();
        assert_eq!(bodies(&due), ["b2", "b3"]);
        let full = HashSet::from(["busy".to_owned()]);
        assert_eq!(bodies(&store.due(Wanted { full, ..wanted(10) }).await.unwrap()), ["q0"]);
        assert_eq!(bodies(&store.due(wanted(9)).await.unwrap()), [""; 0]);
    }

    #[tokio::test]
    async fn bytes_are_bounded_and_the_next_lane_comes_first_then() {
        let (_folder, store) = store();
        for function in ["a", "b", "c"] {
            store.add_to_queue(event(function, &function.repeat(100)), 1).await.unwrap();
        }
        let due = store.due(Wanted { bytes: 150, ..wanted(1) }).await.unwrap();
        assert_eq!(due.entries.len(), 2);
        assert_eq!(due.stopped_at.as_deref(), Some("b"));
        let due = store.due(Wanted { bytes: 50, after: "b".into(), ..wanted(1) }).await.unwrap();
        assert_eq!(due.entries[0].lane, "c");
    }

    #[tokio::test]
    async fn what_comes_of_it_is_settled_together_with_what_follows() {
        let (_folder, store) = store();
        let id = store.add_to_queue(event("f", "e"), 1).await.unwrap();
        let again = After::Again { due_at: 50, attempts: 1, setbacks: 0, error: "boom".into() };
        let settlement = |after, added| Arc::new(Settlement { id, after, added });
        assert!(store.settle(settlement(again, Vec::new()), 2).await.unwrap());
        let due = store.due(wanted(49)).await.unwrap();
        assert_eq!((due.entries.len(), due.next), (0, Some(50)));
        let due = store.due(wanted(50)).await.unwrap();
        assert_eq!((due.entries[0].attempts, due.next), (1, None));

        let delivery = Added { kind: Kind::Delivery { destination: "arn:q".into() }, ..event("f", "m") };
        let done = settlement(After::Done, vec![delivery]);
        assert!(store.settle(done.clone(), 60).await.unwrap());
        // Told twice, done once.
        assert!(!store.settle(done, 61).await.unwrap());
        let due = store.due(wanted(60)).await.unwrap();
        assert_eq!(due.entries.len(), 1);
        assert_eq!(due.entries[0].lane, "> arn:q");
    }

    #[tokio::test]
    async fn the_dead_are_kept_within_bounds() {
        let (_folder, store) = store();
        for number in 0..6 {
            let id = store.add_to_queue(event("f", &format!("e{number}")), 1).await.unwrap();
            let after = After::Dead { attempts: 3, error: "boom".into() };
            store.settle(Arc::new(Settlement { id, after, added: Vec::new() }), 100 + number).await.unwrap();
        }
        store.add_to_queue(event("f", "waits"), 1).await.unwrap();
        use super::super::retention::{DEAD, Kept};
        let now = |ms: i64| std::time::UNIX_EPOCH + std::time::Duration::from_millis(ms.unsigned_abs());
        let older = |ms| Kept { longest: std::time::Duration::from_millis(ms), ..DEAD };
        // They died at 100 to 105.
        assert_eq!(store.retain(older(3), now(105)).await.unwrap(), 2);
        assert_eq!(store.retain(Kept { most_rows: 3, ..DEAD }, now(105)).await.unwrap(), 1);
        assert_eq!(store.retain(Kept { most_bytes: 4, ..DEAD }, now(105)).await.unwrap(), 1);
        assert_eq!(store.retain(DEAD, now(105)).await.unwrap(), 0);
        assert_eq!(bodies(&store.due(wanted(1)).await.unwrap()), ["waits"]);
    }

    #[tokio::test]
    async fn a_clock_that_was_set_back_delays_nothing() {
        let (_folder, store) = store();
        store.add_to_queue(event("f", "e"), 1_000).await.unwrap();
        store.forgive_clock(10).await.unwrap();
        assert_eq!(bodies(&store.due(wanted(10)).await.unwrap()), ["e"]);
    }
}

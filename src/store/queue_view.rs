//! The queue for people: what waits, what died, and choosing some of it.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};
use serde::{Deserialize, Serialize};

use super::queue::{DEAD, WAITING};
use super::{Store, StoreError};
use crate::destination::without_password;

/// How much of each lane is in which state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// A function's name, or `> ` and a destination without a password.
    pub lane: String,
    pub waiting: i64,
    pub running: i64,
    /// Waiting for the time of their next attempt.
    pub retrying: i64,
    pub dead: i64,
}

/// One row, without its body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    pub id: i64,
    /// `waiting`, `running`, `retrying` or `dead`.
    pub state: String,
    pub function: String,
    pub qualifier: Option<String>,
    /// Of a delivery, without a password.
    pub destination: Option<String>,
    pub request_id: String,
    /// This and all times: milliseconds since 1970.
    pub accepted_at: i64,
    /// Of the next attempt; of what is dead, of its end.
    pub due_at: i64,
    pub attempts: u32,
    pub error: Option<String>,
    /// Only where one is shown alone.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub body: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overview {
    pub now: i64,
    pub lanes: Vec<Counts>,
    /// Those that are dead first, then those to be tried again, then the others, each by age.
    pub events: Vec<Shown>,
}

/// Which rows: these, or those that died (of one function; with those that wait, if asked for).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Chosen {
    /// Numbers of rows, or request ids.
    pub ids: Vec<String>,
    pub function: Option<String>,
    pub waiting: bool,
}

const COLUMNS: &str =
    "id, state, function, qualifier, destination, request_id, accepted_at, due_at, attempts, error";

impl Store {
    /// `running`: what the gateway works on.
    pub async fn queue_overview(
        &self,
        now: i64,
        function: Option<String>,
        limit: usize,
        running: HashSet<i64>,
    ) -> Result<Overview, StoreError> {
        self.read(move |connection| {
            let lanes = counts(connection, now, function.as_deref(), &running)?;
            let mut events = Vec::new();
            let places = format!("SELECT {COLUMNS} FROM queue WHERE (?1 IS NULL OR function = ?1) AND ");
            for part in [
                "state = 1 ORDER BY due_at DESC LIMIT ?3",
                "state = 0 AND due_at > ?2 ORDER BY due_at LIMIT ?3",
                "state = 0 AND due_at <= ?2 ORDER BY id LIMIT ?3",
            ] {
                let mut statement = connection.prepare_cached(&format!("{places}{part}"))?;
                let left = limit.saturating_sub(events.len()) as i64;
                let found =
                    statement.query_map(params![function, now, left], |row| shown(row, now, &running))?;
                for row in found {
                    events.push(row?);
                }
            }
            Ok(Overview { now, lanes, events })
        })
        .await
    }

    /// One of them, with its body.
    pub async fn queue_entry(
        &self,
        id: &str,
        now: i64,
        running: HashSet<i64>,
    ) -> Result<Option<Shown>, StoreError> {
        let (number, id) = (id.parse::<i64>().ok(), id.to_owned());
        self.read(move |connection| {
            let sql = format!("SELECT {COLUMNS}, body FROM queue WHERE id = ?1 OR request_id = ?2 LIMIT 1");
            let mut statement = connection.prepare_cached(&sql)?;
            statement
                .query_row(params![number, id], |row| {
                    let body: Vec<u8> = row.get(10)?;
                    let body = Some(String::from_utf8_lossy(&body).into_owned());
                    Ok(Shown { body, ..shown(row, now, &running)? })
                })
                .optional()
        })
        .await
    }

    /// The numbers of the rows that are meant.
    pub async fn choose(&self, chosen: Chosen) -> Result<Vec<i64>, StoreError> {
        self.read(move |connection| {
            if !chosen.ids.is_empty() {
                let mut found = Vec::new();
                let mut statement =
                    connection.prepare_cached("SELECT id FROM queue WHERE id = ?1 OR request_id = ?2")?;
                for id in &chosen.ids {
                    let rows = statement.query_map(params![id.parse::<i64>().ok(), id], |row| row.get(0))?;
                    found.extend(rows.collect::<rusqlite::Result<Vec<i64>>>()?);
                }
                return Ok(found);
            }
            let last = if chosen.waiting { WAITING } else { DEAD };
            let sql = "SELECT id FROM queue WHERE state >= ?1 AND (?2 IS NULL OR function = ?2)";
            let mut statement = connection.prepare_cached(sql)?;
            statement.query_map(params![last, chosen.function], |row| row.get(0))?.collect()
        })
        .await
    }

    /// They are due now, as if they had never been tried.
    pub async fn retry_now(&self, ids: Vec<i64>, now: i64) -> Result<usize, StoreError> {
        let sql = format!(
            "UPDATE queue SET state = {WAITING}, due_at = {now}, attempts = 0, setbacks = 0,
                    accepted_at = iif(state = {DEAD}, {now}, accepted_at)
             WHERE id = ?"
        );
        self.each(sql, ids).await
    }

    pub async fn discard(&self, ids: Vec<i64>) -> Result<usize, StoreError> {
        self.each("DELETE FROM queue WHERE id = ?".to_owned(), ids).await
    }

    /// In portions: others write in between.
    async fn each(&self, sql: String, ids: Vec<i64>) -> Result<usize, StoreError> {
        let mut changed = 0;
        for portion in ids.chunks(1000) {
            let (sql, portion) = (sql.clone(), portion.to_vec());
            changed += self
                .write(move |transaction| {
                    let mut statement = transaction.prepare_cached(&sql)?;
                    portion
                        .iter()
                        .map(|id| statement.execute(params_from_iter([id])))
                        .sum::<rusqlite::Result<usize>>()
                })
                .await?;
        }
        Ok(changed)
    }
}

/// Out of the index alone.
fn counts(
    connection: &Connection,
    now: i64,
    function: Option<&str>,
    running: &HashSet<i64>,
) -> rusqlite::Result<Vec<Counts>> {
    let whose = if function.is_some() { "WHERE function = ?2" } else { "WHERE ?2 IS NULL" };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT lane, sum(state = 0 AND due_at <= ?1), sum(state = 0 AND due_at > ?1), sum(state = 1)
         FROM queue {whose} GROUP BY lane ORDER BY lane"
    ))?;
    let rows = statement.query_map(params![now, function], |row| {
        Ok(Counts {
            lane: row.get(0)?,
            waiting: row.get(1)?,
            running: 0,
            retrying: row.get(2)?,
            dead: row.get(3)?,
        })
    })?;
    let mut lanes: Vec<Counts> = rows.collect::<rusqlite::Result<_>>()?;
    let mut lane_of = connection.prepare_cached("SELECT lane FROM queue WHERE id = ? AND state = 0")?;
    for id in running {
        let lane: Option<String> = lane_of.query_row(params![id], |row| row.get(0)).optional()?;
        if let Some(counts) = lanes.iter_mut().find(|counts| Some(&counts.lane) == lane.as_ref()) {
            counts.running += 1;
            counts.waiting = (counts.waiting - 1).max(0);
        }
    }
    for counts in &mut lanes {
        counts.lane = without_password(&counts.lane);
    }
    Ok(lanes)
}

fn shown(row: &Row<'_>, now: i64, running: &HashSet<i64>) -> rusqlite::Result<Shown> {
    let (id, state, due_at): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(7)?);
    let state = match state {
        DEAD => "dead",
        _ if running.contains(&id) => "running",
        _ if due_at > now => "retrying",
        _ => "waiting",
    };
    Ok(Shown {
        id,
        state: state.to_owned(),
        function: row.get(2)?,
        qualifier: row.get(3)?,
        destination: row.get::<_, Option<String>>(4)?.as_deref().map(without_password),
        request_id: row.get(5)?,
        accepted_at: row.get(6)?,
        due_at,
        attempts: row.get(8)?,
        error: row.get(9)?,
        body: None,
    })
}

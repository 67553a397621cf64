//! Tables of PostgreSQL.
//!
//! One connection a URL, on which rows follow each other without waiting; it is made anew when it has
//! broken.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Config, Error};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::DeliveryError;
use super::row::{COLUMNS, Row};
use super::tls::{self, Trust};
use crate::destination::without_password;

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// For one statement, on both sides.
const LIMIT: Duration = Duration::from_secs(10);
/// How many connections are kept; beyond that all are made anew.
const KEPT: usize = 64;
/// As for PostgreSQL's own clients, when the URL has none.
const PASSWORD_VARIABLE: &str = "PGPASSWORD";

#[derive(Default)]
pub struct Postgres {
    connections: Mutex<HashMap<String, Slot>>,
}

/// Locked while the connection is made, not while it is used.
type Slot = Arc<tokio::sync::Mutex<Option<Arc<Connected>>>>;

struct Connected {
    client: Client,
    /// Reads and writes for it.
    task: JoinHandle<()>,
}

impl Drop for Connected {
    /// Whether the server still answers or not.
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Postgres {
    pub async fn insert(&self, url: &str, table: &str, row: Row) -> Result<(), DeliveryError> {
        let slot = {
            let mut connections = self.connections.lock().unwrap();
            if connections.len() >= KEPT && !connections.contains_key(url) {
                connections.clear();
            }
            connections.entry(url.to_owned()).or_default().clone()
        };
        let (connected, is_new) = connection(&slot, url).await?;
        match write(&connected, table, &row).await {
            Ok(()) => Ok(()),
            // The server has been started anew since: that is no reason to wait.
            Err(Failure::Lost(_)) if !is_new => {
                forget(&slot, &connected).await;
                let (connected, _) = connection(&slot, url).await?;
                self.settle(&slot, &connected, url, table, write(&connected, table, &row).await).await
            }
            result => self.settle(&slot, &connected, url, table, result).await,
        }
    }

    async fn settle(
        &self,
        slot: &Slot,
        connected: &Arc<Connected>,
        url: &str,
        table: &str,
        result: Result<(), Failure>,
    ) -> Result<(), DeliveryError> {
        let shown = without_password(url);
        match result {
            Ok(()) => Ok(()),
            Err(Failure::Lost(reason)) => {
                forget(slot, connected).await;
                Err(DeliveryError::transient(format!("{shown}: {reason}")))
            }
            Err(Failure::Refused(error)) => Err(refused(&error, &shown, table)),
        }
    }
}

/// Why a row was not written.
enum Failure {
    /// Of the connection: nobody knows what has become of the row.
    Lost(String),
    Refused(Error),
}

/// The one that is there, or a new one.
async fn connection(slot: &Slot, url: &str) -> Result<(Arc<Connected>, bool), DeliveryError> {
    let mut slot = slot.lock().await;
    if let Some(connected) = slot.as_ref().filter(|connected| !connected.client.is_closed()) {
        return Ok((connected.clone(), false));
    }
    *slot = None;
    let made = tokio::time::timeout(CONNECT_LIMIT, connect(url)).await;
    let connected = made.unwrap_or_else(|_| {
        let shown = without_password(url);
        let seconds = CONNECT_LIMIT.as_secs();
        Err(DeliveryError::transient(format!("{shown} cannot be reached: no answer within {seconds} s")))
    })?;
    let connected = Arc::new(connected);
    *slot = Some(connected.clone());
    Ok((connected, true))
}

/// Unless somebody has made another in its place.
async fn forget(slot: &Slot, connected: &Arc<Connected>) {
    let mut slot = slot.lock().await;
    if slot.as_ref().is_some_and(|current| Arc::ptr_eq(current, connected)) {
        *slot = None;
    }
}

async fn connect(url: &str) -> Result<Connected, DeliveryError> {
    let shown = without_password(url);
    let wrong = |reason: String| DeliveryError::permanent(format!("{shown} cannot be used: {reason}"));
    let (config, trust) = configuration(url).map_err(wrong)?;
    let tls = tokio::task::spawn_blocking(move || tls::configuration(&trust)).await;
    let tls = tls.map_err(|error| error.to_string()).flatten().map_err(wrong)?;
    let (client, connection) = config.connect(MakeRustlsConnect::new(tls)).await.map_err(|error| {
        let transient = error.as_db_error().is_none_or(|error| may_pass(error.code())) && !is_settled(&error);
        DeliveryError { reason: format!("{shown} cannot be reached: {}", told(&error)), transient }
    })?;
    let task = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!("a connection to PostgreSQL has ended: {}", told(&error));
        }
    });
    let connected = Connected { client, task };
    // So that a lock that somebody holds ends the statement, and not only our waiting.
    let limits = format!("SET statement_timeout = {}", (LIMIT - Duration::from_secs(2)).as_millis());
    connected
        .client
        .batch_execute(&limits)
        .await
        .map_err(|error| DeliveryError::transient(format!("{shown} cannot be reached: {}", told(&error))))?;
    Ok(connected)
}

/// The URL's, with what `tokio-postgres` leaves to us: how certificates are checked, and a password
/// that the environment holds.
fn configuration(url: &str) -> Result<(Config, Trust), String> {
    let (address, query) = url.split_once('?').unwrap_or((url, ""));
    let mut kept = Vec::new();
    let (mut mode, mut file) = (None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sslmode", value)) => mode = Some(value),
            Some(("sslrootcert", value)) => {
                file = Some(percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned());
            }
            _ => kept.push(pair),
        }
    }
    let plain = if kept.is_empty() { address.to_owned() } else { format!("{address}?{}", kept.join("&")) };
    let mut config: Config = plain.parse().map_err(|error: Error| not_understood(&error, url))?;
    let root = |file: Option<String>| match file {
        Some(file) if file != "system" => Trust::File(file),
        _ => Trust::System,
    };
    let (mode, trust) = match mode {
        Some("disable") => (SslMode::Disable, Trust::Anybody),
        None | Some("allow" | "prefer") => (SslMode::Prefer, Trust::Anybody),
        Some("require") if file.is_none() => (SslMode::Require, Trust::Anybody),
        Some("require" | "verify-ca" | "verify-full") => (SslMode::Require, root(file)),
        Some(other) => {
            return Err(format!(
                "there is no sslmode `{other}`\nhint: one of disable, prefer, require, verify-full"
            ));
        }
    };
    config.ssl_mode(mode);
    if config.get_password().is_none()
        && let Some(password) = std::env::var_os(PASSWORD_VARIABLE)
    {
        config.password(password.as_encoded_bytes());
    }
    if config.get_application_name().is_none() {
        config.application_name("handlerd");
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_LIMIT);
    }
    Ok((config, trust))
}

/// What is called an option may be the end of a password with an `@` and a `?` in it.
fn not_understood(error: &Error, url: &str) -> String {
    let said = told(error);
    let names_only = |quoted: &str| quoted.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let shown = url.matches('@').count() < 2 && said.split('`').skip(1).step_by(2).all(names_only);
    let said = if shown { said } else { "it is no URL of a database".to_owned() };
    format!(
        "{said}\nhint: write it as `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, each with %-escapes where it has any of \
         `:/?#[]@`"
    )
}

async fn write(connected: &Connected, table: &str, row: &Row) -> Result<(), Failure> {
    match insert(&connected.client, table, row).await {
        Err(Failure::Refused(error)) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => {
            make(&connected.client, table).await?;
            insert(&connected.client, table, row).await
        }
        result => result,
    }
}

/// A row that is there already has been delivered before. Everything is sent as text, in one round,
/// so that connections which a pooler hands out serve too; PostgreSQL makes of it what the column is.
async fn insert(client: &Client, table: &str, row: &Row) -> Result<(), Failure> {
    let sql = format!(
        "INSERT INTO \"{table}\" ({COLUMNS}) \
         VALUES ($1, $2, $3, $4, $5, $6, $7::text::timestamptz, $8::text::json, $9::text::json) \
         ON CONFLICT (request_id) DO NOTHING"
    );
    let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 9] = [
        (&row.request_id, Type::TEXT),
        (&row.function, Type::TEXT),
        (&row.version, Type::TEXT),
        (&row.succeeded, Type::BOOL),
        (&row.condition, Type::TEXT),
        (&row.attempts, Type::INT4),
        (&row.timestamp, Type::TEXT),
        (&row.request, Type::TEXT),
        (&row.response, Type::TEXT),
    ];
    within(client.execute_typed(&sql, &parameters)).await.map(|_| ())
}

/// Two who make it at once: one of them is told that it is there.
async fn make(client: &Client, table: &str) -> Result<(), Failure> {
    match within(client.batch_execute(&definition(table))).await {
        Err(Failure::Refused(error))
            if matches!(error.code(), Some(&SqlState::UNIQUE_VIOLATION | &SqlState::DUPLICATE_TABLE)) =>
        {
            Ok(())
        }
        result => result,
    }
}

/// JSON, not JSONB: that would refuse `\u0000` and change numbers and the order of keys.
fn definition(table: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS \"{table}\" (request_id TEXT NOT NULL PRIMARY KEY, function TEXT NOT NULL, \
         version TEXT, succeeded BOOLEAN NOT NULL, condition TEXT, attempts INTEGER, timestamp TIMESTAMPTZ NOT NULL, \
         request JSON, response JSON)"
    )
}

async fn within<T>(statement: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
    match tokio::time::timeout(LIMIT, statement).await {
        Ok(Ok(value)) => Ok(value),
        // The server says goodbye with an error of its own when it is stopped.
        Ok(Err(error)) => match error.code() {
            Some(code) if !code.code().starts_with("57P") && !code.code().starts_with("08") => {
                Err(Failure::Refused(error))
            }
            _ => Err(Failure::Lost(told(&error))),
        },
        Err(_) => Err(Failure::Lost(format!("no answer within {} s", LIMIT.as_secs()))),
    }
}

/// By the class of the error: connections, transactions, resources, an operator, a stand-by server.
fn may_pass(code: &SqlState) -> bool {
    ["08", "25006", "40", "53", "55P03", "57", "58"].iter().any(|class| code.code().starts_with(class))
}

/// Nothing of the network: what is written in the URL is wrong, or TLS is refused.
fn is_settled(error: &Error) -> bool {
    let said = error.to_string();
    said.contains("invalid configuration") || said.contains("authentication") || said.contains("TLS")
}

fn refused(error: &Error, shown: &str, table: &str) -> DeliveryError {
    let transient = error.code().is_some_and(may_pass);
    let of_shape = [
        SqlState::UNDEFINED_COLUMN,
        SqlState::DATATYPE_MISMATCH,
        SqlState::INVALID_COLUMN_REFERENCE,
        SqlState::NOT_NULL_VIOLATION,
        SqlState::WRONG_OBJECT_TYPE,
    ];
    let hint = match error.code() {
        Some(code) if of_shape.contains(code) => format!(
            "\nhint: the table has another shape than a record's; name one that is not there yet, or make it so: {}",
            definition(table)
        ),
        _ => String::new(),
    };
    DeliveryError {
        reason: format!("table `{table}` of {shown} does not take it: {}{hint}", told(error)),
        transient,
    }
}

/// What the server says, or the innermost cause. Neither ever has the password in it.
fn told(error: &Error) -> String {
    if let Some(error) = error.as_db_error() {
        return error.message().to_owned();
    }
    let mut said = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        said = format!("{said}: {inner}");
        cause = inner.source();
    }
    said
}

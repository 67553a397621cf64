//! Sends what a destination is to receive: to queues, topics and buses of an AWS-compatible
//! endpoint, to URLs, and into tables of databases. Functions are invoked by the invoker itself.
//!
//! - `services`: SQS, SNS, EventBridge.
//! - `url`: a POST.
//! - `row`: what a record becomes in a table; `sqlite` and `postgres` write it, `tls` secures the latter.
//!
//! Whatever is sent may be sent again, by whoever has not heard that it arrived. So every message
//! carries its request id, and a table has a row for it only once.

mod postgres;
mod row;
mod services;
mod sqlite;
mod tls;
mod url;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::aws;
use crate::destination::{Database, Destination};

/// For all that one message takes, with every second attempt.
const PATIENCE: Duration = Duration::from_secs(40);

/// A cheap handle.
#[derive(Clone)]
pub struct Delivery(Arc<Shared>);

struct Shared {
    aws: aws::Client,
    services: services::Services,
    url: url::Url,
    sqlite: sqlite::Sqlite,
    postgres: postgres::Postgres,
}

/// What is sent.
#[derive(Debug, Clone)]
pub struct Message {
    /// JSON: the record of an invocation, or the event itself for a dead-letter queue.
    pub body: String,
    /// `RequestID`, ...: name, type (`String`, `Number`), value. Only dead letters have any.
    pub attributes: Vec<(String, String, String)>,
    /// Of the function that it comes from, qualified.
    pub function_arn: String,
    pub request_id: String,
    /// Whether the invocation succeeded.
    pub succeeded: bool,
    /// `X-Amzn-Trace-Id` of the invocation, so that chains can be followed.
    pub trace_id: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct DeliveryError {
    pub reason: String,
    /// Trying again later may help.
    pub transient: bool,
}

impl DeliveryError {
    fn transient(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), transient: true }
    }

    fn permanent(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), transient: false }
    }
}

impl From<aws::AwsError> for DeliveryError {
    fn from(error: aws::AwsError) -> Self {
        Self { transient: error.is_transient(), reason: error.to_string() }
    }
}

impl Delivery {
    /// `root`: where relative paths of databases begin, the folder of the project.
    pub fn new(aws: aws::Client, root: PathBuf) -> Self {
        Self(Arc::new(Shared {
            services: services::Services::new(aws.clone()),
            aws,
            url: url::Url::default(),
            sqlite: sqlite::Sqlite::new(root),
            postgres: postgres::Postgres::default(),
        }))
    }

    /// The client of the endpoints, for whoever asks them something else.
    pub fn aws(&self) -> &aws::Client {
        &self.0.aws
    }

    /// Returns when the receiver has it; after `PATIENCE` at the latest.
    pub async fn send(&self, to: &Destination, message: &Message) -> Result<(), DeliveryError> {
        let sent = tokio::time::timeout(PATIENCE, self.send_now(to, message)).await;
        sent.unwrap_or_else(|_| {
            Err(DeliveryError::transient(format!(
                "{} has not taken it within {} s",
                to.shown(),
                PATIENCE.as_secs()
            )))
        })
    }

    async fn send_now(&self, to: &Destination, message: &Message) -> Result<(), DeliveryError> {
        let Shared { services, url, sqlite, postgres, .. } = &*self.0;
        match to {
            Destination::Function { arn, .. } => Err(DeliveryError::permanent(format!(
                "{arn} is a function: it is invoked, nothing is sent to it"
            ))),
            Destination::Queue { arn } => services.queue(arn, message).await,
            Destination::Topic { arn } => services.topic(arn, message).await,
            Destination::Bus { arn } => services.bus(arn, message).await,
            Destination::Url(address) => url.post(address, message).await,
            Destination::Table { database: Database::Sqlite(path), table } => {
                sqlite.insert(path, table, row::Row::of(message)).await
            }
            Destination::Table { database: Database::Postgres(address), table } => {
                postgres.insert(address, table, row::Row::of(message)).await
            }
        }
    }
}

//! WebSocket APIs: connections, routes by message, and the management API of connections.
//!
//! | file | what it knows |
//! |---|---|
//! | `open` | from the request to the open connection: `$connect`; and its end: `$disconnect` |
//! | `session` | the life of one open connection |
//! | `selection` | which route a message takes |
//! | `integration` | what a route does with an event |
//! | `event` | the events |
//! | `failure` | what a client hears when something comes to nothing |
//! | `connections` | those that are open |
//! | `management` | `/@connections/ID` |
//!
//! Messages of one connection are worked on at the same time, as on AWS: they begin in the order in
//! which they came, and nothing is promised about the order in which they end.

mod connections;
mod event;
mod failure;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod integration;
mod management;
mod open;
mod selection;
mod session;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};

use super::error::GatewayError;
use super::{Gateway, Line};
use crate::api::Api;

pub use connections::Connections;

/// API Gateway's limits, and where it has none, ours.
#[derive(Debug, Clone)]
pub struct Limits {
    /// A message, in both directions.
    pub message: usize,
    pub frame: usize,
    /// Without a message or a ping.
    pub idle: Duration,
    pub life: Duration,
    /// Open at once, over all APIs.
    pub connections: usize,
    /// Messages of one connection that are worked on at once.
    pub at_work: usize,
    /// What waits to be sent to one client.
    pub waiting_messages: usize,
    pub waiting_bytes: usize,
    /// How long a client may take to receive a message.
    pub send: Duration,
    /// How long it has to say goodbye.
    pub goodbye: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message: 128 * 1024,
            frame: 32 * 1024,
            idle: Duration::from_secs(10 * 60),
            life: Duration::from_secs(2 * 60 * 60),
            connections: 10_000,
            at_work: 32,
            waiting_messages: 256,
            waiting_bytes: 1024 * 1024,
            send: Duration::from_secs(30),
            goodbye: Duration::from_secs(1),
        }
    }
}

/// Opens a connection, or answers a request to `/@connections/ID`. `path`: what follows the stage.
pub async fn answer(
    gateway: &Gateway,
    request: Request<Body>,
    api: Arc<Api>,
    stage: usize,
    path: &str,
    line: &mut Line,
) -> Result<Response<Body>, GatewayError> {
    match path.strip_prefix("/@connections/") {
        Some(id) => management::answer(gateway, request, &api, stage, id, line).await,
        None => open::open(gateway, request, api, stage, path, line).await,
    }
}

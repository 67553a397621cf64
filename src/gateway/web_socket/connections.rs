//! The connections that are open, and what may be done to them from outside.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use tokio::sync::{Notify, mpsc, watch};

use super::Limits;
use super::event::Client;

/// A cheap handle.
#[derive(Clone)]
pub struct Connections(Arc<Shared>);

struct Shared {
    limits: Limits,
    open: Mutex<HashMap<String, Arc<Connection>>>,
    /// Connections, also those that are opening, or closed and still have something at work.
    places: watch::Sender<usize>,
    stop: watch::Sender<bool>,
}

/// A place among the connections, taken before anything else happens and held to the very end.
pub struct Place(Connections);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.places.send_modify(|taken| *taken -= 1);
    }
}

/// One that has been opened.
pub struct Connection {
    pub client: Client,
    pub api: String,
    pub stage: String,
    last_active: AtomicI64,
    outgoing: mpsc::Sender<Bytes>,
    waiting_bytes: AtomicUsize,
    limits: Limits,
    /// `DeleteConnection`.
    pub deleted: Notify,
}

/// Why a message could not be put in line.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    Gone,
    /// The client does not read what it is sent.
    Full,
}

impl Connections {
    pub fn new(limits: Limits) -> Self {
        let (places, stop) = (watch::Sender::new(0), watch::Sender::new(false));
        Self(Arc::new(Shared { limits, open: Mutex::default(), places, stop }))
    }

    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// `None`: there are too many.
    pub fn place(&self) -> Option<Place> {
        let taken = self.0.places.send_if_modified(|taken| {
            let free = *taken < self.0.limits.connections;
            *taken += usize::from(free);
            free
        });
        taken.then(|| Place(self.clone()))
    }

    pub fn add(&self, client: Client, api: &str, stage: &str) -> (Arc<Connection>, mpsc::Receiver<Bytes>) {
        let (outgoing, messages) = mpsc::channel(self.0.limits.waiting_messages);
        let connection = Arc::new(Connection {
            last_active: AtomicI64::new(client.connected_at.as_millisecond()),
            client,
            api: api.to_owned(),
            stage: stage.to_owned(),
            outgoing,
            waiting_bytes: AtomicUsize::new(0),
            limits: self.0.limits.clone(),
            deleted: Notify::new(),
        });
        self.0.open.lock().unwrap().insert(connection.client.id.clone(), connection.clone());
        (connection, messages)
    }

    /// Of this API and stage only.
    pub fn get(&self, id: &str, api: &str, stage: &str) -> Option<Arc<Connection>> {
        let open = self.0.open.lock().unwrap();
        let connection = open.get(id).filter(|connection| connection.api == api && connection.stage == stage);
        connection.cloned()
    }

    /// From now on it is gone for everybody.
    pub fn remove(&self, id: &str) {
        self.0.open.lock().unwrap().remove(id);
    }

    /// Changes when all connections are to end.
    pub fn stopping(&self) -> watch::Receiver<bool> {
        self.0.stop.subscribe()
    }

    pub fn stop(&self) {
        self.0.stop.send_replace(true);
    }

    /// Returns when none is left.
    pub async fn ended(&self) {
        let _ = self.0.places.subscribe().wait_for(|taken| *taken == 0).await;
    }
}

impl Connection {
    /// Puts a message in line.
    pub fn post(&self, message: Bytes) -> Result<(), Refused> {
        let length = message.len();
        let fits = |waiting: usize| Some(waiting + length).filter(|sum| *sum <= self.limits.waiting_bytes);
        if self.waiting_bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits).is_err() {
            return Err(Refused::Full);
        }
        self.outgoing.try_send(message).map_err(|error| {
            self.taken(length);
            match error {
                mpsc::error::TrySendError::Full(_) => Refused::Full,
                mpsc::error::TrySendError::Closed(_) => Refused::Gone,
            }
        })
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A message of this length waits no longer.
    pub fn taken(&self, length: usize) {
        self.waiting_bytes.fetch_sub(length, Ordering::AcqRel);
    }

    pub fn touch(&self) {
        self.last_active.store(jiff::Timestamp::now().as_millisecond(), Ordering::Relaxed);
    }

    pub fn last_active(&self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.last_active.load(Ordering::Relaxed)).unwrap_or_default()
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn client(id: &str) -> Client {
        Client {
            id: id.to_owned(),
            connected_at: jiff::Timestamp::UNIX_EPOCH,
            domain: "localhost:3000".into(),
            source_ip: "127.0.0.1".into(),
            user_agent: "test".into(),
            caller: Default::default(),
        }
    }

    #[test]
    fn there_are_only_so_many_places() {
        let connections = Connections::new(Limits { connections: 2, ..Limits::default() });
        let (first, second) = (connections.place(), connections.place());
        assert!(first.is_some() && second.is_some());
        assert!(connections.place().is_none());
        drop(first);
        assert!(connections.place().is_some());
    }

    #[test]
    fn a_connection_is_found_in_its_own_stage_only() {
        let connections = Connections::new(Limits::default());
        let _receiver = connections.add(client("a="), "api", "prod");
        assert!(connections.get("a=", "api", "prod").is_some());
        assert!(connections.get("a=", "api", "dev").is_none());
        assert!(connections.get("a=", "other", "prod").is_none());
        connections.remove("a=");
        assert!(connections.get("a=", "api", "prod").is_none());
    }

    #[test]
    fn what_waits_for_a_slow_client_is_bounded_by_number_and_by_size() {
        let limits = Limits { waiting_messages: 2, waiting_bytes: 10, ..Limits::default() };
        let connections = Connections::new(limits);
        let (connection, mut messages) = connections.add(client("a="), "api", "prod");
        assert_eq!(connection.post("123456".into()), Ok(()));
        assert_eq!(connection.post("12345".into()), Err(Refused::Full));
        assert_eq!(connection.post("1".into()), Ok(()));
        assert_eq!(connection.post("1".into()), Err(Refused::Full), "there are two already");
        let taken = messages.try_recv().unwrap();
        connection.taken(taken.len());
        assert_eq!(connection.post("123456789".into()), Ok(()), "what was refused holds no room");
        drop(messages);
        connection.taken(10);
        assert_eq!(connection.post("1".into()), Err(Refused::Gone));
    }

    #[tokio::test]
    async fn the_end_waits_for_the_last_place() {
        let connections = Connections::new(Limits::default());
        let place = connections.place();
        let ended = connections.ended();
        tokio::pin!(ended);
        assert!(tokio::time::timeout(std::time::Duration::from_millis(1), &mut ended).await.is_err());
        drop(place);
        ended.await;
    }
}

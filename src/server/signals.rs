//! SIGINT and SIGTERM end; SIGHUP asks for a successor.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Mutex;

/// Heard from the moment this exists.
pub struct Signals {
    interrupt: Mutex<Signal>,
    terminate: Mutex<Signal>,
    hang_up: Mutex<Signal>,
}

impl Signals {
    pub fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: Mutex::new(signal(SignalKind::interrupt())?),
            terminate: Mutex::new(signal(SignalKind::terminate())?),
            hang_up: Mutex::new(signal(SignalKind::hangup())?),
        })
    }

    /// Returns when one of those that end comes.
    pub async fn stop(&self) {
        let (mut interrupt, mut terminate) = (self.interrupt.lock().await, self.terminate.lock().await);
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }

    /// Returns when a successor is asked for.
    pub async fn succession(&self) {
        self.hang_up.lock().await.recv().await;
    }
}

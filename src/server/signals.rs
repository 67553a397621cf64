//! SIGINT and SIGTERM.

/// Heard from the moment this exists.
pub struct Signals {
    interrupt: tokio::sync::Mutex<tokio::signal::unix::Signal>,
    terminate: tokio::sync::Mutex<tokio::signal::unix::Signal>,
}

impl Signals {
    pub fn listen() -> anyhow::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: tokio::sync::Mutex::new(signal(SignalKind::interrupt())?),
            terminate: tokio::sync::Mutex::new(signal(SignalKind::terminate())?),
        })
    }

    /// Returns when one of them comes.
    pub async fn stop(&self) {
        let (mut interrupt, mut terminate) = (self.interrupt.lock().await, self.terminate.lock().await);
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}

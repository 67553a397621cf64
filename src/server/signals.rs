//! SIGINT and SIGTERM end; SIGHUP asks for a successor, or says that the terminal is gone.

use std::fs::File;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Mutex;

use crate::defences;

/// Heard from the moment this exists.
pub struct Signals {
    interrupt: Mutex<Signal>,
    terminate: Mutex<Signal>,
    hang_up: Mutex<Signal>,
    had_terminal: bool,
    outlives_terminal: bool,
}

/// What a signal asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    End,
    Successor,
}

/// Whether this program was told (`nohup`) not to end with its terminal. To be asked before [`Signals`]
/// are heard.
pub fn hang_up_is_ignored() -> bool {
    // SAFETY: asks what there is, into a value of our own that all zeros are right for.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGHUP, std::ptr::null(), &mut action) == 0
            && action.sa_sigaction == libc::SIG_IGN
    }
}

impl Signals {
    pub fn listen(outlives_terminal: bool) -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: Mutex::new(signal(SignalKind::interrupt())?),
            terminate: Mutex::new(signal(SignalKind::terminate())?),
            hang_up: Mutex::new(signal(SignalKind::hangup())?),
            had_terminal: has_terminal(),
            outlives_terminal,
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

    /// Returns when the end or a successor is asked for.
    pub async fn asked(&self) -> Asked {
        let mut hang_up = self.hang_up.lock().await;
        loop {
            tokio::select! {
                () = self.stop() => return Asked::End,
                _ = hang_up.recv() => {}
            }
            match self.had_terminal && !has_terminal() && !defences::off("end-with-the-terminal") {
                false => return Asked::Successor,
                true if !self.outlives_terminal => return Asked::End,
                true => {}
            }
        }
    }
}

/// Whether there is a terminal whose end this program would hear of.
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

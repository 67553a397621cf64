//! A template, as its parent holds it: a process that has run a function's init phase once, and from
//! which environments are forked that need none. This is what stands for the snapshot of Lambda's
//! SnapStart; the inside is `python/src/template.rs`.
//!
//! It is isolated like any environment before the function's code runs, and what it forks inherits that.
//! What it says is as hostile as what any environment says. When it ends, its environments end too, so
//! each of them holds it.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::environment::{Environment, InitReport, Origin, Plan, StartError};
use super::zygote::{Zygote, control_socket};

/// As on Lambda: an init phase before a snapshot may take so long, or as long as the function's timeout
/// if that is longer.
pub const INIT_LIMIT: Duration = Duration::from_secs(130);
/// As on Lambda: for the hooks that run in each environment.
pub const RESTORE_LIMIT: Duration = Duration::from_secs(10);

/// What a process may say of itself is cut off here.
const LONGEST_REASON: usize = 300;

pub struct Template {
    environment: Environment,
    pub forks: Zygote,
    /// Taken by the first environment that comes from it.
    init: Mutex<Option<InitReport>>,
    used: Mutex<Instant>,
}

/// A template, or why there can be none: in words that follow "its init phase".
pub enum Made {
    Template(Arc<Template>),
    Impossible(String),
}

impl Template {
    pub async fn make(plan: Plan<'_>, zygote: &Zygote) -> Result<Made, StartError> {
        let system = |error: std::io::Error| StartError::System(error.to_string());
        let (ours, theirs) = control_socket().map_err(|error| system(error.into()))?;
        let (mut environment, said) = Environment::start(plan, Origin::AsTemplate(zygote, theirs)).await?;
        if !said.is_empty() {
            return Ok(Made::Impossible(reason(&said)));
        }
        let forks = Zygote::of_template(ours, environment.pid() as u32).map_err(system)?;
        let init = Mutex::new(environment.take_init());
        let used = Mutex::new(Instant::now());
        Ok(Made::Template(Arc::new(Self { environment, forks, init, used })))
    }

    pub fn has_ended(&self) -> bool {
        self.environment.has_exited() || self.forks.has_ended()
    }

    pub fn take_init(&self) -> Option<InitReport> {
        *self.used.lock().unwrap() = Instant::now();
        self.init.lock().unwrap().take()
    }

    /// How long the init phase and the hooks after it took, until somebody has taken the report.
    pub fn took(&self) -> Option<Duration> {
        self.init.lock().unwrap().as_ref().map(|init| init.duration)
    }

    pub fn unused_for(&self) -> Duration {
        self.used.lock().unwrap().elapsed()
    }

    pub fn temporary_folder(&self) -> &Path {
        self.environment.temporary_folder()
    }
}

impl Drop for Template {
    fn drop(&mut self) {
        self.forks.stop();
    }
}

/// One line, of a certain length, without what would mean something to a terminal.
fn reason(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    text.chars().filter(|c| !c.is_control()).take(LONGEST_REASON).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_says_of_itself_is_one_short_line() {
        assert_eq!(reason(b"has left 1 thread running"), "has left 1 thread running");
        assert_eq!(reason(b"a\x1b[2J\nb\xff"), "a[2Jb\u{fffd}");
        assert_eq!(reason(&[b'x'; 5000]).len(), LONGEST_REASON);
    }
}

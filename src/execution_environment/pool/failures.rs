//! A function that cannot be loaded, again and again: between two tries there is a pause, and who calls
//! meanwhile is told at once how the last one ended. Its processes would otherwise keep a core busy with
//! nothing but dying.
//!
//! The first few tries are free, and so is everybody who tries now and then: what was missing may have
//! come, and nobody wants to be told of yesterday's mistake. New code begins anew.

use std::time::{Duration, Instant};

use super::AcquireError;
use crate::defences;
use crate::execution_environment::environment::{Ended, StartError};
use crate::function::FunctionName;

/// So many failures in a row cost nothing.
const FREE: u32 = 10;
/// The first pause; each is twice as long as the one before.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);
/// Who fails again after so much more than the pause does not fail in a row.
const FORGOTTEN: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Failures {
    in_a_row: u32,
    last: Option<(Instant, AcquireError)>,
}

impl Failures {
    /// An init phase that takes too long is paused by that itself; what is no fault of the function's
    /// (no Python, no process) is not counted.
    pub fn failed(&mut self, name: &FunctionName, error: &AcquireError, now: Instant) {
        let AcquireError::Start(StartError::Init(finished)) = error else { return };
        if finished.ended == Ended::TimedOut || defences::off("crash-loop-pause") {
            return;
        }
        let near = |at: Instant| now.saturating_duration_since(at) < self.pause() + FORGOTTEN;
        let is_near = self.last.as_ref().is_some_and(|(at, _)| near(*at));
        self.in_a_row = if is_near { self.in_a_row.saturating_add(1) } else { 1 };
        self.last = Some((now, error.clone()));
        if self.in_a_row == FREE {
            tracing::warn!(
                "{name} could not be loaded {FREE} times in a row: it is tried again after pauses that grow from \
                 {} s to {} s, and who calls meanwhile gets the last error\nhint: a change of its code is tried at once",
                SHORTEST.as_secs_f64(),
                LONGEST.as_secs()
            );
        }
    }

    /// While there is a pause: how the last try ended.
    pub fn pausing(&self, now: Instant) -> Option<AcquireError> {
        let (at, error) = self.last.as_ref()?;
        (now.saturating_duration_since(*at) < self.pause()).then(|| error.clone())
    }

    fn pause(&self) -> Duration {
        match self.in_a_row.checked_sub(FREE) {
            None => Duration::ZERO,
            Some(more) => (SHORTEST * 2_u32.pow(more.min(10))).min(LONGEST),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::execution_environment::environment::Finished;
    use crate::protocol::control::Exit;

    fn error(ended: Ended) -> AcquireError {
        let finished = Finished {
            ended,
            untouched: false,
            duration: Duration::ZERO,
            max_memory_mb: 0,
            output: Vec::new(),
            runtime: "python3.12".into(),
        };
        AcquireError::Start(StartError::Init(Arc::new(finished)))
    }

    #[test]
    fn pauses_grow_and_are_forgotten() {
        let name: FunctionName = "f".parse().unwrap();
        let crash = error(Ended::Exited(Exit::Status(1)));
        let mut failures = Failures::default();
        let mut now = Instant::now();
        for _ in 0..FREE - 1 {
            failures.failed(&name, &crash, now);
            assert!(failures.pausing(now).is_none(), "the first are free");
        }
        let mut pauses = Vec::new();
        for _ in 0..12 {
            failures.failed(&name, &crash, now);
            let pause = failures.pause();
            assert!(failures.pausing(now + pause - Duration::from_millis(1)).is_some());
            now += pause;
            assert!(failures.pausing(now).is_none());
            pauses.push(pause.as_secs_f64());
        }
        assert_eq!(pauses[..4], [0.1, 0.2, 0.4, 0.8]);
        assert_eq!(pauses[9..], [30.0, 30.0, 30.0]);
        failures.failed(&name, &crash, now + LONGEST + FORGOTTEN);
        assert_eq!(failures.pause(), Duration::ZERO, "somebody who tries now and then");
    }

    #[test]
    fn only_crashes_count() {
        let name: FunctionName = "f".parse().unwrap();
        let mut failures = Failures::default();
        for _ in 0..100 {
            failures.failed(&name, &error(Ended::TimedOut), Instant::now());
            failures.failed(&name, &AcquireError::NoPython(String::new()), Instant::now());
        }
        assert_eq!(failures.in_a_row, 0);
    }
}

//! What comes after an attempt that has led to nothing: when the next one is, or that it was the last.
//!
//! As on AWS: a function that fails is tried again after one minute, then after two, at most twice
//! (`MaximumRetryAttempts`). What is nobody's fault (throttled, no environment) does not count, and is
//! tried again from one second up to five minutes later. All of it for at most six hours
//! (`MaximumEventAgeInSeconds`).

use std::time::Duration;

use crate::function::Asynchronous;

const RETRIES: u32 = 2;
const RETRY: Duration = Duration::from_secs(60);
const MAXIMUM_AGE: Duration = Duration::from_secs(6 * 3600);
const FIRST_SETBACK: Duration = Duration::from_secs(1);
const LONGEST_SETBACK: Duration = Duration::from_secs(300);

/// Settled rules of one function; times in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    retries: u32,
    maximum_age: i64,
    /// What AWS's times are multiplied by: 1, but for tests.
    scale: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    At(i64),
    RetriesExhausted,
    EventAgeExceeded,
}

impl Policy {
    pub fn new(asynchronous: &Asynchronous, scale: f64) -> Self {
        Self {
            retries: asynchronous.maximum_retries.unwrap_or(RETRIES),
            maximum_age: scaled(asynchronous.maximum_age.unwrap_or(MAXIMUM_AGE), scale),
            scale,
        }
    }

    /// Of a delivery: nobody configures it.
    pub fn of_deliveries(scale: f64) -> Self {
        Self::new(&Asynchronous::default(), scale)
    }

    pub fn is_too_old(&self, accepted_at: i64, now: i64) -> bool {
        now - accepted_at > self.maximum_age
    }

    /// The function has failed for the `attempts`-th time.
    pub fn after_failure(&self, attempts: u32, accepted_at: i64, now: i64) -> Next {
        if attempts > self.retries || crate::defences::off("retries") {
            return Next::RetriesExhausted;
        }
        let next = now + scaled(RETRY * attempts, self.scale);
        // It would be too old by then: that is known now.
        if self.is_too_old(accepted_at, next) { Next::EventAgeExceeded } else { Next::At(next) }
    }

    /// It was not the function's fault, for the `setbacks`-th time in a row.
    pub fn after_setback(&self, setbacks: u32, accepted_at: i64, now: i64) -> Next {
        if self.is_too_old(accepted_at, now) {
            return Next::EventAgeExceeded;
        }
        let longer =
            FIRST_SETBACK.saturating_mul(1 << setbacks.saturating_sub(1).min(16)).min(LONGEST_SETBACK);
        let next = now + scaled(longer, self.scale).max(1);
        // The last one just before its time is over.
        Next::At(next.min((accepted_at + self.maximum_age).max(now + 1)))
    }
}

fn scaled(duration: Duration, scale: f64) -> i64 {
    (duration.as_millis() as f64 * scale) as i64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: i64 = 60_000;

    fn policy(retries: Option<u32>, age: Option<u64>) -> Policy {
        let asynchronous = Asynchronous {
            maximum_retries: retries,
            maximum_age: age.map(Duration::from_secs),
            ..Asynchronous::default()
        };
        Policy::new(&asynchronous, 1.0)
    }

    #[test]
    fn a_function_is_tried_three_times() {
        let policy = policy(None, None);
        assert_eq!(policy.after_failure(1, 0, 100), Next::At(100 + MINUTE));
        assert_eq!(policy.after_failure(2, 0, 100), Next::At(100 + 2 * MINUTE));
        assert_eq!(policy.after_failure(3, 0, 100), Next::RetriesExhausted);
        assert_eq!(self::policy(Some(0), None).after_failure(1, 0, 100), Next::RetriesExhausted);
    }

    #[test]
    fn what_will_be_too_old_is_not_tried_again() {
        let policy = policy(None, Some(60));
        assert_eq!(policy.after_failure(1, 0, 100), Next::EventAgeExceeded);
        assert_eq!(policy.after_setback(1, 0, 60_001), Next::EventAgeExceeded);
        assert!(policy.is_too_old(0, 60_001) && !policy.is_too_old(0, 60_000));
    }

    #[test]
    fn setbacks_wait_longer_each_time() {
        let policy = policy(None, None);
        let waits: Vec<Next> = (1..12).map(|setbacks| policy.after_setback(setbacks, 0, 0)).collect();
        let seconds = [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300];
        assert_eq!(waits, seconds.map(|seconds| Next::At(seconds * 1000)));
    }

    #[test]
    fn tests_need_not_wait() {
        let policy = Policy::new(&Asynchronous::default(), 0.001);
        assert_eq!(policy.after_failure(1, 0, 0), Next::At(60));
        assert_eq!(policy.after_setback(1, 0, 0), Next::At(1));
        assert!(policy.is_too_old(0, 21_601));
    }

    proptest! {
        #[test]
        fn the_next_attempt_is_later_and_in_time(
            setbacks in any::<u32>(), accepted_at in 0..1_000_000_000i64, age in 0..30_000_000i64,
        ) {
            let policy = policy(None, None);
            let now = accepted_at + age;
            match policy.after_setback(setbacks, accepted_at, now) {
                Next::At(next) => prop_assert!(next > now && next <= accepted_at + 21_600_001),
                other => prop_assert!(other == Next::EventAgeExceeded && age > 21_600_000),
            }
        }
    }
}

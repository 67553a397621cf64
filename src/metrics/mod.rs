//! Figures by function and minute: how often, how long, and what went wrong; 24 hours of them in memory.

mod histogram;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

pub use histogram::Histogram;

const MINUTE_MS: u64 = 60_000;
/// Minutes in memory: a day. Minutes in which nothing happened take no room.
const KEPT: u64 = 24 * 60;

/// A cheap handle.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Mutex<HashMap<String, Series>>>);

/// The minutes of one function in which something happened, oldest first.
#[derive(Default)]
struct Series(VecDeque<(u64, Facts)>);

/// What happened in a minute.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    pub invocations: u64,
    pub errors: u64,
    pub throttles: u64,
    pub cold_starts: u64,
    pub durations: Histogram,
}

/// A point of the overview's chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Minute {
    pub t_ms: u64,
    pub invocations: u64,
    pub errors: u64,
    pub p50_ms: Option<f64>,
}

impl Metrics {
    /// An invocation that began at this time has come to its end.
    pub fn invoked(&self, function: &str, began: SystemTime, duration: Duration, ok: bool, cold: bool) {
        self.count(function, began, |facts| {
            facts.invocations += 1;
            facts.errors += u64::from(!ok);
            facts.cold_starts += u64::from(cold);
            facts.durations.add(duration);
        });
    }

    /// One was turned away: too many ran.
    pub fn throttled(&self, function: &str) {
        self.count(function, SystemTime::now(), |facts| facts.throttles += 1);
    }

    /// The last 60 minutes, oldest first, this one included; of a function that is unknown, all empty.
    pub fn last_hour(&self, function: &str) -> Vec<Minute> {
        self.minutes_until(function, minute_of(SystemTime::now()), 60)
    }

    fn minutes_until(&self, function: &str, last: u64, count: u64) -> Vec<Minute> {
        let series = self.lock();
        let series = series.get(function);
        (last.saturating_sub(count - 1)..=last)
            .map(|minute| {
                let facts = series.and_then(|series| series.at(minute));
                Minute {
                    t_ms: minute * MINUTE_MS,
                    invocations: facts.map_or(0, |facts| facts.invocations),
                    errors: facts.map_or(0, |facts| facts.errors),
                    p50_ms: facts.and_then(|facts| facts.durations.percentile_ms(0.5)),
                }
            })
            .collect()
    }

    /// Forgets functions that went away.
    pub fn keep_only(&self, is_there: impl Fn(&str) -> bool) {
        self.lock().retain(|function, _| is_there(function));
    }

    fn count(&self, function: &str, time: SystemTime, change: impl FnOnce(&mut Facts)) {
        let mut all = self.lock();
        // Looked up first: an entry would need a name of its own each time.
        if !all.contains_key(function) {
            all.insert(function.to_owned(), Series::default());
        }
        let series = all.get_mut(function).expect("inserted above");
        change(series.facts_mut(minute_of(time)));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Series>> {
        self.0.lock().unwrap()
    }
}

impl Series {
    fn at(&self, minute: u64) -> Option<&Facts> {
        let index = self.0.binary_search_by_key(&minute, |(minute, _)| *minute).ok()?;
        Some(&self.0[index].1)
    }

    fn facts_mut(&mut self, minute: u64) -> &mut Facts {
        // Nearly always the last one; an invocation that took long began in one before, and a clock
        // may be set back.
        let index = match self.0.back() {
            Some((last, _)) if *last == minute => self.0.len() - 1,
            _ => match self.0.binary_search_by_key(&minute, |(minute, _)| *minute) {
                Ok(index) => index,
                Err(_) => {
                    while self.0.len() as u64 >= KEPT
                        || self.0.front().is_some_and(|(first, _)| first + KEPT <= minute)
                    {
                        self.0.pop_front();
                    }
                    let index = self.0.partition_point(|(other, _)| *other < minute);
                    self.0.insert(index, (minute, Facts::default()));
                    index
                }
            },
        };
        &mut self.0[index].1
    }
}

fn minute_of(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis() as u64 / MINUTE_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(minute * 60 + 7)
    }

    #[test]
    fn an_hour_always_has_sixty_minutes() {
        let metrics = Metrics::default();
        assert_eq!(metrics.last_hour("nobody").len(), 60);
        metrics.invoked("f", at(1000), Duration::from_millis(8), true, true);
        metrics.invoked("f", at(1002), Duration::from_millis(8), false, false);
        metrics.invoked("f", at(1001), Duration::from_millis(8), false, false);
        let minutes = metrics.minutes_until("f", 1002, 60);
        assert_eq!(minutes.len(), 60);
        assert_eq!(minutes[0].t_ms, 943 * MINUTE_MS);
        let facts: Vec<_> = minutes[57..].iter().map(|m| (m.invocations, m.errors)).collect();
        assert_eq!(facts, [(1, 0), (1, 1), (1, 1)]);
        assert_eq!((minutes[56].invocations, minutes[56].p50_ms), (0, None));
        assert!((minutes[59].p50_ms.unwrap() - 8.0).abs() < 0.5);
    }

    #[test]
    fn a_day_is_kept_and_functions_that_went_away_are_forgotten() {
        let metrics = Metrics::default();
        for minute in 0..3 * KEPT {
            metrics.invoked("f", at(minute), Duration::from_millis(1), true, false);
        }
        metrics.throttled("f");
        assert!(metrics.lock()["f"].0.len() as u64 <= KEPT);
        metrics.keep_only(|name| name != "f");
        assert!(metrics.lock().is_empty());
    }

    /// `cargo test --lib metrics::tests::cost -- --ignored --nocapture`
    #[test]
    #[ignore = "a measurement"]
    fn cost() {
        let metrics = Metrics::default();
        let (now, began) = (SystemTime::now(), std::time::Instant::now());
        for number in 0..1_000_000u64 {
            metrics.invoked("hello", now, Duration::from_micros(number % 3000), true, false);
        }
        println!("{} ns for each invocation", began.elapsed().as_nanos() / 1_000_000);
    }
}

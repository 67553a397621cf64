//! Figures of functions, minute by minute: how often, how long, how many at once, what went wrong.
//!
//! A day is kept in memory; whoever keeps house writes what is new to the store once a minute. A record
//! costs one look into a map and one lock that nobody else holds for long.

mod histogram;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use foldhash::HashMap;

pub use histogram::Histogram;

/// Minutes that are kept in memory.
const DAY: usize = 24 * 60;
const HOUR: u64 = 60;

/// What happened in one minute.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Minutes since 1970.
    pub minute: u64,
    pub invocations: u64,
    pub errors: u64,
    pub throttles: u64,
    pub cold_starts: u64,
    /// The most that ran at once.
    pub concurrency: u32,
    pub durations: Histogram,
}

impl Figures {
    fn at(minute: u64) -> Self {
        Self { minute, ..Self::default() }
    }

    pub fn merge(&mut self, other: &Self) {
        self.invocations += other.invocations;
        self.errors += other.errors;
        self.throttles += other.throttles;
        self.cold_starts += other.cold_starts;
        self.concurrency = self.concurrency.max(other.concurrency);
        self.durations.merge(&other.durations);
    }
}

/// Of a chart that is small.
#[derive(Debug, Clone, PartialEq)]
pub struct Minute {
    pub t_ms: u64,
    pub invocations: u64,
    pub errors: u64,
    pub p50_ms: Option<f64>,
}

/// A cheap handle.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Mutex<HashMap<String, Arc<Kept>>>>);

/// What is kept of one function.
#[derive(Default)]
struct Kept {
    running: AtomicU32,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// In their order, without those in which nothing happened.
    minutes: VecDeque<Figures>,
    /// Since the gateway has started.
    total: Figures,
    total_time: Duration,
    /// Up to this minute the store has them.
    written: u64,
}

/// Since the gateway has started, and now.
pub struct Total {
    pub function: String,
    pub figures: Figures,
    /// Of all invocations together.
    pub time: Duration,
    pub running: u32,
}

/// An invocation that runs; it is over when this is dropped.
pub struct Running(Arc<Kept>);

impl Metrics {
    fn of(&self, function: &str) -> Arc<Kept> {
        let mut all = lock(&self.0);
        if let Some(kept) = all.get(function) {
            return kept.clone();
        }
        all.entry(function.to_owned()).or_default().clone()
    }

    pub fn begin(&self, function: &str) -> Running {
        let kept = self.of(function);
        let running = kept.running.fetch_add(1, Ordering::Relaxed) + 1;
        {
            let mut state = lock(&kept.state);
            let minute = state.now(SystemTime::now());
            minute.concurrency = minute.concurrency.max(running);
        }
        Running(kept)
    }

    pub fn throttled(&self, function: &str) {
        let kept = self.of(function);
        let mut state = lock(&kept.state);
        state.now(SystemTime::now()).throttles += 1;
        state.total.throttles += 1;
    }

    /// The last sixty minutes, the oldest first; the last one is not over.
    pub fn last_hour(&self, function: &str) -> Vec<Minute> {
        let now = minute_of(SystemTime::now());
        let figures = self.between(Some(function), now + 1 - HOUR, now + 1);
        let mut figures = figures.into_iter().peekable();
        (now + 1 - HOUR..=now)
            .map(|minute| {
                let of_it = figures.next_if(|figures| figures.minute == minute).unwrap_or_default();
                Minute {
                    t_ms: minute * 60_000,
                    invocations: of_it.invocations,
                    errors: of_it.errors,
                    p50_ms: of_it.durations.percentile(50.0),
                }
            })
            .collect()
    }

    /// Of one function or of all together, from one minute to before the other, in their order;
    /// minutes in which nothing happened are missing. No more than a day is known.
    pub fn between(&self, function: Option<&str>, from: u64, to: u64) -> Vec<Figures> {
        let chosen: Vec<Arc<Kept>> = match function {
            Some(function) => lock(&self.0).get(function).cloned().into_iter().collect(),
            None => lock(&self.0).values().cloned().collect(),
        };
        let mut together: std::collections::BTreeMap<u64, Figures> = Default::default();
        for kept in chosen {
            let state = lock(&kept.state);
            for figures in state.minutes.iter().filter(|figures| (from..to).contains(&figures.minute)) {
                together.entry(figures.minute).or_insert_with(|| Figures::at(figures.minute)).merge(figures);
            }
        }
        together.into_values().collect()
    }

    pub fn totals(&self) -> Vec<Total> {
        let all = lock(&self.0);
        let mut totals: Vec<Total> = all
            .iter()
            .map(|(function, kept)| {
                let state = lock(&kept.state);
                Total {
                    function: function.clone(),
                    figures: state.total.clone(),
                    time: state.total_time,
                    running: kept.running.load(Ordering::Relaxed),
                }
            })
            .collect();
        totals.sort_by(|a, b| a.function.cmp(&b.function));
        totals
    }

    /// What the store does not have yet of the minutes before `until`.
    pub fn unwritten(&self, until: u64) -> Vec<(String, Figures)> {
        let mut unwritten = Vec::new();
        for (function, kept) in lock(&self.0).iter() {
            let state = lock(&kept.state);
            let of_it = state
                .minutes
                .iter()
                .filter(|figures| figures.minute >= state.written && figures.minute < until);
            unwritten.extend(of_it.map(|figures| (function.clone(), figures.clone())));
        }
        unwritten
    }

    /// The store has all minutes before this one.
    pub fn are_written(&self, until: u64) {
        for kept in lock(&self.0).values() {
            lock(&kept.state).written = until;
        }
    }

    /// Takes back what an earlier gateway has kept, before anything is counted.
    pub fn restore(&self, figures: Vec<(String, Figures)>) {
        for (function, figures) in figures {
            let kept = self.of(&function);
            let mut state = lock(&kept.state);
            // The last one may go on.
            state.written = state.written.max(figures.minute);
            match state.minutes.binary_search_by_key(&figures.minute, |kept| kept.minute) {
                Ok(index) => state.minutes[index].merge(&figures),
                Err(index) => state.minutes.insert(index, figures),
            }
        }
    }

    /// Forgets functions that are not there any more, and of which a day knows nothing.
    pub fn prune(&self, is_there: impl Fn(&str) -> bool) {
        let oldest = minute_of(SystemTime::now()).saturating_sub(DAY as u64);
        lock(&self.0).retain(|function, kept| {
            let state = lock(&kept.state);
            is_there(function) || state.minutes.back().is_some_and(|figures| figures.minute > oldest)
        });
    }
}

impl Running {
    /// It has come to its end.
    pub fn ended(&self, duration: Duration, failed: bool, cold: bool) {
        let mut state = lock(&self.0.state);
        let of_one = |figures: &mut Figures| {
            figures.invocations += 1;
            figures.errors += u64::from(failed);
            figures.cold_starts += u64::from(cold);
            figures.durations.add(duration);
        };
        of_one(state.now(SystemTime::now()));
        of_one(&mut state.total);
        state.total_time += duration;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

impl State {
    /// The figures of this minute. A clock that goes back adds to the last one.
    fn now(&mut self, now: SystemTime) -> &mut Figures {
        let minute = minute_of(now);
        if self.minutes.back().is_none_or(|last| last.minute < minute) {
            self.minutes.push_back(Figures::at(minute));
            while self.minutes.front().is_some_and(|first| first.minute + DAY as u64 <= minute) {
                self.minutes.pop_front();
            }
        }
        self.minutes.back_mut().expect("just added")
    }
}

/// Minutes since 1970.
pub fn minute_of(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / 60
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_has_sixty_minutes() {
        let metrics = Metrics::default();
        assert_eq!(metrics.last_hour("a").len(), 60);
        let running = metrics.begin("a");
        let other = metrics.begin("a");
        running.ended(Duration::from_millis(20), true, true);
        metrics.throttled("a");
        drop((running, other));
        let hour = metrics.last_hour("a");
        assert_eq!(hour.len(), 60);
        assert!(hour.windows(2).all(|pair| pair[1].t_ms == pair[0].t_ms + 60_000));
        assert_eq!(hour.iter().map(|minute| minute.invocations).sum::<u64>(), 1);
        assert_eq!(hour.iter().map(|minute| minute.errors).sum::<u64>(), 1);
        let total = &metrics.totals()[0];
        assert_eq!((total.figures.throttles, total.figures.cold_starts, total.running), (1, 1, 0));
        let now = minute_of(SystemTime::now());
        assert_eq!(metrics.between(None, now - 1, now + 1)[0].concurrency, 2);
    }

    #[test]
    fn a_day_is_kept_and_no_more() {
        let mut state = State::default();
        let begin = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_020);
        for minute in 0..3000 {
            state.now(begin + Duration::from_secs(60 * minute)).invocations += 1;
        }
        assert_eq!(state.minutes.len(), DAY);
        // The clock was set back.
        state.now(begin).invocations += 1;
        assert_eq!(state.minutes.len(), DAY);
        assert_eq!(state.minutes.back().unwrap().invocations, 2);
    }

    #[test]
    fn what_was_kept_is_taken_back() {
        let metrics = Metrics::default();
        let now = minute_of(SystemTime::now());
        let kept = Figures { invocations: 3, ..Figures::at(now - 5) };
        metrics.restore(vec![("a".to_owned(), kept.clone())]);
        metrics.are_written(now);
        metrics.begin("a").ended(Duration::from_millis(1), false, false);
        assert_eq!(
            metrics.between(Some("a"), now - 10, now + 2).iter().map(|f| f.invocations).sum::<u64>(),
            4
        );
        assert_eq!(metrics.unwritten(now + 2).len(), 1);
        metrics.are_written(now + 2);
        assert!(metrics.unwritten(now + 2).is_empty());
        metrics.prune(|_| false);
        assert_eq!(metrics.totals().len(), 1, "a day knows of it");
    }

    /// `cargo test --lib metrics::tests::cost -- --ignored --nocapture`
    #[test]
    #[ignore = "a measurement"]
    fn cost() {
        let metrics = Metrics::default();
        for number in 0..100 {
            metrics.begin(&format!("function-{number}"));
        }
        let began = std::time::Instant::now();
        for number in 0..1_000_000 {
            metrics.begin("function-7").ended(Duration::from_micros(number), false, false);
        }
        println!("{} ns for each invocation", began.elapsed().as_nanos() / 1_000_000);
    }
}

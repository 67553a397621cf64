//! What a schedule is to do at a given moment, from what it says and what it has done: no clock, no
//! disk, nothing that waits.
//!
//! A due time is fired once, in order, whatever the clock does: what lies before the last one that
//! was fired never is again, and of several that have passed unnoticed only the last one is.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::store::ScheduleState;
use crate::trigger::{Course, Schedule};

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// This due time has come.
    Fire(Timestamp),
    /// Not before then.
    Wait(Timestamp),
    Never,
}

/// What makes a schedule another one when it changes.
pub fn definition(schedule: &Schedule) -> String {
    let time = |time: &Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
    format!(
        "{} {} {} {} {}",
        schedule.expression.text,
        if schedule.scheduler { "scheduler" } else { "rule" },
        schedule.time_zone.as_deref().unwrap_or("UTC"),
        time(&schedule.start),
        time(&schedule.end),
    )
}

/// The state of a schedule that is deployed now. One that is new, says something else or was off
/// begins anew, and owes nothing of the past.
pub fn adopt(
    former: Option<&ScheduleState>,
    schedule: &Schedule,
    enabled: bool,
    now: Timestamp,
) -> ScheduleState {
    let definition = definition(schedule);
    let begin = now.as_millisecond();
    match former {
        Some(former) if former.definition == definition => {
            let mut state = former.clone();
            let period = schedule.expression.period().map(|period| period.as_millis() as i64);
            // A rate has no place on the calendar: when the clock is set back, it counts from there.
            let is_ahead =
                |period: i64| state.begin > begin || state.last.is_some_and(|last| last > begin + period);
            if enabled && (!former.enabled || period.is_some_and(is_ahead)) {
                state.begin = begin;
                // What has been fired stays so.
                state.last = if period.is_some() { None } else { former.last };
            }
            state.enabled = enabled;
            state
        }
        _ => ScheduleState { definition, enabled, begin, last: None },
    }
}

/// `Err`: its time zone is not known.
pub fn next(name: &str, schedule: &Schedule, state: &ScheduleState, now: Timestamp) -> Result<Next, String> {
    if !state.enabled {
        return Ok(Next::Never);
    }
    let clock = Clock::new(name, schedule, state)?;
    let mut until = clock.course.end.map_or(now, |end| now.min(end));
    // Within a flexible window the last due time may have passed and not come yet: then the one
    // before may have.
    let mut pending = None;
    while let Some(due) = clock.course.last_until(until) {
        let at = clock.fires_at(due);
        if at <= now {
            return Ok(Next::Fire(due));
        }
        pending = Some(at);
        until = due - SignedDuration::from_nanos(1);
    }
    if let Some(at) = pending {
        return Ok(Next::Wait(at));
    }
    let next = clock
        .course
        .next_after(now.max(clock.course.after))
        .filter(|due| clock.course.end.is_none_or(|end| *due <= end));
    Ok(next.map_or(Next::Never, |due| Next::Wait(clock.fires_at(due))))
}

struct Clock<'a> {
    name: &'a str,
    schedule: &'a Schedule,
    course: Course<'a>,
}

impl<'a> Clock<'a> {
    fn new(name: &'a str, schedule: &'a Schedule, state: &ScheduleState) -> Result<Self, String> {
        let of = |milliseconds| Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::UNIX_EPOCH);
        let course = Course::new(schedule, of(state.begin), state.last.map(of))?;
        Ok(Self { name, schedule, course })
    }

    /// Anywhere in the flexible window, and always at the same place of it.
    fn fires_at(&self, due: Timestamp) -> Timestamp {
        let window = self.schedule.flexible_window.unwrap_or(Duration::ZERO).as_secs();
        if window == 0 {
            return due;
        }
        let bytes = super::fingerprint(self.name, due);
        let random = u64::from_be_bytes(bytes[..8].try_into().expect("eight are eight"));
        due.checked_add(SignedDuration::from_secs((random % window) as i64)).unwrap_or(due)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn schedule(text: &str) -> Schedule {
        Schedule {
            expression: text.parse().unwrap(),
            scheduler: false,
            time_zone: None,
            group: "default".into(),
            start: None,
            end: None,
            flexible_window: None,
            input: None,
        }
    }

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// Lets a schedule live through these moments; what it fires.
    fn live(schedule: &Schedule, moments: &[&str]) -> Vec<String> {
        let mut state = None;
        let mut fired = Vec::new();
        for moment in moments {
            let now = time(moment);
            let mut current = adopt(state.as_ref(), schedule, true, now);
            while let Next::Fire(due) = next("x", schedule, &current, now).unwrap() {
                assert!(due <= now);
                current.last = Some(due.as_millisecond());
                fired.push(due.to_string());
            }
            state = Some(current);
        }
        fired
    }

    const CRON: &str = "cron(0 * * * ? *)";

    #[test]
    fn the_past_of_a_new_schedule_is_not_its_concern() {
        assert!(live(&schedule(CRON), &["2026-11-22T10:00:00Z", "2026-11-22T10:59:59Z"]).is_empty());
        assert_eq!(
            live(&schedule(CRON), &["2026-11-22T10:59:59Z", "2026-11-22T11:00:00Z", "2026-11-22T11:00:01Z"]),
            ["2026-11-22T11:00:00Z"]
        );
        assert!(live(&schedule("at(2026-11-22T10:00:00)"), &["2026-11-22T10:00:01Z"]).is_empty());
    }

    #[test]
    fn after_a_long_sleep_there_is_one_to_catch_up() {
        assert_eq!(
            live(&schedule(CRON), &["2026-11-22T10:30:00Z", "2029-01-01T00:10:00Z", "2029-01-01T00:20:00Z"]),
            ["2029-01-01T00:00:00Z"]
        );
        assert_eq!(
            live(&schedule("rate(5 minutes)"), &["2026-11-22T10:00:00Z", "2026-11-22T20:03:00Z"]),
            ["2026-11-22T20:00:00Z"]
        );
    }

    #[test]
    fn a_clock_that_is_set_back_repeats_nothing() {
        assert_eq!(
            live(
                &schedule(CRON),
                &[
                    "2026-11-22T10:30:00Z",
                    "2026-11-22T12:00:00Z",
                    "2026-11-22T10:30:00Z",
                    "2026-11-22T11:00:00Z",
                    "2026-11-22T12:00:00Z",
                    "2026-11-22T13:00:00Z"
                ]
            ),
            ["2026-11-22T12:00:00Z", "2026-11-22T13:00:00Z"]
        );
        // A rate goes on from where the clock is, and does not wait for years.
        assert_eq!(
            live(
                &schedule("rate(1 hour)"),
                &[
                    "2030-01-01T00:00:00Z",
                    "2030-01-01T01:00:00Z",
                    "2026-01-01T00:00:00Z",
                    "2026-01-01T01:00:00Z"
                ]
            ),
            ["2030-01-01T01:00:00Z", "2026-01-01T01:00:00Z"]
        );
    }

    #[test]
    fn a_single_time_is_fired_once_ever() {
        let at = schedule("at(2026-11-22T11:00:00)");
        let moments =
            ["2026-11-22T10:00:00Z", "2026-11-25T00:00:00Z", "2026-11-22T10:00:00Z", "2026-11-22T11:00:00Z"];
        assert_eq!(live(&at, &moments), ["2026-11-22T11:00:00Z"]);
        // Off and on again, it has been.
        let now = time("2026-11-22T10:00:00Z");
        let mut state = adopt(None, &at, true, now);
        state.last = Some(time("2026-11-22T11:00:00Z").as_millisecond());
        let off = adopt(Some(&state), &at, false, now);
        assert_eq!(next("x", &at, &off, now).unwrap(), Next::Never);
        let on = adopt(Some(&off), &at, true, now);
        assert_eq!(next("x", &at, &on, now).unwrap(), Next::Never);
    }

    #[test]
    fn what_was_off_owes_nothing() {
        let cron = schedule(CRON);
        let state = adopt(None, &cron, true, time("2026-11-22T10:30:00Z"));
        let off = adopt(Some(&state), &cron, false, time("2026-11-22T10:40:00Z"));
        let on = adopt(Some(&off), &cron, true, time("2026-11-22T15:30:00Z"));
        assert_eq!(
            next("x", &cron, &on, time("2026-11-22T15:30:00Z")).unwrap(),
            Next::Wait(time("2026-11-22T16:00:00Z"))
        );
        // Saying something else, it is another.
        let other = adopt(Some(&state), &schedule("rate(1 day)"), true, time("2026-11-22T10:40:00Z"));
        assert_eq!(other.begin, time("2026-11-22T10:40:00Z").as_millisecond());
    }

    #[test]
    fn the_scheduler_begins_at_once_or_at_its_start_and_ends_at_its_end() {
        let mut rate = schedule("rate(1 hour)");
        rate.scheduler = true;
        let moments = ["2026-11-22T10:30:00Z", "2026-11-22T11:30:00Z"];
        assert_eq!(live(&rate, &moments), moments);
        rate.start = Some(time("2026-11-22T11:10:00Z"));
        rate.end = Some(time("2026-11-22T12:30:00Z"));
        let moments =
            ["2026-11-22T10:30:00Z", "2026-11-22T11:30:00Z", "2026-11-22T12:20:00Z", "2026-11-22T20:00:00Z"];
        assert_eq!(live(&rate, &moments), ["2026-11-22T11:10:00Z", "2026-11-22T12:10:00Z"]);
        let mut cron = schedule(CRON);
        (cron.scheduler, cron.start, cron.end) = (true, rate.start, rate.end);
        assert_eq!(live(&cron, &moments), ["2026-11-22T12:00:00Z"]);
    }

    #[test]
    fn a_flexible_window_delays_within_it() {
        let mut cron = schedule(CRON);
        cron.flexible_window = Some(Duration::from_secs(900));
        let begin = time("2026-11-22T10:30:00Z");
        let state = adopt(None, &cron, true, begin);
        let Next::Wait(at) = next("x", &cron, &state, begin).unwrap() else { panic!() };
        let due = time("2026-11-22T11:00:00Z");
        assert!((due..due + SignedDuration::from_secs(900)).contains(&at));
        assert_eq!(next("x", &cron, &state, at - SignedDuration::from_nanos(1)).unwrap(), Next::Wait(at));
        assert_eq!(next("x", &cron, &state, at).unwrap(), Next::Fire(due));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Whatever the clock does and however often the gateway starts: due times are fired at most
        /// once, in order, never early, and what is waited for lies ahead.
        #[test]
        fn once_and_in_order(
            text in prop_oneof![Just(CRON), Just("cron(30 2 * * ? *)"), Just("cron(0/7 * ? * MON-FRI *)"),
                                Just("at(2026-11-25T00:00:00)")],
            zone in prop_oneof![Just(None), Just(Some("Europe/Berlin".to_owned()))],
            window in prop_oneof![Just(None), (60u64..300).prop_map(|window| Some(Duration::from_secs(window)))],
            jumps in proptest::collection::vec(-20_000i64..60_000, 1..60),
        ) {
            let mut schedule = schedule(text);
            schedule.scheduler = true;
            schedule.time_zone = zone;
            schedule.flexible_window = window;
            let mut now = time("2026-11-22T10:00:00Z");
            let mut state = None;
            let mut last = None;
            for jump in jumps {
                now += SignedDuration::from_secs(jump);
                let mut current = adopt(state.as_ref(), &schedule, true, now);
                let mut fired = 0;
                loop {
                    match next("x", &schedule, &current, now).unwrap() {
                        Next::Fire(due) => {
                            prop_assert!(due <= now && Some(due) > last);
                            last = Some(due);
                            current.last = Some(due.as_millisecond());
                            fired += 1;
                        }
                        Next::Wait(until) => {
                            prop_assert!(until > now);
                            break;
                        }
                        Next::Never => break,
                    }
                }
                prop_assert!(fired <= 1);
                state = Some(current);
            }
        }
    }
}

//! `rate(5 minutes)`, `cron(0 10 ? * MON-FRI *)`, `at(2026-11-22T10:00:00)`, as AWS validates them,
//! and when they are due.

use std::str::FromStr;

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use super::cron::Cron;

/// A valid expression.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    /// As written.
    pub text: String,
    when: When,
}

#[derive(Debug, Clone, PartialEq)]
enum When {
    Rate { count: u32, unit: Unit },
    Cron(Box<Cron>),
    At(DateTime),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Unit {
    Minute,
    Hour,
    Day,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    fn seconds(self) -> i64 {
        match self {
            Self::Minute => 60,
            Self::Hour => 3600,
            Self::Day => 86_400,
        }
    }
}

/// Two hundred years, as far as a cron reaches.
const LONGEST_RATE: i64 = 200 * 366 * 86_400;

impl FromStr for Expression {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let inside = |name: &str| text.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
        let when = if let Some(rate) = inside("rate") {
            parse_rate(rate)
        } else if let Some(fields) = inside("cron") {
            Cron::parse(fields).map(|cron| When::Cron(Box::new(cron)))
        } else if let Some(time) = inside("at") {
            parse_at(time)
        } else {
            Err("it is none of `rate(...)`, `cron(...)` and `at(...)`".to_owned())
        };
        match when {
            Ok(when) => Ok(Self { text: text.to_owned(), when }),
            Err(reason) => Err(format!(
                "`{text}` is no schedule expression: {reason}\nhint: write it as AWS takes it, such as \
                 `rate(5 minutes)`, `cron(0 10 ? * MON-FRI *)` or, on EventBridge Scheduler, \
                 `at(2030-12-31T23:59:59)`"
            )),
        }
    }
}

/// `5 minutes`: one blank; one of something is singular.
fn parse_rate(text: &str) -> Result<When, String> {
    let form = || "a rate is a number, one blank, and `minutes`, `hours` or `days`".to_owned();
    let (count, unit) = text.split_once(' ').ok_or_else(form)?;
    if count.is_empty() || !count.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(form());
    }
    let (unit, plural) = match unit {
        "minute" => (Unit::Minute, false),
        "minutes" => (Unit::Minute, true),
        "hour" => (Unit::Hour, false),
        "hours" => (Unit::Hour, true),
        "day" => (Unit::Day, false),
        "days" => (Unit::Day, true),
        _ => return Err(form()),
    };
    let count: u32 = count.parse().map_err(|_| "the rate is too long".to_owned())?;
    if count == 0 {
        return Err("the rate must be positive".to_owned());
    }
    if i64::from(count).saturating_mul(unit.seconds()) > LONGEST_RATE {
        return Err("the rate is longer than 200 years".to_owned());
    }
    if plural == (count == 1) {
        let plural = if count == 1 { "" } else { "s" };
        return Err(format!("it must be `{count} {}{plural}`", unit.name()));
    }
    Ok(When::Rate { count, unit })
}

/// `2026-11-22T10:00:00`, exactly so.
fn parse_at(text: &str) -> Result<When, String> {
    let form = || "a single time is written `yyyy-mm-ddThh:mm:ss`".to_owned();
    let shape: String =
        text.chars().map(|letter| if letter.is_ascii_digit() { '0' } else { letter }).collect();
    if shape != "0000-00-00T00:00:00" {
        return Err(form());
    }
    text.parse().map(When::At).map_err(|error: jiff::Error| format!("{}: {error}", form()))
}

/// The time zone of this IANA name; `None`: UTC.
pub fn time_zone(name: Option<&str>) -> Result<TimeZone, String> {
    let Some(name) = name else { return Ok(TimeZone::UTC) };
    TimeZone::get(name).map_err(|_| {
        format!("there is no time zone `{name}`\nhint: give an IANA name, such as Europe/Berlin or UTC")
    })
}

impl Expression {
    pub fn is_rate(&self) -> bool {
        matches!(self.when, When::Rate { .. })
    }

    /// A single time: EventBridge Scheduler has it, a rule does not.
    pub fn is_at(&self) -> bool {
        matches!(self.when, When::At(_))
    }

    /// The time between two times of a rate.
    pub fn period(&self) -> Option<SignedDuration> {
        match self.when {
            When::Rate { count, unit } => Some(SignedDuration::from_secs(i64::from(count) * unit.seconds())),
            _ => None,
        }
    }

    /// The first due time that is later than `after`. A rate counts from `begin`, which is not due
    /// itself. Of `after` alone the answer only grows.
    pub fn next_after(&self, after: Timestamp, begin: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match &self.when {
            When::Rate { .. } => {
                let period = self.period()?.as_secs();
                let passed = after.duration_since(begin);
                // Rounded down, also before the beginning.
                let periods = passed.as_secs().div_euclid(period)
                    - i64::from(passed.subsec_nanos() < 0 && passed.as_secs().rem_euclid(period) == 0);
                let next = SignedDuration::from_secs(periods.max(0).checked_add(1)?.checked_mul(period)?);
                begin.checked_add(next).ok()
            }
            When::At(time) => instant(*time, zone).filter(|due| *due > after),
            When::Cron(cron) => {
                let mut civil = zone.to_datetime(after);
                // Local times that are passed twice, or not at all, lie between here and there: at
                // most as many minutes as a zone has ever jumped.
                for _ in 0..=LONGEST_JUMP_MINUTES {
                    civil = cron.next_after(civil)?;
                    match instant(civil, zone) {
                        Some(due) if due > after => return Some(due),
                        Some(_) => {}
                        None => return None,
                    }
                }
                None
            }
        }
    }

    /// The last due time that is later than `after` and not later than `until`.
    pub fn last_between(
        &self,
        after: Timestamp,
        until: Timestamp,
        begin: Timestamp,
        zone: &TimeZone,
    ) -> Option<Timestamp> {
        let due = |time: Timestamp| self.next_after(time, begin, zone).filter(|due| *due <= until);
        let mut last = due(after)?;
        let mut none = until;
        // Halving: there is a due time behind `last`, or not. None are closer together than a minute.
        while none.duration_since(last) > SignedDuration::from_secs(60) {
            let middle = last + none.duration_since(last) / 2;
            match due(middle) {
                Some(later) => last = later,
                None => none = middle,
            }
        }
        while let Some(later) = due(last) {
            last = later;
        }
        Some(last)
    }

    /// For people: `every 5 minutes`.
    pub fn describe(&self) -> String {
        match &self.when {
            When::Rate { count: 1, unit } => format!("every {}", unit.name()),
            When::Rate { count, unit } => format!("every {count} {}s", unit.name()),
            When::Cron(cron) => cron.describe(),
            When::At(time) => format!("once, at {time}"),
        }
    }
}

/// A whole day: zones at the date line have left one out.
const LONGEST_JUMP_MINUTES: usize = 24 * 60;

/// When the clocks of a zone show this. What they show twice is the first time; what they never show,
/// because they are put forward, is the moment at which they are. (AWS documents the former for
/// EventBridge Scheduler and leaves the latter out; here a due time is never lost.)
fn instant(civil: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(civil);
    match ambiguous.offset() {
        AmbiguousOffset::Gap { before, .. } => {
            let inside = before.to_timestamp(civil).ok()?;
            let behind = inside.checked_add(SignedDuration::from_secs(1)).ok()?;
            zone.preceding(behind).next().map(|transition| transition.timestamp())
        }
        _ => ambiguous.earlier().ok(),
    }
}

#[cfg(test)]
mod tests;

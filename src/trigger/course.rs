//! From when on, and until when, a schedule is due: what it says, and what it has done.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::{Schedule, time_zone};

pub struct Course<'a> {
    schedule: &'a Schedule,
    zone: TimeZone,
    /// From where a rate counts; not due itself.
    begin: Timestamp,
    /// Due times are later than this.
    pub after: Timestamp,
    pub end: Option<Timestamp>,
}

const INSTANT: SignedDuration = SignedDuration::from_nanos(1);

impl<'a> Course<'a> {
    /// `created`: since when it is as it is. `last`: the last due time that was taken care of. `Err`:
    /// its time zone is not known.
    pub fn new(schedule: &'a Schedule, created: Timestamp, last: Option<Timestamp>) -> Result<Self, String> {
        let zone = time_zone(schedule.time_zone.as_deref())?;
        // One time has no period: AWS looks at neither StartDate nor EndDate.
        let is_at = schedule.expression.is_at();
        let start = schedule.start.filter(|_| !is_at);
        let end = schedule.end.filter(|_| !is_at);
        let (begin, mut after) = match schedule.expression.period() {
            // A rate of EventBridge Scheduler is due at once, or at its StartDate; that of a rule when
            // its time has passed for the first time.
            Some(period) if schedule.scheduler => (start.unwrap_or(created) - period, created - INSTANT),
            _ => (created, created),
        };
        if let Some(start) = start {
            after = after.max(start - INSTANT);
        }
        if let Some(last) = last {
            after = after.max(last);
        }
        Ok(Self { schedule, zone, begin, after, end })
    }

    pub fn last_until(&self, until: Timestamp) -> Option<Timestamp> {
        if until <= self.after {
            return None;
        }
        self.schedule.expression.last_between(self.after, until, self.begin, &self.zone)
    }

    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        self.schedule.expression.next_after(after, self.begin, &self.zone)
    }

    /// The next due times, this many at most.
    pub fn upcoming(&self, now: Timestamp, count: usize) -> Vec<Timestamp> {
        let within = |due: &Timestamp| self.end.is_none_or(|end| *due <= end);
        let first = self.next_after(now.max(self.after));
        let all = std::iter::successors(first, |due| self.next_after(*due));
        all.take_while(within).take(count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upcoming(text: &str, change: impl Fn(&mut Schedule)) -> Vec<String> {
        let mut schedule = Schedule {
            expression: text.parse().unwrap(),
            scheduler: true,
            time_zone: None,
            group: "default".to_owned(),
            start: None,
            end: None,
            flexible_window: None,
            input: None,
        };
        change(&mut schedule);
        let now: Timestamp = "2026-11-22T10:00:30Z".parse().unwrap();
        let created = "2026-11-22T10:00:00Z".parse().unwrap();
        let course = Course::new(&schedule, created, None).unwrap();
        course.upcoming(now, 3).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_comes_next() {
        let minutes = ["2026-11-22T10:01:00Z", "2026-11-22T10:02:00Z", "2026-11-22T10:03:00Z"];
        assert_eq!(upcoming("rate(1 minute)", |_| {}), minutes);
        assert_eq!(upcoming("rate(1 minute)", |schedule| schedule.scheduler = false), minutes);
        let end = |schedule: &mut Schedule| schedule.end = Some("2026-11-22T10:02:00Z".parse().unwrap());
        assert_eq!(upcoming("rate(1 minute)", end), minutes[..2]);
        let start = |schedule: &mut Schedule| schedule.start = Some("2026-11-22T12:00:00Z".parse().unwrap());
        assert_eq!(upcoming("rate(1 minute)", start)[0], "2026-11-22T12:00:00Z");
        assert_eq!(upcoming("at(2026-11-22T11:00:00)", |_| {}), ["2026-11-22T11:00:00Z"]);
        assert_eq!(upcoming("at(2026-11-22T09:00:00)", |_| {}), [""; 0]);
        let seoul = |schedule: &mut Schedule| schedule.time_zone = Some("Asia/Seoul".to_owned());
        assert_eq!(upcoming("cron(0 9 * * ? *)", seoul)[0], "2026-11-23T00:00:00Z");
    }
}

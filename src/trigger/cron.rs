//! `minute hour day-of-month month day-of-week year`, as AWS takes them. What passes is written in
//! the words of `croner`, which finds the times.

use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::DateTime;

/// The last year that AWS takes.
const LAST_YEAR: i16 = 2199;

#[derive(Debug, Clone, PartialEq)]
pub struct Cron(croner::Cron);

/// What one field may hold.
struct Field {
    name: &'static str,
    first: u32,
    last: u32,
    /// Names of the values, from the first one.
    names: &'static [&'static str],
}

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

const MINUTE: Field = Field { name: "minute", first: 0, last: 59, names: &[] };
const HOUR: Field = Field { name: "hour", first: 0, last: 23, names: &[] };
const DAY: Field = Field { name: "day of month", first: 1, last: 31, names: &[] };
const MONTH: Field = Field { name: "month", first: 1, last: 12, names: &MONTHS };
const WEEKDAY: Field = Field { name: "day of week", first: 1, last: 7, names: &WEEKDAYS };
const YEAR: Field = Field { name: "year", first: 1970, last: LAST_YEAR as u32, names: &[] };

impl Cron {
    /// What stands between the brackets.
    pub fn parse(text: &str) -> Result<Self, String> {
        let upper = text.to_ascii_uppercase();
        let fields: Vec<&str> = upper.split_ascii_whitespace().collect();
        let [minute, hour, day, month, weekday, year] = fields[..] else {
            return Err(format!("a cron has six fields, not {}", fields.len()));
        };
        if (day == "?") == (weekday == "?") {
            return Err("exactly one of day of month and day of week must be `?`".to_owned());
        }
        let pattern = [
            "0".to_owned(),
            MINUTE.list(minute)?,
            HOUR.list(hour)?,
            day_of_month(day)?,
            MONTH.list(month)?,
            day_of_week(weekday)?,
            YEAR.list(year)?,
        ]
        .join(" ");
        let parser = CronParser::builder()
            .seconds(Seconds::Required)
            .year(Year::Required)
            .alternative_weekdays(true)
            .build();
        parser.parse(&pattern).map(Self).map_err(|error| error.to_string())
    }

    /// The first time on the calendar that is later, if there is one before the year 2200.
    pub fn next_after(&self, time: DateTime) -> Option<DateTime> {
        if time.year() > LAST_YEAR {
            return None;
        }
        let next = self.0.find_next_occurrence(&time, false).ok()?;
        (next > time && next.year() <= LAST_YEAR).then_some(next)
    }

    pub fn describe(&self) -> String {
        self.0.describe()
    }
}

impl Field {
    /// `5`, `MON-FRI`, `0/15`, `*/2`, and lists of those.
    fn list(&self, text: &str) -> Result<String, String> {
        let items: Result<Vec<String>, String> = text.split(',').map(|item| self.item(item)).collect();
        Ok(items?.join(","))
    }

    fn item(&self, text: &str) -> Result<String, String> {
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (text, None),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (self.first, self.last),
            Some((first, last)) => (self.value(first)?, self.value(last)?),
            None => {
                let value = self.value(range)?;
                // `5/15`: from 5 on.
                (value, if step.is_some() { self.last } else { value })
            }
        };
        if first > last {
            return Err(format!("`{text}` goes backwards ({})", self.name));
        }
        let Some(step) = step else {
            return Ok(if range == "*" { "*".to_owned() } else { format!("{first}-{last}") });
        };
        let step = number(step).filter(|step| (1..=self.last).contains(step));
        let step = step.ok_or_else(|| format!("`{text}` has no valid step ({})", self.name))?;
        Ok(format!("{first}-{last}/{step}"))
    }

    fn value(&self, text: &str) -> Result<u32, String> {
        let named = self.names.iter().position(|name| *name == text);
        let value = match named {
            Some(place) => Some(self.first + place as u32),
            None => number(text),
        };
        value
            .filter(|value| (self.first..=self.last).contains(value))
            .ok_or_else(|| format!("`{text}` is no {}: {} to {} are", self.name, self.first, self.last))
    }
}

/// Digits only, few enough.
fn number(text: &str) -> Option<u32> {
    let digits = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// Beside what all take: `?`, `L` (the last day), `3W` (the weekday that is nearest to the 3rd).
fn day_of_month(text: &str) -> Result<String, String> {
    match text {
        "?" | "L" => return Ok(text.to_owned()),
        "LW" => return Ok(text.to_owned()),
        _ => {}
    }
    match text.strip_suffix('W') {
        Some(day) => Ok(format!("{}W", DAY.value(day)?)),
        None => DAY.list(text),
    }
}

/// Beside what all take: `?`, `L` (the last of the week), `6L` (the last Friday of the month), `3#2`
/// (its second Tuesday).
fn day_of_week(text: &str) -> Result<String, String> {
    match text {
        "?" => return Ok(text.to_owned()),
        "L" => return Ok(WEEKDAY.last.to_string()),
        _ => {}
    }
    if let Some((day, place)) = text.split_once('#') {
        let place = number(place).filter(|place| (1..=5).contains(place));
        let place = place.ok_or_else(|| format!("`{text}`: a month has a weekday once to five times"))?;
        return Ok(format!("{}#{place}", WEEKDAY.value(day)?));
    }
    match text.strip_suffix('L') {
        Some(day) => Ok(format!("{}L", WEEKDAY.value(day)?)),
        None => WEEKDAY.list(text),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Which numbers a plain field means, said once more and otherwise.
    fn meant(field: &Field, text: &str) -> Vec<u32> {
        let all = field.first..=field.last;
        match text.split_once('/') {
            Some(("*", step)) => all.step_by(step.parse().unwrap()).collect(),
            Some((first, step)) => {
                (first.parse().unwrap()..=field.last).step_by(step.parse().unwrap()).collect()
            }
            None if text == "*" => all.collect(),
            None => match text.split_once('-') {
                Some((first, last)) => (first.parse().unwrap()..=last.parse().unwrap()).collect(),
                None => text.split(',').map(|value| value.parse().unwrap()).collect(),
            },
        }
    }

    proptest! {
        /// Against going through every minute.
        #[test]
        fn the_next_time_is_the_first_that_fits(
            minute in "\\*|[1-5]?[0-9]|[1-5]?[0-9]/[1-9]|\\*/[1-9]|[0-9]-1[0-9]|[0-9],[1-5][0-9]",
            hour in "\\*|1?[0-9]|1?[0-9]/[1-9]|[0-9]-1[0-9]|[0-9],2[0-3]",
            day in "\\*|1?[1-9]|1?[1-9]/[1-9]",
            start in 0i64..100_000,
        ) {
            let cron = Cron::parse(&format!("{minute} {hour} {day} * ? *")).unwrap();
            let begin: DateTime = "2027-12-20T00:00:00".parse().unwrap();
            let mut time = begin + jiff::SignedDuration::from_mins(start % 30_000);
            let (minutes, hours, days) =
                (meant(&MINUTE, &minute), meant(&HOUR, &hour), meant(&DAY, &day));
            for _ in 0..3 {
                let mut expected = time + jiff::SignedDuration::from_mins(1);
                while !(days.contains(&(expected.day() as u32))
                    && hours.contains(&(expected.hour() as u32))
                    && minutes.contains(&(expected.minute() as u32)))
                {
                    expected += jiff::SignedDuration::from_mins(1);
                }
                let next = cron.next_after(time);
                prop_assert_eq!(next, Some(expected));
                time = expected;
            }
        }
    }

    #[test]
    fn says_what_is_wrong() {
        let told = |text: &str| Cron::parse(text).unwrap_err();
        assert_eq!(told("71 8 1 * ? *"), "`71` is no minute: 0 to 59 are");
        assert_eq!(told("0 8 * * * *"), "exactly one of day of month and day of week must be `?`");
        assert_eq!(told("0 8 *"), "a cron has six fields, not 3");
        assert_eq!(told("0 8 ? * NOT *"), "`NOT` is no day of week: 1 to 7 are");
        assert_eq!(told("9-3 8 ? * 1 *"), "`9-3` goes backwards (minute)");
    }

    #[test]
    fn the_calendar_ends() {
        let cron = Cron::parse("0 0 1 1 ? *").unwrap();
        assert_eq!(cron.next_after("2199-06-01T00:00:00".parse().unwrap()), None);
        assert_eq!(cron.next_after("9999-01-01T00:00:00".parse().unwrap()), None);
    }
}

//! Schedules of rules (`Schedule`) and of EventBridge Scheduler (`ScheduleV2`).

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::super::section::Section;
use super::super::{Builder, Status};
use super::{Context, Said, delivery, enabled};
use crate::trigger::{Expression, Kind, Schedule};

/// What a rule passes on, at most.
pub const LONGEST_INPUT: usize = 8192;
/// What EventBridge Scheduler passes on, at most.
const LONGEST_SCHEDULER_INPUT: usize = 262_144;
const DEFAULT_GROUP: &str = "default";

/// SAM's `Schedule`.
pub fn of_rule(section: &Section<'_>, context: Context<'_>, builder: &mut Builder) -> Option<Said> {
    let known = [
        "DeadLetterConfig",
        "Description",
        "Enabled",
        "Input",
        "Name",
        "RetryPolicy",
        "RoleArn",
        "Schedule",
        "State",
    ];
    section.only(&known, builder);
    delivery(section, context, builder);
    let enabled = enabled(section, builder);
    let input = input(section, LONGEST_INPUT, builder);
    let expression = expression(section, "Schedule", false, builder)?;
    let name = section.text("Name", builder).map(str::to_owned);
    Some(Said { name, enabled, kind: Kind::Schedule(plain(expression, input)) })
}

/// Of a rule: in UTC, for ever.
pub fn plain(expression: Expression, input: Option<String>) -> Schedule {
    Schedule {
        expression,
        scheduler: false,
        time_zone: None,
        group: DEFAULT_GROUP.to_owned(),
        start: None,
        end: None,
        flexible_window: None,
        input,
    }
}

/// SAM's `ScheduleV2`.
pub fn of_scheduler(section: &Section<'_>, context: Context<'_>, builder: &mut Builder) -> Option<Said> {
    let known = [
        "DeadLetterConfig",
        "Description",
        "EndDate",
        "FlexibleTimeWindow",
        "GroupName",
        "Input",
        "KmsKeyArn",
        "Name",
        "OmitName",
        "PermissionsBoundary",
        "RetryPolicy",
        "RoleArn",
        "ScheduleExpression",
        "ScheduleExpressionTimezone",
        "StartDate",
        "State",
    ];
    section.only(&known, builder);
    section.finding(
        "OmitName",
        Status::Ignored,
        "it is called by its logical id here",
        context.resource,
        builder,
    );
    delivery(section, context, builder);
    let input = scheduler_input(section, builder);
    let name = section.text("Name", builder).map(str::to_owned);
    let (enabled, schedule) = scheduler(section, input, builder)?;
    Some(Said { name, enabled, kind: Kind::Schedule(schedule) })
}

/// What SAM and CloudFormation say of a schedule by the same names.
pub fn scheduler(
    section: &Section<'_>,
    input: Option<String>,
    builder: &mut Builder,
) -> Option<(bool, Schedule)> {
    let enabled = enabled(section, builder);
    let time_zone = section.text("ScheduleExpressionTimezone", builder);
    if let Some(name) = time_zone
        && TimeZone::get(name).is_err()
    {
        let at = section.name("ScheduleExpressionTimezone");
        let text =
            format!("`{at}`: there is no time zone `{name}`\nhint: give an IANA name, such as Europe/Berlin");
        section.error("ScheduleExpressionTimezone", text, builder);
    }
    let (start, end) = (date(section, "StartDate", builder), date(section, "EndDate", builder));
    if let (Some(start), Some(end)) = (start, end)
        && end <= start
    {
        let text = format!("`{}` must be later than `StartDate`", section.name("EndDate"));
        section.error("EndDate", text, builder);
    }
    let flexible_window = window(section, builder);
    let group = section.text("GroupName", builder).unwrap_or(DEFAULT_GROUP);
    // With or without the group's ARN around it.
    let group = group.rsplit('/').next().unwrap_or(group).to_owned();
    let expression = expression(section, "ScheduleExpression", true, builder)?;
    let time_zone = time_zone.map(str::to_owned);
    let schedule =
        Schedule { expression, scheduler: true, time_zone, group, start, end, flexible_window, input };
    Some((enabled, schedule))
}

/// `scheduler`: single times are its own.
pub fn expression(
    section: &Section<'_>,
    key: &str,
    scheduler: bool,
    builder: &mut Builder,
) -> Option<Expression> {
    let text = section.required(key, builder)?;
    if !scheduler && text.starts_with("at(") {
        let text = format!(
            "`{}`: a rule has no single time, which `{text}` is\nhint: EventBridge Scheduler has: an event of type \
             ScheduleV2, or an AWS::Scheduler::Schedule",
            section.name(key)
        );
        section.error(key, text, builder);
        return None;
    }
    match text.parse() {
        Ok(expression) => Some(expression),
        Err(reason) => {
            section.error(key, format!("`{}`: {reason}", section.name(key)), builder);
            None
        }
    }
}

/// `Input`, which must be JSON.
pub fn input(section: &Section<'_>, longest: usize, builder: &mut Builder) -> Option<String> {
    let text = section.text("Input", builder)?;
    let name = section.name("Input");
    if text.len() > longest {
        section.error("Input", format!("`{name}` takes {} bytes; AWS allows {longest}", text.len()), builder);
        return None;
    }
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
        let text = format!(
            "`{name}` must be JSON: {error}\nhint: a text is `'\"hello\"'`, an object `'{{\"a\": 1}}'`"
        );
        section.error("Input", text, builder);
        return None;
    }
    Some(text.to_owned())
}

/// The same, where what `<aws.scheduler.scheduled-time>` and the like stand for is put in.
pub fn scheduler_input(section: &Section<'_>, builder: &mut Builder) -> Option<String> {
    let text = section.get("Input")?.text().unwrap_or_default();
    if text.contains("<aws.scheduler.") && text.len() <= LONGEST_SCHEDULER_INPUT {
        return Some(text.to_owned());
    }
    input(section, LONGEST_SCHEDULER_INPUT, builder)
}

fn date(section: &Section<'_>, key: &str, builder: &mut Builder) -> Option<Timestamp> {
    let text = section.text(key, builder)?;
    // Without a zone it is UTC.
    let plain = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|time| time.timestamp());
    let time = text.parse().ok().or_else(plain);
    if time.is_none() {
        let text =
            format!("`{}` must be a time such as 2030-12-31T23:59:59Z, not `{text}`", section.name(key));
        section.error(key, text, builder);
    }
    time
}

fn window(section: &Section<'_>, builder: &mut Builder) -> Option<Duration> {
    let window = section.section("FlexibleTimeWindow", builder)?;
    window.only(&["MaximumWindowInMinutes", "Mode"], builder);
    let mode = window.word("Mode", &["OFF", "FLEXIBLE"], builder);
    let minutes = window.number("MaximumWindowInMinutes", 1, 1440, builder);
    match (mode, minutes) {
        (Some("FLEXIBLE"), Some(minutes)) => Some(Duration::from_secs(minutes as u64 * 60)),
        (Some("FLEXIBLE"), None) => {
            let text = format!("`{}`: `Mode: FLEXIBLE` needs `MaximumWindowInMinutes`", window.at);
            window.error("Mode", text, builder);
            None
        }
        (Some(_), Some(_)) => {
            let text = format!("`{}`: `MaximumWindowInMinutes` needs `Mode: FLEXIBLE`", window.at);
            window.error("MaximumWindowInMinutes", text, builder);
            None
        }
        (None, _) if window.get("Mode").is_none() => {
            window.error("", format!("`{}` has no `Mode`: `OFF` or `FLEXIBLE`", window.at), builder);
            None
        }
        _ => None,
    }
}

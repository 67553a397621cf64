//! The event of a due time, as EventBridge and EventBridge Scheduler make it.

use jiff::Timestamp;
use serde_json::json;

use crate::config::Account;
use crate::trigger::Schedule;

/// `id`: of the event.
pub fn event(name: &str, schedule: &Schedule, due: Timestamp, id: &str, account: &Account) -> Vec<u8> {
    let Account { id: account, region } = account;
    let time = due.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let arn = if schedule.scheduler {
        format!("arn:aws:scheduler:{region}:{account}:schedule/{}/{name}", schedule.group)
    } else {
        format!("arn:aws:events:{region}:{account}:rule/{name}")
    };
    match &schedule.input {
        Some(input) if schedule.scheduler => with_attributes(input, &time, &arn, id).into_bytes(),
        Some(input) => input.clone().into_bytes(),
        None => json!({
            "version": "0",
            "id": id,
            "detail-type": "Scheduled Event",
            "source": if schedule.scheduler { "aws.scheduler" } else { "aws.events" },
            "account": account,
            "time": time,
            "region": region,
            "resources": [arn],
            "detail": if schedule.scheduler { json!("{}") } else { json!({}) },
        })
        .to_string()
        .into_bytes(),
    }
}

/// What stands for facts of this one firing in the Input of EventBridge Scheduler.
fn with_attributes(input: &str, time: &str, arn: &str, id: &str) -> String {
    let attributes = [
        ("<aws.scheduler.scheduled-time>", time),
        ("<aws.scheduler.schedule-arn>", arn),
        ("<aws.scheduler.execution-id>", id),
        ("<aws.scheduler.attempt-number>", "1"),
    ];
    attributes.iter().fold(input.to_owned(), |text, (name, value)| text.replace(name, value))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn made(scheduler: bool, input: Option<&str>) -> String {
        let schedule = Schedule {
            expression: "rate(1 minute)".parse().unwrap(),
            scheduler,
            time_zone: None,
            group: "default".into(),
            start: None,
            end: None,
            flexible_window: None,
            input: input.map(str::to_owned),
        };
        let account = Account { id: "123456789012".into(), region: "eu-west-1".into() };
        let due = "2025-11-24T23:12:00.123Z".parse().unwrap();
        let id = "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa";
        String::from_utf8(event("every-minute", &schedule, due, id, &account)).unwrap()
    }

    /// The sample that users see is what they get, to the order of the keys.
    #[test]
    fn events_are_those_of_aws() {
        for (scheduler, kind) in [(false, "schedule"), (true, "scheduler")] {
            let sample = crate::samples::SAMPLES.iter().find(|sample| sample.kind == kind).unwrap();
            let mut sample: Value = serde_json::from_str(sample.event).unwrap();
            let mut event: Value = serde_json::from_str(&made(scheduler, None)).unwrap();
            for field in ["id", "account", "time", "region", "resources"] {
                assert_eq!(event[field].is_array(), sample[field].is_array());
                sample[field] = Value::Null;
                event[field] = Value::Null;
            }
            assert_eq!(event.to_string(), sample.to_string());
        }
        insta::assert_snapshot!(made(false, None), @r#"{"version":"0","id":"53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa","detail-type":"Scheduled Event","source":"aws.events","account":"123456789012","time":"2025-11-24T23:12:00Z","region":"eu-west-1","resources":["arn:aws:events:eu-west-1:123456789012:rule/every-minute"],"detail":{}}"#);
        insta::assert_snapshot!(made(true, None), @r#"{"version":"0","id":"53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa","detail-type":"Scheduled Event","source":"aws.scheduler","account":"123456789012","time":"2025-11-24T23:12:00Z","region":"eu-west-1","resources":["arn:aws:scheduler:eu-west-1:123456789012:schedule/default/every-minute"],"detail":"{}"}"#);
    }

    #[test]
    fn an_input_takes_its_place() {
        assert_eq!(made(false, Some("5")), "5");
        let input = r#"{"at": "<aws.scheduler.scheduled-time>", "of": "<aws.scheduler.schedule-arn>"}"#;
        assert_eq!(made(false, Some(input)), input);
        assert_eq!(
            made(true, Some(input)),
            r#"{"at": "2025-11-24T23:12:00Z", "of": "arn:aws:scheduler:eu-west-1:123456789012:schedule/default/every-minute"}"#
        );
        assert_eq!(
            made(true, Some(r#"["<aws.scheduler.execution-id>", <aws.scheduler.attempt-number>]"#)),
            r#"["53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa", 1]"#
        );
    }
}

//! What a schedule expression comes to, while it is being written.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::Console;
use super::super::error::ViewError;
use super::super::sent::whole;
use super::list::NEXT;
use crate::trigger::{Course, Expression, Schedule, time_zone};

const LARGEST: usize = 16 << 10;

#[derive(Deserialize)]
struct Asked {
    expression: String,
    time_zone: Option<String>,
}

pub async fn expression(State(_): State<Console>, body: Body) -> Result<Json<Value>, ViewError> {
    let body = whole(body, LARGEST).await?;
    let asked: Asked = serde_json::from_slice(&body).map_err(|error| {
        ViewError::invalid(format!("the body is not as it must be: {error}"))
            .hint("{\"expression\": \"rate(5 minutes)\", \"time_zone\": \"Asia/Seoul\"}")
    })?;
    Ok(Json(answer(asked, Timestamp::now())))
}

fn answer(asked: Asked, now: Timestamp) -> Value {
    match next(asked, now) {
        Ok((next, text)) => {
            let next: Vec<String> = next.iter().map(ToString::to_string).collect();
            json!({"valid": true, "next": next, "text": text})
        }
        Err(message) => json!({"valid": false, "message": message}),
    }
}

/// As they would be of a schedule that is deployed now.
fn next(asked: Asked, now: Timestamp) -> Result<(Vec<Timestamp>, String), String> {
    let expression: Expression = asked.expression.trim().parse()?;
    let zone = asked.time_zone.as_deref().map(str::trim).filter(|zone| !zone.is_empty());
    time_zone(zone)?;
    let mut text = expression.describe();
    let schedule = Schedule {
        // Only EventBridge Scheduler has time zones and single times.
        scheduler: false,
        time_zone: zone.map(str::to_owned),
        group: "default".to_owned(),
        start: None,
        end: None,
        flexible_window: None,
        input: None,
        expression,
    };
    let next = Course::new(&schedule, now, None)?.upcoming(now, NEXT);
    if next.is_empty() {
        text.push_str("; that time has passed, so it never fires");
    }
    Ok((next, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(expression: &str, zone: Option<&str>) -> Value {
        let asked = Asked { expression: expression.to_owned(), time_zone: zone.map(str::to_owned) };
        answer(asked, "2026-11-22T10:00:30Z".parse().unwrap())
    }

    #[test]
    fn the_next_times() {
        let rate = ask(" rate(5 minutes) ", None);
        assert_eq!((&rate["valid"], &rate["text"]), (&json!(true), &json!("every 5 minutes")));
        assert_eq!(rate["next"][0], "2026-11-22T10:05:30Z");
        assert_eq!(rate["next"].as_array().unwrap().len(), 5);
        // Winter time ends: nine o'clock is another hour of UTC.
        let cron = ask("cron(0 9 28-31 3 ? 2027)", Some("Europe/Berlin"));
        assert_eq!(
            cron["next"],
            json!([
                "2027-03-28T07:00:00Z",
                "2027-03-29T07:00:00Z",
                "2027-03-30T07:00:00Z",
                "2027-03-31T07:00:00Z"
            ])
        );
        assert_eq!(
            ask("at(2027-01-01T00:00:00)", Some("Asia/Seoul"))["next"],
            json!(["2026-12-31T15:00:00Z"])
        );
        let past = ask("at(2020-01-01T00:00:00)", Some(""));
        assert_eq!((&past["valid"], &past["next"]), (&json!(true), &json!([])));
        assert!(past["text"].as_str().unwrap().contains("has passed"));
    }

    #[test]
    fn what_is_none_is_told() {
        for (expression, zone, expected) in [
            ("", None, "is no schedule expression"),
            ("rate(1 minutes)", None, "it must be `1 minute`"),
            ("cron(* * *)", None, "is no schedule expression"),
            ("rate(5 minutes)", Some("Mars/Olympus"), "there is no time zone `Mars/Olympus`"),
            ("rate(99999999999999999999 days)", None, "too long"),
        ] {
            let told = ask(expression, zone);
            assert_eq!(told["valid"], false);
            assert!(told["message"].as_str().unwrap().contains(expected), "{told}");
        }
    }
}

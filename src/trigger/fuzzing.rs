//! What `fuzz/` asks of schedules and event patterns.

use jiff::Timestamp;
use serde_json::Value;

use super::expression::{Expression, time_zone};
use super::pattern::Pattern;

/// Times lie behind the one they were asked for, in order, and none is left out by the search for the
/// last one.
pub fn schedule(expression: &str, zone: &str, after: &str) {
    let Ok(expression) = expression.parse::<Expression>() else { return };
    expression.describe();
    let Ok(zone) = time_zone(Some(zone).filter(|zone| !zone.is_empty())) else { return };
    let begin = Timestamp::from_second(1_800_000_000).expect("a time of our century");
    let after = after.parse::<i64>().ok().and_then(|second| Timestamp::from_second(second).ok());
    let after = after.unwrap_or(begin);
    let Some(first) = expression.next_after(after, begin, &zone) else { return };
    assert!(first > after, "{} after {after}: {first}", expression.text);
    let Some(second) = expression.next_after(first, begin, &zone) else { return };
    assert!(second > first, "{} after {first}: {second}", expression.text);
    assert_eq!(expression.last_between(after, first, begin, &zone), Some(first), "{}", expression.text);
    assert_eq!(expression.last_between(after, second, begin, &zone), Some(second), "{}", expression.text);
    // Asked at any moment between two of them, the next one is the second.
    let middle = first + second.duration_since(first) / 2;
    assert_eq!(expression.next_after(middle, begin, &zone), Some(second), "{}", expression.text);
}

/// One level deeper, and as an alternative to itself, a pattern means the same.
pub fn pattern(text: &str, event: &str) {
    let Ok(pattern) = Pattern::parse(text) else { return };
    let Ok(event) = serde_json::from_str::<Value>(event) else { return };
    let matches = pattern.matches(&event);
    if let Ok(deeper) = Pattern::parse(&format!(r#"{{"detail":{text}}}"#)) {
        assert_eq!(deeper.matches(&serde_json::json!({ "detail": event })), matches, "{text} in `detail`");
    }
    if let Ok(twice) = Pattern::parse(&format!(r#"{{"$or":[{text},{text}]}}"#)) {
        assert_eq!(twice.matches(&serde_json::json!([event])), matches, "{text} in `$or`");
    }
}

//! Tumbling windows: batches of one stretch of time hand a state to each other.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// What a state may have; beyond that the window ends early.
const STATE_LIMIT: usize = 1024 * 1024;

/// A window that has begun and not ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Milliseconds since 1970.
    pub start: i64,
    pub state: Value,
    /// The state has become too large.
    pub early: bool,
}

impl Window {
    /// The window that this moment is in.
    pub fn of(moment: i64, length: Duration) -> Self {
        let length = length.as_millis().max(1) as i64;
        Self { start: moment.div_euclid(length) * length, state: json!({}), early: false }
    }

    pub fn end(&self, length: Duration) -> i64 {
        self.start + length.as_millis() as i64
    }

    /// From a checkpoint.
    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    pub fn write(&self) -> String {
        serde_json::to_string(self).expect("a window is JSON")
    }

    /// What the event has besides its records.
    pub fn members(&self, length: Duration, shard: &str, arn: &str, is_final: bool) -> Map<String, Value> {
        let members = json!({
            "window": {"start": time(self.start), "end": time(self.end(length))},
            "state": self.state,
            "shardId": shard,
            "eventSourceARN": arn,
            "isFinalInvokeForWindow": is_final,
            "isWindowTerminatedEarly": self.early,
        });
        match members {
            Value::Object(members) => members,
            _ => unreachable!("it was written as an object"),
        }
    }

    /// Takes over the state that the function has returned.
    pub fn take(&mut self, payload: &[u8]) {
        let returned: Option<Value> = serde_json::from_slice(payload).ok();
        let state = returned.and_then(|mut returned| returned.get_mut("state").map(Value::take));
        self.early = payload.len() > STATE_LIMIT
            && state.as_ref().is_some_and(|state| state.to_string().len() > STATE_LIMIT);
        self.state = state.filter(|state| !state.is_null() && !self.early).unwrap_or_else(|| json!({}));
    }
}

/// `2020-07-30T17:00:00Z`
fn time(milliseconds: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(milliseconds).unwrap_or_default();
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(300);

    #[test]
    fn a_window_has_the_members_that_aws_gives() {
        let window =
            Window::of("2020-07-30T17:03:21.5Z".parse::<jiff::Timestamp>().unwrap().as_millisecond(), LENGTH);
        let members = Value::Object(window.members(LENGTH, "shard-1", "arn", false));
        assert_eq!(
            members.to_string(),
            r#"{"window":{"start":"2020-07-30T17:00:00Z","end":"2020-07-30T17:05:00Z"},"state":{},"shardId":"shard-1","eventSourceARN":"arn","isFinalInvokeForWindow":false,"isWindowTerminatedEarly":false}"#
        );
        assert_eq!(Window::read(&window.write()), Some(window));
    }

    #[test]
    fn the_state_is_what_was_returned() {
        let mut window = Window::of(0, LENGTH);
        window.take(br#"{"state": {"sum": 3}}"#);
        assert_eq!(window.state, json!({"sum": 3}));
        for nothing in ["null", "{}", r#"{"state": null}"#, "no JSON"] {
            window.take(nothing.as_bytes());
            assert_eq!(window.state, json!({}), "{nothing}");
        }
        window.take(json!({"state": {"big": "x".repeat(STATE_LIMIT)}}).to_string().as_bytes());
        assert_eq!((window.early, &window.state), (true, &json!({})));
    }
}

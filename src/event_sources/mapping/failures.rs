//! `ReportBatchItemFailures`: which records the function has not handled, by its own account.

use serde::Deserialize;

/// What the function's result means for its batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All are handled.
    Success,
    /// All but these, by their places in the batch, in order; never empty.
    Partial(Vec<usize>),
    /// None is: the result is not what was agreed on. Why.
    Failure(String),
}

#[derive(Deserialize)]
struct Response {
    #[serde(rename = "batchItemFailures")]
    failures: Option<Vec<Item>>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(rename = "itemIdentifier")]
    identifier: Option<String>,
}

/// `identifiers`: of the batch's records, in order.
pub fn verdict(payload: &[u8], identifiers: &[&str]) -> Verdict {
    let response: Option<Response> = match serde_json::from_slice(payload) {
        Ok(response) => response,
        Err(error) => return Verdict::Failure(format!("its result reports no item failures ({error})")),
    };
    let mut places = Vec::new();
    for item in response.and_then(|response| response.failures).unwrap_or_default() {
        let identifier = item.identifier.unwrap_or_default();
        match identifiers.iter().position(|known| *known == identifier && !known.is_empty()) {
            Some(place) => places.push(place),
            None => {
                let identifier: String = identifier.chars().take(100).collect();
                return Verdict::Failure(format!(
                    "its result reports the failure of `{identifier}`, which is not in the batch"
                ));
            }
        }
    }
    places.sort_unstable();
    places.dedup();
    if places.is_empty() { Verdict::Success } else { Verdict::Partial(places) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BATCH: [&str; 3] = ["a", "b", "c"];

    fn of(payload: &str) -> Verdict {
        verdict(payload.as_bytes(), &BATCH)
    }

    #[test]
    fn nothing_reported_is_success() {
        for payload in
            ["{}", "null", r#"{"batchItemFailures":[]}"#, r#"{"batchItemFailures":null}"#, r#"{"other":1}"#]
        {
            assert_eq!(of(payload), Verdict::Success, "{payload}");
        }
    }

    #[test]
    fn what_is_reported_fails_alone() {
        let payload =
            r#"{"batchItemFailures":[{"itemIdentifier":"c"},{"itemIdentifier":"b"},{"itemIdentifier":"c"}]}"#;
        assert_eq!(of(payload), Verdict::Partial(vec![1, 2]));
    }

    #[test]
    fn what_makes_no_sense_fails_all() {
        for payload in [
            r#"{"batchItemFailures":[{"foo":"a"}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":"a"},{"itemIdentifier":"unknown"}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":1}]}"#,
            r#"{"batchItemFailures":["a"]}"#,
            r#"{"batchItemFailures":"a"}"#,
            r#""ok""#,
            "",
            "\u{fe}",
        ] {
            assert!(matches!(of(payload), Verdict::Failure(_)), "{payload}");
        }
    }

    proptest! {
        #[test]
        fn any_result_has_a_meaning(payload: Vec<u8>) {
            if let Verdict::Partial(places) = verdict(&payload, &BATCH) {
                prop_assert!(!places.is_empty() && places.iter().all(|place| *place < BATCH.len()));
            }
        }
    }
}

//! URLs: the record is posted as JSON. An answer of 2xx says that it has arrived.

use std::sync::OnceLock;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::{DeliveryError, Message};
use crate::destination::without_password;
use crate::egress;

const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// For the whole answer. Whoever has more to do than that does it afterwards.
const LIMIT: Duration = Duration::from_secs(10);
/// Of what a receiver says when it refuses: enough to see why.
const SHOWN: usize = 300;
/// Of one header: what servers take at least.
const LONGEST_HEADER: usize = 1024;

#[derive(Default)]
pub struct Url(OnceLock<Result<reqwest::Client, String>>);

impl Url {
    pub async fn post(&self, address: &str, message: &Message) -> Result<(), DeliveryError> {
        let shown = without_password(address);
        let client = self.client().map_err(DeliveryError::transient)?;
        let url: reqwest::Url = address
            .parse()
            .map_err(|error| DeliveryError::permanent(format!("{shown} is no URL: {error}")))?;
        egress::check(&url)
            .map_err(|forbidden| DeliveryError::permanent(format!("{shown} is not sent to: {forbidden}")))?;
        let request = client.post(url).headers(headers(message)).body(message.body.clone());
        let response = request.send().await.map_err(|error| {
            DeliveryError::transient(format!("{shown} cannot be reached: {}", told(&error)))
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        if status.is_redirection() {
            let place = response.headers().get("location").and_then(|place| place.to_str().ok());
            return Err(DeliveryError::permanent(format!(
                "{shown} answered {status}: it is elsewhere\nhint: name the URL that it leads to: {}",
                without_password(place.unwrap_or("it does not say which"))
            )));
        }
        let transient = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
        let said = beginning(response).await;
        let colon = if said.is_empty() { "" } else { ": " };
        Err(DeliveryError { reason: format!("{shown} answered {status}{colon}{said}"), transient })
    }

    /// Made when the first message needs it: reading the system's certificates takes its time.
    fn client(&self) -> Result<&reqwest::Client, String> {
        let made = self.0.get_or_init(|| {
            egress::guarded(reqwest::Client::builder())
                .redirect(reqwest::redirect::Policy::none())
                .connect_timeout(CONNECT_LIMIT)
                .timeout(LIMIT)
                .user_agent(concat!("handlerd/", env!("CARGO_PKG_VERSION")))
                .build()
                .map_err(|error| format!("no HTTP client can be made: {error}"))
        });
        made.as_ref().map_err(Clone::clone)
    }
}

/// What the receiver needs beside the record. The request id is the same whenever the same record
/// comes again.
fn headers(message: &Message) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    let mut set = |name: &str, value: &str| {
        if let (Ok(name), Some(value)) = (HeaderName::from_bytes(name.as_bytes()), header_value(value)) {
            headers.insert(name, value);
        }
    };
    set("idempotency-key", &message.request_id);
    set("x-amzn-requestid", &message.request_id);
    set("x-amzn-trace-id", &message.trace_id);
    set("x-amz-invoked-function-arn", &message.function_arn);
    // Of a dead letter, whose body is the event alone.
    for (name, _, value) in &message.attributes {
        set(&format!("x-amz-attribute-{}", name.to_ascii_lowercase()), value);
    }
    headers
}

/// On one line, cut where it is too long; `None` if nothing is left.
fn header_value(text: &str) -> Option<HeaderValue> {
    let end = (0..=LONGEST_HEADER.min(text.len())).rev().find(|&end| text.is_char_boundary(end))?;
    let line: String =
        text[..end].chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    HeaderValue::from_bytes(line.trim().as_bytes()).ok().filter(|value| !value.is_empty())
}

/// On one line.
async fn beginning(mut response: reqwest::Response) -> String {
    let mut body = Vec::new();
    while let Ok(Some(part)) = response.chunk().await {
        body.extend_from_slice(&part);
        if body.len() >= 4 * SHOWN {
            break;
        }
    }
    let text = String::from_utf8_lossy(&body);
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().filter(|letter| !letter.is_control()).take(SHOWN).collect()
}

/// The innermost cause says what happened.
fn told(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", LIMIT.as_secs());
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_text_becomes_a_header_or_none(text in "\\PC{0,20}(\r|\n|\0|한){0,2000}\\PC{0,20}") {
            if let Some(value) = header_value(&text) {
                proptest::prop_assert!(value.len() <= LONGEST_HEADER && !value.is_empty());
            }
        }
    }

    #[test]
    fn a_message_of_several_lines_is_one_header() {
        assert_eq!(header_value("one\r\nx-evil: 1").unwrap().as_bytes(), b"one  x-evil: 1");
        assert_eq!(header_value(" \n"), None);
    }
}

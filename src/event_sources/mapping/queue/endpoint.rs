//! The operations that are asked of a queue.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::super::context::Context;
use crate::aws::AwsError;

/// As many messages are received, deleted and hidden at once, at most.
pub const AT_ONCE: usize = 10;
/// The longest long poll.
pub const LONG_POLL: u64 = 20;

const PATIENCE: Duration = Duration::from_secs(10);
/// What could not be deleted is tried again so often: it would be handled again.
const TRIES: u32 = 4;

pub struct Queue {
    url: String,
    /// Seconds.
    visibility: AtomicU64,
}

impl Queue {
    pub async fn find(context: &Context) -> Result<Self, AwsError> {
        let source = &context.definition.source;
        let named = json!({"QueueName": source.name, "QueueOwnerAWSAccountId": source.account});
        let answer = context.ask("GetQueueUrl", &named, PATIENCE).await?;
        let url = answer["QueueUrl"].as_str().unwrap_or_default().to_owned();
        let queue = Self { url, visibility: AtomicU64::new(30) };
        queue.look(context).await;
        Ok(queue)
    }

    /// Finds out for how long a message is hidden once it was received.
    pub async fn look(&self, context: &Context) {
        let asked = json!({"QueueUrl": self.url, "AttributeNames": ["VisibilityTimeout"]});
        // Whatever is wrong will be seen where messages are received.
        if let Ok(answer) = context.ask("GetQueueAttributes", &asked, PATIENCE).await
            && let Some(text) = answer["Attributes"]["VisibilityTimeout"].as_str()
            && let Ok(seconds) = text.parse()
        {
            self.visibility.store(seconds, Ordering::Relaxed);
        }
    }

    pub fn visibility(&self) -> Duration {
        Duration::from_secs(self.visibility.load(Ordering::Relaxed))
    }

    /// Waits for messages; none if none came.
    pub async fn receive(&self, context: &Context, most: usize, wait: u64) -> Result<Vec<Value>, AwsError> {
        // The older name of the same stands beside it for endpoints that know no other.
        let asked = json!({
            "QueueUrl": self.url,
            "MaxNumberOfMessages": most.clamp(1, AT_ONCE),
            "WaitTimeSeconds": wait,
            "MessageSystemAttributeNames": ["All"],
            "AttributeNames": ["All"],
            "MessageAttributeNames": ["All"],
        });
        let mut answer = context.ask("ReceiveMessage", &asked, PATIENCE + Duration::from_secs(wait)).await?;
        match answer["Messages"].take() {
            Value::Array(messages) => Ok(messages),
            _ => Ok(Vec::new()),
        }
    }

    /// They are done with. What cannot be deleted comes again; that is told.
    pub async fn delete(&self, context: &Context, receipts: &[&str]) {
        for receipts in receipts.chunks(AT_ONCE) {
            let mut left: Vec<&str> = receipts.to_vec();
            let mut problem = String::new();
            for attempt in 0..TRIES {
                if attempt > 0 {
                    tokio::time::sleep(Duration::from_millis(200) * 4u32.pow(attempt - 1)).await;
                }
                match self.change_all(context, "DeleteMessageBatch", &left, None).await {
                    Ok(failed) => {
                        left = failed.iter().filter_map(|place| left.get(*place).copied()).collect()
                    }
                    Err(error) if error.is_transient() => problem = error.to_string(),
                    Err(error) => {
                        problem = error.to_string();
                        break;
                    }
                }
                if left.is_empty() {
                    break;
                }
            }
            if !left.is_empty() {
                let count = left.len();
                let reason = if problem.is_empty() { "the queue refused it" } else { &problem };
                context
                    .problem(&format!(
                        "{count} handled messages could not be deleted ({reason}); they come again"
                    ))
                    .await;
            }
        }
    }

    /// They are hidden for so long from now on. Best effort: else they come when they would have come.
    pub async fn hide(&self, context: &Context, receipts: &[&str], duration: Duration) {
        for receipts in receipts.chunks(AT_ONCE) {
            let _ = self.change_all(context, "ChangeMessageVisibilityBatch", receipts, Some(duration)).await;
        }
    }

    /// The places of those for which it has failed in a way that may pass.
    async fn change_all(
        &self,
        context: &Context,
        operation: &str,
        receipts: &[&str],
        visibility: Option<Duration>,
    ) -> Result<Vec<usize>, AwsError> {
        let entries: Vec<Value> = receipts
            .iter()
            .enumerate()
            .map(|(place, receipt)| {
                let mut entry = json!({"Id": place.to_string(), "ReceiptHandle": receipt});
                if let Some(visibility) = visibility {
                    entry["VisibilityTimeout"] = visibility.as_secs().into();
                }
                entry
            })
            .collect();
        let body = json!({"QueueUrl": self.url, "Entries": entries});
        let answer = context.ask(operation, &body, PATIENCE).await?;
        let failed = answer["Failed"].as_array().into_iter().flatten();
        // Whatever is the sender's fault will not become better.
        let may_pass = failed.filter(|entry| entry["SenderFault"].as_bool() != Some(true));
        Ok(may_pass.filter_map(|entry| entry["Id"].as_str()?.parse().ok()).collect())
    }
}

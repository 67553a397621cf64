//! SQS queues, SNS topics and EventBridge buses at an AWS-compatible endpoint.

use std::collections::HashMap;
use std::sync::Mutex;

use serde_json::{Map, Value, json};

use super::{DeliveryError, Message};
use crate::aws::{self, Service};

/// How many queues' URLs are remembered; beyond that all are looked up anew.
const REMEMBERED: usize = 1000;
/// Of an X-Ray header, wherever AWS takes one.
const LONGEST_TRACE: usize = 500;

pub struct Services {
    aws: aws::Client,
    /// By ARN.
    queue_urls: Mutex<HashMap<String, String>>,
}

impl Services {
    pub fn new(aws: aws::Client) -> Self {
        Self { aws, queue_urls: Mutex::default() }
    }

    pub async fn queue(&self, arn: &str, message: &Message) -> Result<(), DeliveryError> {
        let (region, account, name) = parts(arn)?;
        // SQS refuses them without a group, and Lambda has none to give.
        if name.ends_with(".fifo") {
            return Err(no_fifo(arn, "queue"));
        }
        let remembered = self.queue_urls.lock().unwrap().get(arn).cloned();
        let known = remembered.is_some();
        let url = match remembered {
            Some(url) => url,
            None => self.queue_url(arn, region, account, name).await?,
        };
        let send = |url: String| async move {
            self.aws.json(Service::Sqs, region, "SendMessage", &to_queue(url, message)).await
        };
        let sent = match send(url).await {
            // Made anew since, perhaps with another URL.
            Err(error) if known && error.code().is_some_and(|code| code.ends_with("QueueDoesNotExist")) => {
                self.queue_urls.lock().unwrap().remove(arn);
                send(self.queue_url(arn, region, account, name).await?).await
            }
            sent => sent,
        };
        sent.map(|_| ()).map_err(DeliveryError::from)
    }

    async fn queue_url(
        &self,
        arn: &str,
        region: &str,
        account: &str,
        name: &str,
    ) -> Result<String, DeliveryError> {
        let question = json!({"QueueName": name, "QueueOwnerAWSAccountId": account});
        let answer = self.aws.json(Service::Sqs, region, "GetQueueUrl", &question).await?;
        let url = answer["QueueUrl"].as_str().ok_or_else(|| {
            DeliveryError::transient(format!("SQS does not say where {arn} is: its answer has no QueueUrl"))
        })?;
        let mut known = self.queue_urls.lock().unwrap();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(arn.to_owned(), url.to_owned());
        Ok(url.to_owned())
    }

    pub async fn topic(&self, arn: &str, message: &Message) -> Result<(), DeliveryError> {
        let (region, _, name) = parts(arn)?;
        if name.ends_with(".fifo") {
            return Err(no_fifo(arn, "topic"));
        }
        let mut parameters =
            vec![("TopicArn".to_owned(), arn.to_owned()), ("Message".to_owned(), message.body.clone())];
        for (index, (name, kind, value)) in message.attributes.iter().enumerate() {
            let entry = format!("MessageAttributes.entry.{}", index + 1);
            parameters.push((format!("{entry}.Name"), name.clone()));
            parameters.push((format!("{entry}.Value.DataType"), kind.clone()));
            parameters.push((format!("{entry}.Value.StringValue"), value.clone()));
        }
        self.aws.query(Service::Sns, region, "Publish", &parameters).await?;
        Ok(())
    }

    pub async fn bus(&self, arn: &str, message: &Message) -> Result<(), DeliveryError> {
        let (region, _, _) = parts(arn)?;
        let outcome = if message.succeeded { "Success" } else { "Failure" };
        let mut entry = json!({
            "EventBusName": arn,
            "Source": "lambda",
            "DetailType": format!("Lambda Function Invocation Result - {outcome}"),
            "Resources": [arn, message.function_arn],
            "Detail": message.body,
        });
        if let Some(trace) = trace(message) {
            entry["TraceHeader"] = json!(trace);
        }
        let answer =
            self.aws.json(Service::Events, region, "PutEvents", &json!({"Entries": [entry]})).await?;
        // An answer of 200 says that the request was understood; each entry has its own.
        let told = &answer["Entries"][0];
        let text = |name: &str| told[name].as_str().unwrap_or_default();
        let (code, reason) = (text("ErrorCode"), text("ErrorMessage"));
        if code.is_empty() && answer["FailedEntryCount"].as_u64().unwrap_or(0) == 0 {
            return Ok(());
        }
        Err(DeliveryError {
            reason: format!("EventBridge does not take it to {arn}: {code}: {reason}"),
            transient: code.is_empty() || code.contains("Internal") || code.contains("Throttl"),
        })
    }
}

fn to_queue(url: String, message: &Message) -> Value {
    let attributes: Map<String, Value> = message
        .attributes
        .iter()
        .map(|(name, kind, value)| (name.clone(), json!({"DataType": kind, "StringValue": value})))
        .collect();
    let mut body = json!({"QueueUrl": url, "MessageBody": message.body});
    if !attributes.is_empty() {
        body["MessageAttributes"] = Value::Object(attributes);
    }
    // A function that is triggered by this queue sees what chain it belongs to.
    if let Some(trace) = trace(message) {
        body["MessageSystemAttributes"] =
            json!({"AWSTraceHeader": {"DataType": "String", "StringValue": trace}});
    }
    body
}

/// `None`: it has none, or none that AWS would take.
fn trace(message: &Message) -> Option<&str> {
    Some(message.trace_id.as_str()).filter(|trace| (1..=LONGEST_TRACE).contains(&trace.len()))
}

/// Region, account and name of an ARN.
fn parts(arn: &str) -> Result<(&str, &str, &str), DeliveryError> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    match parts[..] {
        ["arn", _, _, region, account, name] if !region.is_empty() => Ok((region, account, name)),
        _ => Err(DeliveryError::permanent(format!(
            "`{arn}` names no region\nhint: write it as `arn:aws:SERVICE:REGION:ACCOUNT:NAME`"
        ))),
    }
}

fn no_fifo(arn: &str, kind: &str) -> DeliveryError {
    DeliveryError::permanent(format!(
        "{arn} is a FIFO {kind}: Lambda delivers to standard ones only\nhint: name a {kind} whose name does not end in \
         `.fifo`"
    ))
}

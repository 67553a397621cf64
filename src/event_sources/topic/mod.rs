//! SNS topics: the control plane's own address is subscribed, and notifications that come there are
//! events.
//!
//! The path of the address holds a secret for each topic, which nobody but the topic is told. A
//! subscription outlives the gateway, as a function's on AWS does; it ends when no trigger names the
//! topic any more.

mod event;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use http::StatusCode;
use serde_json::{Map, Value};
use tokio::task::JoinHandle;

use super::Surroundings;
use crate::aws::{AwsError, Service};
use crate::control_plane::Routes;
use crate::control_plane::Scope::Open;
use crate::store::Subscription;
use crate::trigger::{Kind, Topic, Trigger};

/// A message is 256 KB at most, and is written longer inside JSON.
const LONGEST: usize = 2 * 1024 * 1024;
const PAUSES: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(60),
];

#[derive(Clone)]
struct Topics {
    surroundings: Surroundings,
    /// By topic; as the store has them.
    subscriptions: Arc<Mutex<BTreeMap<String, Subscription>>>,
}

pub fn start(surroundings: &Surroundings) -> (JoinHandle<()>, Routes) {
    let topics = Topics { surroundings: surroundings.clone(), subscriptions: Arc::default() };
    let routes = Routes::new()
        // The topic shows that it knows the token.
        .at("/_handlerd/sns/{token}")
        .post(Open, receive)
        .layer(DefaultBodyLimit::max(LONGEST))
        .with_state(topics.clone());
    let task = tokio::spawn(async move {
        tokio::select! {
            () = topics.surroundings.stopped() => {}
            () = topics.run() => {}
        }
    });
    (task, routes)
}

fn topic(trigger: &Trigger) -> Option<&Topic> {
    match &trigger.kind {
        Kind::Topic(topic) if trigger.enabled => Some(topic),
        _ => None,
    }
}

/// `arn:aws:sns:REGION:ACCOUNT:NAME`
fn region(arn: &str) -> Option<&str> {
    arn.split(':').nth(3).filter(|region| !region.is_empty())
}

impl Topics {
    async fn run(&self) {
        let mut deployment = self.surroundings.deployment.clone();
        let store = self.surroundings.invoker.store();
        match store.subscriptions().await {
            Ok(stored) => {
                let stored = stored.into_iter().map(|one| (one.topic_arn.clone(), one));
                *self.subscriptions.lock().unwrap() = stored.collect();
            }
            Err(error) => tracing::error!("former subscriptions are not known: {error}"),
        }
        let mut failures: usize = 0;
        let mut said = String::new();
        loop {
            let is_readable = !deployment.borrow_and_update().template_failed;
            let settled = if is_readable { self.settle().await } else { Ok(()) };
            match settled {
                Ok(()) => {
                    (failures, said) = (0, String::new());
                    if deployment.changed().await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    if said != error {
                        tracing::error!(
                            "{error}\nhint: AWS_ENDPOINT_URL_SNS says where SNS is; it is asked again"
                        );
                        said = error;
                    }
                    let pause = PAUSES[failures.min(PAUSES.len() - 1)];
                    failures += 1;
                    let _ = tokio::time::timeout(pause, deployment.changed()).await;
                }
            }
        }
    }

    /// Subscribes what is named and ends what is not; the first thing that failed, after all was tried.
    async fn settle(&self) -> Result<(), String> {
        let triggers = self.surroundings.triggers();
        let named: BTreeSet<String> =
            triggers.iter().filter_map(topic).map(|topic| topic.topic_arn.clone()).collect();
        let known: Vec<Subscription> = self.subscriptions.lock().unwrap().values().cloned().collect();
        let mut result = Ok(());
        for subscription in &known {
            let prefix = format!("{}/_handlerd/sns/", self.surroundings.api_url);
            // Elsewhere: an earlier gateway listened on another port.
            let is_elsewhere = !subscription.endpoint.starts_with(&prefix);
            if !named.contains(&subscription.topic_arn) || is_elsewhere {
                result = result.and(self.unsubscribe(subscription).await);
            }
        }
        for topic_arn in named {
            let is_done =
                self.subscriptions.lock().unwrap().get(&topic_arn).is_some_and(|one| one.arn.is_some());
            if !is_done {
                result = result.and(self.subscribe(&topic_arn).await);
            }
        }
        result
    }

    async fn subscribe(&self, topic_arn: &str) -> Result<(), String> {
        let Some(region) = region(topic_arn) else {
            return Err(format!("`{topic_arn}` is no ARN of a topic"));
        };
        let known = self.subscriptions.lock().unwrap().get(topic_arn).cloned();
        let subscription = known.unwrap_or_else(|| {
            let token = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
            let endpoint = format!("{}/_handlerd/sns/{token}", self.surroundings.api_url);
            Subscription { topic_arn: topic_arn.to_owned(), token, endpoint, arn: None }
        });
        // Known before it is asked for: the confirmation may come before the answer.
        self.keep(subscription.clone()).await?;
        let parameters = [
            ("TopicArn", topic_arn),
            ("Protocol", "http"),
            ("Endpoint", &subscription.endpoint),
            ("ReturnSubscriptionArn", "true"),
        ];
        let answer = self.ask(region, "Subscribe", &parameters).await.map_err(|error| error.to_string())?;
        let arn = element(&answer, "SubscriptionArn").filter(|arn| arn.starts_with("arn:"));
        if let Some(arn) = arn {
            self.keep(Subscription { arn: Some(arn.to_owned()), ..subscription }).await?;
        }
        tracing::info!("topic {topic_arn} is subscribed");
        Ok(())
    }

    async fn unsubscribe(&self, subscription: &Subscription) -> Result<(), String> {
        let topic_arn = &subscription.topic_arn;
        if let (Some(arn), Some(region)) = (&subscription.arn, region(topic_arn)) {
            match self.ask(region, "Unsubscribe", &[("SubscriptionArn", arn)]).await {
                Ok(_) => tracing::info!("topic {topic_arn} is not subscribed any more"),
                // It is gone already.
                Err(error) if !error.is_transient() => tracing::debug!("{error}"),
                Err(error) => return Err(error.to_string()),
            }
        }
        let store = self.surroundings.invoker.store();
        store.delete_subscription(topic_arn).await.map_err(|error| error.to_string())?;
        self.subscriptions.lock().unwrap().remove(topic_arn);
        Ok(())
    }

    async fn keep(&self, subscription: Subscription) -> Result<(), String> {
        let store = self.surroundings.invoker.store();
        store.put_subscription(subscription.clone()).await.map_err(|error| error.to_string())?;
        self.subscriptions.lock().unwrap().insert(subscription.topic_arn.clone(), subscription);
        Ok(())
    }

    async fn ask(&self, region: &str, action: &str, parameters: &[(&str, &str)]) -> Result<String, AwsError> {
        let parameters: Vec<(String, String)> =
            parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.surroundings.aws.query(Service::Sns, region, action, &parameters).await
    }

    /// The subscription whose secret this is, compared in constant time.
    fn with_token(&self, token: &str) -> Option<Subscription> {
        let subscriptions = self.subscriptions.lock().unwrap();
        let is_same = |known: &str| {
            known.len() == token.len()
                && known.bytes().zip(token.bytes()).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
        };
        subscriptions.values().find(|one| is_same(&one.token)).cloned()
    }

    async fn confirm(&self, subscription: Subscription, body: &Map<String, Value>) -> Result<(), StatusCode> {
        let token = body.get("Token").and_then(Value::as_str).ok_or(StatusCode::BAD_REQUEST)?;
        let region = region(&subscription.topic_arn).ok_or(StatusCode::BAD_REQUEST)?;
        let parameters = [("TopicArn", subscription.topic_arn.as_str()), ("Token", token)];
        // The service is asked, not the URL that came along.
        let answer = self.ask(region, "ConfirmSubscription", &parameters).await.map_err(|error| {
            tracing::error!("{error}");
            StatusCode::BAD_GATEWAY
        })?;
        let arn = element(&answer, "SubscriptionArn").map(str::to_owned).or(subscription.arn.clone());
        let kept = self.keep(Subscription { arn, ..subscription }).await;
        kept.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
    }

    /// When this returns well, all functions that are to have it have it on the disk.
    async fn notify(&self, subscription: &Subscription, body: &Map<String, Value>) -> Result<(), StatusCode> {
        for trigger in self.surroundings.triggers() {
            let Some(topic) = topic(&trigger) else { continue };
            if topic.topic_arn != subscription.topic_arn || !event::passes(topic, body) {
                continue;
            }
            let arn = subscription.arn.as_deref().unwrap_or(&subscription.topic_arn);
            let invocation = self.surroundings.invocation(&trigger.function, event::event(body, arn));
            match self.surroundings.invoker.accept(&trigger.function, invocation).await {
                Ok(()) => tracing::info!("topic {} invokes {}", topic.topic_arn, trigger.function),
                // SNS will try again.
                Err(error) => {
                    tracing::error!(
                        "topic {} could not invoke {}: {error}",
                        topic.topic_arn,
                        trigger.function
                    );
                    return Err(StatusCode::SERVICE_UNAVAILABLE);
                }
            }
        }
        Ok(())
    }
}

async fn receive(State(topics): State<Topics>, Path(token): Path<String>, body: Bytes) -> StatusCode {
    let Some(subscription) = topics.with_token(&token) else { return StatusCode::NOT_FOUND };
    let body = match serde_json::from_slice(&body) {
        Ok(Value::Object(body)) => body,
        _ => return StatusCode::BAD_REQUEST,
    };
    let get = |name: &str| body.get(name).and_then(Value::as_str);
    if get("TopicArn") != Some(&subscription.topic_arn) {
        return StatusCode::FORBIDDEN;
    }
    let done = match get("Type") {
        Some("SubscriptionConfirmation") => topics.confirm(subscription, &body).await,
        Some("Notification") => topics.notify(&subscription, &body).await,
        Some("UnsubscribeConfirmation") => Ok(()),
        _ => Err(StatusCode::BAD_REQUEST),
    };
    done.err().unwrap_or(StatusCode::OK)
}

/// The text of an element of XML.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let xml = "<SubscribeResponse><SubscribeResult>\n<SubscriptionArn>arn:x</SubscriptionArn></SubscribeResult>";
        assert_eq!(element(xml, "SubscriptionArn"), Some("arn:x"));
        assert_eq!(element("<SubscriptionArn>", "SubscriptionArn"), None);
        assert_eq!(region("arn:aws:sns:eu-west-1:123456789012:orders"), Some("eu-west-1"));
        assert_eq!(region("orders"), None);
    }
}

//! Whatever makes invocations and is no HTTP request of the user's: schedules, queues, streams,
//! buckets, topics, the event bus.
//!
//! Each source looks at the deployment's triggers, and again when they change; all of them invoke
//! through the one door.
//!
//! - `schedule`: rates, crons and single times, at most once each, over restarts too.
//! - `bus`: EventBridge's PutEvents, and the rules that match.
//! - `bucket`: folders that stand for S3 buckets.
//! - `topic`: SNS topics that are subscribed by HTTP.
//! - `mapping`: SQS queues, and the streams of Kinesis and DynamoDB, which are polled.

mod bucket;
mod bus;
mod mapping;
mod schedule;
mod topic;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::aws;
use crate::control_plane::Routes;
use crate::deployment::Deployment;
use crate::invocation::{Asker, Invocation};
use crate::invoker::Invoker;
use crate::trigger::Trigger;

/// What every source needs.
#[derive(Clone)]
pub struct Surroundings {
    pub invoker: Invoker,
    pub aws: aws::Client,
    /// The folder whose subfolders stand for buckets.
    pub buckets: PathBuf,
    /// Where the control plane listens: `http://127.0.0.1:3001`.
    pub api_url: String,
    /// What is deployed; changes with each deployment.
    pub deployment: watch::Receiver<Arc<Deployment>>,
    /// `true` when the gateway stops.
    pub stop: watch::Receiver<bool>,
}

impl Surroundings {
    /// The triggers of what is deployed now, in the order of their functions.
    fn triggers(&self) -> Vec<Trigger> {
        let deployment = self.deployment.borrow().clone();
        deployment.attached.values().flat_map(|attached| attached.triggers.iter().cloned()).collect()
    }

    /// An invocation of `NAME` or `NAME:QUALIFIER` with this event, as AWS's own services make it.
    fn invocation(&self, function: &str, event: Vec<u8>) -> Invocation {
        let account = self.invoker.account();
        let now = jiff::Timestamp::now().as_second().max(0) as u64;
        Invocation {
            request_id: Invocation::new_request_id(),
            trace_id: Invocation::new_trace_id(now).for_function(),
            function_arn: account.function_arn(&account.region, function),
            client_context: None,
            event,
            asker: Asker::Event,
        }
    }

    /// Returns when the gateway stops.
    async fn stopped(&self) {
        let mut stop = self.stop.clone();
        // An error: whoever could tell is gone, and so is the gateway.
        let _ = stop.wait_for(|stops| *stops).await;
    }
}

/// All of them, running.
pub struct EventSources {
    tasks: Vec<JoinHandle<()>>,
    routes: Option<Routes>,
}

impl EventSources {
    pub fn start(surroundings: &Surroundings) -> Self {
        let (topics, topics_routes) = topic::start(surroundings);
        let tasks = vec![
            schedule::start(surroundings),
            bucket::start(surroundings),
            topics,
            mapping::start(surroundings),
        ];
        Self { tasks, routes: Some(bus::routes(surroundings).merge(topics_routes)) }
    }

    /// What they are asked by HTTP on the control plane's port.
    pub fn routes(&mut self) -> Routes {
        self.routes.take().unwrap_or_else(Routes::new)
    }

    /// Waits until what they had begun has ended; `stop` has told them.
    pub async fn stopped(self) {
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

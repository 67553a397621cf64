//! Services that functions need from elsewhere, and that nobody has said where they are.

use std::collections::{BTreeMap, BTreeSet};

use crate::aws::{Endpoints, Service};
use crate::deployment::Deployment;
use crate::destination::Destination;
use crate::trigger::{Kind, Trigger};

/// By service: what needs it.
type Users = BTreeMap<Service, BTreeSet<String>>;

/// One line for each service that triggers and destinations need and that cannot be asked.
pub fn unreachable(deployment: &Deployment, endpoints: &Endpoints) -> Vec<String> {
    let mut users = destinations(deployment);
    for trigger in deployment.triggers().filter(|trigger| trigger.enabled) {
        if let Some(service) = service_of(trigger) {
            users.entry(service).or_default().insert(format!("trigger {}", trigger.name));
        }
    }
    told(users, endpoints)
}

/// The same for destinations alone, which ask for the first time when an event has ended.
pub fn unreachable_destinations(deployment: &Deployment, endpoints: &Endpoints) -> Vec<String> {
    told(destinations(deployment), endpoints)
}

fn told(users: Users, endpoints: &Endpoints) -> Vec<String> {
    let missing = users.into_iter().filter(|(service, _)| endpoints.is_missing(*service));
    missing
        .map(|(service, users)| {
            let users: Vec<String> = users.into_iter().collect();
            format!(
                "{} cannot be asked, for {}: {}",
                service.name(),
                users.join(", "),
                endpoints.what_is_missing(service)
            )
        })
        .collect()
}

fn destinations(deployment: &Deployment) -> Users {
    let mut users = Users::new();
    for (name, attached) in &deployment.attached {
        let asynchronous = &attached.asynchronous;
        for destination in asynchronous.on_success.iter().chain(&asynchronous.on_failure) {
            let service = match destination {
                Destination::Queue { .. } => Service::Sqs,
                Destination::Topic { .. } => Service::Sns,
                // Buses are served by the gateway itself.
                Destination::Bus { .. }
                | Destination::Function { .. }
                | Destination::Url(_)
                | Destination::Table { .. } => continue,
            };
            users.entry(service).or_default().insert(format!("a destination of {name}"));
        }
    }
    users
}

/// What has to be asked so that this trigger fires.
fn service_of(trigger: &Trigger) -> Option<Service> {
    match &trigger.kind {
        Kind::Mapping(mapping) => match mapping.source_arn.split(':').nth(2)? {
            "sqs" => Some(Service::Sqs),
            "kinesis" => Some(Service::Kinesis),
            "dynamodb" => Some(Service::DynamoDbStreams),
            _ => None,
        },
        Kind::Topic(_) => Some(Service::Sns),
        Kind::Schedule(_) | Kind::Rule(_) | Kind::Bucket(_) => None,
    }
}

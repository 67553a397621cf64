//! What makes invocations and is no route: SAM's events and CloudFormation's resources -> triggers.
//!
//! - `event`: one of `Events` of a function.
//! - `resources`: the resources of CloudFormation.
//! - `schedule`, `rule`, `mapping`, `bucket`, `topic`: what they have in common, by kind of trigger.
//! - `arn`: what the text means that says where events come from.
//!
//! What AWS would refuse is refused here, by line; nothing of such a trigger is deployed.

mod arn;
mod bucket;
mod event;
mod mapping;
mod resources;
mod rule;
mod schedule;
#[cfg(test)]
mod tests;
mod topic;

use super::section::Section;
use super::{Builder, Resource, Stack, Status};
use crate::deployment::Severity;
use crate::trigger::Kind;

pub use event::{KINDS, Name, read as event};
pub use resources::{event_invoke, read as resources};

/// Where events come from, as far as a text leaves it open.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub account: &'a str,
    pub region: &'a str,
    /// `None`: `function.yaml`, where a name takes the place of a reference.
    pub stack: Option<&'a Stack>,
}

impl<'a> Place<'a> {
    pub fn of(stack: &'a Stack) -> Self {
        Self { account: &stack.account, region: &stack.region, stack: Some(stack) }
    }
}

/// Who reads: the resource that the findings are of, and its place.
#[derive(Clone, Copy)]
struct Context<'a> {
    resource: &'a Resource,
    place: Place<'a>,
}

/// A trigger without the function that it leads to.
struct Said {
    /// As it is called on AWS, if that is said.
    name: Option<String>,
    enabled: bool,
    kind: Kind,
}

impl Section<'_> {
    /// A text that has to be there.
    fn required(&self, key: &str, builder: &mut Builder) -> Option<&str> {
        if self.get(key).is_none() {
            self.error("", format!("`{}` has no `{key}`", self.owner()), builder);
        }
        self.text(key, builder).filter(|text| !text.is_empty())
    }

    /// What lacks something, in messages.
    fn owner(&self) -> &str {
        if self.at.is_empty() { "it" } else { &self.at }
    }
}

fn errors(builder: &Builder) -> usize {
    builder.reading.problems.iter().filter(|problem| problem.severity == Severity::Error).count()
}

/// `State`, or SAM's older `Enabled`.
fn enabled(section: &Section<'_>, builder: &mut Builder) -> bool {
    if section.get("State").is_some() && section.get("Enabled").is_some() {
        let text = format!("`{}` has both `State` and `Enabled`\nhint: give one of them", section.owner());
        section.error("Enabled", text, builder);
    }
    let words = ["ENABLED", "DISABLED", "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"];
    let state = section.word("State", &words, builder);
    state != Some("DISABLED") && section.boolean("Enabled", builder).unwrap_or(true)
}

/// Of what is delivered to functions on AWS by a service of its own: checked, and not needed here.
fn delivery(section: &Section<'_>, context: Context<'_>, builder: &mut Builder) {
    if let Some(policy) = section.section("RetryPolicy", builder) {
        policy.only(&["MaximumEventAgeInSeconds", "MaximumRetryAttempts"], builder);
        policy.number("MaximumEventAgeInSeconds", 60, 86_400, builder);
        policy.number("MaximumRetryAttempts", 0, 185, builder);
    }
    let text = "not needed: an event that is due is kept until the function has had it; what it fails with is up to \
                `EventInvokeConfig`";
    for key in ["RetryPolicy", "DeadLetterConfig"] {
        section.finding(key, Status::Ignored, text, context.resource, builder);
    }
    let text = "functions run as you: there are no roles here";
    for key in ["RoleArn", "PermissionsBoundary"] {
        section.finding(key, Status::Ignored, text, context.resource, builder);
    }
    section.finding("KmsKeyArn", Status::Ignored, "nothing is encrypted here", context.resource, builder);
}

//! What stands beside a function and is no part of a version: how much of it may run at once, what
//! becomes of asynchronous events, tags, triggers. On AWS these are resources of their own; a
//! template, `function.yaml` or the Lambda API say them.

use std::time::Duration;

use crate::destination::Destination;
use crate::trigger::Trigger;

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Attached {
    /// `ReservedConcurrentExecutions`; 0: the function is off.
    pub reserved_concurrency: Option<u32>,
    /// `EventInvokeConfig` of `$LATEST`.
    pub asynchronous: Asynchronous,
    pub recursive_loop: RecursiveLoop,
    pub tags: Vec<(String, String)>,
    pub triggers: Vec<Trigger>,
    /// An alias that leads to the code of now until one of this name is made.
    pub auto_publish_alias: Option<String>,
    /// The same, of aliases and versions that are resources of their own in the template.
    pub declared_qualifiers: Vec<String>,
}

/// What becomes of events that nobody waits for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Asynchronous {
    /// 0 to 2; `None`: 2.
    pub maximum_retries: Option<u32>,
    /// 60 s to 6 h; `None`: 6 h.
    pub maximum_age: Option<Duration>,
    pub on_success: Option<Destination>,
    pub on_failure: Option<Destination>,
}

/// What becomes of a chain of invocations that leads to itself 16 times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RecursiveLoop {
    #[default]
    Terminate,
    Allow,
}

//! `Pending`, `InProgress`, and what becomes of it: a function that was made or changed has settled
//! when its first environment has been started.
//!
//! As on AWS, code that raises while it is loaded does not make a function `Failed`: whoever invokes
//! it is told. `Failed` is what cannot run at all.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::LambdaApi;
use super::super::error::ApiError;
use super::super::request::conflict;
use crate::deployment::ResolveError;
use crate::execution_environment::{AcquireError, StartError};

/// How long the first environment is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often code that changes while it is loaded is loaded again.
const TRIES: usize = 5;

#[derive(Debug, Clone, PartialEq)]
enum Status {
    Creating,
    Updating,
    Failed { created: bool, code: &'static str, reason: String },
}

/// By function; those that have settled are not there.
#[derive(Default)]
pub struct Progress(Mutex<HashMap<String, Status>>);

impl Progress {
    /// `false`: another request is making it, or changing it. Ends as an update does.
    pub fn begin_creation(&self, name: &str) -> bool {
        let mut all = self.0.lock().unwrap();
        let free = !matches!(all.get(name), Some(Status::Creating | Status::Updating));
        if free {
            all.insert(name.to_owned(), Status::Creating);
        }
        free
    }

    /// Refused while another one runs. Ends with `settle` or `give_up`.
    pub fn begin_update(&self, name: &str, arn: &str) -> Result<(), ApiError> {
        let mut all = self.0.lock().unwrap();
        match all.get(name) {
            Some(Status::Creating) => Err(conflict(
                "The operation cannot be performed at this time. The function is currently in the following state: \
                 Pending",
            )),
            Some(Status::Updating) => Err(conflict(format!(
                "The operation cannot be performed at this time. An update is in progress for resource: {arn}"
            ))),
            Some(Status::Failed { .. }) | None => {
                all.insert(name.to_owned(), Status::Updating);
                Ok(())
            }
        }
    }

    /// Nothing was changed, or there is nothing any more.
    pub fn give_up(&self, name: &str) {
        self.0.lock().unwrap().remove(name);
    }

    /// Adds what a description says of it.
    pub fn describe(&self, name: &str, description: &mut Value) {
        let creating = ("The function is being created.", "Creating");
        let set = |description: &mut Value, prefix: &str, (reason, code): (&str, &str)| {
            description[format!("{prefix}Reason")] = reason.into();
            description[format!("{prefix}ReasonCode")] = code.into();
        };
        description["State"] = json!("Active");
        description["LastUpdateStatus"] = json!("Successful");
        match self.0.lock().unwrap().get(name) {
            None => {}
            Some(Status::Creating) => {
                description["State"] = json!("Pending");
                if let Some(fields) = description.as_object_mut() {
                    fields.shift_remove("LastUpdateStatus");
                }
                set(description, "State", creating);
            }
            Some(Status::Updating) => {
                description["LastUpdateStatus"] = json!("InProgress");
                set(description, "LastUpdateStatus", creating);
            }
            Some(Status::Failed { created, code, reason }) => {
                description["LastUpdateStatus"] = json!("Failed");
                set(description, "LastUpdateStatus", (reason, code));
                if *created {
                    description["State"] = json!("Failed");
                    set(description, "State", (reason, code));
                }
            }
        }
    }

    fn end(&self, name: &str, verdict: Result<(), (&'static str, String)>) {
        let mut all = self.0.lock().unwrap();
        let created = all.get(name) == Some(&Status::Creating);
        match verdict {
            Ok(()) => drop(all.remove(name)),
            // It was deleted meanwhile.
            Err(_) if !all.contains_key(name) => {}
            Err((code, reason)) => {
                drop(all.insert(name.to_owned(), Status::Failed { created, code, reason }))
            }
        }
    }
}

/// Starts the first environment; then the change has ended, one way or the other.
pub fn settle(api: &LambdaApi, name: &str) {
    let (api, name) = (api.clone(), name.to_owned());
    tokio::spawn(async move {
        let verdict = match tokio::time::timeout(PATIENCE, start(&api, &name)).await {
            Ok(verdict) => verdict,
            Err(_) => Err(("InternalError", format!("{name} did not start within {} s", PATIENCE.as_secs()))),
        };
        api.progress.end(&name, verdict);
    });
}

async fn start(api: &LambdaApi, name: &str) -> Result<(), (&'static str, String)> {
    for _ in 0..TRIES {
        let function = match api.invoker.deployments().resolve(name).await {
            Ok(function) => function,
            Err(ResolveError::NotFound(_)) => return Ok(()),
            Err(ResolveError::Broken { reason, .. }) => return Err(("InvalidConfiguration", reason)),
        };
        match api.invoker.environments().warm(&function).await {
            Ok(()) | Err(AcquireError::Start(StartError::Init(_)) | AcquireError::Throttled { .. }) => {
                return Ok(());
            }
            // It was changed once more.
            Err(AcquireError::Retired) => {}
            Err(error @ AcquireError::NoPython(_)) => return Err(("InvalidRuntime", error.to_string())),
            Err(error) => return Err(("InternalError", error.to_string())),
        }
    }
    Ok(())
}

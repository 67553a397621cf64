//! The web console: its pages, and read-only views and streams for them, one file per subject.
//!
//! It acts through the Lambda API, as boto3 and the AWS CLI do; what it has beyond that is in
//! `docs/console-api.md`. The pages are built from `console/` and carried in the binary.

mod assets;
mod changes;
mod check;
mod code;
mod error;
mod invocations;
mod logs;
mod metrics;
mod overview;
mod sent;
mod test_events;
mod triggers;

use std::sync::Arc;

use tokio::sync::watch;

use crate::config::Settings;
use crate::control_plane::Routes;
use crate::deployment::Deployment;
use crate::interpreter::Interpreters;
use crate::invoker::Invoker;

/// A cheap handle.
#[derive(Clone)]
pub struct Console(Arc<Surroundings>);

/// What the console looks at.
pub struct Surroundings {
    pub invoker: Invoker,
    pub interpreters: Arc<Interpreters>,
    pub settings: Settings,
    /// `http://127.0.0.1:3000`, where the gateway listens.
    pub http_url: String,
    /// What is deployed, as it changes.
    pub deployment: watch::Receiver<Arc<Deployment>>,
    /// True when the gateway stops: streams end then.
    pub stop: watch::Receiver<bool>,
}

impl Console {
    pub fn new(surroundings: Surroundings) -> Self {
        Self(Arc::new(surroundings))
    }

    pub fn routes(self) -> Routes {
        Routes::new()
            .merge(assets::routes())
            .merge(changes::routes())
            .merge(check::routes())
            .merge(code::routes())
            .merge(invocations::routes())
            .merge(logs::routes())
            .merge(metrics::routes())
            .merge(overview::routes())
            .merge(test_events::routes())
            .merge(triggers::routes())
            .with_state(self)
    }
}

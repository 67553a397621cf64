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
mod stream;
mod test_events;
mod triggers;

use std::sync::Arc;

use axum::response::Response;
use http::HeaderValue;
use http::header::{self, HeaderName};
use tokio::sync::watch;

use error::ViewError;

use crate::config::Settings;
use crate::control_plane::Routes;
use crate::defences;
use crate::deployment::Deployment;
use crate::function::Function;
use crate::interpreter::Interpreters;
use crate::invoker::Invoker;

pub type Describe = Arc<dyn Fn(&Function) -> serde_json::Value + Send + Sync>;

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
    /// A function as the Lambda API tells of it. Takes its time: not for the thread that serves everybody.
    pub describe: Describe,
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
            .layer(axum::middleware::map_response(protect))
            .with_state(self)
    }
}

/// What the pages may load and do: nothing but our own. Views are data, and no browser is to take one
/// for a page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' \
                      data:; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PROTECTION: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

async fn protect(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in PROTECTION.into_iter().filter(|_| !defences::off("headers-of-pages")) {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Views are true when they are asked for; the pages say otherwise.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Work that is too long for the thread that serves everybody.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ViewError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        ViewError::new(http::StatusCode::INTERNAL_SERVER_ERROR, format!("a bug in handlerd: {error}"))
    })
}

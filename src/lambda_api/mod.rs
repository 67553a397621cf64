//! The Lambda API, for boto3 and the aws CLI with `--endpoint-url`: one file per resource.
//!
//! On loopback it asks for no credentials, but only programs may use it: see `control_plane`.

mod account;
mod aliases;
mod concurrency;
mod error;
mod event_invoke;
mod event_source_mappings;
mod function_url;
mod functions;
mod invoke;
mod layers;
mod name;
mod operations;
mod page;
mod policy;
mod provisioned;
mod queue;
mod request;
mod runtime;
mod streaming;
mod tags;
mod to_its_end;
mod versions;

use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use tokio::sync::Semaphore;

use crate::aws;
use crate::control_plane::Routes;
use crate::control_plane::Scope::{Invoke, Open};
use crate::function::Function;
use crate::invoker::Invoker;
use crate::store::StoreError;

use error::ApiError;
use functions::{Links, Progress, Uploads};

/// Finds out what `Runtime` a function has that does not say.
pub type RuntimeOf = Arc<dyn Fn(&Function) -> String + Send + Sync>;

/// A version of a function as a FunctionConfiguration.
pub type Describe = Arc<dyn Fn(&Function) -> serde_json::Value + Send + Sync>;

#[derive(Clone)]
pub struct LambdaApi {
    invoker: Invoker,
    /// `http://127.0.0.1:3000`, where the gateway listens.
    gateway: String,
    runtime_of: RuntimeOf,
    health: Arc<dyn Fn() -> serde_json::Value + Send + Sync>,
    /// For code that lies in a bucket.
    aws: aws::Client,
    uploads: Arc<Uploads>,
    progress: Arc<Progress>,
    links: Arc<Links>,
    /// Requests that carry code are large: not too many of them are held at once.
    uploading: Arc<Semaphore>,
}

/// So many requests with code are read and unpacked at once; the others wait.
const UPLOADS: usize = 4;

impl LambdaApi {
    pub async fn open(
        invoker: Invoker,
        aws: aws::Client,
        gateway: String,
        runtime_of: RuntimeOf,
        health: Arc<dyn Fn() -> serde_json::Value + Send + Sync>,
    ) -> Result<Self, StoreError> {
        let uploads = Arc::new(Uploads::open(invoker.store()).await?);
        let (progress, links) = (Arc::default(), Arc::new(Links::new()));
        let uploading = Arc::new(Semaphore::new(UPLOADS));
        Ok(Self { invoker, gateway, runtime_of, health, aws, uploads, progress, links, uploading })
    }

    /// Absolute.
    fn state_dir(&self) -> PathBuf {
        let folder = &self.invoker.deployments().sources().state_dir;
        std::path::absolute(folder).unwrap_or_else(|_| folder.clone())
    }

    /// For those who show functions elsewhere. It may look at the disk for a Python.
    pub fn describe(&self) -> Describe {
        let api = self.clone();
        Arc::new(move |function| functions::describe(&api, function, &api.invoker.account().region, None))
    }

    pub fn routes(self) -> Routes {
        Routes::new()
            .merge(account::routes())
            .merge(aliases::routes())
            .merge(concurrency::routes())
            .merge(event_invoke::routes())
            .merge(event_source_mappings::routes())
            .merge(function_url::routes())
            .merge(functions::routes())
            .merge(layers::routes())
            .merge(policy::routes())
            .merge(provisioned::routes())
            .merge(runtime::routes())
            .merge(queue::routes())
            .merge(tags::routes())
            .merge(versions::routes())
            .layer(axum::middleware::from_fn(to_its_end::to_its_end))
            .at("/2015-03-31/functions/{name}/invocations")
            .post(Invoke, invoke::invoke)
            .at("/2014-11-13/functions/{name}/invoke-async")
            .post(Invoke, invoke::invoke_async)
            .at("/2014-11-13/functions/{name}/invoke-async/")
            .post(Invoke, invoke::invoke_async)
            .at("/2021-11-15/functions/{name}/response-streaming-invocations")
            .post(Invoke, streaming::invoke)
            .at("/health")
            .get(Open, health)
            .at("/health/live")
            .get(Open, live)
            .at("/health/ready")
            .get(Open, ready)
            .with_state(self)
    }

    /// The region that the caller signed for, as on AWS, where each region has its own endpoint.
    fn region(&self, headers: &HeaderMap) -> String {
        signed_region(headers).unwrap_or(&self.invoker.account().region).to_owned()
    }
}

/// `AWS4-HMAC-SHA256 Credential=ID/20261122/eu-west-1/lambda/aws4_request, ...`
fn signed_region(headers: &HeaderMap) -> Option<&str> {
    let authorization = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    let scope = authorization.split("Credential=").nth(1)?.split(',').next()?;
    let region = scope.split('/').nth(2)?;
    let valid = !region.is_empty() && region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    valid.then_some(region)
}

async fn health(State(api): State<LambdaApi>) -> axum::Json<serde_json::Value> {
    axum::Json((api.health)())
}

/// That it answers is all that is asked.
async fn live() -> &'static str {
    "live\n"
}

/// Whether requests should be sent here: not while this program ends, nor without a store.
async fn ready(State(api): State<LambdaApi>) -> (http::StatusCode, String) {
    let health = (api.health)();
    let wrong = ["status", "store"].into_iter().find(|part| health[part] != "ok");
    match wrong.map(|part| (part, health[part].as_str().unwrap_or_default())) {
        None => (http::StatusCode::OK, "ready\n".to_owned()),
        Some(("store", trouble)) => {
            (http::StatusCode::SERVICE_UNAVAILABLE, format!("not ready: the store: {trouble}\n"))
        }
        Some((_, status)) => (http::StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {status}\n")),
    }
}

/// Answers what is no route of the control plane.
pub async fn unknown(request: axum::extract::Request) -> Response {
    let name = operations::name(request.method().as_str(), request.uri().path());
    ApiError::NotImplemented(name).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_region_of_a_signature() {
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("authorization", value.parse().unwrap());
            signed_region(&headers).map(str::to_owned)
        };
        let signature =
            "AWS4-HMAC-SHA256 Credential=AKID/20261122/eu-west-1/lambda/aws4_request, SignedHeaders=host";
        assert_eq!(with(signature).as_deref(), Some("eu-west-1"));
        assert_eq!(with("Bearer x"), None);
        assert_eq!(with("AWS4-HMAC-SHA256 Credential=AKID/2026/ev il/x"), None);
        assert_eq!(signed_region(&HeaderMap::new()), None);
    }
}

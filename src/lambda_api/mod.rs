//! The Lambda API, for boto3 and the aws CLI with `--endpoint-url`: one file per resource.
//!
//! On loopback it asks for no credentials, but only programs may use it: see `guard`.

mod error;
mod functions;
mod guard;
mod invoke;
mod name;
mod streaming;

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use http::HeaderMap;

use crate::function::Function;
use crate::invoker::Invoker;

use error::ApiError;

/// Finds out what `Runtime` a function has that does not say.
pub type RuntimeOf = Arc<dyn Fn(&Function) -> String + Send + Sync>;

#[derive(Clone)]
pub struct LambdaApi {
    invoker: Invoker,
    runtime_of: RuntimeOf,
    health: Arc<dyn Fn() -> serde_json::Value + Send + Sync>,
}

impl LambdaApi {
    pub fn new(
        invoker: Invoker,
        runtime_of: RuntimeOf,
        health: Arc<dyn Fn() -> serde_json::Value + Send + Sync>,
    ) -> Self {
        Self { invoker, runtime_of, health }
    }

    pub fn service(self, port: u16) -> Router {
        Router::new()
            .route("/2015-03-31/functions", get(functions::list))
            .route("/2015-03-31/functions/", get(functions::list))
            .route("/2015-03-31/functions/{name}", get(functions::get))
            .route("/2015-03-31/functions/{name}/configuration", get(functions::configuration))
            .route("/2015-03-31/functions/{name}/invocations", post(invoke::invoke))
            .route("/2021-11-15/functions/{name}/response-streaming-invocations", post(streaming::invoke))
            .route("/health", get(health))
            .fallback(unknown)
            .method_not_allowed_fallback(unknown)
            // The outermost layer: nothing is looked at before it has passed.
            .layer(axum::middleware::from_fn_with_state(guard::Guard::new(port), guard::guard))
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

async fn unknown(request: axum::extract::Request) -> Result<Infallible, ApiError> {
    Err(ApiError::NotImplemented(format!("{} {}", request.method(), request.uri().path())))
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

//! `GET /2016-08-19/account-settings`: limits and usage.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::LambdaApi;
use super::functions::Uploads;
use crate::control_plane::Routes;
use crate::control_plane::Scope::Read;
use crate::deployment::{Deployed, Deployment};

/// What all functions together may do at once on AWS, and what must be left for those without a
/// reservation.
pub const CONCURRENCY: u32 = 1000;
pub const UNRESERVED: u32 = 100;

pub fn routes() -> Routes<LambdaApi> {
    Routes::new()
        .at("/2016-08-19/account-settings")
        .get(Read, settings)
        .at("/2016-08-19/account-settings/")
        .get(Read, settings)
}

async fn settings(State(api): State<LambdaApi>) -> Json<Value> {
    let deployment = api.invoker.deployments().current();
    let mut size = 0;
    for function in deployment.functions.values().filter_map(Deployed::function) {
        let versions = api.invoker.published().versions(function.name.as_str());
        for function in std::iter::once(function).chain(&versions) {
            let upload = api.uploads.of(function);
            size += Uploads::describe(upload.as_ref(), function).1.as_u64().unwrap_or_default();
        }
    }
    Json(json!({
        "AccountLimit": {
            "TotalCodeSize": 80_530_636_800_u64,
            "CodeSizeUnzipped": 262_144_000,
            "CodeSizeZipped": 52_428_800,
            "ConcurrentExecutions": CONCURRENCY,
            "UnreservedConcurrentExecutions": CONCURRENCY.saturating_sub(reserved(&deployment, None)),
        },
        "AccountUsage": {"TotalCodeSize": size, "FunctionCount": deployment.functions.len()},
    }))
}

/// What functions have reserved, all but one.
pub fn reserved(deployment: &Deployment, but: Option<&str>) -> u32 {
    let others = deployment.attached.iter().filter(|(name, _)| Some(name.as_str()) != but);
    others.filter_map(|(_, attached)| attached.reserved_concurrency).fold(0, u32::saturating_add)
}

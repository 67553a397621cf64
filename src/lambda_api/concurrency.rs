//! `.../concurrency`: how much of a function may run at once, kept as `ReservedConcurrentExecutions`
//! in `function.yaml`.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::account::{CONCURRENCY, UNRESERVED, reserved};
use super::error::ApiError;
use super::functions::edit_error;
use super::name::{self, Named};
use super::{LambdaApi, request};
use crate::control_plane::Routes;
use crate::control_plane::Scope::{Deploy, Read};

pub fn routes() -> Routes<LambdaApi> {
    Routes::new()
        .at("/2017-10-31/functions/{name}/concurrency")
        .put(Deploy, put)
        .delete(Deploy, delete)
        .at("/2019-09-30/functions/{name}/concurrency")
        .get(Read, get)
}

#[derive(Debug, Deserialize)]
struct Put {
    #[serde(rename = "ReservedConcurrentExecutions")]
    reserved: Option<i64>,
}

async fn put(
    State(api): State<LambdaApi>,
    Path(path): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let asked: Put = request::json(body, "PutFunctionConcurrency").await?;
    let named = function(&api, &headers, &path)?;
    let Some(wanted) = asked.reserved else {
        return Err(ApiError::Validation(
            "1 validation error detected: Value null at 'reservedConcurrentExecutions' failed to satisfy constraint: \
             Member must not be null"
                .to_owned(),
        ));
    };
    request::check_range(wanted, "reservedConcurrentExecutions", 0, i64::from(i32::MAX))?;
    let others = reserved(&api.invoker.deployments().current(), Some(&named.name));
    let available = i64::from(CONCURRENCY.saturating_sub(UNRESERVED).saturating_sub(others));
    if wanted > available {
        return Err(ApiError::InvalidParameter(format!(
            "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below \
             its minimum value of [{UNRESERVED}]."
        )));
    }
    write(&api, &named, Some(wanted.into())).await?;
    Ok(Json(json!({"ReservedConcurrentExecutions": wanted})))
}

async fn get(
    State(api): State<LambdaApi>,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let named = function(&api, &headers, &path)?;
    let deployment = api.invoker.deployments().current();
    let attached = deployment.attached.get(named.name.as_str());
    Ok(Json(match attached.and_then(|attached| attached.reserved_concurrency) {
        Some(reserved) => json!({"ReservedConcurrentExecutions": reserved}),
        None => json!({}),
    }))
}

async fn delete(
    State(api): State<LambdaApi>,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let named = function(&api, &headers, &path)?;
    write(&api, &named, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn write(api: &LambdaApi, named: &Named, value: Option<Value>) -> Result<(), ApiError> {
    let properties = vec![("ReservedConcurrentExecutions", value)];
    let written = api.invoker.deployments().set_properties(&named.name, properties).await;
    written.map_err(|error| edit_error(error, named))
}

fn function(api: &LambdaApi, headers: &HeaderMap, path: &str) -> Result<Named, ApiError> {
    let named = name::parse(api, headers, path, None)?;
    if named.qualifier.is_some() {
        return Err(ApiError::InvalidParameter(
            "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. \
             Please specify either a function name or an unqualified function ARN."
                .to_owned(),
        ));
    }
    match request::exists(api, &named) {
        true => Ok(named),
        false => Err(ApiError::FunctionNotFound { arn: format!("{}:$LATEST", named.arn) }),
    }
}

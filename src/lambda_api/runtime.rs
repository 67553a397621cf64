//! What else a function is set to: `recursion-config`, kept in `function.yaml`;
//! `runtime-management-config`, kept in the store; and `code-signing-config`, which there is none of.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::ApiError;
use super::functions::{edit_error, runtime_version_arn};
use super::request::{self, Qualified, check_choice};
use super::{LambdaApi, name};
use crate::control_plane::Routes;
use crate::control_plane::Scope::{Deploy, Read};
use crate::function::{LATEST, RecursiveLoop};
use crate::store::Key;

pub const RUNTIME_MANAGEMENT: &str = "runtime-management-config";

pub fn routes() -> Routes<LambdaApi> {
    Routes::new()
        .at("/2024-08-31/functions/{name}/recursion-config")
        .get(Read, recursion)
        .put(Deploy, put_recursion)
        .at("/2021-07-20/functions/{name}/runtime-management-config")
        .get(Read, management)
        .put(Deploy, put_management)
        .at("/2020-06-30/functions/{name}/code-signing-config")
        .get(Read, signing)
        .put(Deploy, put_signing)
        .delete(Deploy, delete_signing)
}

#[derive(Debug, Deserialize)]
struct Recursion {
    #[serde(rename = "RecursiveLoop")]
    recursive_loop: Option<String>,
}

async fn recursion(
    State(api): State<LambdaApi>,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let named = request::function(&api, &headers, &path, None)?;
    let deployment = api.invoker.deployments().current();
    let attached = deployment.attached.get(named.name.as_str());
    let allowed = attached.is_some_and(|attached| attached.recursive_loop == RecursiveLoop::Allow);
    Ok(Json(json!({"RecursiveLoop": if allowed { "Allow" } else { "Terminate" }})))
}

async fn put_recursion(
    State(api): State<LambdaApi>,
    Path(path): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let asked: Recursion = request::json(body, "PutFunctionRecursionConfig").await?;
    let named = request::function(&api, &headers, &path, None)?;
    let wanted = required(asked.recursive_loop, "recursiveLoop")?;
    check_choice(&wanted, "recursiveLoop", &["Allow", "Terminate"])?;
    let property = Some(wanted.as_str()).filter(|wanted| *wanted == "Allow").map(Value::from);
    let written =
        api.invoker.deployments().set_properties(&named.name, vec![("RecursiveLoop", property)]).await;
    written.map_err(|error| edit_error(error, &named))?;
    Ok(Json(json!({"RecursiveLoop": wanted})))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Management {
    update_runtime_on: Option<String>,
    runtime_version_arn: Option<String>,
}

async fn management(
    State(api): State<LambdaApi>,
    Path(path): Path<String>,
    Query(query): Query<Qualified>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let named = request::function(&api, &headers, &path, query.qualifier.as_deref())?;
    let qualifier = named.qualifier.clone().unwrap_or_else(|| LATEST.to_owned());
    let key = Key { kind: RUNTIME_MANAGEMENT, owner: &named.name, name: &qualifier };
    let kept = api.invoker.store().resource(key).await?;
    let mode = kept.as_ref().and_then(|kept| kept["UpdateRuntimeOn"].as_str()).unwrap_or("Auto").to_owned();
    let version = kept.as_ref().map(|kept| kept["RuntimeVersionArn"].clone()).unwrap_or_default();
    Ok(Json(json!({
        "UpdateRuntimeOn": mode,
        "FunctionArn": format!("{}:{qualifier}", named.arn),
        "RuntimeVersionArn": version,
    })))
}

async fn put_management(
    State(api): State<LambdaApi>,
    Path(path): Path<String>,
    Query(query): Query<Qualified>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let asked: Management = request::json(body, "PutRuntimeManagementConfig").await?;
    let named = request::function(&api, &headers, &path, query.qualifier.as_deref())?;
    let qualifier = named.qualifier.clone().unwrap_or_else(|| LATEST.to_owned());
    let mode = required(asked.update_runtime_on, "updateRuntimeOn")?;
    check_choice(&mode, "updateRuntimeOn", &["Auto", "Manual", "FunctionUpdate"])?;
    match (mode.as_str(), &asked.runtime_version_arn) {
        ("Manual", None) => {
            let text = "RuntimeVersionArn is required when UpdateRuntimeOn is set to Manual.";
            return Err(ApiError::InvalidParameter(text.to_owned()));
        }
        ("Manual", Some(arn)) => {
            let function = api.invoker.resolve(&named.target()).await;
            let function = function.map_err(|error| ApiError::of(error, named.arn.clone()))?;
            let own = runtime_version_arn(&api.region(&headers), &(api.runtime_of)(&function));
            if *arn != own {
                return Err(ApiError::InvalidParameter(format!(
                    "Runtime version {arn} is not on this machine; its own is {own}."
                )));
            }
        }
        (_, Some(_)) => {
            let text = "RuntimeVersionArn can only be set when UpdateRuntimeOn is set to Manual.";
            return Err(ApiError::InvalidParameter(text.to_owned()));
        }
        (_, None) => {}
    }
    let document = json!({"UpdateRuntimeOn": mode, "RuntimeVersionArn": asked.runtime_version_arn});
    let key = Key { kind: RUNTIME_MANAGEMENT, owner: &named.name, name: &qualifier };
    api.invoker.store().put_resource(key, document).await?;
    Ok(Json(json!({
        "UpdateRuntimeOn": mode,
        "FunctionArn": format!("{}:{qualifier}", named.arn),
        "RuntimeVersionArn": asked.runtime_version_arn,
    })))
}

/// None: tools ask whether there is one.
async fn signing(
    State(api): State<LambdaApi>,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let named = unqualified(&api, &headers, &path)?;
    Ok(Json(json!({"CodeSigningConfigArn": "", "FunctionName": named})))
}

async fn put_signing(
    State(api): State<LambdaApi>,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    unqualified(&api, &headers, &path)?;
    Err(ApiError::NotImplemented(
        "PutFunctionCodeSigningConfig: signatures of code are not checked".to_owned(),
    ))
}

async fn delete_signing(
    State(api): State<LambdaApi>,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    unqualified(&api, &headers, &path)?;
    Ok(StatusCode::NO_CONTENT)
}

fn unqualified(api: &LambdaApi, headers: &HeaderMap, path: &str) -> Result<String, ApiError> {
    let named = name::parse(api, headers, path, None)?;
    match request::exists(api, &named) {
        true => Ok(named.name),
        false => Err(ApiError::FunctionNotFound { arn: named.arn }),
    }
}

fn required(value: Option<String>, field: &str) -> Result<String, ApiError> {
    value.ok_or_else(|| {
        ApiError::Validation(format!(
            "1 validation error detected: Value null at '{field}' failed to satisfy constraint: Member must not be null"
        ))
    })
}

//! `/2019-09-30/functions/NAME/provisioned-concurrency`: how many environments of a version are kept
//! ready.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::LambdaApi;
use super::error::ApiError;
use super::name::Named;
use super::page::Page;
use super::request::{self, Qualified};
use crate::control_plane::Routes;
use crate::control_plane::Scope::{Deploy, Read};
use crate::function::{LATEST, Version};
use crate::published::Provision;

/// Environments that must be left for what is not provisioned.
const UNRESERVED: usize = 1;

pub fn routes() -> Routes<LambdaApi> {
    Routes::new()
        .at("/2019-09-30/functions/{name}/provisioned-concurrency")
        .put(Deploy, put)
        .get(Read, get)
        .delete(Deploy, delete)
}

#[derive(Deserialize)]
struct Put {
    #[serde(rename = "ProvisionedConcurrentExecutions")]
    executions: Option<i64>,
}

async fn put(
    State(api): State<LambdaApi>,
    Path(name): Path<String>,
    Query(query): Query<Qualified>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let asked: Put = request::json(body, "PutProvisionedConcurrencyConfig").await?;
    let executions = asked.executions.ok_or_else(|| {
        ApiError::Validation(
            "1 validation error detected: Value null at 'provisionedConcurrentExecutions' failed to satisfy constraint: \
             Member must not be null"
                .to_owned(),
        )
    })?;
    request::check_range(executions, "provisionedConcurrentExecutions", 1, i64::from(u32::MAX))?;
    let (named, qualifier) = find(&api, &headers, &name, query.qualifier.as_deref())?;
    check_alone(&api, &named, &qualifier)?;
    check_room(&api, &named, &qualifier, executions as u32)?;
    let provision = api.invoker.published().provision(&named.name, &qualifier, executions as u32).await?;
    let answer = json!({
        "RequestedProvisionedConcurrentExecutions": provision.requested,
        "AvailableProvisionedConcurrentExecutions": 0,
        "AllocatedProvisionedConcurrentExecutions": 0,
        "Status": "IN_PROGRESS",
        "LastModified": last_modified(&provision),
    });
    Ok((StatusCode::ACCEPTED, Json(answer)).into_response())
}

/// A published version, or an alias of one.
fn find(
    api: &LambdaApi,
    headers: &HeaderMap,
    name: &str,
    qualifier: Option<&str>,
) -> Result<(Named, String), ApiError> {
    let named = request::function(api, headers, name, qualifier)?;
    let unpublished = || {
        let message = "Provisioned Concurrency Configs cannot be applied to unpublished function versions.";
        ApiError::InvalidParameter(message.to_owned())
    };
    let qualifier =
        named.qualifier.clone().filter(|qualifier| qualifier != LATEST).ok_or_else(unpublished)?;
    if !api.invoker.published().has(&named.name, &qualifier) {
        return Err(match qualifier.parse::<Version>() {
            Ok(_) => ApiError::FunctionNotFound { arn: named.invoked_arn() },
            Err(_) => ApiError::NotFound(format!("Cannot find alias arn: {}", named.invoked_arn())),
        });
    }
    match api.invoker.published().alias(&named.name, &qualifier) {
        Some(alias) if alias.version == Version::Latest => Err(unpublished()),
        _ => Ok((named, qualifier)),
    }
}

/// A version has its environments for itself or for its aliases, not for both.
fn check_alone(api: &LambdaApi, named: &Named, qualifier: &str) -> Result<(), ApiError> {
    let published = api.invoker.published();
    let provisions = published.provisions(&named.name);
    let leads_to = |alias: &str| -> Vec<String> {
        let shares = published.shares(&named.name, alias, 1);
        shares.into_iter().map(|(version, _)| version.to_string()).collect()
    };
    match qualifier.parse::<Version>() {
        Err(_) if leads_to(qualifier).iter().any(|version| provisions.contains_key(version)) => {
            Err(request::conflict(
                "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version",
            ))
        }
        Ok(_) => {
            let aliases = published.aliases(&named.name);
            let provisioned = aliases.iter().filter(|alias| provisions.contains_key(&alias.name));
            match provisioned.into_iter().any(|alias| leads_to(&alias.name).iter().any(|to| to == qualifier))
            {
                true => Err(request::conflict("Version is pointed by a Provisioned Concurrency alias")),
                false => Ok(()),
            }
        }
        Err(_) => Ok(()),
    }
}

fn check_room(api: &LambdaApi, named: &Named, qualifier: &str, wanted: u32) -> Result<(), ApiError> {
    let published = api.invoker.published();
    let others = |function: &str| -> usize {
        let provisions = published.provisions(function);
        let others = provisions.iter().filter(|(other, _)| function != named.name || *other != qualifier);
        others.map(|(_, provision)| provision.requested as usize).sum()
    };
    let deployment = api.invoker.deployments().current();
    let own = others(&named.name) + wanted as usize;
    let attached = deployment.attached.get(named.name.as_str());
    if let Some(reserved) = attached.and_then(|attached| attached.reserved_concurrency)
        && own > reserved as usize
    {
        let message = "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function";
        return Err(ApiError::InvalidParameter(message.to_owned()));
    }
    let of_others: usize = deployment
        .functions
        .keys()
        .filter(|name| name.as_str() != named.name)
        .map(|name| others(name.as_str()))
        .sum();
    if own + of_others + UNRESERVED > api.invoker.limits().concurrency {
        return Err(ApiError::InvalidParameter(format!(
            "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its \
             minimum value of [{UNRESERVED}]."
        )));
    }
    Ok(())
}

#[derive(Deserialize)]
struct List {
    #[serde(rename = "List")]
    list: Option<String>,
}

async fn get(
    State(api): State<LambdaApi>,
    Path(name): Path<String>,
    Query(query): Query<Qualified>,
    Query(list): Query<List>,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    if list.list.as_deref() == Some("ALL") {
        let named = request::function(&api, &headers, &name, None)?;
        let provisions: Vec<(String, Provision)> =
            api.invoker.published().provisions(&named.name).into_iter().collect();
        let (provisions, next) = page.of(provisions, |(qualifier, _)| qualifier.clone())?;
        let entry = |(qualifier, provision): &(String, Provision)| {
            let mut entry = described(&api, &named, qualifier, provision);
            entry["FunctionArn"] = format!("{}:{qualifier}", named.arn).into();
            entry
        };
        let entries: Vec<Value> = provisions.iter().map(entry).collect();
        let mut answer = json!({"ProvisionedConcurrencyConfigs": entries});
        if let Some(next) = next {
            answer["NextMarker"] = next.into();
        }
        return Ok(Json(answer));
    }
    let (named, qualifier) = find(&api, &headers, &name, query.qualifier.as_deref())?;
    match api.invoker.published().provisions(&named.name).get(&qualifier) {
        Some(provision) => Ok(Json(described(&api, &named, &qualifier, provision))),
        None => Err(ApiError::Exception {
            status: StatusCode::NOT_FOUND,
            code: "ProvisionedConcurrencyConfigNotFoundException",
            message: "No Provisioned Concurrency Config found for this function".to_owned(),
        }),
    }
}

async fn delete(
    State(api): State<LambdaApi>,
    Path(name): Path<String>,
    Query(query): Query<Qualified>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let (named, qualifier) = find(&api, &headers, &name, query.qualifier.as_deref())?;
    api.invoker.published().unprovision(&named.name, &qualifier).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What is asked for, and what of it there is.
fn described(api: &LambdaApi, named: &Named, qualifier: &str, provision: &Provision) -> Value {
    let found = api.invoker.provisioned(&named.name, qualifier, provision.requested);
    let is_ready = found.ready >= provision.requested as usize;
    let status = match &found.failure {
        _ if is_ready => "READY",
        Some(_) => "FAILED",
        None => "IN_PROGRESS",
    };
    let mut described = json!({
        "RequestedProvisionedConcurrentExecutions": provision.requested,
        "AvailableProvisionedConcurrentExecutions": found.ready,
        "AllocatedProvisionedConcurrentExecutions": found.ready,
        "Status": status,
        "LastModified": last_modified(provision),
    });
    if let Some((in_init, reason)) = found.failure.filter(|_| !is_ready) {
        described["StatusReason"] = match in_init {
            true => "FUNCTION_ERROR_INIT_FAILURE".into(),
            false => reason.into(),
        };
    }
    described
}

/// To the second, unlike all others.
fn last_modified(provision: &Provision) -> String {
    let time = jiff::Timestamp::from_millisecond(provision.modified_ms as i64).unwrap_or_default();
    time.to_zoned(jiff::tz::TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S+0000").to_string()
}

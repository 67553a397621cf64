//! `/2015-03-31/functions/NAME/versions`: publishing, and what has been published.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::LambdaApi;
use super::error::ApiError;
use super::functions::describe;
use super::name::Named;
use super::page::Page;
use super::request::{self, check_length};
use crate::control_plane::Routes;
use crate::control_plane::Scope::{Deploy, Read};
use crate::deployment::Deployed;
use crate::function::{LATEST, Version};
use crate::published::{DeleteError, PublishError};

/// How often code that changes while it is copied is looked at again.
const TRIES: usize = 5;

pub fn routes() -> Routes<LambdaApi> {
    Routes::new().at("/2015-03-31/functions/{name}/versions").get(Read, list).post(Deploy, publish)
}

#[derive(Deserialize)]
struct Publish {
    #[serde(rename = "CodeSha256")]
    code_sha256: Option<String>,
    #[serde(rename = "Description")]
    description: Option<String>,
    #[serde(rename = "RevisionId")]
    revision_id: Option<String>,
}

async fn publish(
    State(api): State<LambdaApi>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let asked: Publish = request::json(body, "PublishVersion").await?;
    let named = request::function(&api, &headers, &name, None)?;
    if let Some(description) = &asked.description {
        check_length(description, "description", 256)?;
    }
    let region = api.region(&headers);
    for attempt in 1.. {
        let resolved = api.invoker.deployments().resolve(&named.name).await;
        let function = resolved.map_err(|error| ApiError::of(error.into(), named.arn.clone()))?;
        let latest = describe(&api, &function, &region, None);
        check_guards(&asked, &latest)?;
        match api.invoker.published().publish(&function, asked.description.as_deref()).await {
            Ok(version) => {
                let qualifier = version.version.to_string();
                api.invoker.take_snapshot(&version);
                let described = describe(&api, &version, &region, Some(&qualifier));
                return Ok((StatusCode::CREATED, Json(described)));
            }
            Err(PublishError::Changing(_)) if attempt < TRIES => {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            Err(error) => return Err(not_published(error)),
        }
    }
    unreachable!("the last attempt returns")
}

fn check_guards(asked: &Publish, latest: &Value) -> Result<(), ApiError> {
    let now = latest["CodeSha256"].as_str().unwrap_or_default();
    if let Some(sha256) = asked.code_sha256.as_deref().filter(|sha256| !sha256.is_empty() && *sha256 != now) {
        return Err(ApiError::InvalidParameter(format!(
            "CodeSHA256 ({sha256}) is different from current CodeSHA256 in $LATEST ({now}). Please try again with the \
             CodeSHA256 in $LATEST."
        )));
    }
    match &asked.revision_id {
        Some(revision) if latest["RevisionId"] != revision.as_str() => {
            Err(request::outdated("GetFunction/GetAlias"))
        }
        _ => Ok(()),
    }
}

/// Why there is no new version.
pub fn not_published(error: PublishError) -> ApiError {
    match error {
        PublishError::Changing(_) => ApiError::Conflict(format!(
            "The operation cannot be performed at this time. {error}; try again when it has come to rest"
        )),
        PublishError::Copy { .. } | PublishError::Store(_) => ApiError::Store(error.to_string()),
    }
}

async fn list(
    State(api): State<LambdaApi>,
    Path(name): Path<String>,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let named = request::function(&api, &headers, &name, None)?;
    let region = api.region(&headers);
    let deployment = api.invoker.deployments().current();
    let latest = deployment.functions.get(named.name.as_str()).and_then(Deployed::function).cloned();
    let versions: Vec<_> = latest.into_iter().chain(api.invoker.published().versions(&named.name)).collect();
    let (versions, next) = page.of(versions, |function| function.version.to_string())?;
    let described: Vec<Value> = versions
        .iter()
        .map(|function| {
            let mut entry = describe(&api, function, &region, Some(&function.version.to_string()));
            if let Some(entry) = entry.as_object_mut() {
                entry.retain(|name, _| !name.starts_with("State") && !name.starts_with("LastUpdateStatus"));
            }
            entry
        })
        .collect();
    let mut answer = json!({"Versions": described});
    if let Some(next) = next {
        answer["NextMarker"] = next.into();
    }
    Ok(Json(answer))
}

/// DeleteFunction with a qualifier.
pub async fn delete(api: &LambdaApi, named: &Named) -> Result<StatusCode, ApiError> {
    let qualifier = named.qualifier.as_deref().unwrap_or(LATEST);
    if !request::exists(api, named) {
        return Err(ApiError::FunctionNotFound { arn: named.arn.clone() });
    }
    let number = match qualifier.parse::<Version>() {
        Ok(Version::Number(number)) => number,
        Ok(Version::Latest) => {
            let message = "$LATEST version cannot be deleted without deleting the function.";
            return Err(ApiError::InvalidParameter(message.to_owned()));
        }
        Err(_) => {
            let message = "Deletion of aliases is not currently supported.";
            return Err(ApiError::InvalidParameter(message.to_owned()));
        }
    };
    match api.invoker.published().delete_version(&named.name, number).await {
        // Whether there was one or not.
        Ok(_) => Ok(StatusCode::NO_CONTENT),
        Err(DeleteError::Referenced(aliases)) => Err(request::conflict(format!(
            "Unable to delete version because the following aliases reference it: [{}]",
            aliases.join(", ")
        ))),
        Err(DeleteError::Store(error)) => Err(error.into()),
    }
}

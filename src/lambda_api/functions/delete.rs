//! DeleteFunction: the function with all that belongs to it, or one version.
//!
//! The folder is not destroyed: it lies in `trash/` of the state folder, for 30 days and as long as the
//! trash is not larger than a gigabyte.

use axum::extract::{Path, Query, State};
use http::{HeaderMap, StatusCode};

use super::super::error::ApiError;
use super::super::request::Qualified;
use super::super::runtime::RUNTIME_MANAGEMENT;
use super::super::{LambdaApi, name, versions};
use super::edit_error;

pub async fn delete(
    State(api): State<LambdaApi>,
    Path(path): Path<String>,
    Query(query): Query<Qualified>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let named = name::parse(&api, &headers, &path, query.qualifier.as_deref())?;
    let deployments = api.invoker.deployments();
    if !deployments.current().functions.contains_key(named.name.as_str()) {
        return Err(ApiError::FunctionNotFound { arn: named.arn });
    }
    if named.qualifier.is_some() {
        return versions::delete(&api, &named).await;
    }
    deployments.remove(&named.name).await.map_err(|error| edit_error(error, &named))?;
    api.progress.give_up(&named.name);
    api.invoker.published().forget(&named.name).await?;
    api.invoker.forget_events(&named.name).await?;
    api.invoker.store().delete_resources(RUNTIME_MANAGEMENT, &named.name).await?;
    api.uploads.forget(api.invoker.store(), &named.name, &api.state_dir()).await?;
    Ok(StatusCode::NO_CONTENT)
}

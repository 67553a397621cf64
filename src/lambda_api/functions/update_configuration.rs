//! UpdateFunctionConfiguration: what is given changes, in `function.yaml`; the rest stays.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use http::HeaderMap;
use serde::Deserialize;
use serde_json::Value;

use super::super::error::ApiError;
use super::super::{LambdaApi, name, request};
use super::properties::Settings;
use super::validation::{self, Violations};
use super::{check_revision, describe, edit_error, latest, progress};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Update {
    revision_id: Option<String>,
    #[serde(flatten)]
    settings: Settings,
}

pub async fn update(
    State(api): State<LambdaApi>,
    Path(path): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let asked: Update = request::json(body, "UpdateFunctionConfiguration").await?;
    let named = name::parse(&api, &headers, &path, None)?;
    let region = api.region(&headers);
    let mut violations = Violations::default();
    validation::settings(&asked.settings, &mut violations);
    violations.check()?;
    validation::meaning(&api, &asked.settings, &region).await?;
    // One that cannot run as it is configured can be configured otherwise.
    let deployed = api.invoker.deployments().current().functions.get(named.name.as_str()).cloned();
    let Some(deployed) = deployed else {
        return Err(ApiError::FunctionNotFound { arn: format!("{}:$LATEST", named.arn) });
    };
    if let Some(function) = deployed.function() {
        check_revision(&api, function, asked.revision_id.as_deref())?;
    }
    api.progress.begin_update(&named.name, &named.arn)?;
    let changed = api.invoker.deployments().set_properties(&named.name, asked.settings.properties()).await;
    let described = async {
        changed.map_err(|error| edit_error(error, &named))?;
        let function = latest(&api, &named).await?;
        Ok(describe(&api, &function, &region, None))
    };
    match described.await {
        Ok(description) => {
            progress::settle(&api, &named.name);
            Ok(Json(description))
        }
        Err(error) => {
            api.progress.give_up(&named.name);
            Err(error)
        }
    }
}

//! UpdateFunctionCode: other code in the place of the former, in one step.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use http::HeaderMap;
use serde::Deserialize;
use serde_json::Value;

use super::super::error::ApiError;
use super::super::{LambdaApi, name};
use super::code::{Sent, Source};
use super::validation::Violations;
use super::{archive_error, check_revision, create, describe, edit_error, latest, progress, publish};
use crate::archive::{Limits, unpack};
use crate::deployment::Code;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Update {
    #[serde(flatten)]
    source: Source,
    publish: Option<bool>,
    dry_run: Option<bool>,
    revision_id: Option<String>,
    architectures: Option<Vec<String>>,
    publish_to: Option<Value>,
}

pub async fn update(
    State(api): State<LambdaApi>,
    Path(path): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let _turn = api.uploading.acquire().await;
    let asked: Update = create::read(body, "UpdateFunctionCode").await?;
    let named = name::parse(&api, &headers, &path, None)?;
    let region = api.region(&headers);
    let mut violations = Violations::default();
    violations.architectures(asked.architectures.as_ref());
    violations.check()?;
    if asked.publish_to.is_some_and(|to| !to.is_null()) {
        let text = "PublishTo is not supported by handlerd: there are no capacity providers. Leave it out.";
        return Err(ApiError::InvalidParameter(text.to_owned()));
    }
    let function = latest(&api, &named).await?;
    check_revision(&api, &function, asked.revision_id.as_deref())?;
    if let Some(template) = api.invoker.deployments().declared_in(&named.name) {
        let error = crate::deployment::EditError::Declared { name: named.name.clone(), template };
        return Err(edit_error(error, &named));
    }
    let handler = function.configuration.handler.clone();
    let architectures = asked
        .architectures
        .or_else(|| api.uploads.of(&function).and_then(|upload| upload.architecture).map(|name| vec![name]));
    let Sent { code, upload, zip } = asked.source.code(&api, &region, &handler, architectures).await?;
    if asked.dry_run == Some(true) {
        rehearse(&api, code).await?;
        let mut description = describe(&api, &function, &region, None);
        description["CodeSha256"] = upload.sha256.into();
        description["CodeSize"] = upload.size.into();
        return Ok(Json(description));
    }
    api.progress.begin_update(&named.name, &named.arn)?;
    let replaced = api
        .invoker
        .deployments()
        .replace_code(&named.name, code, api.uploads.foretell(&named.name, &upload))
        .await;
    let finished = async {
        replaced.map_err(|error| edit_error(error, &named))?;
        let function = latest(&api, &named).await?;
        // With `--keep-last-good` the code of before may go on: this zip is not its.
        if api.invoker.deployments().is_on_disk(&function).await {
            api.uploads.put(api.invoker.store(), &function, upload, &api.state_dir(), zip).await?;
        }
        let version = match asked.publish {
            Some(true) => Some(publish(&api, &named, None).await?),
            _ => None,
        };
        Ok((function, version))
    };
    match finished.await {
        Ok((function, version)) => {
            let mut description = describe(&api, &function, &region, None);
            if let Some(version) = version {
                description["Version"] = version.version.to_string().into();
            }
            progress::settle(&api, &named.name);
            Ok(Json(description))
        }
        Err(error) => {
            api.progress.give_up(&named.name);
            Err(error)
        }
    }
}

/// Whether it could be unpacked; nothing of it stays.
async fn rehearse(api: &LambdaApi, code: Code) -> Result<(), ApiError> {
    let Code::Zip(bytes) = code else { return Ok(()) };
    let folder = api.state_dir().join("tmp");
    let into = folder.join(format!("{}-dry-run-{}", std::process::id(), uuid::Uuid::new_v4()));
    let unpacked = tokio::task::spawn_blocking(move || {
        let _ = std::fs::create_dir_all(&folder);
        let result = unpack(&bytes, &into, Limits::LAMBDA);
        let _ = std::fs::remove_dir_all(&into);
        result
    });
    match unpacked.await {
        Ok(result) => result.map(drop).map_err(|error| archive_error(&error)),
        Err(error) => Err(ApiError::Store(format!("a bug in handlerd: {error}"))),
    }
}

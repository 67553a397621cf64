//! `GET /2015-03-31/functions...`: what is deployed.

use axum::Json;
use axum::extract::{Path, Query, State};
use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::ApiError;
use super::{LambdaApi, name};
use crate::deployment::Deployed;
use crate::function::{Function, LogFormat};

const PAGE: usize = 50;

#[derive(Deserialize)]
pub struct Page {
    #[serde(rename = "Marker")]
    marker: Option<String>,
    #[serde(rename = "MaxItems")]
    max_items: Option<String>,
}

#[derive(Deserialize)]
pub struct Qualified {
    #[serde(rename = "Qualifier")]
    qualifier: Option<String>,
}

pub async fn list(
    State(api): State<LambdaApi>,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let size = match page.max_items.as_deref().map(|text| (text, text.parse::<usize>())) {
        None => PAGE,
        Some((_, Ok(wanted @ 1..))) => wanted.min(PAGE),
        Some((text, _)) => {
            return Err(ApiError::Validation(format!(
                "1 validation error detected: Value '{text}' at 'maxItems' failed to satisfy constraint: Member must \
                 have value greater than or equal to 1"
            )));
        }
    };
    let deployment = api.invoker.deployments().current();
    let region = api.region(&headers);
    let mut after = deployment
        .functions
        .iter()
        .filter(|(name, _)| page.marker.as_deref().is_none_or(|marker| name.as_str() > marker))
        .peekable();
    let mut functions = Vec::new();
    let mut last = None;
    for (name, deployed) in after.by_ref().take(size) {
        last = Some(name.as_str());
        if let Deployed::Ready(function) = deployed {
            let mut entry = describe(&api, function, &region, None);
            for absent in ["State", "LastUpdateStatus"] {
                entry.as_object_mut().expect("an object").remove(absent);
            }
            functions.push(entry);
        }
    }
    let more = after.peek().is_some();
    let mut answer = json!({"Functions": functions});
    if let (true, Some(last)) = (more, last) {
        answer["NextMarker"] = last.into();
    }
    Ok(Json(answer))
}

pub async fn get(
    state: State<LambdaApi>,
    path: Path<String>,
    query: Query<Qualified>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let (configuration, function) = find(&state, &path, &query, &headers).await?;
    let code =
        json!({"RepositoryType": "File", "Location": format!("file://{}", function.task_root.display())});
    Ok(Json(json!({"Configuration": configuration, "Code": code})))
}

pub async fn configuration(
    state: State<LambdaApi>,
    path: Path<String>,
    query: Query<Qualified>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    find(&state, &path, &query, &headers).await.map(|(configuration, _)| Json(configuration))
}

async fn find(
    api: &LambdaApi,
    path: &str,
    query: &Qualified,
    headers: &HeaderMap,
) -> Result<(Value, std::sync::Arc<Function>), ApiError> {
    let named = name::parse(api, headers, path, query.qualifier.as_deref())?;
    named.require_latest()?;
    let resolved = api.invoker.deployments().resolve(&named.name).await;
    let function = resolved.map_err(|error| ApiError::of(error.into(), named.arn.clone()))?;
    let configuration = describe(api, &function, &api.region(headers), named.qualifier.as_deref());
    Ok((configuration, function))
}

/// A FunctionConfiguration.
fn describe(api: &LambdaApi, function: &Function, region: &str, qualifier: Option<&str>) -> Value {
    use base64::Engine;
    let configuration = &function.configuration;
    let mut arn = api.invoker.account().function_arn(region, function.name.as_str());
    if let Some(qualifier) = qualifier {
        arn = format!("{arn}:{qualifier}");
    }
    let account = &api.invoker.account().id;
    let modified = jiff::Timestamp::try_from(function.code.last_modified).unwrap_or_default();
    let modified =
        modified.to_zoned(jiff::tz::TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string();
    let mut logging = json!({"LogFormat": "Text", "LogGroup": function.log_group()});
    if configuration.logging.format == LogFormat::Json {
        logging["LogFormat"] = "JSON".into();
        logging["ApplicationLogLevel"] =
            configuration.logging.application_level.as_deref().unwrap_or("INFO").into();
        logging["SystemLogLevel"] = "INFO".into();
    }
    let mut description = json!({
        "Architectures": [if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" }],
        "CodeSha256": base64::engine::general_purpose::STANDARD.encode(function.code.sha256),
        "CodeSize": function.code.size,
        "Description": configuration.description,
        "EphemeralStorage": {"Size": 512},
        "FunctionArn": arn,
        "FunctionName": function.name.as_str(),
        "Handler": configuration.handler,
        "LastModified": modified,
        "LastUpdateStatus": "Successful",
        "LoggingConfig": logging,
        "MemorySize": configuration.memory_mb,
        "PackageType": "Zip",
        "RevisionId": revision_id(function),
        "Role": format!("arn:aws:iam::{account}:role/handlerd"),
        "Runtime": (api.runtime_of)(function),
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "State": "Active",
        "Timeout": configuration.timeout.as_secs(),
        "TracingConfig": {"Mode": "PassThrough"},
        "Version": "$LATEST",
    });
    if !configuration.environment.is_empty() {
        let variables: serde_json::Map<String, Value> = configuration
            .environment
            .iter()
            .map(|(name, value)| (name.clone(), value.clone().into()))
            .collect();
        description["Environment"] = json!({"Variables": variables});
    }
    description
}

/// Changes with code and configuration, stays over restarts.
fn revision_id(function: &Function) -> String {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    hash.update(function.code.sha256);
    hash.update(format!("{:?}", function.configuration));
    let digest = hash.finalize();
    let bytes: [u8; 16] = digest[..16].try_into().expect("a hash has 32 bytes");
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

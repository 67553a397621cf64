//! GetFunction, GetFunctionConfiguration, and the link under which the code can be downloaded.
//!
//! The link stands for the presigned URL of AWS: nobody can guess it, and it is good for ten minutes.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::super::error::ApiError;
use super::super::request::Qualified;
use super::super::{LambdaApi, name};
use super::{archive_error, describe, uploads};
use crate::archive::{Limits, pack_files};
use crate::aws::signature::same_secret;
use crate::deployment::is_configuration;
use crate::function::{Contents, Function};
use crate::hexadecimal::hex;

const VALID: Duration = Duration::from_secs(600);

/// Makes links that nobody else can make, as long as this process lives.
pub struct Links(String);

impl Links {
    pub fn new() -> Self {
        Self(format!("{}{}", uuid::Uuid::new_v4(), uuid::Uuid::new_v4()))
    }

    fn signature(&self, name: &str, version: &str, until: u64) -> String {
        // What is hashed has a fixed end, and the secret stands on both sides: nothing can be added.
        let digest = Sha256::digest(format!("{0}\n{name}\n{version}\n{until}\n{0}", self.0));
        hex(&digest)
    }

    fn allows(&self, name: &str, version: &str, link: &Link) -> bool {
        let wanted = self.signature(name, version, link.until);
        same_secret(wanted.as_bytes(), link.signature.as_bytes()) && link.until >= now()
    }
}

#[derive(Debug, Deserialize)]
pub struct Link {
    until: u64,
    signature: String,
}

pub async fn get(
    State(api): State<LambdaApi>,
    Path(path): Path<String>,
    Query(query): Query<Qualified>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let (configuration, function) = find(&api, &path, &query, &headers).await?;
    let mut answer = json!({
        "Configuration": configuration,
        "Code": {"RepositoryType": "S3", "Location": location(&api, &function, &headers)},
    });
    if let Some(attached) = api.invoker.deployments().current().attached.get(function.name.as_str()) {
        if !attached.tags.is_empty() {
            let tags: Map<String, Value> =
                attached.tags.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
            answer["Tags"] = tags.into();
        }
        if let Some(reserved) = attached.reserved_concurrency {
            answer["Concurrency"] = json!({"ReservedConcurrentExecutions": reserved});
        }
    }
    Ok(Json(answer))
}

pub async fn configuration(
    State(api): State<LambdaApi>,
    Path(path): Path<String>,
    Query(query): Query<Qualified>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    find(&api, &path, &query, &headers).await.map(|(configuration, _)| Json(configuration))
}

async fn find(
    api: &LambdaApi,
    path: &str,
    query: &Qualified,
    headers: &HeaderMap,
) -> Result<(Value, Arc<Function>), ApiError> {
    let named = name::parse(api, headers, path, query.qualifier.as_deref())?;
    let resolved = api.invoker.resolve(&named.target()).await;
    let function = resolved.map_err(|error| ApiError::of(error, named.arn.clone()))?;
    let configuration = describe(api, &function, &api.region(headers), named.qualifier.as_deref());
    Ok((configuration, function))
}

fn location(api: &LambdaApi, function: &Function, headers: &HeaderMap) -> String {
    // The guard has let it pass: it is one of our names.
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let (name, version) = (function.name.as_str(), function.version.to_string());
    let until = now() + VALID.as_secs();
    let signature = api.links.signature(name, &version, until);
    let version = version.replace('$', "%24");
    format!("http://{host}/_handlerd/code/{name}/{version}?until={until}&signature={signature}")
}

pub async fn download(
    State(api): State<LambdaApi>,
    Path((name, version)): Path<(String, String)>,
    Query(link): Query<Link>,
) -> Result<Response, ApiError> {
    if !api.links.allows(&name, &version, &link) {
        let text =
            "Request has expired, or the link is not one of this server\nhint: call GetFunction for another";
        return Err(ApiError::Forbidden(text.to_owned()));
    }
    let resolved = api.invoker.resolve(&format!("{name}:{version}")).await;
    let function = resolved.map_err(|error| ApiError::of(error, name.clone()))?;
    let kept = uploads::file(&api.state_dir(), &function);
    let packed = tokio::task::spawn_blocking(move || match std::fs::read(kept) {
        Ok(zip) => Ok(zip),
        Err(_) => {
            let mut files = Contents::of(&function.task_root).files;
            // What says how it is run is not part of it: variables may be secrets. Links may lead nowhere.
            files.retain(|file| !is_configuration(file) && function.task_root.join(file).is_file());
            pack_files(&function.task_root, &files, Limits::LAMBDA)
        }
    });
    let zip = packed.await.map_err(|error| ApiError::Store(format!("a bug in handlerd: {error}")))?;
    let zip = zip.map_err(|error| archive_error(&error))?;
    let headers = [
        (header::CONTENT_TYPE, "application/zip".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}.zip\"")),
    ];
    Ok((StatusCode::OK, headers, Body::from(zip)).into_response())
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_good_for_what_it_was_made_for() {
        let links = Links::new();
        let until = now() + 5;
        let link = Link { until, signature: links.signature("a", "1", until) };
        assert!(links.allows("a", "1", &link));
        assert!(!links.allows("b", "1", &link));
        assert!(!links.allows("a", "2", &link));
        assert!(!links.allows("a", "1", &Link { until: until + 1, signature: link.signature.clone() }));
        assert!(!Links::new().allows("a", "1", &link));
        let past = now() - 5;
        assert!(!links.allows("a", "1", &Link { until: past, signature: links.signature("a", "1", past) }));
    }
}

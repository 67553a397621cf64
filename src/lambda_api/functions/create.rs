//! CreateFunction: the function appears in the handlers folder and is deployed.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::error::ApiError;
use super::super::request::{self, conflict};
use super::super::{LambdaApi, name, tags};
use super::code::{Sent, Source};
use super::properties::Settings;
use super::validation::{self, Violations};
use super::{describe, edit_error, latest, progress, publish};

/// Of a request that carries code.
pub const REQUEST: usize = 70_167_211;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Create {
    function_name: Option<String>,
    package_type: Option<String>,
    code: Option<Source>,
    publish: Option<bool>,
    architectures: Option<Vec<String>>,
    tags: Option<BTreeMap<String, String>>,
    #[serde(flatten)]
    settings: Settings,
}

pub async fn create(
    State(api): State<LambdaApi>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let _turn = api.uploading.acquire().await;
    let asked: Create = read(body, "CreateFunction").await?;
    let region = api.region(&headers);
    let mut violations = Violations::default();
    if asked.function_name.is_none() {
        violations.missing("functionName");
    }
    if asked.code.is_none() {
        violations.missing("code");
    }
    if asked.settings.role.is_none() {
        violations.missing("role");
    }
    validation::settings(&asked.settings, &mut violations);
    violations.architectures(asked.architectures.as_ref());
    violations.check()?;
    let named = name::parse(&api, &headers, asked.function_name.as_deref().unwrap_or_default(), None)?;
    if asked.package_type.as_deref().is_some_and(|kind| kind != "Zip") {
        return Err(ApiError::InvalidParameter(
            "PackageType Image is not supported by handlerd: only zip files can be run. Send Code.ZipFile."
                .to_owned(),
        ));
    }
    let (Some(handler), Some(_)) = (asked.settings.handler.clone(), &asked.settings.runtime) else {
        let text =
            "Runtime and Handler are mandatory parameters for functions created with deployment packages.";
        return Err(ApiError::InvalidParameter(text.to_owned()));
    };
    validation::meaning(&api, &asked.settings, &region).await?;
    let tags = asked.tags.unwrap_or_default();
    tags::check(&tags, 0)?;
    let exists = || conflict(format!("Function already exist: {}", named.name));
    if api.invoker.deployments().current().functions.contains_key(named.name.as_str()) {
        return Err(exists());
    }
    let source = asked.code.unwrap_or_default();
    let Sent { code, upload, zip } = source.code(&api, &region, &handler, asked.architectures).await?;

    let mut properties = asked.settings.properties();
    if !tags.is_empty() {
        properties.push(("Tags", Some(json!(tags))));
    }
    // Of several that want to make it only one comes further.
    if !api.progress.begin_creation(&named.name) {
        return Err(exists());
    }
    let finished = async {
        // Somebody was faster, while the code was being read.
        if api.invoker.deployments().current().functions.contains_key(named.name.as_str()) {
            return Err(exists());
        }
        // Of a function of this name that was taken away by hand.
        api.invoker.published().forget(&named.name).await?;
        let foretell = api.uploads.foretell(&named.name, &upload);
        let created = api.invoker.deployments().create(&named.name, code, properties, foretell).await;
        created.map_err(|error| edit_error(error, &named))?;
        let function = latest(&api, &named).await?;
        api.uploads.put(api.invoker.store(), &function, upload, &api.state_dir(), zip).await?;
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
            Ok((StatusCode::CREATED, Json(description)))
        }
        Err(error) => {
            api.progress.give_up(&named.name);
            Err(error)
        }
    }
}

/// A body that may be large, read off the thread that serves requests.
pub async fn read<T: serde::de::DeserializeOwned + Send + 'static>(
    body: Body,
    operation: &str,
) -> Result<T, ApiError> {
    let bytes = request::bytes(body, REQUEST, operation).await?;
    let parsed = tokio::task::spawn_blocking(move || request::parse(&bytes)).await;
    parsed.map_err(|error| ApiError::Store(format!("a bug in handlerd: {error}")))?
}

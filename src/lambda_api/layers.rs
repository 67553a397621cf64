//! `/2018-10-31/layers`: layers and their versions.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

use super::LambdaApi;
use super::error::ApiError;
use super::functions::fetch;
use super::page::Page;
use super::policy::{self, Removal};
use super::request::{self, check_choice, check_length, violation};
use crate::control_plane::Routes;
use crate::control_plane::Scope::{Admin, Deploy, Read};
use crate::function::LayerVersion;
use crate::published::{LAYER_POLICY, Layer, LayerError, NewLayer};
use crate::store::Key;

/// Lambda's for a request that carries code.
const REQUEST_LIMIT: usize = 70_167_211;
const ZIPPED_LIMIT: usize = 52_428_800;
const ARCHITECTURES: [&str; 2] = ["x86_64", "arm64"];
const NOT_FOUND: &str = "The resource you requested does not exist.";
const ARN: &str = "(arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\\d{1}:\\d{12}:layer:[a-zA-Z0-9-_]+:[0-9]+)|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+)";

pub fn routes() -> Routes<LambdaApi> {
    let versions = "/2018-10-31/layers/{name}/versions";
    Routes::new()
        .at("/2018-10-31/layers")
        .get(Read, list)
        .at(versions)
        .get(Read, list_versions)
        .post(Deploy, publish)
        .at(&format!("{versions}/{{version}}"))
        .get(Read, get)
        .delete(Deploy, delete)
        .at(&format!("{versions}/{{version}}/policy"))
        .get(Read, get_policy)
        .post(Admin, add_permission)
        .at(&format!("{versions}/{{version}}/policy/{{sid}}"))
        .delete(Admin, remove_permission)
        .at("/_handlerd/layers/{name}/{version}/content")
        .get(Read, content)
}

#[derive(Deserialize)]
struct Publish {
    #[serde(rename = "Content", default)]
    content: Content,
    #[serde(rename = "Description")]
    description: Option<String>,
    #[serde(rename = "LicenseInfo")]
    license: Option<String>,
    #[serde(rename = "CompatibleRuntimes")]
    runtimes: Option<Vec<String>>,
    #[serde(rename = "CompatibleArchitectures")]
    architectures: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
struct Content {
    #[serde(rename = "ZipFile")]
    zip: Option<String>,
    #[serde(rename = "S3Bucket")]
    bucket: Option<String>,
    #[serde(rename = "S3Key")]
    key: Option<String>,
    #[serde(rename = "S3ObjectVersion")]
    version: Option<String>,
}

/// Where a layer's file comes from.
enum Source {
    Sent(Vec<u8>),
    Bucket { bucket: String, key: String, version: Option<String> },
}

async fn publish(
    State(api): State<LambdaApi>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let name = layer_name(&api, &headers, &name)?;
    let body = request::bytes(body, REQUEST_LIMIT, "PublishLayerVersion").await?;
    // Tens of megabytes, perhaps; everybody else's requests go on meanwhile.
    let read = tokio::task::spawn_blocking(move || read_layer(&body)).await;
    let (about, source) = read.map_err(|error| ApiError::Store(format!("a bug in handlerd: {error}")))??;
    let zip = match source {
        Source::Sent(zip) => zip,
        Source::Bucket { bucket, key, version } => {
            fetch(&api, &api.region(&headers), &bucket, &key, version.as_deref()).await?
        }
    };
    let layer = api.invoker.published().publish_layer(&name, about, zip).await;
    let layer = layer.map_err(|error| match error {
        LayerError::Zip(message) => ApiError::InvalidParameter(message),
        error @ (LayerError::Disk { .. } | LayerError::Store(_)) => ApiError::Store(error.to_string()),
    })?;
    let mut described = described(&api, &headers, &layer, true);
    described["Content"] = content_of(&headers, &layer);
    Ok((StatusCode::CREATED, Json(described)))
}

fn read_layer(body: &[u8]) -> Result<(NewLayer, Source), ApiError> {
    let asked: Publish = request::parse(body)?;
    if let Some(description) = &asked.description {
        check_length(description, "description", 256)?;
    }
    if let Some(license) = &asked.license {
        check_length(license, "licenseInfo", 512)?;
    }
    for runtime in asked.runtimes.iter().flatten() {
        check_runtime(runtime, &asked.runtimes)?;
    }
    if asked.runtimes.as_ref().is_some_and(|runtimes| runtimes.len() > 15) {
        let list = asked.runtimes.unwrap_or_default().join(", ");
        let constraint = "Member must have length less than or equal to 15";
        return Err(violation(&format!("[{list}]"), "compatibleRuntimes", constraint));
    }
    for architecture in asked.architectures.iter().flatten() {
        check_choice(architecture, "compatibleArchitectures", &ARCHITECTURES)?;
    }
    let Content { zip, bucket, key, version } = asked.content;
    let source = match (zip, bucket, key) {
        (Some(zip), None, None) => Source::Sent(
            BASE64
                .decode(zip)
                .map_err(|_| ApiError::InvalidContent("ZipFile is not valid base64".to_owned()))?,
        ),
        (None, Some(bucket), Some(key)) => Source::Bucket { bucket, key, version },
        _ => {
            let message = "Please provide a source for function code.";
            return Err(ApiError::InvalidParameter(message.to_owned()));
        }
    };
    if matches!(&source, Source::Sent(zip) if zip.len() > ZIPPED_LIMIT) {
        return Err(ApiError::Exceeded {
            code: "RequestEntityTooLargeException",
            message: format!("Zipped size must be smaller than {ZIPPED_LIMIT} bytes"),
        });
    }
    let about = NewLayer {
        description: asked.description.unwrap_or_default(),
        license: asked.license,
        runtimes: asked.runtimes,
        architectures: asked.architectures,
    };
    Ok((about, source))
}

/// Any that Lambda has or has had.
fn check_runtime(runtime: &str, all: &Option<Vec<String>>) -> Result<(), ApiError> {
    let kinds = ["nodejs", "python", "java", "dotnet", "dotnetcore", "ruby", "go", "provided"];
    let kind: String = runtime.chars().take_while(char::is_ascii_lowercase).collect();
    let rest = &runtime[kind.len()..];
    let version = rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.') && rest.len() <= 12;
    if kinds.contains(&kind.as_str()) && version {
        return Ok(());
    }
    let all = all.iter().flatten().cloned().collect::<Vec<_>>().join(", ");
    let constraint = "Member must satisfy constraint: [Member must satisfy enum value set: [nodejs20.x, nodejs22.x, \
                      nodejs24.x, python3.9, python3.10, python3.11, python3.12, python3.13, python3.14, java8.al2, \
                      java11, java17, java21, java25, dotnet8, dotnet10, ruby3.2, ruby3.3, ruby3.4, provided.al2, \
                      provided.al2023], Member must not be null]";
    Err(violation(&format!("[{all}]"), "compatibleRuntimes", constraint))
}

/// A layer's name, or the ARN that holds it.
fn layer_name(api: &LambdaApi, headers: &HeaderMap, text: &str) -> Result<String, ApiError> {
    let parts: Vec<&str> = text.split(':').collect();
    let (region, account) = (api.region(headers), &api.invoker.account().id);
    let name = match parts[..] {
        [name] => name,
        ["arn", _, "lambda", asked, owner, "layer", name] if asked == region && owner == account => name,
        ["arn", _, "lambda", asked, _, "layer", _] if asked != region => {
            return Err(ApiError::InvalidParameter(format!(
                "Layers are not in the same region as the function. Layers are expected to be in region {region}."
            )));
        }
        ["arn", _, "lambda", _, _, "layer", _] => return Err(ApiError::OtherAccount),
        _ => "",
    };
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if name.is_empty() || name.len() > 140 || !name.bytes().all(valid) {
        let constraint = "Member must satisfy regular expression pattern: [a-zA-Z0-9-_]+";
        return Err(violation(text, "layerName", constraint));
    }
    Ok(name.to_owned())
}

fn layer_version(
    api: &LambdaApi,
    headers: &HeaderMap,
    name: &str,
    version: &str,
) -> Result<LayerVersion, ApiError> {
    let name = layer_name(api, headers, name)?;
    match version.parse::<i64>() {
        Ok(version @ 1..) => Ok(LayerVersion { name, version: version as u64 }),
        Ok(_) => Err(ApiError::InvalidParameter("Layer Version Cannot be less than 1".to_owned())),
        Err(_) => Err(violation(version, "versionNumber", "Member must be a whole number")),
    }
}

fn not_found() -> ApiError {
    ApiError::NotFound(NOT_FOUND.to_owned())
}

#[derive(Deserialize)]
struct Filter {
    find: Option<String>,
    #[serde(rename = "Arn")]
    arn: Option<String>,
    #[serde(rename = "CompatibleRuntime")]
    runtime: Option<String>,
    #[serde(rename = "CompatibleArchitecture")]
    architecture: Option<String>,
}

impl Filter {
    fn check(&self) -> Result<(), ApiError> {
        if let Some(runtime) = &self.runtime {
            check_runtime(runtime, &Some(vec![runtime.clone()]))?;
        }
        match &self.architecture {
            Some(architecture) => check_choice(architecture, "compatibleArchitecture", &ARCHITECTURES),
            None => Ok(()),
        }
    }

    fn fits(&self, layer: &Layer) -> bool {
        let among = |wanted: &Option<String>, list: &Option<Vec<String>>| {
            wanted.as_ref().is_none_or(|wanted| list.iter().flatten().any(|item| item == wanted))
        };
        among(&self.runtime, &layer.about.runtimes) && among(&self.architecture, &layer.about.architectures)
    }
}

async fn list(
    State(api): State<LambdaApi>,
    Query(filter): Query<Filter>,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    if filter.find.as_deref() == Some("LayerVersion") {
        return by_arn(&api, &headers, filter.arn.as_deref().unwrap_or_default());
    }
    filter.check()?;
    let published = api.invoker.published();
    let names = published.latest_layers().into_iter().map(|layer| layer.name.clone());
    let matching = names.filter_map(|name| {
        let versions = published.layer_versions(&name);
        versions.into_iter().rev().find(|layer| filter.fits(layer))
    });
    let (layers, next) = page.of(matching.collect(), |layer| layer.name.clone())?;
    let entries: Vec<Value> = layers
        .iter()
        .map(|layer| {
            json!({
                "LayerName": layer.name,
                "LayerArn": layer_arn(&api, &headers, &layer.name),
                "LatestMatchingVersion": described(&api, &headers, layer, false),
            })
        })
        .collect();
    let mut answer = json!({"Layers": entries});
    if let Some(next) = next {
        answer["NextMarker"] = next.into();
    }
    Ok(Json(answer))
}

fn by_arn(api: &LambdaApi, headers: &HeaderMap, arn: &str) -> Result<Json<Value>, ApiError> {
    let layer: LayerVersion = arn.parse().map_err(|_| {
        violation(arn, "arn", &format!("Member must satisfy regular expression pattern: {ARN}"))
    })?;
    let prefix = arn.rsplit_once(':').map_or(arn, |(prefix, _)| prefix);
    layer_name(api, headers, prefix)?;
    let found = api.invoker.published().layer(&layer).ok_or_else(not_found)?;
    Ok(Json(whole(api, headers, &found)))
}

async fn list_versions(
    State(api): State<LambdaApi>,
    Path(name): Path<String>,
    Query(filter): Query<Filter>,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    filter.check()?;
    let name = layer_name(&api, &headers, &name)?;
    let mut versions = api.invoker.published().layer_versions(&name);
    versions.retain(|layer| filter.fits(layer));
    versions.reverse();
    let (versions, next) = page.of(versions, |layer| layer.version.to_string())?;
    let entries: Vec<Value> = versions.iter().map(|layer| described(&api, &headers, layer, false)).collect();
    let mut answer = json!({"LayerVersions": entries});
    if let Some(next) = next {
        answer["NextMarker"] = next.into();
    }
    Ok(Json(answer))
}

async fn get(
    State(api): State<LambdaApi>,
    Path((name, version)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let id = layer_version(&api, &headers, &name, &version)?;
    let layer = api.invoker.published().layer(&id).ok_or_else(not_found)?;
    Ok(Json(whole(&api, &headers, &layer)))
}

async fn delete(
    State(api): State<LambdaApi>,
    Path((name, version)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let id = layer_version(&api, &headers, &name, &version)?;
    api.invoker.published().delete_layer(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The zip file, as it was published.
async fn content(
    State(api): State<LambdaApi>,
    Path((name, version)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let id = layer_version(&api, &headers, &name, &version)?;
    let layer = api.invoker.published().layer(&id).ok_or_else(not_found)?;
    let path = api.invoker.published().layer_zip(&layer);
    let read = tokio::task::spawn_blocking(move || std::fs::read(path)).await;
    let zip =
        read.map_err(|error| error.to_string()).and_then(|read| read.map_err(|error| error.to_string()));
    let zip = zip.map_err(|error| ApiError::Store(format!("the layer's file cannot be read: {error}")))?;
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/zip"))];
    Ok((kind, zip).into_response())
}

#[derive(Deserialize)]
struct Permission {
    #[serde(rename = "StatementId")]
    sid: Option<String>,
    #[serde(rename = "Action")]
    action: Option<String>,
    #[serde(rename = "Principal")]
    principal: Option<String>,
    #[serde(rename = "OrganizationId")]
    organisation: Option<String>,
}

async fn add_permission(
    State(api): State<LambdaApi>,
    Path((name, version)): Path<(String, String)>,
    Query(query): Query<Removal>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let asked: Permission = request::json(body, "AddLayerVersionPermission").await?;
    let layer = permitted(&api, &headers, &name, &version)?;
    let sid = policy::check_sid(asked.sid.as_deref())?;
    let action = asked.action.as_deref().unwrap_or_default();
    if action != "lambda:GetLayerVersion" {
        let constraint = "Member must satisfy regular expression pattern: lambda:GetLayerVersion";
        return Err(violation(action, "action", constraint));
    }
    let mut statement = json!({
        "Sid": sid,
        "Effect": "Allow",
        "Principal": policy::principal(asked.principal.as_deref().unwrap_or_default())?,
        "Action": action,
        "Resource": version_arn(&api, &headers, &layer),
    });
    if let Some(organisation) = asked.organisation {
        statement["Condition"] = json!({"StringEquals": {"aws:PrincipalOrgID": organisation}});
    }
    let number = layer.version.to_string();
    let key = Key { kind: LAYER_POLICY, owner: &layer.name, name: &number };
    let (statement, revision) =
        policy::append(&api, key, statement, query.revision_id, "GetLayerPolicy").await?;
    Ok((StatusCode::CREATED, Json(json!({"Statement": statement, "RevisionId": revision}))))
}

async fn get_policy(
    State(api): State<LambdaApi>,
    Path((name, version)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let layer = permitted(&api, &headers, &name, &version)?;
    let number = layer.version.to_string();
    let key = Key { kind: LAYER_POLICY, owner: &layer.name, name: &number };
    let policy = policy::read(&api, key).await?;
    let none = || ApiError::NotFound("No policy is associated with the given resource.".to_owned());
    policy.map(Json).ok_or_else(none)
}

async fn remove_permission(
    State(api): State<LambdaApi>,
    Path((name, version, sid)): Path<(String, String, String)>,
    Query(query): Query<Removal>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let layer = permitted(&api, &headers, &name, &version)?;
    let number = layer.version.to_string();
    let key = Key { kind: LAYER_POLICY, owner: &layer.name, name: &number };
    policy::take_away(&api, key, sid, query.revision_id, "GetLayerPolicy").await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The layer that a policy is about.
fn permitted(
    api: &LambdaApi,
    headers: &HeaderMap,
    name: &str,
    version: &str,
) -> Result<LayerVersion, ApiError> {
    let id = layer_version(api, headers, name, version)?;
    match api.invoker.published().layer(&id) {
        Some(_) => Ok(id),
        None => {
            let arn = version_arn(api, headers, &id);
            Err(ApiError::NotFound(format!("Layer version {arn} does not exist.")))
        }
    }
}

fn layer_arn(api: &LambdaApi, headers: &HeaderMap, name: &str) -> String {
    format!("arn:aws:lambda:{}:{}:layer:{name}", api.region(headers), api.invoker.account().id)
}

fn version_arn(api: &LambdaApi, headers: &HeaderMap, layer: &LayerVersion) -> String {
    format!("{}:{}", layer_arn(api, headers, &layer.name), layer.version)
}

/// With its content and the layer's own ARN.
fn whole(api: &LambdaApi, headers: &HeaderMap, layer: &Layer) -> Value {
    let mut whole = described(api, headers, layer, true);
    whole["Content"] = content_of(headers, layer);
    whole
}

fn content_of(headers: &HeaderMap, layer: &Layer) -> Value {
    // The guard has let it pass: it is one of our own names.
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    json!({
        "Location": format!("http://{host}/_handlerd/layers/{}/{}/content", layer.name, layer.version),
        "CodeSha256": layer.sha256,
        "CodeSize": layer.size,
    })
}

fn described(api: &LambdaApi, headers: &HeaderMap, layer: &Layer, with_layer: bool) -> Value {
    let id = LayerVersion { name: layer.name.clone(), version: layer.version };
    let mut described = json!({});
    if with_layer {
        described["LayerArn"] = layer_arn(api, headers, &layer.name).into();
    }
    described["LayerVersionArn"] = version_arn(api, headers, &id).into();
    described["Version"] = layer.version.into();
    described["Description"] = layer.about.description.clone().into();
    described["CreatedDate"] = request::timestamp(layer.created_ms).into();
    if let Some(runtimes) = &layer.about.runtimes {
        described["CompatibleRuntimes"] = json!(runtimes);
    }
    if let Some(architectures) = &layer.about.architectures {
        described["CompatibleArchitectures"] = json!(architectures);
    }
    if let Some(license) = &layer.about.license {
        described["LicenseInfo"] = license.clone().into();
    }
    described
}

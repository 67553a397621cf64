//! `/2021-10-31/functions/NAME/url`: addresses of functions. The one of a function itself stands in
//! `function.yaml` or the template; those of aliases are kept in the store. The gateway serves both.
//!
//! `FunctionUrl` is AWS's with `localhost` in the place of the region and the rest,
//! `http://ID.lambda-url.localhost:3000/`; where such names do not resolve on this machine, it is the
//! address that needs no name: `http://127.0.0.1:3000/_aws/lambda-url/ID/`.

use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::OnceCell;

use super::LambdaApi;
use super::aliases::is_alias_name;
use super::error::ApiError;
use super::name::{self, Named};
use super::page::Page;
use super::request::{self, Qualified, check_choice, violation};
use crate::api::{Api, Authorization, Cors, IntegrationKind, Kind};
use crate::control_plane::Routes;
use crate::control_plane::Scope::{Deploy, Read};
use crate::published::UrlConfig;

const NOT_FOUND: &str = "The resource you requested does not exist.";
const QUALIFIER: &str = "((?!^\\d+$)^[0-9a-zA-Z-_]+$)";

pub fn routes() -> Routes<LambdaApi> {
    Routes::new()
        .at("/2021-10-31/functions/{name}/url")
        .post(Deploy, create)
        .get(Read, get)
        .put(Deploy, update)
        .delete(Deploy, delete)
        .at("/2021-10-31/functions/{name}/urls")
        .get(Read, list)
}

#[derive(Deserialize)]
struct Asked {
    #[serde(rename = "AuthType")]
    auth_type: Option<String>,
    #[serde(rename = "InvokeMode")]
    invoke_mode: Option<String>,
    #[serde(rename = "Cors")]
    cors: Option<Map<String, Value>>,
}

impl Asked {
    fn check(&self) -> Result<(), ApiError> {
        if let Some(auth_type) = &self.auth_type {
            check_choice(auth_type, "authType", &["NONE", "AWS_IAM"])?;
        }
        if let Some(mode) = &self.invoke_mode {
            check_choice(mode, "invokeMode", &["BUFFERED", "RESPONSE_STREAM"])?;
        }
        match &self.cors {
            Some(cors) => check_cors(cors),
            None => Ok(()),
        }
    }
}

fn check_cors(cors: &Map<String, Value>) -> Result<(), ApiError> {
    for (name, value) in cors {
        let mut letters = name.chars();
        let first: String = letters.next().into_iter().flat_map(char::to_lowercase).collect();
        let lower = format!("cors.{first}{}", letters.as_str());
        let list = |most_items: usize, most: usize| -> Result<(), ApiError> {
            let items = value.as_array().ok_or_else(|| {
                ApiError::InvalidContent(format!(
                    "Could not parse request body into json: `{name}` is no list"
                ))
            })?;
            let text = |item: &Value| item.as_str().is_some_and(|item| item.chars().count() <= most);
            if items.len() > most_items || !items.iter().all(text) {
                let constraint = format!(
                    "Member must have length less than or equal to {most_items}, and its members less than or equal \
                     to {most}"
                );
                return Err(violation(&value.to_string(), &lower, &constraint));
            }
            Ok(())
        };
        match name.as_str() {
            "AllowOrigins" => list(100, 253)?,
            "AllowMethods" => list(6, 6)?,
            "AllowHeaders" | "ExposeHeaders" => list(100, 1024)?,
            "AllowCredentials" if value.is_boolean() => {}
            "MaxAge" if value.as_i64().is_some() => {
                request::check_range(value.as_i64().unwrap_or_default(), "cors.maxAge", 0, 86_400)?;
            }
            "AllowCredentials" | "MaxAge" => {
                let message = format!("Could not parse request body into json: `{name}` is of another type");
                return Err(ApiError::InvalidContent(message));
            }
            // As AWS, which passes over what it does not know.
            _ => {}
        }
    }
    Ok(())
}

/// The function, and the alias whose URL is meant, or nothing.
fn find(
    api: &LambdaApi,
    headers: &HeaderMap,
    name: &str,
    qualifier: Option<&str>,
) -> Result<(Named, String), ApiError> {
    if let Some(qualifier) = qualifier
        && !is_alias_name(qualifier)
    {
        let constraint = format!("Member must satisfy regular expression pattern: {QUALIFIER}");
        return Err(violation(qualifier, "qualifier", &constraint));
    }
    let named = name::parse(api, headers, name, qualifier)?;
    if !request::exists(api, &named) || request::check_qualifier(api, &named).is_err() {
        return Err(ApiError::NotFound("Function does not exist".to_owned()));
    }
    let alias = named.qualifier.clone().unwrap_or_default();
    Ok((named, alias))
}

/// A URL, wherever it is written down.
struct Found {
    id: String,
    iam: bool,
    streams: bool,
    cors: Option<Value>,
    /// It stands in a template or, for the function itself, in `function.yaml`.
    deployed: bool,
    created_ms: u64,
    modified_ms: u64,
}

fn current(api: &LambdaApi, named: &Named, alias: &str) -> Option<Found> {
    let target = if alias.is_empty() { named.name.clone() } else { format!("{}:{alias}", named.name) };
    let deployment = api.invoker.deployments().current();
    let is_meant = |url: &&Arc<Api>| {
        url.kind == Kind::FunctionUrl && url.routes.iter().any(|route| route.function() == Some(&*target))
    };
    let kept = api.invoker.published().url(&named.name, alias);
    if let Some(url) = deployment.apis.iter().find(is_meant) {
        let modified = deployment.functions.get(named.name.as_str()).and_then(|deployed| deployed.function());
        let modified = modified.map(|function| function.code.last_modified);
        let modified = modified.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        let modified = modified.map_or(0, |time| time.as_millis() as u64);
        let route = url.routes.first();
        let streams = route.is_some_and(|route| {
            matches!(&route.integration.kind, IntegrationKind::Function { streams: true, .. })
        });
        return Some(Found {
            id: url.id.clone(),
            iam: route.is_some_and(|route| route.authorization == Authorization::Iam),
            streams,
            cors: url.cors.as_ref().map(Cors::properties),
            deployed: true,
            created_ms: kept.as_ref().map_or(modified, |kept| kept.created_ms),
            modified_ms: kept.as_ref().map_or(modified, |kept| kept.modified_ms),
        });
    }
    let kept = kept.filter(|_| !alias.is_empty())?;
    Some(Found {
        id: kept.id,
        iam: kept.iam,
        streams: kept.streams,
        cors: kept.cors,
        deployed: false,
        created_ms: kept.created_ms,
        modified_ms: kept.modified_ms,
    })
}

/// `None`: as it is.
async fn write(
    api: &LambdaApi,
    named: &Named,
    alias: &str,
    asked: &Asked,
    former: Option<&Found>,
) -> Result<(), ApiError> {
    let now = request::now_ms();
    let iam = match &asked.auth_type {
        Some(auth_type) => auth_type == "AWS_IAM",
        None => former.is_some_and(|former| former.iam),
    };
    let streams = match &asked.invoke_mode {
        Some(mode) => mode == "RESPONSE_STREAM",
        None => former.is_some_and(|former| former.streams),
    };
    let cors = match &asked.cors {
        Some(cors) => Some(Value::Object(cors.clone())),
        None => former.and_then(|former| former.cors.clone()),
    };
    let cors = cors.filter(|cors| cors.as_object().is_some_and(|cors| !cors.is_empty()));
    let id = former.map_or_else(|| uuid::Uuid::new_v4().simple().to_string(), |former| former.id.clone());
    let created_ms = former.map_or(now, |former| former.created_ms);
    if alias.is_empty() {
        let mut property = json!({"AuthType": if iam { "AWS_IAM" } else { "NONE" }});
        if streams {
            property["InvokeMode"] = "RESPONSE_STREAM".into();
        }
        if let Some(cors) = &cors {
            property["Cors"] = cors.clone();
        }
        request::set_property(api, named, "FunctionUrlConfig", Some(property)).await?;
    }
    let kept = UrlConfig { id, iam, streams, cors, created_ms, modified_ms: now };
    let replace = former.is_some() || alias.is_empty();
    match api.invoker.published().put_url(&named.name, alias, kept, replace).await? {
        Some(_) => Ok(()),
        None => Err(exists(named)),
    }
}

fn exists(named: &Named) -> ApiError {
    request::conflict(format!(
        "Failed to create function url config for [functionArn = {}]. Error message:  FunctionUrlConfig exists for this \
         Lambda function",
        named.invoked_arn()
    ))
}

/// What a template says of an alias only the template can change; of the function itself it is found
/// out where `function.yaml` would be written.
fn check_writable(found: &Found, alias: &str) -> Result<(), ApiError> {
    if found.deployed && !alias.is_empty() {
        return Err(request::conflict(
            "this URL is declared in a template, which says what it is\nhint: change it there; `handlerd serve` deploys \
             the template as soon as it is saved",
        ));
    }
    Ok(())
}

async fn create(
    State(api): State<LambdaApi>,
    Path(name): Path<String>,
    Query(query): Query<Qualified>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let asked: Asked = request::json(body, "CreateFunctionUrlConfig").await?;
    let (named, alias) = find(&api, &headers, &name, query.qualifier.as_deref())?;
    asked.check()?;
    if asked.auth_type.is_none() {
        return Err(ApiError::Validation(
            "1 validation error detected: Value null at 'authType' failed to satisfy constraint: Member must not be null"
                .to_owned(),
        ));
    }
    if current(&api, &named, &alias).is_some() {
        return Err(exists(&named));
    }
    write(&api, &named, &alias, &asked, None).await?;
    let found = current(&api, &named, &alias).ok_or_else(|| {
        ApiError::Store(format!("the URL of {} was written, but is not deployed", named.target()))
    })?;
    let mut answer = described(&api, &named, &found).await;
    if let Some(answer) = answer.as_object_mut() {
        answer.shift_remove("LastModifiedTime");
        if asked.invoke_mode.is_none() {
            answer.shift_remove("InvokeMode");
        }
    }
    Ok((StatusCode::CREATED, Json(answer)))
}

async fn get(
    State(api): State<LambdaApi>,
    Path(name): Path<String>,
    Query(query): Query<Qualified>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let (named, alias) = find_any(&api, &headers, &name, query.qualifier.as_deref())?;
    let found = current(&api, &named, &alias).ok_or_else(not_found)?;
    Ok(Json(described(&api, &named, &found).await))
}

/// Of a function that is not there, there is no URL either.
fn find_any(
    api: &LambdaApi,
    headers: &HeaderMap,
    name: &str,
    qualifier: Option<&str>,
) -> Result<(Named, String), ApiError> {
    find(api, headers, name, qualifier).map_err(|error| match error {
        ApiError::NotFound(_) => not_found(),
        error => error,
    })
}

fn not_found() -> ApiError {
    ApiError::NotFound(NOT_FOUND.to_owned())
}

async fn update(
    State(api): State<LambdaApi>,
    Path(name): Path<String>,
    Query(query): Query<Qualified>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let asked: Asked = request::json(body, "UpdateFunctionUrlConfig").await?;
    let (named, alias) = find(&api, &headers, &name, query.qualifier.as_deref())?;
    asked.check()?;
    let found = current(&api, &named, &alias).ok_or_else(not_found)?;
    check_writable(&found, &alias)?;
    write(&api, &named, &alias, &asked, Some(&found)).await?;
    let found = current(&api, &named, &alias).ok_or_else(not_found)?;
    Ok(Json(described(&api, &named, &found).await))
}

async fn delete(
    State(api): State<LambdaApi>,
    Path(name): Path<String>,
    Query(query): Query<Qualified>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let (named, alias) = find_any(&api, &headers, &name, query.qualifier.as_deref())?;
    let found = current(&api, &named, &alias).ok_or_else(not_found)?;
    check_writable(&found, &alias)?;
    if alias.is_empty() {
        request::set_property(&api, &named, "FunctionUrlConfig", None).await?;
    }
    api.invoker.published().delete_url(&named.name, &alias).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn list(
    State(api): State<LambdaApi>,
    Path(name): Path<String>,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let (named, _) = find(&api, &headers, &name, None)?;
    let mut aliases: Vec<String> = vec![String::new()];
    aliases.extend(api.invoker.published().urls(&named.name).into_keys().filter(|alias| !alias.is_empty()));
    let prefix = format!("{}:", named.name);
    for url in &api.invoker.deployments().current().apis {
        let functions = url.routes.iter().filter_map(|route| route.function());
        let declared = functions.filter_map(|function| function.strip_prefix(&prefix));
        aliases.extend(declared.filter(|_| url.kind == Kind::FunctionUrl).map(str::to_owned));
    }
    aliases.sort();
    aliases.dedup();
    let found: Vec<(String, Found)> = aliases
        .into_iter()
        .filter_map(|alias| Some((alias.clone(), current(&api, &named, &alias)?)))
        .collect();
    let (found, next) = page.of(found, |(alias, _)| format!("url{alias}"))?;
    let mut urls = Vec::new();
    for (alias, found) in &found {
        let qualifier = Some(alias.clone()).filter(|alias| !alias.is_empty());
        urls.push(described(&api, &Named { qualifier, ..named.clone() }, found).await);
    }
    let mut answer = json!({"FunctionUrlConfigs": urls});
    if let Some(next) = next {
        answer["NextMarker"] = next.into();
    }
    Ok(Json(answer))
}

async fn described(api: &LambdaApi, named: &Named, found: &Found) -> Value {
    let mut described = json!({
        "FunctionUrl": address(&api.gateway, &found.id, names_resolve().await),
        "FunctionArn": named.invoked_arn(),
        "AuthType": if found.iam { "AWS_IAM" } else { "NONE" },
    });
    if let Some(cors) = &found.cors {
        described["Cors"] = cors.clone();
    }
    described["CreationTime"] = time(found.created_ms).into();
    described["LastModifiedTime"] = time(found.modified_ms).into();
    described["InvokeMode"] = if found.streams { "RESPONSE_STREAM" } else { "BUFFERED" }.into();
    described
}

/// `2021-11-25T02:38:45.123456Z`
fn time(milliseconds: u64) -> String {
    let time = jiff::Timestamp::from_millisecond(milliseconds as i64).unwrap_or_default();
    time.to_zoned(jiff::tz::TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// `gateway`: `http://127.0.0.1:3000`.
fn address(gateway: &str, id: &str, names_resolve: bool) -> String {
    let (scheme, place) = gateway.split_once("://").unwrap_or(("http", gateway));
    match place.rsplit_once(':') {
        Some((_, port)) if names_resolve => format!("{scheme}://{id}.lambda-url.localhost:{port}/"),
        _ => format!("{gateway}/_aws/lambda-url/{id}/"),
    }
}

/// Whether names below `localhost` lead to this machine: found out once.
async fn names_resolve() -> bool {
    static KNOWN: OnceCell<bool> = OnceCell::const_new();
    let ask = || async {
        let name = "handlerd.lambda-url.localhost:0";
        let asked = tokio::task::spawn_blocking(|| {
            name.to_socket_addrs().is_ok_and(|mut all| all.any(|address| address.ip().is_loopback()))
        });
        matches!(tokio::time::timeout(Duration::from_secs(1), asked).await, Ok(Ok(true)))
    };
    *KNOWN.get_or_init(ask).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_works_with_and_without_names() {
        let gateway = "https://127.0.0.1:3000";
        assert_eq!(address(gateway, "abc", true), "https://abc.lambda-url.localhost:3000/");
        assert_eq!(address(gateway, "abc", false), "https://127.0.0.1:3000/_aws/lambda-url/abc/");
    }

    #[test]
    fn cors_is_checked_by_lambdas_limits() {
        let check = |text: &str| check_cors(&serde_json::from_str(text).unwrap());
        check(r#"{"AllowOrigins": ["*"], "MaxAge": 60, "AllowCredentials": false, "": 1, "é": 2}"#).unwrap();
        for wrong in [
            r#"{"AllowOrigins": "*"}"#,
            r#"{"AllowMethods": ["OPTIONS"]}"#,
            r#"{"MaxAge": 86401}"#,
            r#"{"MaxAge": "1"}"#,
            r#"{"AllowCredentials": 1}"#,
        ] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }
}

//! `/2017-03-31/tags/ARN`: tags of functions, kept as `Tags` in `function.yaml`.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use http::{HeaderMap, StatusCode, Uri};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::ApiError;
use super::functions::edit_error;
use super::name::{self, Named};
use super::{LambdaApi, request};
use crate::control_plane::Routes;
use crate::control_plane::Scope::{Deploy, Read};

const MOST: usize = 50;

pub fn routes() -> Routes<LambdaApi> {
    Routes::new()
        // An ARN has slashes in it where it is not a function's.
        .at("/2017-03-31/tags/{*arn}")
        .get(Read, list)
        .post(Deploy, tag)
        .delete(Deploy, untag)
}

#[derive(Debug, Deserialize)]
struct Tag {
    #[serde(rename = "Tags")]
    tags: Option<BTreeMap<String, String>>,
}

async fn list(
    State(api): State<LambdaApi>,
    Path(arn): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let named = function(&api, &headers, &arn)?;
    Ok(Json(json!({"Tags": current(&api, &named)})))
}

async fn tag(
    State(api): State<LambdaApi>,
    Path(arn): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let asked: Tag = request::json(body, "TagResource").await?;
    let named = function(&api, &headers, &arn)?;
    let Some(new) = asked.tags else {
        return Err(ApiError::Validation(
            "1 validation error detected: Value null at 'tags' failed to satisfy constraint: Member must not be null"
                .to_owned(),
        ));
    };
    let mut tags = current(&api, &named);
    let kept = tags.keys().filter(|name| !new.contains_key(*name)).count();
    check(&new, kept)?;
    tags.extend(new);
    write(&api, &named, tags).await
}

async fn untag(
    State(api): State<LambdaApi>,
    Path(arn): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let named = function(&api, &headers, &arn)?;
    let keys = keys(uri.query().unwrap_or_default());
    if keys.is_empty() {
        return Err(ApiError::Validation(
            "1 validation error detected: Value null at 'tagKeys' failed to satisfy constraint: Member must not be null"
                .to_owned(),
        ));
    }
    let before = current(&api, &named);
    let mut tags = before.clone();
    tags.retain(|name, _| !keys.contains(name));
    if tags == before {
        return Ok(StatusCode::NO_CONTENT);
    }
    write(&api, &named, tags).await
}

/// `tagKeys=a&tagKeys=b`
fn keys(query: &str) -> Vec<String> {
    let pairs = query.split('&').filter_map(|pair| pair.strip_prefix("tagKeys="));
    let decode = |text: &str| {
        let text = text.replace('+', " ");
        percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned()
    };
    pairs.map(decode).collect()
}

/// What may be added to as many that stay.
pub fn check(tags: &BTreeMap<String, String>, kept: usize) -> Result<(), ApiError> {
    if tags.len() + kept > MOST {
        return Err(ApiError::InvalidParameter("Number of tags exceeds resource tag limit.".to_owned()));
    }
    for (key, value) in tags {
        if key.is_empty() || key.chars().count() > 128 || value.chars().count() > 256 {
            return Err(ApiError::InvalidParameter(format!(
                "The tag {:?} is not valid: a key has 1 to 128 characters, a value at most 256.",
                key.chars().take(140).collect::<String>()
            )));
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(ApiError::InvalidParameter(
                "Tag keys starting with \"aws:\" are reserved for system use.".to_owned(),
            ));
        }
    }
    Ok(())
}

fn current(api: &LambdaApi, named: &Named) -> BTreeMap<String, String> {
    let deployment = api.invoker.deployments().current();
    let tags = deployment.attached.get(named.name.as_str()).map(|attached| attached.tags.clone());
    tags.unwrap_or_default().into_iter().collect()
}

async fn write(
    api: &LambdaApi,
    named: &Named,
    tags: BTreeMap<String, String>,
) -> Result<StatusCode, ApiError> {
    let tags = Some(tags).filter(|tags| !tags.is_empty()).map(|tags| json!(tags));
    let written = api.invoker.deployments().set_properties(&named.name, vec![("Tags", tags)]).await;
    written.map_err(|error| edit_error(error, named))?;
    Ok(StatusCode::NO_CONTENT)
}

fn function(api: &LambdaApi, headers: &HeaderMap, arn: &str) -> Result<Named, ApiError> {
    if !arn.starts_with("arn:") || arn.split(':').nth(5) != Some("function") {
        return Err(match arn.split(':').nth(5) {
            Some(other @ ("event-source-mapping" | "code-signing-config")) => {
                ApiError::NotImplemented(format!("tags of {other}s"))
            }
            _ => ApiError::Validation(format!(
                "1 validation error detected: Value '{arn}' at 'resource' failed to satisfy constraint: Member must \
                 satisfy regular expression pattern: arn:(aws[a-zA-Z-]*):lambda:[a-z]{{2}}((-gov)|(-iso([a-z]?)))?-\
                 [a-z]+-\\d{{1}}:\\d{{12}}:(function:[a-zA-Z0-9-_]+(:(\\$LATEST|[a-zA-Z0-9-_]+))?|code-signing-config:\
                 csc-[a-z0-9]{{17}}|event-source-mapping:[a-f0-9]{{8}}-[a-f0-9]{{4}}-[a-f0-9]{{4}}-[a-f0-9]{{4}}-\
                 [a-f0-9]{{12}})"
            )),
        });
    }
    let named = name::parse(api, headers, arn, None)?;
    if named.qualifier.is_some() {
        let text = "Tags on function aliases and versions are not supported. Please specify a function ARN.";
        return Err(ApiError::InvalidParameter(text.to_owned()));
    }
    match request::exists(api, &named) {
        true => Ok(named),
        false => Err(ApiError::FunctionNotFound { arn: named.arn }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_one_by_one() {
        assert_eq!(keys("tagKeys=a&tagKeys=b%26c&x=1&tagKeys=d+e"), ["a", "b&c", "d e"]);
        assert!(keys("").is_empty());
    }

    #[test]
    fn tags_have_limits() {
        let tags = |count: usize| (0..count).map(|number| (format!("k{number}"), String::new())).collect();
        assert!(check(&tags(50), 0).is_ok());
        assert!(check(&tags(50), 1).is_err());
        for key in ["", "aws:x", "AWS:x", &"x".repeat(129)] {
            assert!(check(&BTreeMap::from([(key.to_owned(), String::new())]), 0).is_err(), "{key}");
        }
    }
}

//! `/2015-03-31/functions/NAME/aliases`: names for versions.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::LambdaApi;
use super::error::ApiError;
use super::name::Named;
use super::page::Page;
use super::request::{self, check_length, violation};
use crate::control_plane::Routes;
use crate::control_plane::Scope::{Deploy, Read};
use crate::function::Version;
use crate::published::{Alias, AliasError, Weight};

const NAME: &str = "(?!^[0-9]+$)([a-zA-Z0-9-_]+)";
const VERSION: &str = "(\\$LATEST|[0-9]+)";

pub fn routes() -> Routes<LambdaApi> {
    Routes::new()
        .at("/2015-03-31/functions/{name}/aliases")
        .get(Read, list)
        .post(Deploy, create)
        .at("/2015-03-31/functions/{name}/aliases/{alias}")
        .get(Read, get)
        .put(Deploy, update)
        .delete(Deploy, delete)
}

#[derive(Deserialize)]
struct Asked {
    #[serde(rename = "Name")]
    name: Option<String>,
    #[serde(rename = "FunctionVersion")]
    version: Option<String>,
    #[serde(rename = "Description")]
    description: Option<String>,
    #[serde(rename = "RoutingConfig")]
    routing: Option<Routing>,
    #[serde(rename = "RevisionId")]
    revision_id: Option<String>,
}

#[derive(Deserialize)]
struct Routing {
    #[serde(rename = "AdditionalVersionWeights")]
    weights: Option<Map<String, Value>>,
}

/// What of an alias may be said, checked one by one.
struct Checked {
    version: Option<Version>,
    description: Option<String>,
    /// `Some(None)`: none any more.
    weight: Option<Option<Weight>>,
}

impl Asked {
    fn check(&self) -> Result<Checked, ApiError> {
        let version = match self.version.as_deref() {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| pattern(text, "functionVersion", VERSION))?),
        };
        if let Some(description) = &self.description {
            check_length(description, "description", 256)?;
        }
        let weight = match &self.routing {
            None => None,
            Some(routing) => Some(weight(routing.weights.as_ref())?),
        };
        Ok(Checked { version, description: self.description.clone(), weight })
    }
}

fn weight(weights: Option<&Map<String, Value>>) -> Result<Option<Weight>, ApiError> {
    let Some(weights) = weights else { return Ok(None) };
    if weights.len() > 1 {
        let message = "Number of items in AdditionalVersionWeights cannot be greater than 1";
        return Err(ApiError::InvalidParameter(message.to_owned()));
    }
    let Some((version, share)) = weights.iter().next() else { return Ok(None) };
    let Ok(Version::Number(number)) = version.parse() else {
        return Err(match version.as_str() {
            crate::function::LATEST => latest_has_no_weights(),
            version => pattern(version, "routingConfig.additionalVersionWeights", "[0-9]+"),
        });
    };
    let share = match share.as_f64() {
        Some(share) if (0.0..=1.0).contains(&share) => share,
        _ => {
            let limit = if share.as_f64().is_some_and(|share| share < 0.0) {
                "greater than or equal to 0.0"
            } else {
                "less than or equal to 1.0"
            };
            let value = format!("{{{version}={share}}}");
            let constraint = format!("Map value must satisfy constraint: [Member must have value {limit}]");
            return Err(violation(&value, "routingConfig.additionalVersionWeights", &constraint));
        }
    };
    Ok(Some(Weight { version: number, share }))
}

/// The two versions of an alias must be two published ones.
fn check_together(alias: &Alias) -> Result<(), ApiError> {
    match (alias.version, alias.weight) {
        (Version::Latest, Some(_)) => Err(latest_has_no_weights()),
        (Version::Number(number), Some(weight)) if weight.version == number => {
            Err(ApiError::InvalidParameter(format!(
                "Invalid function version {number}. Function version {number} is already included in routing \
                 configuration."
            )))
        }
        _ => Ok(()),
    }
}

fn latest_has_no_weights() -> ApiError {
    let message = "$LATEST is not supported for an alias pointing to more than 1 version";
    ApiError::InvalidParameter(message.to_owned())
}

fn pattern(value: &str, field: &str, pattern: &str) -> ApiError {
    violation(value, field, &format!("Member must satisfy regular expression pattern: {pattern}"))
}

fn missing(field: &str) -> ApiError {
    ApiError::Validation(format!(
        "1 validation error detected: Value null at '{field}' failed to satisfy constraint: Member must not be null"
    ))
}

pub fn is_alias_name(name: &str) -> bool {
    (1..=128).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        && !name.bytes().all(|byte| byte.is_ascii_digit())
}

async fn create(
    State(api): State<LambdaApi>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let asked: Asked = request::json(body, "CreateAlias").await?;
    let named = request::function(&api, &headers, &name, None)?;
    let Some(name) = asked.name.clone() else { return Err(missing("name")) };
    if !is_alias_name(&name) {
        return Err(pattern(&name, "name", NAME));
    }
    let Checked { version, description, weight } = asked.check()?;
    let Some(version) = version else { return Err(missing("functionVersion")) };
    let alias = Alias {
        name: name.clone(),
        version,
        description: description.unwrap_or_default(),
        weight: weight.flatten(),
        revision_id: String::new(),
    };
    check_together(&alias)?;
    let created = api.invoker.published().create_alias(&named.name, alias).await;
    let created = created.map_err(|error| refused(error, &named, &name))?;
    Ok((StatusCode::CREATED, Json(described(&created, &named))))
}

async fn get(
    State(api): State<LambdaApi>,
    Path((name, alias)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let named = request::function(&api, &headers, &name, None)?;
    match api.invoker.published().alias(&named.name, &alias) {
        Some(alias) => Ok(Json(described(&alias, &named))),
        None => Err(ApiError::NotFound(format!("Cannot find alias arn: {}:{alias}", named.arn))),
    }
}

async fn update(
    State(api): State<LambdaApi>,
    Path((name, alias)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let asked: Asked = request::json(body, "UpdateAlias").await?;
    let named = request::function(&api, &headers, &name, None)?;
    let Checked { version, description, weight } = asked.check()?;
    let mut invalid = None;
    let change = |former: Alias| {
        if asked.revision_id.as_ref().is_some_and(|known| *known != former.revision_id) {
            return Err(AliasError::Revision);
        }
        let next = Alias {
            version: version.unwrap_or(former.version),
            description: description.unwrap_or(former.description),
            weight: weight.unwrap_or(former.weight),
            ..former
        };
        check_together(&next).map_err(|error| {
            invalid = Some(error);
            AliasError::Revision
        })?;
        Ok(next)
    };
    let updated = api.invoker.published().update_alias(&named.name, &alias, change).await;
    match updated {
        Ok(updated) => Ok(Json(described(&updated, &named))),
        Err(error) => Err(invalid.unwrap_or_else(|| refused(error, &named, &alias))),
    }
}

async fn delete(
    State(api): State<LambdaApi>,
    Path((name, alias)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let named = request::function(&api, &headers, &name, None)?;
    api.invoker.published().delete_alias(&named.name, &alias).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct Filter {
    #[serde(rename = "FunctionVersion")]
    version: Option<String>,
}

async fn list(
    State(api): State<LambdaApi>,
    Path(name): Path<String>,
    Query(filter): Query<Filter>,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let named = request::function(&api, &headers, &name, None)?;
    let mut aliases = api.invoker.published().aliases(&named.name);
    if let Some(wanted) = filter.version.filter(|wanted| !wanted.is_empty()) {
        let wanted: Version = wanted.parse().map_err(|_| pattern(&wanted, "functionVersion", VERSION))?;
        aliases.retain(|alias| match wanted {
            Version::Number(number) => alias.leads_to(number),
            Version::Latest => alias.version == Version::Latest,
        });
    }
    let (aliases, next) = page.of(aliases, |alias| alias.name.clone())?;
    let aliases: Vec<Value> = aliases.iter().map(|alias| described(alias, &named)).collect();
    let mut answer = json!({"Aliases": aliases});
    if let Some(next) = next {
        answer["NextMarker"] = next.into();
    }
    Ok(Json(answer))
}

fn described(alias: &Alias, named: &Named) -> Value {
    let mut described = json!({
        "AliasArn": format!("{}:{}", named.arn, alias.name),
        "Name": alias.name,
        "FunctionVersion": alias.version.to_string(),
        "Description": alias.description,
    });
    if let Some(weight) = alias.weight {
        let weights: Map<String, Value> = Map::from_iter([(weight.version.to_string(), weight.share.into())]);
        described["RoutingConfig"] = json!({"AdditionalVersionWeights": weights});
    }
    described["RevisionId"] = alias.revision_id.clone().into();
    described
}

fn refused(error: AliasError, named: &Named, alias: &str) -> ApiError {
    let arn = format!("{}:{alias}", named.arn);
    match error {
        AliasError::Exists => request::conflict(format!("Alias already exists: {arn}")),
        AliasError::Missing => ApiError::NotFound(format!("Alias not found: {arn}")),
        AliasError::NoVersion(version) => {
            ApiError::FunctionNotFound { arn: format!("{}:{version}", named.arn) }
        }
        AliasError::Revision => request::outdated("GetFunction/GetAlias"),
        AliasError::Store(reason) => ApiError::Store(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_not_only_digits() {
        for good in ["live", "2024-01-02", "v1", "1a", "_", "-"] {
            assert!(is_alias_name(good), "{good}");
        }
        for bad in ["", "2024", "0", "a b", "a:b", "é", &"a".repeat(129)] {
            assert!(!is_alias_name(bad), "{bad}");
        }
    }

    #[test]
    fn weights_are_one_between_nothing_and_all() {
        let weight = |text: &str| super::weight(Some(&serde_json::from_str(text).unwrap()));
        assert_eq!(weight("{}").unwrap(), None);
        assert_eq!(weight(r#"{"2": 0.1}"#).unwrap(), Some(Weight { version: 2, share: 0.1 }));
        assert_eq!(weight(r#"{"2": 1}"#).unwrap(), Some(Weight { version: 2, share: 1.0 }));
        for wrong in [
            r#"{"2": 0.1, "3": 0.1}"#,
            r#"{"2": 1.1}"#,
            r#"{"2": -0.1}"#,
            r#"{"2": "x"}"#,
            r#"{"$LATEST": 0.5}"#,
            r#"{"live": 0.5}"#,
        ] {
            assert!(weight(wrong).is_err(), "{wrong}");
        }
    }
}

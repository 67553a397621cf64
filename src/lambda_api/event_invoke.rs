//! `/2019-09-25/functions/NAME/event-invoke-config`: what becomes of asynchronous events. Of `$LATEST`
//! it stands in `function.yaml` or the template, of versions and aliases in the store.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::LambdaApi;
use super::error::ApiError;
use super::name::{self, Named};
use super::page::Page;
use super::request::{self, Qualified, check_range};
use crate::control_plane::Routes;
use crate::control_plane::Scope::{Deploy, Read};
use crate::destination::Destination;
use crate::function::{Asynchronous, LATEST};
use crate::published::{EVENT_INVOKE, EVENT_INVOKE_TIME};
use crate::store::Key;

pub fn routes() -> Routes<LambdaApi> {
    let path = "/2019-09-25/functions/{name}/event-invoke-config";
    Routes::new()
        .at(path)
        .get(Read, get)
        .put(Deploy, put)
        .post(Deploy, update)
        .delete(Deploy, delete)
        .at(&format!("{path}/list"))
        .get(Read, list)
}

#[derive(Deserialize)]
struct Asked {
    #[serde(rename = "MaximumRetryAttempts")]
    retries: Option<i64>,
    #[serde(rename = "MaximumEventAgeInSeconds")]
    age: Option<i64>,
    #[serde(rename = "DestinationConfig")]
    destinations: Option<Destinations>,
}

#[derive(Default, Deserialize)]
struct Destinations {
    #[serde(rename = "OnSuccess")]
    on_success: Option<To>,
    #[serde(rename = "OnFailure")]
    on_failure: Option<To>,
}

#[derive(Deserialize)]
struct To {
    #[serde(rename = "Destination")]
    destination: Option<String>,
}

impl To {
    /// An empty text is none.
    fn text(&self) -> Option<&str> {
        self.destination.as_deref().filter(|text| !text.is_empty())
    }
}

/// What is kept: in the words of the API, only what was said.
#[derive(Default, Clone, PartialEq, Debug)]
struct Config {
    retries: Option<u32>,
    age: Option<u32>,
    on_success: Option<String>,
    on_failure: Option<String>,
}

impl Config {
    fn read(document: &Value) -> Self {
        let number = |name: &str| document[name].as_u64().and_then(|number| u32::try_from(number).ok());
        let to = |name: &str| document["DestinationConfig"][name]["Destination"].as_str().map(str::to_owned);
        Self {
            retries: number("MaximumRetryAttempts"),
            age: number("MaximumEventAgeInSeconds"),
            on_success: to("OnSuccess"),
            on_failure: to("OnFailure"),
        }
    }

    fn of(asynchronous: &Asynchronous) -> Self {
        let Asynchronous { maximum_retries, maximum_age, on_success, on_failure } = asynchronous;
        Self {
            retries: *maximum_retries,
            age: maximum_age.map(|age| age.as_secs() as u32),
            on_success: on_success.as_ref().map(Destination::to_string),
            on_failure: on_failure.as_ref().map(Destination::to_string),
        }
    }

    fn document(&self) -> Value {
        let mut document = json!({});
        if let Some(retries) = self.retries {
            document["MaximumRetryAttempts"] = retries.into();
        }
        if let Some(age) = self.age {
            document["MaximumEventAgeInSeconds"] = age.into();
        }
        let to = |to: &Option<String>| match to {
            Some(destination) => json!({"Destination": destination}),
            None => json!({}),
        };
        document["DestinationConfig"] =
            json!({"OnSuccess": to(&self.on_success), "OnFailure": to(&self.on_failure)});
        document
    }

    /// `EventInvokeConfig` of a SAM function; `None`: it says nothing.
    fn property(&self) -> Option<Value> {
        let mut property = Map::new();
        if let Some(retries) = self.retries {
            property.insert("MaximumRetryAttempts".to_owned(), retries.into());
        }
        if let Some(age) = self.age {
            property.insert("MaximumEventAgeInSeconds".to_owned(), age.into());
        }
        let mut destinations = Map::new();
        for (name, to) in [("OnSuccess", &self.on_success), ("OnFailure", &self.on_failure)] {
            if let Some(to) = to {
                destinations.insert(name.to_owned(), sam_destination(to));
            }
        }
        if !destinations.is_empty() {
            property.insert("DestinationConfig".to_owned(), destinations.into());
        }
        Some(Value::Object(property))
            .filter(|property| property.as_object().is_some_and(|map| !map.is_empty()))
    }
}

/// SAM wants the type beside the ARN; handlerd's own kinds have none.
fn sam_destination(text: &str) -> Value {
    let kind = match Destination::parse(text) {
        Ok(Destination::Function { .. }) => "Lambda",
        Ok(Destination::Queue { .. }) => "SQS",
        Ok(Destination::Topic { .. }) => "SNS",
        Ok(Destination::Bus { .. }) => "EventBridge",
        Ok(Destination::Url(_) | Destination::Table { .. }) | Err(_) => return json!({"Destination": text}),
    };
    json!({"Type": kind, "Destination": text})
}

impl Asked {
    /// `former`: what is not said stays as it was.
    fn check(self, api: &LambdaApi, named: &Named, former: Option<Config>) -> Result<Config, ApiError> {
        if self.retries.is_none() && self.age.is_none() && self.destinations.is_none() {
            let message = "You must specify at least one of error handling or destination setting.";
            return Err(ApiError::InvalidParameter(message.to_owned()));
        }
        if let Some(retries) = self.retries {
            check_range(retries, "maximumRetryAttempts", 0, 2)?;
        }
        if let Some(age) = self.age {
            check_range(age, "maximumEventAgeInSeconds", 60, 21_600)?;
        }
        let mut config = former.unwrap_or_default();
        config.retries = self.retries.map(|retries| retries as u32).or(config.retries);
        config.age = self.age.map(|age| age as u32).or(config.age);
        if let Some(destinations) = self.destinations {
            for (to, kept) in [
                (destinations.on_success, &mut config.on_success),
                (destinations.on_failure, &mut config.on_failure),
            ] {
                let Some(to) = to else { continue };
                if let Some(text) = to.text() {
                    check_destination(api, named, text)?;
                }
                *kept = to.text().map(str::to_owned);
            }
        }
        Ok(config)
    }
}

fn check_destination(api: &LambdaApi, named: &Named, text: &str) -> Result<(), ApiError> {
    let invalid = || ApiError::InvalidParameter(format!("The destination ARN {text} is invalid."));
    match Destination::parse(text) {
        Ok(Destination::Function { name, .. }) if name == named.name => Err(ApiError::InvalidParameter(
            "You can't specify the function as a destination for itself.".to_owned(),
        )),
        Ok(Destination::Function { name, .. })
            if !api.invoker.deployments().current().functions.contains_key(name.as_str()) =>
        {
            Err(invalid())
        }
        Ok(_) => Ok(()),
        Err(_) => Err(invalid()),
    }
}

/// The function that is meant, always with a qualifier.
fn find(
    api: &LambdaApi,
    headers: &HeaderMap,
    name: &str,
    qualifier: Option<&str>,
) -> Result<(Named, String), ApiError> {
    let named = name::parse(api, headers, name, qualifier)?;
    if !request::exists(api, &named) || request::check_qualifier(api, &named).is_err() {
        return Err(ApiError::NotFound("The function doesn't exist.".to_owned()));
    }
    let qualifier = named.qualifier.clone().unwrap_or_else(|| LATEST.to_owned());
    Ok((named, qualifier))
}

/// What is said now, and since when (seconds since 1970).
async fn current(api: &LambdaApi, named: &Named, qualifier: &str) -> Result<Option<(Config, f64)>, ApiError> {
    let store = api.invoker.store();
    if qualifier != LATEST {
        let key = Key { kind: EVENT_INVOKE, owner: &named.name, name: qualifier };
        let kept = store.resource(key).await?;
        return Ok(kept.map(|kept| (Config::read(&kept), kept["LastModified"].as_f64().unwrap_or(0.0))));
    }
    let deployment = api.invoker.deployments().current();
    let attached = deployment.attached.get(named.name.as_str());
    let said = attached.map(|attached| attached.asynchronous.clone()).unwrap_or_default();
    if said == Asynchronous::default() {
        return Ok(None);
    }
    let key = Key { kind: EVENT_INVOKE_TIME, owner: &named.name, name: "" };
    let time = store.resource(key).await?.and_then(|time| time.as_f64());
    let deployed = deployment.functions.get(named.name.as_str()).and_then(|deployed| deployed.function());
    let modified = deployed.and_then(|function| {
        function.code.last_modified.duration_since(std::time::UNIX_EPOCH).ok().map(|time| time.as_secs_f64())
    });
    Ok(Some((Config::of(&said), time.or(modified).unwrap_or(0.0))))
}

async fn write(
    api: &LambdaApi,
    named: &Named,
    qualifier: &str,
    config: &Config,
) -> Result<Json<Value>, ApiError> {
    let now = request::now_ms() as f64 / 1000.0;
    let store = api.invoker.store();
    if qualifier == LATEST {
        request::set_property(api, named, "EventInvokeConfig", config.property()).await?;
        store.put_resource(Key { kind: EVENT_INVOKE_TIME, owner: &named.name, name: "" }, json!(now)).await?;
    } else {
        let mut document = config.document();
        document["LastModified"] = json!(now);
        let key = Key { kind: EVENT_INVOKE, owner: &named.name, name: qualifier };
        store.put_resource(key, document).await?;
    }
    Ok(Json(described(named, qualifier, config, now)))
}

async fn put(
    State(api): State<LambdaApi>,
    Path(name): Path<String>,
    Query(query): Query<Qualified>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let asked: Asked = request::json(body, "PutFunctionEventInvokeConfig").await?;
    let (named, qualifier) = find(&api, &headers, &name, query.qualifier.as_deref())?;
    let config = asked.check(&api, &named, None)?;
    write(&api, &named, &qualifier, &config).await
}

async fn update(
    State(api): State<LambdaApi>,
    Path(name): Path<String>,
    Query(query): Query<Qualified>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let asked: Asked = request::json(body, "UpdateFunctionEventInvokeConfig").await?;
    let (named, qualifier) = find(&api, &headers, &name, query.qualifier.as_deref())?;
    let former = current(&api, &named, &qualifier).await?;
    let (former, _) = former.ok_or_else(|| none(&named, &qualifier))?;
    let config = asked.check(&api, &named, Some(former))?;
    write(&api, &named, &qualifier, &config).await
}

async fn get(
    State(api): State<LambdaApi>,
    Path(name): Path<String>,
    Query(query): Query<Qualified>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let (named, qualifier) = find(&api, &headers, &name, query.qualifier.as_deref())?;
    let (config, modified) =
        current(&api, &named, &qualifier).await?.ok_or_else(|| none(&named, &qualifier))?;
    Ok(Json(described(&named, &qualifier, &config, modified)))
}

async fn delete(
    State(api): State<LambdaApi>,
    Path(name): Path<String>,
    Query(query): Query<Qualified>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let (named, qualifier) = find(&api, &headers, &name, query.qualifier.as_deref())?;
    current(&api, &named, &qualifier).await?.ok_or_else(|| none(&named, &qualifier))?;
    if qualifier == LATEST {
        request::set_property(&api, &named, "EventInvokeConfig", None).await?;
    } else {
        let key = Key { kind: EVENT_INVOKE, owner: &named.name, name: &qualifier };
        api.invoker.store().delete_resource(key).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn list(
    State(api): State<LambdaApi>,
    Path(name): Path<String>,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let (named, _) = find(&api, &headers, &name, None)?;
    let mut all = Vec::new();
    if let Some((config, modified)) = current(&api, &named, LATEST).await? {
        all.push((LATEST.to_owned(), described(&named, LATEST, &config, modified)));
    }
    for kept in api.invoker.store().resources(EVENT_INVOKE, Some(&named.name)).await? {
        let modified = kept.document["LastModified"].as_f64().unwrap_or(0.0);
        let described = described(&named, &kept.name, &Config::read(&kept.document), modified);
        all.push((kept.name, described));
    }
    let (page, next) = page.of(all, |(qualifier, _)| qualifier.clone())?;
    let configs: Vec<Value> = page.into_iter().map(|(_, described)| described).collect();
    let mut answer = json!({"FunctionEventInvokeConfigs": configs});
    if let Some(next) = next {
        answer["NextMarker"] = next.into();
    }
    Ok(Json(answer))
}

fn none(named: &Named, qualifier: &str) -> ApiError {
    let arn = &named.arn;
    ApiError::NotFound(format!("The function {arn}:{qualifier} doesn't have an EventInvokeConfig"))
}

fn described(named: &Named, qualifier: &str, config: &Config, modified: f64) -> Value {
    let mut described = config.document();
    described["LastModified"] = json!(modified);
    described["FunctionArn"] = format!("{}:{qualifier}", named.arn).into();
    described
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_is_written_for_both_readers() {
        let config = Config {
            retries: Some(0),
            age: None,
            on_success: Some("https://example.com/hook".into()),
            on_failure: Some("arn:aws:sqs:us-east-1:123456789012:dead".into()),
        };
        assert_eq!(Config::read(&config.document()), config);
        assert_eq!(
            config.property().unwrap(),
            json!({
                "MaximumRetryAttempts": 0,
                "DestinationConfig": {
                    "OnSuccess": {"Destination": "https://example.com/hook"},
                    "OnFailure": {"Type": "SQS", "Destination": "arn:aws:sqs:us-east-1:123456789012:dead"},
                },
            })
        );
        assert_eq!(Config::default().property(), None);
        assert_eq!(
            Config::default().document(),
            json!({"DestinationConfig": {"OnSuccess": {}, "OnFailure": {}}})
        );
    }
}

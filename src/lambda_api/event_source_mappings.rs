//! `/2015-03-31/event-source-mappings`: queues and streams that functions read.
//!
//! Mappings that a template or a `function.yaml` declares are shown beside those that were made here,
//! and are changed where they are written.

use std::collections::HashMap;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::LambdaApi;
use super::error::ApiError;
use super::name::{self, Named};
use crate::aws::Service;
use crate::control_plane::Routes;
use crate::control_plane::Scope::{Deploy, Read};
use crate::invoker::InvokeError;
use crate::store::{KeptMapping, MappingState, MappingStatus, declared_uuid};
use crate::trigger::{Invalid, Kind, Mapping, SourceArn, SourceKind};

const PAGE: usize = 100;
/// How long the source's endpoint may take to say whether it is there.
const PATIENCE: Duration = Duration::from_secs(5);

pub fn routes() -> Routes<LambdaApi> {
    Routes::new()
        .at("/2015-03-31/event-source-mappings")
        .get(Read, list)
        .post(Deploy, create)
        .at("/2015-03-31/event-source-mappings/")
        .get(Read, list)
        .post(Deploy, create)
        .at("/2015-03-31/event-source-mappings/{uuid}")
        .get(Read, get)
        .put(Deploy, update)
        .delete(Deploy, delete)
}

async fn create(
    State(api): State<LambdaApi>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let body = object(&body)?;
    let enabled = enabled(&body)?.unwrap_or(true);
    let named = function(&api, &headers, &body)?.ok_or_else(|| {
        ApiError::Validation(
            "1 validation error detected: Value null at 'functionName' failed to satisfy constraint: Member must not be \
             null"
            .to_owned(),
        )
    })?;
    let tags = match body.get("Tags") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(tags)) if tags.values().all(Value::is_string) => tags.clone(),
        Some(other) => {
            return Err(ApiError::Validation(format!("Tags must be an object of texts, not {other}")));
        }
    };
    let mapping = Mapping::from_properties(&body).map_err(refused)?;
    check(&api, &named, &mapping).await?;
    let kept = KeptMapping {
        uuid: uuid::Uuid::new_v4().to_string(),
        function: callee(&named),
        function_arn: named.invoked_arn(),
        enabled,
        deleted: false,
        modified: now(),
        tags,
        properties: mapping.properties(),
    };
    let declared = declared(&api);
    let change = move |all: &[KeptMapping]| {
        let mut others = all.iter().chain(&declared).filter(|other| !other.deleted);
        match others.find(|other| other.function == kept.function && other.source() == kept.source()) {
            Some(other) => Err(exists(&kept, &named.name, &other.uuid)),
            None => Ok((kept, MappingState::Creating)),
        }
    };
    let kept = api.invoker.store().change_mapping(change).await??;
    Ok((StatusCode::ACCEPTED, Json(describe(&kept, MappingState::Creating, None))))
}

async fn get(State(api): State<LambdaApi>, Path(uuid): Path<String>) -> Result<Json<Value>, ApiError> {
    let statuses = api.invoker.store().mapping_statuses().await?;
    let kept = all(&api).await?.into_iter().find(|mapping| mapping.uuid == uuid).ok_or_else(missing)?;
    Ok(Json(describe_as_it_is(&kept, &statuses)))
}

#[derive(Deserialize)]
struct Listed {
    #[serde(rename = "EventSourceArn")]
    source: Option<String>,
    #[serde(rename = "FunctionName")]
    function: Option<String>,
    #[serde(rename = "Marker")]
    marker: Option<String>,
    #[serde(rename = "MaxItems")]
    most: Option<String>,
}

async fn list(
    State(api): State<LambdaApi>,
    Query(listed): Query<Listed>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let size = match listed.most.as_deref().map(|text| (text, text.parse::<usize>())) {
        None => PAGE,
        Some((_, Ok(most @ 1..=10_000))) => most.min(PAGE),
        Some((text, _)) => {
            return Err(ApiError::Validation(format!(
                "1 validation error detected: Value '{text}' at 'maxItems' failed to satisfy constraint: Member must \
                 have value between 1 and 10000"
            )));
        }
    };
    let function = match &listed.function {
        Some(text) => Some(callee(&name::parse(&api, &headers, text, None)?)),
        None => None,
    };
    let statuses = api.invoker.store().mapping_statuses().await?;
    let mut mappings = all(&api).await?;
    mappings.sort_by(|one, other| one.uuid.cmp(&other.uuid));
    mappings.retain(|mapping| {
        function.as_ref().is_none_or(|function| *function == mapping.function)
            && listed.source.as_deref().is_none_or(|source| source == mapping.source())
            && listed.marker.as_ref().is_none_or(|marker| mapping.uuid > *marker)
    });
    let more = mappings.len() > size;
    mappings.truncate(size);
    let described: Vec<Value> =
        mappings.iter().map(|mapping| describe_as_it_is(mapping, &statuses)).collect();
    let mut answer = json!({"EventSourceMappings": described});
    if let (true, Some(last)) = (more, mappings.last()) {
        answer["NextMarker"] = last.uuid.as_str().into();
    }
    Ok(Json(answer))
}

async fn update(
    State(api): State<LambdaApi>,
    Path(uuid): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let body = object(&body)?;
    let enabled = enabled(&body)?;
    let named = function(&api, &headers, &body)?;
    refuse_declared(&api, &uuid)?;
    let before = api.invoker.store().mappings().await?.into_iter().find(|mapping| mapping.uuid == uuid);
    let before = before.ok_or_else(missing)?;
    let mapping = changed(&before, &body)?;
    if let Some(named) = &named {
        check(&api, named, &mapping).await?;
    }
    let change = move |all: &[KeptMapping]| {
        let before = all.iter().find(|mapping| mapping.uuid == uuid).ok_or_else(missing)?;
        if before.deleted {
            return Err(in_use("update"));
        }
        let mut after = before.clone();
        // Again: it may be another by now.
        after.properties = changed(before, &body)?.properties();
        after.enabled = enabled.unwrap_or(before.enabled);
        after.modified = now().max(before.modified + 1);
        if let Some(named) = &named {
            (after.function, after.function_arn) = (callee(named), named.invoked_arn());
            let mut others = all.iter().filter(|other| !other.deleted && other.uuid != after.uuid);
            let same =
                |other: &&KeptMapping| other.function == after.function && other.source() == after.source();
            if let Some(other) = others.find(same) {
                return Err(exists(&after, &named.name, &other.uuid));
            }
        }
        let state = match (before.enabled, after.enabled) {
            (true, false) => MappingState::Disabling,
            (false, true) => MappingState::Enabling,
            _ => MappingState::Updating,
        };
        Ok((after, state))
    };
    let was_enabled = before.enabled;
    let after = api.invoker.store().change_mapping(change).await??;
    let state = match (was_enabled, after.enabled) {
        (true, false) => MappingState::Disabling,
        (false, true) => MappingState::Enabling,
        _ => MappingState::Updating,
    };
    Ok((StatusCode::ACCEPTED, Json(describe(&after, state, None))))
}

async fn delete(
    State(api): State<LambdaApi>,
    Path(uuid): Path<String>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    refuse_declared(&api, &uuid)?;
    let change = move |all: &[KeptMapping]| {
        let mut mapping = all.iter().find(|mapping| mapping.uuid == uuid).cloned().ok_or_else(missing)?;
        if mapping.deleted {
            return Err(in_use("delete"));
        }
        mapping.deleted = true;
        Ok((mapping, MappingState::Deleting))
    };
    let deleted = api.invoker.store().change_mapping(change).await??;
    Ok((StatusCode::ACCEPTED, Json(describe(&deleted, MappingState::Deleting, None))))
}

// ---- What was asked

fn object(body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    serde_json::from_slice(body)
        .map_err(|error| ApiError::InvalidContent(format!("Could not parse request body into json: {error}")))
}

fn enabled(body: &Map<String, Value>) -> Result<Option<bool>, ApiError> {
    match body.get("Enabled") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(enabled)) => Ok(Some(*enabled)),
        Some(other) => Err(ApiError::Validation(format!("Enabled must be true or false, not {other}"))),
    }
}

fn function(
    api: &LambdaApi,
    headers: &HeaderMap,
    body: &Map<String, Value>,
) -> Result<Option<Named>, ApiError> {
    match body.get("FunctionName") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => name::parse(api, headers, text, None).map(Some),
        Some(other) => Err(ApiError::Validation(format!("FunctionName must be text, not {other}"))),
    }
}

/// As the invoker takes it.
fn callee(named: &Named) -> String {
    match &named.qualifier {
        Some(qualifier) => format!("{}:{qualifier}", named.name),
        None => named.name.clone(),
    }
}

fn changed(before: &KeptMapping, body: &Map<String, Value>) -> Result<Mapping, ApiError> {
    let mut properties = before.properties.clone();
    // AWS's words for what it does not do here are heard, too.
    let given = body.iter().filter(|(name, value)| {
        let fixed =
            ["FunctionName", "Enabled", "EventSourceArn", "StartingPosition", "StartingPositionTimestamp"];
        !value.is_null() && !fixed.contains(&name.as_str())
    });
    for (name, value) in given {
        properties.insert(name.clone(), value.clone());
    }
    Mapping::from_properties(&properties).map_err(refused)
}

fn refused(invalid: Invalid) -> ApiError {
    match invalid {
        Invalid::Constraint(message) => ApiError::Validation(message),
        Invalid::Parameter(message) => ApiError::InvalidParameter(message),
        Invalid::Unsupported(what) => ApiError::NotImplemented(what),
    }
}

fn missing() -> ApiError {
    ApiError::NotFound("The resource you requested does not exist.".to_owned())
}

fn in_use(verb: &str) -> ApiError {
    ApiError::Exception {
        status: StatusCode::BAD_REQUEST,
        code: "ResourceInUseException",
        message: format!("Cannot {verb} the event source mapping because it is in use."),
    }
}

fn exists(mapping: &KeptMapping, name: &str, uuid: &str) -> ApiError {
    let source = mapping.source();
    ApiError::Conflict(match SourceArn::parse(source).map(|source| source.kind) {
        Some(SourceKind::Queue { .. }) => format!(
            "An event source mapping with SQS arn (\" {source} \") and function (\" {name} \") already exists. Please \
             update or delete the existing mapping with UUID {uuid}"
        ),
        _ => format!(
            "The event source arn (\" {source} \") and function (\" {name} \") provided mapping already exists. Please \
             update or delete the existing mapping with UUID {uuid}"
        ),
    })
}

/// Whether there is a function, and a source for it. A source that cannot be asked at the moment may
/// be there: the mapping is made, and stays `Creating` until it answers.
async fn check(api: &LambdaApi, named: &Named, mapping: &Mapping) -> Result<(), ApiError> {
    let timeout = match api.invoker.resolve(&callee(named)).await {
        Ok(function) => Some(function.configuration.timeout),
        Err(InvokeError::NotFound(_)) => {
            return Err(ApiError::InvalidParameter("Function does not exist".to_owned()));
        }
        // It is there, and cannot run as it is.
        Err(_) => None,
    };
    let Some(source) = SourceArn::parse(&mapping.source_arn) else { return Ok(()) };
    let aws = api.invoker.delivery().aws();
    let (service, operation, asked) = match source.kind {
        SourceKind::Queue { .. } => (
            Service::Sqs,
            "GetQueueUrl",
            json!({"QueueName": source.name, "QueueOwnerAWSAccountId": source.account}),
        ),
        SourceKind::Kinesis => {
            (Service::Kinesis, "ListShards", json!({"StreamName": source.name, "MaxResults": 1}))
        }
        SourceKind::DynamoDb => {
            (Service::DynamoDbStreams, "DescribeStream", json!({"StreamArn": mapping.source_arn, "Limit": 1}))
        }
    };
    let answer = match aws.json_within(service, &source.region, operation, &asked, PATIENCE).await {
        Ok(answer) => answer,
        Err(error) if error.is_transient() => return Ok(()),
        Err(error) => {
            let code = error.code().unwrap_or_default();
            return Err(ApiError::InvalidParameter(match (source.kind, code) {
                (SourceKind::Queue { .. }, "QueueDoesNotExist" | "NonExistentQueue") => {
                    "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. SQS \
                     Error Message: The specified queue does not exist."
                        .to_owned()
                }
                (_, "ResourceNotFoundException") => format!("Stream not found: {}", mapping.source_arn),
                _ => error.to_string(),
            }));
        }
    };
    let (Some(url), Some(timeout)) = (answer["QueueUrl"].as_str(), timeout) else { return Ok(()) };
    let asked = json!({"QueueUrl": url, "AttributeNames": ["VisibilityTimeout"]});
    let attributes = aws.json_within(service, &source.region, "GetQueueAttributes", &asked, PATIENCE).await;
    let visibility = attributes.ok().and_then(|answer| {
        answer["Attributes"]["VisibilityTimeout"].as_str().and_then(|text| text.parse::<u64>().ok())
    });
    match visibility {
        Some(visibility) if visibility < timeout.as_secs() => Err(ApiError::InvalidParameter(format!(
            "Queue visibility timeout: {visibility} seconds is less than Function timeout: {} seconds",
            timeout.as_secs()
        ))),
        _ => Ok(()),
    }
}

// ---- What there is

/// Those that were made here, then those that files declare.
async fn all(api: &LambdaApi) -> Result<Vec<KeptMapping>, ApiError> {
    let mut all = api.invoker.store().mappings().await?;
    all.extend(declared(api));
    Ok(all)
}

fn declared(api: &LambdaApi) -> Vec<KeptMapping> {
    let deployment = api.invoker.deployments().current();
    let account = api.invoker.account();
    let mut declared = Vec::new();
    for (name, attached) in &deployment.attached {
        let function = deployment.functions.get(name).and_then(|deployed| deployed.function());
        let modified = function.map(|function| function.code.last_modified).unwrap_or(std::time::UNIX_EPOCH);
        for trigger in &attached.triggers {
            let Kind::Mapping(mapping) = &trigger.kind else { continue };
            let region = SourceArn::parse(&mapping.source_arn).map(|source| source.region);
            let region = region.unwrap_or_else(|| account.region.clone());
            declared.push(KeptMapping {
                uuid: declared_uuid(trigger),
                function: trigger.function.clone(),
                function_arn: account.function_arn(&region, &trigger.function),
                enabled: trigger.enabled,
                deleted: false,
                modified: jiff::Timestamp::try_from(modified).unwrap_or_default().as_millisecond(),
                tags: Map::new(),
                properties: mapping.properties(),
            });
        }
    }
    declared
}

fn refuse_declared(api: &LambdaApi, uuid: &str) -> Result<(), ApiError> {
    let deployment = api.invoker.deployments().current();
    let triggers = deployment.attached.values().flat_map(|attached| &attached.triggers);
    let mut mappings = triggers.filter(|trigger| matches!(trigger.kind, Kind::Mapping(_)));
    let Some(trigger) = mappings.find(|trigger| declared_uuid(trigger) == uuid) else { return Ok(()) };
    let line = trigger.source.line.map(|line| format!(":{line}")).unwrap_or_default();
    Err(ApiError::Conflict(format!(
        "The event source mapping {} is declared in {}{line}: change it there, it is deployed when the file is saved",
        trigger.name,
        trigger.source.path.display()
    )))
}

fn describe_as_it_is(mapping: &KeptMapping, statuses: &HashMap<String, MappingStatus>) -> Value {
    let status = statuses.get(&mapping.uuid);
    let begins = if mapping.enabled { MappingState::Creating } else { MappingState::Disabled };
    let state = status.map_or(begins, |status| status.state);
    describe(mapping, state, status.and_then(|status| status.result.as_deref()))
}

/// An EventSourceMappingConfiguration.
fn describe(mapping: &KeptMapping, state: MappingState, result: Option<&str>) -> Value {
    let is_stream = SourceArn::parse(mapping.source()).is_some_and(|source| source.kind.is_stream());
    let mut all = Map::new();
    all.insert("UUID".to_owned(), mapping.uuid.as_str().into());
    all.extend(mapping.properties.clone());
    let mut set = |name: &str, value: Value| drop(all.insert(name.to_owned(), value));
    let prefix = mapping.function_arn.split(":function:").next().unwrap_or_default();
    set("EventSourceMappingArn", format!("{prefix}:event-source-mapping:{}", mapping.uuid).into());
    set("FunctionArn", mapping.function_arn.as_str().into());
    set("LastModified", json!(mapping.modified as f64 / 1000.0));
    // Of queues AWS tells nothing; what is wrong is told here all the same.
    let result = match result {
        None if is_stream => Some("No records processed"),
        Some(result) if is_stream || result.starts_with("PROBLEM") => Some(result),
        _ => None,
    };
    if let Some(result) = result {
        set("LastProcessingResult", result.into());
    }
    set("State", state.name().into());
    let reason = if is_stream { "User action" } else { "USER_INITIATED" };
    set("StateTransitionReason", reason.into());
    Value::Object(all)
}

fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

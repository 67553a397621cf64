//! A FunctionConfiguration: a version of a function as AWS tells of it.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::super::LambdaApi;
use super::Uploads;
use crate::execution_environment::Snapshot;
use crate::function::{Function, LogFormat, Version};
use crate::hexadecimal::hex;

/// `qualifier`: as the caller gave it; it is part of the ARN then.
pub fn describe(api: &LambdaApi, function: &Function, region: &str, qualifier: Option<&str>) -> Value {
    let configuration = &function.configuration;
    let name = function.name.as_str();
    let mut arn = api.invoker.account().function_arn(region, name);
    if let Some(qualifier) = qualifier {
        arn = format!("{arn}:{qualifier}");
    }
    let account = &api.invoker.account().id;
    let upload = api.uploads.of(function);
    let (sha256, size) = Uploads::describe(upload.as_ref(), function);
    let own = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
    let architecture = upload.and_then(|upload| upload.architecture);
    let runtime = (api.runtime_of)(function);
    let role = configuration.role.clone().unwrap_or_else(|| format!("arn:aws:iam::{account}:role/handlerd"));
    let snapshot = api.invoker.environments().snapshot(function);
    let is_optimized = !matches!(snapshot, Snapshot::Off | Snapshot::Impossible(_));
    let mut description = json!({
        "Architectures": [architecture.as_deref().unwrap_or(own)],
        "CodeSha256": sha256,
        "CodeSize": size,
        "Description": configuration.description,
        "EphemeralStorage": {"Size": configuration.ephemeral_storage_mb},
        "FunctionArn": arn,
        "FunctionName": name,
        "Handler": configuration.handler,
        "LastModified": modified(function),
        "LoggingConfig": logging(function),
        "MemorySize": configuration.memory_mb,
        "PackageType": "Zip",
        "Role": role,
        "RuntimeVersionConfig": {"RuntimeVersionArn": runtime_version_arn(region, &runtime)},
        "Runtime": runtime,
        "SnapStart": {
            "ApplyOn": if configuration.snap_start { "PublishedVersions" } else { "None" },
            "OptimizationStatus": if is_optimized { "On" } else { "Off" },
        },
        "Timeout": configuration.timeout.as_secs(),
        "TracingConfig": {"Mode": if configuration.traced { "Active" } else { "PassThrough" }},
        "Version": function.version.to_string(),
    });
    match function.version {
        Version::Latest => api.progress.describe(name, &mut description),
        Version::Number(_) => {
            let (state, reason) = state_of(&snapshot);
            description["State"] = json!(state);
            if let Some((code, text)) = reason {
                description["StateReason"] = json!(text);
                description["StateReasonCode"] = json!(code);
            }
            description["LastUpdateStatus"] = json!("Successful");
        }
    }
    if !configuration.environment.is_empty() {
        let pair = |(name, value): &(String, String)| (name.clone(), value.clone().into());
        let variables: Map<String, Value> = configuration.environment.iter().map(pair).collect();
        description["Environment"] = json!({"Variables": variables});
    }
    if !configuration.layer_arns.is_empty() {
        let layers: Vec<Value> = configuration.layer_arns.iter().map(|arn| layer(api, arn)).collect();
        description["Layers"] = layers.into();
    }
    if let Some(target) = &configuration.dead_letter {
        description["DeadLetterConfig"] = json!({"TargetArn": target});
    }
    description["RevisionId"] = revision_id(function, &description).into();
    sorted(description)
}

/// Of a published version, with the code and the text of its reason. Of a snapshot that cannot be taken
/// AWS has nothing to say, as it can take any: then `OptimizationStatus` is `Off`, and the reason says why.
fn state_of(snapshot: &Snapshot) -> (&'static str, Option<(&'static str, String)>) {
    match snapshot {
        Snapshot::Off | Snapshot::Absent | Snapshot::Present => ("Active", None),
        Snapshot::InMaking => ("Pending", Some(("Creating", "The function is being created.".to_owned()))),
        Snapshot::Impossible(reason) => {
            ("Active", Some(("SnapStartNotPossible", format!("It is started without a snapshot: {reason}"))))
        }
        Snapshot::Failed(reason) => ("Failed", Some(("FunctionError", reason.clone()))),
    }
}

/// With the size of its file, as long as it is there: a deleted version goes on serving its functions.
fn layer(api: &LambdaApi, arn: &str) -> Value {
    let mut layer = json!({"Arn": arn});
    if let Some(found) = arn.parse().ok().and_then(|id| api.invoker.published().layer(&id)) {
        layer["CodeSize"] = found.size.into();
    }
    layer
}

/// Without its state, as lists have it.
pub fn listed(mut description: Value) -> Value {
    if let Some(fields) = description.as_object_mut() {
        fields.retain(|name, _| !name.starts_with("State") && !name.starts_with("LastUpdateStatus"));
    }
    description
}

pub fn runtime_version_arn(region: &str, runtime: &str) -> String {
    let digest = Sha256::digest(runtime);
    let hash = hex(&digest);
    format!("arn:aws:lambda:{region}::runtime:{hash}")
}

/// `2025-11-25T02:38:45.123+0000`
fn modified(function: &Function) -> String {
    let modified = jiff::Timestamp::try_from(function.code.last_modified).unwrap_or_default();
    modified.to_zoned(jiff::tz::TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string()
}

fn logging(function: &Function) -> Value {
    let logging = &function.configuration.logging;
    let group = function.log_group();
    match logging.format {
        LogFormat::Text => json!({"LogFormat": "Text", "LogGroup": group}),
        LogFormat::Json => json!({
            "ApplicationLogLevel": logging.application_level.as_deref().unwrap_or("INFO"),
            "LogFormat": "JSON",
            "LogGroup": group,
            "SystemLogLevel": "INFO",
        }),
    }
}

/// Changes with code, configuration and state, stays over restarts.
fn revision_id(function: &Function, description: &Value) -> String {
    let mut hash = Sha256::new();
    hash.update(function.code.sha256);
    hash.update(function.code.own_sha256);
    hash.update(format!("{:?}", function.configuration));
    for part in ["Version", "State", "LastUpdateStatus", "CodeSha256"] {
        hash.update(description[part].to_string());
    }
    let digest = hash.finalize();
    let bytes: [u8; 16] = digest[..16].try_into().expect("a hash has 32 bytes");
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

fn sorted(description: Value) -> Value {
    let Value::Object(fields) = description else { return description };
    let mut fields: Vec<(String, Value)> = fields.into_iter().collect();
    fields.sort_by(|one, other| one.0.cmp(&other.0));
    Value::Object(fields.into_iter().collect())
}

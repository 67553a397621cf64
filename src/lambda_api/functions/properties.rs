//! What CreateFunction and UpdateFunctionConfiguration say -> properties of `function.yaml`, in SAM's
//! words. What cannot be done here is refused by name, never dropped.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::error::ApiError;
use crate::deployment::Properties;

/// The fields that both operations have.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Settings {
    pub handler: Option<String>,
    pub runtime: Option<String>,
    pub role: Option<String>,
    pub description: Option<String>,
    pub timeout: Option<i64>,
    pub memory_size: Option<i64>,
    pub environment: Option<Environment>,
    pub logging_config: Option<LoggingConfig>,
    pub layers: Option<Vec<String>>,
    pub dead_letter_config: Option<DeadLetterConfig>,
    pub tracing_config: Option<TracingConfig>,
    pub ephemeral_storage: Option<EphemeralStorage>,
    pub snap_start: Option<SnapStart>,
    /// Everything else.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Environment {
    pub variables: Option<Map<String, Value>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct LoggingConfig {
    pub log_format: Option<String>,
    pub application_log_level: Option<String>,
    pub system_log_level: Option<String>,
    pub log_group: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeadLetterConfig {
    pub target_arn: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TracingConfig {
    pub mode: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct EphemeralStorage {
    pub size: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SnapStart {
    pub apply_on: Option<String>,
}

/// What AWS has and a machine of one's own has not.
const ELSEWHERE: [(&str, &str); 9] = [
    ("VpcConfig", "functions run in the network of this machine"),
    ("FileSystemConfigs", "functions see the files of this machine"),
    ("KMSKeyArn", "variables stand in function.yaml, unencrypted"),
    ("ImageConfig", "only zip files can be run"),
    ("CodeSigningConfigArn", "signatures are not checked"),
    ("TenancyConfig", "environments are not told apart by tenants"),
    ("DurableConfig", "durable functions are not supported yet"),
    ("CapacityProviderConfig", "there are no capacity providers"),
    ("PublishTo", "there are no capacity providers"),
];

impl Settings {
    /// Refuses what asks for something that handlerd does not have; empty values ask for nothing.
    pub fn check_others(&self) -> Result<(), ApiError> {
        for (name, reason) in ELSEWHERE {
            if self.others.get(name).is_some_and(|value| !is_empty(value)) {
                return Err(ApiError::InvalidParameter(format!(
                    "{name} is not supported by handlerd: {reason}. Leave it out."
                )));
            }
        }
        Ok(())
    }

    /// Those that were given.
    pub fn properties(&self) -> Properties {
        let mut properties = Properties::new();
        let mut set = |name: &'static str, value: Option<Value>| properties.push((name, value));
        for (name, value) in [("Handler", &self.handler), ("Runtime", &self.runtime), ("Role", &self.role)] {
            if let Some(value) = value {
                set(name, Some(value.as_str().into()));
            }
        }
        if let Some(description) = &self.description {
            set("Description", Some(description.as_str()).filter(|text| !text.is_empty()).map(Value::from));
        }
        for (name, value) in [("Timeout", self.timeout), ("MemorySize", self.memory_size)] {
            if let Some(value) = value {
                set(name, Some(value.into()));
            }
        }
        if let Some(environment) = &self.environment {
            let variables = environment.variables.clone().filter(|variables| !variables.is_empty());
            set("Environment", variables.map(|variables| json!({"Variables": variables})));
        }
        if let Some(logging) = &self.logging_config {
            set("LoggingConfig", logging.property());
        }
        if let Some(layers) = &self.layers {
            set("Layers", Some(layers).filter(|layers| !layers.is_empty()).map(|layers| json!(layers)));
        }
        if let Some(config) = &self.dead_letter_config {
            let target = config.target_arn.as_deref().filter(|target| !target.is_empty());
            let queue = |target: &str| {
                let kind = if target.contains(":sns:") { "SNS" } else { "SQS" };
                json!({"Type": kind, "TargetArn": target})
            };
            set("DeadLetterQueue", target.map(queue));
        }
        if let Some(mode) = self.tracing_config.as_ref().and_then(|config| config.mode.as_deref()) {
            set("Tracing", Some(mode).filter(|mode| *mode == "Active").map(Value::from));
        }
        if let Some(size) = self.ephemeral_storage.as_ref().and_then(|storage| storage.size) {
            set("EphemeralStorage", Some(size).filter(|size| *size != 512).map(|size| json!({"Size": size})));
        }
        if let Some(apply_on) = self.snap_start.as_ref().and_then(|snap_start| snap_start.apply_on.as_deref())
        {
            set("SnapStart", Some(apply_on).filter(|on| *on != "None").map(|on| json!({"ApplyOn": on})));
        }
        properties
    }
}

impl LoggingConfig {
    fn property(&self) -> Option<Value> {
        if self.log_format.as_deref() != Some("JSON") {
            return None;
        }
        let mut config = json!({"LogFormat": "JSON"});
        if let Some(level) = self.application_log_level.as_deref().filter(|level| *level != "INFO") {
            config["ApplicationLogLevel"] = level.into();
        }
        Some(config)
    }
}

/// Nothing, `""`, `[]`, `{}`, or a map of such: clients send them for what was never set.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
        Value::Number(_) => false,
    }
}

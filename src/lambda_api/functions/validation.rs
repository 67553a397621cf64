//! What AWS refuses about a function, in its words.

use serde_json::{Map, Value};

use super::super::LambdaApi;
use super::super::error::ApiError;
use super::properties::Settings;
use crate::execution_environment::{RESERVED, RESERVED_PREFIX};
use crate::function::LayerVersion;

/// All variables together, in their JSON form.
const ENVIRONMENT_LIMIT: usize = 4096;
const MOST_LAYERS: usize = 5;
/// The newest first, as the text that names them has it.
const RUNTIMES: [&str; 5] = ["python3.14", "python3.13", "python3.12", "python3.11", "python3.10"];
const RETIRED: [&str; 5] = ["python2.7", "python3.6", "python3.7", "python3.8", "python3.9"];
const ROLE: &str = "arn:(aws[a-zA-Z-]*)?:iam::\\d{12}:role/?[a-zA-Z_0-9+=,.@\\-_/]+";
const TARGET: &str = "(arn:(aws[a-zA-Z-]*)?:[a-z0-9-.]+:.*)|()";

/// Violations are told together.
#[derive(Default)]
pub struct Violations(Vec<String>);

impl Violations {
    pub fn add(&mut self, value: &str, field: &str, constraint: &str) {
        self.0.push(format!(
            "Value '{value}' at '{field}' failed to satisfy constraint: Member must {constraint}"
        ));
    }

    pub fn missing(&mut self, field: &str) {
        self.0.push(format!("Value null at '{field}' failed to satisfy constraint: Member must not be null"));
    }

    pub fn check(self) -> Result<(), ApiError> {
        let errors = if self.0.len() == 1 { "error" } else { "errors" };
        match self.0.len() {
            0 => Ok(()),
            count => Err(ApiError::Validation(format!(
                "{count} validation {errors} detected: {}",
                self.0.join("; ")
            ))),
        }
    }

    fn length(&mut self, value: Option<&String>, field: &str, most: usize) {
        if let Some(value) = value.filter(|value| value.chars().count() > most) {
            self.add(value, field, &format!("have length less than or equal to {most}"));
        }
    }

    fn range(&mut self, value: Option<i64>, field: &str, least: i64, most: i64) {
        match value {
            Some(value) if value < least => {
                self.add(&value.to_string(), field, &format!("have value greater than or equal to {least}"));
            }
            Some(value) if value > most => {
                self.add(&value.to_string(), field, &format!("have value less than or equal to {most}"));
            }
            _ => {}
        }
    }

    fn choice(&mut self, value: Option<&String>, field: &str, choices: &[&str]) {
        if let Some(value) = value.filter(|value| !choices.contains(&value.as_str())) {
            self.add(value, field, &format!("satisfy enum value set: [{}]", choices.join(", ")));
        }
    }

    pub fn architectures(&mut self, architectures: Option<&Vec<String>>) {
        let Some(architectures) = architectures else { return };
        let told = format!("[{}]", architectures.join(", "));
        if architectures.len() > 1 {
            self.add(&told, "architectures", "have length less than or equal to 1");
        }
        if architectures.iter().any(|name| !matches!(name.as_str(), "x86_64" | "arm64")) {
            let constraint = "satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not \
                              be null]";
            self.add(&told, "architectures", constraint);
        }
    }
}

/// What can be said without looking at anything else.
pub fn settings(settings: &Settings, violations: &mut Violations) {
    if let Some(role) = settings.role.as_ref().filter(|role| !is_role(role)) {
        violations.add(role, "role", &format!("satisfy regular expression pattern: {ROLE}"));
    }
    if let Some(handler) = &settings.handler {
        if handler.is_empty() || handler.contains(char::is_whitespace) {
            violations.add(handler, "handler", "satisfy regular expression pattern: [^\\s]+");
        }
        violations.length(Some(handler), "handler", 128);
    }
    violations.length(settings.description.as_ref(), "description", 256);
    violations.range(settings.timeout, "timeout", 1, 900);
    violations.range(settings.memory_size, "memorySize", 128, 10_240);
    if let Some(storage) = &settings.ephemeral_storage {
        violations.range(storage.size, "ephemeralStorage.size", 512, 10_240);
        if storage.size.is_none() {
            violations.missing("ephemeralStorage.size");
        }
    }
    if let Some(config) = &settings.tracing_config {
        violations.choice(config.mode.as_ref(), "tracingConfig.mode", &["Active", "PassThrough"]);
    }
    if let Some(config) = &settings.snap_start {
        violations.choice(config.apply_on.as_ref(), "snapStart.applyOn", &["PublishedVersions", "None"]);
    }
    if let Some(config) = &settings.logging_config {
        let levels = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
        violations.choice(config.log_format.as_ref(), "loggingConfig.logFormat", &["JSON", "Text"]);
        violations.choice(
            config.application_log_level.as_ref(),
            "loggingConfig.applicationLogLevel",
            &levels,
        );
        let levels = ["DEBUG", "INFO", "WARN"];
        violations.choice(config.system_log_level.as_ref(), "loggingConfig.systemLogLevel", &levels);
    }
    let target = settings.dead_letter_config.as_ref().and_then(|config| config.target_arn.as_ref());
    let is_target =
        |text: &String| text.is_empty() || (text.starts_with("arn:aws") && text.split(':').count() >= 6);
    if let Some(target) = target.filter(|target| !is_target(target)) {
        let field = "deadLetterConfig.targetArn";
        violations.add(target, field, &format!("satisfy regular expression pattern: {TARGET}"));
    }
}

fn is_role(role: &str) -> bool {
    let parts: Vec<&str> = role.splitn(6, ':').collect();
    let ["arn", partition, "iam", "", account, name] = parts[..] else { return false };
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    let name = name.strip_prefix("role").map(|name| name.strip_prefix('/').unwrap_or(name));
    let valid = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-/".contains(c);
    let is_name = name.is_some_and(|name| !name.is_empty() && name.chars().all(valid));
    (partition.is_empty() || partition.starts_with("aws")) && is_account && is_name
}

/// What needs a message of its own.
pub async fn meaning(api: &LambdaApi, settings: &Settings, region: &str) -> Result<(), ApiError> {
    settings.check_others()?;
    if let Some(runtime) = &settings.runtime {
        check_runtime(runtime)?;
    }
    let variables = settings.environment.as_ref().and_then(|environment| environment.variables.as_ref());
    if let Some(variables) = variables {
        check_environment(variables)?;
    }
    if let Some(config) = &settings.logging_config {
        let text = config.log_format.as_deref() != Some("JSON");
        if text && (config.application_log_level.is_some() || config.system_log_level.is_some()) {
            return Err(ApiError::InvalidParameter(
                "To set ApplicationLogLevel or SystemLogLevel, set LogFormat to JSON.".to_owned(),
            ));
        }
        for (name, value) in [("LogGroup", &config.log_group), ("SystemLogLevel", &config.system_log_level)] {
            let own = value
                .as_deref()
                .is_none_or(|value| value.is_empty() || value == "INFO" || value.starts_with("/aws/lambda/"));
            if !own {
                return Err(ApiError::InvalidParameter(format!(
                    "LoggingConfig.{name} is not supported by handlerd: each function has a log of its own, and the \
                     platform's lines are always written. Leave it out."
                )));
            }
        }
    }
    let target = settings.dead_letter_config.as_ref().and_then(|config| config.target_arn.as_deref());
    if let Some(target) = target.filter(|target| !target.is_empty())
        && !matches!(target.split(':').nth(2), Some("sqs" | "sns"))
    {
        return Err(ApiError::InvalidParameter(format!("The provided target arn {target} is invalid.")));
    }
    if let Some(layers) = &settings.layers {
        check_layers(api, layers, region).await?;
    }
    Ok(())
}

fn check_runtime(runtime: &str) -> Result<(), ApiError> {
    if RUNTIMES.contains(&runtime) {
        return Ok(());
    }
    Err(ApiError::InvalidParameter(match RETIRED.contains(&runtime) {
        true => format!(
            "The runtime parameter of {runtime} is no longer supported for creating or updating AWS Lambda functions. \
             We recommend you use a supported runtime while creating or updating functions."
        ),
        false => format!(
            "Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [{}] or be \
             a valid ARN",
            RUNTIMES.join(", ")
        ),
    }))
}

fn check_environment(variables: &Map<String, Value>) -> Result<(), ApiError> {
    let prefix = "Lambda was unable to configure your environment variables because the environment variables you have \
                  provided";
    for (name, value) in variables {
        let mut letters = name.chars();
        let valid = name.len() >= 2
            && letters.next().is_some_and(|first| first.is_ascii_alphabetic())
            && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        if !valid {
            return Err(ApiError::Validation(format!(
                "1 validation error detected: Value '{}' at 'environment.variables' failed to satisfy constraint: Map \
                 keys must satisfy constraint: [Member must satisfy regular expression pattern: \
                 [a-zA-Z]([a-zA-Z0-9_])+, Member must not be null]",
                crate::logs::escape_control(name)
            )));
        }
        if !value.is_string() {
            return Err(ApiError::Exception {
                status: http::StatusCode::BAD_REQUEST,
                code: "SerializationException",
                message: format!("the environment variable {name} must be a string"),
            });
        }
    }
    let reserved: Vec<&str> = variables
        .keys()
        .map(String::as_str)
        .filter(|name| RESERVED.contains(name) || name.starts_with(RESERVED_PREFIX))
        .collect();
    if !reserved.is_empty() {
        return Err(ApiError::InvalidParameter(format!(
            "{prefix} contains reserved keys that are currently not supported for modification. Reserved keys used in \
             this request: {}",
            reserved.join(", ")
        )));
    }
    let measured = Value::Object(variables.clone()).to_string();
    if measured.len() > ENVIRONMENT_LIMIT {
        return Err(ApiError::InvalidParameter(format!(
            "{prefix} exceeded the 4KB limit. String measured: {measured}"
        )));
    }
    Ok(())
}

async fn check_layers(api: &LambdaApi, layers: &[String], region: &str) -> Result<(), ApiError> {
    let refuse = |text: String| Err(ApiError::InvalidParameter(text));
    if layers.len() > MOST_LAYERS {
        return refuse("Cannot reference more than 5 layers.".to_owned());
    }
    let mut known: Vec<(String, &str)> = Vec::new();
    for arn in layers {
        let Ok(layer) = arn.parse::<LayerVersion>() else {
            return Err(ApiError::Validation(format!(
                "1 validation error detected: Value '[{}]' at 'layers' failed to satisfy constraint: Member must satisfy \
                 constraint: [Member must have length less than or equal to 140, Member must satisfy regular expression \
                 pattern: arn:[a-zA-Z0-9-]+:lambda:[a-zA-Z0-9-]+:\\d{{12}}:layer:[a-zA-Z0-9-_]+:[0-9]+, Member must not \
                 be null]",
                layers.join(", ")
            )));
        };
        if arn.split(':').nth(3) != Some(region) {
            return refuse(format!(
                "Layers are not in the same region as the function. Layers are expected to be in region {region}."
            ));
        }
        if let Some((_, former)) = known.iter().find(|(name, _)| *name == layer.name) {
            return refuse(format!(
                "Two different versions of the same layer are not allowed to be referenced in the same function. \
                 {former} and {arn} are versions of the same layer."
            ));
        }
        let folder = layer.folder(&api.state_dir());
        if !folder.is_dir() {
            return refuse(format!("Layer version {arn} does not exist."));
        }
        known.push((layer.name, arn));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn roles_are_as_aws_writes_them() {
        for role in ["arn:aws:iam::123456789012:role/r", "arn:aws:iam::123456789012:role/service-role/x_y"] {
            assert!(is_role(role), "{role}");
        }
        for role in [
            "",
            "r1",
            "arn:aws:iam::1:role/r",
            "arn:aws:iam::123456789012:user/r",
            "arn:aws:iam::123456789012:role/a b",
        ] {
            assert!(!is_role(role), "{role}");
        }
    }

    #[test]
    fn violations_are_counted() {
        let mut violations = Violations::default();
        let wrong: Settings = serde_json::from_value(json!({"Role": "r1", "Timeout": 901})).unwrap();
        settings(&wrong, &mut violations);
        let Err(ApiError::Validation(text)) = violations.check() else { panic!() };
        assert_eq!(
            text,
            format!(
                "2 validation errors detected: Value 'r1' at 'role' failed to satisfy constraint: Member must satisfy \
                 regular expression pattern: {ROLE}; Value '901' at 'timeout' failed to satisfy constraint: Member must \
                 have value less than or equal to 900"
            )
        );
    }

    #[test]
    fn variables_have_a_limit() {
        let variables = json!({"LARGE_VAR": "x".repeat(4096)});
        let Err(ApiError::InvalidParameter(text)) = check_environment(variables.as_object().unwrap()) else {
            panic!()
        };
        assert!(text.contains("exceeded the 4KB limit. String measured: {\"LARGE_VAR\":\"xxx"), "{text}");
        assert!(check_environment(json!({"OK": "yes"}).as_object().unwrap()).is_ok());
        assert!(check_environment(json!({"AWS_REGION": "x"}).as_object().unwrap()).is_err());
        assert!(check_environment(json!({"A": "x"}).as_object().unwrap()).is_err());
    }
}

//! `function.yaml`: the *Properties* of a SAM `AWS::Serverless::Function`, at the top level.
//!
//! What is not supported is never dropped in silence: a property that SAM knows is reported as
//! ignored, one that nobody knows as a mistake.

use std::path::Path;
use std::time::Duration;

use super::discover::{Problem, Severity};
use super::yaml::{self, Node};
use crate::execution_environment::{RESERVED, RESERVED_PREFIX};
use crate::function::{Configuration, LogFormat};

/// Lambda's limit for all variables together, in their JSON form.
const ENVIRONMENT_LIMIT: usize = 4096;

/// Properties that AWS::Serverless::Function has and that mean nothing here, or not yet.
const IGNORED: [&str; 38] = [
    "Architectures",
    "AssumeRolePolicyDocument",
    "AutoPublishAlias",
    "AutoPublishAliasAllProperties",
    "AutoPublishCodeSha256",
    "CapacityProviderConfig",
    "CodeSigningConfigArn",
    "CodeUri",
    "DeadLetterQueue",
    "DeploymentPreference",
    "DurableConfig",
    "EphemeralStorage",
    "EventInvokeConfig",
    "Events",
    "FileSystemConfigs",
    "FunctionName",
    "FunctionScalingConfig",
    "FunctionUrlConfig",
    "ImageConfig",
    "ImageUri",
    "InlineCode",
    "KmsKeyArn",
    "Layers",
    "PackageType",
    "PermissionsBoundary",
    "Policies",
    "PropagateTags",
    "ProvisionedConcurrencyConfig",
    "RecursiveLoop",
    "ReservedConcurrentExecutions",
    "Role",
    "RolePath",
    "RuntimeManagementConfig",
    "SnapStart",
    "Tags",
    "TenancyConfig",
    "Tracing",
    "VpcConfig",
];
const SUPPORTED: [&str; 7] =
    ["Description", "Environment", "Handler", "LoggingConfig", "MemorySize", "Runtime", "Timeout"];

/// The configuration that the file describes; defaults where it says nothing or does not exist.
pub fn read(path: &Path, problems: &mut Vec<Problem>) -> Configuration {
    let mut reader = Reader { path, problems, configuration: Configuration::default() };
    match std::fs::read_to_string(path) {
        Ok(text) => reader.file(&text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => reader.error(None, format!("cannot be read: {error}")),
    }
    reader.configuration
}

struct Reader<'a> {
    path: &'a Path,
    problems: &'a mut Vec<Problem>,
    configuration: Configuration,
}

impl Reader<'_> {
    fn file(&mut self, text: &str) {
        let node = match yaml::parse(text) {
            Ok(Some(node)) if !node.is_null() => node,
            Ok(_) => return,
            Err(error) => return self.error(Some(error.line), format!("is not valid YAML: {}", error.text)),
        };
        let Some(properties) = node.mapping() else {
            return self.error(Some(node.line), "must be a map of properties, such as `Timeout: 10`".into());
        };
        for (key, value) in properties {
            let Some(name) = key.text() else {
                self.error(Some(key.line), "a property's name must be plain text".into());
                continue;
            };
            self.property(name, key.line, value);
        }
    }

    fn property(&mut self, name: &str, line: usize, value: &Node) {
        match name {
            "Handler" => {
                let valid = |text: &&str| {
                    text.len() <= 128 && !text.contains(char::is_whitespace) && !text.is_empty()
                };
                match value.text().filter(valid) {
                    Some(handler) => self.configuration.handler = handler.to_owned(),
                    None => self.expected(name, value, "a handler such as `lambda_function.lambda_handler`"),
                }
            }
            "Runtime" => match value.text().filter(|text| is_python(text)) {
                Some(runtime) => self.configuration.runtime = Some(runtime.to_owned()),
                None => self.expected(name, value, "a Python runtime such as `python3.12`"),
            },
            "Timeout" => {
                if let Some(seconds) =
                    self.number(name, value, 1, 900, "a whole number of seconds from 1 to 900")
                {
                    self.configuration.timeout = Duration::from_secs(seconds);
                }
            }
            "MemorySize" => {
                let expected = "a whole number of megabytes from 128 to 10240";
                if let Some(megabytes) = self.number(name, value, 128, 10_240, expected) {
                    self.configuration.memory_mb = megabytes as u32;
                }
            }
            "Description" => match value.text().filter(|text| text.chars().count() <= 256) {
                Some(text) => self.configuration.description = text.to_owned(),
                None => self.expected(name, value, "a text of at most 256 characters"),
            },
            "Environment" => self.environment(value),
            "LoggingConfig" => self.logging(value),
            _ if IGNORED.contains(&name) => {
                self.warning(line, format!("`{name}` is ignored: handlerd does not support it yet"));
            }
            _ => {
                let hint =
                    nearest(name).map(|near| format!("\nhint: did you mean `{near}`?")).unwrap_or_default();
                self.warning(
                    line,
                    format!("`{name}` is no property of AWS::Serverless::Function; it is ignored{hint}"),
                );
            }
        }
    }

    fn environment(&mut self, value: &Node) {
        let Some(entries) = value.mapping() else {
            return self.expected("Environment", value, "a map with `Variables`");
        };
        for (key, value) in entries {
            match (key.text(), value.mapping()) {
                (Some("Variables"), Some(variables)) => {
                    for (key, value) in variables {
                        self.variable(key, value);
                    }
                }
                (Some("Variables"), None) if value.is_null() => {}
                (Some("Variables"), None) => self.expected("Variables", value, "a map of names and values"),
                (other, _) => {
                    let other = other.unwrap_or("?");
                    let hint = "hint: variables stand under `Environment: Variables:`";
                    self.warning(key.line, format!("`{other}` under `Environment` is ignored\n{hint}"));
                }
            }
        }
        let size = environment_size(&self.configuration.environment);
        if size > ENVIRONMENT_LIMIT {
            let text =
                format!("the environment variables take {size} bytes; Lambda's limit is {ENVIRONMENT_LIMIT}");
            self.error(Some(value.line), text);
        }
    }

    fn variable(&mut self, key: &Node, value: &Node) {
        let Some(name) = key.text() else {
            return self.error(Some(key.line), "a variable's name must be text".into());
        };
        if let Err(reason) = check_variable_name(name) {
            return self.error(Some(key.line), reason);
        }
        match value.text() {
            _ if value.is_null() => self.configuration.environment.push((name.to_owned(), String::new())),
            Some(text) => self.configuration.environment.push((name.to_owned(), text.to_owned())),
            None => {
                self.expected(name, value, "text, a number or true/false (intrinsics need a whole template)")
            }
        }
    }

    fn logging(&mut self, value: &Node) {
        let Some(entries) = value.mapping() else {
            return self.expected("LoggingConfig", value, "a map such as `LogFormat: JSON`");
        };
        for (key, value) in entries {
            match (key.text().unwrap_or("?"), value.text().unwrap_or_default()) {
                ("LogFormat", "Text") => self.configuration.logging.format = LogFormat::Text,
                ("LogFormat", "JSON") => self.configuration.logging.format = LogFormat::Json,
                ("LogFormat", _) => self.expected("LogFormat", value, "`Text` or `JSON`"),
                (
                    "ApplicationLogLevel",
                    level @ ("TRACE" | "DEBUG" | "INFO" | "WARN" | "ERROR" | "FATAL"),
                ) => {
                    self.configuration.logging.application_level = Some(level.to_owned());
                }
                ("ApplicationLogLevel", _) => {
                    self.expected("ApplicationLogLevel", value, "TRACE, DEBUG, INFO, WARN, ERROR or FATAL");
                }
                (other, _) => {
                    self.warning(key.line, format!("`LoggingConfig.{other}` is ignored: not supported yet"))
                }
            }
        }
        let logging = &self.configuration.logging;
        if logging.application_level.is_some() && logging.format == LogFormat::Text {
            let text = "`ApplicationLogLevel` needs `LogFormat: JSON`, as on Lambda";
            self.error(Some(value.line), text.into());
        }
    }

    fn number(&mut self, name: &str, value: &Node, least: u64, most: u64, expected: &str) -> Option<u64> {
        let number =
            value.text().and_then(|text| text.parse().ok()).filter(|number| (least..=most).contains(number));
        if number.is_none() {
            self.expected(name, value, expected);
        }
        number
    }

    fn expected(&mut self, name: &str, value: &Node, expected: &str) {
        self.error(Some(value.line), format!("`{name}` must be {expected}, not {}", value.kind()));
    }

    fn error(&mut self, line: Option<usize>, text: String) {
        self.problems.push(Problem { severity: Severity::Error, path: self.path.to_owned(), line, text });
    }

    fn warning(&mut self, line: usize, text: String) {
        let path = self.path.to_owned();
        self.problems.push(Problem { severity: Severity::Warning, path, line: Some(line), text });
    }
}

/// Lambda's rules for the name of an environment variable.
pub fn check_variable_name(name: &str) -> Result<(), String> {
    let mut characters = name.chars();
    let starts_well = characters.next().is_some_and(|first| first.is_ascii_alphabetic());
    if RESERVED.contains(&name) || name.starts_with(RESERVED_PREFIX) {
        return Err(format!("`{name}` is reserved: Lambda sets it itself and refuses it in a configuration"));
    }
    if !starts_well || name.len() < 2 || !characters.all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(format!(
            "`{name}` is not a name that Lambda allows for an environment variable: a letter, then letters, digits \
             and `_`, at least two characters"
        ));
    }
    Ok(())
}

pub fn environment_size(variables: &[(String, String)]) -> usize {
    let map: serde_json::Map<String, serde_json::Value> =
        variables.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    serde_json::to_string(&map).map_or(0, |text| text.len())
}

fn is_python(runtime: &str) -> bool {
    let version = runtime.strip_prefix("python3.").unwrap_or_default();
    !version.is_empty() && version.len() <= 2 && version.bytes().all(|byte| byte.is_ascii_digit())
}

/// A known property that is at most two slips away.
fn nearest(name: &str) -> Option<&'static str> {
    let distance = |known: &&&str| edits(&name.to_lowercase(), &known.to_lowercase());
    SUPPORTED.iter().chain(IGNORED.iter()).min_by_key(distance).filter(|known| distance(known) <= 2).copied()
}

/// Levenshtein's distance.
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.chars().enumerate() {
            let change = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> (Configuration, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("function.yaml");
        std::fs::write(&path, text).unwrap();
        let mut problems = Vec::new();
        let configuration = read(&path, &mut problems);
        let prefix = format!("{}/", folder.path().display());
        (configuration, problems.iter().map(|problem| problem.to_string().replace(&prefix, "")).collect())
    }

    #[test]
    fn reads_what_it_supports() {
        let (configuration, problems) = read_text(
            "Handler: app.main\nRuntime: python3.12\nTimeout: 10\nMemorySize: 256\nDescription: x\n\
             Environment:\n  Variables:\n    TABLE: items\n    COUNT: 5\n    EMPTY:\n\
             LoggingConfig:\n  LogFormat: JSON\n  ApplicationLogLevel: DEBUG\n",
        );
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(configuration.handler, "app.main");
        assert_eq!(configuration.runtime.as_deref(), Some("python3.12"));
        assert_eq!((configuration.timeout.as_secs(), configuration.memory_mb), (10, 256));
        let variables: Vec<_> =
            configuration.environment.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(variables, [("TABLE", "items"), ("COUNT", "5"), ("EMPTY", "")]);
        assert_eq!(configuration.logging.application_level.as_deref(), Some("DEBUG"));
    }

    #[test]
    fn says_what_it_does_not_support() {
        let (configuration, problems) = read_text("Timout: 5\nTracing: Active\nTimeout: 0\nWidth: 3\n");
        assert_eq!(configuration.timeout.as_secs(), 3);
        assert_eq!(
            problems,
            [
                "function.yaml:1: `Timout` is no property of AWS::Serverless::Function; it is ignored\n\
                 hint: did you mean `Timeout`?",
                "function.yaml:2: `Tracing` is ignored: handlerd does not support it yet",
                "function.yaml:3: `Timeout` must be a whole number of seconds from 1 to 900, not `0`",
                "function.yaml:4: `Width` is no property of AWS::Serverless::Function; it is ignored",
            ]
        );
    }

    #[test]
    fn refuses_what_lambda_refuses() {
        for (text, expected) in [
            ("Environment:\n  Variables:\n    AWS_REGION: x\n", "`AWS_REGION` is reserved"),
            ("Environment:\n  Variables:\n    1A: x\n", "not a name that Lambda allows"),
            ("Environment:\n  Variables:\n    T: !Ref Table\n", "not a name that Lambda allows"),
            ("Environment:\n  Variables:\n    TT: !Ref Table\n", "not `!Ref`"),
            ("Runtime: nodejs20.x\n", "must be a Python runtime"),
            ("MemorySize: 64\n", "from 128 to 10240"),
            ("- a\n", "must be a map"),
            ("A: [\n", "is not valid YAML"),
            ("LoggingConfig:\n  ApplicationLogLevel: INFO\n", "needs `LogFormat: JSON`"),
        ] {
            let (_, problems) = read_text(text);
            assert!(problems.iter().any(|problem| problem.contains(expected)), "{text}: {problems:?}");
        }
        let long = format!("Environment:\n  Variables:\n    LONG: {}\n", "x".repeat(4096));
        assert!(read_text(&long).1[0].contains("Lambda's limit is 4096"));
    }
}

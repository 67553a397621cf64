//! The properties that say how a function is run, as SAM and CloudFormation name them: shared by
//! `function.yaml` and templates.

use std::path::Path;
use std::time::Duration;

use super::discover::{Problem, Severity};
use super::yaml::Node;
use crate::execution_environment::{RESERVED, RESERVED_PREFIX};
use crate::function::{Configuration, LogFormat};

/// Lambda's limit for all variables together, in their JSON form.
const ENVIRONMENT_LIMIT: usize = 4096;

/// The properties that are read here.
pub const NAMES: [&str; 7] =
    ["Handler", "Runtime", "Timeout", "MemorySize", "Description", "Environment", "LoggingConfig"];

/// Reads properties into a configuration, one by one.
pub struct Reader<'a> {
    path: &'a Path,
    problems: &'a mut Vec<Problem>,
    pub configuration: Configuration,
}

impl<'a> Reader<'a> {
    pub fn new(path: &'a Path, problems: &'a mut Vec<Problem>, configuration: Configuration) -> Self {
        Self { path, problems, configuration }
    }

    /// `false`: it is none of the properties that are read here.
    pub fn property(&mut self, name: &str, value: &Node) -> bool {
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
            _ => return false,
        }
        true
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
            None if is_intrinsic(value) => {
                self.expected(name, value, "text, a number or true/false (intrinsics need a whole template)")
            }
            None => self.expected(name, value, "text, a number or true/false"),
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

    pub fn expected(&mut self, name: &str, value: &Node, expected: &str) {
        self.error(Some(value.line), format!("`{name}` must be {expected}, not {}", value.kind()));
    }

    /// What others have found in the same file.
    pub fn take(&mut self, problems: Vec<Problem>) {
        self.problems.extend(problems);
    }

    pub fn error(&mut self, line: Option<usize>, text: String) {
        self.problems.push(Problem { severity: Severity::Error, path: self.path.to_owned(), line, text });
    }

    pub fn warning(&mut self, line: usize, text: String) {
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

fn environment_size(variables: &[(String, String)]) -> usize {
    let map: serde_json::Map<String, serde_json::Value> =
        variables.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    serde_json::to_string(&map).map_or(0, |text| text.len())
}

fn is_intrinsic(value: &Node) -> bool {
    let kind = value.kind();
    kind.starts_with("`!") || kind.starts_with("`Fn::") || kind == "`Ref`"
}

pub fn is_python(runtime: &str) -> bool {
    let version = runtime.strip_prefix("python3.").unwrap_or_default();
    !version.is_empty() && version.len() <= 2 && version.bytes().all(|byte| byte.is_ascii_digit())
}

//! The properties that say how a function is run, as SAM and CloudFormation name them: shared by
//! `function.yaml` and templates.

mod asynchronous;

use std::path::Path;
use std::time::Duration;

use super::discover::{Problem, Severity};
use super::nearest::hint;
use super::yaml::Node;
use crate::execution_environment::{RESERVED, RESERVED_PREFIX};
use crate::function::{Attached, Configuration, LogFormat, RecursiveLoop};

/// Lambda's limit for all variables together, in their JSON form.
const ENVIRONMENT_LIMIT: usize = 4096;

/// Tags of one function.
const MOST_TAGS: usize = 50;

/// The properties that are read here, by the names that SAM and CloudFormation share.
const SHARED: [&str; 13] = [
    "Description",
    "Environment",
    "EphemeralStorage",
    "Handler",
    "LoggingConfig",
    "MemorySize",
    "RecursiveLoop",
    "ReservedConcurrentExecutions",
    "Role",
    "Runtime",
    "SnapStart",
    "Tags",
    "Timeout",
];
/// Those that only SAM has.
const OF_SAM: [&str; 4] = ["AutoPublishAlias", "DeadLetterQueue", "EventInvokeConfig", "Tracing"];
/// Those that are called otherwise in CloudFormation.
const OF_CLOUDFORMATION: [&str; 2] = ["DeadLetterConfig", "TracingConfig"];

/// What SAM's functions and `function.yaml` may say.
pub fn sam_names() -> impl Iterator<Item = &'static str> {
    SHARED.into_iter().chain(OF_SAM)
}

/// What CloudFormation's functions may say.
pub fn cloudformation_names() -> impl Iterator<Item = &'static str> {
    SHARED.into_iter().chain(OF_CLOUDFORMATION)
}

/// Reads properties into a configuration, one by one.
pub struct Reader<'a> {
    path: &'a Path,
    problems: &'a mut Vec<Problem>,
    pub configuration: Configuration,
    pub attached: Attached,
}

impl<'a> Reader<'a> {
    pub fn new(path: &'a Path, problems: &'a mut Vec<Problem>, configuration: Configuration) -> Self {
        Self { path, problems, configuration, attached: Attached::default() }
    }

    /// By the names of CloudFormation.
    pub fn cloudformation(&mut self, name: &str, value: &Node) -> bool {
        match name {
            "DeadLetterConfig" => self.dead_letter(name, value, false),
            "TracingConfig" => match value.get("Mode") {
                Some(mode) if value.mapping().is_some_and(|entries| entries.len() == 1) => {
                    self.tracing("TracingConfig.Mode", mode, &["Active", "PassThrough"]);
                }
                _ => self.expected(name, value, "a map such as `Mode: Active`"),
            },
            name if OF_SAM.contains(&name) => return false,
            name => return self.property(name, value),
        }
        true
    }

    /// By the names of SAM. `false`: it is none of the properties that are read here.
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
            "Role" => match value.text().filter(|text| !text.is_empty()) {
                Some(role) => self.configuration.role = Some(role.to_owned()),
                None => self.expected(name, value, "the ARN of a role"),
            },
            "Tags" => self.tags(value),
            "ReservedConcurrentExecutions" => {
                let most = i32::MAX as u64;
                if let Some(count) = self.number(name, value, 0, most, "a whole number, 0 or more") {
                    self.attached.reserved_concurrency = Some(count as u32);
                }
            }
            "EphemeralStorage" => {
                let expected = "a map such as `Size: 1024`, a whole number of megabytes from 512 to 10240";
                let size = self.only(name, value, "Size", expected);
                if let Some(size) = size.and_then(|size| self.number(name, size, 512, 10_240, expected)) {
                    self.configuration.ephemeral_storage_mb = size as u32;
                }
            }
            "SnapStart" => {
                let expected = "a map such as `ApplyOn: PublishedVersions` (or `None`)";
                if let Some(value) = self.only(name, value, "ApplyOn", expected) {
                    match value.text() {
                        Some("PublishedVersions") => self.configuration.snap_start = true,
                        Some("None") => self.configuration.snap_start = false,
                        _ => self.expected("SnapStart.ApplyOn", value, "`PublishedVersions` or `None`"),
                    }
                }
            }
            "RecursiveLoop" => match value.text() {
                Some("Terminate") => self.attached.recursive_loop = RecursiveLoop::Terminate,
                Some("Allow") => self.attached.recursive_loop = RecursiveLoop::Allow,
                _ => self.expected(name, value, "`Allow` or `Terminate`"),
            },
            "Tracing" => self.tracing(name, value, &["Active", "PassThrough", "Disabled"]),
            "DeadLetterQueue" => self.dead_letter(name, value, true),
            "AutoPublishAlias" => match value.text().filter(|text| is_alias(text)) {
                Some(alias) => self.attached.auto_publish_alias = Some(alias.to_owned()),
                None => self.expected(
                    name,
                    value,
                    "the name of an alias: letters, digits, `-` and `_`, at most 128, and not only digits",
                ),
            },
            "EventInvokeConfig" => self.asynchronous(value),
            _ => return false,
        }
        true
    }

    fn tracing(&mut self, name: &str, value: &Node, words: &[&str]) {
        match value.text().filter(|text| words.contains(text)) {
            Some(mode) => self.configuration.traced = mode == "Active",
            None => self.expected(name, value, &one_of(words)),
        }
    }

    /// A map of names and values, as SAM has it; or a list of `Key` and `Value`, as CloudFormation has it.
    fn tags(&mut self, value: &Node) {
        let mut tags: Vec<(String, String)> = Vec::new();
        let pairs: Option<Vec<(&Node, &Node)>> = match (value.mapping(), value.items()) {
            (Some(entries), _) => Some(entries.iter().map(|(key, value)| (key, value)).collect()),
            (_, Some(items)) => {
                items.iter().map(|item| Some((item.get("Key")?, item.get("Value")?))).collect()
            }
            _ => None,
        };
        let Some(pairs) = pairs else {
            return self.expected("Tags", value, "a map of names and texts (or a list of `Key` and `Value`)");
        };
        for (key, value) in pairs {
            let is_key =
                |key: &&str| !key.is_empty() && key.chars().count() <= 128 && !key.starts_with("aws:");
            let text = if value.is_null() { Some("") } else { value.text() };
            match (key.text().filter(is_key), text.filter(|text| text.chars().count() <= 256)) {
                (Some(key), Some(_)) if tags.iter().any(|(known, _)| known == key) => {
                    self.error(Some(value.line), format!("the tag `{key}` stands here twice"));
                }
                (Some(key), Some(text)) => tags.push((key.to_owned(), text.to_owned())),
                (None, _) => {
                    let expected = "1 to 128 characters, and does not begin with `aws:`";
                    let text = format!("a tag's name has {expected}; not {}", key.kind());
                    self.error(Some(key.line), text);
                }
                (Some(key), None) => {
                    self.expected(&format!("Tags.{key}"), value, "a text of at most 256 characters")
                }
            }
        }
        if tags.len() > MOST_TAGS {
            let text = format!("there are {} tags; Lambda allows {MOST_TAGS}", tags.len());
            self.error(Some(value.line), text);
        }
        self.attached.tags = tags;
    }

    /// The one value of a map that may hold nothing else.
    fn only<'v>(&mut self, name: &str, value: &'v Node, key: &str, expected: &str) -> Option<&'v Node> {
        match value.mapping() {
            Some([(found, inner)]) if found.text() == Some(key) => Some(inner),
            _ => {
                self.expected(name, value, expected);
                None
            }
        }
    }

    /// Names that are not known are told, and ignored.
    fn is_map_of(&mut self, name: &str, value: &Node, known: &[&str]) -> bool {
        let Some(entries) = value.mapping() else {
            self.expected(name, value, "a map");
            return false;
        };
        for (key, _) in entries {
            let found = key.text().unwrap_or("?");
            if !known.contains(&found) {
                let hint = hint(found, known.iter().copied());
                self.warning(key.line, format!("`{name}.{found}` is not known; it is ignored{hint}"));
            }
        }
        true
    }

    /// What to do about the problem that was told last.
    fn hint(&mut self, hint: &str) {
        if let Some(problem) = self.problems.last_mut() {
            problem.text.push_str(&format!("\nhint: {hint}"));
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

/// `A`, `B` or `C`
fn one_of(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match words.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => words.concat(),
    }
}

/// What an alias may be called.
fn is_alias(name: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=128).contains(&name.len())
        && name.bytes().all(valid)
        && !name.bytes().all(|byte| byte.is_ascii_digit())
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

//! Text -> the sections of a template, all intrinsics in their long form (`!Sub x` ->
//! `{Fn::Sub: x}`) and all plain scalars as CloudFormation reads them.

use std::io::Read;
use std::path::Path;

use super::reports::Reports;
use super::scalars;
use crate::deployment::nearest::hint;
use crate::deployment::yaml::{self, MOST_BYTES, Node, SyntaxError, Value};
use crate::deployment::{Problem, Severity, json};

/// Functions with a short form, apart from `Ref` and `Condition`, which have no `Fn::`.
pub const FUNCTIONS: [&str; 18] = [
    "And",
    "Base64",
    "Cidr",
    "Equals",
    "FindInMap",
    "GetAZs",
    "GetAtt",
    "If",
    "ImportValue",
    "Join",
    "Length",
    "Not",
    "Or",
    "Select",
    "Split",
    "Sub",
    "ToJsonString",
    "Transform",
];

const SECTIONS: [&str; 12] = [
    "AWSTemplateFormatVersion",
    "Description",
    "Metadata",
    "Parameters",
    "Rules",
    "Mappings",
    "Conditions",
    "Transform",
    "Globals",
    "Hooks",
    "Resources",
    "Outputs",
];

pub const SERVERLESS: &str = "AWS::Serverless-2016-10-31";
const LANGUAGE_EXTENSIONS: &str = "AWS::LanguageExtensions";
/// Transforms that change nothing that is served here.
const HARMLESS: [&str; 3] =
    ["AWS::CodeDeployBlueGreen", "AWS::SecretsManager-2020-07-23", "AWS::SecretsManager-2024-09-16"];

/// A template's sections.
#[derive(Debug, Default)]
pub struct Document {
    sections: Vec<(String, Node)>,
    pub serverless: bool,
    pub language_extensions: bool,
}

impl Document {
    pub fn read(path: &Path, reports: &mut Reports) -> Result<Self, Problem> {
        let text = read_file(path).map_err(|text| broken(path, None, text))?;
        Self::parse(path, &text, reports)
    }

    pub fn parse(path: &Path, text: &str, reports: &mut Reports) -> Result<Self, Problem> {
        let root = parse(text, path).map_err(|error| syntax(path, &error))?;
        let line = root.as_ref().map_or(1, |root| root.line);
        let Some(Node { tag: None, value: Value::Mapping(entries), .. }) = root else {
            let what = root.map_or("nothing".to_owned(), |root| root.kind());
            let text = format!("a template must be a map with `Resources`, but this holds {what}");
            return Err(broken(path, Some(line), text));
        };
        let mut document = Self::default();
        for (key, value) in entries {
            match key.text() {
                Some("Metadata" | "Rules" | "Hooks" | "Description" | "AWSTemplateFormatVersion") => {}
                Some(name) if SECTIONS.contains(&name) => {
                    let mut section = long_form(value, reports);
                    if matches!(name, "Conditions" | "Mappings") {
                        canonical_keys(&mut section);
                    }
                    document.sections.push((name.to_owned(), section));
                }
                name => {
                    let name = name.unwrap_or("?");
                    let hint = hint(name, SECTIONS);
                    reports.warning(
                        key.line,
                        format!("`{name}` is no section of a template; it is ignored{hint}"),
                    );
                }
            }
        }
        if document.section("Resources").is_none() {
            let text = "there is no `Resources`, so this is no template of SAM or CloudFormation";
            return Err(broken(path, Some(line), text.to_owned()));
        }
        if let Some(transform) = document.take("Transform") {
            document.transforms(&transform, reports);
        }
        Ok(document)
    }

    fn transforms(&mut self, transform: &Node, reports: &mut Reports) {
        let named = |node: &Node| node.text().or_else(|| node.get("Name")?.text()).map(str::to_owned);
        let single = std::slice::from_ref(transform);
        for node in transform.items().unwrap_or(single) {
            match named(node).as_deref() {
                Some(SERVERLESS) => self.serverless = true,
                Some(LANGUAGE_EXTENSIONS) => self.language_extensions = true,
                Some(name) if HARMLESS.contains(&name) => {}
                Some("AWS::Include") => {
                    let text = "`AWS::Include` for a whole template is not supported: what it would add is missing\n\
                                hint: put the sections into this file, or include them with `Fn::Transform` where they belong";
                    reports.error(node.line, text);
                }
                Some(name) => {
                    let hint = hint(name, [SERVERLESS, LANGUAGE_EXTENSIONS]);
                    let text = format!(
                        "the macro `{name}` runs on AWS only: what it would do has not been done{hint}"
                    );
                    reports.error(node.line, text);
                }
                None => {
                    reports.error(node.line, format!("`Transform` must name a macro, not {}", node.kind()))
                }
            }
        }
    }

    pub fn section(&self, name: &str) -> Option<&Node> {
        self.sections.iter().find(|(section, _)| section == name).map(|(_, node)| node)
    }

    pub fn take(&mut self, name: &str) -> Option<Node> {
        let index = self.sections.iter().position(|(section, _)| section == name)?;
        Some(self.sections.swap_remove(index).1)
    }
}

/// YAML, or JSON.
pub fn parse(text: &str, path: &Path) -> Result<Option<Node>, SyntaxError> {
    let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    if !is_json && !text.trim_start_matches('\u{feff}').trim_start().starts_with('{') {
        return yaml::parse(text);
    }
    match json::parse(text) {
        Ok(node) => Ok(Some(node)),
        // Neither: YAML's braces need no quotes.
        Err(error) if is_json => Err(error),
        Err(_) => yaml::parse(text),
    }
}

pub fn broken(path: &Path, line: Option<usize>, text: String) -> Problem {
    Problem { severity: Severity::Error, path: path.to_owned(), line, text }
}

pub fn syntax(path: &Path, error: &SyntaxError) -> Problem {
    let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let language = if is_json { "JSON" } else { "YAML" };
    broken(path, Some(error.line), format!("is not valid {language}: {}", error.text))
}

/// A file's text; nothing that does not end.
pub fn read_file(path: &Path) -> Result<String, String> {
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    let metadata = std::fs::metadata(path).map_err(cannot)?;
    if !metadata.is_file() {
        return Err("cannot be read: it is no regular file".to_owned());
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(cannot)?;
    file.take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() > MOST_BYTES {
        return Err(format!("cannot be read: it has more than {MOST_BYTES} bytes"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let line =
            1 + error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count();
        format!("cannot be read: line {line} is not UTF-8")
    })
}

/// The same with all tags in their long form, and plain scalars as they are read.
pub fn long_form(node: Node, reports: &mut Reports) -> Node {
    let Node { line, tag, value } = node;
    let value = match value {
        Value::Scalar { text, quoted: false } if tag.is_none() => match scalars::canonical(&text) {
            Some(read) => {
                if scalars::is_number(&read) {
                    let text = format!(
                        "`{text}` without quotes is the number {read}, here as on AWS\nhint: write '{text}' for the text"
                    );
                    reports.warning(line, text);
                }
                Value::Scalar { text: read, quoted: false }
            }
            None => Value::Scalar { text, quoted: false },
        },
        Value::Scalar { text, quoted } => Value::Scalar { text, quoted },
        Value::Sequence(items) => {
            Value::Sequence(items.into_iter().map(|item| long_form(item, reports)).collect())
        }
        Value::Mapping(entries) => {
            // Keys are texts; what else they may be is refused where it matters.
            let long = |(key, value)| (key, long_form(value, reports));
            Value::Mapping(entries.into_iter().map(long).collect())
        }
    };
    let plain = Node { line, tag: None, value };
    let Some(tag) = tag else { return plain };
    let name = match tag.as_str() {
        "Ref" | "Condition" => tag,
        _ if FUNCTIONS.contains(&tag.as_str()) => format!("Fn::{tag}"),
        _ => {
            let hint = hint(&tag, FUNCTIONS.into_iter().chain(["Ref", "Condition"]));
            reports.error(line, format!("`!{tag}` is no function of CloudFormation{hint}"));
            return plain;
        }
    };
    let argument = if name == "Fn::GetAtt" { attribute_path(plain) } else { plain };
    Node { line, tag: None, value: Value::Mapping(vec![(Node::scalar(&name, line), argument)]) }
}

/// Where values are looked up by what is said elsewhere, `yes` must be the same in both places.
fn canonical_keys(node: &mut Node) {
    match &mut node.value {
        Value::Scalar { .. } => {}
        Value::Sequence(items) => items.iter_mut().for_each(canonical_keys),
        Value::Mapping(entries) => entries.iter_mut().for_each(|(key, value)| {
            if let Value::Scalar { text, quoted: false } = &mut key.value
                && let Some(read) = scalars::canonical(text)
            {
                *text = read;
            }
            canonical_keys(value);
        }),
    }
}

/// `Table.Arn` -> `[Table, Arn]`
fn attribute_path(node: Node) -> Node {
    let Some((resource, attribute)) = node.text().and_then(|text| text.split_once('.')) else { return node };
    let parts = vec![Node::scalar(resource, node.line), Node::scalar(attribute, node.line)];
    Node { line: node.line, tag: None, value: Value::Sequence(parts) }
}

//! `samconfig.toml` (or `.yaml`) beside the template: the parameters that its owner deploys with.

use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::document::{broken, read_file, syntax};
use super::parameters::{Override, parse_overrides};
use super::reports::Reports;
use crate::config::Template;
use crate::deployment::nearest::hint;
use crate::deployment::yaml::{self, Node, SyntaxError, Value};
use crate::deployment::{Problem, Severity};

const NAMES: [&str; 3] = ["samconfig.toml", "samconfig.yaml", "samconfig.yml"];
/// The first one that has overrides counts: what is run locally is meant before what is deployed.
const COMMANDS: [&str; 5] = ["local_start_api", "local_start_lambda", "deploy", "build", "global"];
const DEFAULT: &str = "default";

/// The overrides of the environment that the template is read with.
pub fn overrides(
    template: &Template,
    files: &mut Vec<PathBuf>,
    reports: &mut Reports,
) -> Result<Vec<Override>, Problem> {
    let wanted = template.config_env.as_str();
    let Some(path) = find(&template.path) else {
        if wanted == DEFAULT || wanted.is_empty() {
            return Ok(Vec::new());
        }
        let text = format!("there is no samconfig.toml beside it that could have an environment `{wanted}`");
        return Err(broken(&template.path, None, text));
    };
    files.push(path.clone());
    let text = read_file(&path).map_err(|text| broken(&path, None, text))?;
    let is_toml = path.extension().is_some_and(|extension| extension == "toml");
    let root = if is_toml {
        let root = parse_toml(&text);
        root.map_err(|error| broken(&path, Some(error.line), format!("is not valid TOML: {}", error.text)))?
    } else {
        let empty = Node { line: 1, tag: None, value: Value::Mapping(Vec::new()) };
        yaml::parse(&text).map_err(|error| syntax(&path, &error))?.unwrap_or(empty)
    };
    read(&root, wanted, &path, reports)
}

/// Beside the template, or beside the project that it was built in by `sam build`.
fn find(template: &Path) -> Option<PathBuf> {
    let folder = template.parent()?;
    let built = folder.ends_with(".aws-sam/build").then(|| folder.parent()?.parent()).flatten();
    let folders = [Some(folder), built];
    let paths = folders.into_iter().flatten().flat_map(|folder| NAMES.map(|name| folder.join(name)));
    paths.into_iter().find(|path| path.is_file())
}

pub(super) fn read(
    root: &Node,
    wanted: &str,
    path: &Path,
    reports: &mut Reports,
) -> Result<Vec<Override>, Problem> {
    let entries = root.mapping().unwrap_or_default();
    match root.get("version").map(|version| (version.line, version.text().unwrap_or("?"))) {
        Some((_, "0.1")) => {}
        _ if entries.is_empty() => {}
        Some((line, version)) => {
            let text = format!("its version is `{version}`; only 0.1 is known");
            reports.add(Problem { severity: Severity::Warning, ..broken(path, Some(line), text) });
        }
        None => {
            let text = "SAM refuses it without `version = 0.1`".to_owned();
            reports.add(Problem { severity: Severity::Warning, ..broken(path, None, text) });
        }
    }
    let name = if wanted.is_empty() { DEFAULT } else { wanted };
    let Some(environment) = root.get(name) else {
        if name == DEFAULT {
            return Ok(Vec::new());
        }
        let known = entries.iter().filter_map(|(key, _)| key.text()).filter(|name| *name != "version");
        let text = format!("there is no environment `{name}`{}", hint(name, known));
        return Err(broken(path, None, text));
    };
    let given = COMMANDS.iter().find_map(|command| {
        let mut commands = environment.mapping()?.iter();
        // SAM takes `local-start-api` for the same.
        let (_, command) =
            commands.find(|(key, _)| key.text().is_some_and(|key| key.replace('-', "_") == *command))?;
        command.get("parameters")?.get("parameter_overrides")
    });
    let Some(given) = given else { return Ok(Vec::new()) };
    let pairs = pairs(given).map_err(|text| {
        let line = Some(given.line);
        broken(path, line, format!("`parameter_overrides` cannot be read: {text}"))
    })?;
    let from = |(name, value)| Override { name, value, from: Some(path.to_owned()) };
    Ok(pairs.into_iter().map(from).collect())
}

/// A text, a list of texts, or a table.
fn pairs(given: &Node) -> Result<Vec<(String, String)>, String> {
    if given.tag.is_some() {
        return Err(format!("it is {}", given.kind()));
    }
    match &given.value {
        Value::Scalar { text, .. } => parse_overrides(std::slice::from_ref(text)),
        Value::Sequence(items) => {
            let mut all = Vec::new();
            for item in items {
                all.extend(pairs(item)?);
            }
            Ok(all)
        }
        Value::Mapping(entries) => {
            let pair = |(key, value): &(Node, Node)| {
                let name = key.text().ok_or("a name must be text")?.to_owned();
                let value = match value.items() {
                    Some(items) => {
                        items.iter().map(Node::text).collect::<Option<Vec<_>>>().map(|items| items.join(","))
                    }
                    None => value.text().map(str::to_owned),
                };
                Ok((name.clone(), value.ok_or_else(|| format!("the value of `{name}` must be text"))?))
            };
            entries.iter().map(pair).collect()
        }
    }
}

pub(super) fn parse_toml(text: &str) -> Result<Node, SyntaxError> {
    let starts: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
    let line = |at: usize| 1 + starts.partition_point(|start| *start < at);
    let table = DeTable::parse(text).map_err(|error| {
        SyntaxError::new(error.span().map_or(1, |span| line(span.start)), error.message())
    })?;
    let span = table.span();
    Ok(convert(Spanned::new(span, DeValue::Table(table.into_inner())), &line))
}

fn convert(value: Spanned<DeValue<'_>>, line_of: &dyn Fn(usize) -> usize) -> Node {
    let line = line_of(value.span().start);
    let plain = |text: &str| Value::Scalar { text: text.to_owned(), quoted: false };
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Scalar { text: text.into_owned(), quoted: true },
        DeValue::Integer(number) => plain(number.as_str()),
        DeValue::Float(number) => plain(number.as_str()),
        DeValue::Boolean(boolean) => plain(if boolean { "true" } else { "false" }),
        DeValue::Datetime(time) => plain(&time.to_string()),
        DeValue::Array(items) => {
            Value::Sequence(items.into_iter().map(|item| convert(item, line_of)).collect())
        }
        DeValue::Table(table) => {
            let entry = |(key, value): (Spanned<std::borrow::Cow<'_, str>>, _)| {
                (Node::scalar(key.get_ref(), line_of(key.span().start)), convert(value, line_of))
            };
            Value::Mapping(table.into_iter().map(entry).collect())
        }
    };
    Node { line, tag: None, value }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overrides_of(name: &str, text: &str, environment: &str) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(name), text).unwrap();
        let template = Template {
            path: folder.path().join("template.yaml"),
            parameters: Vec::new(),
            env_vars: None,
            config_env: environment.to_owned(),
        };
        let mut reports = Reports::new(&template.path);
        let mut files = Vec::new();
        let prefix = format!("{}/", folder.path().display());
        let told = |problem: Problem| problem.to_string().replace(&prefix, "");
        let overrides = overrides(&template, &mut files, &mut reports).map_err(told)?;
        assert_eq!(files, [folder.path().join(name)]);
        let told = reports.into_problems().into_iter().map(told);
        Ok(overrides.into_iter().map(|given| format!("{}={}", given.name, given.value)).chain(told).collect())
    }

    #[test]
    fn finds_the_overrides() {
        let both = "version = 0.1\n[default.deploy.parameters]\nparameter_overrides = 'A=1'\n\
                    [default.local_start_api.parameters]\nparameter_overrides = 'A=2'\n\
                    [default.global.parameters]\nparameter_overrides = 'A=3'\n\
                    [prod.global.parameters]\nparameter_overrides = 'A=4'\n";
        for (text, environment, expected) in [
            (
                "version = 0.1\n[default.deploy.parameters]\nparameter_overrides = \"A=1 B=\\\"x y\\\"\"\n",
                "default",
                vec!["A=1", "B=x y"],
            ),
            (
                "version = 0.1\n[default.build.parameters]\nparameter_overrides = ['A=1', 'B=2']\n",
                "default",
                vec!["A=1", "B=2"],
            ),
            (
                "version = 0.1\n[default.deploy.parameters.parameter_overrides]\nA = 1\nB = true\nC = ['x', 'y']\n",
                "default",
                vec!["A=1", "B=true", "C=x,y"],
            ),
            (
                "version = 0.1\n[default.local-start-lambda.parameters]\nparameter_overrides = 'A=1'\n",
                "default",
                vec!["A=1"],
            ),
            (both, "default", vec!["A=2"]),
            (both, "", vec!["A=2"]),
            (both, "prod", vec!["A=4"]),
            ("version = 0.1\n[default.deploy.parameters]\nregion = 'x'\n", "default", vec![]),
            ("", "default", vec![]),
        ] {
            assert_eq!(overrides_of("samconfig.toml", text, environment).unwrap(), expected, "{text}");
        }
        let yaml = "version: 0.1\ndefault:\n  deploy:\n    parameters:\n      parameter_overrides:\n        - A=1\n        - B=2\n";
        assert_eq!(overrides_of("samconfig.yaml", yaml, "default").unwrap(), ["A=1", "B=2"]);
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, environment, expected) in [
            (
                "version = 0.1\n[staging.deploy.parameters]\n",
                "stagin",
                "samconfig.toml: there is no environment `stagin`\nhint: did you mean `staging`?",
            ),
            ("version = 0.1\n\n[default\n", "default", "samconfig.toml:3: is not valid TOML"),
            (
                "version = 0.1\n[default.deploy.parameters]\nparameter_overrides = 'A'\n",
                "default",
                "samconfig.toml:3: `parameter_overrides` cannot be read: `A` has no `=`",
            ),
            (
                "version = 0.1\n[default.deploy.parameters]\nparameter_overrides = {A = {}}\n",
                "default",
                "the value of `A` must be text",
            ),
        ] {
            let error = overrides_of("samconfig.toml", text, environment).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let told = overrides_of("samconfig.toml", "version = 2\n", "default").unwrap();
        assert_eq!(told, ["samconfig.toml:1: its version is `2`; only 0.1 is known"]);
        let error = overrides_of("other.toml", "", "prod").unwrap_err();
        assert!(error.contains("no samconfig.toml beside it"), "{error}");
    }
}

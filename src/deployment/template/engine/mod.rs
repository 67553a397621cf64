//! Text -> resources whose properties hold no intrinsics any more.
//!
//! - `document`: text -> sections, with short forms (`!Sub`) made long; `scalars`: plain values.
//! - `parameters`, `samconfig`, `env_vars`: what comes from outside of the template.
//! - `globals`: `Globals`, merged into resources by SAM's rules.
//! - `scope`: what names mean while the template is resolved, and how much work that may be.
//! - `for_each`, `intrinsics` (with `substitution`, `cidr`, `include`), `conditions`: functions.
//! - `references`, `physical`: what `Ref` and `Fn::GetAtt` give.
//! - `reports`: problems, told once each.
//!
//! One mistake does not stop the rest: a property that cannot be resolved is reported and a text
//! stands in its place. Only what makes the whole file unreadable is a `Failure`.

mod cidr;
mod conditions;
mod document;
mod env_vars;
mod for_each;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod globals;
mod include;
mod intrinsics;
pub mod parameters;
mod physical;
mod references;
mod reports;
mod samconfig;
mod scalars;
mod scope;
mod substitution;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use super::{Absent, Failure, Options, Output, Resource, Stack};
use crate::config::Account;
use crate::deployment::nearest::hint;
use crate::deployment::yaml::{Node, Value};
use crate::deployment::{Problem, Severity};
use document::{Document, broken};
use globals::Globals;
use parameters::Override;
use physical::Place;
use reports::Reports;
use scope::{Condition, Decision, Declaration, Scope};

/// What a resource may say about itself.
const ATTRIBUTES: [&str; 12] = [
    "Type",
    "Properties",
    "Condition",
    "Connectors",
    "CreationPolicy",
    "DeletionPolicy",
    "DependsOn",
    "Description",
    "IgnoreGlobals",
    "Metadata",
    "UpdatePolicy",
    "UpdateReplacePolicy",
];

pub fn load(options: &Options<'_>) -> Result<Stack, Failure> {
    let mut files = vec![options.template.path.clone()];
    read(options, &mut files).map_err(|problem| Failure { problems: vec![problem], files })
}

/// A text that stands nowhere, as the template `path`.
#[cfg(any(test, fuzzing))]
pub fn load_text(
    path: &Path,
    text: &str,
    account: &Account,
    overrides: &[Override],
) -> Result<Stack, Problem> {
    let mut reports = Reports::new(path);
    let document = Document::parse(path, text, &mut reports)?;
    resolve(document, path, account, overrides, reports)
}

/// Ten letters and digits for what AWS makes up an id for: what `Ref` gives for an API of this
/// logical id, also of one that SAM makes (`ServerlessRestApi`) or a function URL (`NameUrl`).
pub fn id(template: &Path, logical_id: &str) -> String {
    // The id does not depend on where it appears to be.
    let account = Account { id: String::new(), region: String::new() };
    Place { template: absolute(template), account }.id(logical_id)
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn read(options: &Options<'_>, files: &mut Vec<PathBuf>) -> Result<Stack, Problem> {
    let path = &options.template.path;
    let mut reports = Reports::new(path);
    let document = Document::read(path, &mut reports)?;
    let mut overrides = samconfig::overrides(options.template, files, &mut reports)?;
    // A later one counts: the command line's come last.
    overrides.extend(options.template.parameters.iter().map(|(name, value)| Override {
        name: name.clone(),
        value: value.clone(),
        from: None,
    }));
    let env_vars = match &options.template.env_vars {
        Some(path) => {
            files.push(path.clone());
            let (env_vars, lines) = env_vars::read(path)?;
            Some((path.as_path(), env_vars, lines))
        }
        None => None,
    };
    let mut stack = resolve(document, path, options.account, &overrides, reports)?;
    if let Some((path, env_vars, lines)) = env_vars {
        check_env_vars(&mut stack, path, &env_vars, &lines);
        stack.env_vars = env_vars;
    }
    files.extend(std::mem::take(&mut stack.files));
    stack.files = files.clone();
    Ok(stack)
}

fn resolve(
    mut document: Document,
    path: &Path,
    account: &Account,
    overrides: &[Override],
    mut reports: Reports,
) -> Result<Stack, Problem> {
    let parameters = parameters::settle(document.section("Parameters"), overrides, &mut reports);
    let globals = Globals::read(document.take("Globals"), document.serverless, &mut reports);
    let conditions = document.take("Conditions");
    let outputs = document.take("Outputs");
    let Some(resources) = document.take("Resources") else {
        return Err(broken(path, None, "there is no `Resources`".to_owned()));
    };
    if resources.mapping().is_none() {
        let text = format!("`Resources` must be a map, not {}", resources.kind());
        return Err(broken(path, Some(resources.line), text));
    }
    // Declared before the scope, which refers to them.
    let (conditions, resources, outputs) = {
        let mut scope =
            Scope::new(Place { template: absolute(path), account: account.clone() }, &globals, reports);
        scope.language_extensions = document.language_extensions;
        scope.parameters = parameters.clone();
        scope.mappings = document.section("Mappings");
        let conditions = conditions.map(|node| scope.expand(node));
        let resources = scope.expand(resources);
        let outputs = outputs.map(|node| scope.expand(node));
        let exhausted = scope.is_exhausted();
        reports = scope.reports;
        if exhausted {
            return Err(too_much(path));
        }
        (conditions, resources, outputs)
    };
    let mut scope =
        Scope::new(Place { template: absolute(path), account: account.clone() }, &globals, reports);
    scope.language_extensions = document.language_extensions;
    scope.parameters = parameters;
    scope.mappings = document.section("Mappings");
    scope.declare_conditions(conditions.as_ref());
    scope.declare_resources(&resources, document.serverless);
    scope.decide_all(conditions.as_ref());
    let absent = scope.absent_resources(&resources);
    let resources = scope.resources_resolved();
    let outputs = scope.outputs_resolved(outputs.as_ref());
    let mut sections = Vec::new();
    for (name, node) in globals.sections() {
        sections.extend(scope.resolve(node).map(|node| (name.to_owned(), node)));
    }
    if scope.is_exhausted() {
        return Err(too_much(path));
    }
    Ok(Stack {
        state_dir: PathBuf::new(),
        path: path.to_owned(),
        account: account.id.clone(),
        region: account.region.clone(),
        resources,
        files: std::mem::take(&mut scope.files),
        problems: scope.reports.into_problems(),
        env_vars: Vec::new(),
        globals: sections.into_iter().collect(),
        outputs,
        absent,
    })
}

fn too_much(path: &Path) -> Problem {
    let text = "what it comes to, with all intrinsics resolved, is too much to be a template\n\
                hint: look for Fn::Sub, Fn::Join, Fn::ForEach or aliases that repeat each other";
    broken(path, None, text.to_owned())
}

impl<'t> Scope<'t> {
    fn declare_conditions(&mut self, section: Option<&'t Node>) {
        let Some(section) = section.filter(|section| !section.is_null()) else { return };
        let Some(entries) = section.mapping() else {
            return self.reports.error(section.line, "`Conditions` must be a map of conditions");
        };
        for (key, node) in entries {
            if let Some(name) = key.text() {
                self.conditions.insert(name, Condition { line: key.line, node, state: Decision::Open });
            }
        }
    }

    /// All of them, so that mistakes are told also where nothing asks.
    fn decide_all(&mut self, section: Option<&Node>) {
        for (key, _) in section.and_then(Node::mapping).unwrap_or_default() {
            if let Some(name) = key.text() {
                self.condition(name, key.line);
            }
        }
    }

    /// Makes the resources known.
    fn declare_resources(&mut self, section: &'t Node, serverless: bool) {
        let mut told_of_transform = false;
        for (key, node) in section.mapping().unwrap_or_default() {
            let Some(logical_id) = key.text() else {
                self.reports.error(key.line, format!("a resource's name must be text, not {}", key.kind()));
                continue;
            };
            if logical_id.starts_with("Fn::") {
                let text = format!("`{logical_id}` cannot be resolved here; what it would make is missing");
                self.reports.error(key.line, text);
                continue;
            }
            if logical_id.is_empty() || !logical_id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                let text = format!(
                    "CloudFormation refuses the name `{logical_id}`: a resource's has letters and digits only"
                );
                self.reports.error(key.line, text);
            }
            let Some(kind) = node.get("Type").and_then(Node::text) else {
                let text =
                    format!("`{logical_id}` has no `Type` such as AWS::Serverless::Function; it is ignored");
                self.reports.error(key.line, text);
                continue;
            };
            self.check_attributes(logical_id, node);
            if kind.starts_with("AWS::Serverless::") && !serverless && !told_of_transform {
                told_of_transform = true;
                let text = format!(
                    "`{kind}` needs `Transform: {}` at the top of the template",
                    document::SERVERLESS
                );
                self.reports.error(key.line, text);
            }
            let properties = node.get("Properties").filter(|properties| !properties.is_null());
            let ignores_globals = node.get("IgnoreGlobals");
            let declaration = Declaration { kind, line: key.line, properties, ignores_globals, absent: None };
            self.resources.insert(logical_id, declaration);
            self.order.push(logical_id);
        }
    }

    /// Takes away what does not exist because of its condition.
    fn absent_resources(&mut self, section: &'t Node) -> Vec<Absent> {
        let mut all_absent = Vec::new();
        for (key, node) in section.mapping().unwrap_or_default() {
            let (Some(logical_id), Some(condition)) = (key.text(), node.get("Condition")) else { continue };
            let Some(name) = condition.text() else {
                let text = format!("`Condition` of `{logical_id}` must name a condition");
                self.reports.error(condition.line, text);
                continue;
            };
            if self.condition(name, condition.line) != Some(false) {
                continue;
            }
            if let Some(declaration) = self.resources.get_mut(logical_id) {
                declaration.absent = Some(name);
                all_absent.push(Absent {
                    logical_id: logical_id.to_owned(),
                    kind: declaration.kind.to_owned(),
                    line: key.line,
                    condition: name.to_owned(),
                });
            }
        }
        all_absent
    }

    fn check_attributes(&mut self, logical_id: &str, node: &Node) {
        for (attribute, _) in node.mapping().unwrap_or_default() {
            let name = attribute.text().unwrap_or("?");
            if !ATTRIBUTES.contains(&name) {
                let hint = match hint(name, ATTRIBUTES) {
                    hint if hint.is_empty() => {
                        "\nhint: what a resource is made with stands under `Properties`".to_owned()
                    }
                    hint => hint,
                };
                let text = format!(
                    "`{name}` beside the properties of `{logical_id}` means nothing; it is ignored{hint}"
                );
                self.reports.warning(attribute.line, text);
            }
        }
    }

    fn resources_resolved(&mut self) -> Vec<Resource> {
        let mut resources = Vec::with_capacity(self.order.len());
        for logical_id in self.order.clone() {
            let Some(declaration) = self.resources.get(logical_id) else { continue };
            if declaration.absent.is_some() {
                continue;
            }
            let (kind, line) = (declaration.kind, declaration.line);
            let (own, ignores) = (declaration.properties, declaration.ignores_globals);
            let empty = Node { line, tag: None, value: Value::Mapping(Vec::new()) };
            let own = own.unwrap_or(&empty);
            let ignored = self.globals.ignored(kind, ignores, &mut self.reports);
            let properties = match self.globals.of(kind) {
                Some(_) => self.resolve(&self.globals.merge(kind, own, &ignored)),
                None => self.resolve(own),
            };
            let properties = match properties {
                Some(node) if node.mapping().is_some() => node,
                None => empty,
                Some(node) => {
                    let text = format!("`Properties` of `{logical_id}` must be a map, not {}", node.kind());
                    self.reports.error(node.line, text);
                    empty
                }
            };
            let identity = self.identity(logical_id, line);
            resources.push(Resource {
                logical_id: logical_id.to_owned(),
                kind: kind.to_owned(),
                line,
                properties,
                physical_id: identity.reference,
                arn: identity.arn,
            });
            // What is thrown away in the end need not be made.
            if self.is_exhausted() {
                break;
            }
        }
        resources
    }

    fn outputs_resolved(&mut self, section: Option<&Node>) -> Vec<Output> {
        let mut outputs = Vec::new();
        let Some(section) = section.filter(|section| !section.is_null()) else { return outputs };
        let Some(entries) = section.mapping() else {
            self.reports.error(section.line, "`Outputs` must be a map of outputs");
            return outputs;
        };
        for (key, node) in entries {
            let Some(name) = key.text() else { continue };
            let condition =
                node.get("Condition").and_then(|condition| Some((condition.text()?, condition.line)));
            if condition.is_some_and(|(condition, line)| self.condition(condition, line) == Some(false)) {
                continue;
            }
            let Some(value) = node.get("Value") else {
                self.reports.error(key.line, format!("the output `{name}` has no `Value`"));
                continue;
            };
            let value = match self.text(value, &format!("the value of the output `{name}`")) {
                Ok(value) => value,
                Err(unresolved) => {
                    self.stand_in(unresolved);
                    continue;
                }
            };
            outputs.push(Output { name: name.to_owned(), value, line: key.line });
        }
        outputs
    }
}

/// Names in the file that no function has.
fn check_env_vars(stack: &mut Stack, path: &Path, env_vars: &env_vars::EnvVars, lines: &[usize]) {
    let functions = stack.resources.iter().filter(|resource| resource.kind.ends_with("::Function"));
    let known: Vec<&str> = functions
        .flat_map(|function| [function.logical_id.as_str(), function.physical_id.as_str()])
        .chain([env_vars::ALL])
        .collect();
    let mut problems = Vec::new();
    for ((name, _), line) in env_vars.iter().zip(lines) {
        if !known.contains(&name.as_str()) {
            let text = format!("the template has no function `{name}`{}", hint(name, known.iter().copied()));
            problems.push(Problem { severity: Severity::Warning, ..broken(path, Some(*line), text) });
        }
    }
    stack.problems.extend(problems);
}

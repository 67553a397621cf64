//! A SAM or CloudFormation template -> functions and APIs, and a report of what became of every
//! resource and property.
//!
//! - `engine`: text -> resources whose properties hold no intrinsics any more.
//! - `sam`: `AWS::Serverless::*`.
//! - `cloudformation`: `AWS::Lambda::*`, `AWS::ApiGateway::*`, `AWS::ApiGatewayV2::*`, load balancers.
//! - `openapi`: routes that a definition body describes.
//! - `write`: the way back: a template of what is deployed.
//! - `integration`, `authorizer`, `throttle`, `reference`: what those have in common.
//! - `sheet`: a resource's properties, each accounted for once (`cloudformation`, `openapi`; `sam` knows
//!   all of its properties beforehand: `sam::table`, `section`).
//! - `triggers`: what makes invocations and is no route: schedules, queues, streams, buckets, topics, rules.
//! - `report`: supported, ignored or different, by line.

mod authorizer;
mod cloudformation;
mod engine;
#[cfg(test)]
mod fixture;
mod integration;
mod openapi;
mod reference;
mod report;
pub(super) mod sam;
mod section;
mod sheet;
mod throttle;
mod triggers;
mod write;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Problem;
use super::yaml::Node;
use crate::api::{Api, Source};
use crate::config::{Account, Template};
use crate::function::{Attached, Configuration, FunctionName};

#[cfg(any(test, fuzzing))]
pub use engine::fuzzing;
pub use engine::parameters;
pub use report::{Finding, Status};
pub use triggers::Place as Origin;
pub use write::{Frame, logical_id, write, yaml_text};

/// What a template is read with.
pub struct Options<'a> {
    pub template: &'a Template,
    pub account: &'a Account,
    /// Published layers lie below it.
    pub state_dir: &'a Path,
}

/// What a template declares.
#[derive(Debug, Default)]
pub struct Reading {
    pub functions: Vec<Declared>,
    pub apis: Vec<Api>,
    pub findings: Vec<Finding>,
    /// Warnings, and errors that concern a part only.
    pub problems: Vec<Problem>,
    /// Files that it was read from: when one changes, it is read again.
    pub files: Vec<PathBuf>,
    /// Published layers that are not there yet: when one comes, it is read again.
    pub awaited: Vec<PathBuf>,
}

/// A function as a template declares it.
#[derive(Debug, Clone)]
pub struct Declared {
    pub name: FunctionName,
    pub logical_id: String,
    pub code: CodeLocation,
    pub configuration: Configuration,
    pub attached: Attached,
    /// Folders (or zip files), the first one lowest.
    pub layers: Vec<PathBuf>,
    /// Why it cannot run.
    pub broken: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CodeLocation {
    /// Absolute.
    Folder(PathBuf),
    /// `InlineCode`: the text of `index.py`.
    Inline(String),
}

/// Reads the template. `Err`: it cannot be read at all, and whatever was deployed stays.
pub fn read(options: &Options<'_>) -> Result<Reading, Failure> {
    let mut stack = engine::load(options)?;
    options.state_dir.clone_into(&mut stack.state_dir);
    Ok(declared(&stack))
}

/// The same of a text that stands nowhere.
#[cfg(any(test, fuzzing))]
pub fn read_text(path: &Path, text: &str, account: &crate::config::Account) -> Result<Reading, Problem> {
    Ok(declared(&engine::load_text(path, text, account, &[])?))
}

fn declared(stack: &Stack) -> Reading {
    let mut builder = Builder { path: stack.path.clone(), ..Builder::default() };
    builder.reading.files = stack.files.clone();
    builder.reading.problems = stack.problems.clone();
    for absent in &stack.absent {
        builder.reading.findings.push(Finding {
            status: Status::Ignored,
            resource: absent.logical_id.clone(),
            kind: absent.kind.clone(),
            property: String::new(),
            line: absent.line,
            text: format!("its condition {} is false", absent.condition),
        });
    }
    sam::read(stack, &mut builder);
    cloudformation::read(stack, &mut builder);
    for output in &stack.outputs {
        builder.reading.findings.push(Finding {
            status: Status::Supported,
            resource: output.name.clone(),
            kind: "Output".to_owned(),
            property: String::new(),
            line: output.line,
            text: format!("its value here is `{}`", output.value),
        });
    }
    builder.reading
}

/// Why a template cannot be read, and which files could change that.
#[derive(Debug)]
pub struct Failure {
    pub problems: Vec<Problem>,
    pub files: Vec<PathBuf>,
}

/// A template's resources, with conditions decided, Globals merged and intrinsics resolved.
#[derive(Debug, Default)]
pub struct Stack {
    pub path: PathBuf,
    pub account: String,
    pub region: String,
    /// Published layers lie below it.
    pub state_dir: PathBuf,
    pub resources: Vec<Resource>,
    pub files: Vec<PathBuf>,
    pub problems: Vec<Problem>,
    /// By function (logical id or name, or `Parameters` for all): what `--env-vars` puts in the place
    /// of variables that the template declares.
    pub env_vars: Vec<(String, Vec<(String, String)>)>,
    /// `Globals`, resolved, by section (`Api`): implicit APIs have no resource that they could be merged into.
    pub globals: BTreeMap<String, Node>,
    pub outputs: Vec<Output>,
    /// Resources that do not exist, as their condition is false.
    pub absent: Vec<Absent>,
}

/// One of `Outputs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    pub name: String,
    pub value: String,
    pub line: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absent {
    pub logical_id: String,
    pub kind: String,
    pub line: usize,
    pub condition: String,
}

#[derive(Debug, Clone)]
pub struct Resource {
    pub logical_id: String,
    /// `AWS::Serverless::Function`
    pub kind: String,
    pub line: usize,
    /// A mapping without tags and `Fn::`. What could not be resolved stands as text and has been
    /// reported.
    pub properties: Node,
    /// What `Ref` gives: a function's name, an API's id, ...
    pub physical_id: String,
    /// What `!GetAtt X.Arn` gives.
    pub arn: String,
}

impl Stack {
    /// The resource that a resolved text means: its physical id, ARN (also within an invocation URI,
    /// or with a qualifier) or logical id.
    pub fn find(&self, text: &str) -> Option<&Resource> {
        let exact = self.resources.iter().find(|resource| {
            text == resource.physical_id || text == resource.logical_id || text == resource.arn
        });
        exact.or_else(|| {
            // `arn:...:lambda:path/2015-03-31/functions/ARN/invocations`, `ARN:alias`
            let inner = text.split("/functions/").nth(1).and_then(|rest| rest.split("/invocations").next());
            let text = inner.unwrap_or(text);
            let function = text.split(":function:").nth(1)?.split(':').next()?;
            self.resources.iter().find(|resource| {
                resource.kind.ends_with("::Function")
                    && (resource.physical_id == function || resource.logical_id == function)
            })
        })
    }

    pub fn resource(&self, logical_id: &str) -> Option<&Resource> {
        self.resources.iter().find(|resource| resource.logical_id == logical_id)
    }

    /// All of a kind, in the template's order.
    pub fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Resource> {
        self.resources.iter().filter(move |resource| resource.kind == kind)
    }

    /// The id of an API or function URL, of the template or made by SAM (`ServerlessRestApi`,
    /// `FunctionUrl`): what `Ref` gives.
    pub fn id(&self, logical_id: &str) -> String {
        engine::id(&self.path, logical_id)
    }

    /// `--env-vars`: what stands under the function counts more than what is meant for all, and its
    /// logical id more than its name; variables that the template does not declare are not given, as
    /// with SAM.
    pub fn replace_variables(&self, function: &Resource, name: &str, configuration: &mut Configuration) {
        for (variable, value) in &mut configuration.environment {
            for whose in ["Parameters", name, function.logical_id.as_str()] {
                let given = self.env_vars.iter().filter(|(given, _)| given == whose);
                if let Some((_, replacement)) =
                    given.flat_map(|(_, all)| all).rfind(|(given, _)| given == variable)
                {
                    value.clone_from(replacement);
                }
            }
        }
    }

    /// The folder that relative paths are meant from.
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }
}

/// Collects what a template comes to.
#[derive(Default)]
pub struct Builder {
    pub path: PathBuf,
    pub reading: Reading,
}

impl Builder {
    pub fn source(&self, line: usize) -> Source {
        Source { path: self.path.clone(), line: Some(line) }
    }

    pub fn problem(&mut self, severity: super::Severity, line: usize, text: impl Into<String>) {
        let path = self.path.clone();
        self.reading.problems.push(Problem { severity, path, line: Some(line), text: text.into() });
    }

    /// The same, of something that may stand in another file.
    pub fn problem_at(&mut self, severity: super::Severity, source: &Source, text: impl Into<String>) {
        let (path, line) = (source.path.clone(), source.line);
        self.reading.problems.push(Problem { severity, path, line, text: text.into() });
    }

    /// What became of a resource (`property` empty) or one of its properties.
    pub fn finding(&mut self, status: Status, resource: &Resource, property: &str, line: usize, text: &str) {
        self.reading.findings.push(Finding {
            status,
            resource: resource.logical_id.clone(),
            kind: resource.kind.clone(),
            property: property.to_owned(),
            line,
            text: text.to_owned(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_absent_and_what_is_put_out_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("template.yaml");
        let text = "Conditions:
  IsProd: !Equals [!Ref AWS::Region, nowhere]
Resources:
  Bucket:
    Type: AWS::S3::Bucket
    Condition: IsProd
Outputs:
  Region: {Value: !Ref AWS::Region}
";
        std::fs::write(&path, text).unwrap();
        let (parameters, config_env) = (Vec::new(), "default".to_owned());
        let template = Template { path, parameters, env_vars: None, config_env };
        let account = Account { id: "123456789012".into(), region: "eu-west-1".into() };
        let reading =
            read(&Options { template: &template, account: &account, state_dir: folder.path() }).unwrap();
        let lines = reading.findings.iter().map(|finding| {
            format!(
                "{} {:?} {} ({}): {}",
                finding.line, finding.status, finding.resource, finding.kind, finding.text
            )
        });
        assert_eq!(
            lines.collect::<Vec<_>>(),
            [
                "4 Ignored Bucket (AWS::S3::Bucket): its condition IsProd is false".to_owned(),
                format!("8 Supported Region (Output): its value here is `{}`", account.region),
            ]
        );
    }
}

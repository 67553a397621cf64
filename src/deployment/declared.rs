//! What a template declares, kept between readings: a template that is broken for the moment leaves
//! the last good one in force.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::discover::Problem;
use super::template::{self, CodeLocation, Declared, Failure, Finding, Reading};
use super::{Check, Severity, Sources};
use crate::api::{Api, IntegrationKind};
use crate::config::{Account, Template};
use crate::function::{Attached, Configuration, FunctionName};

pub struct Declarations {
    template: Template,
    account: Account,
    /// `InlineCode` is written below it, and published layers are found there.
    state_dir: PathBuf,
    check: Check,
    reading: Reading,
    /// Shared, so that what has not changed stays the very same value.
    apis: Vec<Arc<Api>>,
    /// Why the latest text of the template is not the one in force.
    failure: Option<Failure>,
    has_been_read: bool,
}

/// What a declared function is run from.
pub struct Runnable {
    pub folder: PathBuf,
    /// The first one lowest.
    pub layers: Vec<PathBuf>,
    pub configuration: Configuration,
}

impl Declarations {
    pub fn new(sources: &Sources) -> Self {
        let template = sources.template.clone().expect("there is a template");
        Self {
            template: Template { path: absolute(&template.path), ..template },
            account: sources.account.clone(),
            state_dir: absolute(&sources.state_dir),
            check: sources.check,
            reading: Reading::default(),
            apis: Vec::new(),
            failure: None,
            has_been_read: false,
        }
    }

    /// Reads the template again.
    pub fn read(&mut self) {
        let options = template::Options {
            template: &self.template,
            account: &self.account,
            state_dir: &self.state_dir,
        };
        match template::read(&options) {
            Ok(mut reading) => {
                self.has_been_read = true;
                self.refuse(&mut reading);
                reading.problems.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
                self.apis = reading.apis.iter().map(|api| self.kept(api)).collect();
                self.reading = reading;
                self.failure = None;
            }
            Err(failure) => self.failure = Some(failure),
        }
    }

    /// What the gateway cannot do answers with the reason, and stands among the problems.
    fn refuse(&self, reading: &mut Reading) {
        for api in &mut reading.apis {
            for route in &mut api.routes {
                let Err(reason) = (self.check)(api.kind, &route.integration) else { continue };
                reading.problems.push(Problem {
                    severity: Severity::Error,
                    path: route.source.path.clone(),
                    line: route.source.line,
                    text: format!("`{}` of `{}` cannot be served: {reason}", route.key(), api.name),
                });
                route.integration.kind = IntegrationKind::Missing { reason };
            }
        }
    }

    fn kept(&self, api: &Api) -> Arc<Api> {
        let former = self.apis.iter().find(|former| ***former == *api);
        former.cloned().unwrap_or_else(|| Arc::new(api.clone()))
    }

    pub fn names(&self) -> Vec<FunctionName> {
        self.reading.functions.iter().map(|function| function.name.clone()).collect()
    }

    /// What stands beside each function.
    pub fn attached(&self) -> Vec<(FunctionName, Attached)> {
        let declared = self.reading.functions.iter();
        declared.map(|function| (function.name.clone(), function.attached.clone())).collect()
    }

    pub fn apis(&self) -> Vec<Arc<Api>> {
        self.apis.clone()
    }

    pub fn findings(&self) -> Vec<Finding> {
        self.reading.findings.clone()
    }

    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = self.reading.problems.clone();
        if let Some(failure) = &self.failure {
            problems.extend(failure.problems.clone());
            let text = match self.failed() {
                false => "cannot be read; what was deployed before goes on serving",
                true => {
                    "cannot be read, so nothing of it is served\nhint: correct it; `handlerd serve` deploys it as soon as \
                     it is saved"
                }
            };
            problems.push(Problem {
                severity: Severity::Warning,
                path: self.template.path.clone(),
                line: None,
                text: text.to_owned(),
            });
        }
        problems
    }

    /// The template cannot be read, and never could.
    pub fn failed(&self) -> bool {
        self.failure.is_some() && !self.has_been_read
    }

    /// What a function is run from, or why it cannot run.
    pub fn get(&self, name: &FunctionName) -> Option<Result<Runnable, String>> {
        let declared = self.reading.functions.iter().find(|function| function.name == *name)?;
        if let Some(reason) = &declared.broken {
            return Some(Err(reason.clone()));
        }
        let folder = match self.folder(declared) {
            Ok(folder) => folder,
            Err(error) => return Some(Err(format!("its inline code could not be written: {error}"))),
        };
        let mut layers = declared.layers.clone();
        // What `sam build` left: the source and its dependencies. The source itself comes first, from
        // where it is edited.
        let built = self.folder_of_template().join(".aws-sam/build").join(&declared.logical_id);
        if built.is_dir() && !folder.starts_with(&built) {
            layers.insert(0, built);
        }
        Some(Ok(Runnable { folder, layers, configuration: declared.configuration.clone() }))
    }

    fn folder(&self, declared: &Declared) -> std::io::Result<PathBuf> {
        match &declared.code {
            CodeLocation::Folder(folder) => Ok(folder.clone()),
            CodeLocation::Inline(text) => {
                let folder = self.state_dir.join("inline").join(declared.name.as_str());
                let file = folder.join("index.py");
                if std::fs::read_to_string(&file).ok().as_deref() != Some(text) {
                    std::fs::create_dir_all(&folder)?;
                    let half = folder.join(".index.py");
                    std::fs::write(&half, text)?;
                    std::fs::rename(half, file)?;
                }
                Ok(folder)
            }
        }
    }

    fn folder_of_template(&self) -> &Path {
        self.template.path.parent().unwrap_or(Path::new("/"))
    }

    /// The files that it was read from, or would have been.
    pub fn files(&self) -> HashSet<PathBuf> {
        let mut files: HashSet<PathBuf> = HashSet::from([self.template.path.clone()]);
        files.extend(self.reading.files.iter().map(|file| absolute(file)));
        files.extend(self.failure.iter().flat_map(|failure| &failure.files).map(|file| absolute(file)));
        files
    }

    /// Published layers that functions use and that are not there yet.
    pub fn awaited(&self) -> impl Iterator<Item = PathBuf> {
        self.reading.awaited.iter().cloned()
    }

    /// Folders that hold those files.
    pub fn folders(&self) -> HashSet<PathBuf> {
        self.files().iter().filter_map(|file| file.parent().map(Path::to_owned)).collect()
    }

    /// Folders of code, with the function that uses them.
    pub fn territories(&self) -> Vec<(PathBuf, String)> {
        let mut territories = Vec::new();
        for declared in &self.reading.functions {
            let folder = match &declared.code {
                CodeLocation::Folder(folder) => Some(folder),
                CodeLocation::Inline(_) => None,
            };
            for folder in folder.into_iter().chain(&declared.layers) {
                territories.push((absolute(folder), declared.name.to_string()));
            }
        }
        territories
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

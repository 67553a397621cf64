//! What is on disk -> a deployment, and what is wrong with it.
//!
//! A function is a folder of `handlers/` that holds `lambda_function.py` or `function.yaml`, or
//! what a template declares. Its code is everything in its folder but caches, virtual environments
//! and what version control keeps.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::declared::{Declarations, Runnable};
use super::function_yaml::Surroundings;
use super::territory::{TEMPLATE, Territory};
use super::{Deployed, Deployment, Sources, convention, dotenv, function_yaml, layers};
use crate::api::Source;
use crate::config::Account;
pub use crate::function::is_left_out;
use crate::function::{
    Attached, Code, Configuration, ContentHash, Contents, Function, FunctionName, Version,
};
use crate::trigger::Trigger;

pub const FUNCTION_YAML: &str = "function.yaml";
pub const DOTENV: &str = ".env";
const DEFAULT_FILE: &str = "lambda_function.py";

/// A file whose times are this old cannot have been written twice within the clock's grain.
const SETTLED: Duration = Duration::from_millis(200);

/// What people should know about a folder, with the file it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub severity: Severity,
    pub path: PathBuf,
    pub line: Option<usize>,
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Note,
    Warning,
    Error,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As somebody would type it here.
        let here = std::env::current_dir().unwrap_or_default();
        let path = self.path.strip_prefix(here).unwrap_or(&self.path);
        write!(formatter, "{}", path.display())?;
        if let Some(line) = self.line {
            write!(formatter, ":{line}")?;
        }
        write!(formatter, ": {}", self.text)
    }
}

/// One folder, looked at.
#[derive(Debug)]
pub struct Found {
    pub name: FunctionName,
    pub deployed: Deployed,
    /// What its `function.yaml` says of its routes and layers.
    pub(super) attached: Attached,
    pub(super) surroundings: Surroundings,
    pub problems: Vec<Problem>,
    /// Folders whose content belongs to it: what is to be watched.
    pub folders: Vec<PathBuf>,
}

/// Reads folders; remembers hashes of files that have not changed since.
pub struct Discovery {
    handlers: Option<PathBuf>,
    declarations: Option<Declarations>,
    hashes: HashMap<PathBuf, Remembered>,
    /// Of one reading: functions of a template often share a folder.
    codes: HashMap<PathBuf, Seen>,
    folders: BTreeMap<String, Vec<PathBuf>>,
    /// Links of functions that are not followed.
    left_behind: BTreeMap<String, Vec<Problem>>,
    /// Those among the problems that concern the routes of several functions together.
    route_problems: Vec<Problem>,
    /// Layers of functions of the handlers folder, with who uses them.
    layers: Vec<(PathBuf, String)>,
    /// Published layers that somebody uses and that are not there yet.
    awaited: Vec<PathBuf>,
    account: Account,
    state_dir: PathBuf,
    next_sequence: u64,
}

/// A folder of code.
#[derive(Clone)]
struct Seen {
    code: Code,
    folders: Vec<PathBuf>,
    left_behind: Vec<Problem>,
}

struct Remembered {
    stamp: Stamp,
    hash: [u8; 32],
}

/// What changes when a file does. Trusted only once it has settled.
#[derive(PartialEq, Eq, Clone, Copy)]
struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    fn has_settled(&self) -> bool {
        let changed = Duration::new(self.changed.0.max(0) as u64, self.changed.1.max(0) as u32);
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).is_ok_and(|now| now > changed + SETTLED)
    }
}

impl Discovery {
    pub fn new(sources: &Sources) -> Self {
        Self {
            handlers: sources.handlers.clone(),
            declarations: sources.template.as_ref().map(|_| Declarations::new(sources)),
            hashes: HashMap::new(),
            codes: HashMap::new(),
            left_behind: BTreeMap::new(),
            route_problems: Vec::new(),
            layers: Vec::new(),
            awaited: Vec::new(),
            account: sources.account.clone(),
            state_dir: sources.state_dir.clone(),
            folders: BTreeMap::new(),
            next_sequence: 1,
        }
    }

    pub fn all(&mut self) -> Deployment {
        self.all_after(&Deployment::default())
    }

    /// Everything, anew; functions that have not changed stay the very same values.
    pub fn all_after(&mut self, before: &Deployment) -> Deployment {
        self.folders.clear();
        self.left_behind.clear();
        self.codes.clear();
        let mut after = Deployment::default();
        if let Some(declarations) = &mut self.declarations {
            declarations.read();
        }
        for name in self.declared() {
            self.look_at_declared(&name, before, &mut after);
        }
        for name in self.subfolders(&mut after) {
            self.look_into(&name, before, &mut after);
        }
        self.finish(before, &mut after);
        after
    }

    /// Whether the template declares a function of this name.
    pub fn declares(&self, name: &str) -> bool {
        self.declared().iter().any(|declared| declared.as_str() == name)
    }

    fn declared(&self) -> Vec<FunctionName> {
        self.declarations.iter().flat_map(Declarations::names).collect()
    }

    fn subfolders(&self, after: &mut Deployment) -> Vec<String> {
        let Some(handlers) = &self.handlers else { return Vec::new() };
        let mut names: Vec<String> = match std::fs::read_dir(handlers) {
            Ok(entries) => {
                entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
            }
            Err(error) => {
                after.problems.push(Problem {
                    severity: Severity::Error,
                    path: handlers.clone(),
                    line: None,
                    text: format!("cannot be read: {error}"),
                });
                Vec::new()
            }
        };
        names.sort();
        names
    }

    /// What concerns no single function: APIs, and what the template's reading had to say.
    fn finish(&mut self, before: &Deployment, after: &mut Deployment) {
        after.apis.clear();
        self.route_problems.clear();
        if let Some(declarations) = &self.declarations {
            for (name, attached) in declarations.attached() {
                after.attach(&name, attached, before);
            }
            after.apis.extend(declarations.apis());
            after.findings = declarations.findings();
            after.template_failed = declarations.failed();
            after.problems.extend(declarations.problems());
        }
        if let Some(handlers) = &self.handlers {
            let declared = self.declared();
            let own = after.functions.iter().filter(|(name, _)| !declared.contains(name));
            let own = own.map(|(name, deployed)| (name.clone(), deployed.clone())).collect();
            let (apis, problems) = convention::apis(handlers, &own, &after.surroundings);
            after.apis.extend(apis.into_iter().map(Arc::new));
            after.problems.extend(problems.iter().cloned());
            self.route_problems.extend(problems);
        }
        for (name, around) in after.surroundings.clone() {
            let Some(attached) = after.attached.get(&name) else { continue };
            if attached.triggers != around.triggers {
                let attached = Attached { triggers: around.triggers, ..Attached::clone(attached) };
                after.attach(&name, attached, before);
            }
        }
        self.route_problems.extend(refuse_namesakes(after));
        for problem in self.left_behind.values().flatten() {
            // Functions may share a folder.
            if !after.problems.contains(problem) {
                after.problems.push(problem.clone());
            }
        }
        let uses = |(name, around): (&FunctionName, &Surroundings)| {
            around.layers.iter().map(|layer| (layer.clone(), name.to_string())).collect::<Vec<_>>()
        };
        self.layers = after.surroundings.iter().flat_map(uses).collect();
        let awaited = |(name, around): (&FunctionName, &Surroundings)| {
            let folders = around.awaited.iter().filter_map(|layer| layer.parent());
            folders.map(|folder| (folder.to_owned(), name.to_string())).collect::<Vec<_>>()
        };
        self.layers.extend(after.surroundings.iter().flat_map(awaited));
        self.awaited = after.surroundings.values().flat_map(|around| around.awaited.clone()).collect();
        self.awaited.extend(self.declarations.iter().flat_map(Declarations::awaited));
    }

    /// The deployment before, with these functions looked at again.
    pub fn some_after(&mut self, before: &Deployment, names: &HashSet<String>) -> Deployment {
        self.codes.clear();
        let of_template = self.declarations.as_ref().map(Declarations::problems).unwrap_or_default();
        let concerns = |problem: &Problem| {
            let handlers = self.handlers.as_ref();
            handlers.is_some_and(|handlers| {
                names.iter().any(|name| problem.path.starts_with(handlers.join(name)))
            })
        };
        // Those of the routes are found anew.
        let kept = |problem: &&Problem| {
            !concerns(problem)
                && !of_template.contains(problem)
                && !self.route_problems.contains(problem)
                && !self.left_behind.values().any(|left_behind| left_behind.contains(problem))
        };
        let mut after = Deployment {
            functions: before.functions.clone(),
            surroundings: before.surroundings.clone(),
            attached: before.attached.clone(),
            problems: before.problems.iter().filter(kept).cloned().collect(),
            ..Deployment::default()
        };
        let declared = self.declared();
        for name in names {
            after.functions.remove(name.as_str());
            after.surroundings.remove(name.as_str());
            after.attached.remove(name.as_str());
            self.folders.remove(name);
            self.left_behind.remove(name);
            match declared.iter().find(|declared| declared.as_str() == name) {
                Some(name) => self.look_at_declared(name, before, &mut after),
                None => self.look_into(name, before, &mut after),
            }
        }
        self.finish(before, &mut after);
        after
    }

    /// Whether the folder holds the code of this version now.
    pub fn holds(&mut self, function: &Function) -> bool {
        self.codes.clear();
        self.code_and_layers(&function.task_root, &function.layers).code.sha256 == function.code.sha256
    }

    /// Folders to watch.
    pub fn folders(&self) -> Vec<PathBuf> {
        let mut folders: Vec<PathBuf> = self.roots();
        folders.extend(self.folders.values().flatten().cloned());
        folders
            .extend(self.awaited.iter().filter_map(|layer| layers::waiting_place(layer)).map(Path::to_owned));
        folders
    }

    /// Published layers that are waited for.
    pub fn awaited(&self) -> &[PathBuf] {
        &self.awaited
    }

    /// Folders without which nothing can be noticed.
    pub fn roots(&self) -> Vec<PathBuf> {
        let mut roots: Vec<PathBuf> = self.handlers.iter().cloned().collect();
        roots.extend(self.declarations.iter().flat_map(Declarations::folders));
        roots
    }

    /// Whose concern a path is.
    pub fn territory(&self) -> Territory {
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let mut territory =
            Territory { handlers: self.handlers.as_deref().map(absolute), ..Territory::default() };
        if let Some(declarations) = &self.declarations {
            territory.template_files = declarations.files();
            for layer in declarations.awaited() {
                territory.template_files.extend(layer.parent().map(Path::to_owned));
                territory.template_files.insert(layer);
            }
            territory.functions = declarations.territories();
        }
        territory.functions.extend(self.layers.iter().map(|(layer, user)| (absolute(layer), user.clone())));
        territory
    }

    fn look_into(&mut self, name: &str, before: &Deployment, after: &mut Deployment) {
        let Some(folder) = self.handlers.as_ref().map(|handlers| handlers.join(name)) else { return };
        if name == TEMPLATE || is_left_out(name) || !folder.is_dir() {
            return;
        }
        // Watched even while it is no function: it may become one.
        self.folders.insert(name.to_owned(), vec![folder.clone()]);
        if !folder.join(DEFAULT_FILE).exists() && !folder.join(FUNCTION_YAML).exists() {
            let has_python = std::fs::read_dir(&folder).is_ok_and(|entries| {
                entries
                    .flatten()
                    .any(|entry| Path::new(&entry.file_name()).extension().is_some_and(|e| e == "py"))
            });
            if has_python {
                let text = format!(
                    "is no function: it has neither `{DEFAULT_FILE}` nor `{FUNCTION_YAML}`\nhint: rename your file to \
                     `{DEFAULT_FILE}`, or add a `{FUNCTION_YAML}` with `Handler: your_file.your_function`"
                );
                after.problems.push(Problem { severity: Severity::Warning, path: folder, line: None, text });
            }
            return;
        }
        let parsed = match name.parse::<FunctionName>() {
            Ok(parsed) => parsed,
            Err(error) => {
                let text = format!("is no function: {error}\nhint: rename the folder");
                after.problems.push(Problem { severity: Severity::Error, path: folder, line: None, text });
                return;
            }
        };
        let previous = match before.functions.get(name) {
            Some(Deployed::Ready(function)) => Some(function),
            _ => None,
        };
        if let Some(declared) = after.functions.get(&parsed) {
            // The same function, written down twice.
            let own = std::path::absolute(&folder).unwrap_or_else(|_| folder.clone());
            if declared.function().is_some_and(|declared| declared.task_root == own) {
                return;
            }
            let text = format!(
                "is not served: the template declares a function `{parsed}`\nhint: rename one of the two"
            );
            after.problems.push(Problem { severity: Severity::Error, path: folder, line: None, text });
            return;
        }
        let found = self.function(parsed, folder, previous);
        self.folders.insert(name.to_owned(), found.folders);
        after.problems.extend(found.problems);
        after.attach(&found.name, found.attached, before);
        after.surroundings.insert(found.name.clone(), found.surroundings);
        after.functions.insert(found.name, found.deployed);
    }

    fn function(&mut self, name: FunctionName, folder: PathBuf, previous: Option<&Arc<Function>>) -> Found {
        let mut problems = Vec::new();
        let place = function_yaml::Place { account: &self.account, state_dir: &self.state_dir };
        let described = function_yaml::read(&folder.join(FUNCTION_YAML), name.as_str(), place, &mut problems);
        let function_yaml::Described { mut configuration, attached, surroundings } = described;
        dotenv::read(&folder.join(DOTENV), &mut configuration, &mut problems);
        let errors: Vec<String> = problems
            .iter()
            .filter(|problem| problem.severity == Severity::Error)
            .map(|problem| problem.to_string())
            .collect();
        if !errors.is_empty() {
            let Seen { folders, .. } = self.code(&folder);
            return Found {
                name,
                deployed: Deployed::Broken { reason: errors.join("\n") },
                attached,
                surroundings,
                problems,
                folders,
            };
        }
        let (deployed, folders) =
            self.ready(&name, folder, surroundings.layers.clone(), configuration, previous);
        Found { name, deployed, attached, surroundings, problems, folders }
    }

    /// The former value, if nothing has changed.
    fn ready(
        &mut self,
        name: &FunctionName,
        folder: PathBuf,
        layers: Vec<PathBuf>,
        configuration: Configuration,
        previous: Option<&Arc<Function>>,
    ) -> (Deployed, Vec<PathBuf>) {
        let Seen { code, folders, left_behind } = self.code_and_layers(&folder, &layers);
        self.left_behind.insert(name.to_string(), left_behind);
        let function = Function {
            sequence: self.next_sequence,
            name: name.clone(),
            version: Version::Latest,
            task_root: std::path::absolute(&folder).unwrap_or(folder),
            layers,
            configuration,
            code,
        };
        let function = match previous.filter(|previous| previous.same_version(&function)) {
            Some(previous) => previous.clone(),
            None => {
                self.next_sequence += 1;
                Arc::new(function)
            }
        };
        (Deployed::Ready(function), folders)
    }

    /// A function that the template declares.
    fn look_at_declared(&mut self, name: &FunctionName, before: &Deployment, after: &mut Deployment) {
        let Some(declared) = self.declarations.as_ref().and_then(|declarations| declarations.get(name))
        else {
            return;
        };
        let deployed = match declared {
            Err(reason) => Deployed::Broken { reason },
            Ok(Runnable { folder, layers, configuration }) => {
                let previous = match before.functions.get(name.as_str()) {
                    Some(Deployed::Ready(function)) => Some(function),
                    _ => None,
                };
                let (deployed, folders) = self.ready(name, folder, layers, configuration, previous);
                self.folders.insert(name.to_string(), folders);
                deployed
            }
        };
        after.functions.insert(name.clone(), deployed);
    }

    /// Shared code counts as the function's own: a change in it is a change of the function.
    fn code_and_layers(&mut self, folder: &Path, layers: &[PathBuf]) -> Seen {
        let mut all = self.code(folder);
        let mut hashes = Vec::new();
        for layer in layers {
            let layer = self.code(layer);
            hashes.push(layer.code.sha256);
            all.folders.extend(layer.folders);
            all.left_behind.extend(layer.left_behind);
        }
        all.code.sha256 = ContentHash::with_layers(all.code.sha256, &hashes);
        all
    }

    /// Hash, size and folders of everything that belongs to the code.
    fn code(&mut self, folder: &Path) -> Seen {
        if let Some(known) = self.codes.get(folder) {
            return known.clone();
        }
        let code = self.read_code(folder);
        self.codes.insert(folder.to_owned(), code.clone());
        code
    }

    fn read_code(&mut self, folder: &Path) -> Seen {
        let contents = Contents::of(folder);
        let mut all = ContentHash::default();
        let mut own = ContentHash::default();
        let mut code =
            Code { sha256: [0; 32], own_sha256: [0; 32], size: 0, last_modified: SystemTime::UNIX_EPOCH };
        for relative in &contents.files {
            let path = folder.join(relative);
            // A file that vanishes while it is looked at brings another change.
            let Ok(metadata) = std::fs::metadata(&path) else { continue };
            if !metadata.is_file() {
                continue;
            }
            let Some(hash) = self.hash(&path, &metadata) else { continue };
            all.file(relative, hash);
            if !super::is_configuration(relative) {
                own.file(relative, hash);
            }
            code.size += metadata.len();
            code.last_modified =
                code.last_modified.max(metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH));
        }
        code.sha256 = all.finish();
        code.own_sha256 = own.finish();
        let left_behind = contents.left_behind.iter().map(|left| Problem {
            severity: Severity::Warning,
            path: folder.join(&left.link),
            line: None,
            text: format!(
                "is a link that {}: it is not followed, and what is behind it is no part of the code\nhint: link to \
                 what the function needs of it, or put a copy in its place",
                left.reason
            ),
        });
        Seen {
            code,
            // As it was named, without a slash at its end.
            folders: contents
                .folders
                .iter()
                .map(|inside| folder.components().chain(inside.components()).collect())
                .collect(),
            left_behind: left_behind.collect(),
        }
    }

    fn hash(&mut self, path: &Path, metadata: &Metadata) -> Option<[u8; 32]> {
        let stamp = Stamp::of(metadata);
        if let Some(remembered) = self.hashes.get(path)
            && remembered.stamp == stamp
        {
            return Some(remembered.hash);
        }
        let hash = ContentHash::of_file(path).ok()?;
        if stamp.has_settled() {
            self.hashes.insert(path.to_owned(), Remembered { stamp, hash });
        } else {
            self.hashes.remove(path);
        }
        Some(hash)
    }
}

/// A trigger is known by its name, also when the gateway starts again.
pub(super) fn refuse_namesakes(after: &mut Deployment) -> Vec<Problem> {
    let mut known: BTreeMap<String, Source> = BTreeMap::new();
    let mut problems = Vec::new();
    for attached in after.attached.values_mut() {
        let is_taken =
            |known: &BTreeMap<String, Source>, trigger: &Trigger| known.contains_key(&trigger.name);
        let mut names: HashSet<&str> = HashSet::new();
        let twice = attached.triggers.iter().any(|trigger| !names.insert(&trigger.name));
        if twice || attached.triggers.iter().any(|trigger| is_taken(&known, trigger)) {
            let mut kept = Attached::clone(attached);
            kept.triggers.retain(|trigger| {
                let Some(other) = known.get(&trigger.name) else {
                    known.insert(trigger.name.clone(), trigger.source.clone());
                    return true;
                };
                let line = other.line.map(|line| format!(":{line}")).unwrap_or_default();
                problems.push(Problem {
                    severity: Severity::Error,
                    path: trigger.source.path.clone(),
                    line: trigger.source.line,
                    text: format!(
                        "`{}` is left out: there is a trigger of this name already ({}{line})\nhint: give the event \
                         another name",
                        trigger.name,
                        other.path.display()
                    ),
                });
                false
            });
            *attached = Arc::new(kept);
        } else {
            let named =
                attached.triggers.iter().map(|trigger| (trigger.name.clone(), trigger.source.clone()));
            known.extend(named);
        }
    }
    after.problems.extend(problems.iter().cloned());
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        folder
    }

    fn ready<'a>(deployment: &'a Deployment, name: &str) -> &'a Arc<Function> {
        match &deployment.functions[name] {
            Deployed::Ready(function) => function,
            Deployed::Broken { reason } => panic!("{reason}"),
        }
    }

    #[test]
    fn a_folder_with_the_file_is_a_function() {
        let folder = folder_with(&[
            ("hello/lambda_function.py", "x"),
            ("not_one/readme.md", ""),
            ("nearly/app.py", ""),
            ("bad name/lambda_function.py", ""),
            (".hidden/lambda_function.py", ""),
        ]);
        let deployment = Discovery::new(&Sources::of_handlers(folder.path())).all();
        assert_eq!(deployment.functions.keys().map(FunctionName::as_str).collect::<Vec<_>>(), ["hello"]);
        let problems: Vec<String> = deployment.problems.iter().map(ToString::to_string).collect();
        assert!(problems.iter().any(|problem| problem.contains("nearly: is no function")), "{problems:?}");
        assert!(problems.iter().any(|problem| problem.contains("contains ' '")), "{problems:?}");
    }

    #[test]
    fn unchanged_functions_stay_the_same_values() {
        let folder = folder_with(&[("a/lambda_function.py", "1"), ("b/lambda_function.py", "1")]);
        let mut discovery = Discovery::new(&Sources::of_handlers(folder.path()));
        let before = discovery.all();
        // Equal in size and, as far as a coarse clock tells, in time.
        std::fs::write(folder.path().join("b/lambda_function.py"), "2").unwrap();
        let after = discovery.some_after(&before, &HashSet::from(["a".to_owned(), "b".to_owned()]));
        assert!(Arc::ptr_eq(ready(&before, "a"), ready(&after, "a")));
        assert!(!Arc::ptr_eq(ready(&before, "b"), ready(&after, "b")));
        assert!(ready(&before, "b").sequence < ready(&after, "b").sequence);
    }

    #[test]
    fn links_without_end_are_told() {
        let folder = folder_with(&[("a/lambda_function.py", "1"), ("b/lambda_function.py", "1")]);
        for (link, target) in
            [("a/root", "/"), ("a/self", "."), ("a/again", "."), ("b/ok", "../a/lambda_function.py")]
        {
            std::os::unix::fs::symlink(target, folder.path().join(link)).unwrap();
        }
        let mut discovery = Discovery::new(&Sources::of_handlers(folder.path()));
        let told = |deployment: &Deployment| {
            let problems = deployment.problems.iter().map(|problem| problem.path.file_name().unwrap());
            problems.map(|name| name.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let before = discovery.all();
        assert_eq!(told(&before), ["again", "root", "self"]);
        assert!(before.problems[0].to_string().contains("not followed"), "{}", before.problems[0]);
        assert_eq!(ready(&before, "a").code.size, 1);
        // Said once, and not any more when they are gone.
        let of = |name: &str| HashSet::from([name.to_owned()]);
        std::fs::remove_file(folder.path().join("a/self")).unwrap();
        let after = discovery.some_after(&before, &of("b"));
        assert_eq!(told(&after), ["again", "root", "self"]);
        let after = discovery.some_after(&after, &of("a"));
        assert_eq!(told(&after), ["again", "root"]);
    }

    #[test]
    fn caches_are_not_code() {
        let folder = folder_with(&[("a/lambda_function.py", "1"), ("a/lib/x.py", "1")]);
        let mut discovery = Discovery::new(&Sources::of_handlers(folder.path()));
        let before = discovery.all();
        for noise in ["a/__pycache__/x.pyc", "a/.venv/lib/y.py", "a/lib/z.pyc", "a/x.py~"] {
            let path = folder.path().join(noise);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "noise").unwrap();
        }
        let after = discovery.all_after(&before);
        assert!(Arc::ptr_eq(ready(&before, "a"), ready(&after, "a")));
        assert!(discovery.folders().iter().all(|folder| !folder.ends_with("__pycache__")));
    }
}

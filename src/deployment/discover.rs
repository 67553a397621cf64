//! A folder on disk -> a function, or what is wrong with it.
//!
//! A function is a folder of `handlers/` that holds `lambda_function.py` or `function.yaml`. Its
//! code is everything in the folder but caches, virtual environments and what version control keeps.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use super::{Deployed, Deployment, dotenv, function_yaml};
use crate::function::{Code, Function, FunctionName};

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
        write!(formatter, "{}", self.path.display())?;
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
    pub problems: Vec<Problem>,
    /// Folders whose content belongs to it: what is to be watched.
    pub folders: Vec<PathBuf>,
}

/// Reads folders; remembers hashes of files that have not changed since.
pub struct Discovery {
    handlers: PathBuf,
    hashes: HashMap<PathBuf, Remembered>,
    folders: BTreeMap<String, Vec<PathBuf>>,
    next_sequence: u64,
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
    pub fn new(handlers: &Path) -> Self {
        Self {
            handlers: handlers.to_owned(),
            hashes: HashMap::new(),
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
        let mut names: HashSet<String> = HashSet::new();
        let mut after = Deployment::default();
        match std::fs::read_dir(&self.handlers) {
            Ok(entries) => {
                names.extend(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()));
            }
            Err(error) => after.problems.push(Problem {
                severity: Severity::Error,
                path: self.handlers.clone(),
                line: None,
                text: format!("cannot be read: {error}"),
            }),
        }
        let mut names: Vec<String> = names.into_iter().collect();
        names.sort();
        for name in names {
            self.look_into(&name, before, &mut after);
        }
        after
    }

    /// The deployment before, with these functions looked at again.
    pub fn some_after(&mut self, before: &Deployment, names: &HashSet<String>) -> Deployment {
        let mut after = Deployment {
            functions: before.functions.clone(),
            problems: before
                .problems
                .iter()
                .filter(|problem| {
                    !names.iter().any(|name| problem.path.starts_with(self.handlers.join(name)))
                })
                .cloned()
                .collect(),
        };
        for name in names {
            after.functions.remove(name.as_str());
            self.folders.remove(name);
            self.look_into(name, before, &mut after);
        }
        after
    }

    /// Whether the folder holds the code of this version now.
    pub fn holds(&mut self, function: &Function) -> bool {
        self.code(&function.task_root).0.sha256 == function.code.sha256
    }

    /// Folders to watch, the handlers folder first.
    pub fn folders(&self) -> Vec<PathBuf> {
        let mut folders = vec![self.handlers.clone()];
        folders.extend(self.folders.values().flatten().cloned());
        folders
    }

    fn look_into(&mut self, name: &str, before: &Deployment, after: &mut Deployment) {
        let folder = self.handlers.join(name);
        if is_left_out(name) || !folder.is_dir() {
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
        let found = self.function(parsed, folder, previous);
        self.folders.insert(name.to_owned(), found.folders);
        after.problems.extend(found.problems);
        after.functions.insert(found.name, found.deployed);
    }

    fn function(&mut self, name: FunctionName, folder: PathBuf, previous: Option<&Arc<Function>>) -> Found {
        let mut problems = Vec::new();
        let mut configuration = function_yaml::read(&folder.join(FUNCTION_YAML), &mut problems);
        dotenv::read(&folder.join(DOTENV), &mut configuration, &mut problems);
        let errors: Vec<String> = problems
            .iter()
            .filter(|problem| problem.severity == Severity::Error)
            .map(|problem| problem.to_string())
            .collect();
        let (code, folders) = self.code(&folder);
        let deployed = if errors.is_empty() {
            let function = Function {
                sequence: self.next_sequence,
                name: name.clone(),
                task_root: std::path::absolute(&folder).unwrap_or(folder),
                configuration,
                code,
            };
            match previous.filter(|previous| previous.same_version(&function)) {
                Some(previous) => Deployed::Ready(previous.clone()),
                None => {
                    self.next_sequence += 1;
                    Deployed::Ready(Arc::new(function))
                }
            }
        } else {
            Deployed::Broken { reason: errors.join("\n") }
        };
        Found { name, deployed, problems, folders }
    }

    /// Hash, size and folders of everything that belongs to the code.
    fn code(&mut self, folder: &Path) -> (Code, Vec<PathBuf>) {
        let mut folders = Vec::new();
        let mut files = Vec::new();
        walk(folder, Path::new(""), &mut folders, &mut files, 0);
        files.sort();
        let mut all = Sha256::new();
        let mut code = Code { sha256: [0; 32], size: 0, last_modified: SystemTime::UNIX_EPOCH };
        for relative in &files {
            let path = folder.join(relative);
            // A file that vanishes while it is looked at brings another change.
            let Ok(metadata) = std::fs::metadata(&path) else { continue };
            if !metadata.is_file() {
                continue;
            }
            let Some(hash) = self.hash(&path, &metadata) else { continue };
            all.update(relative.as_os_str().as_encoded_bytes());
            all.update([0]);
            all.update(hash);
            code.size += metadata.len();
            code.last_modified =
                code.last_modified.max(metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH));
        }
        code.sha256 = all.finalize().into();
        (code, folders)
    }

    fn hash(&mut self, path: &Path, metadata: &Metadata) -> Option<[u8; 32]> {
        let stamp = Stamp::of(metadata);
        if let Some(remembered) = self.hashes.get(path)
            && remembered.stamp == stamp
        {
            return Some(remembered.hash);
        }
        let hash: [u8; 32] = Sha256::digest(std::fs::read(path).ok()?).into();
        if stamp.has_settled() {
            self.hashes.insert(path.to_owned(), Remembered { stamp, hash });
        } else {
            self.hashes.remove(path);
        }
        Some(hash)
    }
}

/// Not code: what tools leave behind, and what is too large to be meant.
pub fn is_left_out(name: &str) -> bool {
    let hidden = name.starts_with('.') && name != DOTENV;
    hidden
        || matches!(name, "__pycache__" | "node_modules" | "venv")
        || name.ends_with(".pyc")
        || name.ends_with('~')
        || name.ends_with(".swp")
        || name == "4913"
}

fn walk(root: &Path, relative: &Path, folders: &mut Vec<PathBuf>, files: &mut Vec<PathBuf>, depth: usize) {
    // Deeper than any package; a symbolic link to a parent folder ends here too.
    if depth > 32 {
        return;
    }
    let folder = root.join(relative);
    let Ok(entries) = std::fs::read_dir(&folder) else { return };
    folders.push(folder);
    for entry in entries.flatten() {
        let name = entry.file_name();
        if is_left_out(&name.to_string_lossy()) {
            continue;
        }
        let relative = relative.join(&name);
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(root, &relative, folders, files, depth + 1),
            Ok(kind) if kind.is_symlink() && root.join(&relative).is_dir() => {
                walk(root, &relative, folders, files, depth + 1);
            }
            Ok(_) => files.push(relative),
            Err(_) => {}
        }
    }
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
        let deployment = Discovery::new(folder.path()).all();
        assert_eq!(deployment.functions.keys().map(FunctionName::as_str).collect::<Vec<_>>(), ["hello"]);
        let problems: Vec<String> = deployment.problems.iter().map(ToString::to_string).collect();
        assert!(problems.iter().any(|problem| problem.contains("nearly: is no function")), "{problems:?}");
        assert!(problems.iter().any(|problem| problem.contains("contains ' '")), "{problems:?}");
    }

    #[test]
    fn unchanged_functions_stay_the_same_values() {
        let folder = folder_with(&[("a/lambda_function.py", "1"), ("b/lambda_function.py", "1")]);
        let mut discovery = Discovery::new(folder.path());
        let before = discovery.all();
        // Equal in size and, as far as a coarse clock tells, in time.
        std::fs::write(folder.path().join("b/lambda_function.py"), "2").unwrap();
        let after = discovery.some_after(&before, &HashSet::from(["a".to_owned(), "b".to_owned()]));
        assert!(Arc::ptr_eq(ready(&before, "a"), ready(&after, "a")));
        assert!(!Arc::ptr_eq(ready(&before, "b"), ready(&after, "b")));
        assert!(ready(&before, "b").sequence < ready(&after, "b").sequence);
    }

    #[test]
    fn caches_are_not_code() {
        let folder = folder_with(&[("a/lambda_function.py", "1"), ("a/lib/x.py", "1")]);
        let mut discovery = Discovery::new(folder.path());
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

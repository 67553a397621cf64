//! `requirements.txt` -> a folder of installed packages, kept by content and Python version.
//!
//! `packages/KEY/` in the state folder: made beside it and moved into place when it is complete, so
//! that a folder that is there is whole. Installed once, used by every function that asks for the
//! same, also without a network. What is there already (in a virtual environment, in a layer, beside
//! the code) is not installed again.
//!
//! - `requirements`: what the file asks for, as far as it must be understood here.
//! - `installer`: uv or pip, and what they say.

mod installer;
mod requirements;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use requirements::Requirements;

/// The file beside a function's code.
pub const REQUIREMENTS: &str = "requirements.txt";
/// What could not be installed is tried again when it is asked for after so long.
const TRY_AGAIN: Duration = Duration::from_secs(15);
/// Folders that nobody has used for so long are removed at the next start.
const FORGOTTEN: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Touched with every use.
const USED: &str = ".used";

/// Which Python the packages are for.
#[derive(Debug, Clone)]
pub struct Target<'a> {
    /// Who asks, for the terminal.
    pub function: &'a str,
    pub python: &'a Path,
    pub version: (u32, u32),
    /// Where packages may be already, such as the `site-packages` of a virtual environment.
    pub present: Vec<PathBuf>,
}

#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("{text}")]
pub struct PackagesError {
    pub text: String,
}

/// What is to be done for a function's `requirements.txt`.
#[derive(Debug, PartialEq, Eq)]
pub enum Wanted {
    /// There is none, or it asks for nothing.
    Nothing,
    /// In a virtual environment, in a layer, beside the code.
    Present,
    /// In this folder, by an earlier start.
    Installed(PathBuf),
    /// To be installed into this folder.
    Missing(PathBuf),
}

/// All folders of packages of one state folder.
pub struct Packages {
    folder: PathBuf,
    /// By key: one installs, others with the same wish wait for it.
    turns: Mutex<HashMap<String, Arc<Mutex<Turn>>>>,
}

#[derive(Default)]
struct Turn {
    failed: Option<(Instant, PackagesError)>,
}

impl Packages {
    pub fn new(state_dir: &Path) -> Self {
        Self { folder: state_dir.join("packages"), turns: Mutex::default() }
    }

    /// What there is to do; reads only.
    pub fn wanted(&self, task_root: &Path, target: &Target<'_>) -> Result<Wanted, PackagesError> {
        let requirements = match Requirements::read(&task_root.join(REQUIREMENTS)) {
            Ok(Some(requirements)) => requirements,
            Ok(None) => return Ok(Wanted::Nothing),
            Err(text) => return Err(PackagesError { text }),
        };
        let beside = std::iter::once(task_root.to_owned());
        let present: Vec<PathBuf> = beside.chain(target.present.iter().cloned()).collect();
        if requirements.are_met_by(&present) {
            return Ok(Wanted::Present);
        }
        let folder = self.folder.join(requirements.key(target.version));
        Ok(if folder.is_dir() { Wanted::Installed(folder) } else { Wanted::Missing(folder) })
    }

    /// The folder that holds what the function's `requirements.txt` asks for; `None` if it asks for
    /// nothing that is not there. May take minutes: for a thread that may wait.
    pub fn of(&self, task_root: &Path, target: &Target<'_>) -> Result<Option<PathBuf>, PackagesError> {
        let folder = match self.wanted(task_root, target)? {
            Wanted::Nothing | Wanted::Present => return Ok(None),
            Wanted::Installed(folder) | Wanted::Missing(folder) => folder,
        };
        if is_there(&folder) {
            return Ok(Some(folder));
        }
        let key = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let turn = self.turns.lock().unwrap().entry(key).or_default().clone();
        // Whoever panicked while installing has left nothing in place.
        let mut turn = turn.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if is_there(&folder) {
            return Ok(Some(folder));
        }
        if let Some((since, error)) = &turn.failed
            && since.elapsed() < TRY_AGAIN
        {
            return Err(error.clone());
        }
        match self.install(&task_root.join(REQUIREMENTS), &folder, target) {
            Ok(()) => {
                turn.failed = None;
                Ok(Some(folder))
            }
            Err(text) => {
                tracing::error!("{text}");
                let error = PackagesError { text };
                turn.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    fn install(&self, file: &Path, folder: &Path, target: &Target<'_>) -> Result<(), String> {
        let function = target.function;
        let failed = |reason: String| {
            format!(
                "the packages of {function} cannot be installed: {reason}\nhint: correct {}; it is tried again when it is \
                 saved, or with a request after {} seconds",
                file.display(),
                TRY_AGAIN.as_secs()
            )
        };
        std::fs::create_dir_all(&self.folder)
            .map_err(|error| failed(format!("{}: {error}", self.folder.display())))?;
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let half = self.folder.join(format!(".{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&half);
        let began = Instant::now();
        let result = installer::install(file, &half, target).and_then(|()| {
            // An empty file has nothing to install, and the installer makes no folder.
            std::fs::create_dir_all(&half).map_err(|error| error.to_string())?;
            mark_used(&half);
            std::fs::rename(&half, folder).map_err(|error| format!("{}: {error}", folder.display()))
        });
        match result {
            Ok(()) => {
                let seconds = began.elapsed().as_secs_f64();
                tracing::info!("{function}: its packages are installed ({seconds:.1} s)");
                Ok(())
            }
            Err(reason) => {
                let _ = std::fs::remove_dir_all(&half);
                Err(failed(reason))
            }
        }
    }

    /// Removes what was left half-made and what nobody has used for a month.
    pub fn keep_house(&self) {
        for entry in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let half = entry.file_name().to_string_lossy().starts_with('.');
            let used = std::fs::metadata(path.join(USED)).and_then(|metadata| metadata.modified());
            let age = used.ok().and_then(|used| SystemTime::now().duration_since(used).ok());
            if half || age.is_some_and(|age| age > FORGOTTEN) {
                let _ = std::fs::remove_dir_all(path);
            }
        }
    }
}

fn is_there(folder: &Path) -> bool {
    let there = folder.is_dir();
    if there {
        mark_used(folder);
    }
    there
}

fn mark_used(folder: &Path) {
    let _ = std::fs::write(folder.join(USED), "");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(present: &[&Path]) -> Target<'static> {
        Target {
            function: "hello",
            python: Path::new("/nowhere/python3"),
            version: (3, 11),
            present: present.iter().map(|path| (*path).to_owned()).collect(),
        }
    }

    #[test]
    fn nothing_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let packages = Packages::new(folder.path());
        assert_eq!(packages.of(folder.path(), &target(&[])), Ok(None));
        std::fs::write(folder.path().join(REQUIREMENTS), "# none\n\n").unwrap();
        assert_eq!(packages.of(folder.path(), &target(&[])), Ok(None));
    }

    #[test]
    fn what_is_there_is_not_installed() {
        let folder = tempfile::tempdir().unwrap();
        let site = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(REQUIREMENTS), "My.Package==1.2\n").unwrap();
        std::fs::create_dir(site.path().join("my_package-1.2.0.dist-info")).unwrap();
        let packages = Packages::new(folder.path());
        assert_eq!(packages.of(folder.path(), &target(&[site.path()])), Ok(None));
    }

    #[test]
    fn an_installed_folder_is_used_and_leftovers_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(REQUIREMENTS);
        std::fs::write(&file, "requests==2.0\n").unwrap();
        let packages = Packages::new(folder.path());
        let key = Requirements::read(&file).unwrap().unwrap().key((3, 11));
        let made = folder.path().join("packages").join(&key);
        std::fs::create_dir_all(&made).unwrap();
        std::fs::create_dir_all(folder.path().join("packages/.half-1")).unwrap();
        assert_eq!(packages.of(folder.path(), &target(&[])), Ok(Some(made.clone())));
        packages.keep_house();
        assert!(made.is_dir());
        assert!(!folder.path().join("packages/.half-1").exists());
    }

    #[test]
    fn a_failure_names_the_function_and_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(REQUIREMENTS), "requests==2.0\n").unwrap();
        // A file where the folder should be.
        std::fs::write(folder.path().join("packages"), "").unwrap();
        let packages = Packages::new(folder.path());
        let error = packages.of(folder.path(), &target(&[])).unwrap_err();
        assert!(error.text.contains("the packages of hello cannot be installed"), "{error}");
        assert_eq!(packages.of(folder.path(), &target(&[])), Err(error));
    }
}

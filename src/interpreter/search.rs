//! What is known beforehand about where to look: the command line, the environment, the folders.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, Default)]
pub struct Search {
    /// `--python`: an executable, a virtual environment, a version such as `3.12`, or a name.
    pub python: Option<PathBuf>,
    /// `VIRTUAL_ENV`
    pub virtual_env: Option<PathBuf>,
    /// `PATH`
    pub path: OsString,
    /// `HOME`
    pub home: Option<PathBuf>,
    /// The folder of the functions; `.venv` in it or beside it serves all of them.
    pub handlers: PathBuf,
    /// What relative paths and `.python-version` start from.
    pub current_dir: PathBuf,
    /// `PYENV_ROOT`
    pub pyenv_root: Option<PathBuf>,
    /// `PYENV_VERSION`
    pub pyenv_version: Option<String>,
    /// `UV_PYTHON_INSTALL_DIR`
    pub uv_python_install_dir: Option<PathBuf>,
    /// `XDG_DATA_HOME`
    pub xdg_data_home: Option<PathBuf>,
}

impl Search {
    /// Reads the environment of this process.
    pub fn from_environment(python: Option<PathBuf>, handlers: &Path) -> Search {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty());
        let folder = |name| set(name).map(PathBuf::from);
        let current_dir = env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        Search {
            python,
            virtual_env: folder("VIRTUAL_ENV"),
            path: set("PATH").unwrap_or_default(),
            home: folder("HOME"),
            handlers: current_dir.join(handlers),
            current_dir,
            pyenv_root: folder("PYENV_ROOT"),
            pyenv_version: set("PYENV_VERSION").and_then(|value| value.into_string().ok()),
            uv_python_install_dir: folder("UV_PYTHON_INSTALL_DIR"),
            xdg_data_home: folder("XDG_DATA_HOME"),
        }
    }

    pub(super) fn pyenv(&self) -> Option<PathBuf> {
        self.pyenv_root.clone().or_else(|| self.home.as_ref().map(|home| home.join(".pyenv")))
    }

    pub(super) fn uv(&self) -> Option<PathBuf> {
        if let Some(folder) = &self.uv_python_install_dir {
            return Some(folder.clone());
        }
        let data = self.xdg_data_home.clone();
        let data = data.or_else(|| self.home.as_ref().map(|home| home.join(".local/share")));
        data.map(|data| data.join("uv/python"))
    }
}

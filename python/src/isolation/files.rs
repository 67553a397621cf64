//! Which files a function may read and write, with Landlock: its own code, layers and packages, the
//! interpreter and the system's libraries to read; its temporary folder, and what the user has named,
//! to write. The same rule keeps it from other processes: their memory and environment cannot be
//! looked at, and they cannot be signalled.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, BitFlags, LandlockStatus, PathBeneath, PathFd, RestrictionStatus, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
};
use pyo3::prelude::*;

use crate::protocol::isolation::Paths;

/// Signals and abstract sockets came with this one; on older kernels what they know is used.
const VERSION: ABI = ABI::V6;

/// Libraries, programs and what the C library and TLS look up. Of `/proc` the kernel shows other
/// processes' secrets only to those who may trace them, which is refused.
const SYSTEM: [&str; 36] = [
    "/usr",
    "/lib",
    "/lib64",
    "/lib32",
    "/bin",
    "/sbin",
    "/nix/store",
    "/proc",
    "/sys",
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/ca-certificates.conf",
    "/etc/crypto-policies",
    "/etc/fonts",
    "/etc/gai.conf",
    "/etc/group",
    "/etc/host.conf",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/passwd",
    "/etc/pki",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl",
    "/etc/timezone",
    "/etc/odbcinst.ini",
    "/etc/krb5.conf",
    "/etc/magic",
];

const DEVICES: [&str; 7] =
    ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/shm"];

/// A folder that has to be opened piece by piece is opened so far at most.
const MAX_PIECES: usize = 4096;

/// Where the interpreter and its packages lie.
#[derive(Default)]
pub struct Interpreter {
    folders: Vec<PathBuf>,
}

impl Interpreter {
    /// In the zygote, once Python has found them.
    pub fn find(py: Python<'_>) -> PyResult<Self> {
        let sys = py.import("sys")?;
        let mut folders: Vec<PathBuf> = Vec::new();
        for name in ["prefix", "base_prefix", "exec_prefix", "base_exec_prefix"] {
            folders.push(sys.getattr(name)?.extract()?);
        }
        folders.extend(sys.getattr("path")?.extract::<Vec<PathBuf>>()?);
        folders.sort();
        folders.dedup();
        // What lies in another folder of the list is open with it; no single folder is everything.
        let all = folders.clone();
        let is_within = |path: &PathBuf| {
            let system = SYSTEM.iter().any(|folder| path.starts_with(folder));
            system || all.iter().any(|other| other != path && is_useful(other) && path.starts_with(other))
        };
        folders.retain(|path| is_useful(path) && !is_within(path));
        Ok(Self { folders })
    }
}

fn is_useful(path: &Path) -> bool {
    path.is_absolute() && path.parent().is_some()
}

/// From here on, for this process and all it starts. On a kernel that does not know Landlock nothing
/// happens, which the status tells.
pub fn confine(paths: &Paths, interpreter: &Interpreter) -> Result<RestrictionStatus, String> {
    let reading = AccessFs::from_read(VERSION);
    let all = AccessFs::from_all(VERSION);
    let failed = |error: landlock::RulesetError| format!("could not be closed off: {error}");
    let ruleset = Ruleset::default()
        .handle_access(all)
        .and_then(|ruleset| ruleset.scope(Scope::from_all(VERSION)))
        .and_then(Ruleset::create)
        .map_err(failed)?;
    let closed: Vec<PathBuf> = paths.closed.iter().map(|path| real(Path::new(path))).collect();
    let mut rules = Rules { ruleset, closed, pieces: 0 };
    for path in SYSTEM.map(Path::new) {
        match rules.closed.iter().any(|closed| closed.starts_with(path)) {
            false => rules.open(path, reading),
            true => rules.open_around(path, reading),
        }
        .map_err(failed)?;
    }
    for path in DEVICES {
        rules.open(Path::new(path), all & !AccessFs::Execute).map_err(failed)?;
    }
    for path in &interpreter.folders {
        rules.open_around(path, reading).map_err(failed)?;
    }
    for path in &paths.readable {
        rules.open_around(Path::new(path), reading).map_err(failed)?;
    }
    if let Some(task_root) = paths.readable.first() {
        rules.open_links(Path::new(task_root), reading).map_err(failed)?;
    }
    for path in &paths.writable {
        rules.open(Path::new(path), all).map_err(failed)?;
    }
    rules.ruleset.restrict_self().map_err(failed)
}

struct Rules {
    ruleset: RulesetCreated,
    closed: Vec<PathBuf>,
    pieces: usize,
}

impl Rules {
    /// What is not there cannot be opened, and need not be.
    fn open(&mut self, path: &Path, rights: BitFlags<AccessFs>) -> Result<(), landlock::RulesetError> {
        let Ok(file) = PathFd::new(path) else { return Ok(()) };
        let is_folder = rustix::fs::fstat(file.as_fd())
            .is_ok_and(|status| rustix::fs::FileType::from_raw_mode(status.st_mode).is_dir());
        let rights = if is_folder { rights } else { rights & AccessFs::from_file(VERSION) };
        (&mut self.ruleset).add_rule(PathBeneath::new(file, rights)).map(drop)
    }

    /// Opens a folder, but for what stays closed inside: a rule counts for all below it, so then every
    /// other thing is opened for itself. Only the names of files can be listed everywhere.
    fn open_around(&mut self, path: &Path, rights: BitFlags<AccessFs>) -> Result<(), landlock::RulesetError> {
        let folder = real(path);
        if !self.closed.iter().any(|closed| closed.starts_with(&folder) && *closed != folder) {
            return self.open(&folder, rights);
        }
        self.open(&folder, AccessFs::ReadDir.into())?;
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            self.pieces += 1;
            if self.pieces > MAX_PIECES {
                break;
            }
            let path = entry.path();
            let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            if !is_link && !self.closed.contains(&path) {
                self.open_around(&path, rights)?;
            }
        }
        Ok(())
    }

    /// What the user has linked into a function's folder belongs to the function.
    fn open_links(
        &mut self,
        folder: &Path,
        rights: BitFlags<AccessFs>,
    ) -> Result<(), landlock::RulesetError> {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten().take(MAX_PIECES) {
            if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
                let target = real(&entry.path());
                if !self.closed.iter().any(|closed| target.starts_with(closed)) {
                    self.open_around(&target, rights)?;
                }
            }
        }
        Ok(())
    }
}

/// Without links, as the kernel compares.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// Why the files are not, or not wholly, closed off.
pub fn missing(status: &RestrictionStatus) -> Option<String> {
    match (&status.landlock, &status.ruleset) {
        (_, RulesetStatus::FullyEnforced) => None,
        (LandlockStatus::NotEnabled, _) => {
            Some("Landlock is switched off in this kernel (`lsm=landlock,...`)".into())
        }
        (LandlockStatus::NotImplemented, _) => {
            Some("this kernel has no Landlock: Linux 5.13 or newer has".into())
        }
        (LandlockStatus::Available { .. }, _) => {
            Some("this kernel's Landlock is an older one: Linux 6.12 or newer knows all that is asked".into())
        }
    }
}

//! The state folder: private, for one gateway at a time, and without what former ones left.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::defences;
use crate::store::Store;

/// How long a gateway that starts waits for the folder: a command that only looks is soon done.
pub const PATIENCE: Duration = Duration::from_millis(500);

/// Only the owner may look into it: it holds what functions print.
pub fn create_private(folder: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let mode = if crate::defences::off("private-state-folder") { 0o755 } else { 0o700 };
    std::fs::DirBuilder::new().recursive(true).mode(mode).create(folder).with_context(|| {
        format!("could not create {}\nhint: choose another place with `--state-dir`", folder.display())
    })
}

/// The folder for this process alone, if nobody holds it for longer than so.
pub fn lock(state_dir: &Path, patience: Duration) -> anyhow::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let path = state_dir.join("lock");
    let file = File::options().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = file.with_context(|| format!("could not open {}", path.display()))?;
    let operation = rustix::fs::FlockOperation::NonBlockingLockExclusive;
    let began = Instant::now();
    while rustix::fs::flock(&file, operation).is_err() && !defences::off("lock-of-the-state-folder") {
        if began.elapsed() < patience {
            std::thread::sleep(Duration::from_millis(10));
            continue;
        }
        bail!(
            "another handlerd uses {}\nhint: stop it, or give this one its own with `--state-dir`",
            state_dir.display()
        );
    }
    // Where a former gateway was is of no use to anybody.
    file.set_len(0).with_context(|| format!("could not write {}", path.display()))?;
    Ok(file)
}

/// The lock that a former gateway has left, if it is of this folder; or a new one.
pub fn lock_left(state_dir: &Path, left: Option<File>) -> anyhow::Result<File> {
    use std::os::unix::fs::MetadataExt;
    let which = |file: std::fs::Metadata| (file.dev(), file.ino());
    let of_this = std::fs::metadata(state_dir.join("lock")).map(which).ok();
    if let Some(left) = left
        && left.metadata().map(which).ok() == of_this
        && left.set_len(0).is_ok()
    {
        return Ok(left);
    }
    lock(state_dir, PATIENCE)
}

/// Whoever has the folder to itself brings the store up to date; beside a gateway it is taken as it is.
pub fn open_store(state_dir: &Path, exclusive: bool) -> anyhow::Result<Store> {
    let alone = if exclusive { None } else { lock(state_dir, Duration::ZERO).ok() };
    if exclusive || alone.is_some() {
        Ok(Store::open(state_dir)?)
    } else {
        Ok(Store::open_beside(state_dir)?)
    }
}

/// Who looks after the state of a folder.
pub enum Keeper {
    /// A gateway, whose Lambda API is here.
    /// A token for it stands beside its address, where it asks for one.
    Gateway { api: String, token: Option<String> },
    /// Nobody, until this is dropped.
    Nobody { _lock: File },
}

/// For commands that change what a gateway keeps: they ask it, or do it themselves where none runs.
pub fn keeper(state_dir: &Path) -> anyhow::Result<Keeper> {
    let began = Instant::now();
    loop {
        let refused = match lock(state_dir, Duration::ZERO) {
            Ok(lock) => return Ok(Keeper::Nobody { _lock: lock }),
            Err(refused) => refused,
        };
        // One that is just starting has not said yet where it is.
        let said = std::fs::read_to_string(state_dir.join("lock")).unwrap_or_default();
        match said.trim() {
            "" if began.elapsed() < Duration::from_secs(5) => std::thread::sleep(Duration::from_millis(20)),
            "" => return Err(refused),
            said => {
                let (api, token) =
                    said.split_once('\n').map_or((said, None), |(api, token)| (api, Some(token)));
                return Ok(Keeper::Gateway { api: api.to_owned(), token: token.map(str::to_owned) });
            }
        }
    }
}

/// Temporary folders of environments whose gateway is gone; their names begin with its process id.
pub fn remove_leftovers(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.split('-').next().and_then(|pid| pid.parse::<i32>().ok());
        let lives = owner.is_some_and(|pid| Path::new(&format!("/proc/{pid}")).exists());
        if !lives {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

//! A folder's code, copied: links are followed, files become read-only, and its hash says whether it
//! is what was meant. The file system shares the bytes where it can (`copy_file_range`).

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::function::{ContentHash, Contents};

/// Copies what belongs to the code. Returns its hash.
pub fn copy(from: &Path, to: &Path) -> io::Result<[u8; 32]> {
    fs::create_dir_all(to)?;
    // What is not there would not be seen.
    fs::read_dir(from)?;
    let mut all = ContentHash::default();
    for relative in &Contents::of(from).files {
        let (source, target) = (from.join(relative), to.join(relative));
        let metadata = match fs::metadata(&source) {
            Ok(metadata) => metadata,
            // A link that leads nowhere.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if !metadata.is_file() {
            continue;
        }
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::copy(&source, &target)?;
        let mode = metadata.permissions().mode();
        fs::set_permissions(&target, fs::Permissions::from_mode((mode & 0o555) | 0o400))?;
        // What has been written counts, not what was there to be read.
        all.file(relative, ContentHash::of_file(&target)?);
    }
    Ok(all.finish())
}

/// Puts a finished folder into its place; whatever happens now, all of it is there or nothing.
pub fn settle(finished: &Path, place: &Path) -> io::Result<()> {
    // One call for all of its files, however many there are.
    let folder = File::open(finished)?;
    rustix::fs::syncfs(&folder)?;
    if place.exists() {
        discard(place)?;
    }
    fs::rename(finished, place)?;
    match place.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Removes a folder; nobody sees half of it.
pub fn discard(folder: &Path) -> io::Result<()> {
    let Some(parent) = folder.parent() else { return Ok(()) };
    let trash = parent.join(temporary_name());
    match fs::rename(folder, &trash) {
        Ok(()) => fs::remove_dir_all(&trash),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// For what is not finished yet, or being removed.
pub fn temporary_name() -> String {
    format!(".half-{}", uuid::Uuid::new_v4().simple())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_read_only_and_has_no_links() {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("from");
        fs::create_dir_all(from.join("lib")).unwrap();
        fs::create_dir_all(from.join(".venv")).unwrap();
        fs::create_dir_all(folder.path().join("shared")).unwrap();
        fs::write(from.join("app.py"), "one").unwrap();
        fs::write(from.join("lib/run"), "two").unwrap();
        fs::set_permissions(from.join("lib/run"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(folder.path().join("shared/part.py"), "three").unwrap();
        std::os::unix::fs::symlink("../shared", from.join("shared")).unwrap();
        std::os::unix::fs::symlink("gone", from.join("dangling")).unwrap();
        let to = folder.path().join("to");
        let first = copy(&from, &to).unwrap();

        fs::write(folder.path().join("shared/part.py"), "other").unwrap();
        assert_eq!(fs::read_to_string(to.join("shared/part.py")).unwrap(), "three");
        assert!(!to.join(".venv").exists());
        let mode = |path: &str| fs::metadata(to.join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode("app.py") & 0o222, 0);
        assert_eq!(mode("lib/run"), 0o555);
        assert_ne!(copy(&from, &folder.path().join("again")).unwrap(), first);
        assert_eq!(copy(&to, &folder.path().join("third")).unwrap(), first);
    }

    #[test]
    fn what_is_settled_replaces_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let (half, place) = (folder.path().join(temporary_name()), folder.path().join("1"));
        for path in [&half, &place] {
            fs::create_dir(path).unwrap();
        }
        fs::write(half.join("new"), "").unwrap();
        fs::write(place.join("old"), "").unwrap();
        settle(&half, &place).unwrap();
        assert!(place.join("new").exists() && !place.join("old").exists() && !half.exists());
        discard(&place).unwrap();
        discard(&place).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

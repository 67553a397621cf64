//! A finished folder takes its place in one step: whoever looks sees the one or the other, never both.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// Puts `fresh` at `target`. If something was there, it is at `fresh` afterwards: `true`. Both on one
/// file system.
pub fn put(fresh: &Path, target: &Path) -> io::Result<bool> {
    let replaced = loop {
        match renameat_with(CWD, fresh, CWD, target, RenameFlags::NOREPLACE) {
            Ok(()) => break false,
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        match renameat_with(CWD, fresh, CWD, target, RenameFlags::EXCHANGE) {
            Ok(()) => break true,
            // Gone meanwhile.
            Err(Errno::NOENT) if fresh.exists() => {}
            Err(error) => return Err(error.into()),
        }
    };
    sync_parent(target)?;
    Ok(replaced)
}

/// Moves something to where nothing is yet. `Ok(false)`: that is another file system.
pub fn move_away(path: &Path, to: &Path) -> io::Result<bool> {
    match renameat_with(CWD, path, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => {}
        Err(Errno::XDEV) => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    sync_parent(path)?;
    sync_parent(to)?;
    Ok(true)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_former_content_is_kept_aside() {
        let folder = tempfile::tempdir().unwrap();
        let (fresh, target) = (folder.path().join("fresh"), folder.path().join("target"));
        let make = |text: &str| {
            std::fs::create_dir(&fresh).unwrap();
            std::fs::write(fresh.join("x"), text).unwrap();
        };
        make("1");
        assert!(!put(&fresh, &target).unwrap());
        assert!(!fresh.exists());
        make("2");
        assert!(put(&fresh, &target).unwrap());
        assert_eq!(std::fs::read_to_string(target.join("x")).unwrap(), "2");
        assert_eq!(std::fs::read_to_string(fresh.join("x")).unwrap(), "1");
        assert!(move_away(&fresh, &target).is_err(), "something is there");
        assert!(move_away(&fresh, &folder.path().join("away")).unwrap());
    }
}

//! A folder -> an archive: sorted, with fixed times, so that equal content gives equal bytes.

use std::io::{Cursor, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::{ArchiveError, Limits};

/// As deep as code is looked for.
const DEPTH: usize = 32;

/// `leave_out` is asked with the relative path of each file and folder. Links are followed.
pub fn pack(
    folder: &Path,
    leave_out: impl Fn(&Path) -> bool,
    limits: Limits,
) -> Result<Vec<u8>, ArchiveError> {
    let mut files = Vec::new();
    collect(folder, Path::new(""), &leave_out, &mut files, 0, limits)?;
    files.sort();
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let mut room = limits.unzipped;
    for relative in files {
        let path = folder.join(&relative);
        let disk = |error| ArchiveError::Disk { path: path.clone(), error };
        let file = std::fs::File::open(&path).map_err(disk)?;
        let metadata = file.metadata().map_err(disk)?;
        if !metadata.is_file() {
            continue;
        }
        let Some(name) = relative.to_str() else {
            return Err(ArchiveError::refused(&relative.to_string_lossy(), "has a name that is no UTF-8"));
        };
        let mode = if metadata.permissions().mode() & 0o111 == 0 { 0o644 } else { 0o755 };
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .last_modified_time(DateTime::default())
            .unix_permissions(mode);
        let mut content = Vec::new();
        file.take(room + 1).read_to_end(&mut content).map_err(disk)?;
        room = room
            .checked_sub(content.len() as u64)
            .ok_or(ArchiveError::TooLarge { limit: limits.unzipped })?;
        let written = writer.start_file(name, options).map_err(|error| disk(std::io::Error::other(error)));
        written.and_then(|()| writer.write_all(&content).map_err(disk))?;
    }
    let archive = writer.finish();
    archive
        .map(Cursor::into_inner)
        .map_err(|error| ArchiveError::Disk { path: folder.to_owned(), error: std::io::Error::other(error) })
}

fn collect(
    root: &Path,
    relative: &Path,
    leave_out: &impl Fn(&Path) -> bool,
    files: &mut Vec<PathBuf>,
    depth: usize,
    limits: Limits,
) -> Result<(), ArchiveError> {
    let folder = root.join(relative);
    if depth > DEPTH {
        return Err(ArchiveError::refused(&relative.to_string_lossy(), "lies deeper than 32 folders"));
    }
    for entry in std::fs::read_dir(&folder).map_err(ArchiveError::disk(&folder))? {
        let entry = entry.map_err(ArchiveError::disk(&folder))?;
        let relative = relative.join(entry.file_name());
        if leave_out(&relative) {
            continue;
        }
        if root.join(&relative).is_dir() {
            collect(root, &relative, leave_out, files, depth + 1, limits)?;
        } else {
            files.push(relative);
        }
        if files.len() > limits.entries {
            return Err(ArchiveError::TooMany { limit: limits.entries });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_content_gives_equal_bytes() {
        let make = |names: &[&str]| {
            let folder = tempfile::tempdir().unwrap();
            for name in names {
                let path = folder.path().join(name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, name).unwrap();
            }
            pack(folder.path(), |path| path.ends_with("skipped"), Limits::LAMBDA).unwrap()
        };
        assert_eq!(make(&["b/c.py", "a.py"]), make(&["a.py", "skipped/x.py", "b/c.py"]));
        assert_ne!(make(&["a.py"]), make(&["b.py"]));
    }
}

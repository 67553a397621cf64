//! A folder -> an archive: sorted, with fixed times, so that equal content gives equal bytes.

use std::fs::File;
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
    pack_files(folder, &files, limits)
}

/// These files of the folder.
pub fn pack_files(folder: &Path, files: &[PathBuf], limits: Limits) -> Result<Vec<u8>, ArchiveError> {
    if files.len() > limits.entries {
        return Err(ArchiveError::TooMany { limit: limits.entries });
    }
    let mut packing = Packing::new(limits);
    for relative in files {
        let path = folder.join(relative);
        let disk = |error| ArchiveError::Disk { path: path.clone(), error };
        let file = File::open(&path).map_err(disk)?;
        let metadata = file.metadata().map_err(disk)?;
        if !metadata.is_file() {
            continue;
        }
        let Some(name) = relative.to_str() else {
            return Err(ArchiveError::refused(&relative.to_string_lossy(), "has a name that is no UTF-8"));
        };
        packing.add(name, metadata.permissions().mode() & 0o111 != 0, file)?;
    }
    packing.finish()
}

/// An archive under construction.
pub struct Packing {
    writer: ZipWriter<Cursor<Vec<u8>>>,
    limit: u64,
    room: u64,
}

impl Packing {
    pub fn new(limits: Limits) -> Self {
        let writer = ZipWriter::new(Cursor::new(Vec::new()));
        Self { writer, limit: limits.unzipped, room: limits.unzipped }
    }

    pub fn add(&mut self, name: &str, executable: bool, file: File) -> Result<(), ArchiveError> {
        let disk = |error| ArchiveError::Disk { path: name.into(), error };
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .last_modified_time(DateTime::default())
            .unix_permissions(if executable { 0o755 } else { 0o644 });
        let mut content = Vec::new();
        file.take(self.room + 1).read_to_end(&mut content).map_err(disk)?;
        self.room = self
            .room
            .checked_sub(content.len() as u64)
            .ok_or(ArchiveError::TooLarge { limit: self.limit })?;
        let written =
            self.writer.start_file(name, options).map_err(|error| disk(std::io::Error::other(error)));
        written.and_then(|()| self.writer.write_all(&content).map_err(disk))
    }

    pub fn finish(self) -> Result<Vec<u8>, ArchiveError> {
        let archive = self.writer.finish().map(Cursor::into_inner);
        archive.map_err(|error| ArchiveError::Disk {
            path: "the archive".into(),
            error: std::io::Error::other(error),
        })
    }
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

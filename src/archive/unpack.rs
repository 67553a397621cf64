//! An archive that somebody has sent -> a fresh folder, or a refusal.
//!
//! The central directory is read first and judged as a whole; only then is anything written, into a
//! folder that nobody else knows yet. Sizes are counted as they are written: what an archive says of
//! itself is not believed. Links are made last, so that nothing can be written through one.

use std::collections::HashMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Cursor, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zip::ZipArchive;
use zip::result::ZipError;

use super::{ArchiveError, Limits, names};

/// The first bytes of an entry in the central directory, and the least that it takes.
const ENTRY: &[u8] = b"PK\x01\x02";
const ENTRY_SIZE: usize = 46;
/// Files are synced one by one up to this many; the whole file system at once beyond.
const SYNCED_ALONE: usize = 64;

const KIND: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;
const LINK: u32 = 0o120_000;

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unpacked {
    /// All files together.
    pub size: u64,
    pub files: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
    Link,
}

struct Entry {
    index: usize,
    name: String,
    path: PathBuf,
    kind: Kind,
    mode: u32,
}

/// Unpacks into the folder `into`, which must not exist yet and is gone again if this fails. What it
/// holds is on the disk when this returns.
pub fn unpack(bytes: &[u8], into: &Path, limits: Limits) -> Result<Unpacked, ArchiveError> {
    count(bytes, limits)?;
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(no_zip)?;
    let entries = entries(&mut archive, limits)?;
    private_folder(into).map_err(ArchiveError::disk(into))?;
    let result = write(&mut archive, &entries, into, limits);
    if result.is_err() {
        let _ = std::fs::remove_dir_all(into);
    }
    result
}

/// Before anything is kept in memory for each of them.
fn count(bytes: &[u8], limits: Limits) -> Result<(), ArchiveError> {
    let possible = bytes.len() / ENTRY_SIZE;
    if possible > limits.entries
        && bytes.windows(ENTRY.len()).filter(|window| *window == ENTRY).count() > limits.entries
    {
        return Err(ArchiveError::TooMany { limit: limits.entries });
    }
    Ok(())
}

/// What the central directory tells, if all of it may be.
fn entries(archive: &mut ZipArchive<Cursor<&[u8]>>, limits: Limits) -> Result<Vec<Entry>, ArchiveError> {
    if archive.is_empty() {
        return Err(ArchiveError::Empty);
    }
    if archive.len() > limits.entries {
        return Err(ArchiveError::TooMany { limit: limits.entries });
    }
    if archive.has_duplicate_names() {
        return Err(ArchiveError::NoZip("two of its entries have the same name".to_owned()));
    }
    let mut entries = Vec::with_capacity(archive.len());
    let mut kinds: HashMap<PathBuf, Kind> = HashMap::new();
    let mut size: u64 = 0;
    for index in 0..archive.len() {
        let file = archive.by_index_raw(index).map_err(no_zip)?;
        let raw = file.name_raw();
        let name = match std::str::from_utf8(raw) {
            Ok(name) => name.to_owned(),
            Err(_) => {
                let name = String::from_utf8_lossy(raw).into_owned();
                return Err(ArchiveError::refused(&name, "has a name that is no UTF-8"));
            }
        };
        let refused = |reason: &str| ArchiveError::refused(&name, reason);
        if file.encrypted() {
            return Err(refused("is encrypted"));
        }
        let mode = file.unix_mode().unwrap_or(0);
        let kind = match mode & KIND {
            LINK => Kind::Link,
            FOLDER => Kind::Folder,
            0 | REGULAR if name.ends_with('/') => Kind::Folder,
            0 | REGULAR => Kind::File,
            _ => return Err(refused("is neither a file nor a folder")),
        };
        size = size.saturating_add(file.size());
        if size > limits.unzipped && !crate::defences::off("size-of-archives") {
            return Err(ArchiveError::TooLarge { limit: limits.unzipped });
        }
        let path = names::path(&name).map_err(refused)?;
        if path.as_os_str().is_empty() {
            match kind {
                Kind::Folder => continue,
                _ => return Err(refused("has no name")),
            }
        }
        match kinds.insert(path.clone(), kind) {
            None => {}
            Some(Kind::Folder) if kind == Kind::Folder => {}
            Some(_) => return Err(refused("is there twice")),
        }
        entries.push(Entry { index, name: name.clone(), path, kind, mode });
    }
    for entry in &entries {
        let above = entry.path.ancestors().skip(1);
        if above.into_iter().any(|folder| kinds.get(folder).is_some_and(|kind| *kind != Kind::Folder)) {
            return Err(ArchiveError::refused(&entry.name, "lies in something that is no folder"));
        }
    }
    if !entries.iter().any(|entry| entry.kind == Kind::File) {
        return Err(ArchiveError::Empty);
    }
    Ok(entries)
}

fn write(
    archive: &mut ZipArchive<Cursor<&[u8]>>,
    entries: &[Entry],
    into: &Path,
    limits: Limits,
) -> Result<Unpacked, ArchiveError> {
    let mut room = limits.unzipped;
    let too_large = || ArchiveError::TooLarge { limit: limits.unzipped };
    let files = entries.iter().filter(|entry| entry.kind == Kind::File).count();
    for entry in entries {
        let path = into.join(&entry.path);
        let folder = match entry.kind {
            Kind::Folder => Some(path.as_path()),
            _ => path.parent(),
        };
        if let Some(folder) = folder {
            std::fs::create_dir_all(folder).map_err(ArchiveError::disk(folder))?;
        }
        if entry.kind != Kind::File {
            continue;
        }
        let mut content = archive.by_index(entry.index).map_err(|error| unreadable(&entry.name, error))?;
        // A file system that does not tell upper from lower case has one place for two names.
        let mut file =
            match OpenOptions::new().write(true).create_new(true).mode(file_mode(entry.mode)).open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                    return Err(ArchiveError::refused(
                        &entry.name,
                        "has the name of another in other letters",
                    ));
                }
                Err(error) => return Err(ArchiveError::Disk { path, error }),
            };
        room -= copy(&mut content, &mut file, room, &path, &entry.name)?.ok_or_else(too_large)?;
        if files <= SYNCED_ALONE {
            file.sync_all().map_err(ArchiveError::disk(&path))?;
        }
    }
    for entry in entries.iter().filter(|entry| entry.kind == Kind::Link) {
        let size = make_link(archive, entry, into)?;
        // Whoever packs or copies it has the file once more.
        room = room.checked_sub(size).ok_or_else(too_large)?;
    }
    // Last, as a folder may be one that its owner cannot write to.
    for entry in entries.iter().filter(|entry| entry.kind == Kind::Folder) {
        let path = into.join(&entry.path);
        let mode = if entry.mode == 0 { 0o755 } else { (entry.mode & 0o755) | 0o700 };
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&path, permissions).map_err(ArchiveError::disk(&path))?;
    }
    sync(into, files > SYNCED_ALONE).map_err(ArchiveError::disk(into))?;
    Ok(Unpacked { size: limits.unzipped - room, files })
}

/// `None`: it is larger than the room there is.
fn copy(
    content: &mut impl Read,
    file: &mut File,
    room: u64,
    path: &Path,
    name: &str,
) -> Result<Option<u64>, ArchiveError> {
    let mut buffer = [0; 64 * 1024];
    let mut size = 0;
    loop {
        let read = content.read(&mut buffer).map_err(|error| unreadable(name, error.into()))?;
        if read == 0 {
            return Ok(Some(size));
        }
        size += read as u64;
        if size > room {
            return Ok(None);
        }
        file.write_all(&buffer[..read]).map_err(ArchiveError::disk(path))?;
    }
}

/// Only to files of the archive, as shared libraries have them. A link to a folder could lead in circles.
fn make_link(
    archive: &mut ZipArchive<Cursor<&[u8]>>,
    entry: &Entry,
    into: &Path,
) -> Result<u64, ArchiveError> {
    let refused = |reason: &str| ArchiveError::refused(&entry.name, reason);
    let content = archive.by_index(entry.index).map_err(|error| unreadable(&entry.name, error))?;
    let mut target = String::new();
    let read = content.take(4096).read_to_string(&mut target);
    read.map_err(|_| refused("is a link to nowhere"))?;
    let leads_to = into.join(names::link(&entry.path, &target).map_err(refused)?);
    // Through a link of a link, too, everything is within the folder.
    let size = match std::fs::metadata(&leads_to) {
        Ok(metadata) if metadata.is_file() => metadata.len(),
        _ => {
            return Err(refused(
                "is a link to what is no file of the archive (or to a link that follows it)",
            ));
        }
    };
    let path = into.join(&entry.path);
    std::os::unix::fs::symlink(&target, &path).map_err(ArchiveError::disk(&path))?;
    Ok(size)
}

/// The executable bit is kept, owners may always read and write, nobody else may write.
fn file_mode(mode: u32) -> u32 {
    if mode == 0 { 0o644 } else { (mode & 0o755) | 0o600 }
}

fn private_folder(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().mode(0o755).create(path)
}

/// Folders, or everything where there is too much to be synced one by one.
fn sync(folder: &Path, all: bool) -> std::io::Result<()> {
    if all {
        return Ok(rustix::fs::syncfs(File::open(folder)?)?);
    }
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync(&entry.path(), false)?;
        }
    }
    File::open(folder)?.sync_all()
}

fn no_zip(error: ZipError) -> ArchiveError {
    ArchiveError::NoZip(error.to_string())
}

fn unreadable(name: &str, error: ZipError) -> ArchiveError {
    ArchiveError::refused(name, format!("cannot be read: {error}"))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

//! An archive for keeping: everything of a folder that is wanted, as it is, with the hash of all its bytes at
//! the end. Where one byte has changed, nothing is unpacked.
//!
//! It is a zip file, so that other tools can look inside; the seal is its comment.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

use super::{ArchiveError, names};
use crate::hexadecimal::hex;

const SEAL: &str = "handlerd backup, sha256 of what stands before: ";
const HASH: usize = 64;

/// What is being put into an archive.
pub struct Sealing {
    writer: ZipWriter<File>,
    path: PathBuf,
    /// Files so far, and their bytes.
    pub files: u64,
    pub bytes: u64,
}

impl Sealing {
    /// A new file that only its owner can read: there may be secrets inside.
    pub fn begin(path: &Path) -> Result<Self, ArchiveError> {
        let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(ArchiveError::disk(path))?;
        Ok(Self { writer: ZipWriter::new(file), path: path.to_owned(), files: 0, bytes: 0 })
    }

    /// A file, a link, or a folder with all that is in it.
    pub fn add(&mut self, name: &str, path: &Path) -> Result<(), ArchiveError> {
        let failed = ArchiveError::disk(path);
        let about = match std::fs::symlink_metadata(path) {
            // It went while others were put in.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            about => about.map_err(failed)?,
        };
        let options = SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Deflated)
            .large_file(about.len() >= u64::from(u32::MAX))
            .unix_permissions(about.permissions().mode() & 0o777);
        if about.is_symlink() {
            let target = std::fs::read_link(path).map_err(ArchiveError::disk(path))?;
            let written = self.writer.add_symlink(name, target.to_string_lossy(), options);
            return written.map_err(|error| self.failed(error));
        }
        if about.is_dir() {
            let written = self.writer.add_directory(name, options);
            written.map_err(|error| self.failed(error))?;
            let entries = std::fs::read_dir(path).map_err(ArchiveError::disk(path))?;
            let mut entries: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            entries.sort();
            for entry in entries {
                let own = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
                self.add(&format!("{name}/{own}"), &entry)?;
            }
            return Ok(());
        }
        if !about.is_file() {
            return Ok(());
        }
        let mut file = match File::open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            file => file.map_err(ArchiveError::disk(path))?,
        };
        let written = self.writer.start_file(name, options);
        written.map_err(|error| self.failed(error))?;
        self.bytes += std::io::copy(&mut file, &mut self.writer).map_err(ArchiveError::disk(path))?;
        self.files += 1;
        Ok(())
    }

    /// Everything is on the disk when this returns.
    pub fn finish(mut self) -> Result<(), ArchiveError> {
        let path = self.path;
        let commented = self.writer.set_comment(format!("{SEAL}{}", "0".repeat(HASH)));
        commented.map_err(|error| ArchiveError::disk(&path)(error.into()))?;
        let mut file = self.writer.finish().map_err(|error| ArchiveError::disk(&path)(error.into()))?;
        let sealed = (|| {
            let end = file.seek(SeekFrom::End(0))?;
            let hash = hash_of(&mut file, end - HASH as u64)?;
            file.seek(SeekFrom::Start(end - HASH as u64))?;
            file.write_all(hash.as_bytes())?;
            file.sync_all()
        })();
        sealed.map_err(ArchiveError::disk(&path))
    }

    fn failed(&self, error: zip::result::ZipError) -> ArchiveError {
        ArchiveError::disk(&self.path)(error.into())
    }
}

/// A zip file with the seal that belongs to it, whatever it is.
#[cfg(any(test, fuzzing))]
pub fn sealed(zip: &[u8]) -> Vec<u8> {
    // The end of a zip file says how long the comment is.
    let mut bytes = zip.to_vec();
    if let Some(length) = bytes.len().checked_sub(2) {
        bytes[length..].copy_from_slice(&((SEAL.len() + HASH) as u16).to_le_bytes());
    }
    bytes.extend_from_slice(SEAL.as_bytes());
    let hash = hex(&Sha256::digest(&bytes));
    bytes.extend_from_slice(hash.as_bytes());
    bytes
}

fn hash_of(file: &mut File, length: u64) -> std::io::Result<String> {
    file.seek(SeekFrom::Start(0))?;
    let mut hash = Sha256::new();
    let mut rest = file.take(length);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match rest.read(&mut buffer)? {
            0 => return Ok(hex(&hash.finalize())),
            read => hash.update(&buffer[..read]),
        }
    }
}

/// Whether every byte is as it was written; the reason if not.
fn check(file: &mut File) -> std::io::Result<Result<(), String>> {
    let end = file.seek(SeekFrom::End(0))?;
    let seal = (SEAL.len() + HASH) as u64;
    if end < seal {
        return Ok(Err("it is too short to be a backup".to_owned()));
    }
    file.seek(SeekFrom::Start(end - seal))?;
    let mut said = vec![0; seal as usize];
    file.read_exact(&mut said)?;
    let Some(hash) = said.strip_prefix(SEAL.as_bytes()) else {
        return Ok(Err("it is no backup of handlerd, or its end is missing".to_owned()));
    };
    Ok(match hash_of(file, end - HASH as u64)?.as_bytes() == hash {
        true => Ok(()),
        false => Err("it is damaged: its bytes are not those that were written".to_owned()),
    })
}

/// Unpacks an archive whose seal is whole into a folder that is there and empty. How many files there were.
pub fn unseal(path: &Path, into: &Path) -> Result<u64, ArchiveError> {
    let mut file = File::open(path).map_err(ArchiveError::disk(path))?;
    check(&mut file).map_err(ArchiveError::disk(path))?.map_err(ArchiveError::NoZip)?;
    let unreadable = |error: zip::result::ZipError| ArchiveError::NoZip(error.to_string());
    let mut archive = ZipArchive::new(file).map_err(unreadable)?;
    let mut files = 0;
    let mut folders = Vec::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(unreadable)?;
        let name = entry.name().map_err(unreadable)?.into_owned();
        let refused = |reason: &str| ArchiveError::Refused { entry: name.clone(), reason: reason.to_owned() };
        let place = into.join(names::path(&name).map_err(refused)?);
        let mode = entry.unix_mode().unwrap_or(0o600) & 0o777;
        let failed = || ArchiveError::disk(&place);
        if entry.is_dir() {
            std::fs::create_dir_all(&place).map_err(failed())?;
            folders.push((place, mode));
        } else if entry.is_symlink() {
            let mut target = String::new();
            entry.read_to_string(&mut target).map_err(failed())?;
            std::os::unix::fs::symlink(target, &place).map_err(failed())?;
        } else {
            let file = File::options().write(true).create_new(true).mode(0o600).open(&place);
            let mut file = file.map_err(failed())?;
            std::io::copy(&mut entry, &mut file).map_err(failed())?;
            file.set_permissions(std::fs::Permissions::from_mode(mode)).map_err(failed())?;
            file.sync_all().map_err(failed())?;
            files += 1;
        }
    }
    // Those above last: published code may not be written to.
    for (folder, mode) in folders.into_iter().rev() {
        let failed = ArchiveError::disk(&folder);
        let changed = std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(mode));
        changed.and_then(|()| File::open(&folder)?.sync_all()).map_err(failed)?;
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_comes_out_and_every_byte_counts() {
        let from = tempfile::tempdir().unwrap();
        std::fs::create_dir(from.path().join("versions")).unwrap();
        std::fs::write(from.path().join("versions/a.py"), "print(1)").unwrap();
        std::os::unix::fs::symlink("a.py", from.path().join("versions/b.py")).unwrap();
        std::fs::write(from.path().join("credentials"), "secret").unwrap();
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(from.path().join("credentials"), private).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("backup");
        let mut sealing = Sealing::begin(&path).unwrap();
        for name in ["versions", "credentials", "nothing"] {
            sealing.add(name, &from.path().join(name)).unwrap();
        }
        assert_eq!((sealing.files, sealing.bytes), (2, 14));
        sealing.finish().unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        let into = tempfile::tempdir().unwrap();
        assert_eq!(unseal(&path, into.path()).unwrap(), 2);
        assert_eq!(std::fs::read_to_string(into.path().join("versions/b.py")).unwrap(), "print(1)");
        assert!(into.path().join("versions/b.py").is_symlink());
        let about = std::fs::metadata(into.path().join("credentials")).unwrap();
        assert_eq!(about.permissions().mode() & 0o777, 0o600);

        let whole = std::fs::read(&path).unwrap();
        for place in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 1 << (place % 8);
            std::fs::write(&path, damaged).unwrap();
            let into = tempfile::tempdir().unwrap();
            assert!(unseal(&path, into.path()).is_err(), "byte {place}");
            assert_eq!(std::fs::read_dir(into.path()).unwrap().count(), 0);
        }
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(unseal(&path, tempfile::tempdir().unwrap().path()).is_err(), "{length} bytes");
        }
    }
}

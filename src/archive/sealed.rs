//! A large zip file that nobody has to believe: written and read piece by piece, and ended by a checksum
//! of all that stands before it.
//!
//! The checksum is the last thing in the file's own comment, so that every zip program can open it. Not
//! a byte of it can change without being noticed; that somebody has made all of it anew can not.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::{ArchiveError, names};
use crate::hexadecimal::hex;

const MARK: &str = "sealed with SHA-256 ";
const DIGITS: u64 = 64;
const BUFFER: usize = 256 * 1024;
/// What zip files have to be told before.
const LARGE: u64 = u32::MAX as u64 / 2;
const LONGEST_LINK: u64 = 4096;

/// A sealed archive under construction.
pub struct Sealing {
    writer: ZipWriter<BufWriter<File>>,
    path: PathBuf,
    pub entries: usize,
}

impl Sealing {
    /// A new file, for its owner only.
    pub fn create(path: &Path) -> Result<Self, ArchiveError> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(ArchiveError::disk(path))?;
        let writer = ZipWriter::new(BufWriter::with_capacity(BUFFER, file));
        Ok(Self { writer, path: path.to_owned(), entries: 0 })
    }

    /// As much of a file as there is now: it may be growing.
    pub fn add_file(&mut self, name: &str, file: &File) -> Result<(), ArchiveError> {
        let metadata = file.metadata().map_err(|error| self.failed(error))?;
        let options = options(metadata.permissions().mode()).large_file(metadata.len() > LARGE);
        self.writer.start_file(name, options).map_err(|error| self.failed(error.into()))?;
        io::copy(&mut file.take(metadata.len()), &mut self.writer).map_err(|error| self.failed(error))?;
        self.entries += 1;
        Ok(())
    }

    pub fn add_bytes(&mut self, name: &str, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.writer.start_file(name, options(0o600)).map_err(|error| self.failed(error.into()))?;
        self.writer.write_all(bytes).map_err(|error| self.failed(error))
    }

    pub fn add_folder(&mut self, name: &str, mode: u32) -> Result<(), ArchiveError> {
        self.writer.add_directory(name, options(mode)).map_err(|error| self.failed(error.into()))
    }

    /// A link as it is, wherever it leads.
    pub fn add_link(&mut self, name: &str, target: &str) -> Result<(), ArchiveError> {
        let link = self.writer.add_symlink(name, target, options(0o777));
        link.map_err(|error| self.failed(error.into()))?;
        self.entries += 1;
        Ok(())
    }

    /// Puts the checksum behind it. When this returns, all of it is on the disk; its size.
    pub fn seal(self) -> Result<u64, ArchiveError> {
        let Self { mut writer, path, .. } = self;
        let seal = || -> io::Result<u64> {
            writer.set_comment(format!("{MARK}{}", "0".repeat(DIGITS as usize)))?;
            let mut file = writer.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
            let length = file.metadata()?.len();
            let digits = checksum(&mut file, length - DIGITS)?;
            file.write_all_at(digits.as_bytes(), length - DIGITS)?;
            file.sync_all()?;
            Ok(length)
        };
        seal().map_err(ArchiveError::disk(&path))
    }

    fn failed(&self, error: io::Error) -> ArchiveError {
        ArchiveError::Disk { path: self.path.clone(), error }
    }
}

fn options(mode: u32) -> SimpleFileOptions {
    SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(1))
        .unix_permissions(mode & 0o777)
}

/// Of so many bytes from the beginning.
fn checksum(file: &mut File, length: u64) -> io::Result<String> {
    file.seek(SeekFrom::Start(0))?;
    let mut reader = BufReader::with_capacity(BUFFER, &*file).take(length);
    let mut hash = Sha256::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(hex(&hash.finalize())),
            read => hash.update(&buffer[..read]),
        }
    }
}

/// A sealed archive whose every byte is as it was written.
#[derive(Debug)]
pub struct Sealed {
    archive: ZipArchive<BufReader<File>>,
}

impl Sealed {
    /// Reads all of it.
    pub fn open(path: &Path) -> Result<Self, ArchiveError> {
        let disk = ArchiveError::disk;
        let mut file = File::open(path).map_err(disk(path))?;
        let length = file.metadata().map_err(disk(path))?.len();
        let mut end = vec![0; MARK.len() + DIGITS as usize];
        let begins = length.checked_sub(end.len() as u64);
        let begins = begins.ok_or_else(|| no_zip("it is too short"))?;
        file.read_exact_at(&mut end, begins).map_err(disk(path))?;
        let Some(digits) = end.strip_prefix(MARK.as_bytes()) else {
            return Err(no_zip("its end, with the checksum of the whole, is not there"));
        };
        let found = checksum(&mut file, length - DIGITS).map_err(disk(path))?;
        if found.as_bytes() != digits && !crate::defences::off("backup-checksum") {
            return Err(no_zip("its checksum says that it was damaged or changed"));
        }
        let reader = BufReader::with_capacity(BUFFER, file);
        let archive = ZipArchive::new(reader).map_err(|error| no_zip(&error.to_string()))?;
        Ok(Self { archive })
    }

    /// One of its files, if it is there and no longer than this.
    pub fn read(&mut self, name: &str, longest: u64) -> Result<Option<Vec<u8>>, ArchiveError> {
        let Ok(file) = self.archive.by_name(name) else { return Ok(None) };
        let mut content = Vec::new();
        let read = file.take(longest).read_to_end(&mut content);
        read.map_err(|error| ArchiveError::refused(name, format!("cannot be read: {error}")))?;
        Ok(Some(content))
    }

    /// Unpacks all but `left_out` into the folder `into`, which must not exist yet. Nothing lies beside
    /// it, and nothing is written through a link: these are made last. How many files there were; of
    /// more than `limit` bytes it is refused.
    pub fn unpack(&mut self, into: &Path, left_out: &str, limit: u64) -> Result<usize, ArchiveError> {
        DirBuilder::new().mode(0o700).create(into).map_err(ArchiveError::disk(into))?;
        let (mut folders, mut links, mut files, mut room) = (Vec::new(), Vec::new(), 0, limit);
        for index in 0..self.archive.len() {
            let entry = self.archive.by_index(index).map_err(|error| no_zip(&error.to_string()))?;
            let name = entry.name().map_err(|error| no_zip(&error.to_string()))?.into_owned();
            if name == left_out {
                continue;
            }
            let path = into.join(names::path(&name).map_err(|why| ArchiveError::refused(&name, why))?);
            let mode = entry.unix_mode().unwrap_or(0o600) & 0o777;
            let folder = if entry.is_dir() { path.as_path() } else { path.parent().unwrap_or(into) };
            let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(ArchiveError::disk(folder))?;
            if entry.is_dir() {
                folders.push((path, mode));
            } else if entry.is_symlink() {
                let mut target = String::new();
                let read = entry.take(LONGEST_LINK).read_to_string(&mut target);
                read.map_err(|_| ArchiveError::refused(&name, "is a link to nowhere"))?;
                links.push((path, target));
            } else {
                let disk = |error| ArchiveError::Disk { path: path.clone(), error };
                let mut file =
                    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(disk)?;
                let written = io::copy(&mut entry.take(room.saturating_add(1)), &mut file).map_err(disk)?;
                room = room.checked_sub(written).ok_or(ArchiveError::TooLarge { limit })?;
                file.set_permissions(std::fs::Permissions::from_mode(mode)).map_err(disk)?;
                files += 1;
            }
        }
        for (path, target) in links {
            std::os::unix::fs::symlink(&target, &path).map_err(ArchiveError::disk(&path))?;
            files += 1;
        }
        // Folders in folders first: of one that nobody may write to nothing inside can be changed.
        for (path, mode) in folders.into_iter().rev() {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&path, permissions).map_err(ArchiveError::disk(&path))?;
        }
        Ok(files)
    }
}

fn no_zip(reason: &str) -> ArchiveError {
    ArchiveError::NoZip(reason.to_owned())
}

/// What `fuzz/` puts behind its bytes: the right checksum.
#[cfg(any(test, fuzzing))]
pub fn with_checksum(bytes: &[u8]) -> Vec<u8> {
    let mut all = [bytes, MARK.as_bytes()].concat();
    all.extend_from_slice(hex(&Sha256::digest(&all)).as_bytes());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(folder: &Path) -> PathBuf {
        let (source, path) = (folder.join("source"), folder.join("sealed.zip"));
        std::fs::write(&source, "text ".repeat(200)).unwrap();
        let mut sealing = Sealing::create(&path).unwrap();
        sealing.add_bytes("about.json", b"{}").unwrap();
        sealing.add_folder("closed", 0o500).unwrap();
        std::fs::set_permissions(&source, std::fs::Permissions::from_mode(0o440)).unwrap();
        sealing.add_file("closed/file", &File::open(&source).unwrap()).unwrap();
        sealing.add_link("closed/link", "/some/where").unwrap();
        assert_eq!(sealing.entries, 2);
        assert_eq!(sealing.seal().unwrap(), std::fs::metadata(&path).unwrap().len());
        path
    }

    #[test]
    fn what_was_sealed_comes_back_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = sealed(folder.path());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let mut sealed = Sealed::open(&path).unwrap();
        assert_eq!(sealed.read("about.json", 10).unwrap().as_deref(), Some(b"{}".as_slice()));
        assert_eq!(sealed.read("nothing", 10).unwrap(), None);
        let into = folder.path().join("into");
        assert_eq!(sealed.unpack(&into, "about.json", 1000).unwrap(), 2);
        assert_eq!(std::fs::read_dir(&into).unwrap().count(), 1, "and not what was left out");
        assert_eq!(std::fs::read_to_string(into.join("closed/file")).unwrap(), "text ".repeat(200));
        assert_eq!(std::fs::read_link(into.join("closed/link")).unwrap(), Path::new("/some/where"));
        let mode = |path: &str| std::fs::metadata(into.join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!([mode(""), mode("closed"), mode("closed/file")], [0o700, 0o500, 0o440]);
        std::fs::set_permissions(into.join("closed"), std::fs::Permissions::from_mode(0o700)).unwrap();
    }

    /// All of them: the file is small.
    #[test]
    fn each_byte_that_is_changed_and_each_length_that_is_cut_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = sealed(folder.path());
        let bytes = std::fs::read(&path).unwrap();
        let other = folder.path().join("other.zip");
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 1 << (index % 8);
            std::fs::write(&other, &changed).unwrap();
            let refused = Sealed::open(&other).expect_err("a byte was changed").to_string();
            assert!(refused.contains("checksum"), "{index}: {refused}");
            std::fs::write(&other, &bytes[..index]).unwrap();
            Sealed::open(&other).expect_err("it was cut");
        }
    }

    #[test]
    fn nothing_lies_beside_the_folder_and_nothing_is_written_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        for (number, name) in ["../out", "/out", "a/../../out", "link/out"].iter().enumerate() {
            let path = folder.path().join(format!("{number}.zip"));
            let mut sealing = Sealing::create(&path).unwrap();
            sealing.add_link("link", &folder.path().to_string_lossy()).unwrap();
            sealing.add_bytes(name, b"x").unwrap();
            sealing.seal().unwrap();
            let refused =
                Sealed::open(&path).unwrap().unpack(&folder.path().join(format!("{number}")), "", 1000);
            refused.expect_err(name);
            assert!(!folder.path().join("out").exists(), "{name}");
        }
    }
}

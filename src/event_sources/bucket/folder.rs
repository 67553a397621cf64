//! The folder of a bucket: what is in it, and what a file is like. Everything here reads the disk,
//! and is called where that may take its time.
//!
//! Objects are the regular files. Links are not followed, and what begins with a dot is left out:
//! programs that write a file whole give it such a name until they have.

use std::fs::Metadata;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use md5::{Digest, Md5};

use crate::hexadecimal::hex;
use crate::inotify::Inotify;
use crate::store::ObjectState;

/// S3's longest object that is put at once. What is longer has an ETag that is no digest there either.
const LONGEST_DIGEST: u64 = 5 << 30;
/// Of one bucket; what goes beyond is not watched.
pub const MOST_FILES: usize = 200_000;
/// A file that is found, not heard of, may still be written unless it has been like this for so long.
const SETTLED: Duration = Duration::from_secs(1);

/// What is at a path.
#[derive(Debug, PartialEq, Eq)]
pub enum Look {
    Nothing,
    Folder,
    Object(ObjectState),
    /// It changes right now.
    Unsettled,
}

/// What a folder holds, at any depth.
#[derive(Debug, Default)]
pub struct Contents {
    pub files: Vec<PathBuf>,
    /// Why some of it is not known.
    pub problem: Option<String>,
}

/// The key of a file, if it is an object of the bucket in this folder.
pub fn key(bucket: &Path, path: &Path) -> Option<String> {
    let relative = path.strip_prefix(bucket).ok()?;
    let mut parts = Vec::new();
    for part in relative.components() {
        let part = part.as_os_str().to_str()?;
        if part.starts_with('.') {
            return None;
        }
        parts.push(part);
    }
    let key = parts.join("/");
    // S3 has no longer ones.
    (!key.is_empty() && key.len() <= 1024).then_some(key)
}

/// Reads a folder and watches all folders in it; each is watched before it is read, so that nothing
/// falls between the two.
pub fn contents(root: &Path, inotify: Option<&Inotify>) -> Contents {
    let mut contents = Contents::default();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        if let Some(Err(error)) = inotify.map(|inotify| inotify.watch(&folder))
            && (folder == *root || folder.is_dir())
        {
            contents.problem = Some(format!(
                "could not watch {}: {error}; it is looked at again and again instead\nhint: is it there? Else raise \
                 fs.inotify.max_user_watches",
                folder.display()
            ));
        }
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            let Ok(kind) = entry.file_type() else { continue };
            if hidden || !(kind.is_dir() || kind.is_file()) {
                continue;
            }
            if kind.is_dir() {
                folders.push(entry.path());
                continue;
            }
            if contents.files.len() >= MOST_FILES {
                contents.problem = Some(format!(
                    "{} holds more than {MOST_FILES} files: the others are not seen",
                    folder.display()
                ));
                return contents;
            }
            contents.files.push(entry.path());
        }
    }
    contents
}

/// `known`: as it was, which need not be read again if nothing points to a change. `heard`: its writer
/// has closed it; else it must have been as it is for a while.
pub fn look(path: &Path, known: Option<&ObjectState>, heard: bool) -> Look {
    let Ok(before) = path.symlink_metadata() else { return Look::Nothing };
    if before.is_dir() {
        return Look::Folder;
    }
    if !before.is_file() {
        return Look::Nothing;
    }
    let is_known =
        known.is_some_and(|known| known.size == before.len() && known.modified == modified(&before));
    if is_known && !heard {
        return known.cloned().map_or(Look::Nothing, Look::Object);
    }
    let age = |metadata: &Metadata| {
        let modified = metadata.modified().ok()?;
        SystemTime::now().duration_since(modified).ok()
    };
    // A time in the future is no sign of writing.
    if !heard && age(&before).is_some_and(|age| age < SETTLED) {
        return Look::Unsettled;
    }
    let Some(etag) = etag(path, &before) else { return Look::Nothing };
    match path.symlink_metadata() {
        Ok(after) if is_same(&before, &after) => {
            Look::Object(ObjectState { size: before.len(), modified: modified(&before), etag })
        }
        Ok(_) => Look::Unsettled,
        Err(_) => Look::Nothing,
    }
}

fn modified(metadata: &Metadata) -> i64 {
    metadata.mtime().wrapping_mul(1_000_000_000).wrapping_add(metadata.mtime_nsec())
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    one.ino() == other.ino() && one.len() == other.len() && modified(one) == modified(other)
}

/// MD5 of the content, as of an object that is put at once.
fn etag(path: &Path, metadata: &Metadata) -> Option<String> {
    if metadata.len() > LONGEST_DIGEST {
        let parts = metadata.len().div_ceil(LONGEST_DIGEST);
        let text = format!("{} {}", metadata.len(), modified(metadata));
        return Some(format!("{}-{parts}", hex(&Md5::digest(text))));
    }
    // One that cannot be read is none for the function either.
    let mut file = std::fs::File::open(path).ok()?.take(LONGEST_DIGEST);
    let mut digest = Md5::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer).ok()? {
            0 => return Some(hex(&digest.finalize())),
            read => digest.update(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_paths_below_the_folder() {
        let key = |path: &str| key(Path::new("/b"), Path::new(path));
        assert_eq!(key("/b/in/a b.txt").as_deref(), Some("in/a b.txt"));
        assert_eq!(key("/b"), None);
        assert_eq!(key("/b/.hidden"), None);
        assert_eq!(key("/b/.tmp/x"), None);
        assert_eq!(key("/c/x"), None);
        assert_eq!(key(&format!("/b/{}", "x".repeat(1025))), None);
    }

    #[test]
    fn a_file_is_an_object_once_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        assert_eq!(look(&path, None, true), Look::Nothing);
        std::fs::write(&path, "").unwrap();
        assert_eq!(look(&path, None, false), Look::Unsettled, "found, and just written");
        let Look::Object(state) = look(&path, None, true) else { panic!() };
        assert_eq!((state.size, &*state.etag), (0, "d41d8cd98f00b204e9800998ecf8427e"));
        assert_eq!(look(&path, Some(&state), false), Look::Object(state));
        let old = SystemTime::now() - Duration::from_secs(10);
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        assert!(matches!(look(&path, None, false), Look::Object(_)));
        assert_eq!(look(folder.path(), None, true), Look::Folder);
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(look(&link, None, true), Look::Nothing);

        std::fs::create_dir_all(folder.path().join("a/b")).unwrap();
        std::fs::create_dir_all(folder.path().join(".git")).unwrap();
        for name in ["a/b/y", ".git/z", ".w"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let mut files = contents(folder.path(), None).files;
        files.sort();
        assert_eq!(files, [folder.path().join("a/b/y"), path]);
    }
}

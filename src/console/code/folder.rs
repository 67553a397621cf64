//! A function's folder, seen without ever leaving it: whatever a path or a link says, and whatever is
//! exchanged while it is looked at, what is opened lies below.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Dir, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;
use serde::Serialize;

use crate::deployment::{is_configuration, is_left_out};

/// As deep as code is looked for.
const DEPTH: usize = 32;
/// What a browser can show; of a function with more, only the Lambda API gives the code.
const FILES: usize = 10_000;
/// A path is resolved again when something was moved meanwhile.
const TRIES: usize = 8;
/// So much of a file is looked at to see whether it is text.
const HEAD: u64 = 8 * 1024;

pub struct Folder {
    folder: OwnedFd,
    /// Where it really is: what is hidden is known by its own name, not by that of a link to it.
    real: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    pub path: String,
    pub size: u64,
    pub binary: bool,
    #[serde(skip)]
    pub executable: bool,
}

/// What is code of a folder, sorted by path.
#[derive(Debug, Default)]
pub struct Listing {
    pub files: Vec<Entry>,
    /// What belongs to the code and is not shown, with the reason.
    pub left_behind: Vec<String>,
    /// Links may multiply folders that hold nothing.
    folders: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("there is no file {0:?}")]
    NotFound(String),
    #[error("{0:?} is no file")]
    NoFile(String),
    #[error("{0:?} leads out of the function's folder")]
    Outside(String),
    #[error("there are more than {FILES} files and folders")]
    TooMany,
    #[error("{path} cannot be read: {error}")]
    Disk { path: String, error: std::io::Error },
}

impl FolderError {
    fn of(path: &str, error: Errno) -> Self {
        let path = path.to_owned();
        match error {
            Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG => Self::NotFound(path),
            Errno::XDEV | Errno::LOOP => Self::Outside(path),
            error => Self::Disk { path, error: error.into() },
        }
    }
}

impl Folder {
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|error| FolderError::of(&path.to_string_lossy(), error))?;
        let real = place(&folder);
        Ok(Self { folder, real })
    }

    /// A file of the code by its path: `a/b.py`, written in no other way.
    pub fn file(&self, path: &str) -> Result<File, FolderError> {
        let relative = Path::new(path);
        let spelled: Option<Vec<&str>> = relative
            .components()
            .map(|part| match part {
                Component::Normal(name) => name.to_str(),
                _ => None,
            })
            .collect();
        if spelled.is_none_or(|parts| parts.is_empty() || parts.join("/") != path) || path.contains('\0') {
            return Err(FolderError::NotFound(path.to_owned()));
        }
        if is_hidden(relative) {
            return Err(FolderError::NotFound(path.to_owned()));
        }
        let file = self.beneath(relative, OFlags::empty()).map_err(|error| FolderError::of(path, error))?;
        if self.leads_to_hidden(&file) {
            return Err(FolderError::NotFound(path.to_owned()));
        }
        let file = File::from(file);
        match file.metadata() {
            Ok(metadata) if metadata.is_file() => Ok(file),
            Ok(_) => Err(FolderError::NoFile(path.to_owned())),
            Err(error) => Err(FolderError::Disk { path: path.to_owned(), error }),
        }
    }

    /// The files that a deployment package consists of.
    pub fn list(&self) -> Result<Listing, FolderError> {
        let mut listing = Listing::default();
        let root = self
            .beneath(Path::new("."), OFlags::DIRECTORY)
            .map_err(|error| FolderError::of("the folder", error))?;
        self.collect(root, Path::new(""), &mut listing, &mut Vec::new())?;
        listing.files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(listing)
    }

    fn collect(
        &self,
        folder: OwnedFd,
        relative: &Path,
        listing: &mut Listing,
        ancestors: &mut Vec<(u64, u64)>,
    ) -> Result<(), FolderError> {
        let broken = |error: Errno| FolderError::of(&relative.to_string_lossy(), error);
        let stat = rustix::fs::fstat(&folder).map_err(broken)?;
        let own = (stat.st_dev, stat.st_ino);
        if ancestors.len() > DEPTH {
            return Ok(());
        }
        listing.folders += 1;
        if listing.folders > FILES {
            return Err(FolderError::TooMany);
        }
        ancestors.push(own);
        for entry in Dir::read_from(&folder).map_err(broken)? {
            let entry = entry.map_err(broken)?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let name = name.to_string_lossy();
            let inside = relative.join(&*name);
            if is_left_out(&name) || is_configuration(&inside) {
                continue;
            }
            self.look_at(&entry, &inside, listing, ancestors)?;
            if listing.files.len() > FILES || listing.left_behind.len() > FILES {
                return Err(FolderError::TooMany);
            }
        }
        ancestors.pop();
        Ok(())
    }

    fn look_at(
        &self,
        entry: &rustix::fs::DirEntry,
        relative: &Path,
        listing: &mut Listing,
        ancestors: &mut Vec<(u64, u64)>,
    ) -> Result<(), FolderError> {
        let path = relative.to_string_lossy().into_owned();
        if entry.file_name().to_str().is_err() || path.contains('\\') {
            listing.left_behind.push(format!("{path:?} has a name that a zip file cannot hold"));
            return Ok(());
        }
        let opened = match self.beneath(relative, OFlags::empty()) {
            Ok(opened) => opened,
            Err(Errno::XDEV | Errno::LOOP) => {
                listing
                    .left_behind
                    .push(format!("{path:?} is a link that leads out of the function's folder"));
                return Ok(());
            }
            Err(Errno::ACCESS | Errno::PERM) => {
                listing.left_behind.push(format!("{path:?} cannot be read"));
                return Ok(());
            }
            // It went away, leads nowhere, or is a socket.
            Err(_) => return Ok(()),
        };
        if self.leads_to_hidden(&opened) {
            listing.left_behind.push(format!("{path:?} is a link to what is no code"));
            return Ok(());
        }
        let file = File::from(opened);
        let Ok(metadata) = file.metadata() else { return Ok(()) };
        if metadata.is_dir() && ancestors.contains(&(metadata.dev(), metadata.ino())) {
            listing.left_behind.push(format!("{path:?} is a link to a folder that it lies in"));
            return Ok(());
        }
        if metadata.is_dir() {
            return self.collect(OwnedFd::from(file), relative, listing, ancestors);
        }
        if metadata.is_file() {
            let executable = metadata.permissions().mode() & 0o111 != 0;
            let binary = is_binary(&file);
            listing.files.push(Entry { path, size: metadata.size(), binary, executable });
        }
        Ok(())
    }

    fn beneath(&self, relative: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        // Not to wait for the other end of a pipe.
        let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let mut resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        if crate::defences::off("paths-stay-inside") {
            resolve = ResolveFlags::empty();
        }
        for _ in 0..TRIES {
            match openat2(&self.folder, relative, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN) => {}
                // An old kernel, or a sandbox around a new one.
                Err(Errno::NOSYS | Errno::PERM) => return self.without_links(relative, flags),
                result => return result,
            }
        }
        Err(Errno::AGAIN)
    }

    /// Folder by folder, and through no link at all.
    fn without_links(&self, relative: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let mut place: Option<OwnedFd> = None;
        let mut parts = relative.components().peekable();
        while let Some(part) = parts.next() {
            let flags = if parts.peek().is_some() { flags | OFlags::DIRECTORY } else { flags };
            let from = place.as_ref().map_or(self.folder.as_fd(), AsFd::as_fd);
            let name = part.as_os_str();
            if matches!(part, Component::ParentDir | Component::RootDir | Component::Prefix(_)) {
                return Err(Errno::XDEV);
            }
            place = Some(openat(from, name, flags | OFlags::NOFOLLOW, Mode::empty())?);
        }
        place.ok_or(Errno::NOENT)
    }

    fn leads_to_hidden(&self, opened: &OwnedFd) -> bool {
        let (Some(real), Some(at)) = (&self.real, place(opened)) else { return false };
        match at.strip_prefix(real) {
            Ok(relative) => is_hidden(relative),
            // The folder was moved meanwhile; what is open lies below it all the same.
            Err(_) => false,
        }
    }
}

/// Whether deployment takes no notice of it, or it says how the function is run.
fn is_hidden(relative: &Path) -> bool {
    is_configuration(relative)
        || relative.components().any(|part| is_left_out(&part.as_os_str().to_string_lossy()))
}

fn place(file: &impl AsRawFd) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()
}

/// By its beginning.
fn is_binary(file: &File) -> bool {
    let mut head = Vec::new();
    if file.take(HEAD).read_to_end(&mut head).is_err() {
        return true;
    }
    // The last character may be cut.
    let is_text = std::str::from_utf8(&head).map_or_else(|error| error.error_len().is_none(), |_| true);
    !is_text || head.contains(&0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("hello");
        for (path, content) in [
            ("hello/lambda_function.py", "x = 1\n"),
            ("hello/.env", "SECRET=1\n"),
            ("hello/function.yaml", "Timeout: 3\n"),
            ("hello/lib/util.py", "y = 1\n"),
            ("hello/lib/.env", "hidden only at the top\n"),
            ("hello/.events/a.json", "{}"),
            ("hello/__pycache__/a.pyc", ""),
            ("hello/data.bin", "\0\u{1}"),
            ("secret.txt", "secret"),
            ("hello-too/secret.txt", "secret"),
        ] {
            let path = outer.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        for (link, target) in [
            ("inner.py", "lib/util.py"),
            ("library", "lib"),
            ("loop", "."),
            ("itself", "itself"),
            ("absolute", "/etc/passwd"),
            ("out.txt", "../secret.txt"),
            ("beside", "../hello-too"),
            ("back", "../hello/lib/util.py"),
            ("dangling", "nothing"),
            ("settings", ".env"),
            ("events", ".events"),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        let folder = Folder::open(&root).unwrap();
        (outer, folder)
    }

    #[test]
    fn lists_what_is_code() {
        let (_outer, folder) = folder();
        let listing = folder.list().unwrap();
        let paths: Vec<&str> = listing.files.iter().map(|entry| entry.path.as_str()).collect();
        let expected = [
            "data.bin",
            "inner.py",
            "lambda_function.py",
            "lib/.env",
            "lib/util.py",
            "library/.env",
            "library/util.py",
        ];
        assert_eq!(paths, expected);
        assert!(listing.files[0].binary && !listing.files[2].binary);
        let mut left: Vec<&str> =
            listing.left_behind.iter().map(|text| text.split('"').nth(1).unwrap()).collect();
        left.sort_unstable();
        let expected = ["absolute", "back", "beside", "events", "itself", "loop", "out.txt", "settings"];
        assert_eq!(left, expected);
    }

    #[test]
    fn opens_nothing_else() {
        let (_outer, folder) = folder();
        for path in ["lambda_function.py", "inner.py", "library/util.py", "lib/.env"] {
            assert!(folder.file(path).is_ok(), "{path}");
        }
        for path in [
            "",
            ".",
            "..",
            "/",
            "lib",
            "lib/",
            "/etc/passwd",
            "../secret.txt",
            "lib/../lambda_function.py",
            "./lambda_function.py",
            "lib//util.py",
            "lambda_function.py/",
            "lambda_function.py\0",
            "absolute",
            "out.txt",
            "beside/secret.txt",
            "beside/../hello/lambda_function.py",
            "back",
            "dangling",
            "itself",
            "loop/loop/loop/.env",
            "settings",
            "events/a.json",
            ".env",
            "function.yaml",
            ".events/a.json",
            "__pycache__/a.pyc",
            "lambda_function.py/x",
        ] {
            assert!(folder.file(path).is_err(), "{path}");
        }
    }

    #[test]
    fn without_openat2_no_link_is_followed() {
        let (_outer, folder) = folder();
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let open = |path: &str| folder.without_links(Path::new(path), flags);
        assert!(open("lambda_function.py").is_ok() && open("lib/util.py").is_ok() && open(".").is_ok());
        for path in
            ["inner.py", "library/util.py", "../secret.txt", "/etc/passwd", "absolute", "beside/secret.txt"]
        {
            assert!(open(path).is_err(), "{path}");
        }
    }

    #[test]
    fn a_pipe_holds_nobody_up() {
        let (outer, folder) = folder();
        let pipe = outer.path().join("hello/pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
        assert!(matches!(folder.file("pipe"), Err(FolderError::NoFile(_))));
        assert!(folder.list().unwrap().files.iter().all(|entry| entry.path != "pipe"));
    }
}

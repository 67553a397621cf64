//! What of a folder is code, and the hash of it: the same wherever a copy of it lies.
//!
//! Links are followed, as those do who pack a folder for Lambda, but not to where that would not come
//! to an end: to a folder that they lie in, into what the kernel only makes up, or to more than a
//! function may have.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Deeper than any package.
const DEPTH: usize = 32;
/// Files and folders that are found through links, of one function.
const MOST_LINKED: usize = 20_000;
/// What a function may have unpacked: 250 MB, as Lambda has it.
const LARGEST_LINKED: u64 = 262_144_000;

/// Not code: what tools leave behind, and what is too large to be meant.
pub fn is_left_out(name: &str) -> bool {
    let hidden = name.starts_with('.') && name != ".env";
    hidden
        || matches!(name, "__pycache__" | "node_modules" | "venv")
        || name.ends_with(".pyc")
        || name.ends_with('~')
        || name.ends_with(".swp")
        || name == "4913"
}

/// What of a folder is code, by paths that begin there.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Contents {
    /// Sorted. A link to a file is one; it may be gone when it is opened.
    pub files: Vec<PathBuf>,
    /// Those that the files lie in, the folder itself among them.
    pub folders: Vec<PathBuf>,
    /// Links that are not followed.
    pub left_behind: Vec<LeftBehind>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftBehind {
    pub link: PathBuf,
    pub reason: &'static str,
}

const INTO_ITSELF: &str = "leads to a folder that it lies in";
const MADE_UP: &str = "leads into a file system that the kernel makes up";
const TOO_MUCH: &str =
    "leads to more than the 250 MB that a function of Lambda may have, or to more than 20000 files";

impl Contents {
    /// What cannot be read is not in it.
    pub fn of(folder: &Path) -> Self {
        let mut walk = Walk {
            root: folder,
            real: fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned()),
            contents: Self::default(),
            entries_left: MOST_LINKED,
            bytes_left: LARGEST_LINKED,
        };
        let _ = walk.folder(Path::new(""), false, 0);
        walk.contents.files.sort();
        walk.contents
    }
}

struct Walk<'a> {
    root: &'a Path,
    /// Without links.
    real: PathBuf,
    contents: Contents,
    entries_left: usize,
    bytes_left: u64,
}

/// There is more behind a link than may be.
struct Exceeded;

impl Walk<'_> {
    fn folder(&mut self, relative: &Path, linked: bool, depth: usize) -> Result<(), Exceeded> {
        if depth > DEPTH {
            return Ok(());
        }
        let Ok(entries) = fs::read_dir(self.root.join(relative)) else { return Ok(()) };
        self.contents.folders.push(relative.to_owned());
        let mut entries: Vec<fs::DirEntry> = entries.flatten().collect();
        // What there is room for behind links is the same each time.
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name();
            let Ok(kind) = entry.file_type() else { continue };
            if is_left_out(&name.to_string_lossy()) {
                continue;
            }
            let relative = relative.join(&name);
            if linked {
                self.entries_left = self.entries_left.checked_sub(1).ok_or(Exceeded)?;
            }
            if kind.is_symlink() {
                self.link(relative, linked, depth)?;
            } else if kind.is_dir() {
                self.folder(&relative, linked, depth + 1)?;
            } else {
                if linked {
                    self.charge(entry.metadata().map_or(0, |metadata| metadata.len()))?;
                }
                self.contents.files.push(relative);
            }
        }
        Ok(())
    }

    fn charge(&mut self, bytes: u64) -> Result<(), Exceeded> {
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or(Exceeded)?;
        Ok(())
    }

    /// `linked`: it was found behind another one, which is left behind as a whole if there is too much.
    fn link(&mut self, link: PathBuf, linked: bool, depth: usize) -> Result<(), Exceeded> {
        let path = self.root.join(&link);
        // It leads nowhere, or nobody may go there.
        let (Ok(target), Ok(metadata)) = (fs::canonicalize(&path), fs::metadata(&path)) else {
            return Ok(());
        };
        let place = path.parent().and_then(|folder| fs::canonicalize(folder).ok());
        let lies_in = |target: &Path| {
            self.real.starts_with(target) || place.as_deref().is_some_and(|place| place.starts_with(target))
        };
        let reason = match () {
            () if is_made_up(&target) => MADE_UP,
            () if metadata.is_dir() && lies_in(&target) => INTO_ITSELF,
            () => {
                let (files, folders, left_behind) =
                    (self.contents.files.len(), self.contents.folders.len(), self.contents.left_behind.len());
                let followed = if metadata.is_dir() {
                    self.folder(&link, true, depth + 1)
                } else {
                    self.contents.files.push(link.clone());
                    self.charge(if metadata.is_file() { metadata.len() } else { 0 })
                };
                match followed {
                    Ok(()) => return Ok(()),
                    Err(Exceeded) if linked => return Err(Exceeded),
                    Err(Exceeded) => {
                        self.contents.files.truncate(files);
                        self.contents.folders.truncate(folders);
                        self.contents.left_behind.truncate(left_behind);
                        TOO_MUCH
                    }
                }
            }
        };
        self.contents.left_behind.push(LeftBehind { link, reason });
        Ok(())
    }
}

/// Files there may never end, or make whoever reads them wait.
fn is_made_up(target: &Path) -> bool {
    const PROC: u64 = 0x9fa0;
    const SYS: u64 = 0x6265_6572;
    const TRACE: u64 = 0x7472_6163;
    const DEBUG: u64 = 0x6462_6720;
    const CGROUP: u64 = 0x6367_7270;
    rustix::fs::statfs(target)
        .is_ok_and(|found| matches!(found.f_type as u64, PROC | SYS | TRACE | DEBUG | CGROUP))
}

/// Over the paths of files, sorted, and the hashes of their contents.
#[derive(Default)]
pub struct ContentHash(Sha256);

impl ContentHash {
    pub fn file(&mut self, relative: &Path, hash: [u8; 32]) {
        self.0.update(relative.as_os_str().as_encoded_bytes());
        self.0.update([0]);
        self.0.update(hash);
    }

    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }

    /// Of one file, however large it is.
    pub fn of_file(path: &Path) -> std::io::Result<[u8; 32]> {
        let mut file = fs::File::open(path)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(hash.finalize().into()),
                read => hash.update(&buffer[..read]),
            }
        }
    }

    /// Of code together with what its layers hold; without layers it is the code's own.
    pub fn with_layers(code: [u8; 32], layers: &[[u8; 32]]) -> [u8; 32] {
        if layers.is_empty() {
            return code;
        }
        let mut all = Sha256::new();
        all.update(code);
        for layer in layers {
            all.update(layer);
        }
        all.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(paths: &[PathBuf]) -> Vec<&str> {
        paths.iter().map(|path| path.to_str().unwrap()).collect()
    }

    fn left_behind(contents: &Contents) -> Vec<(&str, &str)> {
        contents.left_behind.iter().map(|left| (left.link.to_str().unwrap(), left.reason)).collect()
    }

    #[test]
    fn links_are_followed_to_where_it_ends() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("hello");
        for path in ["hello/app.py", "hello/lib/util.py", "shared/part.py", "shared/deep/part.py"] {
            let path = outer.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        for (link, target) in [
            ("hello/shared", "../shared"),
            ("hello/one.py", "../shared/part.py"),
            ("hello/again", "lib"),
            ("hello/gone", "nowhere"),
            ("hello/itself", "itself"),
            ("hello/here", "."),
            ("hello/there", "."),
            ("hello/lib/up", ".."),
            ("hello/outer", ".."),
            ("hello/all", "/"),
            ("hello/process", "/proc/self"),
            ("hello/environment", "/proc/self/environ"),
            ("hello/devices", "/sys/devices"),
            ("shared/deep/back", ".."),
        ] {
            symlink(target, outer.path().join(link)).unwrap();
        }
        let contents = Contents::of(&root);
        assert_eq!(
            names(&contents.files),
            ["again/util.py", "app.py", "lib/util.py", "one.py", "shared/deep/part.py", "shared/part.py"]
        );
        assert_eq!(names(&contents.folders), ["", "again", "lib", "shared", "shared/deep"]);
        assert_eq!(
            left_behind(&contents),
            [
                ("again/up", INTO_ITSELF),
                ("all", INTO_ITSELF),
                ("devices", MADE_UP),
                ("environment", MADE_UP),
                ("here", INTO_ITSELF),
                ("lib/up", INTO_ITSELF),
                ("outer", INTO_ITSELF),
                ("process", MADE_UP),
                ("shared/deep/back", INTO_ITSELF),
                ("there", INTO_ITSELF),
            ]
        );
    }

    #[test]
    fn links_that_multiply_are_left_behind() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("hello");
        for number in 0..30 {
            fs::create_dir_all(outer.path().join(format!("{number}"))).unwrap();
            for link in ["a", "b"] {
                symlink(format!("../{}", number + 1), outer.path().join(format!("{number}/{link}"))).unwrap();
            }
        }
        fs::create_dir(&root).unwrap();
        fs::write(root.join("app.py"), "x").unwrap();
        symlink("../0", root.join("many")).unwrap();
        let contents = Contents::of(&root);
        assert_eq!((names(&contents.files), names(&contents.folders)), (vec!["app.py"], vec![""]));
        assert_eq!(left_behind(&contents), [("many", TOO_MUCH)]);
    }

    #[test]
    fn a_link_to_what_is_too_large_is_left_behind() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("hello");
        fs::create_dir(&root).unwrap();
        let file = fs::File::create(outer.path().join("image.iso")).unwrap();
        // It has a hole: nothing of it is on the disk.
        file.set_len(1 << 40).unwrap();
        symlink("../image.iso", root.join("image.iso")).unwrap();
        let contents = Contents::of(&root);
        assert_eq!(names(&contents.files), [""; 0]);
        assert_eq!(left_behind(&contents), [("image.iso", TOO_MUCH)]);
    }
}

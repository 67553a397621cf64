//! What an entry of an archive may be called: a relative path that stays where it is put.

use std::path::{Component, Path, PathBuf};

/// Of one name, as file systems have it; and of a whole path.
const NAME: usize = 255;
const PATH: usize = 2048;
/// Folders in folders; what lies deeper is not seen as code.
const DEPTH: usize = 32;

/// The path of an entry, or why it cannot have it. `./` in it means nothing; nor does the `/` behind
/// a folder's name.
pub fn path(name: &str) -> Result<PathBuf, &'static str> {
    if name.len() > PATH {
        return Err("has too long a name");
    }
    if name.contains('\0') {
        return Err("has a NUL in its name");
    }
    if name.contains('\\') {
        return Err("has a `\\` in its name, where zip files have `/`");
    }
    if name.starts_with('/') {
        return Err("has an absolute path");
    }
    let mut path = PathBuf::new();
    let mut depth = 0;
    for part in name.split('/') {
        match part {
            "" | "." => continue,
            ".." if !crate::defences::off("paths-of-archives") => return Err("leads out of the folder"),
            _ if part.len() > NAME => return Err("has too long a name"),
            _ => path.push(part),
        }
        depth += 1;
        if depth > DEPTH {
            return Err("lies deeper than 32 folders");
        }
    }
    if depth == 0 && !name.ends_with(['/', '.']) {
        return Err("has no name");
    }
    Ok(path)
}

/// Where a symbolic link leads that stands at `link`: within the folder, or nowhere. Leading `..` only:
/// what follows a name may be a link itself, and `..` behind it would lead elsewhere than it reads.
pub fn link(link: &Path, target: &str) -> Result<PathBuf, &'static str> {
    if target.is_empty() || target.len() > PATH || target.contains('\0') {
        return Err("is a link to nowhere");
    }
    let mut place = link.parent().unwrap_or(Path::new("")).to_owned();
    let mut descends = false;
    for part in Path::new(target).components() {
        match part {
            Component::CurDir => {}
            Component::Normal(name) => {
                descends = true;
                place.push(name);
            }
            Component::ParentDir if !descends => {
                if !place.pop() {
                    return Err("is a link that leads out of the folder");
                }
            }
            _ => return Err("is a link that leads out of the folder"),
        }
    }
    Ok(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_inside() {
        for (name, expected) in [
            ("a", "a"),
            ("a/b.py", "a/b.py"),
            ("./a", "a"),
            ("a/", "a"),
            ("./", ""),
            ("a//b", "a/b"),
            ("ä/…", "ä/…"),
        ] {
            assert_eq!(path(name), Ok(PathBuf::from(expected)), "{name}");
        }
        let deep = "a/".repeat(33);
        let long = "x".repeat(256);
        for name in
            ["..", "../a", "a/../b", "a/..", "/a", "/", "//a", "a\\b", "..\\a", "a\0", "", &deep, &long]
        {
            assert!(path(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_link_stays_inside() {
        for (at, target, expected) in [
            ("a", "b", "b"),
            ("a/b", "../c", "c"),
            ("a/b", "c", "a/c"),
            ("a/b/c", "../../d/e", "d/e"),
            ("a", "./b", "b"),
        ] {
            assert_eq!(link(Path::new(at), target), Ok(PathBuf::from(expected)), "{at} -> {target}");
        }
        for (at, target) in
            [("a", "/etc/passwd"), ("a", "../b"), ("a/b", "../../c"), ("a", "b/../c"), ("a", "")]
        {
            assert!(link(Path::new(at), target).is_err(), "{at} -> {target}");
        }
    }
}

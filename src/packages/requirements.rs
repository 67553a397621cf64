//! What a `requirements.txt` asks for, as far as it must be understood here: enough to know whether
//! it has changed, and whether it is met already. The rest is the installer's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::hexadecimal::hex;
use sha2::{Digest, Sha256};

/// Files that include each other are followed so far.
const DEPTH: usize = 8;
/// Nobody writes one this long.
const LONGEST: u64 = 1024 * 1024;

#[derive(Debug)]
pub struct Requirements {
    lines: Vec<String>,
    /// A line that only the installer understands.
    has_more: bool,
    hash: Sha256,
}

impl Requirements {
    /// `None`: there is no such file, or it asks for nothing.
    pub fn read(file: &Path) -> Result<Option<Self>, String> {
        if !file.exists() {
            return Ok(None);
        }
        let mut requirements = Self { lines: Vec::new(), has_more: false, hash: Sha256::new() };
        requirements.include(file, DEPTH)?;
        Ok(Some(requirements).filter(|requirements| requirements.has_more || !requirements.lines.is_empty()))
    }

    fn include(&mut self, file: &Path, depth: usize) -> Result<(), String> {
        let cannot = |reason: String| format!("{} cannot be read: {reason}", file.display());
        if depth == 0 {
            return Err(cannot("files include each other without end".to_owned()));
        }
        let size = std::fs::metadata(file).map_err(|error| cannot(error.to_string()))?.len();
        if size > LONGEST {
            return Err(cannot(format!("it is longer than {LONGEST} bytes")));
        }
        let text = std::fs::read_to_string(file).map_err(|error| cannot(error.to_string()))?;
        self.hash.update(text.as_bytes());
        self.hash.update([0]);
        let text = text.replace("\\\n", " ").replace("\\\r\n", " ");
        for line in text.lines() {
            // A `#` begins a comment at the beginning or behind a blank; else it belongs to a URL.
            let line = match line.find(" #") {
                _ if line.trim_start().starts_with('#') => "",
                Some(at) => &line[..at],
                None => line,
            };
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            let included = ["-r", "--requirement", "-c", "--constraint"].iter().find_map(|option| {
                let rest = line.strip_prefix(option)?;
                rest.starts_with([' ', '=', '\t']).then(|| rest[1..].trim())
            });
            match included {
                Some(name) if !name.contains("://") => {
                    let folder = file.parent().unwrap_or(Path::new("."));
                    self.include(&folder.join(name), depth - 1)?;
                    self.has_more |= line.starts_with("-c") || line.starts_with("--constraint");
                }
                _ if line.starts_with('-') => self.has_more |= asks_for_something(line),
                _ => self.lines.push(line.to_owned()),
            }
        }
        Ok(())
    }

    /// The same for the same content and the same kind of Python.
    pub fn key(&self, version: (u32, u32)) -> String {
        let digest = self.hash.clone().finalize();
        let hash = hex(&digest[..12]);
        format!("python{}.{}-{}-{hash}", version.0, version.1, std::env::consts::ARCH)
    }

    /// Whether every one of them is installed in one of the folders, as far as can be told.
    pub fn are_met_by(&self, folders: &[PathBuf]) -> bool {
        if self.has_more || self.lines.is_empty() {
            return false;
        }
        let installed = installed(folders);
        self.lines.iter().all(|line| match Requirement::parse(line) {
            Some(wanted) => installed.get(&wanted.name).is_some_and(|version| wanted.allows(version)),
            None => false,
        })
    }
}

/// Options such as `--index-url` only say where from.
fn asks_for_something(line: &str) -> bool {
    line.starts_with("-e") || line.starts_with("--editable")
}

/// `name[extras] >= 1.2, < 2 ; marker`
struct Requirement {
    name: String,
    bounds: Vec<(String, String)>,
}

impl Requirement {
    /// `None`: it is a URL, a path, or has extras or a marker, which may mean other packages too.
    fn parse(line: &str) -> Option<Self> {
        let line = line.split(" --hash").next()?.trim();
        if line.contains(['[', ';', '@', '/', '(']) {
            return None;
        }
        let end = line
            .find(|letter: char| !(letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.')))
            .unwrap_or(line.len());
        let (name, bounds) = line.split_at(end);
        let mut parsed = Vec::new();
        for bound in bounds.split(',').map(str::trim).filter(|bound| !bound.is_empty()) {
            let end = bound.find(|letter: char| !matches!(letter, '=' | '<' | '>' | '!' | '~'))?;
            parsed.push((bound[..end].to_owned(), bound[end..].trim().to_owned()));
        }
        (!name.is_empty()).then(|| Self { name: canonical(name), bounds: parsed })
    }

    fn allows(&self, version: &str) -> bool {
        self.bounds.iter().all(|(operator, bound)| {
            if operator == "===" {
                return version == bound;
            }
            let (Some(version), Some(bound)) = (numbers(version), numbers(bound)) else { return false };
            match operator.as_str() {
                "==" => version == bound,
                "!=" => version != bound,
                ">=" => version >= bound,
                "<=" => version <= bound,
                ">" => version > bound,
                "<" => version < bound,
                _ => false,
            }
        })
    }
}

/// `None`: not only numbers, so it is not compared here. Zeros at the end mean nothing.
fn numbers(version: &str) -> Option<Vec<u64>> {
    let mut numbers: Vec<u64> = version.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    while numbers.last() == Some(&0) {
        numbers.pop();
    }
    Some(numbers)
}

/// Names that mean the same package are written in the same way.
fn canonical(name: &str) -> String {
    let mut canonical = String::with_capacity(name.len());
    for letter in name.chars() {
        if matches!(letter, '-' | '_' | '.') {
            if !canonical.ends_with('-') {
                canonical.push('-');
            }
        } else {
            canonical.push(letter.to_ascii_lowercase());
        }
    }
    canonical
}

/// `NAME-VERSION.dist-info`, in all the folders.
fn installed(folders: &[PathBuf]) -> BTreeMap<String, String> {
    let mut installed = BTreeMap::new();
    for folder in folders {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(known) = name.to_str().and_then(|name| name.strip_suffix(".dist-info")) else {
                continue;
            };
            if let Some((name, version)) = known.rsplit_once('-') {
                installed.entry(canonical(name)).or_insert_with(|| version.to_owned());
            }
        }
    }
    installed
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str) -> (tempfile::TempDir, Option<Requirements>) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("requirements.txt");
        std::fs::write(&file, text).unwrap();
        let requirements = Requirements::read(&file).unwrap();
        (folder, requirements)
    }

    fn met(text: &str, dist_info: &[&str]) -> bool {
        let (_folder, requirements) = written(text);
        let site = tempfile::tempdir().unwrap();
        for name in dist_info {
            std::fs::create_dir(site.path().join(name)).unwrap();
        }
        requirements.unwrap().are_met_by(&[site.path().to_owned()])
    }

    #[test]
    fn comments_and_continued_lines() {
        assert!(written("# nothing\n\n  # at all\n").1.is_none());
        let (_, requirements) = written("requests # for HTTP\nboto3==1.0 \\\n  --hash=sha256:00\n");
        assert_eq!(requirements.unwrap().lines, ["requests", "boto3==1.0    --hash=sha256:00"]);
    }

    #[test]
    fn what_meets_them() {
        assert!(met("Flask_Cors\n", &["flask_cors-4.0.dist-info"]));
        assert!(met("requests>=2.0,<3\n", &["requests-2.32.1.dist-info"]));
        assert!(met("a==1.0\n", &["a-1.0.0.dist-info"]));
        assert!(!met("a==1.0\nb\n", &["a-1.0.dist-info"]));
        assert!(!met("requests>=2.0,<2.10\n", &["requests-2.32.1.dist-info"]));
        assert!(!met("a~=1.0\n", &["a-1.0.dist-info"]));
        assert!(!met("a[b]\n", &["a-1.0.dist-info"]));
        assert!(!met("./local\n", &[]));
        assert!(!met("-e .\n", &[]));
        assert!(met("--index-url https://example.com/simple\na\n", &["a-1.0rc1.dist-info"]));
        assert!(!met("a>=1.0\n", &["a-1.0rc1.dist-info"]));
    }

    #[test]
    fn the_key_follows_every_file_and_the_version() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("requirements.txt");
        std::fs::write(&file, "-r more.txt\n").unwrap();
        let key = || Requirements::read(&file).unwrap().unwrap().key((3, 12));
        Requirements::read(&file).unwrap_err();
        std::fs::write(folder.path().join("more.txt"), "a==1\n").unwrap();
        let before = key();
        assert_eq!(before, key());
        std::fs::write(folder.path().join("more.txt"), "a==2\n").unwrap();
        assert_ne!(before, key());
        assert_ne!(key(), Requirements::read(&file).unwrap().unwrap().key((3, 13)));
        std::fs::write(folder.path().join("more.txt"), "-r requirements.txt\n").unwrap();
        assert!(Requirements::read(&file).unwrap_err().contains("without end"));
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "\\PC{0,200}") {
            let (folder, requirements) = written(&text.replace("-r", "r").replace("-c", "c"));
            if let Some(requirements) = requirements {
                requirements.are_met_by(&[folder.path().to_owned()]);
                requirements.key((3, 12));
            }
        }
    }
}

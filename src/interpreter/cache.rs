//! What interpreters answered earlier, kept in a file so that a start need not run them again.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process;

use serde::{Deserialize, Serialize};

use super::probe::{Facts, SCRIPT};

#[derive(Debug)]
pub(super) struct Cache {
    file: Option<PathBuf>,
    entries: BTreeMap<String, Entry>,
    changed: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Contents {
    /// Answers to other questions than ours are of no use.
    question: u64,
    interpreters: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    stamp: Stamp,
    facts: Facts,
}

/// Changes whenever the file is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    seconds: i64,
    nanoseconds: i64,
    size: u64,
}

#[derive(Debug)]
pub(super) struct Key {
    path: String,
    stamp: Stamp,
}

impl Key {
    /// `None` for a path that JSON cannot hold; it is simply asked each time.
    pub(super) fn of(real: &Path) -> Option<Key> {
        let file = real.metadata().ok()?;
        let stamp = Stamp { seconds: file.mtime(), nanoseconds: file.mtime_nsec(), size: file.size() };
        Some(Key { path: real.to_str()?.to_owned(), stamp })
    }
}

impl Cache {
    /// A file that is missing or makes no sense is an empty cache.
    pub(super) fn load(file: Option<&Path>) -> Cache {
        let contents = file
            .and_then(|file| fs::read(file).ok())
            .and_then(|bytes| serde_json::from_slice::<Contents>(&bytes).ok())
            .filter(|contents| contents.question == question());
        Cache {
            file: file.map(Path::to_owned),
            entries: contents.map(|contents| contents.interpreters).unwrap_or_default(),
            changed: false,
        }
    }

    pub(super) fn get(&self, key: &Key) -> Option<Facts> {
        let entry = self.entries.get(&key.path)?;
        (entry.stamp == key.stamp).then(|| entry.facts.clone())
    }

    pub(super) fn put(&mut self, key: Key, facts: &Facts) {
        let known = self.entries.get(&key.path);
        if known.is_none_or(|entry| entry.stamp != key.stamp || entry.facts != *facts) {
            self.entries.insert(key.path, Entry { stamp: key.stamp, facts: facts.clone() });
            self.changed = true;
        }
    }

    /// Written aside and renamed: another process reads either the old file or the new one. A cache
    /// that cannot be written costs some milliseconds at the next start and nothing else.
    pub(super) fn save(&mut self) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        let Some(file) = &self.file else { return };
        self.entries.retain(|path, _| Path::new(path).exists());
        let contents = Contents { question: question(), interpreters: self.entries.clone() };
        let Ok(bytes) = serde_json::to_vec_pretty(&contents) else { return };
        if let Some(folder) = file.parent() {
            let _ = fs::create_dir_all(folder);
        }
        let mut name = file.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.new", process::id()));
        let aside = file.with_file_name(name);
        if fs::write(&aside, bytes).and_then(|()| fs::rename(&aside, file)).is_err() {
            let _ = fs::remove_file(&aside);
        }
    }
}

fn question() -> u64 {
    let mut hasher = DefaultHasher::new();
    SCRIPT.hash(&mut hasher);
    hasher.finish()
}

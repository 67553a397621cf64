//! How the lines of the audit log hold together, and whether they still do.

use std::fmt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::FILE;
use crate::defences;
use crate::hexadecimal::hex;

/// Behind it comes the hash of all that stands before it, and nothing but the end of the line.
const BEFORE_HASH: &str = ",\"hash\":\"";

/// A line, and its hash.
pub fn line(number: u64, time: Timestamp, fields: Map<String, Value>, previous: &str) -> (String, String) {
    let mut whole = Map::new();
    whole.insert("n".to_owned(), number.into());
    whole.insert("time".to_owned(), time.to_string().into());
    whole.extend(fields);
    whole.insert("previous".to_owned(), previous.into());
    let mut text = Value::Object(whole).to_string();
    text.pop();
    let hash = hex(&Sha256::digest(text.as_bytes()));
    (format!("{text}{BEFORE_HASH}{hash}\"}}\n"), hash)
}

/// Number and hash of a line, without a look at whether they are right.
pub fn end_of(line: &[u8]) -> Option<(u64, String)> {
    let value: Value = serde_json::from_slice(line).ok()?;
    Some((value["n"].as_u64()?, value["hash"].as_str()?.to_owned()))
}

/// Files that are not written to any more, the oldest first.
pub fn put_away(folder: &Path) -> Vec<(u64, PathBuf)> {
    let number = |path: &Path| {
        let name = path.file_name()?.to_str()?;
        name.strip_prefix("audit.")?.strip_suffix(".log")?.parse().ok()
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<(u64, PathBuf)> =
        entries.filter_map(|entry| Some((number(&entry.path())?, entry.path()))).collect();
    files.sort();
    files
}

/// What became of the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Whole { changes: usize, files: usize, first: u64, hash: String },
    Broken { file: PathBuf, line: usize, reason: String },
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole { changes, files, first, hash } => {
                let s = |number: usize| if number == 1 { "" } else { "s" };
                write!(formatter, "{changes} change{} in {files} file{}, ", s(*changes), s(*files))?;
                match first {
                    0 | 1 => write!(formatter, "all as they were written")?,
                    first => write!(formatter, "from number {first} on all as they were written")?,
                }
                if hash.is_empty() { Ok(()) } else { write!(formatter, "; the last hash is {hash}") }
            }
            Self::Broken { file, line, reason } => write!(formatter, "{}:{line}: {reason}", file.display()),
        }
    }
}

/// Looks at every line of every file.
pub fn verify(folder: &Path) -> std::io::Result<Verdict> {
    let (mut changes, mut files, mut first) = (0, 0, 0);
    let mut end: Option<(u64, String)> = None;
    for file in all(folder) {
        let text = std::fs::read(&file)?;
        files += 1;
        for (index, bytes) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
            match check(bytes, end.as_ref()) {
                Ok((number, hash)) => {
                    if end.is_none() {
                        first = number;
                    }
                    end = Some((number, hash));
                    changes += 1;
                }
                Err(reason) => return Ok(Verdict::Broken { file, line: index + 1, reason }),
            }
        }
    }
    Ok(Verdict::Whole { changes, files, first, hash: end.map(|(_, hash)| hash).unwrap_or_default() })
}

/// Every entry that can be read, the oldest first.
pub fn entries(folder: &Path) -> std::io::Result<Vec<Value>> {
    let mut entries = Vec::new();
    for file in all(folder) {
        let text = std::fs::read(&file)?;
        entries
            .extend(text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()));
    }
    Ok(entries)
}

fn all(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = put_away(folder).into_iter().map(|(_, path)| path).collect();
    files.extend(Some(folder.join(FILE)).filter(|path| path.exists()));
    files
}

/// One line behind another: its number and hash.
fn check(bytes: &[u8], previous: Option<&(u64, String)>) -> Result<(u64, String), String> {
    let Some(line) = bytes.strip_suffix(b"\n") else { return Err("this line is cut off".to_owned()) };
    let changed = || "this line has been changed".to_owned();
    let text = std::str::from_utf8(line).map_err(|_| changed())?;
    let (before, after) = text.rsplit_once(BEFORE_HASH).ok_or_else(changed)?;
    let hash = after.strip_suffix("\"}").ok_or_else(changed)?;
    if hex(&Sha256::digest(before.as_bytes())) != hash && !defences::off("audit-hash") {
        return Err(changed());
    }
    let value: Value = serde_json::from_str(text).map_err(|_| changed())?;
    let number = value["n"].as_u64().ok_or_else(changed)?;
    let told = value["previous"].as_str().ok_or_else(changed)?;
    match previous {
        Some((former, _)) if number != former + 1 => {
            Err(format!("lines are missing or have been put in: number {number} follows on number {former}"))
        }
        Some((_, hash)) if hash != told => {
            Err("the line before this one is not the one that it followed".to_owned())
        }
        _ => Ok((number, hash.to_owned())),
    }
}

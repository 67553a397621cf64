//! The audit log: every change, who made it, from where, and what became of it; lines that only follow
//! each other, in files of the state folder.
//!
//! Each line has the hash of the one before it, and its own: none can be changed, left out or put in
//! without all later ones being written anew. It is on the disk before the client is answered.

mod chain;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::{Map, Value};

pub use chain::{Verdict, entries, verify};

/// The file that is written to; earlier ones have a number: `audit.000001.log`.
pub const FILE: &str = "audit.log";
/// When a file is put away, and how many of those are kept: a gigabyte.
const LONGEST_FILE: u64 = 16 << 20;
const FILES_KEPT: usize = 64;

/// A cheap handle.
#[derive(Clone)]
pub struct Audit(Arc<Shared>);

struct Shared {
    folder: PathBuf,
    longest: u64,
    open: Mutex<Option<Open>>,
}

/// The file, and where its chain ends.
struct Open {
    file: File,
    length: u64,
    number: u64,
    hash: String,
}

/// What is told of one change.
#[derive(Debug, Clone, Default)]
pub struct Change {
    pub who: String,
    pub from: String,
    /// `lambda:UpdateFunctionCode`
    pub action: String,
    pub resource: String,
    /// Method and path, of a request.
    pub request: Option<String>,
    /// As Lambda writes it, of the code that there is now.
    pub code_sha256: Option<String>,
    /// `done`, `failed`, `denied`
    pub outcome: &'static str,
    pub status: Option<u16>,
}

impl Audit {
    pub fn open(state_dir: &Path) -> std::io::Result<Self> {
        Self::with(state_dir, LONGEST_FILE)
    }

    pub(super) fn with(state_dir: &Path, longest: u64) -> std::io::Result<Self> {
        let open = Open::continued(state_dir)?;
        Ok(Self(Arc::new(Shared { folder: state_dir.to_owned(), longest, open: Mutex::new(Some(open)) })))
    }

    /// Whether a change could be recorded. Blocks for as long as a write does.
    pub fn check(&self) -> std::io::Result<()> {
        let mut open = self.0.open.lock().unwrap();
        if open.is_none() {
            *open = Some(Open::continued(&self.0.folder)?);
        }
        Ok(())
    }

    /// Blocks until it is on the disk.
    pub fn record(&self, change: &Change) -> std::io::Result<()> {
        let mut guard = self.0.open.lock().unwrap();
        let mut open = match guard.take() {
            Some(open) => open,
            None => Open::continued(&self.0.folder)?,
        };
        // What fails here leaves the file closed: the next change looks at it anew.
        if open.length >= self.0.longest {
            open = open.turned(&self.0.folder)?;
        }
        open.append(change.fields())?;
        *guard = Some(open);
        Ok(())
    }
}

impl Change {
    fn fields(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        let mut set = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
        let short = |text: &str| Value::from(text.chars().take(1024).collect::<String>());
        set("who", short(&self.who));
        set("from", short(&self.from));
        set("action", short(&self.action));
        set("resource", short(&self.resource));
        if let Some(request) = &self.request {
            set("request", short(request));
        }
        if let Some(code) = &self.code_sha256 {
            set("code_sha256", short(code));
        }
        set("outcome", self.outcome.into());
        if let Some(status) = self.status {
            set("status", status.into());
        }
        fields
    }
}

impl Open {
    /// Where the chain ended. A line that a crash has cut off is taken away, and that is recorded.
    fn continued(folder: &Path) -> std::io::Result<Self> {
        let path = folder.join(FILE);
        let is_new = !path.exists();
        let mut file = File::options().create(true).read(true).append(true).mode(0o600).open(&path)?;
        let length = file.seek(SeekFrom::End(0))?;
        if is_new {
            File::open(folder)?.sync_all()?;
        }
        // Far more than the longest line.
        let tail_begins = length.saturating_sub(64 * 1024);
        file.seek(SeekFrom::Start(tail_begins))?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail)?;
        let whole = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let cut_off = tail.len() - whole;
        let last = tail[..whole].trim_ascii_end().rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        let (number, hash) = match chain::end_of(last) {
            Some(end) => end,
            None if length - cut_off as u64 == 0 => earlier_end(folder),
            // Somebody has changed the last line: the chain begins anew, and `verify` names the place.
            None => (0, String::new()),
        };
        let mut open = Self { file, length, number, hash };
        if cut_off > 0 {
            open.length -= cut_off as u64;
            open.file.set_len(open.length)?;
            let change = Change {
                who: "handlerd".to_owned(),
                action: "handlerd:RemoveUnfinishedLine".to_owned(),
                resource: format!("{cut_off} bytes, which a crash had cut off"),
                outcome: "done",
                ..Change::default()
            };
            open.append(change.fields())?;
        }
        Ok(open)
    }

    fn append(&mut self, fields: Map<String, Value>) -> std::io::Result<()> {
        let (line, hash) = chain::line(self.number + 1, jiff::Timestamp::now(), fields, &self.hash);
        self.file.write_all(line.as_bytes())?;
        self.file.sync_data()?;
        self.length += line.len() as u64;
        self.number += 1;
        self.hash = hash;
        Ok(())
    }

    /// Puts the file away under its number; the chain goes on in a new one.
    fn turned(self, folder: &Path) -> std::io::Result<Self> {
        let put_away = chain::put_away(folder);
        let next = put_away.last().map_or(1, |(number, _)| number + 1);
        std::fs::rename(folder.join(FILE), folder.join(format!("audit.{next:06}.log")))?;
        for (_, path) in put_away.iter().take((put_away.len() + 1).saturating_sub(FILES_KEPT)) {
            std::fs::remove_file(path)?;
        }
        let path = folder.join(FILE);
        let file = File::options().create_new(true).read(true).append(true).mode(0o600).open(path)?;
        File::open(folder)?.sync_all()?;
        Ok(Self { file, length: 0, ..self })
    }
}

/// Where the chain ends in the last file that was put away.
fn earlier_end(folder: &Path) -> (u64, String) {
    let last = chain::put_away(folder).pop().and_then(|(_, path)| std::fs::read(path).ok());
    let text = last.unwrap_or_default();
    let line = text.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    chain::end_of(line).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(action: &str) -> Change {
        Change {
            who: "kim".into(),
            from: "127.0.0.1".into(),
            action: action.into(),
            outcome: "done",
            ..Change::default()
        }
    }

    fn verdict(folder: &Path) -> String {
        verify(folder).unwrap().to_string()
    }

    #[test]
    fn every_byte_counts() {
        let folder = tempfile::tempdir().unwrap();
        let audit = Audit::open(folder.path()).unwrap();
        for number in 0..4 {
            audit.record(&change(&format!("lambda:Change{number}"))).unwrap();
        }
        let path = folder.path().join(FILE);
        let whole = std::fs::read(&path).unwrap();
        assert!(verdict(folder.path()).starts_with("4 changes in 1 file, "), "{}", verdict(folder.path()));
        let mut line = 1;
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            std::fs::write(&path, &changed).unwrap();
            let told = verify(folder.path()).unwrap();
            let named = matches!(&told, Verdict::Broken { line: known, .. } if *known == line);
            assert!(named, "byte {at} of line {line}: {told}");
            line += usize::from(whole[at] == b'\n');
        }
        // Lines left out, doubled or exchanged.
        let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
        for (order, wrong) in [(&[0, 2, 3][..], 2), (&[0, 1, 1, 2], 3), (&[1, 0, 2, 3], 2)] {
            std::fs::write(&path, order.iter().map(|line| lines[*line]).collect::<Vec<_>>().concat())
                .unwrap();
            let told = verify(folder.path()).unwrap();
            assert!(matches!(&told, Verdict::Broken { line, .. } if *line == wrong), "{order:?}: {told}");
        }
    }

    #[test]
    fn the_chain_goes_on_over_restarts_crashes_and_files() {
        let folder = tempfile::tempdir().unwrap();
        for round in 0..5 {
            let audit = Audit::with(folder.path(), 700).unwrap();
            (0..4).for_each(|number| audit.record(&change(&format!("{round} {number}"))).unwrap());
        }
        let told = verdict(folder.path());
        assert!(told.starts_with("20 changes in ") && !told.contains("in 1 file"), "{told}");
        // A crash in the middle of a line.
        let path = folder.path().join(FILE);
        let mut file = File::options().append(true).open(&path).unwrap();
        file.write_all(b"{\"n\":21,\"time\":").unwrap();
        assert!(verdict(folder.path()).contains("is cut off"), "{}", verdict(folder.path()));
        Audit::open(folder.path()).unwrap().record(&change("after")).unwrap();
        assert!(verdict(folder.path()).starts_with("22 changes"), "{}", verdict(folder.path()));
        // A whole file that is gone is noticed, unless it was the oldest.
        let (_, second) = chain::put_away(folder.path()).remove(1);
        std::fs::remove_file(second).unwrap();
        assert!(matches!(verify(folder.path()).unwrap(), Verdict::Broken { .. }));
        let shown: Vec<_> = entries(folder.path()).unwrap();
        assert_eq!(shown.last().unwrap()["action"], "after");
    }

    #[test]
    fn only_the_owner_may_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        Audit::open(folder.path()).unwrap().record(&change("x")).unwrap();
        let about = std::fs::metadata(folder.path().join(FILE)).unwrap();
        assert_eq!(about.permissions().mode() & 0o777, 0o600);
    }
}

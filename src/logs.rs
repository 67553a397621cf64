//! Log records of functions, kept by function and request: START to REPORT, as CloudWatch would.
//!
//! Written by a thread of its own, so that a request never waits for a disk; what does not fit into
//! the line before it is dropped and counted. One file a function, `logs/NAME.log` in the state
//! folder, with the one before it as `NAME.log.1`. Each line is a record:
//! `2026-11-22T12:00:00.123Z<TAB>REQUEST_ID<TAB>TEXT`.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::time::{Duration, SystemTime};

/// Invocations that may wait to be written.
const QUEUE: usize = 4096;
/// A file longer than this becomes the one before.
const FILE_LIMIT: u64 = 16 * 1024 * 1024;

/// The log of one invocation.
pub struct Record {
    pub function: String,
    pub request_id: String,
    pub time: SystemTime,
    pub text: Vec<u8>,
}

/// A cheap handle; the thread ends when the last one is dropped.
#[derive(Clone)]
pub struct Logs {
    sender: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

enum Message {
    Record(Record),
    Flush(mpsc::Sender<()>),
}

impl Logs {
    pub fn open(state_dir: &Path) -> std::io::Result<Self> {
        let folder = folder(state_dir);
        std::fs::create_dir_all(&folder)?;
        let (sender, receiver) = mpsc::sync_channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let mut writer = Writer { folder, files: HashMap::new(), dropped: dropped.clone() };
        std::thread::Builder::new().name("logs".into()).spawn(move || {
            while let Ok(message) = receiver.recv() {
                // Everything that has gathered meanwhile goes out with one write per file.
                let mut flushed = Vec::new();
                for message in std::iter::once(message).chain(receiver.try_iter().take(QUEUE)) {
                    match message {
                        Message::Record(record) => writer.add(&record),
                        Message::Flush(done) => flushed.push(done),
                    }
                }
                writer.write();
                for done in flushed {
                    let _ = done.send(());
                }
            }
        })?;
        Ok(Self { sender, dropped })
    }

    pub fn append(&self, record: Record) {
        if self.sender.try_send(Message::Record(record)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until all that was appended is in the files.
    pub fn flush(&self) {
        let (done, finished) = mpsc::channel();
        if self.sender.send(Message::Flush(done)).is_ok() {
            let _ = finished.recv_timeout(Duration::from_secs(5));
        }
    }
}

struct Writer {
    folder: PathBuf,
    files: HashMap<String, Open>,
    dropped: Arc<AtomicU64>,
}

struct Open {
    file: Option<File>,
    length: u64,
    pending: Vec<u8>,
}

impl Writer {
    fn add(&mut self, record: &Record) {
        let open = self.files.entry(record.function.clone()).or_insert_with(|| Open {
            file: None,
            length: 0,
            pending: Vec::new(),
        });
        let time = jiff::Timestamp::try_from(record.time).unwrap_or_default();
        let text = String::from_utf8_lossy(&record.text);
        for line in text.lines() {
            // A record is one line: what would break it, or dress it up as another, is escaped.
            let line = escape_control(line);
            let _ = writeln!(open.pending, "{time:.3}\t{}\t{line}", record.request_id);
        }
    }

    fn write(&mut self) {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            tracing::warn!(
                "the logs of {dropped} invocations were not written: the disk is too slow for them"
            );
        }
        for (function, open) in &mut self.files {
            if open.pending.is_empty() {
                continue;
            }
            let path = self.folder.join(format!("{function}.log"));
            if let Err(error) = write_out(&path, open) {
                tracing::warn!("could not write {}: {error}", path.display());
                open.file = None;
            }
            open.pending.clear();
        }
    }
}

fn write_out(path: &Path, open: &mut Open) -> std::io::Result<()> {
    if open.length > FILE_LIMIT {
        std::fs::rename(path, path.with_extension("log.1"))?;
        open.file = None;
    }
    if open.file.is_none() {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        open.length = file.metadata()?.len();
        open.file = Some(file);
    }
    let file = open.file.as_mut().expect("opened above");
    file.write_all(&open.pending)?;
    open.length += open.pending.len() as u64;
    Ok(())
}

/// Control characters, made visible; tabs stay.
pub fn escape_control(line: &str) -> String {
    if line.chars().all(|c| c == '\t' || !c.is_control()) {
        return line.to_owned();
    }
    let mut escaped = String::with_capacity(line.len() + 8);
    for character in line.chars() {
        match character {
            '\t' => escaped.push('\t'),
            c if c.is_control() => escaped.extend(c.escape_default()),
            c => escaped.push(c),
        }
    }
    escaped
}

fn folder(state_dir: &Path) -> PathBuf {
    state_dir.join("logs")
}

/// Reads what was kept, from oldest to newest, and what comes after.
pub struct Reader {
    files: Vec<Followed>,
}

struct Followed {
    function: String,
    path: PathBuf,
    position: u64,
}

/// One line of a function's log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    pub time: String,
    pub function: String,
    pub request_id: String,
    pub text: String,
}

impl Reader {
    /// The logs of one function, or of all.
    pub fn open(state_dir: &Path, function: Option<&str>) -> Self {
        let mut reader = Self { files: Vec::new() };
        reader.find_files(&folder(state_dir), function);
        reader
    }

    fn find_files(&mut self, folder: &Path, function: Option<&str>) {
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        // `NAME.log.1` holds what is older.
        paths.sort_by_key(|path| {
            std::cmp::Reverse(path.extension().is_some_and(|extension| extension == "1"))
        });
        for path in paths {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let Some((owner, _)) = name.split_once(".log") else { continue };
            let known = self.files.iter().any(|file| file.path == path);
            if !known && function.is_none_or(|function| function == owner) {
                self.files.push(Followed { function: owner.to_owned(), path, position: 0 });
            }
        }
    }

    /// Complete lines that have come since the last call, in the order of their times.
    pub fn next_lines(&mut self, state_dir: &Path, function: Option<&str>) -> Vec<Line> {
        self.find_files(&folder(state_dir), function);
        let mut lines = Vec::new();
        for file in &mut self.files {
            // Rotated: the file that stands there now is another.
            if std::fs::metadata(&file.path).is_ok_and(|metadata| metadata.len() < file.position) {
                file.position = 0;
            }
            let _ = read_lines(file, &mut lines);
        }
        lines.sort_by(|a, b| a.time.cmp(&b.time));
        lines
    }
}

fn read_lines(file: &mut Followed, lines: &mut Vec<Line>) -> std::io::Result<()> {
    let mut reader = BufReader::new(File::open(&file.path)?);
    reader.seek(SeekFrom::Start(file.position))?;
    let mut text = Vec::new();
    loop {
        text.clear();
        let read = reader.read_until(b'\n', &mut text)?;
        if !text.ends_with(b"\n") {
            return Ok(());
        }
        file.position += read as u64;
        let line = String::from_utf8_lossy(&text);
        let mut parts = line.trim_end_matches('\n').splitn(3, '\t');
        if let (Some(time), Some(request_id), Some(text)) = (parts.next(), parts.next(), parts.next()) {
            lines.push(Line {
                time: time.to_owned(),
                function: file.function.clone(),
                request_id: request_id.to_owned(),
                text: text.to_owned(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_in_order() {
        let state = tempfile::tempdir().unwrap();
        let logs = Logs::open(state.path()).unwrap();
        let record = |function: &str, second: u64, text: &str| Record {
            function: function.into(),
            request_id: format!("id-{second}"),
            time: SystemTime::UNIX_EPOCH + Duration::from_secs(second),
            text: text.as_bytes().to_vec(),
        };
        logs.append(record("b", 2, "START\nevil\u{1b}[31m\rline\nEND"));
        logs.append(record("a", 1, "one"));
        logs.flush();
        let mut reader = Reader::open(state.path(), None);
        let lines = reader.next_lines(state.path(), None);
        let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts, ["one", "START", "evil\\u{1b}[31m\\rline", "END"]);
        assert_eq!(lines[0].time, "1970-01-01T00:00:01.000Z");
        assert!(reader.next_lines(state.path(), None).is_empty());
        logs.append(record("a", 3, "later"));
        logs.flush();
        assert_eq!(reader.next_lines(state.path(), None)[0].text, "later");
        assert_eq!(Reader::open(state.path(), Some("b")).next_lines(state.path(), Some("b")).len(), 3);
    }
}

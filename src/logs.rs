//! Log records of functions, kept by function and request: START to REPORT, as CloudWatch would.
//!
//! Written by a thread of its own, so that a request never waits for a disk; what does not fit into
//! the line before it is dropped and counted. One file a function, `logs/NAME.log` in the state
//! folder, with the one before it as `NAME.log.1`. Each line is a record:
//! `2026-11-22T12:00:00.123Z<TAB>REQUEST_ID<TAB>TEXT`.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use foldhash::HashMap;
use tokio::sync::broadcast;

/// Bytes that may wait to be written.
const QUEUE: usize = 16 * 1024 * 1024;
/// Records gather for so long before they are written: a thousand of them cost one wake-up.
const GATHER: Duration = Duration::from_millis(10);
/// A file longer than this becomes the one before.
const FILE_LIMIT: u64 = 16 * 1024 * 1024;

/// Records that may wait for somebody who follows, before some are missed.
const BEHIND: usize = 1024;
/// Of a file, so much is looked through for its last records.
const LOOKED_THROUGH: u64 = 1024 * 1024;

/// The log of one invocation.
#[derive(Clone)]
pub struct Record {
    pub function: String,
    pub request_id: String,
    pub time: SystemTime,
    pub text: Vec<u8>,
}

/// A cheap handle; the thread ends when the last one is dropped.
#[derive(Clone)]
pub struct Logs(Arc<Handle>);

struct Handle(Arc<Queue>, broadcast::Sender<Arc<Record>>);

/// Between those who log and the thread that writes.
#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    records: Vec<Record>,
    bytes: usize,
    dropped: u64,
    /// Batches taken, and batches written: `flush` waits for them to meet.
    taken: u64,
    written: u64,
    urgent: bool,
    closed: bool,
}

impl Logs {
    pub fn open(state_dir: &Path) -> std::io::Result<Self> {
        let folder = folder(state_dir);
        std::fs::create_dir_all(&folder)?;
        let queue = Arc::new(Queue::default());
        let writer = Writer { folder, files: HashMap::default(), clock: Clock::default() };
        std::thread::Builder::new().name("logs".into()).spawn({
            let queue = queue.clone();
            move || queue.write_with(writer)
        })?;
        Ok(Self(Arc::new(Handle(queue, broadcast::Sender::new(BEHIND)))))
    }

    /// Records as they come, before they are in the files.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Record>> {
        self.0.1.subscribe()
    }

    pub fn append(&self, record: Record) {
        if self.0.1.receiver_count() > 0 {
            let _ = self.0.1.send(Arc::new(record.clone()));
        }
        let queue = &self.0.0;
        let mut state = queue.lock();
        if state.bytes + record.text.len() > QUEUE {
            state.dropped += 1;
            return;
        }
        state.bytes += record.text.len();
        state.records.push(record);
        if state.records.len() == 1 {
            queue.changed.notify_all();
        }
    }

    /// Waits until all that was appended is in the files.
    pub fn flush(&self) {
        let queue = &self.0.0;
        let mut state = queue.lock();
        state.urgent = true;
        queue.changed.notify_all();
        let unwritten = |state: &mut State| !state.records.is_empty() || state.written < state.taken;
        let _ = queue.changed.wait_timeout_while(state, Duration::from_secs(5), unwritten);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.changed.notify_all();
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn write_with(&self, mut writer: Writer) {
        loop {
            let (records, dropped) = {
                let mut state = self.lock();
                while state.records.is_empty() && state.dropped == 0 {
                    if state.closed {
                        return;
                    }
                    state.urgent = false;
                    state = self.changed.wait(state).unwrap();
                }
                let gathering = |state: &mut State| !state.urgent && !state.closed;
                state = self.changed.wait_timeout_while(state, GATHER, gathering).unwrap().0;
                state.taken += 1;
                state.bytes = 0;
                (std::mem::take(&mut state.records), std::mem::take(&mut state.dropped))
            };
            if dropped > 0 {
                tracing::warn!(
                    "the logs of {dropped} invocations were not written: the disk is too slow for them"
                );
            }
            for record in &records {
                writer.add(record);
            }
            writer.write();
            self.lock().written += 1;
            self.changed.notify_all();
        }
    }
}

impl Record {
    fn time(&self) -> String {
        format!("{:.3}", jiff::Timestamp::try_from(self.time).unwrap_or_default())
    }

    /// As they will stand in the file.
    pub fn lines(&self) -> Vec<Line> {
        let time = self.time();
        let line = |text: &str| Line {
            time: time.clone(),
            function: self.function.clone(),
            request_id: self.request_id.clone(),
            text: escape_control(text).into_owned(),
        };
        text(&self.text).lines().map(line).collect()
    }
}

struct Writer {
    folder: PathBuf,
    files: HashMap<String, Open>,
    clock: Clock,
}

/// Says times. Most records are of the same second as the one before, which is said already.
#[derive(Default)]
struct Clock {
    second: u64,
    text: String,
}

impl Clock {
    /// `2026-11-22T12:00:00.123Z`
    fn say(&mut self, time: SystemTime) -> &str {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        if self.text.is_empty() || self.second != since.as_secs() {
            self.second = since.as_secs();
            let second = jiff::Timestamp::from_second(self.second as i64).unwrap_or_default();
            self.text = format!("{second:.3}");
        }
        self.text.truncate(self.text.len() - "123Z".len());
        // The one in front keeps the noughts.
        self.text.push_str(&itoa::Buffer::new().format(1000 + since.subsec_millis())[1..]);
        self.text.push('Z');
        &self.text
    }
}

struct Open {
    file: Option<File>,
    length: u64,
    pending: Vec<u8>,
}

impl Writer {
    fn add(&mut self, record: &Record) {
        // Looked up first: an entry would need a name of its own each time.
        if !self.files.contains_key(&record.function) {
            let open = Open { file: None, length: 0, pending: Vec::new() };
            self.files.insert(record.function.clone(), open);
        }
        let pending = &mut self.files.get_mut(&record.function).expect("inserted above").pending;
        let prefix = [self.clock.say(record.time), "\t", &record.request_id, "\t"].concat();
        for line in lines(&text(&record.text)) {
            // A record is one line: what would break it, or dress it up as another, is escaped.
            pending.extend_from_slice(prefix.as_bytes());
            pending.extend_from_slice(escape_control(line).as_bytes());
            pending.push(b'\n');
        }
    }

    fn write(&mut self) {
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

/// Nearly always it is UTF-8, which is soon seen; what is not is replaced.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

/// As `str::lines` has them, whose search looks at one byte after the other.
fn lines(mut text: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let end = memchr::memchr(b'\n', text.as_bytes()).map_or(text.len(), |end| end + 1);
        let (line, rest) = text.split_at(end);
        text = rest;
        if line.is_empty() {
            return None;
        }
        Some(match line.strip_suffix('\n') {
            Some(line) => line.strip_suffix('\r').unwrap_or(line),
            None => line,
        })
    })
}

/// Control characters, made visible; tabs stay.
pub fn escape_control(line: &str) -> Cow<'_, str> {
    // Looked at as a whole, which compilers turn into a few steps.
    let is_special = |byte: u8| !(b' '..=b'~').contains(&byte) & (byte != b'\t');
    if crate::defences::off("escaped-output")
        || !line.bytes().fold(false, |found, byte| found | is_special(byte))
        || line.chars().all(|c| c == '\t' || !c.is_control())
    {
        return Cow::Borrowed(line);
    }
    let mut escaped = String::with_capacity(line.len() + 8);
    for character in line.chars() {
        match character {
            '\t' => escaped.push('\t'),
            c if c.is_control() => escaped.extend(c.escape_default()),
            c => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
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

/// The last lines that are wanted, oldest first; of one function, or of all. Of each file only the end is
/// looked through.
pub fn last(
    state_dir: &Path,
    function: Option<&str>,
    most: usize,
    wanted: impl Fn(&Line) -> bool,
) -> Vec<Line> {
    let mut reader = Reader::open(state_dir, function);
    let mut lines = Vec::new();
    for file in &mut reader.files {
        let length = std::fs::metadata(&file.path).map_or(0, |metadata| metadata.len());
        file.position = length.saturating_sub(LOOKED_THROUGH);
        let mut found = Vec::new();
        let from_the_middle = file.position > 0;
        let _ = read_lines(file, &mut found);
        // What the position has cut in two is no line.
        lines.extend(found.into_iter().skip(usize::from(from_the_middle)).filter(|line| wanted(line)));
    }
    lines.sort_by(|a, b| a.time.cmp(&b.time));
    lines.split_off(lines.len().saturating_sub(most))
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
    fn lines_are_the_librarys() {
        for text in ["", "\n", "a", "a\n", "a\r\n\nb\r", "\r\n", "é\n\n", "a\rb\nc\r\n"] {
            assert_eq!(lines(text).collect::<Vec<_>>(), text.lines().collect::<Vec<_>>(), "{text:?}");
        }
    }

    #[test]
    fn the_clock_says_what_a_record_says() {
        let mut clock = Clock::default();
        for ms in [0, 7, 999, 1000, 1_700_000_000_045, 1_700_000_000_045, 1_700_000_000_999, 5] {
            let time = SystemTime::UNIX_EPOCH + Duration::from_micros(ms * 1000 + 999);
            let record =
                Record { function: String::new(), request_id: String::new(), time, text: Vec::new() };
            assert_eq!(clock.say(time), record.time());
        }
    }

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

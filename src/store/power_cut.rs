//! The store on a disk that loses what was not synced, and on one whose syncs fail.
//!
//! A child process writes, deletes and cleans up under `strace`, which records every write, sync,
//! truncation, creation and deletion of SQLite's files in their order, and every answer that a
//! caller got between. At each point of the record the power is cut: what was synced is on the disk;
//! of what was not, some is, some is not, and some is torn at a sector. The store is opened from
//! that, and every answer given before must hold.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::{Key, Store};

const CHILD: &str = "HANDLERD_TEST_POWER_CUT_CHILD";
const FIRST: &str = "HANDLERD_TEST_POWER_CUT_FIRST";
const CRASH: &str = "HANDLERD_TEST_POWER_CUT_CRASH";
const CALLERS: usize = 6;
const ROUNDS: usize = 90;
const SECTOR: usize = 512;

// --- What the child does.

/// Not a test of its own: the process that is recorded.
#[test]
fn the_recorded_process() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    // Of each process on the same folder, others.
    let first = std::env::var(FIRST).map_or(0, |first| first.parse().unwrap());
    let folder = PathBuf::from(folder);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let notes = std::fs::File::options().append(true).create(true).open(folder.join("notes")).unwrap();
        let store = Store::open(&folder).unwrap();
        let callers = (0..CALLERS).map(|caller| {
            let (store, notes) = (store.clone(), notes.try_clone().unwrap());
            tokio::spawn(call(store, first + caller * ROUNDS, notes))
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await.unwrap();
        }
    });
}

/// Each note is one write, so that its place among the others is its time.
fn note(mut notes: &std::fs::File, kind: char, id: usize) {
    notes.write_all(format!("{kind}{id}\n").as_bytes()).unwrap();
}

async fn call(store: Store, first: usize, notes: std::fs::File) {
    for round in 0..ROUNDS {
        let id = first + round;
        let name = id.to_string();
        match store.put_resource(key(&name), document(id)).await {
            Ok(()) => note(&notes, '+', id),
            Err(_) => {
                note(&notes, '!', id);
                if std::env::var_os(CRASH).is_some() {
                    std::process::abort();
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
        if round % 3 == 2 {
            let (gone, name) = (id - 2, (id - 2).to_string());
            note(&notes, 'b', gone);
            if store.delete_resource(key(&name)).await.is_ok() {
                note(&notes, '-', gone);
            }
        }
        if round % 40 == 39 {
            let _ = store.keep_house(std::time::SystemTime::now()).await;
        }
    }
}

fn key(name: &str) -> Key<'_> {
    Key { kind: "event", owner: "power", name }
}

/// Some fill a part of a page, some many pages.
fn document(id: usize) -> Value {
    let size = if id.is_multiple_of(7) { 9000 } else { 40 + id % 500 };
    json!({"id": id, "filling": char::from(b'a' + (id % 26) as u8).to_string().repeat(size)})
}

// --- What is recorded.

enum Event {
    Create(String),
    Delete(String),
    Write {
        file: String,
        offset: usize,
        data: Vec<u8>,
    },
    Truncate {
        file: String,
        length: usize,
    },
    Sync {
        file: String,
        failed: bool,
    },
    /// Names in the folder are on the disk.
    SyncFolder,
    Note(char, usize),
}

impl Event {
    fn is_failed_sync(&self) -> bool {
        matches!(self, Self::Sync { failed: true, .. })
    }
}

/// `false`, and a line that says so, where there is no strace; on CI that is an error.
fn there_is_strace() -> bool {
    let found = Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success());
    let ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
    assert!(found || !ci, "strace is needed on CI");
    if !found {
        // Past the test runner, which shows only what failing tests print.
        let _ = writeln!(std::io::stderr(), "skipped: there is no strace here (Debian: apt install strace)");
    }
    found
}

fn record(variables: &[(&str, &str)], inject: Option<&str>) -> Vec<Event> {
    let folder = tempfile::tempdir().unwrap();
    let (events, ended) = record_in(folder.path(), variables, inject);
    assert!(ended.success(), "{ended}");
    events
}

/// The record of a process on this folder, and how it ended.
fn record_in(
    folder: &Path,
    variables: &[(&str, &str)],
    inject: Option<&str>,
) -> (Vec<Event>, std::process::ExitStatus) {
    let folder = folder.canonicalize().unwrap();
    let work = folder.join("state");
    std::fs::create_dir_all(&work).unwrap();
    let trace = folder.join("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-xx", "-a", "1", "-s", "70000", "-o"]).arg(&trace);
    command.args(["-e", "trace=openat,pwrite64,write,fsync,fdatasync,ftruncate,unlink,unlinkat"]);
    if let Some(inject) = inject {
        command.args(["-e", &format!("inject={inject}")]);
    }
    command
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "store::power_cut::the_recorded_process", "--nocapture"])
        .env(CHILD, &work)
        .env("HANDLERD_TEST_LOG_PAGES", "60")
        .envs(variables.iter().copied());
    let output = command.output().unwrap_or_else(|error| panic!("strace is needed for this test: {error}"));
    if !output.status.success() {
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    }
    (read(&std::fs::read_to_string(&trace).unwrap(), &work), output.status)
}

fn read(trace: &str, folder: &Path) -> Vec<Event> {
    let mut events = Vec::new();
    let mut unfinished: BTreeMap<&str, String> = BTreeMap::new();
    for line in trace.lines() {
        let (thread, rest) = line.split_once(' ').unwrap();
        let rest = rest.trim_start();
        if let Some(begun) = rest.strip_suffix("<unfinished ...>") {
            unfinished.insert(thread, begun.to_owned());
        } else if let Some((_, ended)) =
            rest.strip_prefix("<... ").and_then(|rest| rest.split_once("resumed>"))
        {
            let Some(begun) = unfinished.remove(thread) else { continue };
            events.extend(event(&(begun + ended), folder));
        } else {
            events.extend(event(rest, folder));
        }
    }
    events
}

fn event(call: &str, folder: &Path) -> Option<Event> {
    let (name, rest) = call.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(") = ")?;
    let failed = result.starts_with('-');
    // The first path or descriptor is what it is about.
    let opened = if name == "openat" { result } else { arguments };
    let named = match name {
        "unlink" | "unlinkat" => between(arguments, '"', '"'),
        _ => between(opened, '<', '>'),
    };
    let path = PathBuf::from(String::from_utf8(unescaped(named?)).ok()?);
    if path == folder {
        return (matches!(name, "fsync" | "fdatasync") && !failed).then_some(Event::SyncFolder);
    }
    if path.parent() != Some(folder) {
        return None;
    }
    let file = path.file_name()?.to_str()?.to_owned();
    let number = |text: &str| text.trim().parse::<usize>().ok();
    if file == "notes" {
        let text = String::from_utf8(unescaped(between(arguments, '"', '"')?)).ok()?;
        let kind = text.chars().next()?;
        return (name == "write").then(|| Event::Note(kind, text.trim()[1..].parse().unwrap()));
    }
    // Made anew by whoever opens it first.
    let recorded = ["handlerd.db", "handlerd.db-wal", "handlerd.db-journal", "handlerd.db-again"];
    if !recorded.contains(&file.as_str()) {
        return None;
    }
    match name {
        "openat" if arguments.contains("O_CREAT") && !failed => Some(Event::Create(file)),
        "unlink" | "unlinkat" if !failed => Some(Event::Delete(file)),
        "fsync" | "fdatasync" => Some(Event::Sync { file, failed }),
        "ftruncate" if !failed => {
            Some(Event::Truncate { file, length: number(arguments.rsplit(',').next()?)? })
        }
        "pwrite64" if !failed => {
            let data = unescaped(between(arguments, '"', '"')?);
            let written: usize = number(result)?;
            assert_eq!(data.len(), written, "a write was not recorded to its end");
            Some(Event::Write { file, offset: number(arguments.rsplit(',').next()?)?, data })
        }
        _ => None,
    }
}

fn between(text: &str, open: char, close: char) -> Option<&str> {
    text.split_once(open)?.1.split_once(close).map(|(inside, _)| inside)
}

/// `\x2f\x74` in bytes; a text without them as it is.
fn unescaped(text: &str) -> Vec<u8> {
    if !text.starts_with("\\x") {
        return text.as_bytes().to_vec();
    }
    text.split("\\x").skip(1).map(|hex| u8::from_str_radix(hex, 16).unwrap()).collect()
}

// --- The disk.

/// Small and repeatable.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33
    }

    fn one_in(&mut self, sides: u64) -> bool {
        self.roll().is_multiple_of(sides)
    }
}

#[derive(Clone)]
enum Change {
    Write { offset: usize, data: Vec<u8> },
    Truncate(usize),
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { offset, data } => {
                let end = offset + data.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[*offset..end].copy_from_slice(data);
            }
            Self::Truncate(length) => content.resize(*length, 0),
        }
    }

    /// Not at all, whole, or only some sectors of it.
    fn apply_perhaps(&self, content: &mut Vec<u8>, dice: &mut Dice) {
        match (self, dice.roll() % 4) {
            (_, 0) => {}
            (Self::Write { offset, data }, 1) => {
                for (number, sector) in data.chunks(SECTOR).enumerate() {
                    if dice.one_in(2) {
                        let offset = offset + number * SECTOR;
                        Self::Write { offset, data: sector.to_vec() }.apply(content);
                    }
                }
            }
            _ => self.apply(content),
        }
    }
}

#[derive(Default)]
struct File {
    exists: bool,
    /// Its being there, or not being there, is on the disk.
    name_synced: bool,
    synced: Vec<u8>,
    /// Since then. `true`: a sync of it has failed, and the kernel takes it for written.
    changes: Vec<(Change, bool)>,
}

/// What is lost of that which was not synced.
#[derive(Clone, Copy)]
enum Loss {
    All,
    Nothing,
    Some,
}

#[derive(Default)]
struct Disk(BTreeMap<String, File>);

impl Disk {
    fn happens(&mut self, event: &Event, dice: &mut Dice) {
        match event {
            Event::Create(name) => {
                let file = self.0.entry(name.clone()).or_default();
                if !file.exists {
                    *file = File { exists: true, ..File::default() };
                }
            }
            Event::Delete(name) => {
                let file = self.0.get_mut(name).expect("it was made");
                file.exists = false;
                file.name_synced = false;
            }
            Event::SyncFolder => self.0.values_mut().for_each(|file| file.name_synced = true),
            Event::Write { file, offset, data } => {
                self.change(file, Change::Write { offset: *offset, data: data.clone() });
            }
            Event::Truncate { file, length } => self.change(file, Change::Truncate(*length)),
            Event::Sync { file, failed: true } => {
                let file = self.0.get_mut(file).expect("it was made");
                file.changes.iter_mut().for_each(|(_, missed)| *missed = true);
            }
            Event::Sync { file, failed: false } => {
                let file = self.0.get_mut(file).expect("it was made");
                for (change, missed) in std::mem::take(&mut file.changes) {
                    if missed {
                        change.apply_perhaps(&mut file.synced, dice);
                    } else {
                        change.apply(&mut file.synced);
                    }
                }
            }
            Event::Note(..) => {}
        }
    }

    fn change(&mut self, file: &str, change: Change) {
        self.0.get_mut(file).expect("it was made").changes.push((change, false));
    }

    /// What is found when the power is back.
    fn after_a_cut(&self, folder: &Path, loss: Loss, dice: &mut Dice) {
        for (name, file) in &self.0 {
            let there = match (file.name_synced, loss) {
                (true, _) | (false, Loss::Nothing) => file.exists,
                (false, Loss::All) => !file.exists,
                (false, Loss::Some) => dice.one_in(2),
            };
            if !there {
                continue;
            }
            let mut content = file.synced.clone();
            for (change, _) in &file.changes {
                match loss {
                    Loss::All => {}
                    Loss::Nothing => change.apply(&mut content),
                    Loss::Some => change.apply_perhaps(&mut content, dice),
                }
            }
            std::fs::write(folder.join(name), content).unwrap();
        }
    }
}

// --- What must hold.

/// What callers know by now.
#[derive(Default)]
struct Known {
    written: BTreeSet<usize>,
    deleted: BTreeSet<usize>,
}

impl Known {
    fn hears(&mut self, kind: char, id: usize) {
        match kind {
            '+' => drop(self.written.insert(id)),
            // From here on nobody knows, until it is told.
            'b' => drop(self.written.remove(&id)),
            '-' => drop(self.deleted.insert(id)),
            _ => {}
        }
    }

    /// How many answers do not hold; panics if the store cannot be used at all.
    fn broken(&self, folder: &Path) -> usize {
        let store = Store::open(folder).unwrap_or_else(|error| panic!("{error}"));
        let found = store
            .read_now(|connection| {
                let whole: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
                assert_eq!(whole, "ok");
                let mut statement = connection.prepare("SELECT name, document FROM resources")?;
                let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
                rows.collect::<rusqlite::Result<BTreeMap<String, String>>>()
            })
            .unwrap();
        for (name, text) in &found {
            assert_eq!(*text, document(name.parse().unwrap()).to_string(), "something else was kept");
        }
        let lost = self.written.iter().filter(|id| !found.contains_key(&id.to_string())).count();
        lost + self.deleted.iter().filter(|id| found.contains_key(&id.to_string())).count()
    }
}

struct Report {
    cuts: usize,
    images: usize,
    answers: usize,
    failed_syncs: usize,
    broken: usize,
}

/// Cuts the power at `cuts` points spread over the record, with each of these losses.
fn cut(events: &[Event], cuts: usize, seeds: u64) -> Report {
    cut_from(0, events, cuts, seeds)
}

/// The same, not before so many events.
fn cut_from(from: usize, events: &[Event], cuts: usize, seeds: u64) -> Report {
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let step = (events.len() / cuts).max(1);
    let mut report = Report { cuts: 0, images: 0, answers: 0, failed_syncs: 0, broken: 0 };
    for seed in 0..seeds {
        let mut dice = Dice(0x9E37_79B9_7F4A_7C15 ^ (seed + 1));
        let (mut disk, mut known) = (Disk::default(), Known::default());
        (report.cuts, report.answers, report.failed_syncs) = (0, 0, 0);
        for (number, event) in events.iter().enumerate() {
            disk.happens(event, &mut dice);
            match event {
                Event::Note(kind, id) => {
                    known.hears(*kind, *id);
                    report.answers += usize::from(matches!(kind, '+' | '-'));
                }
                Event::Sync { failed: true, .. } => report.failed_syncs += 1,
                _ => {}
            }
            if number < from || number % step != 0 {
                continue;
            }
            report.cuts += 1;
            report.images += 1;
            let loss = match (number as u64 / step as u64 + seed) % 4 {
                0 => Loss::All,
                1 => Loss::Nothing,
                _ => Loss::Some,
            };
            let folder = tempfile::tempdir_in(&place).unwrap();
            disk.after_a_cut(folder.path(), loss, &mut dice);
            report.broken += known.broken(folder.path());
        }
    }
    eprintln!(
        "{} points, {} images, {} answers, {} failed syncs, {} answers broken",
        report.cuts, report.images, report.answers, report.failed_syncs, report.broken
    );
    report
}

#[test]
fn what_was_answered_is_there_after_a_power_cut() {
    if !there_is_strace() {
        return;
    }
    let events = record(&[], None);
    let report = cut(&events, 1000, 2);
    assert!(report.cuts >= 1000 && report.answers > 600, "{} {}", report.cuts, report.answers);
    assert_eq!(report.broken, 0);
}

#[test]
fn what_was_answered_is_there_after_failed_syncs_and_a_power_cut() {
    if !there_is_strace() {
        return;
    }
    let events = record(&[], Some("fdatasync:error=EIO:when=12+17"));
    let report = cut(&events, 1000, 2);
    assert!(report.failed_syncs >= 5, "{}", report.failed_syncs);
    assert!(report.answers > 100, "{}", report.answers);
    assert_eq!(report.broken, 0);
}

/// A process whose sync fails and which then crashes, and another one after it; and how many events
/// were the first one's. None if the sync that failed was no commit's: that is no reason to crash.
///
/// `sync`: the number of the one that fails.
fn record_a_crash(sync: usize, variables: &[(&str, &str)]) -> Option<(Vec<Event>, usize)> {
    let folder = tempfile::tempdir().unwrap();
    let first: Vec<_> = [(CRASH, "1")].into_iter().chain(variables.iter().copied()).collect();
    let inject = format!("fdatasync:error=EIO:when={sync}");
    let (mut events, ended) = record_in(folder.path(), &first, Some(&inject));
    if ended.success() {
        return None;
    }
    let crashed = events.len();
    assert_eq!(events.iter().filter(|event| event.is_failed_sync()).count(), 1);
    let others = (CALLERS * ROUNDS).to_string();
    let second: Vec<_> = [(FIRST, others.as_str())].into_iter().chain(variables.iter().copied()).collect();
    let (after, ended) = record_in(folder.path(), &second, None);
    assert!(ended.success(), "{ended}");
    events.extend(after);
    Some((events, crashed))
}

/// A log that is begun anew with each commit: what the failed sync left out is then in no earlier part
/// of it, where it would hide the harm.
const SHORT_LOG: (&str, &str) = ("HANDLERD_TEST_LOG_PAGES", "1");

/// The first so many events of the second process: its start, which writes the log to the file.
const START: usize = 80;

/// How many answers are broken by a power cut at any point of the second process's start.
fn broken_at_start(events: &[Event], crashed: usize) -> usize {
    let start = &events[..events.len().min(crashed + START)];
    cut_from(crashed, start, start.len(), 3).broken
}

/// The kernel takes what the last sync did not write for written, and shows it to the next process,
/// which must not build on it.
#[test]
fn what_is_answered_after_a_failed_sync_and_a_crash_is_there_after_a_power_cut() {
    if !there_is_strace() {
        return;
    }
    let (events, crashed) = (60..80).find_map(|sync| record_a_crash(sync, &[])).expect("it does not crash");
    let report = cut(&events, 1000, 2);
    assert!(report.answers > 600 && crashed > 100, "{} {crashed}", report.answers);
    assert_eq!(report.broken + broken_at_start(&events, crashed), 0);
    let mut crashes = 0;
    for sync in 60..68 {
        let Some((events, crashed)) = record_a_crash(sync, &[SHORT_LOG]) else { continue };
        crashes += 1;
        assert_eq!(broken_at_start(&events, crashed), 0, "sync {sync}");
    }
    assert!(crashes >= 2, "{crashes}");
}

#[test]
fn a_start_that_trusts_a_sync_after_one_that_failed_is_found_out() {
    if !there_is_strace() {
        return;
    }
    // About one crash in three can do harm: it depends on which pages the last commit had.
    let found_out = (60..140).any(|sync| {
        let variables = [SHORT_LOG, ("HANDLERD_TEST_WITHOUT", "log-written-again")];
        let Some((events, crashed)) = record_a_crash(sync, &variables) else { return false };
        let broken = std::panic::catch_unwind(|| broken_at_start(&events, crashed));
        broken.is_err() || broken.is_ok_and(|broken| broken > 0)
    });
    assert!(found_out);
}

#[test]
fn an_answer_before_the_commit_is_found_out() {
    if !there_is_strace() {
        return;
    }
    let events = record(&[("HANDLERD_TEST_WITHOUT", "commit-before-answer")], None);
    assert!(cut(&events, 100, 1).broken > 0);
}

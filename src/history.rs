//! The last invocations of each function, in memory: what they were asked, what they answered, what they
//! said; and word of each as it ends, for whoever listens.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use foldhash::HashMap;
use serde::Deserialize;
use tokio::sync::broadcast;

use crate::function::FunctionName;
use crate::invocation::{Asker, Usage};

/// Invocations of a function that are kept.
const KEPT: usize = 100;
/// Bytes of an event, of a result, of a log.
const PART_LIMIT: usize = 64 * 1024;
/// Bytes in all; then the oldest go.
const LIMIT: usize = 32 * 1024 * 1024;
/// What an entry takes beside its parts, about.
const OVERHEAD: usize = 512;
/// Words that may wait for a listener that is slow, before it misses some.
const WORDS: usize = 1024;

/// A cheap handle.
#[derive(Clone)]
pub struct History(Arc<Shared>);

struct Shared {
    kept: Mutex<Kept>,
    told: broadcast::Sender<Arc<Entry>>,
    limit: usize,
}

#[derive(Default)]
struct Kept {
    /// Of each function the oldest first, with their numbers in the order in which all ended.
    of: HashMap<FunctionName, VecDeque<(u64, Arc<Entry>)>>,
    next: u64,
    bytes: usize,
}

/// An invocation as it is kept.
#[derive(Debug, Clone)]
pub struct Entry {
    pub function: FunctionName,
    pub request_id: String,
    pub time: SystemTime,
    pub asker: Asker,
    /// As the caller named it, with the qualifier that was given.
    pub function_arn: String,
    pub trace_id: String,
    /// `$LATEST` or a number.
    pub version: String,
    pub ok: bool,
    pub error_type: Option<String>,
    pub usage: Usage,
    /// When its init phase began, if it is the first of its environment.
    pub init_began: Option<SystemTime>,
    /// It was to wait for an init phase, or was the first after one.
    pub cold: bool,
    /// `MemorySize`
    pub memory_mb: u32,
    pub event: Part,
    pub result: Part,
    pub log: Part,
}

/// As much of a text as is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Part {
    pub bytes: Vec<u8>,
    pub cut: bool,
}

impl Part {
    /// The beginning; a longer text gives its room back.
    pub fn taken(mut bytes: Vec<u8>) -> Self {
        let cut = bytes.len() > PART_LIMIT;
        if cut {
            bytes = bytes[..PART_LIMIT].to_vec();
        } else if bytes.capacity() > 2 * bytes.len() + 1024 {
            bytes.shrink_to_fit();
        }
        Self { bytes, cut }
    }

    /// The beginning, copied.
    pub fn beginning(bytes: &[u8]) -> Self {
        Self { bytes: bytes[..bytes.len().min(PART_LIMIT)].to_vec(), cut: bytes.len() > PART_LIMIT }
    }

    /// The end, copied: of a log, what was said last matters most.
    pub fn end(bytes: &[u8]) -> Self {
        let cut = bytes.len() > PART_LIMIT;
        Self { bytes: bytes[bytes.len().saturating_sub(PART_LIMIT)..].to_vec(), cut }
    }
}

impl Entry {
    /// What has made it run. What was queued says it itself.
    pub fn trigger(&self) -> &'static str {
        if self.asker != Asker::Event {
            return self.asker.name();
        }
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Event {
            #[serde(rename = "Records")]
            records: Vec<Record>,
            #[serde(rename = "detail-type")]
            detail_type: Option<String>,
            source: Option<String>,
        }
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Record {
            #[serde(rename = "eventSource", alias = "EventSource")]
            source: String,
        }
        let event: Event = serde_json::from_slice(&self.event.bytes).unwrap_or_default();
        match (event.records.first().map(|record| record.source.as_str()), event.detail_type, event.source) {
            (Some("aws:s3"), ..) => "s3",
            (Some("aws:sns"), ..) => "sns",
            (_, Some(detail), Some(source)) if detail == "Scheduled Event" && source == "aws.events" => {
                "schedule"
            }
            (_, Some(_), Some(_)) => "rule",
            _ => self.asker.name(),
        }
    }

    fn size(&self) -> usize {
        OVERHEAD + self.event.bytes.capacity() + self.result.bytes.capacity() + self.log.bytes.capacity()
    }
}

impl Default for History {
    fn default() -> Self {
        Self::with_limit(LIMIT)
    }
}

impl History {
    fn with_limit(limit: usize) -> Self {
        Self(Arc::new(Shared { kept: Mutex::default(), told: broadcast::Sender::new(WORDS), limit }))
    }

    /// Invocations as they end. A listener that is too slow misses some, and is told how many.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Entry>> {
        self.0.told.subscribe()
    }

    pub fn add(&self, entry: Entry) {
        let entry = Arc::new(entry);
        if self.0.told.receiver_count() > 0 {
            // An error: the last listener has just gone.
            let _ = self.0.told.send(entry.clone());
        }
        self.lock().add(entry, self.0.limit);
    }

    /// Newest first; `before`: those that ended before this request. `None`: that one is not kept any more.
    pub fn of(&self, function: &str, before: Option<&str>, limit: usize) -> Option<Vec<Arc<Entry>>> {
        let kept = self.lock();
        let Some(entries) = kept.of.get(function) else { return before.is_none().then(Vec::new) };
        let mut entries = entries.iter().rev().map(|(_, entry)| entry);
        if let Some(before) = before {
            entries.find(|entry| entry.request_id == before)?;
        }
        Some(entries.take(limit).cloned().collect())
    }

    /// The newest of this request: an event that is tried again keeps its id.
    pub fn get(&self, function: &str, request_id: &str) -> Option<Arc<Entry>> {
        let kept = self.lock();
        let mut entries = kept.of.get(function)?.iter().rev().map(|(_, entry)| entry);
        entries.find(|entry| entry.request_id == request_id).cloned()
    }

    /// Forgets functions that went away.
    pub fn keep_only(&self, is_there: impl Fn(&str) -> bool) {
        let mut kept = self.lock();
        let Kept { of, bytes, .. } = &mut *kept;
        of.retain(|function, entries| {
            let stays = is_there(function.as_str());
            if !stays {
                *bytes -= entries.iter().map(|(_, entry)| entry.size()).sum::<usize>();
            }
            stays
        });
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap()
    }
}

impl Kept {
    fn add(&mut self, entry: Arc<Entry>, limit: usize) {
        self.bytes += entry.size();
        // Looked up first: an entry would need a name of its own each time.
        if !self.of.contains_key(&entry.function) {
            self.of.insert(entry.function.clone(), VecDeque::new());
        }
        let entries = self.of.get_mut(&entry.function).expect("inserted above");
        entries.push_back((self.next, entry));
        self.next += 1;
        if entries.len() > KEPT
            && let Some((_, gone)) = entries.pop_front()
        {
            self.bytes -= gone.size();
        }
        while self.bytes > limit {
            // The oldest of all is the oldest of its function.
            let oldest = self.of.values_mut().filter(|entries| !entries.is_empty());
            let oldest = oldest.min_by_key(|entries| entries.front().map(|(number, _)| *number));
            let Some((_, gone)) = oldest.and_then(VecDeque::pop_front) else { break };
            self.bytes -= gone.size();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(function: &str, number: usize, event: usize) -> Entry {
        Entry {
            function: function.parse().unwrap(),
            request_id: format!("id-{number}"),
            time: SystemTime::UNIX_EPOCH,
            asker: Asker::Invoke,
            function_arn: String::new(),
            trace_id: String::new(),
            version: "$LATEST".to_owned(),
            ok: true,
            error_type: None,
            usage: Usage::default(),
            init_began: None,
            cold: false,
            memory_mb: 128,
            event: Part::taken(vec![b'1'; event]),
            result: Part::beginning(b"null"),
            log: Part::end(b"START"),
        }
    }

    fn ids(entries: &[Arc<Entry>]) -> Vec<&str> {
        entries.iter().map(|entry| entry.request_id.as_str()).collect()
    }

    #[test]
    fn the_last_hundred_are_kept_newest_first() {
        let history = History::default();
        for number in 0..150 {
            history.add(entry("f", number, 10));
        }
        history.add(entry("g", 1000, 10));
        assert_eq!(history.of("f", None, 1000).unwrap().len(), KEPT);
        assert_eq!(ids(&history.of("f", None, 2).unwrap()), ["id-149", "id-148"]);
        assert_eq!(ids(&history.of("f", Some("id-148"), 2).unwrap()), ["id-147", "id-146"]);
        assert!(history.of("f", Some("id-49"), 2).is_none());
        assert!(history.get("f", "id-49").is_none());
        assert_eq!(history.get("f", "id-50").unwrap().request_id, "id-50");
        history.keep_only(|function| function == "g");
        assert!(history.of("f", None, 2).unwrap().is_empty());
        let left = history.get("g", "id-1000").unwrap().size();
        assert_eq!(history.lock().bytes, left);
    }

    #[test]
    fn the_oldest_of_all_make_room() {
        let history = History::with_limit(100_000);
        history.add(entry("quiet", 0, 10));
        for number in 0..50 {
            history.add(entry("f", number, 30_000));
        }
        assert!(history.of("quiet", None, 10).unwrap().is_empty());
        assert_eq!(ids(&history.of("f", None, 10).unwrap()), ["id-49", "id-48", "id-47"]);
        let kept = history.lock();
        assert_eq!(kept.bytes, kept.of["f"].iter().map(|(_, entry)| entry.size()).sum::<usize>());
    }

    #[test]
    fn long_parts_are_cut_and_give_their_room_back() {
        let part = Part::taken(vec![7; 6_000_000]);
        assert!(part.cut && part.bytes.len() == PART_LIMIT && part.bytes.capacity() < 2 * PART_LIMIT);
        let mut log = vec![b'a'; PART_LIMIT];
        log.extend(b"the end");
        let log = Part::end(&log);
        assert!(log.cut && log.bytes.len() == PART_LIMIT && log.bytes.ends_with(b"the end"));
        let mut roomy = Vec::with_capacity(1 << 20);
        roomy.push(b'1');
        assert!(Part::taken(roomy).bytes.capacity() < 4096);
    }

    #[test]
    fn what_was_queued_says_what_has_triggered_it() {
        for (asker, event, trigger) in [
            (Asker::Event, r#"{"Records":[{"eventSource":"aws:s3"}]}"#, "s3"),
            (Asker::Event, r#"{"Records":[{"EventSource":"aws:sns"}]}"#, "sns"),
            (Asker::Event, r#"{"detail-type":"Scheduled Event","source":"aws.events"}"#, "schedule"),
            (Asker::Event, r#"{"detail-type":"Order","source":"shop"}"#, "rule"),
            (Asker::Event, r#"{"Records":7}"#, "event"),
            (Asker::Event, "no JSON", "event"),
            (Asker::Sqs, r#"{"Records":[{"eventSource":"aws:s3"}]}"#, "sqs"),
            (Asker::Http, r#"{"detail-type":"Order","source":"shop"}"#, "http"),
        ] {
            let event = Part::beginning(event.as_bytes());
            assert_eq!(Entry { asker, event, ..entry("f", 0, 0) }.trigger(), trigger);
        }
    }

    #[test]
    fn listeners_are_told() {
        let history = History::default();
        history.add(entry("f", 0, 1));
        let mut listener = history.subscribe();
        history.add(entry("f", 1, 1));
        assert_eq!(listener.try_recv().unwrap().request_id, "id-1");
        assert!(listener.try_recv().is_err());
    }

    /// `cargo test --lib history::tests::cost -- --ignored --nocapture`
    #[test]
    #[ignore = "a measurement"]
    fn cost() {
        let history = History::default();
        let began = std::time::Instant::now();
        for number in 0..1_000_000 {
            history.add(entry("hello", number, 200));
        }
        println!("{} ns for each invocation, with the making of it", began.elapsed().as_nanos() / 1_000_000);
    }
}

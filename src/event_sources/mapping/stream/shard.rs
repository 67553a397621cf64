//! Reads a shard and deals its records to lanes: one, or as many as the ParallelizationFactor says, by
//! partition key. In a lane one batch follows the other.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::super::context::{BackOff, Context, Waited};
use super::batch::{Batch, Dealt};
use super::endpoint::{self, Page, Start};
use super::progress::Progress;
use super::window::Window;
use crate::store::Checkpoint;
use crate::trigger::SourceKind;

/// What an event may have: 6 MB, less what stands around its records.
const EVENT_LIMIT: usize = 6_291_456 - 2048;
/// A shard that has been read to its end is asked again so often, as Lambda does.
const POLL_KINESIS: Duration = Duration::from_secs(1);
const POLL_DYNAMODB: Duration = Duration::from_millis(250);
/// One that has not: Kinesis allows five a second.
const POLL_BEHIND: Duration = Duration::from_millis(200);

/// Reads until the shard has been handled to its end or the mapping is to stop. The shard's name.
pub async fn read(context: Arc<Context>, checkpoint: Checkpoint, at_end: bool) -> String {
    let shard = checkpoint.shard.clone();
    let stream = &context.definition.mapping.stream;
    let lanes = if stream.tumbling_window.is_some() { 1 } else { stream.parallelization_factor.clamp(1, 10) };
    let window = checkpoint.window.as_deref().and_then(Window::read);
    let reader = Reader {
        cursor: Some(Cursor::new(&checkpoint, at_end)),
        progress: Arc::new(Progress::new(context.clone(), checkpoint)),
        context,
        shard: shard.clone(),
        lanes: (0..lanes).map(|_| Lane { pending: VecDeque::new(), is_busy: false }).collect(),
        window,
        is_closed: false,
        caught_up: 0,
    };
    reader.run().await;
    shard
}

struct Reader {
    context: Arc<Context>,
    progress: Arc<Progress>,
    shard: String,
    /// `None` while it is asked for records.
    cursor: Option<Cursor>,
    lanes: Vec<Lane>,
    /// The tumbling window that is open.
    window: Option<Window>,
    is_closed: bool,
    /// When there was no more to be read, in milliseconds since 1970.
    caught_up: i64,
}

struct Lane {
    pending: VecDeque<Dealt>,
    is_busy: bool,
}

impl Reader {
    async fn run(mut self) {
        let mut batches: JoinSet<(usize, Option<Window>)> = JoinSet::new();
        let mut fetches: JoinSet<(Cursor, Option<Page>)> = JoinSet::new();
        loop {
            for lane in 0..self.lanes.len() {
                if let Some(batch) = self.batch(lane) {
                    self.lanes[lane].is_busy = true;
                    batches.spawn(async move { (lane, batch.process().await) });
                }
            }
            let is_idle = self.lanes.iter().all(|lane| lane.pending.is_empty() && !lane.is_busy);
            if self.is_closed && is_idle && self.window.is_none() {
                // Not kept: it is looked at again with the next round.
                self.progress.finish().await;
                return;
            }
            let room = self.room().await;
            if room > 0
                && !self.is_closed
                && let Some(cursor) = self.cursor.take()
            {
                fetches.spawn(fetch(self.context.clone(), self.shard.clone(), cursor, room));
            }
            let due = self.due();
            tokio::select! {
                () = self.context.stopped() => break,
                Some(ended) = batches.join_next() => {
                    let (lane, window) = ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
                    self.lanes[lane].is_busy = false;
                    self.window = window;
                }
                Some(fetched) = fetches.join_next() => {
                    let (cursor, page) = fetched.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
                    self.cursor = Some(cursor);
                    if let Some(page) = page {
                        self.deal(page).await;
                    }
                }
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => {}
            }
        }
        // What is being handled comes to its end; what is not has not been acknowledged.
        while batches.join_next().await.is_some() {}
    }

    /// How many records may be read: twice what the lanes can handle at once is enough.
    async fn room(&self) -> usize {
        let size = self.context.definition.mapping.batch_size as usize;
        let most = (size * self.lanes.len() * 2).min(20_000);
        let bytes: usize =
            self.lanes.iter().flat_map(|lane| &lane.pending).map(|dealt| dealt.record.json.len()).sum();
        if bytes >= 2 * EVENT_LIMIT { 0 } else { most.saturating_sub(self.progress.len().await) }
    }

    async fn deal(&mut self, page: Page) {
        self.is_closed = page.next.is_none();
        if page.is_caught_up {
            self.caught_up = jiff::Timestamp::now().as_millisecond();
        }
        let first = self.progress.read(page.records.iter().map(|record| record.sequence.clone())).await;
        let read = Instant::now();
        let mut unwanted = Vec::new();
        for (number, record) in (first..).zip(page.records) {
            if !record.wanted {
                unwanted.push(number);
                continue;
            }
            let mut hasher = DefaultHasher::new();
            record.key.hash(&mut hasher);
            let lane = (hasher.finish() % self.lanes.len() as u64) as usize;
            self.lanes[lane].pending.push_back(Dealt { number, read, record });
        }
        if !unwanted.is_empty() {
            self.progress.done(unwanted.into_iter()).await;
        }
    }

    /// What is due in a lane now, if it is free.
    fn batch(&mut self, lane: usize) -> Option<Batch> {
        if self.lanes[lane].is_busy {
            return None;
        }
        let stream = &self.context.definition.mapping.stream;
        let mut is_final = false;
        if let Some(length) = stream.tumbling_window {
            let front = self.lanes[lane].pending.front().map(|dealt| dealt.record.arrived);
            match (&self.window, front) {
                (None, None) => return None,
                (None, Some(arrived)) => self.window = Some(Window::of(arrived, length)),
                (Some(window), front) => {
                    let end = window.end(length);
                    is_final = window.early
                        || match front {
                            Some(arrived) => arrived >= end,
                            None => self.is_closed || self.caught_up >= end,
                        };
                }
            }
        }
        let records = if is_final { Vec::new() } else { self.take(lane)? };
        Some(Batch {
            context: self.context.clone(),
            progress: self.progress.clone(),
            shard: self.shard.clone(),
            records,
            window: self.window.clone(),
            is_final,
        })
    }

    /// The records of the next batch, if it is full or its time has come.
    fn take(&mut self, lane: usize) -> Option<Vec<Dealt>> {
        let mapping = &self.context.definition.mapping;
        let length = mapping.stream.tumbling_window;
        let end = self.window.as_ref().zip(length).map(|(window, length)| window.end(length));
        let pending = &mut self.lanes[lane].pending;
        let mut bytes = 0;
        let mut count = 0;
        let mut is_full = false;
        for dealt in pending.iter() {
            bytes += dealt.record.json.len() + 1;
            is_full = count == mapping.batch_size as usize
                || (bytes > EVENT_LIMIT && count > 0)
                || end.is_some_and(|end| dealt.record.arrived >= end);
            if is_full {
                break;
            }
            count += 1;
        }
        is_full |= count == mapping.batch_size as usize || bytes >= EVENT_LIMIT;
        let waited = pending.front()?.read.elapsed();
        let is_due = is_full || self.is_closed || waited >= mapping.batching_window;
        is_due.then(|| pending.drain(..count).collect())
    }

    /// When the next batch of a free lane has waited for its window.
    fn due(&self) -> Option<Instant> {
        let free = self.lanes.iter().filter(|lane| !lane.is_busy);
        let waiting = free.filter_map(|lane| lane.pending.front());
        waiting.map(|dealt| dealt.read + self.context.definition.mapping.batching_window).min()
    }
}

/// Where a shard is read on.
struct Cursor {
    iterator: Option<String>,
    /// The last sequence number that was read.
    behind: Option<String>,
    start: Start,
    at_end: bool,
    /// Older records are left out: the iterator could not be told.
    not_before: Option<i64>,
    next: Instant,
    pause: BackOff,
}

impl Cursor {
    fn new(checkpoint: &Checkpoint, at_end: bool) -> Self {
        Self {
            iterator: None,
            behind: checkpoint.position.clone(),
            start: Start::read(&checkpoint.start),
            at_end,
            not_before: None,
            next: Instant::now(),
            pause: BackOff::new(Duration::from_secs(1), Duration::from_secs(30)),
        }
    }
}

/// Asks for records when it is time. No page: it has failed, and that was told.
async fn fetch(
    context: Arc<Context>,
    shard: String,
    mut cursor: Cursor,
    most: usize,
) -> (Cursor, Option<Page>) {
    let rest = cursor.next.saturating_duration_since(Instant::now());
    if context.sleep(rest).await == Waited::Stopped {
        return (cursor, None);
    }
    match try_fetch(&context, &shard, &mut cursor, most).await {
        Ok(page) => {
            cursor.pause.reset();
            context.fine().await;
            let poll = match context.definition.source.kind {
                SourceKind::DynamoDb => POLL_DYNAMODB,
                _ => POLL_KINESIS,
            };
            cursor.next = Instant::now() + if page.is_caught_up { poll } else { POLL_BEHIND };
            (cursor, Some(page))
        }
        Err(error) => {
            match error.code() {
                // It is asked for another at once.
                Some("ExpiredIteratorException") => cursor.iterator = None,
                Some("TrimmedDataAccessException") => {
                    tracing::warn!(
                        "{}: records of {shard} are gone that had not been read; reading goes on with the oldest",
                        context.title()
                    );
                    cursor = Cursor { iterator: None, behind: None, start: Start::TrimHorizon, ..cursor };
                }
                _ => {
                    context.problem(&error.to_string()).await;
                    cursor.iterator = None;
                }
            }
            cursor.next = Instant::now() + cursor.pause.next();
            (cursor, None)
        }
    }
}

async fn try_fetch(
    context: &Context,
    shard: &str,
    cursor: &mut Cursor,
    most: usize,
) -> Result<Page, crate::aws::AwsError> {
    let iterator = match cursor.iterator.clone() {
        Some(iterator) => iterator,
        None => {
            let from = Checkpoint {
                shard: shard.to_owned(),
                start: cursor.start.write(),
                position: None,
                window: None,
                finished: false,
            };
            let found = endpoint::iterator(context, &from, cursor.behind.as_deref(), cursor.at_end).await?;
            let is_dynamodb = context.definition.source.kind == SourceKind::DynamoDb;
            cursor.not_before = match (cursor.start, &cursor.behind) {
                (Start::Latest(then), None) if is_dynamodb && !cursor.at_end => Some(then.as_second() * 1000),
                _ => None,
            };
            let Some(found) = found else {
                // Closed and read to its end.
                return Ok(Page { records: Vec::new(), next: None, is_caught_up: true });
            };
            cursor.at_end = false;
            cursor.iterator = Some(found.clone());
            found
        }
    };
    let mut page = endpoint::records(context, shard, &iterator, most).await?;
    cursor.iterator = page.next.clone();
    if let Some(last) = page.records.last() {
        cursor.behind = Some(last.sequence.clone());
    }
    if let Some(not_before) = cursor.not_before {
        for record in page.records.iter_mut().filter(|record| record.arrived < not_before) {
            record.wanted = false;
        }
    }
    Ok(page)
}

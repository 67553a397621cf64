//! Kinesis and the streams of DynamoDB's tables: every shard is read in order by itself, those that it
//! was split from first, from its checkpoint on.
//!
//! - `endpoint`: the operations that are asked of a stream.
//! - `record`: a record as the function sees it.
//! - `shard`: reads a shard and deals its records to lanes.
//! - `batch`: has a batch handled, retried, halved or given up.
//! - `discard`: tells the failure destination of records that were given up.
//! - `progress`: up to where all of a shard is done with.
//! - `window`: tumbling windows.

mod batch;
mod discard;
mod endpoint;
mod progress;
mod record;
mod shard;
mod window;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::context::{BackOff, Context, Waited};
use crate::store::Checkpoint;
use crate::trigger::StartingPosition;
use endpoint::{Shard, Start};

/// How often it is looked for shards that are new.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Reads the stream until the mapping is to stop.
pub async fn run(context: &Arc<Context>) {
    let mut pause = BackOff::new(Duration::from_secs(1), Duration::from_secs(30));
    // Whose readers run; each returns the name of its shard.
    let mut running: HashSet<String> = HashSet::new();
    let mut readers: JoinSet<String> = JoinSet::new();
    // Shards that this process has met at their end: of those, `LATEST` means the end.
    let mut fresh: HashSet<String> = HashSet::new();
    while !context.is_stopped() {
        let wait = match look(context, &mut fresh).await {
            Ok(ready) => {
                pause.reset();
                context.running().await;
                for checkpoint in ready {
                    let shard = checkpoint.shard.clone();
                    if running.insert(shard.clone()) {
                        let at_end = fresh.remove(&shard);
                        readers.spawn(shard::read(context.clone(), checkpoint, at_end));
                    }
                }
                LOOK_AGAIN
            }
            Err(reason) => {
                context.problem(&reason).await;
                pause.next()
            }
        };
        tokio::select! {
            Some(ended) = readers.join_next() => match ended {
                Ok(shard) => drop(running.remove(&shard)),
                Err(error) => {
                    // Which one it was is not known: all begin anew from their checkpoints.
                    tracing::error!("{}: a shard's reader has ended by a bug in handlerd: {error}", context.title());
                    readers.shutdown().await;
                    running.clear();
                    if context.sleep(Duration::from_secs(1)).await == Waited::Stopped {
                        break;
                    }
                }
            },
            waited = context.sleep(wait) => if waited == Waited::Stopped { break },
        }
    }
    while readers.join_next().await.is_some() {}
}

/// The shards that can be read now: not done with, and what they were split from is.
async fn look(context: &Context, fresh: &mut HashSet<String>) -> Result<Vec<Checkpoint>, String> {
    let shards = tokio::select! {
        () = context.stopped() => return Ok(Vec::new()),
        shards = endpoint::shards(context) => shards.map_err(|error| error.to_string())?,
    };
    let store = context.invoker.store();
    let uuid = &context.definition.uuid;
    let known = store.checkpoints(uuid).await.map_err(|error| error.to_string())?;
    let is_first = known.is_empty();
    let mut known: HashMap<String, Checkpoint> =
        known.into_iter().map(|checkpoint| (checkpoint.shard.clone(), checkpoint)).collect();
    let added: Vec<Checkpoint> = shards
        .iter()
        .filter(|shard| !known.contains_key(&shard.id))
        .map(|shard| begin(context, shard, is_first))
        .collect();
    if !added.is_empty() {
        store.set_checkpoints(uuid, added.clone()).await.map_err(|error| error.to_string())?;
        for checkpoint in added {
            if matches!(Start::read(&checkpoint.start), Start::Latest(_)) {
                fresh.insert(checkpoint.shard.clone());
            }
            known.insert(checkpoint.shard.clone(), checkpoint);
        }
    }
    // A stream that shows none at all is more likely to be just being made.
    let listed: HashSet<&str> = shards.iter().map(|shard| shard.id.as_str()).collect();
    let gone: Vec<String> = known.keys().filter(|shard| !listed.contains(shard.as_str())).cloned().collect();
    if !gone.is_empty() && !listed.is_empty() {
        store.forget_checkpoints(uuid, gone).await.map_err(|error| error.to_string())?;
    }
    let is_done = |parent: &String| {
        !listed.contains(parent.as_str()) || known.get(parent).is_some_and(|checkpoint| checkpoint.finished)
    };
    let ready = shards.iter().filter(|shard| shard.parents.iter().all(is_done));
    let ready = ready.filter_map(|shard| known.get(&shard.id)).filter(|checkpoint| !checkpoint.finished);
    Ok(ready.cloned().collect())
}

/// Where a shard is begun. Those that come up later are read whole: nothing in them is older.
fn begin(context: &Context, shard: &Shard, is_first: bool) -> Checkpoint {
    let position = context.definition.mapping.stream.starting_position;
    let start = match (is_first, position) {
        (false, _) | (true, StartingPosition::TrimHorizon) => Start::TrimHorizon,
        (true, StartingPosition::Latest) => Start::Latest(jiff::Timestamp::now()),
        (true, StartingPosition::AtTimestamp(time)) => Start::At(time),
    };
    let finished = shard.is_closed && matches!(start, Start::Latest(_));
    Checkpoint { shard: shard.id.clone(), start: start.write(), position: None, window: None, finished }
}

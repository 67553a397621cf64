//! Receives a batch, has it handled, and begins again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::super::context::{BackOff, Context, Waited};
use super::Pollers;
use super::batch::{Batch, Handled};
use super::endpoint::{AT_ONCE, LONG_POLL, Queue};
use super::message::Message;
use crate::aws::AwsError;
use crate::trigger::SourceKind;

/// What an event may have: 6 MB.
const EVENT_LIMIT: usize = 6_291_456;

pub async fn run(context: Arc<Context>, queue: Arc<Queue>, pollers: Arc<Pollers>) {
    let mut pause = BackOff::new(Duration::from_secs(1), Duration::from_secs(30));
    // Received with a batch that they did not fit into.
    let mut left: Vec<Message> = Vec::new();
    let mut left_since = Instant::now();
    loop {
        let mut batch = Batch::new(&context, &queue, &pollers, left_since);
        batch.extend(std::mem::take(&mut left));
        // Nothing is received that nobody can handle.
        let ready = context.function_ready().await == Waited::Enough;
        let gathered = if ready { gather(&context, &queue, &pollers, &mut batch).await } else { Ok(()) };
        if context.is_stopped() {
            // Nobody will handle them here.
            return batch.give_back().await;
        }
        match gathered {
            Ok(()) => pause.reset(),
            Err(error) => {
                context.problem(&error.to_string()).await;
                // The endpoint may be down, or want to be left alone.
                if batch.is_empty() && context.back_off(pause.next()).await == Waited::Stopped {
                    return;
                }
            }
        }
        left_since = batch.since();
        left = batch.split_off(EVENT_LIMIT);
        if context.definition.source.kind == (SourceKind::Queue { fifo: true }) && !left.is_empty() {
            // Should the first part fail, the rest must not be handled before it.
            let mut rest = Batch::new(&context, &queue, &pollers, left_since);
            rest.extend(std::mem::take(&mut left));
            rest.give_back().await;
        }
        let is_idle = if batch.is_empty() {
            true
        } else {
            if pollers.may_grow() {
                pollers.wanted.notify_one();
            }
            batch.handle().await == Handled::Throttled
        };
        if is_idle && left.is_empty() && pollers.is_one_too_many() {
            return;
        }
    }
}

async fn receive(
    context: &Context,
    queue: &Queue,
    pollers: &Pollers,
    most: usize,
    wait: u64,
) -> Result<Vec<Value>, AwsError> {
    if context.definition.source.kind != (SourceKind::Queue { fifo: true }) {
        return queue.receive(context, most, wait).await;
    }
    let _turn = pollers.turn.lock().await;
    // Some endpoints go by the groups that were being handled when a long poll began.
    let wait = if pollers.are_busy() { wait.min(1) } else { wait };
    queue.receive(context, most, wait).await
}

/// A long poll cannot be called back: the queue may be about to answer it, and would hide a message from
/// everybody that nobody here will handle. Nobody waits for this; a gateway that ends leaves it to the
/// queue's visibility timeout.
async fn give_back(
    receiving: impl Future<Output = Result<Vec<Value>, AwsError>>,
    context: Arc<Context>,
    queue: Arc<Queue>,
) {
    let received = receiving.await.unwrap_or_default();
    let receipts: Vec<&str> =
        received.iter().filter_map(|message| message["ReceiptHandle"].as_str()).collect();
    if !receipts.is_empty() {
        queue.hide(&context, &receipts, Duration::ZERO).await;
    }
}

/// Fills the batch: until it is full, its window is over, or the mapping is to stop.
async fn gather(
    context: &Arc<Context>,
    queue: &Arc<Queue>,
    pollers: &Arc<Pollers>,
    batch: &mut Batch<'_>,
) -> Result<(), AwsError> {
    let definition = &context.definition;
    let mapping = &definition.mapping;
    let size = mapping.batch_size as usize;
    // When the window began: with the first message.
    let mut first = None;
    while batch.len() < size && batch.bytes() < EVENT_LIMIT {
        let wait = match first {
            None if batch.is_empty() => LONG_POLL,
            // Left from the batch before: now is their turn.
            None => 0,
            Some(first) => {
                let rest = mapping.batching_window.saturating_sub(Instant::now().duration_since(first));
                (rest.as_millis().div_ceil(1000) as u64).min(LONG_POLL)
            }
        };
        if first.is_some() && wait == 0 {
            return Ok(());
        }
        let most = (size - batch.len()).min(AT_ONCE);
        let idle = batch.is_empty();
        if idle {
            pollers.waiting.fetch_add(1, Ordering::Relaxed);
        }
        let mut receiving = {
            let (context, queue, pollers) = (context.clone(), queue.clone(), pollers.clone());
            Box::pin(async move { receive(&context, &queue, &pollers, most, wait).await })
        };
        let received = tokio::select! {
            () = context.stopped() => {
                tokio::spawn(give_back(receiving, context.clone(), queue.clone()));
                Ok(Vec::new())
            }
            received = &mut receiving => received,
            () = batch.keep_hidden() => unreachable!("they are kept for as long as this is polled"),
        };
        if idle {
            pollers.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        let received = received?;
        if context.is_stopped() && received.is_empty() {
            return Ok(());
        }
        context.fine().await;
        batch.received();
        let mut unwanted = Vec::new();
        for message in &received {
            let region = &definition.source.region;
            let (message, wanted) = Message::new(message, &mapping.source_arn, region, &mapping.filters);
            if wanted {
                batch.push(message);
            } else {
                unwanted.push(message.receipt);
            }
        }
        let unwanted: Vec<&str> = unwanted.iter().map(String::as_str).collect();
        queue.delete(context, &unwanted).await;
        if batch.is_empty() {
            if received.is_empty() {
                return Ok(());
            }
            continue;
        }
        first.get_or_insert_with(Instant::now);
    }
    Ok(())
}

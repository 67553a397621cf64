//! Up to where all of a shard is done with: what is read again after a restart begins there.
//!
//! Lanes end in any order; the checkpoint is behind the last record before which none is open.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::super::context::Context;
use crate::store::Checkpoint;

pub struct Progress {
    context: Arc<Context>,
    inner: Mutex<Inner>,
}

struct Inner {
    checkpoint: Checkpoint,
    /// What has been read behind the checkpoint: sequence numbers, and whether they are done with.
    open: VecDeque<(String, bool)>,
    /// The number of the first of them.
    first: u64,
}

impl Progress {
    pub fn new(context: Arc<Context>, checkpoint: Checkpoint) -> Self {
        Self { context, inner: Mutex::new(Inner { checkpoint, open: VecDeque::new(), first: 0 }) }
    }

    /// How many records have been read that are not behind the checkpoint.
    pub async fn len(&self) -> usize {
        self.inner.lock().await.open.len()
    }

    /// Records that have been read, in order; the number of the first.
    pub async fn read(&self, sequences: impl Iterator<Item = String>) -> u64 {
        let mut inner = self.inner.lock().await;
        let number = inner.first + inner.open.len() as u64;
        inner.open.extend(sequences.map(|sequence| (sequence, false)));
        number
    }

    /// These are done with. Returns when that is kept.
    pub async fn done(&self, numbers: impl Iterator<Item = u64>) {
        let mut inner = self.inner.lock().await;
        if inner.mark(numbers) {
            self.keep(&inner).await;
        }
    }

    /// The same with the window that is open from now on.
    pub async fn done_in_window(&self, numbers: impl Iterator<Item = u64>, window: Option<String>) {
        let mut inner = self.inner.lock().await;
        inner.mark(numbers);
        inner.checkpoint.window = window;
        self.keep(&inner).await;
    }

    /// The shard is closed, and all of it done with.
    pub async fn finish(&self) -> bool {
        let mut inner = self.inner.lock().await;
        inner.checkpoint.finished = true;
        self.keep(&inner).await
    }

    /// What cannot be kept will be handled again after a restart; that is told.
    async fn keep(&self, inner: &Inner) -> bool {
        let store = self.context.invoker.store();
        let kept = store.set_checkpoints(&self.context.definition.uuid, vec![inner.checkpoint.clone()]).await;
        match kept {
            Ok(()) => true,
            Err(error) => {
                self.context.problem(&format!("the checkpoint of {}: {error}", inner.checkpoint.shard)).await;
                false
            }
        }
    }
}

impl Inner {
    /// Whether the checkpoint has moved.
    fn mark(&mut self, numbers: impl Iterator<Item = u64>) -> bool {
        for number in numbers {
            let place = number.checked_sub(self.first).and_then(|place| usize::try_from(place).ok());
            if let Some(record) = place.and_then(|place| self.open.get_mut(place)) {
                record.1 = true;
            }
        }
        let mut moved = false;
        while let Some((sequence, _)) = self.open.pop_front_if(|(_, done)| *done) {
            self.checkpoint.position = Some(sequence);
            self.first += 1;
            moved = true;
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn inner(count: u64) -> Inner {
        let checkpoint = Checkpoint {
            shard: "s".to_owned(),
            start: "TRIM_HORIZON".to_owned(),
            position: None,
            window: None,
            finished: false,
        };
        Inner { checkpoint, open: (0..count).map(|n| (n.to_string(), false)).collect(), first: 0 }
    }

    proptest! {
        #[test]
        fn nothing_that_is_open_is_before_the_checkpoint(order in Just((0..20u64).collect::<Vec<_>>()).prop_shuffle()) {
            let mut inner = inner(20);
            let mut done = [false; 20];
            for number in order {
                inner.mark([number].into_iter());
                done[number as usize] = true;
                let all_before = done.iter().take_while(|done| **done).count();
                let position = inner.checkpoint.position.as_ref().map(|text| text.parse::<usize>().unwrap() + 1);
                prop_assert_eq!(position.unwrap_or(0), all_before);
            }
            prop_assert!(inner.open.is_empty());
        }
    }
}

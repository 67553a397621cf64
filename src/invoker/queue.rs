//! The queue for whoever looks at it: what waits, runs and has died; trying again, discarding.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::Invoker;
use crate::store::{Chosen, Overview, Shown, StoreError};

/// What became of what was chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    pub changed: usize,
    /// Left alone, because they run right now.
    pub running: Vec<i64>,
}

impl Invoker {
    pub async fn queue_overview(
        &self,
        function: Option<String>,
        limit: usize,
    ) -> Result<Overview, StoreError> {
        let running = self.with_events(|queue| queue.running());
        self.store().queue_overview(self.events_now(), function, limit, running).await
    }

    /// By its number or its request id.
    pub async fn queue_entry(&self, id: &str) -> Result<Option<Shown>, StoreError> {
        let running = self.with_events(|queue| queue.running());
        self.store().queue_entry(id, self.events_now(), running).await
    }

    /// They are due now, as if they had never been tried.
    pub async fn retry(&self, chosen: Chosen) -> Result<Changed, StoreError> {
        let (ids, running) = self.chosen(chosen).await?;
        let changed = self.store().retry_now(ids, self.events_now()).await?;
        self.with_events(|queue| queue.look_again());
        Ok(Changed { changed, running })
    }

    pub async fn discard(&self, chosen: Chosen) -> Result<Changed, StoreError> {
        let (ids, running) = self.chosen(chosen).await?;
        Ok(Changed { changed: self.store().discard(ids).await?, running })
    }

    /// Those that nobody works on, and those that somebody does.
    async fn chosen(&self, chosen: Chosen) -> Result<(Vec<i64>, Vec<i64>), StoreError> {
        let ids: HashSet<i64> = self.store().choose(chosen).await?.into_iter().collect();
        let busy = self.with_events(|queue| queue.give_back(&ids));
        let mut running: Vec<i64> = busy.iter().copied().collect();
        running.sort_unstable();
        Ok((ids.difference(&busy).copied().collect(), running))
    }
}

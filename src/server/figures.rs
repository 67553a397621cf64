//! Figures outlive the gateway: read at the start, written once a minute and at the end.

use std::time::{Duration, SystemTime};

use crate::invoker::Invoker;
use crate::metrics::minute_of;

/// Minutes that are read back.
const DAY: u64 = 24 * 60;
/// A minute is written once it is over for good.
const INTERVAL: Duration = Duration::from_secs(60);

/// What an earlier gateway has counted belongs into the charts of this one.
pub async fn restore(invoker: &Invoker) {
    let now = minute_of(SystemTime::now());
    match invoker.store().metrics(None, now.saturating_sub(DAY), now + 1).await {
        Ok(figures) => invoker.metrics().restore(figures),
        Err(error) => tracing::warn!("the figures of the last day are not shown: {error}"),
    }
}

pub async fn keep_forever(invoker: Invoker) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        write(&invoker, minute_of(SystemTime::now())).await;
        let deployment = invoker.deployments().current();
        invoker.metrics().prune(|name| deployment.functions.contains_key(name));
    }
}

/// At the end: the minute that is not over, too.
pub async fn write_all(invoker: &Invoker) {
    write(invoker, minute_of(SystemTime::now()) + 1).await;
}

async fn write(invoker: &Invoker, until: u64) {
    let figures = invoker.metrics().unwritten(until);
    if figures.is_empty() {
        return;
    }
    match invoker.store().set_metrics(figures).await {
        Ok(()) => invoker.metrics().are_written(until),
        Err(error) => tracing::debug!("the figures of the last minute are kept for later: {error}"),
    }
}

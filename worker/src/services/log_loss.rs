//! Counts in the metrics the lines of the log that were lost.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use crate::{metrics::Metrics, shutdown::Shutdown};

/// How often it is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// Notes in `metrics` how many lines were `lost`, until the worker stops.
pub async fn watch(lost: LostLines, metrics: Arc<Metrics>, shutdown: Shutdown) {
    loop {
        metrics.set_log_lines_lost(lost());
        tokio::select! {
            () = sleep(INTERVAL) => {}
            () = shutdown.aborted() => return,
        }
    }
}

/// Tells how many lines were lost so far.
pub type LostLines = fn() -> u64;

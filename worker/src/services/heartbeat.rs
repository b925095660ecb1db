//! Announces this worker in Redis every few seconds.

use std::sync::Arc;

use sandfleet_common::WorkerInfo;
use sandfleet_transport::records::{HEARTBEAT, RedisStore};
use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;

use crate::shutdown::Shutdown;

/// Says every few seconds that the worker lives, until it is stopped for good. `busy` tells how
/// many jobs it runs.
pub async fn send_heartbeats(
    store: Arc<RedisStore>,
    mut worker: WorkerInfo,
    busy: impl Fn() -> usize,
    shutdown: Shutdown,
) {
    let mut turns = interval(HEARTBEAT);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = turns.tick() => {}
            () = shutdown.drained(), if !worker.stopping => worker.stopping = true,
            () = shutdown.aborted() => break,
        }
        worker.busy = busy();
        if let Err(error) = store.announce(&worker).await {
            // Those who wait see one worker less; jobs are taken all the same.
            debug!(%error, "this worker could not be announced");
        }
    }
    if let Err(error) = store.leave(&worker.worker_id).await {
        debug!(%error, "this worker's announcement ends by itself");
    }
}

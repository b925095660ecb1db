//! Announces this worker in Redis every few seconds.

use std::{sync::Arc, time::Duration};

use sandfleet_common::WorkerInfo;
use sandfleet_transport::records::{HEARTBEAT, RedisStore};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, timeout},
};
use tracing::debug;

use crate::shutdown::Shutdown;

/// How long the store may take to hear of the end: the list forgets a worker by itself.
const LAST_WORD: Duration = Duration::from_millis(500);

/// Says every few seconds that the worker lives, and at once when it becomes ready or isn't any more, until it is
/// stopped for good. `busy` tells how many jobs it runs.
pub async fn send_heartbeats(
    store: Arc<RedisStore>,
    mut worker: WorkerInfo,
    busy: impl Fn() -> usize,
    mut ready: watch::Receiver<bool>,
    shutdown: Shutdown,
) {
    let mut turns = interval(HEARTBEAT);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    turns.reset();
    loop {
        worker.ready = *ready.borrow_and_update();
        worker.busy = busy();
        tokio::select! {
            announced = store.announce(&worker) => if let Err(error) = announced {
                // Those who wait see one worker less; jobs are taken all the same.
                debug!(%error, "this worker could not be announced");
            },
            () = shutdown.aborted() => break,
        }
        tokio::select! {
            _ = turns.tick() => {}
            Ok(()) = ready.changed() => {}
            () = shutdown.drained(), if !worker.stopping => worker.stopping = true,
            () = shutdown.aborted() => break,
        }
    }
    match timeout(LAST_WORD, store.leave(&worker.worker_id)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "this worker's announcement ends by itself"),
        Err(_) => debug!("the store does not answer; this worker's announcement ends by itself"),
    }
}

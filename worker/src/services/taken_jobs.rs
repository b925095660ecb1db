//! Notes in the store up to when this worker has served its queues, beside the path of a job: the exporter tells from
//! it how long the oldest job waits.

use std::sync::Arc;

use sandfleet_transport::records::{HEARTBEAT, RedisStore};
use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;

use crate::{queue::Queue, shutdown::Shutdown};

/// Notes what was taken from `queue`, every few seconds if there is something new, until the worker is stopped for good.
pub async fn note_taken_jobs(
    queue: Arc<impl Queue + ?Sized>,
    store: Arc<RedisStore>,
    shutdown: Shutdown,
) {
    let mut noted = Vec::new();
    let mut turns = interval(HEARTBEAT);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = turns.tick() => {}
            () = shutdown.aborted() => return,
        }
        let taken = queue.taken_until();
        if taken == noted {
            continue;
        }
        tokio::select! {
            answer = store.note_taken(&taken) => match answer {
                Ok(()) => noted = taken,
                // The oldest job then seems older than it is, until the store is back.
                Err(error) => debug!(%error, "which jobs were taken is not noted"),
            },
            () = shutdown.aborted() => return,
        }
    }
}

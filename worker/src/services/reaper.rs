//! Removes what workers that died have left on this host.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::{sandbox::Sandbox, shutdown::Shutdown};

/// How often leftovers are looked for.
const INTERVAL: Duration = Duration::from_secs(60);

/// Removes leftovers at the start and then regularly.
pub async fn reap_regularly(sandbox: Arc<dyn Sandbox>, shutdown: Shutdown) {
    let mut turns = interval(INTERVAL);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = turns.tick() => {}
            () = shutdown.drained() => return,
        }
        match sandbox.reap().await {
            Ok(0) => {}
            Ok(count) => info!(count, "removed what a dead worker had left"),
            Err(error) => warn!(%error, "leftovers can't be looked for"),
        }
    }
}

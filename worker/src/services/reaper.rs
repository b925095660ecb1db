//! Removes what workers that died have left on this host.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, info, warn};

use crate::{hooks::Hooks, labels::Leftover, sandbox::Sandbox, shutdown::Shutdown};

/// How often leftovers are looked for.
const INTERVAL: Duration = Duration::from_secs(60);

/// Removes leftovers at the start and then regularly.
pub async fn reap_regularly(sandbox: Arc<dyn Sandbox>, hooks: Arc<dyn Hooks>, shutdown: Shutdown) {
    let kind = match sandbox.description().backend {
        "docker" => Leftover::Container,
        _ => Leftover::ControlGroup,
    };
    let mut is_failing = false;
    let mut turns = interval(INTERVAL);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = turns.tick() => {}
            () = shutdown.drained() => return,
        }
        let reaped = tokio::select! {
            reaped = sandbox.reap() => reaped,
            () = shutdown.drained() => return,
        };
        match reaped {
            Ok(count) => {
                if count > 0 {
                    hooks.reaped(kind, count);
                    info!(count, "removed what a dead worker had left");
                }
                is_failing = false;
            }
            // Once, and not every minute.
            Err(error) if !std::mem::replace(&mut is_failing, true) => {
                warn!(%error, "leftovers can't be looked for");
            }
            Err(error) => debug!(%error, "leftovers can't be looked for"),
        }
    }
}

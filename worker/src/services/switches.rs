//! Follows the switches of an operator: logs what changes, and takes no jobs while all are held.

use std::{sync::Arc, time::Duration};

use sandfleet_transport::records::{Action, CancelNotice, RedisStore, Scope, Switch};
use tokio::{
    sync::{broadcast::error::RecvError, watch},
    time::{MissedTickBehavior, interval},
};
use tracing::{debug, warn};

use crate::{metrics::Metrics, shutdown::Shutdown};

/// How often the switches are read although no change was announced.
const INTERVAL: Duration = Duration::from_secs(5);

/// Follows the switches until the worker stops; `all_held` says whether all jobs are held.
pub async fn follow_switches(
    store: Arc<RedisStore>,
    metrics: Arc<Metrics>,
    all_held: watch::Sender<bool>,
    shutdown: Shutdown,
) {
    let mut notices = store.cancellations();
    let mut turns = interval(INTERVAL);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known: Vec<Switch> = Vec::new();
    loop {
        tokio::select! {
            _ = turns.tick() => {}
            notice = notices.recv() => match notice {
                // A job's cancellation.
                Ok(CancelNotice::Job(_)) => continue,
                Ok(CancelNotice::Any) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            },
            () = shutdown.drained() => return,
        }
        // A store that says nothing keeps no worker from its end.
        let read = tokio::select! {
            read = store.switches() => read,
            () = shutdown.drained() => return,
        };
        let thrown = match read {
            Ok(thrown) => thrown,
            // A claim asks the store again, which decides.
            Err(error) => {
                debug!(%error, "the switches could not be read");
                continue;
            }
        };
        for switch in thrown.iter().filter(|switch| !known.contains(switch)) {
            warn!(%switch, "an operator has thrown a switch");
        }
        for switch in known.iter().filter(|switch| !thrown.contains(switch)) {
            warn!(%switch, "an operator has released a switch");
        }
        metrics.set_holds(thrown.iter().filter(|it| it.action == Action::Hold).count());
        let held = thrown.iter().any(|switch| switch.holds(&[Scope::All]));
        all_held.send_if_modified(|was| std::mem::replace(was, held) != held);
        known = thrown;
    }
}

//! The end of a process, in two steps: first nothing new is begun, then what runs is given up.

use std::time::Duration;

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinHandle,
    time::sleep,
};
use tracing::{info, warn};

use crate::queue::Queue;

/// What a worker logs when it begins to stop; tests wait for it.
pub const STOPPING: &str = "stopping: no new jobs, running ones may finish";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    Draining,
    Aborting,
}

/// Shared by everything that has to stop. Clones see the same end.
#[derive(Debug, Clone)]
pub struct Shutdown {
    phase: watch::Sender<Phase>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { phase: watch::Sender::new(Phase::Serving) }
    }
}

impl Shutdown {
    /// Begins nothing new from now on.
    pub fn drain(&self) {
        self.reach(Phase::Draining);
    }

    /// Gives up what runs.
    pub fn abort(&self) {
        self.reach(Phase::Aborting);
    }

    /// Waits until nothing new is to be begun.
    pub async fn drained(&self) {
        self.wait(Phase::Draining).await;
    }

    /// Waits until what runs is to be given up.
    pub async fn aborted(&self) {
        self.wait(Phase::Aborting).await;
    }

    /// Waits for a signal or until it is `enough`, for the reason that this gives; takes nothing new, lets what runs finish within the grace period, and
    /// gives the rest back. A second signal ends the grace period.
    ///
    /// # Errors
    /// One sentence if serving ended unasked.
    pub async fn in_order(
        &self,
        mut serving: JoinHandle<()>,
        queue: &dyn Queue,
        grace: Duration,
        enough: impl Future<Output = String>,
    ) -> Result<(), String> {
        tokio::select! {
            biased;
            why = enough => info!(why, "enough: this worker stops by itself"),
            () = stop_signal() => {}
            ended = &mut serving => {
                self.abort();
                return Err(format!("the queue ended unasked: {ended:?}"));
            }
        }
        info!(grace_ms = grace.as_millis(), "{STOPPING}");
        self.drain();
        let finish = async {
            // A broker that doesn't answer must not use up more than the grace period.
            queue.stop().await;
            (&mut serving).await
        };
        let finished = tokio::select! {
            ended = finish => Some(ended),
            () = sleep(grace) => None,
            () = stop_signal() => None,
        };
        let ended = match finished {
            Some(ended) => ended,
            None => {
                info!("stopping: running jobs go back to the queue");
                self.abort();
                queue.stop().await;
                serving.await
            }
        };
        self.abort();
        if let Err(error) = ended {
            warn!(%error, "serving ended abnormally");
        }
        Ok(())
    }

    fn reach(&self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            let later = *now < phase;
            *now = (*now).max(phase);
            later
        });
    }

    async fn wait(&self, phase: Phase) {
        // The sender is part of self, so that the channel can't be closed.
        let _ = self.phase.subscribe().wait_for(|now| *now >= phase).await;
    }
}

/// Waits for SIGTERM or SIGINT.
pub async fn stop_signal() {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signals) => drop(signals.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}

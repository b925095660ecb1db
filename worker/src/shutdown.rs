//! The end of a process, in two steps: first nothing new is begun, then what runs is given up.

use std::{pin::pin, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tracing::{info, warn};

use crate::queue::Queue;

/// What a worker logs when it begins to stop; tests wait for it.
pub const STOPPING: &str = "stopping: no new jobs, running ones may finish";

/// How long the broker may take to hear of the end once nothing runs; what it doesn't hear it notices.
const LAST_WORD: Duration = Duration::from_millis(500);

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

    /// Waits until nothing new has been begun for so long.
    pub async fn drained_since(&self, time: Duration) {
        self.drained().await;
        sleep(time).await;
    }

    /// Waits until all was given up so long ago.
    pub async fn aborted_since(&self, time: Duration) {
        self.aborted().await;
        sleep(time).await;
    }

    /// Waits for a signal or until it is `enough`, for the reason that this gives; takes nothing new, lets what runs
    /// finish within the grace period, and gives the rest back. A second signal ends the grace period. Where nothing
    /// runs it ends at once, whether the broker answers or not.
    ///
    /// # Errors
    /// One sentence if serving ended unasked.
    pub async fn in_order(
        &self,
        signals: &mut Signals,
        mut serving: JoinHandle<()>,
        queue: &dyn Queue,
        grace: Duration,
        enough: impl Future<Output = String>,
    ) -> Result<(), String> {
        tokio::select! {
            biased;
            why = enough => info!(why, "enough: this worker stops by itself"),
            () = signals.next() => {}
            ended = &mut serving => {
                self.abort();
                return Err(format!("the queue ended unasked: {ended:?}"));
            }
        }
        info!(grace_ms = grace.as_millis(), "{STOPPING}");
        self.drain();
        let finish = async {
            let mut stop = pin!(queue.stop());
            let ended = tokio::select! {
                () = &mut stop => return (&mut serving).await,
                ended = &mut serving => ended,
            };
            // Nothing runs any more, so a broker that doesn't answer isn't waited for.
            let _ = timeout(LAST_WORD, stop).await;
            ended
        };
        let finished = tokio::select! {
            ended = finish => Some(ended),
            () = sleep(grace) => None,
            () = signals.next() => None,
        };
        let ended = match finished {
            Some(ended) => ended,
            None => {
                info!("stopping: running jobs go back to the queue");
                self.abort();
                let _ = timeout(LAST_WORD, queue.stop()).await;
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

/// SIGTERM and SIGINT, from when they are first listened to: none between two waits is lost.
pub struct Signals {
    terminate: Option<Signal>,
    interrupt: Option<Signal>,
}

impl Signals {
    /// Listens from now on; the signals don't end the process any more. Call it within a tokio runtime.
    pub fn listen() -> Self {
        // Without a listener a signal does what it does to any process.
        let listen = |kind| signal(kind).ok();
        Self {
            terminate: listen(SignalKind::terminate()),
            interrupt: listen(SignalKind::interrupt()),
        }
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        let Self { terminate, interrupt } = self;
        tokio::select! {
            () = came(terminate) => {}
            () = came(interrupt) => {}
        }
    }
}

async fn came(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Waits for SIGTERM or SIGINT.
pub async fn stop_signal() {
    Signals::listen().next().await;
}

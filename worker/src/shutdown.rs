//! The end of a process, in two steps: first nothing new is begun, then what runs is given up.

use tokio::sync::watch;

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

//! Repeats store operations and waits for the sandbox, until the worker stops. The pause before a job's next
//! attempt is in `parts`.

use std::time::Duration;

use sandfleet_transport::StoreError;
use tokio::time::sleep;
use tracing::{debug, warn};

use super::parts::{MAX_DELAY, Pipeline};
use crate::pauses::Pauses;

/// The first pause after the store failed.
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// How long the store may take to answer when the worker stops and nothing of the job runs.
pub(super) const LAST_WORD: Duration = Duration::from_millis(500);
/// The same for the result of a job that has run, after the grace period.
const LAST_CHANCE: Duration = Duration::from_secs(2);

impl Pipeline {
    /// Repeats an operation of the store for a job that isn't run, until it succeeds; `None` if the worker
    /// stops first, or if the job's keys are damaged. Its message then goes back to the broker until that gives
    /// it up, and the dead-letter handler sets it aside: no slot waits for what doesn't mend itself.
    pub(super) async fn retry_until_drained<T, F>(&self, operation: impl FnMut() -> F) -> Option<T>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        tokio::select! {
            // In this order: an answer that is there is taken.
            biased;
            done = self.retry(operation) => done,
            // What the store does answer is still taken, so that no claim is lost to the stop.
            () = self.shutdown.drained_since(LAST_WORD) => None,
        }
    }

    /// As [`retry_until_drained`](Self::retry_until_drained), for a job that has run: its result is kept
    /// through the grace period.
    pub(super) async fn retry_until_aborted<T, F>(&self, operation: impl FnMut() -> F) -> Option<T>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        tokio::select! {
            biased;
            done = self.retry(operation) => done,
            () = self.shutdown.aborted_since(LAST_CHANCE) => None,
        }
    }

    async fn retry<T, F>(&self, mut operation: impl FnMut() -> F) -> Option<T>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut pauses = Pauses::new(FIRST_DELAY, MAX_DELAY);
        loop {
            match operation().await {
                Ok(done) => return Some(done),
                Err(error) if error.is_damaged => {
                    warn!(%error, "a job's keys are damaged; its message goes back");
                    return None;
                }
                // The worker says once that its store is away.
                Err(error) => debug!(%error, "the store failed; trying again"),
            }
            sleep(pauses.next()).await;
        }
    }

    /// Waits until the sandbox is there again. The slot stays taken meanwhile: a worker whose sandbox
    /// is away must not use up the attempts of all that is in the queue.
    pub(super) async fn recover(&self) {
        let mut pauses = Pauses::new(self.config.retry_delay, MAX_DELAY);
        while let Err(error) = self.sandbox.check().await {
            // The sandbox has said so once; every slot would say it again.
            debug!(%error, "the sandbox is away; waiting");
            if !self.wait_for_turn(pauses.next()).await {
                return;
            }
        }
    }

    /// Waits before something that has not begun; says whether there is still time to begin it.
    pub(super) async fn wait_for_turn(&self, delay: Duration) -> bool {
        tokio::select! {
            () = sleep(delay) => true,
            () = self.shutdown.drained() => false,
        }
    }
}

//! A slot in use, and what becomes of it afterwards.

use std::sync::{Arc, atomic::Ordering};

use sandfleet_common::Limits;
use tokio::sync::OwnedSemaphorePermit;
use tracing::warn;

use super::{Shared, cgroup::MemoryEvents, slot::Slot};
use crate::sandbox::{Plan, SandboxError};

/// A slot in use. Dropped before the job's end, it ends the container in the background.
pub(super) struct SlotGuard {
    shared: Arc<Shared>,
    slot: Option<Slot>,
    /// What its program may use.
    limits: Limits,
    /// Given back only when the container is gone.
    turn: Option<OwnedSemaphorePermit>,
}

impl SlotGuard {
    /// A slot for the program of `plan`, for as long as it runs.
    pub(super) async fn take(
        shared: &Arc<Shared>,
        plan: &Plan,
        turn: Option<OwnedSemaphorePermit>,
    ) -> Result<Self, SandboxError> {
        let slot = shared.take_slot(plan).await?;
        shared.leased.fetch_add(1, Ordering::Relaxed);
        let (shared, limits) = (Arc::clone(shared), plan.limits.clone());
        Ok(Self { shared, slot: Some(slot), limits, turn })
    }

    pub(super) fn slot(&mut self) -> Result<&mut Slot, SandboxError> {
        self.slot.as_mut().ok_or_else(|| SandboxError::failed("using a slot", "it is gone"))
    }

    /// Ends the container and the use.
    pub(super) async fn end(mut self) -> Result<Ended, SandboxError> {
        let cleared = self.slot()?.clear(true).await;
        let memory_events = self.slot()?.memory_events();
        let mut ended = Ended { memory_events, cleared: Ok(()) };
        if let Some(slot) = self.slot.take() {
            match cleared {
                Ok(()) => put_away(&self.shared, slot, &self.limits).await,
                Err(error) => ended.cleared = Err(give_up(slot, error)),
            }
        }
        Ok(ended)
    }

    /// Ends the use of a container whose processes are gone but for the first, which is about to go:
    /// nobody has to wait for that, unless as many are on their way out as there are jobs.
    pub(super) async fn leave(mut self) {
        let may_go_on = self.shared.cleanups.len() < self.shared.leased.load(Ordering::Relaxed);
        let Some(ending) = self.ending(false) else { return };
        match may_go_on {
            true => _ = self.shared.cleanups.spawn(ending),
            false => ending.await,
        }
    }

    /// What is still to be done with the slot, apart from the lease.
    fn ending(&mut self, kill: bool) -> Option<impl Future<Output = ()> + use<>> {
        let mut slot = self.slot.take()?;
        let (shared, limits, turn) =
            (Arc::clone(&self.shared), self.limits.clone(), self.turn.take());
        Some(async move {
            match slot.clear(kill).await {
                Ok(()) => put_away(&shared, slot, &limits).await,
                Err(error) => _ = give_up(slot, error),
            }
            drop(turn);
        })
    }
}

impl Drop for SlotGuard {
    fn drop(&mut self) {
        self.shared.leased.fetch_sub(1, Ordering::Relaxed);
        if let Some(ending) = self.ending(true) {
            self.shared.cleanups.spawn(ending);
        }
    }
}

/// What is known of a slot once its container was ended.
pub(super) struct Ended {
    /// What happened in it for want of memory, ever.
    pub(super) memory_events: MemoryEvents,
    /// Whether the container is gone, with all that was in it.
    pub(super) cleared: Result<(), SandboxError>,
}

/// Puts a slot back that is cleared, for another program like that which had `limits`. That the next
/// container can't be started is the next job's business: the one that has ended has its result.
async fn put_away(shared: &Arc<Shared>, mut slot: Slot, limits: &Limits) {
    if !slot.is_expired()
        && let Err(error) = slot.launch_ahead(limits, &shared.policy).await
    {
        give_up(slot, error);
        return;
    }
    shared.put_back(slot);
}

/// Dropping the slot kills its launcher and all that is in its group.
fn give_up(slot: Slot, error: SandboxError) -> SandboxError {
    warn!(%error, "a slot is given up");
    drop(slot);
    error
}

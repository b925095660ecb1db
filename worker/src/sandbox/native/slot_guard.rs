//! A slot in use, and what happens to it afterwards.

use std::sync::{Arc, atomic::Ordering};

use sandfleet_common::Limits;
use tokio::sync::OwnedSemaphorePermit;
use tracing::warn;

use super::{cgroup::MemoryEvents, slot::Slot, slots::SlotPool};
use crate::{
    labels::PoolEvent,
    sandbox::{Plan, SandboxError},
};

/// A slot in use. Dropped before the job's end, it ends the container in the background.
pub(super) struct SlotGuard {
    slots: Arc<SlotPool>,
    slot: Option<Slot>,
    /// What its program may use.
    limits: Limits,
    /// Released only when the container is gone.
    turn: Option<OwnedSemaphorePermit>,
}

impl SlotGuard {
    /// A slot for the program of `plan`, for as long as it runs.
    pub(super) async fn take(
        slots: &Arc<SlotPool>,
        plan: &Plan,
        turn: Option<OwnedSemaphorePermit>,
    ) -> Result<Self, SandboxError> {
        let slot = slots.take(plan).await?;
        slots.leased.fetch_add(1, Ordering::Relaxed);
        let (slots, limits) = (Arc::clone(slots), plan.limits.clone());
        Ok(Self { slots, slot: Some(slot), limits, turn })
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
                Ok(()) => put_away(&self.slots, slot, &self.limits).await,
                Err(error) => ended.cleared = Err(discard(slot, error)),
            }
        }
        Ok(ended)
    }

    /// Ends the use of a container whose only process left is its first, which is about to exit. That happens in
    /// the background, unless as many containers are ending as there are jobs.
    pub(super) async fn leave(mut self) {
        let may_go_on = self.slots.cleanups.len() < self.slots.leased.load(Ordering::Relaxed);
        let Some(ending) = self.ending(false) else { return };
        match may_go_on {
            true => _ = self.slots.cleanups.spawn(ending),
            false => ending.await,
        }
    }

    /// What is still to be done with the slot, apart from the lease.
    fn ending(&mut self, kill: bool) -> Option<impl Future<Output = ()> + use<>> {
        let mut slot = self.slot.take()?;
        let (slots, limits, turn) =
            (Arc::clone(&self.slots), self.limits.clone(), self.turn.take());
        Some(async move {
            match slot.clear(kill).await {
                Ok(()) => put_away(&slots, slot, &limits).await,
                Err(error) => _ = discard(slot, error),
            }
            drop(turn);
        })
    }
}

impl Drop for SlotGuard {
    fn drop(&mut self) {
        self.slots.leased.fetch_sub(1, Ordering::Relaxed);
        if let Some(ending) = self.ending(true) {
            self.slots.cleanups.spawn(ending);
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

/// Puts back a cleared slot, with a container started ahead for a program with the same `limits`. If that
/// can't be started, the slot is discarded; the job that ended has its result.
async fn put_away(slots: &Arc<SlotPool>, mut slot: Slot, limits: &Limits) {
    if !slot.is_expired() {
        match slot.launch_ahead(limits, &slots.policy).await {
            Ok(true) => slots.config.observer.pool(PoolEvent::Made),
            Ok(false) => {}
            Err(error) => {
                slots.config.observer.pool(PoolEvent::Died);
                discard(slot, error);
                return;
            }
        }
    }
    slots.put_back(slot);
}

/// Dropping the slot kills its launcher and all that is in its group.
fn discard(slot: Slot, error: SandboxError) -> SandboxError {
    warn!(%error, "a slot is discarded");
    drop(slot);
    error
}

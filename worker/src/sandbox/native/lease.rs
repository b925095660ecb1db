//! A slot in use, and what becomes of it afterwards.

use std::sync::{Arc, atomic::Ordering};

use sandfleet_common::Limits;
use tokio::sync::OwnedSemaphorePermit;
use tracing::warn;

use super::{Shared, slot::Slot};
use crate::sandbox::{Plan, SandboxError};

/// A slot in use. Dropped before the job's end, it ends the container in the background.
pub(super) struct Lease {
    shared: Arc<Shared>,
    slot: Option<Slot>,
    /// What its program may use.
    limits: Limits,
    /// Given back only when the container is gone.
    turn: Option<OwnedSemaphorePermit>,
}

impl Lease {
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

    /// Ends the container and the use; gives back the slot's kills for want of memory, ever.
    pub(super) async fn end(mut self) -> Result<u64, SandboxError> {
        let cleared = self.slot()?.clear(true).await;
        let kills = self.slot()?.memory_kills();
        if let Some(slot) = self.slot.take() {
            put_away(&self.shared, slot, cleared, &self.limits).await?;
        }
        Ok(kills)
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
            let cleared = slot.clear(kill).await;
            if let Err(error) = put_away(&shared, slot, cleared, &limits).await {
                warn!(%error, "a container could not be ended in order");
            }
            drop(turn);
        })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shared.leased.fetch_sub(1, Ordering::Relaxed);
        if let Some(ending) = self.ending(true) {
            self.shared.cleanups.spawn(ending);
        }
    }
}

/// Puts a slot back that was `cleared`, if it is fit for another program like that which had `limits`.
async fn put_away(
    shared: &Arc<Shared>,
    mut slot: Slot,
    cleared: Result<(), SandboxError>,
    limits: &Limits,
) -> Result<(), SandboxError> {
    let ready = match cleared {
        Ok(()) if slot.is_worn() => Ok(()),
        Ok(()) => slot.launch_ahead(limits, &shared.policy).await,
        Err(error) => Err(error),
    };
    let Err(error) = ready else {
        shared.put_back(slot);
        return Ok(());
    };
    // Dropping the slot kills its launcher and all that is in its group, and waits for that.
    shared.cleanups.spawn_blocking(move || drop(slot));
    match error {
        SandboxError::Barrier { .. } => Err(error),
        SandboxError::Failed { .. } => {
            warn!(%error, "a slot is given up");
            Ok(())
        }
    }
}

//! Which jobs run beside which.
//!
//! A job that kills its worker takes those with it that run beside it, and costs each of them an
//! attempt. So the last attempt of a job is made alone: when that fails too, no other job can
//! be the cause, and none loses an attempt.

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Admits the jobs of one worker.
#[derive(Debug, Default)]
pub struct ExclusiveGate(RwLock<()>);

/// Admits a job until it is dropped.
#[derive(Debug)]
pub(crate) enum RunPermit<'a> {
    /// Beside others.
    Shared { _guard: RwLockReadGuard<'a, ()> },
    /// With no other job.
    Exclusive { _guard: RwLockWriteGuard<'a, ()> },
}

impl ExclusiveGate {
    /// Waits for a permit. An exclusive one waits until all others are dropped, and later ones wait for
    /// it, so that it isn't starved.
    pub(crate) async fn acquire(&self, exclusive: bool) -> RunPermit<'_> {
        match exclusive {
            false => RunPermit::Shared { _guard: self.0.read().await },
            true => RunPermit::Exclusive { _guard: self.0.write().await },
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn an_exclusive_permit_waits_for_all_others() {
        let gate = ExclusiveGate::default();
        let first = gate.acquire(false).now_or_never().expect("a place");
        let second = gate.acquire(false).now_or_never().expect("a place beside the first");
        assert!(gate.acquire(true).now_or_never().is_none(), "two are there");
        drop((first, second));
        let exclusive = gate.acquire(true).now_or_never().expect("all have ended");
        assert!(gate.acquire(false).now_or_never().is_none(), "the exclusive one is held");
        drop(exclusive);
        assert!(gate.acquire(false).now_or_never().is_some());
    }
}

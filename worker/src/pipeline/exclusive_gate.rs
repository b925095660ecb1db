//! Which jobs run beside which.
//!
//! A job that kills its worker takes those with it that run beside it, and costs each of them an
//! attempt. So the last attempt of a job is made alone: when that fails too, nobody else can be
//! to blame, and nobody else pays.

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The jobs of one worker.
#[derive(Debug, Default)]
pub struct ExclusiveGate(RwLock<()>);

/// A job's place among them, until it is dropped.
#[derive(Debug)]
pub(crate) enum RunPermit<'a> {
    /// Beside others.
    Shared { _guard: RwLockReadGuard<'a, ()> },
    /// With nobody else.
    Exclusive { _guard: RwLockWriteGuard<'a, ()> },
}

impl ExclusiveGate {
    /// Waits for a place. Whoever wants to be alone waits until all that run have ended, and who
    /// comes later waits for him: so he isn't kept waiting for ever.
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
        assert!(gate.acquire(false).now_or_never().is_none(), "he wants to be alone");
        drop(exclusive);
        assert!(gate.acquire(false).now_or_never().is_some());
    }
}

//! Which jobs run beside which.
//!
//! A job that kills its worker takes those with it that run beside it, and costs each of them an
//! attempt. So the last attempt of a job is made alone: when that fails too, nobody else can be
//! to blame, and nobody else pays.

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The jobs of one worker.
#[derive(Debug, Default)]
pub struct Company(RwLock<()>);

/// A job's place among them, until it is dropped.
#[derive(Debug)]
pub(crate) enum Seat<'a> {
    /// Beside others.
    Shared { _guard: RwLockReadGuard<'a, ()> },
    /// With nobody else.
    Alone { _guard: RwLockWriteGuard<'a, ()> },
}

impl Company {
    /// Waits for a place. Whoever wants to be alone waits until all that run have ended, and who
    /// comes later waits for him: so he isn't kept waiting for ever.
    pub(crate) async fn join(&self, alone: bool) -> Seat<'_> {
        match alone {
            false => Seat::Shared { _guard: self.0.read().await },
            true => Seat::Alone { _guard: self.0.write().await },
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn who_wants_to_be_alone_is_alone() {
        let company = Company::default();
        let first = company.join(false).now_or_never().expect("a place");
        let second = company.join(false).now_or_never().expect("a place beside the first");
        assert!(company.join(true).now_or_never().is_none(), "two are there");
        drop((first, second));
        let alone = company.join(true).now_or_never().expect("nobody is there");
        assert!(company.join(false).now_or_never().is_none(), "he wants to be alone");
        drop(alone);
        assert!(company.join(false).now_or_never().is_some());
    }
}

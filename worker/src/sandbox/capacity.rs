//! How many programs a sandbox may run at a time, less the places of what the kernel or the engine
//! can't end.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::watch;
use tracing::{error, info};

use super::error::SandboxError;

/// The places of a sandbox.
#[derive(Debug)]
pub struct Capacity {
    total: usize,
    state: watch::Sender<State>,
}

#[derive(Debug, Default)]
struct State {
    running: usize,
    /// What holds a place and can't be ended.
    stuck: BTreeMap<u64, String>,
    next: u64,
}

/// A place in use; dropped, it is free again.
#[derive(Debug)]
pub(crate) struct Place(Arc<Capacity>);

/// A place that is lost until this is dropped.
#[derive(Debug)]
pub(crate) struct LostPlace {
    capacity: Arc<Capacity>,
    key: u64,
}

impl Capacity {
    pub(crate) fn new(total: usize) -> Arc<Self> {
        Arc::new(Self { total, state: watch::Sender::default() })
    }

    /// A place for one program. Waits for one, unless all are lost.
    pub(crate) async fn enter(self: &Arc<Self>) -> Result<Place, SandboxError> {
        let mut changes = self.state.subscribe();
        loop {
            changes.mark_unchanged();
            let mut entered = false;
            self.state.send_if_modified(|state| {
                entered = state.running + state.stuck.len() < self.total;
                state.running += usize::from(entered);
                // It leaves less for those that wait: nothing to tell them.
                false
            });
            if entered {
                return Ok(Place(Arc::clone(self)));
            }
            if let Some(reason) = self.exhaustion() {
                return Err(SandboxError::failed("finding a slot", reason));
            }
            // The sender is part of self, so that the channel can't be closed.
            let _ = changes.changed().await;
        }
    }

    /// A place whether there is one or not: for what is being ended, since until it is known whether that can be done no
    /// other program has it; and for programs that wait for each other.
    pub(crate) fn hold(self: &Arc<Self>) -> Place {
        self.state.send_modify(|state| state.running += 1);
        Place(Arc::clone(self))
    }

    /// Takes a place out because `what` is in it can't be ended.
    pub(crate) fn lose(self: &Arc<Self>, what: String) -> LostPlace {
        let mut key = 0;
        self.state.send_modify(|state| {
            key = state.next;
            state.next += 1;
            state.stuck.insert(key, what.clone());
        });
        let (lost, slots) = (self.lost(), self.total);
        error!(what, lost, slots, "a slot is taken out: what is in it can't be ended");
        LostPlace { capacity: Arc::clone(self), key }
    }

    /// How many places are lost.
    pub fn lost(&self) -> usize {
        self.state.borrow().stuck.len()
    }

    /// How many places are lost and to what, if any are.
    pub fn losses(&self) -> Option<String> {
        let state = self.state.borrow();
        let first = state.stuck.values().next()?;
        let (lost, total) = (state.stuck.len(), self.total);
        Some(format!("{lost} of {total} slots held by what can't be ended, such as {first}"))
    }

    /// Why there is no place at all any more, if there is none.
    pub fn exhaustion(&self) -> Option<String> {
        (self.lost() >= self.total).then(|| self.losses()).flatten().map(|losses| {
            format!("no slot is left: {losses}; restart the host, or see why its kernel hangs")
        })
    }

    /// Waits until no place is left, and says why.
    pub async fn exhausted(&self) -> String {
        let mut changes = self.state.subscribe();
        loop {
            if let Some(reason) = self.exhaustion() {
                return reason;
            }
            let _ = changes.changed().await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.state.send_modify(|state| state.running -= 1);
    }
}

impl Drop for LostPlace {
    fn drop(&mut self) {
        let mut what = None;
        self.capacity.state.send_modify(|state| what = state.stuck.remove(&self.key));
        let (lost, slots) = (self.capacity.lost(), self.capacity.total);
        info!(what, lost, slots, "a slot is back: what was in it has ended");
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn what_can_not_be_ended_takes_its_place_out_until_it_has_ended() {
        let capacity = Capacity::new(2);
        let first = capacity.enter().await.expect("two are free");
        let lost = capacity.lose("process 7".into());
        assert!(capacity.enter().now_or_never().is_none(), "one is used, one is lost");
        assert_eq!(capacity.exhaustion(), None);
        drop(first);
        drop(capacity.enter().await.expect("one is free"));
        drop(lost);
        assert_eq!((capacity.lost(), capacity.losses()), (0, None));
        let both = (capacity.enter().await, capacity.enter().await);
        assert!(matches!(both, (Ok(_), Ok(_))));
    }

    #[tokio::test]
    async fn with_every_place_lost_nothing_waits_and_the_reason_is_one_sentence() {
        let capacity = Capacity::new(1);
        let place = capacity.enter().await.expect("free");
        let waiting = capacity.enter();
        tokio::pin!(waiting);
        assert!(waiting.as_mut().now_or_never().is_none());
        let lost = capacity.lose("process 7 (launch, state D)".into());
        let error = waiting.await.expect_err("none will be free").to_string();
        assert!(error.contains("1 of 1 slots") && error.contains("process 7"), "{error}");
        assert!(capacity.exhausted().await.contains("process 7"));
        drop((place, lost));
        assert!(capacity.exhausted().now_or_never().is_none());
    }
}

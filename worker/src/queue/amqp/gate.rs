//! What a worker tells its queue, and the queue its worker, beside deliveries.

use std::sync::Arc;

use tokio::sync::{Notify, watch};

use crate::hooks::Observer;

/// Whether deliveries are wanted, and who is told when the broker has come or gone.
#[derive(Clone)]
pub struct Gate {
    /// While this is false the queue stays connected and takes nothing.
    pub open: watch::Receiver<bool>,
    /// While this is true an operator holds all jobs back, and nothing is taken either: what a worker had taken and kept
    /// would count as returned again and again, and be given up by the broker.
    pub held: watch::Receiver<bool>,
    /// Notified when the broker has come or gone.
    pub changed: Arc<Notify>,
    /// Told of what is asked of the broker.
    pub observer: Observer,
}

/// Always open.
impl Default for Gate {
    fn default() -> Self {
        // A receiver keeps the value when its sender is gone.
        Self {
            open: watch::channel(true).1,
            held: watch::channel(false).1,
            changed: Arc::default(),
            observer: Observer::default(),
        }
    }
}

impl Gate {
    pub(super) fn is_open(&self) -> bool {
        *self.open.borrow() && !*self.held.borrow()
    }

    /// Waits until it is open, or closed.
    pub(super) async fn becomes(&self, wanted: bool) {
        let (mut open, mut held) = (self.open.clone(), self.held.clone());
        while (*open.borrow_and_update() && !*held.borrow_and_update()) != wanted {
            tokio::select! {
                // One that nothing changes any more.
                Ok(()) = open.changed() => {}
                Ok(()) = held.changed() => {}
                else => std::future::pending().await,
            }
        }
    }
}

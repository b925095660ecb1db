//! What a worker tells its queue, and the queue its worker, beside deliveries.

use std::sync::Arc;

use tokio::sync::{Notify, watch};

use crate::hooks::Observer;

/// Whether deliveries are wanted, and who is told when the broker has come or gone.
#[derive(Clone)]
pub struct Gate {
    /// While this is false the queue stays connected and takes nothing.
    pub open: watch::Receiver<bool>,
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
            changed: Arc::default(),
            observer: Observer::default(),
        }
    }
}

impl Gate {
    pub(super) fn is_open(&self) -> bool {
        *self.open.borrow()
    }

    /// Waits until it is open, or closed.
    pub(super) async fn becomes(&self, wanted: bool) {
        let mut open = self.open.clone();
        if open.wait_for(|open| *open == wanted).await.is_err() {
            // Nothing will change it any more.
            std::future::pending().await
        }
    }
}

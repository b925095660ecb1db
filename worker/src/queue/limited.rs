//! A queue that gives so many deliveries and no more.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use tokio::sync::watch;

use super::{Delivery, Queue};

/// Gives a worker its deliveries, until it has had as many as it may.
pub struct LimitedQueue {
    queue: Arc<dyn Queue>,
    left: AtomicU64,
    used_up: watch::Sender<bool>,
}

impl LimitedQueue {
    /// `queue`, for `most` deliveries.
    pub fn new(queue: Arc<dyn Queue>, most: u64) -> Self {
        Self { queue, left: AtomicU64::new(most), used_up: watch::Sender::new(most == 0) }
    }

    /// Waits until the last delivery was taken.
    pub async fn used_up(&self) {
        // The sender is part of self, so that the channel can't be closed.
        let _ = self.used_up.subscribe().wait_for(|used_up| *used_up).await;
    }
}

#[async_trait]
impl Queue for LimitedQueue {
    async fn next(&self) -> Option<Delivery> {
        let delivery = tokio::select! {
            // In this order: when both are ready, nothing more is taken.
            biased;
            // A waiter for one more, when others have taken the last.
            () = self.used_up() => return None,
            delivery = self.queue.next() => delivery?,
        };
        let one_less = |left: u64| left.checked_sub(1);
        match self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less) {
            Ok(left) => {
                if left == 1 {
                    self.used_up.send_replace(true);
                }
                Some(delivery)
            }
            // Dropped, it goes back.
            Err(_) => None,
        }
    }

    async fn stop(&self) {
        self.queue.stop().await;
    }

    async fn check(&self) -> Result<Option<String>, String> {
        self.queue.check().await
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            MemoryQueue,
            settle::{Settlement, settle},
        },
        *,
    };

    #[tokio::test]
    async fn the_last_delivery_is_the_last() {
        let memory = MemoryQueue::new();
        (0..5u8).for_each(|n| memory.push(vec![n]));
        let queue = LimitedQueue::new(Arc::new(memory.clone()), 3);
        for n in 0..3 {
            let delivery = queue.next().await.expect("one more");
            assert_eq!(delivery.body, [n]);
            settle(delivery, Settlement::Done).await;
        }
        queue.used_up().await;
        assert!(queue.next().await.is_none());
        let left = memory.next().await.expect("it was not taken");
        assert_eq!(left.body, [3]);
    }
}

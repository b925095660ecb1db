//! A queue that gives a worker no more than it may take: so many deliveries in all, and none while the host
//! is short of memory.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use tokio::{sync::watch, time::sleep};

use super::{Delivery, Queue};
use crate::{
    host::memory::{HostMemory, LOOK_INTERVAL},
    trouble::Trouble,
};

/// Gives a worker its deliveries, as long as it may take one.
pub struct LimitedQueue {
    queue: Arc<dyn Queue>,
    memory: Option<Arc<HostMemory>>,
    left: AtomicU64,
    used_up: watch::Sender<bool>,
    is_stopped: watch::Sender<bool>,
}

impl LimitedQueue {
    /// `queue`, for `most` deliveries, on a host with `memory` if that is watched.
    pub fn new(queue: Arc<dyn Queue>, most: u64, memory: Option<Arc<HostMemory>>) -> Self {
        let (used_up, is_stopped) = (watch::Sender::new(most == 0), watch::Sender::new(false));
        Self { queue, memory, left: AtomicU64::new(most), used_up, is_stopped }
    }

    /// Waits until the last delivery was taken.
    pub async fn used_up(&self) {
        // The sender is part of self, so that the channel can't be closed.
        let _ = self.used_up.subscribe().wait_for(|used_up| *used_up).await;
    }

    /// Waits until there is memory; nothing if the queue was stopped before.
    async fn wait_for_memory(&self) -> Option<()> {
        while self.memory.as_ref().is_some_and(|memory| !memory.has_room()) {
            let mut stopped = self.is_stopped.subscribe();
            tokio::select! {
                _ = stopped.wait_for(|stopped| *stopped) => return None,
                () = sleep(LOOK_INTERVAL) => {}
            }
        }
        Some(())
    }

    /// The next delivery for which there is memory. Dropped, it goes back.
    async fn next_with_memory(&self) -> Option<Delivery> {
        self.wait_for_memory().await?;
        let delivery = self.queue.next().await?;
        // It may have been waited for since there was memory.
        self.wait_for_memory().await?;
        Some(delivery)
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
            delivery = self.next_with_memory() => delivery?,
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
        self.is_stopped.send_replace(true);
        self.queue.stop().await;
    }

    async fn check(&self) -> Result<Option<String>, Trouble> {
        self.queue.check().await
    }

    fn is_blocked(&self) -> bool {
        self.queue.is_blocked()
    }

    fn taken_until(&self) -> Vec<(String, i64)> {
        self.queue.taken_until()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use futures_util::FutureExt;

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
        let queue = LimitedQueue::new(Arc::new(memory.clone()), 3, None);
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

    fn limited(queue: &MemoryQueue, memory: &Arc<HostMemory>) -> LimitedQueue {
        LimitedQueue::new(Arc::new(queue.clone()), u64::MAX, Some(Arc::clone(memory)))
    }

    #[tokio::test]
    async fn no_delivery_is_given_while_the_host_is_short_and_none_is_lost() {
        let proc = tempfile::tempdir().expect("room");
        let set = |kib: u64| {
            fs::write(proc.path().join("meminfo"), format!("MemAvailable: {kib} kB\n"))
                .expect("room");
        };
        set(1);
        let (waiting, memory) =
            (MemoryQueue::new(), Arc::new(HostMemory::new(proc.path(), 1 << 20)));
        waiting.push(vec![1]);
        let queue = limited(&waiting, &memory);
        let next = queue.next();
        tokio::pin!(next);
        assert!(next.as_mut().now_or_never().is_none(), "the host is short");
        set(2048);
        let delivery = next.await.expect("there is memory again");
        settle(delivery, Settlement::Done).await;

        set(1);
        memory.check().expect_err("it is short again");
        waiting.push(vec![2]);
        let next = queue.next();
        tokio::pin!(next);
        assert!(next.as_mut().now_or_never().is_none());
        queue.stop().await;
        assert!(next.await.is_none(), "a waiting caller sees the end");
    }

    #[tokio::test]
    async fn what_comes_while_the_host_is_short_goes_back_when_the_worker_stops() {
        let proc = tempfile::tempdir().expect("room");
        let file = proc.path().join("meminfo");
        fs::write(&file, "MemAvailable: 2048 kB\n").expect("room");
        let (waiting, memory) =
            (MemoryQueue::new(), Arc::new(HostMemory::new(proc.path(), 1 << 20)));
        let queue = limited(&waiting, &memory);
        let next = queue.next();
        tokio::pin!(next);
        assert!(next.as_mut().now_or_never().is_none(), "nothing is there yet");
        fs::write(&file, "MemAvailable: 1 kB\n").expect("room");
        memory.check().expect_err("short now");
        waiting.push(vec![1]);
        assert!(next.as_mut().now_or_never().is_none(), "it is held");
        queue.is_stopped.send_replace(true);
        assert!(next.await.is_none());
        assert_eq!(waiting.next().await.expect("it went back").body, [1]);
    }
}

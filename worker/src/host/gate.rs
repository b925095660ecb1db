//! A queue that gives nothing while the host is short of memory.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::{sync::watch, time::sleep};

use super::memory::{HostMemory, LOOK_INTERVAL};
use crate::queue::{Delivery, Queue};

/// Gives a worker its deliveries while there is memory for them.
pub struct GatedQueue {
    queue: Arc<dyn Queue>,
    memory: Arc<HostMemory>,
    is_stopped: watch::Sender<bool>,
}

impl GatedQueue {
    /// `queue`, on a host with `memory`.
    pub fn new(queue: Arc<dyn Queue>, memory: Arc<HostMemory>) -> Self {
        Self { queue, memory, is_stopped: watch::Sender::new(false) }
    }

    /// Waits until there is memory; nothing if the queue was stopped before.
    async fn wait_for_memory(&self) -> Option<()> {
        while !self.memory.has_room() {
            let mut stopped = self.is_stopped.subscribe();
            tokio::select! {
                // The sender is part of self, so that the channel can't be closed.
                _ = stopped.wait_for(|stopped| *stopped) => return None,
                () = sleep(LOOK_INTERVAL) => {}
            }
        }
        Some(())
    }
}

#[async_trait]
impl Queue for GatedQueue {
    async fn next(&self) -> Option<Delivery> {
        self.wait_for_memory().await?;
        let delivery = self.queue.next().await?;
        // It may have been waited for since there was memory. Dropped, it goes back.
        self.wait_for_memory().await?;
        Some(delivery)
    }

    async fn stop(&self) {
        self.is_stopped.send_replace(true);
        self.queue.stop().await;
    }

    async fn check(&self) -> Result<Option<String>, String> {
        self.queue.check().await
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use futures_util::FutureExt;

    use super::*;
    use crate::queue::{
        MemoryQueue,
        settle::{Settlement, settle},
    };

    #[tokio::test]
    async fn no_delivery_is_given_while_the_host_is_short_and_none_is_lost() {
        let proc = tempfile::tempdir().expect("room");
        let set = |kib: u64| {
            fs::write(proc.path().join("meminfo"), format!("MemAvailable: {kib} kB\n"))
                .expect("room");
        };
        set(1);
        let (waiting, memory) = (MemoryQueue::new(), HostMemory::new(proc.path(), 1 << 20));
        waiting.push(vec![1]);
        let queue = GatedQueue::new(Arc::new(waiting.clone()), Arc::new(memory));
        let next = queue.next();
        tokio::pin!(next);
        assert!(next.as_mut().now_or_never().is_none(), "the host is short");
        set(2048);
        let delivery = next.await.expect("there is memory again");
        settle(delivery, Settlement::Done).await;

        set(1);
        queue.memory.check().expect_err("it is short again");
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
        let (waiting, memory) = (MemoryQueue::new(), HostMemory::new(proc.path(), 1 << 20));
        let queue = GatedQueue::new(Arc::new(waiting.clone()), Arc::new(memory));
        let next = queue.next();
        tokio::pin!(next);
        assert!(next.as_mut().now_or_never().is_none(), "nothing is there yet");
        fs::write(&file, "MemAvailable: 1 kB\n").expect("room");
        queue.memory.check().expect_err("short now");
        waiting.push(vec![1]);
        assert!(next.as_mut().now_or_never().is_none(), "it is held");
        queue.is_stopped.send_replace(true);
        assert!(next.await.is_none());
        assert_eq!(waiting.next().await.expect("it went back").body, [1]);
    }
}

//! The depths of queues, for choosing the shorter of two.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How long an answer of the broker's is relied on. What is published here meanwhile is counted.
const FRESH: Duration = Duration::from_millis(100);
/// How long a queue that didn't confirm is the last choice.
const AVOIDED: Duration = Duration::from_secs(60);

/// What was last known of some queues.
#[derive(Default)]
pub(crate) struct QueueDepths {
    known: Mutex<HashMap<String, Depth>>,
}

struct Depth {
    waiting: u64,
    seen: Instant,
}

impl QueueDepths {
    /// Whether the depths of both queues are known well enough.
    pub(crate) fn know(&self, queues: &[String; 2]) -> bool {
        let known = self.lock();
        let fresh = |queue| known.get(queue).is_some_and(|depth| depth.seen.elapsed() < FRESH);
        queues.iter().all(fresh)
    }

    /// Whether a queue is the last choice at present.
    pub(crate) fn avoids(&self, queue: &str) -> bool {
        self.lock().get(queue).is_some_and(|depth| depth.seen > Instant::now())
    }

    /// The broker said how many messages wait in a queue.
    pub(crate) fn note(&self, queue: &str, waiting: u64) {
        self.lock().insert(queue.to_owned(), Depth { waiting, seen: Instant::now() });
    }

    /// A queue didn't confirm: for a while it counts as longer than any other.
    pub(crate) fn avoid(&self, queue: &str) {
        let depth = Depth { waiting: u64::MAX, seen: Instant::now() + AVOIDED };
        self.lock().insert(queue.to_owned(), depth);
    }

    /// The shorter one, into which a message is put now.
    pub(crate) fn choose(&self, queues: [String; 2]) -> String {
        let mut known = self.lock();
        let waiting = |queue| known.get(queue).map_or(0, |depth: &Depth| depth.waiting);
        let [first, second] = queues;
        let chosen = if waiting(&second) < waiting(&first) { second } else { first };
        if let Some(depth) = known.get_mut(&chosen) {
            depth.waiting = depth.waiting.saturating_add(1);
        }
        chosen
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Depth>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_level_two_queues() {
        let depths = QueueDepths::default();
        let queues = || ["long".to_owned(), "short".to_owned()];
        assert!(!depths.know(&queues()));
        depths.note("long", 10);
        depths.note("short", 4);
        assert!(depths.know(&queues()));
        let chosen: Vec<String> = (0..10).map(|_| depths.choose(queues())).collect();
        assert_eq!(chosen[..6], vec!["short"; 6]);
        assert_eq!(chosen.iter().filter(|queue| *queue == "long").count(), 2);
    }
    #[test]
    fn a_queue_that_did_not_confirm_is_the_last_choice() {
        let depths = QueueDepths::default();
        let queues = || ["stuck".to_owned(), "long".to_owned()];
        depths.note("long", 1000);
        depths.avoid("stuck");
        assert!(depths.know(&queues()) && depths.avoids("stuck") && !depths.avoids("long"));
        assert_eq!(depths.choose(queues()), "long");
    }
}

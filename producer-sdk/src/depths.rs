//! How full queues are, for whoever may choose between two.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How long an answer of the broker's is relied on. What is published here meanwhile is counted.
const FRESH: Duration = Duration::from_millis(100);

/// What was last known of some queues.
#[derive(Default)]
pub(crate) struct Depths {
    known: Mutex<HashMap<String, Depth>>,
}

struct Depth {
    waiting: u64,
    seen: Instant,
}

impl Depths {
    /// Whether the depths of both queues are known well enough.
    pub(crate) fn know(&self, queues: &[String; 2]) -> bool {
        let known = self.lock();
        let fresh = |queue| known.get(queue).is_some_and(|depth| depth.seen.elapsed() < FRESH);
        queues.iter().all(fresh)
    }

    /// The broker said how many messages wait in a queue.
    pub(crate) fn note(&self, queue: &str, waiting: u64) {
        self.lock().insert(queue.to_owned(), Depth { waiting, seen: Instant::now() });
    }

    /// The shorter one, into which a message is put now.
    pub(crate) fn choose(&self, queues: [String; 2]) -> String {
        let mut known = self.lock();
        let waiting = |queue| known.get(queue).map_or(0, |depth: &Depth| depth.waiting);
        let [first, second] = queues;
        let chosen = if waiting(&second) < waiting(&first) { second } else { first };
        if let Some(depth) = known.get_mut(&chosen) {
            depth.waiting += 1;
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
        let depths = Depths::default();
        let queues = || ["long".to_owned(), "short".to_owned()];
        assert!(!depths.know(&queues()));
        depths.note("long", 10);
        depths.note("short", 4);
        assert!(depths.know(&queues()));
        let chosen: Vec<String> = (0..10).map(|_| depths.choose(queues())).collect();
        assert_eq!(chosen[..6], vec!["short"; 6]);
        assert_eq!(chosen.iter().filter(|queue| *queue == "long").count(), 2);
    }
}

//! What is told of a queue beside its deliveries.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use super::config::AmqpConfig;
use crate::hooks::Observer;

/// What is told of the queues of a worker, from connection to connection.
pub(super) struct Observed {
    pub(super) observer: Observer,
    /// When the last job that was taken from each queue had been submitted.
    taken: BTreeMap<String, Arc<AtomicI64>>,
}

impl Observed {
    pub(super) fn new(config: &AmqpConfig, observer: Observer) -> Self {
        let queues = config.queues().into_iter();
        Self { observer, taken: queues.map(|(_, queue, _)| (queue, Arc::default())).collect() }
    }

    pub(super) fn taken_until(&self, queue: &str) -> Arc<AtomicI64> {
        self.taken.get(queue).map(Arc::clone).unwrap_or_default()
    }

    pub(super) fn all(&self) -> Vec<(String, i64)> {
        let taken =
            self.taken.iter().map(|(queue, at)| (queue.clone(), at.load(Ordering::Relaxed)));
        taken.filter(|(_, at)| *at > 0).collect()
    }
}

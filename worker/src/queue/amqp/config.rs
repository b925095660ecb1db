//! Which jobs a worker takes from RabbitMQ, and from where.

use std::{collections::BTreeSet, time::Duration};

use sandfleet_common::{
    Isolation, Priority,
    names::{self, TENANT_SHARDS},
};
use sandfleet_transport::{Broker, QueueLimits, Tls, Topology};

use crate::pauses::Pauses;

/// The pause after a failure at the broker: it doubles with each.
const SHORTEST_PAUSE: Duration = Duration::from_millis(200);
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The pauses before something is tried again that failed at the broker.
pub(super) fn pauses() -> Pauses {
    Pauses::new(SHORTEST_PAUSE, LONGEST_PAUSE)
}

/// How long one exchange with the broker may take.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// Which jobs a worker takes, and from where.
#[derive(Clone)]
pub struct AmqpConfig {
    /// The broker: `amqp://user:password@host:port/vhost`.
    pub url: String,
    /// Certificates, for `amqps://`.
    pub tls: Tls,
    /// How the names of the fleet's queues begin.
    pub prefix: String,
    /// What the broker calls this worker's connections.
    pub name: String,
    /// How many deliveries are taken and not settled at a time, at least 1.
    pub slots: usize,
    /// When the queues are full.
    pub limits: QueueLimits,
    /// The isolations this worker gives.
    pub isolations: Vec<Isolation>,
    /// The priorities this worker serves.
    pub priorities: Vec<Priority>,
    /// The broker's users of the fleet's workers, besides this one's.
    pub worker_users: BTreeSet<String>,
}

impl AmqpConfig {
    /// The queues of a worker, with their priorities, and whether they are tenants'.
    pub(super) fn queues(&self) -> Vec<(Priority, String, bool)> {
        let (prefix, mut queues) = (&self.prefix, Vec::new());
        for priority in &self.priorities {
            for isolation in &self.isolations {
                queues.push((*priority, names::job_queue(prefix, *isolation, *priority), false));
                let shard = |number| names::shard_queue(prefix, *isolation, *priority, number);
                queues.extend((0..TENANT_SHARDS).map(|number| (*priority, shard(number), true)));
            }
        }
        queues
    }

    /// The broker's users of all workers, of which this one is at `broker`.
    pub(super) fn worker_users(&self, broker: &Broker) -> BTreeSet<String> {
        self.worker_users.iter().map(String::as_str).chain(broker.user()).map(Into::into).collect()
    }

    /// What a connection declares that serves `isolations`.
    pub(super) fn topology(&self, isolations: Vec<Isolation>) -> Topology {
        Topology { prefix: self.prefix.clone(), isolations, limits: self.limits }
    }
}

//! A queue and a store: what a worker stands on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sandfleet_common::{Job, Priority, encode, payload_digest};
use sandfleet_transport::records::{Claim, MemoryStore, Purpose, Store};
use sandfleet_worker::queue::{Delivery, MemoryQueue, Queue};

use crate::{ChaosProxy, Services, eventually, soon};

/// A claim by `owner` that outlasts any test, on one of three attempts, of the job `1` in Python.
pub fn claim(owner: &str) -> Claim {
    Claim {
        owner: owner.into(),
        lease: Duration::from_secs(600),
        max_attempts: 3,
        ttl: None,
        queued_at: None,
        exclusive: false,
        payload: payload_digest(&encode(&Job::new("python", "1"))),
        purpose: Purpose::Run,
        scopes: Vec::new(),
        quota: Default::default(),
    }
}

/// Creates the record of `job` as its producer does before it publishes.
///
/// # Panics
/// If the store refuses it.
pub async fn submitted(store: &dyn Store, job: &Job) {
    let payload = payload_digest(&encode(job));
    store.create(job, &payload, "", None).await.expect("the record is created");
}

/// A queue and a store that belong together.
pub struct Backends {
    /// The store.
    pub store: Arc<dyn Store>,
    backend: Backend,
}

enum Backend {
    Memory { queue: MemoryQueue, letters_seen: AtomicUsize },
    Services(Box<Services>),
}

/// A worker's end of the queue.
pub struct Worker {
    /// The queue as this worker sees it.
    pub queue: Arc<dyn Queue>,
    /// The wire to the broker, if there is one.
    wire: Option<ChaosProxy>,
}

impl Backends {
    /// Both in this process.
    pub fn memory() -> Self {
        let backend =
            Backend::Memory { queue: MemoryQueue::new(), letters_seen: AtomicUsize::new(0) };
        Self { store: Arc::new(MemoryStore::new()), backend }
    }

    /// RabbitMQ and Redis.
    pub fn services() -> Self {
        let services = Box::new(Services::fresh());
        let store = Arc::new(services.store(&services.redis_url));
        Self { store, backend: Backend::Services(services) }
    }

    /// A worker that takes at most `slots` jobs at a time.
    ///
    /// # Panics
    /// If it doesn't get a connection.
    pub async fn worker(&self, slots: usize) -> Worker {
        match &self.backend {
            Backend::Memory { queue, .. } => Worker { queue: Arc::new(queue.clone()), wire: None },
            Backend::Services(services) => {
                let (wire, url) = services.amqp_relay().await;
                let queue: Arc<dyn Queue> = Arc::new(services.queue(&url, slots));
                eventually("a connection", || async { queue.check().await.ok() }).await;
                Worker { queue, wire: Some(wire) }
            }
        }
    }

    /// One more worker after one was stopped; in memory there is only one queue to stop.
    pub async fn another_worker(&self, slots: usize) -> Option<Worker> {
        match &self.backend {
            Backend::Memory { .. } => None,
            Backend::Services(_) => Some(self.worker(slots).await),
        }
    }

    /// Puts a message into the queue, whatever it holds.
    ///
    /// # Panics
    /// If the broker doesn't take it.
    pub async fn push(&self, body: &[u8]) {
        match &self.backend {
            Backend::Memory { queue, .. } => queue.push(body.to_vec()),
            Backend::Services(services) => services.push(Priority::Interactive, body).await,
        }
    }

    /// The next message that was set aside, if there is one: body and reason.
    pub async fn unreadable(&self) -> Option<(Vec<u8>, String)> {
        match &self.backend {
            Backend::Memory { queue, letters_seen } => {
                let letter = queue.unreadable().get(letters_seen.load(Ordering::SeqCst))?.clone();
                letters_seen.fetch_add(1, Ordering::SeqCst);
                Some((letter.body, letter.reason))
            }
            Backend::Services(services) => services.unreadable().await,
        }
    }
}

impl Worker {
    /// The next job.
    ///
    /// # Panics
    /// If there is none.
    pub async fn take(&self) -> Delivery {
        soon("a job", self.queue.next()).await.expect("the queue goes on")
    }

    /// The worker dies with this delivery in hand.
    pub async fn vanish(self, delivery: Delivery) {
        if let Some(wire) = &self.wire {
            // What it does with the delivery afterwards has no effect.
            wire.cut();
        }
        drop(delivery);
        self.vanish_idle().await;
    }

    /// The worker dies.
    pub async fn vanish_idle(self) {
        if let Some(wire) = &self.wire {
            wire.cut();
        }
    }
}

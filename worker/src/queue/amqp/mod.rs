//! Jobs from RabbitMQ.
//!
//! A worker never holds more deliveries than it has slots; what comes in while it is filling its
//! last slot it returns. The broker's own prefetch can't promise that: it counts for each consumer
//! and so for each queue, and a worker that is busy with batch jobs would sit on interactive ones
//! that an idle worker could run. So the worker asks for a job
//! when it has a slot for it, and subscribes only to wait for the next one when there is none;
//! [`pollers`] has the details.

mod ack_handle;
mod backoff;
mod circuit_breaker;
mod dead_letters;
mod expiry;
mod poller;
mod pollers;
mod scheduler;
mod supervisor;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use sandfleet_common::{Isolation, Priority};
use sandfleet_transport::{Broker, Error, Publisher, QueueLimits, Tls, Topology};
use tokio::{
    sync::{Mutex as AsyncMutex, Semaphore, mpsc, watch},
    task::JoinHandle,
};
use tracing::debug;

pub use self::dead_letters::{DEAD_LETTERS_AT_A_TIME, DeadLetters, Death};
use self::{
    ack_handle::AmqpAckHandle,
    circuit_breaker::CircuitBreaker,
    supervisor::{BrokerStatus, Supervisor},
};
use super::{AckHandle, Delivery, Queue};

/// How long one exchange with the broker may take.
const TIMEOUT: Duration = Duration::from_secs(10);

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
}

/// The job queues of a RabbitMQ. Loses its connection and comes back by itself, for ever.
pub struct AmqpQueue {
    deliveries: AsyncMutex<mpsc::Receiver<(lapin::message::Delivery, AmqpAckHandle)>>,
    reachable: Arc<Mutex<BrokerStatus>>,
    stuck: watch::Receiver<BTreeSet<String>>,
    /// How many queues it serves.
    served: usize,
    stop: watch::Sender<bool>,
    supervisor: AsyncMutex<Option<JoinHandle<()>>>,
}

impl AmqpQueue {
    /// Starts taking jobs. Returns at once; [`check`](Queue::check) tells whether the broker is
    /// there. Call it within a tokio runtime.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] if the URL is none, or nothing is to be served.
    pub fn connect(config: AmqpConfig) -> Result<Self, Error> {
        let refuse = |setting, reason: &str| {
            Err(Error::InvalidConfig { setting, reason: reason.to_owned() })
        };
        if config.slots == 0 {
            return refuse("slots", "0 slots run nothing; use at least 1");
        }
        if config.isolations.is_empty() || config.priorities.is_empty() {
            return refuse("isolations", "no queue to serve; name an isolation and a priority");
        }
        let broker = Broker::new(&config.url, &config.name, TIMEOUT, &config.tls)?;
        let (sender, deliveries) = mpsc::channel(config.slots);
        let (stop, stopped) = watch::channel(false);
        let reachable = Arc::new(Mutex::new(BrokerStatus::No("not connected yet".into())));
        let dead_letters = Topology {
            prefix: config.prefix.clone(),
            isolations: Vec::new(),
            limits: config.limits,
        };
        let circuit_breaker = CircuitBreaker::new(broker.clone());
        let (stuck, served) = (circuit_breaker.stuck(), pollers::queues(&config).len());
        let supervisor = Supervisor {
            circuit_breaker,
            // A connection of its own: a broker that blocks publishers reads nothing more from
            // theirs, and the acks of finished jobs have to go on.
            publisher: Arc::new(Publisher::new(broker.clone(), dead_letters)),
            broker,
            slots: Arc::new(Semaphore::new(config.slots)),
            config,
            deliveries: sender,
            reachable: reachable.clone(),
            stopped,
        };
        Ok(Self {
            deliveries: AsyncMutex::new(deliveries),
            reachable,
            stuck,
            served,
            stop,
            supervisor: AsyncMutex::new(Some(tokio::spawn(supervisor.run()))),
        })
    }
}

#[async_trait]
impl Queue for AmqpQueue {
    async fn next(&self) -> Option<Delivery> {
        let mut stopped = self.stop.subscribe();
        let taken = async {
            loop {
                let (message, ack_handle) = self.deliveries.lock().await.recv().await?;
                // The connection it came over is gone, so the broker gives it to somebody else.
                if !ack_handle.is_settleable() {
                    continue;
                }
                if expiry::is_over(&ack_handle.headers, Timestamp::now()) {
                    if let Err(error) = ack_handle.expire(message.data).await {
                        debug!(%error, "an expired message goes back to its queue");
                    }
                    continue;
                }
                return Some(Delivery {
                    body: message.data,
                    put_off: ack_handle::put_off(&ack_handle.headers),
                    malformed: ack_handle::malformed(&ack_handle.headers),
                    ack_handle: Box::new(ack_handle),
                });
            }
        };
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => None,
            delivery = taken => delivery,
        }
    }

    async fn stop(&self) {
        self.stop.send_replace(true);
        if let Some(supervisor) = self.supervisor.lock().await.take() {
            // An error means that it panicked: there is nothing to wait for either.
            let _ = supervisor.await;
        }
        let mut deliveries = self.deliveries.lock().await;
        while let Some((_, ack_handle)) = deliveries.recv().await {
            // If this doesn't reach the broker, the end of the connection does.
            let _ = Box::new(ack_handle).requeue(Vec::new()).await;
        }
    }

    async fn check(&self) -> Result<Option<String>, String> {
        self.reachable.lock().unwrap_or_else(PoisonError::into_inner).check()?;
        circuit_breaker::verdict(&self.stuck.borrow(), self.served)
    }
}

impl Drop for AmqpQueue {
    fn drop(&mut self) {
        if let Ok(mut supervisor) = self.supervisor.try_lock()
            && let Some(supervisor) = supervisor.take()
        {
            supervisor.abort();
        }
    }
}

//! Jobs from RabbitMQ.
//!
//! A worker never holds more deliveries than it has slots; what comes in while it is filling its
//! last slot it returns. The broker's own prefetch can't promise that: it counts for each consumer
//! and so for each queue, and a worker that is busy with batch jobs would sit on interactive ones
//! that an idle worker could run. So the worker asks for a job
//! when it has a slot for it, and subscribes only to wait for the next one when there is none;
//! [`pollers`] has the details.

mod ack_handle;
mod circuit_breaker;
mod config;
mod dead_letters;
mod expiry;
mod failure;
mod gate;
mod headers;
mod kept;
mod observed;
mod poller;
mod pollers;
mod publisher_user;
mod republish;
mod scheduler;
mod session;
mod supervisor;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, Once, PoisonError, atomic::AtomicBool},
};

use async_trait::async_trait;
use jiff::Timestamp;
use sandfleet_transport::{Broker, Error, MessageTrace, Publisher};
use tokio::{
    sync::{Mutex as AsyncMutex, Semaphore, mpsc, watch},
    task::JoinHandle,
};
use tracing::debug;

pub use self::config::AmqpConfig;
pub use self::dead_letters::{DEAD_LETTERS_AT_A_TIME, DeadLetterStatus, DeadLetters, Death};
pub use self::gate::Gate;
pub use self::kept::{KeptMessage, KeptMessages, Look};
use self::{
    ack_handle::AmqpAckHandle, circuit_breaker::CircuitBreaker, config::TIMEOUT,
    observed::Observed, session::BrokerStatus, supervisor::Supervisor,
};
use crate::{
    queue::{AckHandle, Delivery, Queue},
    trouble::Trouble,
};

/// The job queues of a RabbitMQ. Loses its connection and comes back by itself, for ever.
pub struct AmqpQueue {
    deliveries: AsyncMutex<mpsc::Receiver<(lapin::message::Delivery, AmqpAckHandle)>>,
    reachable: Arc<Mutex<BrokerStatus>>,
    stuck: watch::Receiver<BTreeSet<String>>,
    observed: Arc<Observed>,
    publisher: Arc<Publisher>,
    /// How many queues it serves.
    served: usize,
    stop: watch::Sender<bool>,
    supervisor: AsyncMutex<Option<JoinHandle<()>>>,
}

impl AmqpQueue {
    /// Starts taking jobs, while `gate` is open. Returns at once; [`check`](Queue::check) tells whether
    /// the broker is there. Call it within a tokio runtime.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] if the URL is none, or nothing is to be served.
    pub fn connect(config: AmqpConfig, gate: Gate) -> Result<Self, Error> {
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
        let reachable = Arc::new(Mutex::new(BrokerStatus::Unknown("not connected yet")));
        let circuit_breaker = CircuitBreaker::new(broker.clone());
        let (stuck, served) = (circuit_breaker.stuck(), config.queues().len());
        let observed = Arc::new(Observed::new(&config, gate.observer.clone()));
        // A connection of its own: a broker that blocks publishers reads nothing more from
        // theirs, and the acks of finished jobs have to go on.
        let publisher = Arc::new(Publisher::new(broker.clone(), config.topology(Vec::new())));
        let worker_users = config.worker_users(&broker);
        let supervisor = Supervisor {
            observed: Arc::clone(&observed),
            was_connected: AtomicBool::new(false),
            circuit_breaker,
            publisher: Arc::clone(&publisher),
            broker,
            slots: Arc::new(Semaphore::new(config.slots)),
            config,
            deliveries: sender,
            reachable: reachable.clone(),
            stopped,
            warned: Once::new(),
            gate,
            worker_users,
        };
        Ok(Self {
            deliveries: AsyncMutex::new(deliveries),
            reachable,
            stuck,
            observed,
            publisher,
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
                // The connection it came over is gone, so the broker delivers it again.
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
                    is_redelivered: message.redelivered,
                    taken_until: Some(Arc::clone(&ack_handle.source.taken_until)),
                    body: message.data,
                    put_off: headers::put_off(&ack_handle.headers),
                    malformed: headers::malformed(&ack_handle.headers),
                    published_by: ack_handle.published_by.clone(),
                    trace: MessageTrace::of(&ack_handle.headers),
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

    async fn check(&self) -> Result<Option<String>, Trouble> {
        self.reachable.lock().unwrap_or_else(PoisonError::into_inner).check()?;
        Ok(circuit_breaker::verdict(&self.stuck.borrow(), self.served)?)
    }

    fn is_blocked(&self) -> bool {
        self.publisher.is_blocked()
    }

    fn taken_until(&self) -> Vec<(String, i64)> {
        self.observed.all()
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

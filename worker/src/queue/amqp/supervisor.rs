//! Keeps a worker connected to the broker, for as long as it lives.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, Once, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use lapin::message::Delivery;
use sandfleet_transport::{Broker, DEAD_LETTERING_FIX, Error, Publisher};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time::{self, Instant},
};
use tracing::{debug, warn};

use super::{
    ack_handle::AmqpAckHandle,
    circuit_breaker::CircuitBreaker,
    config::{self, AmqpConfig, LONGEST_PAUSE},
    expiry,
    failure::{Failure, why},
    gate::Gate,
    observed::Observed,
    poller::Source,
    pollers::Pollers,
    publisher_user::publisher_user,
    session::{BrokerStatus, Session},
};
use crate::{labels::Service, pauses::jittered, queue::AckHandle};

/// How often it is looked whether a connection stands that nothing is asked over.
const LOOK_PAUSE: Duration = Duration::from_millis(250);

pub(super) struct Supervisor {
    pub(super) broker: Broker,
    pub(super) publisher: Arc<Publisher>,
    pub(super) config: AmqpConfig,
    pub(super) circuit_breaker: CircuitBreaker,
    pub(super) slots: Arc<Semaphore>,
    pub(super) deliveries: mpsc::Sender<(Delivery, AmqpAckHandle)>,
    pub(super) reachable: Arc<Mutex<BrokerStatus>>,
    pub(super) stopped: watch::Receiver<bool>,
    /// The broker's version is warned of once, not after every reconnect.
    pub(super) warned: Once,
    pub(super) gate: Gate,
    pub(super) observed: Arc<Observed>,
    /// Whether there was a connection before.
    pub(super) was_connected: AtomicBool,
    /// The broker's users that are workers.
    pub(super) worker_users: BTreeSet<String>,
}

impl Supervisor {
    /// Connects, takes jobs, and starts over after any error, until the worker is stopped.
    pub(super) async fn run(mut self) {
        let mut pauses = config::pauses();
        loop {
            let began = Instant::now();
            let error = match self.serve().await {
                Ok(()) => return self.set(BrokerStatus::Unknown("this worker stops")),
                Err(error) => error,
            };
            // A worker that connects and is cut off at once must not come back at once.
            if began.elapsed() >= LONGEST_PAUSE {
                pauses = config::pauses();
            }
            let pause = pauses.next();
            // The worker says so once, however often it is tried.
            debug!(error = why(&error), ?pause, "no jobs from the broker; connecting again");
            self.set(BrokerStatus::No((&error).into()));
            let stopped = self.stopped.wait_for(|stopped| *stopped);
            if time::timeout(jittered(pause), stopped).await.is_ok() {
                return;
            }
        }
    }

    /// Takes jobs until the worker is stopped: over one connection, and over another when a queue
    /// got stuck, which only the others are served over.
    async fn serve(&mut self) -> Result<(), Error> {
        let mut stopped = self.stopped.clone();
        loop {
            // Stopping doesn't wait for a broker that isn't there.
            let session = tokio::select! {
                _ = stopped.wait_for(|stopped| *stopped) => return Ok(()),
                session = Session::open(&self.broker, &self.config) => Arc::new(session?),
            };
            let Err(failure) = self.feed(&session, &mut stopped).await else { return Ok(()) };
            let goes_on = self.circuit_breaker.admit(&failure, &session.connection).await;
            // Jobs that still run keep the session. Closing it makes sure that the broker gets
            // everything back that came over it, also what was lost on the way. Its answer is not
            // waited for: a stuck queue keeps that back, too.
            let timeout = self.broker.timeout();
            tokio::spawn(async move {
                let closed = session.connection.close(200, "starting over".into());
                let _ = time::timeout(timeout, closed).await;
            });
            if !goes_on {
                return Err(failure.error);
            }
        }
    }

    async fn feed(
        &self,
        session: &Arc<Session>,
        stopped: &mut watch::Receiver<bool>,
    ) -> Result<(), Failure> {
        let stuck = self.circuit_breaker.stuck();
        let mut pollers =
            Pollers::open(&self.broker, session, &self.config, &self.observed, stuck).await?;
        debug!(broker = self.broker.display_url(), "connected");
        if self.was_connected.swap(true, Ordering::Relaxed) {
            self.observed.observer.reconnected(Service::Broker);
        }
        if let Some(risk) = self.broker.dead_lettering_risk() {
            self.warned.call_once(|| warn!(risk, fix = DEAD_LETTERING_FIX, "the broker's version"));
        }
        let mut has_served = false;
        loop {
            if !self.gate.is_open() {
                self.clear(session, &mut pollers).await?;
                self.set(BrokerStatus::Yes(session.clone()));
                tokio::select! {
                    _ = stopped.wait_for(|stopped| *stopped) => break,
                    () = self.gate.becomes(true) => {}
                    lost = self.lost(session) => return Err(lost.into()),
                }
            }
            let first = match self.slots.clone().try_acquire_owned() {
                Ok(slot) => slot,
                Err(_) => {
                    self.clear(session, &mut pollers).await?;
                    self.set(BrokerStatus::Yes(session.clone()));
                    tokio::select! {
                        _ = stopped.wait_for(|stopped| *stopped) => break,
                        slot = self.slots.clone().acquire_owned() => {
                            slot.expect("the semaphore is never closed")
                        }
                    }
                }
            };
            if !self.gate.is_open() {
                continue;
            }
            if !std::mem::replace(&mut has_served, true) {
                // A user who may declare queues may yet not be allowed to read them.
                pollers.subscribe().await?;
                self.set(BrokerStatus::Yes(session.clone()));
            }
            let more = || self.slots.clone().try_acquire_owned().ok();
            let mut slots = vec![first];
            slots.extend(std::iter::from_fn(more).take(session.getters.len() - 1));
            let deliveries = pollers.next(slots.len(), stopped, &self.gate).await?;
            if deliveries.is_empty() && *stopped.borrow() {
                break;
            }
            for ((delivery, source), slot) in deliveries.into_iter().zip(slots) {
                let ack_handle = self.ack_handle(session, &delivery, source, Some(slot));
                // Never full, since every entry holds a slot; closed means that the queue was
                // dropped, and the end of the handle returns the job.
                let _ = self.deliveries.send((delivery, ack_handle)).await;
            }
        }
        self.clear(session, &mut pollers).await
    }

    /// Cancels all subscriptions, and returns what they hold for a worker that has a slot.
    async fn clear(
        &self,
        session: &Arc<Session>,
        pollers: &mut Pollers<'_>,
    ) -> Result<(), Failure> {
        pollers.unsubscribe_all().await?;
        for (delivery, source) in pollers.held() {
            let ack_handle = self.ack_handle(session, &delivery, source, None);
            // If this doesn't reach the broker, the end of the connection does.
            let _ = Box::new(ack_handle).requeue(Vec::new()).await;
        }
        Ok(())
    }

    fn ack_handle(
        &self,
        session: &Arc<Session>,
        delivery: &Delivery,
        source: Arc<Source>,
        slot: Option<OwnedSemaphorePermit>,
    ) -> AmqpAckHandle {
        let id = delivery.properties.message_id().as_ref();
        let headers = expiry::headers(&delivery.properties, Timestamp::now());
        AmqpAckHandle {
            acker: delivery.acker.clone(),
            id: id.map(ToString::to_string).unwrap_or_default(),
            headers,
            published_by: publisher_user(&delivery.properties, &self.worker_users),
            source,
            prefix: self.config.prefix.as_str().into(),
            publisher: self.publisher.clone(),
            session: session.clone(),
            runtime: Handle::current(),
            stopped: self.stopped.clone(),
            _slot: slot,
        }
    }

    /// Waits for the end of a connection that nothing is asked over.
    async fn lost(&self, session: &Session) -> Error {
        while session.connection.status().connected() {
            time::sleep(LOOK_PAUSE).await;
        }
        // Asking tells why.
        let asked =
            self.broker.with_timeout("keep the connection", session.connection.create_channel());
        asked.await.err().unwrap_or_else(|| Error::TimedOut {
            broker: self.broker.display_url().into(),
            action: "keep the connection".into(),
            after: LOOK_PAUSE,
        })
    }

    fn set(&self, reachable: BrokerStatus) {
        *self.reachable.lock().unwrap_or_else(PoisonError::into_inner) = reachable;
        self.gate.changed.notify_one();
    }
}

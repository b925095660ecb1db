//! The client.

use std::{fmt, sync::Arc};

use sandfleet_common::Isolation;
use sandfleet_transport::{Broker, Publisher, RedisLink, Topology, records::JobRecords};

use crate::{ClientConfig, Error, subscriber::Subscriber};

/// A way into a fleet. Cheap to clone; all clones share two connections to the store and one to
/// the broker, which come back by themselves.
#[derive(Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) config: ClientConfig,
    pub(crate) publisher: Publisher,
    pub(crate) redis: Arc<RedisLink>,
    pub(crate) job_records: JobRecords,
    pub(crate) subscriber: Subscriber,
}

impl Client {
    /// Connects to the broker and the store, and makes sure that the fleet's queues exist: those
    /// of plain containers at least. The queues of a stronger isolation are made by the first
    /// worker that gives it, so that no job waits for a worker that was never there.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`], [`Error::Mismatch`], and [`Error::Broker`], [`Error::TimedOut`]
    /// or [`Error::Store`] if either isn't there.
    pub async fn connect(config: ClientConfig) -> Result<Self, Error> {
        let broker =
            Broker::new(&config.amqp_url, "sandfleet producer", config.timeout, &config.amqp_tls)?;
        let redis =
            Arc::new(RedisLink::open(&config.redis_url, config.timeout, &config.redis_tls)?);
        let topology = Topology {
            prefix: config.queue_prefix.clone(),
            isolations: vec![Isolation::Container],
            limits: config.queue_limits,
        };
        let publisher = Publisher::new(broker, topology);
        publisher.connect().await?;
        redis
            .run(|mut connection| async move {
                redis::cmd("PING").query_async::<()>(&mut connection).await
            })
            .await
            .map_err(|source| Error::Store {
                store: redis.display_url().into(),
                action: "ping".into(),
                source: Box::new(source),
            })?;
        let subscriber = Subscriber::start(redis.client().clone());
        let job_records = JobRecords::new(Arc::clone(&redis), config.store_prefix.clone());
        Ok(Self { shared: Arc::new(Shared { config, publisher, redis, job_records, subscriber }) })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

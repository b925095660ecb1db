//! `Client`: its connections to broker and store, and `submit`; waiting, cancelling and following are in the files
//! beside.

use std::{fmt, sync::Arc};

use sandfleet_common::{Isolation, WorkerInfo};
use sandfleet_transport::{
    Broker, Publisher, Topology,
    audit::AuditConfig,
    records::{RedisConfig, RedisStore},
};

use tokio::{sync::Mutex, time::Instant};

use crate::{ClientConfig, Error, subscriber::Subscriber};

/// A client of a fleet. Cheap to clone; all clones share two connections to the store and one to
/// the broker, which are opened again when they are lost.
#[derive(Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) config: ClientConfig,
    pub(crate) publisher: Publisher,
    pub(crate) records: RedisStore,
    pub(crate) subscriber: Subscriber,
    /// The live workers, and when they were read.
    pub(crate) workers: Mutex<Option<(Instant, Vec<WorkerInfo>)>>,
}

impl Client {
    /// Connects to the broker and the store, and makes sure that the fleet's queues exist: those
    /// of plain containers at least. The queues of a stronger isolation are made by the first
    /// worker that offers it, so that no job waits for a worker that was never there.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`], [`Error::Mismatch`], and [`Error::Broker`], [`Error::TimedOut`]
    /// or [`Error::Store`] if either isn't there.
    pub async fn connect(config: ClientConfig) -> Result<Self, Error> {
        let broker =
            Broker::new(&config.amqp_url, "sandfleet producer", config.timeout, &config.amqp_tls)?;
        let records = RedisStore::connect(RedisConfig {
            url: config.redis_url.clone(),
            tls: config.redis_tls.clone(),
            prefix: config.store_prefix().to_owned(),
            timeout: config.timeout,
            dedup_ttl: config.dedup_ttl,
            audit: AuditConfig {
                entries: config.audit_entries,
                file: config.audit_file.clone(),
                broker_url: config.amqp_url.clone(),
            },
            ..RedisConfig::default()
        })?;
        let topology = Topology {
            prefix: config.prefix.clone(),
            isolations: vec![Isolation::Container],
            limits: config.queue_limits,
        };
        let publisher = Publisher::new(broker, topology);
        publisher.connect().await?;
        records.ping().await?;
        let subscriber = Subscriber::start(records.client().clone());
        let workers = Mutex::new(None);
        Ok(Self { shared: Arc::new(Shared { config, publisher, records, subscriber, workers }) })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

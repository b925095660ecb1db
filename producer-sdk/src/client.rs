//! The client.

use std::{fmt, sync::Arc};

use sandfleet_common::{Isolation, JobId, JobResult, JobState, names};

use crate::{Broker, ClientConfig, Error, Publisher, RedisLink, Topology, subscriber::Subscriber};

/// A way into a fleet. Cheap to clone; all clones share two connections to the store and one to
/// the broker, which come back by themselves.
#[derive(Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) config: ClientConfig,
    pub(crate) publisher: Publisher,
    pub(crate) redis: RedisLink,
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
            Broker::at(&config.amqp_url, "sandfleet producer", config.timeout, &config.amqp_tls)?;
        let redis = RedisLink::open(&config.redis_url, config.timeout, &config.redis_tls)?;
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
            .map_err(|source| store_error(&redis, "ping", source))?;
        let subscriber = Subscriber::start(redis.client().clone());
        Ok(Self { shared: Arc::new(Shared { config, publisher, redis, subscriber }) })
    }

    /// What is known about a job at this moment.
    ///
    /// # Errors
    /// [`Error::Store`], and [`Error::UnreadableResult`] if a newer fleet wrote it.
    pub async fn get(&self, id: &JobId) -> Result<JobState, Error> {
        let Shared { config, redis, .. } = &*self.shared;
        let result_key = &names::result_key(&config.store_prefix, id);
        let lease_key = &names::lease_key(&config.store_prefix, id);
        // One command, so that a job can't end between the two looks and be in neither.
        let (result, lease): (Option<Vec<u8>>, Option<Vec<u8>>) = redis
            .run(|mut connection| async move {
                redis::cmd("MGET").arg(result_key).arg(lease_key).query_async(&mut connection).await
            })
            .await
            .map_err(|source| store_error(redis, &format!("read job {id}"), source))?;
        match result {
            Some(json) => serde_json::from_slice::<JobResult>(&json)
                .map(|result| JobState::Done(Box::new(result)))
                .map_err(|error| Error::UnreadableResult {
                    job_id: id.clone(),
                    reason: error.to_string(),
                }),
            None if lease.is_some() => Ok(JobState::Running),
            None => Ok(JobState::Unknown),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

fn store_error(redis: &RedisLink, action: &str, source: redis::RedisError) -> Error {
    Error::Store { store: redis.shown().into(), action: action.into(), source: Box::new(source) }
}

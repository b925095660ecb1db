//! The records in Redis: the connections, the keys, and how a script is run.

use std::{
    sync::{Mutex, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use redis::{Client, FromRedisValue, RedisResult, ScriptInvocation, aio::ConnectionManager};
use sandfleet_common::{JobId, names};
use tokio::{sync::broadcast, task::AbortHandle};

use super::cancellations::{self, BACKLOG, CancelNotice};
use crate::{
    Error, RedisLink, StoreError, Tls,
    audit::{Audit, AuditConfig},
};

/// How long a day's usage is kept unless a setting says otherwise.
const USAGE_TTL: Duration = Duration::from_secs(400 * 86_400);
/// How long the server may take to answer. A server that writes its log out, or sends a large result
/// to another client first, is slow and not dead.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Larger results go over a connection of their own: small commands must not wait for them.
const BULK_BYTES: usize = 256 << 10;
/// The slowest that a large result may go over the network, in bytes per second.
const SLOWEST: usize = 1 << 20;

/// Where the records are, and how long they are kept.
#[derive(Clone)]
pub struct RedisConfig {
    /// The server: `redis://user:password@host:port/database`.
    pub url: String,
    /// Certificates, for `rediss://`.
    pub tls: Tls,
    /// How the names of the fleet's keys begin.
    pub prefix: String,
    /// How long the server may take to answer.
    pub timeout: Duration,
    /// How long a record is kept after it was last written.
    pub dedup_ttl: Duration,
    /// How long a job may wait for its first claim, whatever it asks for.
    pub max_wait: Duration,
    /// How long it is kept what tenants used in a day.
    pub usage_ttl: Duration,
    /// What is noted of what its user does.
    pub audit: AuditConfig,
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            url: "redis://127.0.0.1:6379/0".into(),
            tls: Tls::default(),
            prefix: "sandfleet".into(),
            timeout: TIMEOUT,
            dedup_ttl: Duration::from_secs(7 * 86_400),
            max_wait: Duration::from_secs(7 * 86_400),
            usage_ttl: USAGE_TTL,
            audit: AuditConfig::default(),
        }
    }
}

/// The records in Redis. Reconnects when a connection is lost.
pub struct RedisStore {
    pub(super) link: RedisLink,
    bulk: RedisLink,
    pub(super) prefix: String,
    timeout: Duration,
    pub(super) dedup_ttl: Duration,
    pub(super) max_wait: Duration,
    pub(super) audit: Audit,
    pub(super) usage_ttl: Duration,
    notices: broadcast::Sender<CancelNotice>,
    listening: Mutex<Option<AbortHandle>>,
    pub(super) warned_of_unknown_policy: AtomicBool,
}

/// The keys of one job.
pub(super) struct JobKeys {
    pub(super) record: String,
    pub(super) lease: String,
    pub(super) result: String,
    pub(super) cancelled: String,
}

impl RedisStore {
    /// A store whose connections are opened when they are first used;
    /// [`check`](super::Store::check) tells whether the server is there. Call it within a tokio
    /// runtime.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] if the URL or a file of `tls` is unusable.
    pub fn connect(config: RedisConfig) -> Result<Self, Error> {
        let RedisConfig { url, tls, prefix, timeout, dedup_ttl, max_wait, usage_ttl, audit } =
            config;
        Ok(Self {
            link: RedisLink::open(&url, timeout, &tls)?,
            bulk: RedisLink::open(&url, timeout, &tls)?,
            audit: Audit::new(audit, &prefix, &url),
            prefix,
            timeout,
            dedup_ttl,
            max_wait,
            usage_ttl,
            notices: broadcast::channel(BACKLOG).0,
            listening: Mutex::new(None),
            warned_of_unknown_policy: AtomicBool::new(false),
        })
    }

    /// Whether the server answers.
    ///
    /// # Errors
    /// [`StoreError`] if it doesn't.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.run(
            || "ping".to_owned(),
            |mut connection| async move { redis::cmd("PING").query_async(&mut connection).await },
        )
        .await
    }

    /// The client, for connections that can't be shared.
    pub fn client(&self) -> &Client {
        self.link.client()
    }

    /// Receives a notice when a running job is cancelled, over one subscription for the process.
    pub fn cancellations(&self) -> broadcast::Receiver<CancelNotice> {
        let receiver = self.notices.subscribe();
        let mut listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        // Only a process that runs jobs subscribes.
        listening.get_or_insert_with(|| {
            let channel = names::cancel_channel(&self.prefix);
            let listen =
                cancellations::listen(self.client().clone(), channel, self.notices.clone());
            tokio::spawn(listen).abort_handle()
        });
        receiver
    }

    pub(super) fn keys(&self, job: &JobId) -> JobKeys {
        JobKeys {
            record: names::record_key(&self.prefix, job),
            lease: names::lease_key(&self.prefix, job),
            result: names::result_key(&self.prefix, job),
            cancelled: names::cancelled_key(&self.prefix, job),
        }
    }

    /// Runs a script: by its hash, and with its text if the server doesn't know it.
    pub(super) async fn invoke<T: FromRedisValue>(
        &self,
        action: impl FnOnce() -> String,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, StoreError> {
        self.run(action, |mut connection| async move { script.invoke_async(&mut connection).await })
            .await
    }

    /// As [`invoke`](Self::invoke), for a script with an argument of `bytes` bytes.
    pub(super) async fn invoke_with<T: FromRedisValue>(
        &self,
        bytes: usize,
        action: impl FnOnce() -> String,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, StoreError> {
        if bytes < BULK_BYTES {
            return self.invoke(action, script).await;
        }
        let timeout = self.timeout + Duration::from_secs((bytes / SLOWEST) as u64);
        self.bulk
            .run_within(timeout, |mut connection| async move {
                script.invoke_async(&mut connection).await
            })
            .await
            .map_err(|error| self.bulk.failed(action(), &error))
    }

    /// Runs `command`, which must be harmless to repeat.
    pub(super) async fn run<T, F, R>(
        &self,
        action: impl FnOnce() -> String,
        command: F,
    ) -> Result<T, StoreError>
    where
        F: Fn(ConnectionManager) -> R,
        R: Future<Output = RedisResult<T>>,
    {
        self.link.run(command).await.map_err(|error| self.link.failed(action(), &error))
    }
}

impl Drop for RedisStore {
    fn drop(&mut self) {
        let listening = self.listening.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(listening) = listening {
            listening.abort();
        }
    }
}

/// At least one: Redis refuses a time to live of zero.
pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).clamp(1, i64::MAX as u64 / 2)
}

//! How many jobs of one tenant run at a time in the whole fleet.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use redis::Script;
use sandfleet_common::names;
use tokio::{runtime::Handle, task::JoinHandle, time::sleep};
use tracing::debug;

use super::redis::RedisConfig;
use crate::{Error, RedisLink, StoreError};

static ENTER: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("enter.lua")));

/// Limits the running jobs of each tenant, counted in Redis.
#[derive(Clone)]
pub struct TenantLimiter {
    shared: Arc<Shared>,
    max: u32,
    hold: Duration,
}

struct Shared {
    link: RedisLink,
    prefix: String,
}

/// Counts as one running job of its tenant until it is dropped; if its worker dies, until it
/// expires.
pub struct TenantPermit {
    shared: Arc<Shared>,
    key: String,
    member: String,
    renewal: JoinHandle<()>,
}

impl TenantLimiter {
    /// At most `max` running jobs for each tenant; a permit expires `hold` after its worker died.
    /// Call it within a tokio runtime.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] if the URL or a certificate is unusable.
    pub fn connect(config: &RedisConfig, max: u32, hold: Duration) -> Result<Self, Error> {
        let shared = Shared {
            link: RedisLink::open(&config.url, config.timeout, &config.tls)?,
            prefix: config.prefix.clone(),
        };
        Ok(Self { shared: Arc::new(shared), max, hold })
    }

    /// A permit for `member`, which names one start of a job of `tenant`; none if `max` jobs run.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn enter(
        &self,
        tenant: &str,
        member: &str,
    ) -> Result<Option<TenantPermit>, StoreError> {
        let key = names::tenant_key(&self.shared.prefix, tenant);
        let (max, hold) = (self.max, self.hold);
        let entered = self.shared.enter(&key, member, max, hold).await.map_err(|error| {
            let action = format!("count a running job of tenant {tenant}");
            // A damaged key is replaced by the script, so trying again helps.
            StoreError { is_damaged: false, ..self.shared.link.failed(action, &error) }
        })?;
        if !entered {
            return Ok(None);
        }
        let (shared, member) = (self.shared.clone(), member.to_owned());
        let renewal = tokio::spawn({
            let (shared, key, member) = (shared.clone(), key.clone(), member.clone());
            async move {
                loop {
                    sleep(hold / 3).await;
                    if let Err(error) = shared.enter(&key, &member, max, hold).await {
                        debug!(%error, "a tenant's permit could not be renewed");
                    }
                }
            }
        });
        Ok(Some(TenantPermit { shared, key, member, renewal }))
    }
}

impl Shared {
    async fn enter(
        &self,
        key: &str,
        member: &str,
        max: u32,
        hold: Duration,
    ) -> redis::RedisResult<bool> {
        let mut script = ENTER.key(key);
        script.arg(member).arg(max).arg(hold.as_millis() as u64);
        let script = &script;
        self.link
            .run(|mut connection| async move { script.invoke_async(&mut connection).await })
            .await
    }

    async fn leave(&self, key: &str, member: &str) -> redis::RedisResult<()> {
        self.link
            .run(|mut connection| async move {
                redis::cmd("ZREM").arg(key).arg(member).query_async(&mut connection).await
            })
            .await
    }
}

impl Drop for TenantPermit {
    fn drop(&mut self) {
        self.renewal.abort();
        let Ok(runtime) = Handle::try_current() else { return };
        let (shared, key, member) =
            (self.shared.clone(), std::mem::take(&mut self.key), std::mem::take(&mut self.member));
        runtime.spawn(async move {
            // If this doesn't reach the store, the permit expires.
            if let Err(error) = shared.leave(&key, &member).await {
                debug!(%error, "a tenant's permit could not be given back");
            }
        });
    }
}

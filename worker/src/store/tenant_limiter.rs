//! How many jobs of one tenant run at a time in the whole fleet.

use std::{sync::Arc, time::Duration};

use redis::Script;
use sandfleet_common::names;
use sandfleet_transport::{Error, RedisLink};
use tokio::{runtime::Handle, task::JoinHandle, time::sleep};
use tracing::debug;

use super::{RedisConfig, StoreError};

const TIMEOUT: Duration = Duration::from_secs(5);

/// The places that a fleet grants every tenant, counted in Redis.
pub struct TenantLimiter {
    shared: Arc<Shared>,
    most: u32,
    hold: Duration,
}

struct Shared {
    link: RedisLink,
    prefix: String,
    enter: Script,
}

/// A place that is taken, until this is dropped; if its worker dies, until the place's time is
/// over.
pub struct TenantPermit {
    shared: Arc<Shared>,
    key: String,
    member: String,
    renewal: JoinHandle<()>,
}

impl TenantLimiter {
    /// `most` places for each tenant, each of them held for `hold` beyond a worker's death. Call it
    /// within a tokio runtime.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] if the URL is none.
    pub fn connect(config: &RedisConfig, most: u32, hold: Duration) -> Result<Self, Error> {
        let shared = Shared {
            link: RedisLink::open(&config.url, TIMEOUT, &config.tls)?,
            prefix: config.prefix.clone(),
            enter: Script::new(include_str!("lua/enter.lua")),
        };
        Ok(Self { shared: Arc::new(shared), most, hold })
    }

    /// A place for `member`, who is one start of one job of `tenant`'s; none if all are taken.
    ///
    /// # Errors
    /// If the store doesn't answer.
    pub async fn enter(
        &self,
        tenant: &str,
        member: &str,
    ) -> Result<Option<TenantPermit>, StoreError> {
        let key = names::tenant_key(&self.shared.prefix, tenant);
        let (most, hold) = (self.most, self.hold);
        if !self.shared.enter(&key, member, most, hold).await.map_err(|error| StoreError {
            operation: "take a place for",
            job: member.to_owned(),
            reason: format!("{}: {error}", self.shared.link.display_url()),
            is_damaged: false,
        })? {
            return Ok(None);
        }
        let (shared, member) = (self.shared.clone(), member.to_owned());
        let renewal = tokio::spawn({
            let (shared, key, member) = (shared.clone(), key.clone(), member.clone());
            async move {
                loop {
                    sleep(hold / 3).await;
                    if let Err(error) = shared.enter(&key, &member, most, hold).await {
                        debug!(%error, "a tenant's place could not be renewed");
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
        most: u32,
        hold: Duration,
    ) -> redis::RedisResult<bool> {
        let mut script = self.enter.key(key);
        script.arg(member).arg(most).arg(hold.as_millis() as u64);
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
            // If this doesn't reach the store, the place's time ends.
            if let Err(error) = shared.leave(&key, &member).await {
                debug!(%error, "a tenant's place could not be given back");
            }
        });
    }
}

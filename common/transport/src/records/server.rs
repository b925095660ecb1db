//! What the Redis server is, and whether it keeps what it is given.

use std::{pin::pin, sync::atomic::Ordering, time::Duration};

use redis::{FromRedisValue, RedisError, RedisResult};
use sandfleet_common::names;
use tokio::time::timeout;
use tracing::warn;

use super::redis::RedisStore;
use crate::{Refusal, StoreError, foreign};

/// After how long without an answer it is looked whether the server speaks our protocol at all.
const SILENCE: Duration = Duration::from_secs(1);

/// Result keys all have a time to live, so every other policy may evict results.
const POLICY: &str = "noeviction";

/// What the server says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerInfo {
    /// Its version.
    pub version: String,
    /// Whether it writes everything to a log.
    pub append_only: bool,
    /// How it brings that to the disk, if the user may know it.
    pub fsync: Option<String>,
}

impl RedisStore {
    /// What the server is and how it keeps what it is given.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn server(&self) -> Result<ServerInfo, StoreError> {
        let failed = |error| self.link.failed("read the server's INFO".into(), &error);
        let info = self.info().await?;
        let fsync = self.configured("appendfsync").await.map_err(failed)?;
        Ok(ServerInfo::of(&info, fsync))
    }

    /// The text of the server's INFO.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn info(&self) -> Result<String, StoreError> {
        let failed = |error| self.link.failed("read the server's INFO".into(), &error);
        self.query(redis::cmd("INFO")).await.map_err(failed)
    }

    /// Whether results can be stored at present, and whether the server keeps them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn check(&self) -> Result<(), StoreError> {
        let mut checking = pin!(self.check_writing());
        let checked = timeout(SILENCE, &mut checking).await;
        match checked {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) if error.refusal.is_some() => return Err(error),
            _ => {}
        }
        if let Some(answer) = foreign::answers_at(self.client()).await {
            return Err(self.link.refused("connect".into(), &answer));
        }
        match checked {
            Ok(checked) => checked,
            Err(_) => checking.await,
        }
    }

    async fn check_writing(&self) -> Result<(), StoreError> {
        let action = || "check that it stores results".to_owned();
        let failed = |error| self.link.failed(action(), &error);
        // A write shows what a ping doesn't: a replica, full memory, a disk that can't be saved to.
        let mut write = redis::cmd("SET");
        write.arg(names::check_key(&self.prefix)).arg(1).arg("PX").arg(10_000);
        self.query::<()>(write).await.map_err(failed)?;
        match self.policy().await.map_err(failed)? {
            Some(policy) if policy == POLICY => Ok(()),
            Some(policy) => Err(StoreError {
                reason: format!(
                    "maxmemory-policy is {policy}, which lets Redis throw results away; set \
                     `maxmemory-policy {POLICY}` in redis.conf (at once: `redis-cli config set \
                     maxmemory-policy {POLICY}`)"
                ),
                is_damaged: false,
                refusal: Some(Refusal::Setting),
                ..self.link.unexpected(action(), "")
            }),
            None => {
                if !self.warned_of_unknown_policy.swap(true, Ordering::Relaxed) {
                    warn!(
                        store = self.link.display_url(),
                        "the user may not read maxmemory-policy; make sure that it is {POLICY}"
                    );
                }
                Ok(())
            }
        }
    }

    /// The server's eviction policy, if the user may know it.
    async fn policy(&self) -> RedisResult<Option<String>> {
        if let Some(policy) = self.configured("maxmemory-policy").await? {
            return Ok(Some(policy));
        }
        let mut ask = redis::cmd("INFO");
        ask.arg("memory");
        let info = permitted(self.query::<String>(ask).await)?;
        Ok(info.and_then(|info| policy_in(&info).map(str::to_owned)))
    }

    /// A setting of the server, if the user may know it.
    async fn configured(&self, name: &str) -> RedisResult<Option<String>> {
        let mut ask = redis::cmd("CONFIG");
        ask.arg("GET").arg(name);
        let answer = permitted(self.query::<(String, String)>(ask).await)?;
        Ok(answer.map(|(_, value)| value))
    }

    async fn query<T: FromRedisValue>(&self, command: redis::Cmd) -> RedisResult<T> {
        let command = &command;
        self.link
            .run(|mut connection| async move { command.query_async(&mut connection).await })
            .await
    }
}

/// Nothing if the server refuses to say: hosted servers often reserve CONFIG.
fn permitted<T>(answer: RedisResult<T>) -> Result<Option<T>, RedisError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.is_io_error() => Err(error),
        Err(_) => Ok(None),
    }
}

impl ServerInfo {
    fn of(info: &str, fsync: Option<String>) -> Self {
        let field = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.map(str::trim).unwrap_or_default()
        };
        Self {
            version: field("redis_version").to_owned(),
            append_only: field("aof_enabled") == "1",
            fsync,
        }
    }

    /// Whether it knows all commands that are used.
    pub fn is_new_enough(&self) -> bool {
        let mut numbers = self.version.split('.').map_while(|part| part.parse::<u32>().ok());
        let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        found >= (6, 2)
    }
}

fn policy_in(info: &str) -> Option<&str> {
    info.lines().find_map(|line| line.strip_prefix("maxmemory_policy:")).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_is_found_in_the_servers_info() {
        let info = "# Memory\r\nused_memory:1\r\nmaxmemory_policy:allkeys-lru\r\n";
        assert_eq!(policy_in(info), Some("allkeys-lru"));
        assert_eq!(policy_in("# Memory\r\n"), None);
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        let at = |version: &str| ServerInfo::of(&format!("redis_version:{version}\r\n"), None);
        for good in ["6.2.0", "7.0.15", "10.0"] {
            assert!(at(good).is_new_enough(), "{good}");
        }
        for bad in ["6.0.16", "5.0.7", ""] {
            assert!(!at(bad).is_new_enough(), "{bad}");
        }
        assert!(ServerInfo::of("# P\r\naof_enabled:1\r\n", None).append_only);
    }
}

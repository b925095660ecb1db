//! Results in Redis.
//!
//! Each operation is one script or command, so it is atomic, and harmless to do twice, so a lost
//! connection costs a second try and nothing else.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use redis::{RedisError, Script, ScriptInvocation, aio::ConnectionManager};
use sandfleet_common::{JobId, JobResult, JobState, encode, names};
use sandfleet_sdk::{Error, RedisLink, Tls};
use tracing::warn;

use super::{Claim, Claimed, Committed, Store, StoreError};

/// How long the server may take to answer. A server that writes its log out, or sends somebody a
/// large result first, is slow and not dead.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Result keys all have a time to live, so every other policy may throw results away.
const POLICY: &str = "noeviction";

/// Where the store is.
#[derive(Clone)]
pub struct RedisConfig {
    /// The server: `redis://user:password@host:port/database`.
    pub url: String,
    /// Certificates, for `rediss://`.
    pub tls: Tls,
    /// How the names of the fleet's keys begin.
    pub prefix: String,
}

/// Results in Redis. Comes back by itself when its connection is lost.
pub struct RedisStore {
    link: RedisLink,
    prefix: String,
    claim: Script,
    commit: Script,
    renew: Script,
    release: Script,
    told_of_unknown_policy: AtomicBool,
}

impl RedisStore {
    /// A store at a server that is connected to when it is first used; [`check`](Store::check)
    /// tells whether it is there. Call it within a tokio runtime.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] if the URL is none.
    pub fn connect(config: RedisConfig) -> Result<Self, Error> {
        Ok(Self {
            link: RedisLink::open(&config.url, TIMEOUT, &config.tls)?,
            prefix: config.prefix,
            claim: Script::new(include_str!("lua/claim.lua")),
            commit: Script::new(include_str!("lua/commit.lua")),
            renew: Script::new(include_str!("lua/renew.lua")),
            release: Script::new(include_str!("lua/release.lua")),
            told_of_unknown_policy: AtomicBool::new(false),
        })
    }

    /// Runs a script: by its hash, and with its text if the server doesn't know it.
    async fn invoke<T: redis::FromRedisValue>(
        &self,
        operation: &'static str,
        job: &JobId,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, StoreError> {
        self.link
            .run(|mut connection| async move { script.invoke_async(&mut connection).await })
            .await
            .map_err(|error| self.failed(operation, job.as_str(), &error))
    }

    fn failed(&self, operation: &'static str, job: &str, error: &RedisError) -> StoreError {
        let reason = format!("{}: {error}", self.link.shown());
        StoreError { operation, job: job.to_owned(), reason }
    }

    /// The server's eviction policy, if the user may know it.
    async fn policy(&self) -> Result<Option<String>, RedisError> {
        let asked = self
            .link
            .run(|mut connection: ConnectionManager| async move {
                redis::cmd("CONFIG")
                    .arg("GET")
                    .arg("maxmemory-policy")
                    .query_async::<(String, String)>(&mut connection)
                    .await
            })
            .await;
        match asked {
            Ok((_, policy)) => return Ok(Some(policy)),
            Err(error) if error.is_io_error() => return Err(error),
            // Hosted servers often keep CONFIG to themselves.
            Err(_) => {}
        }
        let info = self
            .link
            .run(|mut connection: ConnectionManager| async move {
                redis::cmd("INFO").arg("memory").query_async::<String>(&mut connection).await
            })
            .await;
        match info {
            Ok(info) => Ok(policy_in(&info).map(str::to_owned)),
            Err(error) if error.is_io_error() => Err(error),
            Err(_) => Ok(None),
        }
    }
}

#[async_trait]
impl Store for RedisStore {
    async fn claim(&self, job: &JobId, claim: &Claim) -> Result<Claimed, StoreError> {
        let mut script = self.claim.prepare_invoke();
        script
            .key(names::result_key(&self.prefix, job))
            .key(names::lease_key(&self.prefix, job))
            .key(names::attempts_key(&self.prefix, job))
            .arg(&claim.owner)
            .arg(milliseconds(claim.lease))
            .arg(claim.max_attempts)
            .arg(milliseconds(claim.keep));
        let (answer, number): (String, u64) = self.invoke("claim", job, &script).await?;
        let count = u32::try_from(number).unwrap_or(u32::MAX);
        match answer.as_str() {
            "run" => Ok(Claimed::Run { attempt: count }),
            "done" => Ok(Claimed::Done),
            "busy" => Ok(Claimed::Busy { lease_left: Duration::from_millis(number) }),
            "exhausted" => Ok(Claimed::Exhausted { attempts: count }),
            other => Err(StoreError {
                operation: "claim",
                job: job.to_string(),
                reason: format!("unexpected answer {other:?}"),
            }),
        }
    }

    async fn renew(&self, job: &JobId, owner: &str, lease: Duration) -> Result<(), StoreError> {
        let mut script = self.renew.prepare_invoke();
        script.key(names::lease_key(&self.prefix, job)).arg(owner).arg(milliseconds(lease));
        self.invoke("renewal", job, &script).await
    }

    async fn release(&self, job: &JobId, owner: &str) -> Result<(), StoreError> {
        let mut script = self.release.prepare_invoke();
        script.key(names::lease_key(&self.prefix, job)).arg(owner);
        self.invoke("release", job, &script).await
    }

    async fn commit(
        &self,
        result: &JobResult,
        owner: &str,
        keep: Duration,
    ) -> Result<Committed, StoreError> {
        let job = &result.job_id;
        let mut script = self.commit.prepare_invoke();
        script
            .key(names::result_key(&self.prefix, job))
            .key(names::lease_key(&self.prefix, job))
            .arg(encode(result))
            .arg(milliseconds(keep))
            .arg(owner)
            .arg(names::done_channel(&self.prefix, job));
        let answer: String = self.invoke("commit", job, &script).await?;
        Ok(if answer == "stored" { Committed::Stored } else { Committed::AlreadyThere })
    }

    async fn get(&self, job: &JobId) -> Result<JobState, StoreError> {
        let keys = &[names::result_key(&self.prefix, job), names::lease_key(&self.prefix, job)];
        // One command, so that a job can't end between the two looks and be in neither.
        let (result, lease): (Option<Vec<u8>>, Option<Vec<u8>>) = self
            .link
            .run(|mut connection| async move {
                redis::cmd("MGET").arg(keys).query_async(&mut connection).await
            })
            .await
            .map_err(|error| self.failed("look-up", job.as_str(), &error))?;
        match result {
            Some(json) => serde_json::from_slice(&json)
                .map(|result| JobState::Done(Box::new(result)))
                .map_err(|error| StoreError {
                    operation: "look-up",
                    job: job.to_string(),
                    reason: format!("unreadable result: {error}"),
                }),
            None if lease.is_some() => Ok(JobState::Running),
            None => Ok(JobState::Unknown),
        }
    }

    async fn check(&self) -> Result<(), StoreError> {
        // A write tells what a ping doesn't: a replica, full memory, a disk that can't be saved to.
        let key = &format!("{}:check", self.prefix);
        self.link
            .run(|mut connection| async move {
                redis::cmd("SET")
                    .arg(key)
                    .arg(1)
                    .arg("PX")
                    .arg(10_000)
                    .query_async::<()>(&mut connection)
                    .await
            })
            .await
            .map_err(|error| self.failed("check", "-", &error))?;
        match self.policy().await.map_err(|error| self.failed("check", "-", &error))? {
            Some(policy) if policy == POLICY => Ok(()),
            Some(policy) => Err(StoreError {
                operation: "check",
                job: "-".into(),
                reason: format!(
                    "{}: maxmemory-policy is {policy}, which lets Redis throw results away; set \
                     `maxmemory-policy {POLICY}` in redis.conf (at once: `redis-cli config set \
                     maxmemory-policy {POLICY}`)",
                    self.link.shown()
                ),
            }),
            None => {
                if !self.told_of_unknown_policy.swap(true, Ordering::Relaxed) {
                    warn!(
                        store = self.link.shown(),
                        "the user may not read maxmemory-policy; make sure that it is {POLICY}"
                    );
                }
                Ok(())
            }
        }
    }
}

/// At least one: Redis refuses a time to live of nothing.
fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).clamp(1, i64::MAX as u64 / 2)
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
}

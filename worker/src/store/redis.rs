//! Results in Redis.
//!
//! Each operation is one script or command, so it is atomic, and harmless to do twice, so a lost
//! connection costs a second try and nothing else.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use redis::{RedisError, Script, ScriptInvocation};
use sandfleet_common::{
    Job, JobId, JobResult, JobState, WorkerInfo, encode, names, payload_digest,
};
use sandfleet_transport::{
    Error, RedisLink, Tls,
    records::{ANNOUNCED_BYTES, Cancellation, JobRecords, NewRecord},
};
use tokio::{sync::broadcast, task::AbortHandle};
use tracing::warn;

use super::{
    CancelNotice, Claim, Claimed, Committed, Output, Purpose, Refused, Renewed, ServerInfo, Store,
    StoreError,
    cancellations::{self, BACKLOG},
    server::policy,
};

/// How long the server may take to answer. A server that writes its log out, or sends somebody a
/// large result first, is slow and not dead.
const TIMEOUT: Duration = Duration::from_secs(5);
/// From here on a result goes over a connection of its own: what is small must not wait for it.
const BULK_BYTES: usize = 256 << 10;
/// The slowest that a large result may go over the network, in bytes per second.
const SLOWEST: usize = 1 << 20;
/// Result keys all have a time to live, so every other policy may throw results away.
const POLICY: &str = "noeviction";
/// How many entries of a job's output are kept. Redis cuts in larger steps.
const OUTPUT_ENTRIES: usize = 4096;
/// How long a job's output can be followed after it printed something last.
const OUTPUT_TTL: Duration = Duration::from_secs(3600);

/// Where the store is.
#[derive(Clone)]
pub struct RedisConfig {
    /// The server: `redis://user:password@host:port/database`.
    pub url: String,
    /// Certificates, for `rediss://`.
    pub tls: Tls,
    /// How the names of the fleet's keys begin.
    pub prefix: String,
    /// How long any job may wait, and how long one is remembered after its end.
    pub dedup_ttl: Duration,
    /// How long a job may wait for its first start, whatever it asks for.
    pub max_wait: Duration,
}

/// Results in Redis. Comes back by itself when its connection is lost.
pub struct RedisStore {
    link: Arc<RedisLink>,
    bulk: RedisLink,
    job_records: JobRecords,
    prefix: String,
    dedup_ttl: Duration,
    max_wait: Duration,
    claim: Script,
    commit: Script,
    renew: Script,
    release: Script,
    append: Script,
    cancellations: broadcast::Sender<CancelNotice>,
    listening: Mutex<Option<AbortHandle>>,
    told_of_unknown_policy: AtomicBool,
}

impl RedisStore {
    /// A store at a server that is connected to when it is first used; [`check`](Store::check)
    /// tells whether it is there. Call it within a tokio runtime.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] if the URL is none.
    pub fn connect(config: RedisConfig) -> Result<Self, Error> {
        let link = Arc::new(RedisLink::open(&config.url, TIMEOUT, &config.tls)?);
        Ok(Self {
            job_records: JobRecords::new(Arc::clone(&link), config.prefix.clone()),
            link,
            bulk: RedisLink::open(&config.url, TIMEOUT, &config.tls)?,
            prefix: config.prefix,
            dedup_ttl: config.dedup_ttl,
            max_wait: config.max_wait,
            claim: Script::new(include_str!("lua/claim.lua")),
            commit: Script::new(include_str!("lua/commit.lua")),
            renew: Script::new(include_str!("lua/renew.lua")),
            release: Script::new(include_str!("lua/release.lua")),
            append: Script::new(include_str!("lua/append.lua")),
            cancellations: broadcast::channel(BACKLOG).0,
            listening: Mutex::new(None),
            told_of_unknown_policy: AtomicBool::new(false),
        })
    }

    /// What the server is and how it keeps what it is given.
    ///
    /// # Errors
    /// If it doesn't say.
    pub async fn server(&self) -> Result<ServerInfo, StoreError> {
        let facts = ServerInfo::ask(&self.link).await;
        facts.map_err(|error| self.failed("look at the server", "-", &error))
    }

    /// The books that the store shares with producers.
    pub fn job_records(&self) -> &JobRecords {
        &self.job_records
    }

    /// The workers that live, as they announce themselves.
    ///
    /// # Errors
    /// If the server doesn't say.
    pub async fn workers(&self) -> Result<Vec<WorkerInfo>, StoreError> {
        let workers = self.job_records.workers().await;
        workers.map_err(|error| StoreError::of_sdk("look at the workers", "-", &error))
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
        StoreError::of_redis(operation, job, self.link.display_url(), error)
    }

    /// Ends a job with `result`, for a purpose.
    async fn end(
        &self,
        result: &JobResult,
        result_ttl: Duration,
        owner: &str,
        (purpose, payload): (&str, &str),
    ) -> Result<String, StoreError> {
        let (job, body) = (&result.job_id, encode(result));
        let length = body.len();
        let mut script = self.commit.prepare_invoke();
        script
            .key(names::result_key(&self.prefix, job))
            .key(names::lease_key(&self.prefix, job))
            .key(names::record_key(&self.prefix, job))
            .arg(body)
            .arg(milliseconds(result_ttl))
            .arg(owner)
            .arg(names::done_channel(&self.prefix, job))
            .arg(result.status.as_str())
            .arg(milliseconds(self.dedup_ttl.max(result_ttl)))
            .arg(ANNOUNCED_BYTES)
            .arg(purpose)
            .arg(payload);
        if length < BULK_BYTES {
            return self.invoke("commit", job, &script).await;
        }
        let script = &script;
        let timeout = TIMEOUT + Duration::from_secs((length / SLOWEST) as u64);
        self.bulk
            .run_within(timeout, |mut connection| async move {
                script.invoke_async(&mut connection).await
            })
            .await
            .map_err(|error| self.failed("commit", job.as_str(), &error))
    }
}

#[async_trait]
impl Store for RedisStore {
    async fn register(&self, job: &Job) -> Result<(), StoreError> {
        let payload = payload_digest(&encode(job));
        let registration =
            NewRecord { job, payload: &payload, queue: "", dedup_ttl: self.dedup_ttl };
        let registered = self.job_records.create(registration).await;
        registered
            .map(drop)
            .map_err(|error| StoreError::of_sdk("registration", job.job_id.as_str(), &error))
    }

    async fn claim(&self, job: &JobId, claim: &Claim) -> Result<Claimed, StoreError> {
        let limit = claim.ttl.map_or(self.max_wait, |ttl| ttl.min(self.max_wait));
        let queued_at = claim.queued_at.map(|at| at.as_millisecond().to_string());
        let mut script = self.claim.prepare_invoke();
        script
            .key(names::result_key(&self.prefix, job))
            .key(names::lease_key(&self.prefix, job))
            .key(names::record_key(&self.prefix, job))
            .arg(&claim.owner)
            .arg(milliseconds(claim.lease))
            .arg(claim.max_attempts)
            .arg(milliseconds(self.dedup_ttl))
            .arg(milliseconds(limit))
            .arg(queued_at.unwrap_or_default())
            .arg(u8::from(claim.exclusive))
            .arg(&claim.payload)
            .arg(match claim.purpose {
                Purpose::Run => "run",
                Purpose::Look => "look",
            });
        let (answer, number, waited, by): (String, u64, u64, String) =
            self.invoke("claim", job, &script).await?;
        let count = u32::try_from(number).unwrap_or(u32::MAX);
        let waited = Duration::from_millis(waited);
        match answer.as_str() {
            "run" => Ok(Claimed::Run { attempt: count, waited }),
            "done" => Ok(Claimed::Done),
            "twin" => Ok(Claimed::Twin),
            "free" => Ok(Claimed::Free),
            "busy" => Ok(Claimed::Busy { lease_left: Duration::from_millis(number) }),
            "last" => Ok(Claimed::LastAttempt),
            "exhausted" => Ok(Claimed::Exhausted { attempts: count }),
            "expired" => Ok(Claimed::Expired { waited, limit }),
            "cancelled" => Ok(Claimed::Cancelled { by, attempts: count }),
            other => Err(StoreError {
                operation: "claim",
                job: job.to_string(),
                reason: format!("unexpected answer {other:?}"),
                is_damaged: true,
            }),
        }
    }

    async fn renew(
        &self,
        job: &JobId,
        owner: &str,
        lease: Duration,
    ) -> Result<Renewed, StoreError> {
        let mut script = self.renew.prepare_invoke();
        script
            .key(names::lease_key(&self.prefix, job))
            .key(names::record_key(&self.prefix, job))
            .arg(owner)
            .arg(milliseconds(lease));
        let by: Option<String> = self.invoke("renewal", job, &script).await?;
        Ok(by.map_or(Renewed::GoOn, |by| Renewed::Cancelled { by }))
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
        result_ttl: Duration,
    ) -> Result<Committed, StoreError> {
        let answer = self.end(result, result_ttl, owner, ("run", "")).await?;
        Ok(if answer == "stored" { Committed::Stored } else { Committed::AlreadyThere })
    }

    async fn refuse(
        &self,
        result: &JobResult,
        payload: &str,
        result_ttl: Duration,
    ) -> Result<Refused, StoreError> {
        let answer = self.end(result, result_ttl, "", ("refuse", payload)).await?;
        match answer.as_str() {
            "stored" => Ok(Refused::Stored),
            "exists" => Ok(Refused::AlreadyThere),
            "busy" => Ok(Refused::Busy),
            "twin" => Ok(Refused::Twin),
            other => Err(StoreError {
                operation: "refusal",
                job: result.job_id.to_string(),
                reason: format!("unexpected answer {other:?}"),
                is_damaged: true,
            }),
        }
    }

    async fn cancel(
        &self,
        job: &JobId,
        by: &str,
        result_ttl: Duration,
    ) -> Result<Cancellation, StoreError> {
        let cancelled = self.job_records.cancel(job, by, result_ttl).await;
        cancelled.map_err(|error| StoreError::of_sdk("cancellation", job.as_str(), &error))
    }

    fn cancellations(&self) -> broadcast::Receiver<CancelNotice> {
        let receiver = self.cancellations.subscribe();
        let mut listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        // Only who runs jobs listens.
        listening.get_or_insert_with(|| {
            let channel = names::cancel_channel(&self.prefix);
            let listen = cancellations::listen(
                self.link.client().clone(),
                channel,
                self.cancellations.clone(),
            );
            tokio::spawn(listen).abort_handle()
        });
        receiver
    }

    async fn append(&self, job: &JobId, owner: &str, output: &[Output]) -> Result<(), StoreError> {
        let Some(first) = output.first() else { return Ok(()) };
        let key = names::output_key(&self.prefix, job);
        let mut script = self.append.prepare_invoke();
        script
            .key(&key)
            .key(names::lease_key(&self.prefix, job))
            .key(names::result_key(&self.prefix, job))
            .arg(owner)
            .arg(first.attempt)
            .arg(milliseconds(OUTPUT_TTL))
            .arg(OUTPUT_ENTRIES)
            .arg(&key);
        for piece in output {
            script.arg(piece.kind.as_str()).arg(piece.offset).arg(&piece.bytes[..]);
        }
        self.invoke("output", job, &script).await
    }

    async fn get(&self, job: &JobId) -> Result<JobState, StoreError> {
        let state = self.job_records.state(job).await;
        state.map_err(|error| StoreError::of_sdk("look-up", job.as_str(), &error))
    }

    async fn check(&self) -> Result<(), StoreError> {
        // A write tells what a ping doesn't: a replica, full memory, a disk that can't be saved to.
        let key = &names::check_key(&self.prefix);
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
        match policy(&self.link).await.map_err(|error| self.failed("check", "-", &error))? {
            Some(policy) if policy == POLICY => Ok(()),
            Some(policy) => Err(StoreError {
                operation: "check",
                job: "-".into(),
                reason: format!(
                    "{}: maxmemory-policy is {policy}, which lets Redis throw results away; set \
                     `maxmemory-policy {POLICY}` in redis.conf (at once: `redis-cli config set \
                     maxmemory-policy {POLICY}`)",
                    self.link.display_url()
                ),
                is_damaged: false,
            }),
            None => {
                if !self.told_of_unknown_policy.swap(true, Ordering::Relaxed) {
                    warn!(
                        store = self.link.display_url(),
                        "the user may not read maxmemory-policy; make sure that it is {POLICY}"
                    );
                }
                Ok(())
            }
        }
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

/// At least one: Redis refuses a time to live of nothing.
fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).clamp(1, i64::MAX as u64 / 2)
}

//! Where results go.

mod cancellations;
mod error;
mod memory;
mod redis;
mod server;
mod tenant_limiter;

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use sandfleet_common::{Job, JobId, JobResult, JobState};
use sandfleet_transport::records::{Cancellation, OutputKind};
use tokio::sync::broadcast;

pub use cancellations::CancelNotice;
pub use error::StoreError;
pub use memory::MemoryStore;
pub use redis::{RedisConfig, RedisStore};
pub use server::ServerInfo;
pub use tenant_limiter::{TenantLimiter, TenantPermit};

/// Keeps one result per job and knows who runs what.
#[async_trait]
pub trait Store: Send + Sync {
    /// Writes a job down that was submitted, unless it is there already: its time counts from here.
    async fn register(&self, job: &Job) -> Result<(), StoreError>;

    /// Claims `job` for `owner`, in one atomic step: counts the attempt and takes a lease.
    async fn claim(&self, job: &JobId, claim: &Claim) -> Result<Claimed, StoreError>;

    /// Keeps `owner`'s lease alive for another `lease`, and tells whether the job was called off.
    /// A lease only saves double work; no promise rests on it, so failing to renew it harms
    /// nothing but that.
    async fn renew(&self, job: &JobId, owner: &str, lease: Duration)
    -> Result<Renewed, StoreError>;

    /// Gives `owner`'s lease back, so that the next attempt needn't wait for its end.
    async fn release(&self, job: &JobId, owner: &str) -> Result<(), StoreError>;

    /// Stores `result` for `result_ttl` unless there is one already or was one, gives the lease back
    /// and tells those who wait. The first writer wins; a result never changes.
    async fn commit(
        &self,
        result: &JobResult,
        owner: &str,
        result_ttl: Duration,
    ) -> Result<Committed, StoreError>;

    /// Stores `result` of a job that isn't run, because its message says so or somebody gave it up: as
    /// [`commit`](Self::commit), but only if nobody runs the job, and if it is that of a message with
    /// this `payload`. Counts no attempt.
    async fn refuse(
        &self,
        result: &JobResult,
        payload: &str,
        result_ttl: Duration,
    ) -> Result<Refused, StoreError>;

    /// Cancels `job` on behalf of `by`. The result of one that waits is kept for `result_ttl`.
    async fn cancel(
        &self,
        job: &JobId,
        by: &str,
        result_ttl: Duration,
    ) -> Result<Cancellation, StoreError>;

    /// Hears when jobs that run are called off. A hint: the mark that [`renew`](Self::renew)
    /// reads is the truth.
    fn cancellations(&self) -> broadcast::Receiver<CancelNotice>;

    /// Adds to what can be followed of the job's output, if `owner` holds it.
    async fn append(&self, job: &JobId, owner: &str, output: &[Output]) -> Result<(), StoreError>;

    /// What is known about `job`.
    async fn get(&self, job: &JobId) -> Result<JobState, StoreError>;

    /// Whether results can be stored at present, or why not.
    async fn check(&self) -> Result<(), StoreError>;
}

/// How a job is claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Who claims: unique to the worker process and the delivery.
    pub owner: String,
    /// How long the claim holds without being renewed.
    pub lease: Duration,
    /// How many claims a job may use up.
    pub max_attempts: u32,
    /// How long the job may have waited for its first claim. The store's own limit holds too.
    pub ttl: Option<Duration>,
    /// When the job was handed over as its message says; only looked at for a job that nobody
    /// [wrote down](Store::register).
    pub queued_at: Option<Timestamp>,
    /// Whether nothing else will run beside the job.
    pub exclusive: bool,
    /// The message's [`payload_digest`](sandfleet_common::payload_digest).
    pub payload: String,
    /// What for.
    pub purpose: Purpose,
}

/// What a job is claimed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To run it: the attempt is counted, and the first payload that is claimed defines the job.
    Run,
    /// To see how it stands: nothing is counted and nothing changes.
    Look,
}

/// The answer to a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// Run it.
    Run {
        /// The attempt's number, from 1.
        attempt: u32,
        /// How long ago the job was submitted, by the store's clock.
        waited: Duration,
    },
    /// It has its result already, or had it.
    Done,
    /// Somebody else holds it for at most so long.
    Busy {
        /// The rest of the other's lease.
        lease_left: Duration,
    },
    /// One attempt is left after others failed, and it is for who will run the job
    /// [exclusive](Claim::exclusive). Nothing was claimed or counted.
    LastAttempt,
    /// Another job has this id: the message has another payload.
    Twin,
    /// It could be run, and the claim was only a [look](Purpose::Look).
    Free,
    /// All attempts are used up.
    Exhausted {
        /// How many there were.
        attempts: u32,
    },
    /// It waited for longer than it may.
    Expired {
        /// How long, by the store's clock.
        waited: Duration,
        /// How long it may.
        limit: Duration,
    },
    /// It was called off while somebody ran it who is gone now.
    Cancelled {
        /// Who called it off.
        by: String,
        /// How often it was started.
        attempts: u32,
    },
}

/// The answer to a renewal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renewed {
    /// Go on.
    GoOn,
    /// Stop: the job was called off.
    Cancelled {
        /// Who called it off.
        by: String,
    },
}

/// Whose result it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// Ours.
    Stored,
    /// There was one; ours is dropped.
    AlreadyThere,
}

/// What became of a job that isn't to be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Its result is ours.
    Stored,
    /// It has its result already, or had it.
    AlreadyThere,
    /// Somebody runs it.
    Busy,
    /// Another job has this id.
    Twin,
}

/// A piece of what a program printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Which start of the job it belongs to.
    pub attempt: u32,
    /// What it is.
    pub kind: OutputKind,
    /// How many bytes of the same kind came before it in this attempt.
    pub offset: u64,
    /// What was printed.
    pub bytes: Vec<u8>,
}

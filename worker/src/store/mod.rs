//! Where results go.

mod memory;
mod places;
mod redis;

use std::time::Duration;

use async_trait::async_trait;
use sandfleet_common::{JobId, JobResult, JobState};

pub use memory::MemoryStore;
pub use places::{Place, Places};
pub use redis::{RedisConfig, RedisStore};

/// Keeps one result per job and knows who runs what.
#[async_trait]
pub trait Store: Send + Sync {
    /// Claims `job` for `owner`, in one atomic step: counts the attempt and takes a lease.
    async fn claim(&self, job: &JobId, claim: &Claim) -> Result<Claimed, StoreError>;

    /// Keeps `owner`'s lease alive for another `lease`. A lease only saves double work; no
    /// promise rests on it, so failing to renew it harms nothing but that.
    async fn renew(&self, job: &JobId, owner: &str, lease: Duration) -> Result<(), StoreError>;

    /// Gives `owner`'s lease back, so that the next attempt needn't wait for its end.
    async fn release(&self, job: &JobId, owner: &str) -> Result<(), StoreError>;

    /// Stores `result` for `keep` unless there is one already, gives the lease back and tells
    /// those who wait. The first writer wins; a result never changes.
    async fn commit(
        &self,
        result: &JobResult,
        owner: &str,
        keep: Duration,
    ) -> Result<Committed, StoreError>;

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
    /// How long the count is kept.
    pub keep: Duration,
}

/// The answer to a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// Run it; this is the attempt's number, from 1.
    Run {
        /// The attempt's number, from 1.
        attempt: u32,
    },
    /// Its result is stored already.
    Done,
    /// Somebody else holds it for at most so long.
    Busy {
        /// The rest of the other's lease.
        lease_left: Duration,
    },
    /// All attempts are used up.
    Exhausted {
        /// How many there were.
        attempts: u32,
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

/// The store failed. Whether a write took effect is unknown; doing it again is safe.
#[derive(Debug, thiserror::Error)]
#[error("store: {operation} of job {job}: {reason}")]
pub struct StoreError {
    /// What was tried.
    pub operation: &'static str,
    /// On which job; `-` for none.
    pub job: String,
    /// Why it failed.
    pub reason: String,
}

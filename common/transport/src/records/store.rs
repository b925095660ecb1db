//! What a worker needs of the records, in Redis or in memory.

use std::time::Duration;

use async_trait::async_trait;
use sandfleet_common::{Job, JobId, JobResult, JobState, TraceContext};
use tokio::sync::broadcast;

use super::{
    cancel::Cancellation,
    cancellations::CancelNotice,
    claim::{Claim, Claimed},
    commit::{Committed, Refused},
    create::Created,
    lease::Renewed,
    memory::MemoryStore,
    output::Output,
    redis::RedisStore,
    switches::Scope,
};
use crate::{Error, StoreError};

/// One record and one result per job.
#[async_trait]
pub trait Store: Send + Sync {
    /// Creates the record of a submitted job, unless there is one. `payload` is its
    /// [`payload_digest`](sandfleet_common::payload_digest), `queue` the queue of its message, `trace` what it was
    /// submitted in.
    /// [`Error::Conflict`] if another job has its id.
    async fn create(
        &self,
        job: &Job,
        payload: &str,
        queue: &str,
        trace: Option<&TraceContext>,
    ) -> Result<Created, Error>;

    /// Claims `job`: counts the attempt and takes the lease.
    async fn claim(&self, job: &JobId, claim: &Claim) -> Result<Claimed, StoreError>;

    /// Extends `owner`'s lease to `lease` from now, and tells whether the job is cancelled, or ended by an operator's
    /// switch for one of `scopes`. A lease
    /// only saves double work; no guarantee rests on it, so a failed renewal is no error of the job.
    async fn renew(
        &self,
        job: &JobId,
        owner: &str,
        lease: Duration,
        scopes: &[Scope],
    ) -> Result<Renewed, StoreError>;

    /// Ends `owner`'s lease, so that the next attempt needn't wait until it expires.
    async fn release(&self, job: &JobId, owner: &str) -> Result<(), StoreError>;

    /// Stores the result of a run for `result_ttl` unless the job has or had one, ends `owner`'s
    /// lease and publishes the end. The first writer wins; a result never changes.
    async fn commit(
        &self,
        result: &JobResult,
        owner: &str,
        result_ttl: Duration,
    ) -> Result<Committed, StoreError>;

    /// Stores the result of a job that isn't run: as [`commit`](Self::commit), but only if no
    /// worker runs it and if the job has this `payload`. Counts no attempt.
    async fn refuse(
        &self,
        result: &JobResult,
        payload: &str,
        result_ttl: Duration,
    ) -> Result<Refused, StoreError>;

    /// Cancels `job` on behalf of `by`. The result of a queued job is kept for `result_ttl`, or for
    /// as long as the job says if that is less.
    async fn cancel(
        &self,
        job: &JobId,
        by: &str,
        result_ttl: Duration,
    ) -> Result<Cancellation, Error>;

    /// Receives a notice when a running job is cancelled. A hint: what [`renew`](Self::renew) reads
    /// decides.
    fn cancellations(&self) -> broadcast::Receiver<CancelNotice>;

    /// Adds to the job's output stream, if `owner` holds the lease.
    async fn append(&self, job: &JobId, owner: &str, output: &[Output]) -> Result<(), StoreError>;

    /// The state of `job`.
    async fn get(&self, job: &JobId) -> Result<JobState, Error>;

    /// Whether results can be stored at present, or why not.
    async fn check(&self) -> Result<(), StoreError>;
}

// The steps themselves are inherent methods, each in the file of its step.
#[async_trait]
impl Store for RedisStore {
    async fn create(
        &self,
        job: &Job,
        payload: &str,
        queue: &str,
        trace: Option<&TraceContext>,
    ) -> Result<Created, Error> {
        RedisStore::create(self, job, payload, queue, trace).await
    }

    async fn claim(&self, job: &JobId, claim: &Claim) -> Result<Claimed, StoreError> {
        RedisStore::claim(self, job, claim).await
    }

    async fn renew(
        &self,
        job: &JobId,
        owner: &str,
        lease: Duration,
        scopes: &[Scope],
    ) -> Result<Renewed, StoreError> {
        RedisStore::renew(self, job, owner, lease, scopes).await
    }

    async fn release(&self, job: &JobId, owner: &str) -> Result<(), StoreError> {
        RedisStore::release(self, job, owner).await
    }

    async fn commit(
        &self,
        result: &JobResult,
        owner: &str,
        result_ttl: Duration,
    ) -> Result<Committed, StoreError> {
        RedisStore::commit(self, result, owner, result_ttl).await
    }

    async fn refuse(
        &self,
        result: &JobResult,
        payload: &str,
        result_ttl: Duration,
    ) -> Result<Refused, StoreError> {
        RedisStore::refuse(self, result, payload, result_ttl).await
    }

    async fn cancel(
        &self,
        job: &JobId,
        by: &str,
        result_ttl: Duration,
    ) -> Result<Cancellation, Error> {
        RedisStore::cancel(self, job, by, result_ttl).await
    }

    fn cancellations(&self) -> broadcast::Receiver<CancelNotice> {
        RedisStore::cancellations(self)
    }

    async fn append(&self, job: &JobId, owner: &str, output: &[Output]) -> Result<(), StoreError> {
        RedisStore::append(self, job, owner, output).await
    }

    async fn get(&self, job: &JobId) -> Result<JobState, Error> {
        RedisStore::get(self, job).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        RedisStore::check(self).await
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn create(
        &self,
        job: &Job,
        payload: &str,
        queue: &str,
        trace: Option<&TraceContext>,
    ) -> Result<Created, Error> {
        self.lock().create(job, payload, queue, trace)
    }

    async fn claim(&self, job: &JobId, claim: &Claim) -> Result<Claimed, StoreError> {
        Ok(self.lock().claim(job, claim))
    }

    async fn renew(
        &self,
        job: &JobId,
        owner: &str,
        lease: Duration,
        _: &[Scope],
    ) -> Result<Renewed, StoreError> {
        Ok(self.lock().renew(job, owner, lease))
    }

    async fn release(&self, job: &JobId, owner: &str) -> Result<(), StoreError> {
        self.lock().release(job, owner);
        Ok(())
    }

    async fn commit(
        &self,
        result: &JobResult,
        owner: &str,
        result_ttl: Duration,
    ) -> Result<Committed, StoreError> {
        Ok(self.lock().commit(result, owner, result_ttl))
    }

    async fn refuse(
        &self,
        result: &JobResult,
        payload: &str,
        result_ttl: Duration,
    ) -> Result<Refused, StoreError> {
        Ok(self.lock().refuse(result, payload, result_ttl))
    }

    async fn cancel(
        &self,
        job: &JobId,
        by: &str,
        result_ttl: Duration,
    ) -> Result<Cancellation, Error> {
        Ok(self.lock().cancel(job, by, result_ttl))
    }

    fn cancellations(&self) -> broadcast::Receiver<CancelNotice> {
        self.lock().notices.subscribe()
    }

    /// In one process the output comes through the hooks.
    async fn append(&self, _: &JobId, _: &str, _: &[Output]) -> Result<(), StoreError> {
        Ok(())
    }

    async fn get(&self, job: &JobId) -> Result<JobState, Error> {
        Ok(self.lock().get(job))
    }

    async fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

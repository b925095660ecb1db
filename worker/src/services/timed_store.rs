//! A store that tells how long each step of a job's record takes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use sandfleet_common::{Job, JobId, JobResult, JobState, TraceContext};
use sandfleet_transport::{
    Error, StoreError,
    records::{
        CancelNotice, Cancellation, Claim, Claimed, Committed, Created, Output, Refused, Renewed,
        Scope, Store,
    },
};
use tokio::sync::broadcast;

use crate::{
    hooks::Observer,
    labels::{Call, Service},
};

/// `store`, with an observer of the calls on a job's path.
pub struct TimedStore {
    store: Arc<dyn Store>,
    observer: Observer,
    /// Whether the last call failed since the store is away.
    is_away: AtomicBool,
}

impl TimedStore {
    /// `store`, whose calls `observer` is told of.
    pub fn new(store: Arc<dyn Store>, observer: Observer) -> Self {
        Self { store, observer, is_away: AtomicBool::new(false) }
    }

    async fn timed<T>(
        &self,
        call: Call,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let answer = self.observer.timed(call, answer).await;
        match &answer {
            // Of the calls that come back at a time one tells.
            Ok(_)
                if self.is_away.load(Ordering::Relaxed)
                    && self.is_away.swap(false, Ordering::Relaxed) =>
            {
                self.observer.reconnected(Service::Store);
            }
            Err(error) if error.is_passing => self.is_away.store(true, Ordering::Relaxed),
            _ => {}
        }
        answer
    }
}

#[async_trait]
impl Store for TimedStore {
    async fn create(
        &self,
        job: &Job,
        payload: &str,
        queue: &str,
        trace: Option<&TraceContext>,
    ) -> Result<Created, Error> {
        self.store.create(job, payload, queue, trace).await
    }

    async fn claim(&self, job: &JobId, claim: &Claim) -> Result<Claimed, StoreError> {
        self.timed(Call::Claim, self.store.claim(job, claim)).await
    }

    async fn renew(
        &self,
        job: &JobId,
        owner: &str,
        lease: Duration,
        scopes: &[Scope],
    ) -> Result<Renewed, StoreError> {
        self.timed(Call::Renew, self.store.renew(job, owner, lease, scopes)).await
    }

    async fn release(&self, job: &JobId, owner: &str) -> Result<(), StoreError> {
        self.timed(Call::Release, self.store.release(job, owner)).await
    }

    async fn commit(
        &self,
        result: &JobResult,
        owner: &str,
        result_ttl: Duration,
    ) -> Result<Committed, StoreError> {
        self.timed(Call::Commit, self.store.commit(result, owner, result_ttl)).await
    }

    async fn refuse(
        &self,
        result: &JobResult,
        payload: &str,
        result_ttl: Duration,
    ) -> Result<Refused, StoreError> {
        self.timed(Call::Refuse, self.store.refuse(result, payload, result_ttl)).await
    }

    async fn cancel(
        &self,
        job: &JobId,
        by: &str,
        result_ttl: Duration,
    ) -> Result<Cancellation, Error> {
        self.store.cancel(job, by, result_ttl).await
    }

    fn cancellations(&self) -> broadcast::Receiver<CancelNotice> {
        self.store.cancellations()
    }

    async fn append(&self, job: &JobId, owner: &str, output: &[Output]) -> Result<(), StoreError> {
        self.timed(Call::Append, self.store.append(job, owner, output)).await
    }

    async fn get(&self, job: &JobId) -> Result<JobState, Error> {
        self.store.get(job).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.store.check().await
    }
}

//! Results in memory, for the embedded mode.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use sandfleet_common::{
    Job, JobId, JobResult, JobState, Owner, QueuedJob, RunningJob, Status, encode, payload_digest,
};
use sandfleet_transport::records::{Cancellation, cancelled_result};
use serde_json::Value;
use tokio::{sync::broadcast, time::Instant};

use super::{
    CancelNotice, Claim, Claimed, Committed, Output, Purpose, Refused, Renewed, Store, StoreError,
    cancellations::BACKLOG,
};

/// How long any job may wait.
const JOB_TTL: Duration = Duration::from_secs(7 * 86_400);

/// Results of this process. Clones are the same store.
#[derive(Clone)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
    cancellations: broadcast::Sender<CancelNotice>,
    /// How long a job is remembered after its end.
    memory: Duration,
}

#[derive(Default)]
struct State {
    results: HashMap<JobId, Kept<JobResult>>,
    /// The owners.
    leases: HashMap<JobId, Kept<String>>,
    records: HashMap<JobId, Kept<Record>>,
    /// How many entries there may be before those past their time are looked for.
    sweep_at: usize,
}

/// What is remembered of a job.
#[derive(Clone, Default)]
struct Record {
    /// Which job this is, by the digest of its message.
    payload: Option<String>,
    queued: QueuedJob,
    started_at: Option<Timestamp>,
    cancelled_by: Option<String>,
    ended: Option<Status>,
    metadata: Vec<(String, Value)>,
    result_ttl: Option<Duration>,
}

/// Something with a time to live.
struct Kept<T> {
    value: T,
    until: Instant,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::remembering(JOB_TTL)
    }

    /// An empty store that knows for so long after a job's end that there was one.
    pub fn remembering(memory: Duration) -> Self {
        Self { state: Arc::default(), cancellations: broadcast::channel(BACKLOG).0, memory }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn register(&self, job: &Job) -> Result<(), StoreError> {
        let mut state = self.lock();
        if live(&state.records, &job.job_id).is_some() {
            return Ok(());
        }
        let record = Record {
            payload: Some(payload_digest(&encode(job))),
            queued: QueuedJob {
                queued_at: Some(Timestamp::now()),
                attempts: 0,
                language: Some(job.language.clone()),
                isolation: Some(job.isolation),
                priority: Some(job.priority),
                queue: None,
            },
            metadata: job.metadata.clone().into_iter().collect(),
            result_ttl: job.result_ttl_ms.map(Duration::from_millis),
            ..Record::default()
        };
        state.records.insert(job.job_id.clone(), Kept::new(record, JOB_TTL));
        Ok(())
    }

    async fn claim(&self, job: &JobId, claim: &Claim) -> Result<Claimed, StoreError> {
        let mut state = self.lock();
        state.sweep();
        let mut record = live(&state.records, job).cloned().unwrap_or_default();
        if record.is_not(&claim.payload) {
            return Ok(Claimed::Twin);
        }
        if record.ended.is_some() || live(&state.results, job).is_some() {
            return Ok(Claimed::Done);
        }
        let queued_at = record.queued.queued_at.or(claim.queued_at);
        let waited = queued_at.map_or(Duration::ZERO, |at| {
            at.duration_until(Timestamp::now()).try_into().unwrap_or_default()
        });
        let attempts = record.queued.attempts;
        match state.leases.get(job).filter(|lease| lease.until > Instant::now()) {
            // The owner asks again because the answer was lost.
            Some(lease) if lease.value == claim.owner => {
                state.leases.insert(job.clone(), Kept::new(claim.owner.clone(), claim.lease));
                return Ok(Claimed::Run { attempt: attempts, waited });
            }
            Some(lease) => {
                return Ok(Claimed::Busy { lease_left: lease.until - Instant::now() });
            }
            None => {}
        }
        if let Some(by) = record.cancelled_by {
            return Ok(Claimed::Cancelled { by, attempts });
        }
        let limit = claim.ttl.map_or(JOB_TTL, |ttl| ttl.min(JOB_TTL));
        if attempts == 0 && waited > limit {
            return Ok(Claimed::Expired { waited, limit });
        }
        if claim.purpose == Purpose::Look {
            return Ok(Claimed::Free);
        }
        if attempts >= claim.max_attempts {
            return Ok(Claimed::Exhausted { attempts });
        }
        if attempts > 0 && attempts + 1 == claim.max_attempts && !claim.exclusive {
            return Ok(Claimed::LastAttempt);
        }
        record.payload = Some(claim.payload.clone());
        record.queued.attempts = attempts + 1;
        record.queued.queued_at = queued_at.or_else(|| Some(Timestamp::now()));
        record.started_at = Some(Timestamp::now());
        state.records.insert(job.clone(), Kept::new(record, JOB_TTL));
        state.leases.insert(job.clone(), Kept::new(claim.owner.clone(), claim.lease));
        Ok(Claimed::Run { attempt: attempts + 1, waited })
    }

    async fn renew(
        &self,
        job: &JobId,
        owner: &str,
        lease: Duration,
    ) -> Result<Renewed, StoreError> {
        let mut state = self.lock();
        if live(&state.leases, job).is_some_and(|holder| holder == owner) {
            state.leases.insert(job.clone(), Kept::new(owner.to_owned(), lease));
        }
        let by = live(&state.records, job).and_then(|record| record.cancelled_by.clone());
        Ok(by.map_or(Renewed::GoOn, |by| Renewed::Cancelled { by }))
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
        let mut state = self.lock();
        state.sweep();
        let job = &result.job_id;
        state.release(job, owner);
        Ok(state.commit(result, result_ttl, self.memory))
    }

    async fn refuse(
        &self,
        result: &JobResult,
        payload: &str,
        result_ttl: Duration,
    ) -> Result<Refused, StoreError> {
        let mut state = self.lock();
        state.sweep();
        let job = &result.job_id;
        if live(&state.records, job).is_some_and(|record| record.is_not(payload)) {
            return Ok(Refused::Twin);
        }
        let has_result = live(&state.results, job).is_some();
        if live(&state.leases, job).is_some() && !has_result {
            return Ok(Refused::Busy);
        }
        Ok(match state.commit(result, result_ttl, self.memory) {
            Committed::AlreadyThere => Refused::AlreadyThere,
            Committed::Stored => {
                if let Some(kept) = state.records.get_mut(job) {
                    kept.value.payload.get_or_insert_with(|| payload.to_owned());
                }
                Refused::Stored
            }
        })
    }

    async fn cancel(
        &self,
        job: &JobId,
        by: &str,
        result_ttl: Duration,
    ) -> Result<Cancellation, StoreError> {
        let mut state = self.lock();
        if let Some(result) = live(&state.results, job) {
            return Ok(Cancellation::Ended(result.status));
        }
        let Some(record) = live(&state.records, job).cloned() else {
            return Ok(Cancellation::Unknown);
        };
        if let Some(status) = record.ended {
            return Ok(Cancellation::Ended(status));
        }
        if live(&state.leases, job).is_some() {
            if let Some(kept) = state.records.get_mut(job) {
                kept.value.cancelled_by.get_or_insert_with(|| by.to_owned());
            }
            // Nobody is there to hear it if its worker is gone.
            let _ = self.cancellations.send(CancelNotice::Job(job.clone()));
            return Ok(Cancellation::Requested);
        }
        let result =
            cancelled_result(job, by, &record.queued, Timestamp::now(), record.metadata.clone());
        let result_ttl = record.result_ttl.map_or(result_ttl, |asked| asked.min(result_ttl));
        state.end(&result, result_ttl, self.memory);
        Ok(Cancellation::Cancelled)
    }

    fn cancellations(&self) -> broadcast::Receiver<CancelNotice> {
        self.cancellations.subscribe()
    }

    /// Who is in this process has the output from the hooks.
    async fn append(&self, _: &JobId, _: &str, _: &[Output]) -> Result<(), StoreError> {
        Ok(())
    }

    async fn get(&self, job: &JobId) -> Result<JobState, StoreError> {
        let state = self.lock();
        if let Some(result) = live(&state.results, job) {
            return Ok(JobState::Done(Box::new(result.clone())));
        }
        let Some(record) = live(&state.records, job) else { return Ok(JobState::Unknown) };
        Ok(match (record.ended, live(&state.leases, job)) {
            (Some(status), _) => JobState::ResultExpired(status),
            (None, Some(owner)) => JobState::Running(RunningJob {
                worker_id: Owner::parse(owner).worker_id,
                attempt: record.queued.attempts,
                started_at: record.started_at,
                cancelled: record.cancelled_by.is_some(),
            }),
            (None, None) => JobState::Queued(record.queued.clone()),
        })
    }

    async fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl Record {
    /// Whether it is another job's than that with this payload.
    fn is_not(&self, payload: &str) -> bool {
        self.payload.as_deref().is_some_and(|known| known != payload)
    }
}

impl State {
    fn release(&mut self, job: &JobId, owner: &str) {
        if self.leases.get(job).is_some_and(|lease| lease.value == owner) {
            self.leases.remove(job);
        }
    }

    /// Stores `result` unless there is one or was one.
    fn commit(&mut self, result: &JobResult, result_ttl: Duration, memory: Duration) -> Committed {
        let job = &result.job_id;
        if let Some(stored) = live(&self.results, job) {
            let ours = stored == result;
            return if ours { Committed::Stored } else { Committed::AlreadyThere };
        }
        if live(&self.records, job).is_some_and(|record| record.ended.is_some()) {
            return Committed::AlreadyThere;
        }
        self.end(result, result_ttl, memory);
        Committed::Stored
    }

    /// Stores the one result of a job.
    fn end(&mut self, result: &JobResult, result_ttl: Duration, memory: Duration) {
        let job = &result.job_id;
        let payload = live(&self.records, job).and_then(|record| record.payload.clone());
        let record = Record { payload, ended: Some(result.status), ..Record::default() };
        self.records.insert(job.clone(), Kept::new(record, memory.max(result_ttl)));
        self.results.insert(job.clone(), Kept::new(result.clone(), result_ttl));
    }

    /// Throws away what is past its time, once there is twice as much as after the last sweep: so
    /// that memory is bounded by what is live, at a constant cost for each entry.
    fn sweep(&mut self) {
        let count = self.results.len() + self.leases.len() + self.records.len();
        if count < self.sweep_at.max(1024) {
            return;
        }
        let now = Instant::now();
        self.results.retain(|_, kept| kept.until > now);
        self.leases.retain(|_, kept| kept.until > now);
        self.records.retain(|_, kept| kept.until > now);
        let left = self.results.len() + self.leases.len() + self.records.len();
        self.sweep_at = left * 2;
    }
}

impl<T> Kept<T> {
    fn new(value: T, result_ttl: Duration) -> Self {
        let now = Instant::now();
        // A time beyond what the clock can count is as good as a hundred years.
        let far = || now + Duration::from_secs(100 * 365 * 86_400);
        Self { value, until: now.checked_add(result_ttl).unwrap_or_else(far) }
    }
}

fn live<'a, T>(kept: &'a HashMap<JobId, Kept<T>>, job: &JobId) -> Option<&'a T> {
    kept.get(job).filter(|kept| kept.until > Instant::now()).map(|kept| &kept.value)
}

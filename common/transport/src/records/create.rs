//! Creating the record of a submitted job, and taking it back.

use std::{sync::LazyLock, time::Duration};

use jiff::Timestamp;
use redis::Script;
use sandfleet_common::{Job, JobId, QueuedJob, TRACEPARENT, TRACESTATE, TraceContext, encode};

use super::{
    audit::noting_script,
    memory::{MAX_WAIT, State},
    record::{Record, read_trace},
    redis::{RedisStore, milliseconds},
};
use crate::{
    Error, StoreError,
    audit::{Act, Event},
};

static CREATE: LazyLock<Script> = LazyLock::new(|| noting_script(include_str!("create.lua")));
static ROLLBACK: LazyLock<Script> = LazyLock::new(|| noting_script(include_str!("rollback.lua")));

/// Longer metadata comes back only with results that a worker makes: a record stays for days, and
/// in memory.
const MAX_METADATA_BYTES: usize = 4096;

/// The state of a job when it was submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// There was no record. The job's message is still to be published.
    New {
        /// The store's time.
        queued_at: Timestamp,
    },
    /// It was submitted before, and no worker has it. Whether its message ever reached the broker
    /// isn't known, so it is published again; of two messages one is run.
    Waiting {
        /// When it was submitted first.
        queued_at: Timestamp,
        /// The trace that it was submitted in first.
        trace: Option<TraceContext>,
    },
    /// A worker has it, so its message is there.
    Running,
    /// It ended.
    Ended,
}

impl RedisStore {
    /// Creates a record, unless there is one. It is kept for `dedup_ttl`, or for as long as the job
    /// may wait if that is more. The job was submitted in `trace`.
    ///
    /// # Errors
    /// [`Error::Conflict`] if another job has its id; [`Error::Store`].
    pub async fn create(
        &self,
        job: &Job,
        payload: &str,
        queue: &str,
        trace: Option<&TraceContext>,
    ) -> Result<Created, Error> {
        let keys = self.keys(&job.job_id);
        let dedup_ttl = self.dedup_ttl.max(Duration::from_millis(job.ttl_ms.unwrap_or(0)));
        let mut script = CREATE.prepare_invoke();
        script.key(keys.record).arg(payload).arg(milliseconds(dedup_ttl));
        script.arg(keys.result).arg(keys.lease);
        let submitted = Event::of_job(Act::Submitted, &job.job_id)
            .of_tenant(job.tenant.as_deref())
            .with(&job.language);
        self.audit.prepare(&submitted, &mut script);
        script.arg("language").arg(&job.language).arg("isolation").arg(job.isolation.as_str());
        script.arg("priority").arg(job.priority.as_str()).arg("queue").arg(queue);
        if let Some(tenant) = &job.tenant {
            script.arg("tenant").arg(tenant);
        }
        if let Some(trace) = trace {
            script.arg(TRACEPARENT).arg(trace.traceparent());
            if let Some(state) = trace.tracestate() {
                script.arg(TRACESTATE).arg(state);
            }
        }
        if let Some(ms) = job.result_ttl_ms {
            script.arg("result_ttl_ms").arg(ms);
        }
        if !job.metadata.is_empty() {
            let metadata = encode(&job.metadata);
            if metadata.len() <= MAX_METADATA_BYTES {
                script.arg("metadata").arg(metadata);
            }
        }
        let action = || format!("create the record of job {}", job.job_id);
        let (answer, ms, unnoted, parent, state): (String, i64, String, String, String) =
            self.invoke(action, &script).await?;
        let queued_at = Timestamp::from_millisecond(ms).unwrap_or_default();
        match answer.as_str() {
            "conflict" => Err(conflict(job)),
            "ended" => Ok(Created::Ended),
            "waiting" => {
                Ok(Created::Waiting { queued_at, trace: read_trace(&parent, Some(&state)) })
            }
            "new" => {
                self.audit.conclude(submitted, &unnoted);
                Ok(Created::New { queued_at })
            }
            "running" => Ok(Created::Running),
            other => Err(self.link.unexpected(action(), other).into()),
        }
    }

    /// Removes what [`create`](Self::create) made, because the broker refused the job.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn rollback(&self, job: &JobId, payload: &str) -> Result<(), StoreError> {
        let keys = self.keys(job);
        let mut script = ROLLBACK.prepare_invoke();
        script.key(keys.record).arg(payload).arg(keys.result).arg(keys.lease);
        let refused = Event::of_job(Act::NotSubmitted, job).with("the broker refused it");
        self.audit.prepare(&refused, &mut script);
        let unnoted: String = self.invoke(|| format!("roll back job {job}"), &script).await?;
        self.audit.conclude(refused, &unnoted);
        Ok(())
    }
}

impl State {
    /// The same as `create.lua`, in the same order.
    pub(super) fn create(
        &mut self,
        job: &Job,
        payload: &str,
        queue: &str,
        trace: Option<&TraceContext>,
    ) -> Result<Created, Error> {
        let known = self.records.get(&job.job_id);
        let queued_at =
            known.and_then(|known| known.queued.queued_at).unwrap_or_else(Timestamp::now);
        if known.is_some_and(|known| known.is_not(payload)) {
            return Err(conflict(job));
        }
        if known.is_some_and(|known| known.ended.is_some()) || self.results.has(&job.job_id) {
            return Ok(Created::Ended);
        }
        let first_trace = known.and_then(|known| known.trace.clone());
        let mut answer = Created::Waiting { queued_at, trace: first_trace };
        if known.is_none() {
            answer = Created::New { queued_at };
            let record = Record {
                payload: Some(payload.to_owned()),
                queued: QueuedJob {
                    queued_at: Some(queued_at),
                    attempts: 0,
                    language: Some(job.language.clone()),
                    isolation: Some(job.isolation),
                    priority: Some(job.priority),
                    queue: Some(queue.to_owned()),
                    tenant: job.tenant.clone(),
                    trace_id: trace.map(|trace| trace.trace_id),
                },
                metadata: job.metadata.clone(),
                result_ttl: job.result_ttl_ms.map(Duration::from_millis),
                trace: trace.cloned(),
                ..Record::default()
            };
            self.records.set(&job.job_id, record, MAX_WAIT);
        }
        if self.leases.has(&job.job_id) {
            answer = Created::Running;
        }
        Ok(answer)
    }
}

fn conflict(job: &Job) -> Error {
    Error::Conflict { job_id: job.job_id.clone(), by_key: job.idempotency_key.is_some() }
}

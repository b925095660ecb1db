//! Cancelling a job.

use std::{sync::LazyLock, time::Duration};

use jiff::Timestamp;
use redis::Script;
use sandfleet_common::{JobId, JobResult, JobState, Status, Timing, encode, names};

use super::{
    audit::noting_script,
    cancellations::CancelNotice,
    memory::State,
    record::Record,
    redis::{RedisStore, milliseconds},
};
use crate::{
    Error,
    audit::{Act, Event},
};

static CANCEL: LazyLock<Script> = LazyLock::new(|| noting_script(include_str!("cancel.lua")));

/// The answer to a cancellation.
#[derive(Debug, Clone, PartialEq)]
pub enum Cancellation {
    /// It was queued; its result is stored, and no worker will start it.
    Cancelled,
    /// It is running; its worker is notified, and its result follows.
    Requested,
    /// It had ended already, and stays as it is.
    Ended(Status),
    /// There is no such job.
    Unknown,
}

impl RedisStore {
    /// Cancels a job, with `cancel.lua`.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::UnreadableResult`] if a newer fleet wrote it, and
    /// [`Error::ForeignResult`].
    pub async fn cancel(
        &self,
        job: &JobId,
        by: &str,
        result_ttl: Duration,
    ) -> Result<Cancellation, Error> {
        // Read only for what goes into the result; the script decides.
        let (state, record) = self.get_state(job).await?;
        if let Some(status) = status_of(&state) {
            return Ok(Cancellation::Ended(status));
        }
        let (result, result_ttl) = record.cancelled(job, by, result_ttl);
        let keys = self.keys(job);
        let mut script = CANCEL.prepare_invoke();
        script
            .key(keys.record)
            .key(keys.cancelled)
            .arg(encode(&result))
            .arg(milliseconds(result_ttl))
            .arg(by)
            .arg(names::cancel_channel(&self.prefix))
            .arg(job.as_str())
            .arg(keys.result)
            .arg(keys.lease);
        let event =
            Event::of_job(Act::Cancelled, job).of_tenant(record.queued.tenant.as_deref()).with(by);
        self.audit.prepare(&event, &mut script);
        let action = || format!("cancel job {job}");
        let (answer, unnoted): (String, String) = self.invoke(action, &script).await?;
        if matches!(answer.as_str(), "running" | "cancelled") {
            self.audit.conclude(event, &unnoted);
        }
        match answer.as_str() {
            // It ended since it was read.
            "ended" => {
                let status = status_of(&self.get(job).await?);
                Ok(status.map_or(Cancellation::Unknown, Cancellation::Ended))
            }
            "running" => Ok(Cancellation::Requested),
            "unknown" => Ok(Cancellation::Unknown),
            "cancelled" => Ok(Cancellation::Cancelled),
            other => Err(self.link.unexpected(action(), other).into()),
        }
    }
}

impl State {
    /// The same as `cancel.lua`, in the same order.
    pub(super) fn cancel(&mut self, job: &JobId, by: &str, result_ttl: Duration) -> Cancellation {
        if let Some(status) = status_of(&self.get(job)) {
            return Cancellation::Ended(status);
        }
        if self.leases.has(job) {
            self.records.change(job, |record| {
                record.cancelled_by.get_or_insert_with(|| by.to_owned());
            });
            // There may be no receiver: the lease of a worker that is gone.
            let _ = self.notices.send(CancelNotice::Job(job.clone()));
            return Cancellation::Requested;
        }
        let Some(record) = self.records.get(job) else { return Cancellation::Unknown };
        let (result, result_ttl) = record.cancelled(job, by, result_ttl);
        self.results.set(job, result, result_ttl);
        self.records.change(job, |record| {
            record.ended = Some(Status::Cancelled);
            record.metadata.clear();
        });
        Cancellation::Cancelled
    }
}

fn status_of(state: &JobState) -> Option<Status> {
    match state {
        JobState::Done(result) => Some(result.status),
        JobState::ResultExpired(status) => Some(*status),
        JobState::Unknown | JobState::Queued(_) | JobState::Running(_) => None,
    }
}

impl Record {
    /// The result of a queued job that `by` cancels, and how long it is kept.
    fn cancelled(&self, job: &JobId, by: &str, result_ttl: Duration) -> (JobResult, Duration) {
        let now = Timestamp::now();
        let result = JobResult {
            job_id: job.clone(),
            status: Status::Cancelled,
            verdict: None,
            message: format!("cancelled by {by} before it was started").into(),
            exit_code: None,
            signal: None,
            compile: None,
            run: None,
            tests: Vec::new(),
            test_groups: Vec::new(),
            score: None,
            artifacts: Vec::new(),
            artifacts_skipped: Vec::new(),
            limits_hit: Vec::new(),
            usage: None,
            timing: Timing::default(),
            queued_at: self.queued.queued_at,
            started_at: now,
            finished_at: now,
            sandbox: None,
            worker_id: String::new(),
            attempt: self.queued.attempts,
            security_events: Vec::new(),
            tenant_proven: None,
            trace_id: self.queued.trace_id,
            metadata: self.metadata.clone(),
        };
        (result, self.result_ttl.map_or(result_ttl, |asked| asked.min(result_ttl)))
    }
}

//! Calling jobs off.

use std::time::Duration;

use jiff::Timestamp;
use sandfleet_common::{JobId, JobResult, JobState, QueuedJob, Status, Timing, encode, names};
use serde_json::Value;

use super::{ANNOUNCED_BYTES, JobRecords, milliseconds};
use crate::Error;

/// What became of the wish to call a job off.
#[derive(Debug, Clone, PartialEq)]
pub enum Cancellation {
    /// It waited; its result is stored, and no worker will start it.
    Cancelled,
    /// It runs; its worker was told, and its result follows.
    Requested,
    /// It had ended already, and stays as it is.
    Ended(Status),
    /// There is no such job.
    Unknown,
}

impl JobRecords {
    /// Cancels a job on behalf of `by`. The result of one that waits is kept for `result_ttl`, or for
    /// as long as the job says if that is less.
    ///
    /// # Errors
    /// [`Error::Store`], and [`Error::UnreadableResult`] if a newer fleet wrote it.
    pub async fn cancel(
        &self,
        id: &JobId,
        by: &str,
        result_ttl: Duration,
    ) -> Result<Cancellation, Error> {
        // The look is only for what goes into the result; what is done is decided in the script.
        let (state, record) = self.get_state(id).await?;
        match state {
            JobState::Done(result) => return Ok(Cancellation::Ended(result.status)),
            JobState::ResultExpired(status) => return Ok(Cancellation::Ended(status)),
            _ => {}
        }
        let metadata = record.metadata.into_iter().collect();
        let result = cancelled_result(id, by, &record.queued, Timestamp::now(), metadata);
        let result_ttl = record.result_ttl.map_or(result_ttl, |asked| asked.min(result_ttl));
        let keys = self.keys(id);
        let mut script = self.cancel.prepare_invoke();
        script
            .key(keys.result)
            .key(keys.lease)
            .key(keys.record)
            .arg(encode(&result))
            .arg(milliseconds(result_ttl))
            .arg(by)
            .arg(names::done_channel(&self.prefix, id))
            .arg(names::cancel_channel(&self.prefix))
            .arg(id.as_str())
            .arg(ANNOUNCED_BYTES);
        let answer: String = self.invoke(|| format!("cancel job {id}"), &script).await?;
        Ok(match answer.as_str() {
            "cancelled" => Cancellation::Cancelled,
            "running" => Cancellation::Requested,
            "unknown" => Cancellation::Unknown,
            // It ended since the look.
            _ => match self.state(id).await? {
                JobState::Done(result) => Cancellation::Ended(result.status),
                JobState::ResultExpired(status) => Cancellation::Ended(status),
                _ => Cancellation::Unknown,
            },
        })
    }
}

/// The result of a job that `by` called off while it waited.
pub fn cancelled_result(
    id: &JobId,
    by: &str,
    queued: &QueuedJob,
    now: Timestamp,
    metadata: Vec<(String, Value)>,
) -> JobResult {
    JobResult {
        job_id: id.clone(),
        status: Status::Cancelled,
        verdict: None,
        message: format!("cancelled by {by} before it was started").into(),
        exit_code: None,
        signal: None,
        run: None,
        artifacts: Vec::new(),
        artifacts_skipped: Vec::new(),
        limits_hit: Vec::new(),
        usage: None,
        timing: Timing::default(),
        queued_at: queued.queued_at,
        started_at: now,
        finished_at: now,
        sandbox: None,
        worker_id: String::new(),
        attempt: queued.attempts,
        security_events: Vec::new(),
        metadata: metadata.into_iter().collect(),
    }
}

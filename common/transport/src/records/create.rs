//! What is written down when a job is submitted.

use std::time::Duration;

use jiff::Timestamp;
use sandfleet_common::{Job, JobId, encode};

use super::{JobRecords, milliseconds};
use crate::Error;

/// Notes longer than this come back only with results that a worker made: a record stays for
/// days, and in memory.
const MAX_METADATA_BYTES: usize = 4096;

/// A job to be written down.
#[derive(Debug, Clone, Copy)]
pub struct NewRecord<'a> {
    /// The job.
    pub job: &'a Job,
    /// Its [`payload_digest`](sandfleet_common::payload_digest).
    pub payload: &'a str,
    /// The queue that its message goes to.
    pub queue: &'a str,
    /// How long it is remembered.
    pub dedup_ttl: Duration,
}

/// How a job stood when it was written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// Nobody knew it. Its message is still to be published.
    New {
        /// The store's time.
        queued_at: Timestamp,
    },
    /// It was submitted before, and no worker has it. Whether its message ever reached the broker
    /// isn't known, so it is published again; a worker that finds two runs one.
    Waiting {
        /// When it was submitted first.
        queued_at: Timestamp,
    },
    /// A worker has it, so its message is there.
    Running,
    /// It ended.
    Ended,
}

impl JobRecords {
    /// Writes a job down, unless it is there already.
    ///
    /// # Errors
    /// [`Error::Conflict`] if another job has its id; [`Error::Store`].
    pub async fn create(&self, new_record: NewRecord<'_>) -> Result<Created, Error> {
        let NewRecord { job, payload, queue, dedup_ttl } = new_record;
        let keys = self.keys(&job.job_id);
        let mut script = self.create.prepare_invoke();
        script.key(keys.record).key(keys.result).key(keys.lease);
        script.arg(payload).arg(milliseconds(dedup_ttl));
        script.arg("language").arg(&job.language).arg("isolation").arg(job.isolation.as_str());
        script.arg("priority").arg(job.priority.as_str()).arg("queue").arg(queue);
        if let Some(ms) = job.result_ttl_ms {
            script.arg("result_ttl_ms").arg(ms);
        }
        if !job.metadata.is_empty() {
            let metadata = encode(&job.metadata);
            if metadata.len() <= MAX_METADATA_BYTES {
                script.arg("metadata").arg(metadata);
            }
        }
        let action = || format!("write job {} down", job.job_id);
        let (answer, ms): (String, i64) = self.invoke(action, &script).await?;
        let queued_at = Timestamp::from_millisecond(ms).unwrap_or_default();
        Ok(match answer.as_str() {
            "new" => Created::New { queued_at },
            "waiting" => Created::Waiting { queued_at },
            "running" => Created::Running,
            "conflict" => {
                let (job_id, by_key) = (job.job_id.clone(), job.idempotency_key.is_some());
                return Err(Error::Conflict { job_id, by_key });
            }
            _ => Created::Ended,
        })
    }

    /// Takes back what [`create`](Self::create) wrote down as new, because the broker did not
    /// take the job.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn rollback(&self, id: &JobId, payload: &str) -> Result<(), Error> {
        let keys = self.keys(id);
        let mut script = self.rollback.prepare_invoke();
        script.key(keys.record).key(keys.result).key(keys.lease).arg(payload);
        self.invoke(|| format!("roll back job {id}"), &script).await
    }
}

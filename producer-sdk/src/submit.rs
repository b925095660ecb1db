//! Handing jobs over.

use std::time::Duration;

use futures_util::future::join_all;
use lapin::types::FieldTable;
use sandfleet_common::{Job, JobId, encode, names, payload_digest};
use sandfleet_transport::{
    Message,
    records::{Created, NewRecord},
};
use tracing::debug;

use crate::{Client, Error};

/// How many jobs of a batch are written down in the store at a time.
const WINDOW: usize = 512;
/// The time of a job may be as long as that in its JSON.
const STAMP_BYTES: usize = 64;

/// A job on its way.
struct Entry {
    id: JobId,
    payload: String,
    /// Nothing if the broker has one already.
    message: Option<Message>,
    /// Whether nobody knew the job before.
    is_new: bool,
}

impl Client {
    /// Hands `job` over. Once this returns, the broker has the job on disk and it will have
    /// exactly one result. Submitting the same job again is harmless. The id is the job's own, or
    /// the one that follows from its tenant and idempotency key.
    ///
    /// # Errors
    /// [`Error::InvalidJob`] and [`Error::TooLarge`] before anything is sent;
    /// [`Error::Conflict`] if there is another job under this id or key; [`Error::Unroutable`] and
    /// [`Error::QueueFull`] if the broker didn't take it; [`Error::Store`]; [`Error::Blocked`],
    /// [`Error::TimedOut`] and [`Error::Broker`] if that is unknown: submit the same job again
    /// then.
    pub async fn submit(&self, job: &Job) -> Result<JobId, Error> {
        let mut entry = self.enter(job).await?;
        if let Some(message) = entry.message.take() {
            let published = self.shared.publisher.publish(message).await;
            self.conclude(&entry, &published).await;
            published?;
        }
        Ok(entry.id)
    }

    /// Hands many jobs over, not waiting for one before sending the next, and tells of each what
    /// became of it, in their order.
    ///
    /// # Errors
    /// For each job as [`submit`](Self::submit).
    pub async fn submit_batch(&self, jobs: &[Job]) -> Vec<Result<JobId, Error>> {
        let mut entries = Vec::with_capacity(jobs.len());
        for window in jobs.chunks(WINDOW) {
            entries.extend(join_all(window.iter().map(|job| self.enter(job))).await);
        }
        let mut messages = Vec::with_capacity(jobs.len());
        let mut send = |message| messages.push(message);
        let sent: Vec<bool> = entries
            .iter_mut()
            .map(|entry| entry.as_mut().is_ok_and(|it| it.message.take().map(&mut send).is_some()))
            .collect();
        let mut published = self.shared.publisher.publish_all(&messages).await.into_iter();
        let mut outcomes = Vec::with_capacity(jobs.len());
        for (entry, sent) in entries.into_iter().zip(sent) {
            outcomes.push(match entry {
                Ok(entry) if sent => {
                    let outcome = published.next().expect("one outcome a message");
                    self.conclude(&entry, &outcome).await;
                    outcome.map(|()| entry.id)
                }
                entry => entry.map(|entry| entry.id),
            });
        }
        outcomes
    }

    /// Writes a job down in the store, and makes its message if one is needed.
    async fn enter(&self, job: &Job) -> Result<Entry, Error> {
        let config = &self.shared.config;
        let mut job = job.clone();
        if let Some(key) = &job.idempotency_key {
            job.job_id = JobId::of_key(job.tenant.as_deref(), key);
        }
        job.validate()
            .map_err(|reason| Error::InvalidJob { job_id: job.job_id.clone(), reason })?;
        let message = encode(&job);
        let (bytes, limit) = (message.len() + STAMP_BYTES, config.max_job_bytes);
        if bytes > limit {
            return Err(Error::TooLarge { job_id: job.job_id.clone(), bytes, limit });
        }
        let payload = payload_digest(&message);
        drop(message);
        let queue = self.queue(&job).await;
        // Before the message: whoever repeats this after a crash in between publishes it, and a
        // worker that has the message finds the record there.
        let new_record = NewRecord {
            job: &job,
            payload: &payload,
            queue: &queue,
            dedup_ttl: config.dedup_ttl.max(Duration::from_millis(job.ttl_ms.unwrap_or(0))),
        };
        let (queued_at, is_new) = match self.shared.job_records.create(new_record).await? {
            Created::New { queued_at } => (queued_at, true),
            Created::Waiting { queued_at } => (queued_at, false),
            Created::Running | Created::Ended => {
                return Ok(Entry { id: job.job_id, payload, message: None, is_new: false });
            }
        };
        job.queued_at.get_or_insert(queued_at);
        let message = Message {
            exchange: String::new(),
            routing_key: queue,
            id: job.job_id.to_string(),
            headers: FieldTable::default(),
            body: encode(&job),
        };
        Ok(Entry { id: job.job_id, payload, message: Some(message), is_new })
    }

    /// What the broker refused was never submitted.
    async fn conclude(&self, entry: &Entry, published: &Result<(), Error>) {
        let refused = matches!(published, Err(Error::Unroutable { .. } | Error::QueueFull { .. }));
        if refused
            && entry.is_new
            && let Err(error) = self.shared.job_records.rollback(&entry.id, &entry.payload).await
        {
            // Until its time is over it looks as if it waited; submitting it again is right.
            debug!(job = %entry.id, %error, "a job that was refused stays written down");
        }
    }

    /// Where a job waits: a tenant's in the one of its two queues that is shorter at present.
    async fn queue(&self, job: &Job) -> String {
        let prefix = &self.shared.config.queue_prefix;
        let Some(tenant) = &job.tenant else {
            return names::job_queue(prefix, job.isolation, job.priority);
        };
        let queues = names::tenant_shards(tenant)
            .map(|shard| names::shard_queue(prefix, job.isolation, job.priority, shard));
        self.shared.publisher.shorter(queues).await
    }
}

//! Submitting jobs.

use futures_util::future::join_all;
use sandfleet_common::{Job, JobId, TraceContext, encode, names, payload_digest};
use sandfleet_transport::{
    Message,
    records::{Created, HEARTBEAT},
    trace_headers,
};
use tokio::time::Instant;
use tracing::debug;

use crate::{Client, Error};

/// How many records of a batch are created at a time.
const WINDOW: usize = 512;
/// Of shorter jobs it isn't asked how much the workers take: that would cost more than the refusal of one.
const UNCHECKED_BYTES: usize = 64 << 10;
/// How long `queued_at` may be in a job's JSON.
const STAMP_BYTES: usize = 64;

/// A job on its way.
struct Entry {
    id: JobId,
    payload: String,
    /// Nothing if the broker has it already.
    message: Option<Message>,
    /// Whether it had no record before.
    is_new: bool,
}

impl Client {
    /// Submits `job`. Once this returns, the broker has the job on disk and it will have exactly
    /// one result. Submitting the same job again is harmless. The id is the job's own, or
    /// the one that follows from its tenant and idempotency key.
    ///
    /// # Errors
    /// [`Error::InvalidJob`] and [`Error::TooLarge`] before anything is sent;
    /// [`Error::Conflict`] if there is another job under this id or key; [`Error::Unroutable`] and
    /// [`Error::QueueFull`] if the broker didn't take it; [`Error::Store`]; [`Error::Blocked`],
    /// [`Error::TimedOut`] and [`Error::Broker`] if that is unknown: submit the same job again
    /// then.
    pub async fn submit(&self, job: &Job) -> Result<JobId, Error> {
        self.submit_in(job, self.new_trace().as_ref()).await
    }

    /// Submits `job` in a trace: the spans of its way through the fleet become children of the span that `trace` names. A job
    /// that was submitted before stays in its first trace.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub async fn submit_traced(&self, job: &Job, trace: &TraceContext) -> Result<JobId, Error> {
        self.submit_in(job, Some(trace)).await
    }

    async fn submit_in(&self, job: &Job, trace: Option<&TraceContext>) -> Result<JobId, Error> {
        let mut entry = self.enter(job, trace).await?;
        if let Some(message) = entry.message.take() {
            let published = self.shared.publisher.publish(message).await;
            self.conclude(&entry, &published).await;
            published?;
        }
        Ok(entry.id)
    }

    /// Submits many jobs, not waiting for one before sending the next, and returns the outcome of
    /// each, in their order.
    ///
    /// # Errors
    /// For each job as [`submit`](Self::submit).
    pub async fn submit_batch(&self, jobs: &[Job]) -> Vec<Result<JobId, Error>> {
        self.submit_batch_in(jobs, || self.new_trace()).await
    }

    /// Submits many jobs as [`submit_batch`](Self::submit_batch), all of them in one trace.
    ///
    /// # Errors
    /// For each job as [`submit`](Self::submit).
    pub async fn submit_batch_traced(
        &self,
        jobs: &[Job],
        trace: &TraceContext,
    ) -> Vec<Result<JobId, Error>> {
        self.submit_batch_in(jobs, || Some(trace.clone())).await
    }

    async fn submit_batch_in(
        &self,
        jobs: &[Job],
        trace: impl Fn() -> Option<TraceContext>,
    ) -> Vec<Result<JobId, Error>> {
        let mut entries = Vec::with_capacity(jobs.len());
        let enter = async |job| self.enter(job, trace().as_ref()).await;
        for window in jobs.chunks(WINDOW) {
            entries.extend(join_all(window.iter().map(enter)).await);
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

    /// The trace of a job that is submitted in none, if the configuration asks for one.
    fn new_trace(&self) -> Option<TraceContext> {
        self.shared.config.new_trace_ratio.map(TraceContext::generate)
    }

    /// Creates a job's record, and its message if one is needed.
    async fn enter(&self, job: &Job, trace: Option<&TraceContext>) -> Result<Entry, Error> {
        let config = &self.shared.config;
        let mut job = job.clone();
        if let Some(key) = &job.idempotency_key {
            job.job_id = JobId::of_key(job.tenant.as_deref(), key);
        }
        job.validate()
            .map_err(|reason| Error::InvalidJob { job_id: job.job_id.clone(), reason })?;
        let message = encode(&job);
        let (bytes, limit) = (message.len() + STAMP_BYTES, config.max_job_bytes);
        if bytes > limit.min(UNCHECKED_BYTES) {
            let workers = self.most_bytes(&job).await?;
            if bytes > limit || workers.is_some_and(|most| bytes > most) {
                return Err(Error::TooLarge { job_id: job.job_id.clone(), bytes, limit, workers });
            }
        }
        let payload = payload_digest(&message);
        drop(message);
        let queue = self.queue(&job).await;
        // Before the message: a producer that repeats this after a crash in between publishes it,
        // and a worker that has the message finds the record.
        let created = self.shared.records.create(&job, &payload, &queue, trace).await?;
        let (queued_at, trace, is_new) = match created {
            Created::New { queued_at } => (queued_at, trace.cloned(), true),
            Created::Waiting { queued_at, trace } => (queued_at, trace, false),
            Created::Running | Created::Ended => {
                return Ok(Entry { id: job.job_id, payload, message: None, is_new: false });
            }
        };
        job.queued_at.get_or_insert(queued_at);
        let message = Message {
            exchange: names::jobs_exchange(&self.shared.config.prefix),
            routing_key: queue,
            id: job.job_id.to_string(),
            headers: trace_headers(trace.as_ref()),
            body: encode(&job),
        };
        Ok(Entry { id: job.job_id, payload, message: Some(message), is_new })
    }

    /// The longest message that a live worker takes which serves `job`; nothing if none says.
    async fn most_bytes(&self, job: &Job) -> Result<Option<usize>, Error> {
        let mut known = self.shared.workers.lock().await;
        let is_fresh = known.as_ref().is_some_and(|(read, _)| read.elapsed() < HEARTBEAT);
        if !is_fresh {
            *known = Some((Instant::now(), self.workers().await?));
        }
        let workers = known.iter().flat_map(|(_, workers)| workers);
        let serving = workers.filter(|it| it.serves(&job.language, job.isolation, job.priority));
        // One that doesn't say may take anything.
        let most =
            serving.map(|it| if it.max_job_bytes == 0 { usize::MAX } else { it.max_job_bytes });
        Ok(most.max().filter(|most| *most < usize::MAX))
    }

    /// What the broker refused was never submitted.
    async fn conclude(&self, entry: &Entry, published: &Result<(), Error>) {
        let refused = matches!(published, Err(Error::Unroutable { .. } | Error::QueueFull { .. }));
        if refused
            && entry.is_new
            && let Err(error) = self.shared.records.rollback(&entry.id, &entry.payload).await
        {
            // Until its record expires it looks queued; submitting it again is right.
            debug!(job = %entry.id, %error, "the record of a refused job could not be removed");
        }
    }

    /// The queue for a job: for a tenant's, the one of its two queues that is shorter at present.
    async fn queue(&self, job: &Job) -> String {
        let prefix = &self.shared.config.prefix;
        let Some(tenant) = &job.tenant else {
            return names::job_queue(prefix, job.isolation, job.priority);
        };
        let queues = names::tenant_shards(tenant)
            .map(|shard| names::shard_queue(prefix, job.isolation, job.priority, shard));
        self.shared.publisher.shorter(queues).await
    }
}

//! Handing jobs over.

use std::borrow::Cow;

use jiff::Timestamp;
use lapin::types::FieldTable;
use sandfleet_common::{Job, JobId, encode, names};

use crate::{Client, Error, Message};

impl Client {
    /// Hands `job` over. Once this returns, the broker has the job on disk and it will have
    /// exactly one result. Submitting the same job again is harmless.
    ///
    /// # Errors
    /// [`Error::InvalidJob`] and [`Error::TooLarge`] before anything is sent;
    /// [`Error::Unroutable`] and [`Error::QueueFull`] if the broker didn't take it;
    /// [`Error::Blocked`], [`Error::TimedOut`] and [`Error::Broker`] if that is unknown: submit
    /// the same job again then.
    pub async fn submit(&self, job: &Job) -> Result<JobId, Error> {
        let message = self.message(job).await?;
        self.shared.publisher.publish(message).await?;
        Ok(job.job_id.clone())
    }

    /// Hands many jobs over, not waiting for one before sending the next, and tells of each what
    /// became of it, in their order.
    ///
    /// # Errors
    /// For each job as [`submit`](Self::submit).
    pub async fn submit_batch(&self, jobs: &[Job]) -> Vec<Result<JobId, Error>> {
        let mut messages = Vec::with_capacity(jobs.len());
        let mut refusals = Vec::with_capacity(jobs.len());
        for job in jobs {
            refusals.push(self.message(job).await.map(|message| messages.push(message)).err());
        }
        let mut outcomes = self.shared.publisher.publish_all(&messages).await.into_iter();
        jobs.iter()
            .zip(refusals)
            .map(|(job, refusal)| {
                match refusal {
                    Some(error) => Err(error),
                    None => outcomes.next().expect("one outcome a message"),
                }
                .map(|()| job.job_id.clone())
            })
            .collect()
    }

    async fn message(&self, job: &Job) -> Result<Message, Error> {
        let config = &self.shared.config;
        job.validate()
            .map_err(|reason| Error::InvalidJob { job_id: job.job_id.clone(), reason })?;
        let mut job = Cow::Borrowed(job);
        if job.queued_at.is_none() {
            job.to_mut().queued_at = Some(Timestamp::now());
        }
        let body = encode(&*job);
        if body.len() > config.max_job_bytes {
            return Err(Error::TooLarge {
                job_id: job.job_id.clone(),
                bytes: body.len(),
                limit: config.max_job_bytes,
            });
        }
        Ok(Message {
            exchange: String::new(),
            routing_key: self.queue(&job).await,
            id: job.job_id.to_string(),
            headers: FieldTable::default(),
            body,
        })
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

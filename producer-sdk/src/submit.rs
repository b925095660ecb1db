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
    /// [`Error::Unroutable`] and [`Error::Refused`] if the broker didn't take it;
    /// [`Error::Blocked`], [`Error::TimedOut`] and [`Error::Broker`] if that is unknown: submit
    /// the same job again then.
    pub async fn submit(&self, job: &Job) -> Result<JobId, Error> {
        let message = self.message(job)?;
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
        let refusals: Vec<Option<Error>> = jobs
            .iter()
            .map(|job| self.message(job).map(|message| messages.push(message)).err())
            .collect();
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

    fn message(&self, job: &Job) -> Result<Message, Error> {
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
            routing_key: names::job_queue(&config.queue_prefix, job.isolation, job.priority),
            id: job.job_id.to_string(),
            headers: FieldTable::default(),
            body,
        })
    }
}

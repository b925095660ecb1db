//! How jobs are getting on, and calling them off.

use sandfleet_common::{Isolation, JobId, JobState, Priority, QueuedJob, WorkerInfo};

use crate::{Cancellation, Client, Error};

/// Where a job is, and what it waits for if it waits.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Where it is.
    pub state: JobState,
    /// If it waits: how many messages wait in its queue, its own among them; nothing if the
    /// broker doesn't say.
    pub queue_depth: Option<u32>,
    /// If it waits: the live workers that take jobs like it.
    pub workers: Vec<WorkerInfo>,
    /// If it waits: how many workers live in all.
    pub workers_alive: usize,
}

impl Client {
    /// What is known about a job at this moment.
    ///
    /// # Errors
    /// [`Error::Store`], and [`Error::UnreadableResult`] if a newer fleet wrote it.
    pub async fn get(&self, id: &JobId) -> Result<JobState, Error> {
        self.shared.job_records.state(id).await
    }

    /// As [`get`](Self::get), and what a job that waits is waiting for.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn progress(&self, id: &JobId) -> Result<Progress, Error> {
        let state = self.get(id).await?;
        let JobState::Queued(queued) = &state else {
            let (workers, workers_alive) = (Vec::new(), 0);
            return Ok(Progress { state, queue_depth: None, workers, workers_alive });
        };
        let mut workers = self.workers().await?;
        let workers_alive = workers.len();
        workers.retain(|worker| takes(worker, queued));
        // A broker that is away says nothing about the job.
        let queue_depth = match &queued.queue {
            Some(queue) => self.shared.publisher.depth(queue).await.ok(),
            None => None,
        };
        Ok(Progress { state, queue_depth, workers, workers_alive })
    }

    /// The workers that live.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn workers(&self) -> Result<Vec<WorkerInfo>, Error> {
        self.shared.job_records.workers().await
    }

    /// Calls a job off. One that waits has its result at once and will never be started; one that
    /// runs is ended by its worker, within a second as a rule, and has its result then, which is
    /// another one if it came to its end just before.
    ///
    /// # Errors
    /// [`Error::Store`], and [`Error::UnreadableResult`] if a newer fleet wrote its result.
    pub async fn cancel(&self, id: &JobId) -> Result<Cancellation, Error> {
        let config = &self.shared.config;
        self.shared.job_records.cancel(id, &config.name, config.result_ttl).await
    }
}

/// Whether `worker` takes such a job; what isn't known about it is no hindrance.
fn takes(worker: &WorkerInfo, queued: &QueuedJob) -> bool {
    let any = || worker.languages.first().map_or("", String::as_str);
    worker.serves(
        queued.language.as_deref().unwrap_or_else(any),
        queued.isolation.unwrap_or(Isolation::Container),
        queued.priority.unwrap_or(Priority::Interactive),
    )
}

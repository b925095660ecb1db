//! The state of jobs, live workers, and cancelling.

use sandfleet_common::{Isolation, JobId, JobState, Priority, QueuedJob, WorkerInfo};

use sandfleet_transport::records::Scope;

use crate::{Cancellation, Client, Error, HistoryPage};

/// The state of a job, and what a queued job waits for.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Where it is.
    pub state: JobState,
    /// Of a queued job: how many messages wait in its queue, its own among them; nothing if the
    /// broker doesn't say.
    pub queue_depth: Option<u32>,
    /// Of a queued job: the live workers that take jobs like it.
    pub workers: Vec<WorkerInfo>,
    /// Of a queued job: how many workers are live in all.
    pub workers_alive: usize,
    /// Of a queued job: the operator's switch that holds it back, if there is one and this client may see it.
    pub held: Option<String>,
}

impl Client {
    /// What is known about a job at this moment.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::UnreadableResult`] if a newer fleet wrote it, and
    /// [`Error::ForeignResult`].
    pub async fn get(&self, id: &JobId) -> Result<JobState, Error> {
        self.shared.records.get(id).await
    }

    /// As [`get`](Self::get), and what a queued job waits for.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn progress(&self, id: &JobId) -> Result<Progress, Error> {
        let state = self.get(id).await?;
        let JobState::Queued(queued) = &state else {
            let (workers, workers_alive) = (Vec::new(), 0);
            return Ok(Progress { state, queue_depth: None, workers, workers_alive, held: None });
        };
        let mut workers = self.workers().await?;
        // One that isn't ready takes nothing at present.
        workers.retain(|worker| worker.ready);
        let workers_alive = workers.len();
        workers.retain(|worker| takes(worker, queued));
        // If the broker is away, the state is still known.
        let queue_depth = match &queued.queue {
            Some(queue) => self.shared.publisher.depth(queue).await.ok(),
            None => None,
        };
        let held = self.held(queued).await;
        Ok(Progress { state, queue_depth, workers, workers_alive, held })
    }

    async fn held(&self, queued: &QueuedJob) -> Option<String> {
        let mut scopes = vec![Scope::All];
        scopes.extend(queued.tenant.clone().map(Scope::Tenant));
        scopes.extend(queued.language.clone().map(Scope::Language));
        // A producer may not read them; the job's state is known all the same.
        let switches = self.shared.records.switches().await.ok()?;
        switches.iter().find(|switch| switch.holds(&scopes)).map(ToString::to_string)
    }

    /// The live workers.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn workers(&self) -> Result<Vec<WorkerInfo>, Error> {
        Ok(self.shared.records.workers().await?)
    }

    /// The jobs that workers ended lately, the newest first: at most `count` of those before the place `before`,
    /// which is the [`next`](HistoryPage::next) of the part after. For operators; an entry may be missing.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn history(&self, before: Option<&str>, count: usize) -> Result<HistoryPage, Error> {
        Ok(self.shared.records.history(before, count).await?)
    }

    /// Cancels a job. A queued job has its result at once and will never be started; a running job
    /// is ended by its worker, within a second as a rule, and has its result then, which is another
    /// one if the job ended just before.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::UnreadableResult`] if a newer fleet wrote its result, and
    /// [`Error::ForeignResult`].
    pub async fn cancel(&self, id: &JobId) -> Result<Cancellation, Error> {
        let config = &self.shared.config;
        self.shared.records.cancel(id, &config.name, config.result_ttl).await
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

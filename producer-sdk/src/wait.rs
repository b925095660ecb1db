//! Waiting for results.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use sandfleet_common::{JobId, JobResult, JobState, names};
use tokio::time::{self, Instant};

use crate::{Client, Error, OpenState};

/// How often the store is read although nothing was announced: an announcement reaches only those
/// subscribed at that moment, and only the key decides.
pub(crate) const REREAD: Duration = Duration::from_secs(2);

impl Client {
    /// The result of a job, as soon as it is there, but after `timeout` at the latest. It also
    /// waits while the store is away, and for a job that has no record yet:
    /// [`progress`](Self::progress) tells whether there is one.
    ///
    /// # Errors
    /// [`Error::NoResult`] if there is none within `timeout`; [`Error::ResultGone`] if there was
    /// one; [`Error::Store`] if the store refuses, or is away at the end;
    /// [`Error::UnreadableResult`]; [`Error::ForeignResult`].
    pub async fn wait(&self, id: &JobId, timeout: Duration) -> Result<JobResult, Error> {
        let started = Instant::now();
        let end = started.checked_add(timeout);
        let channel = names::done_channel(self.shared.config.store_prefix(), id);
        // Subscribe first and read then: the other way round, a result stored in between would go
        // unnoticed.
        let mut notifications = self.shared.subscriber.join(channel, end).await;
        loop {
            notifications.mark_seen();
            let last = match self.get(id).await {
                Ok(JobState::Done(result)) => return Ok(*result),
                Ok(JobState::ResultExpired(status)) => {
                    return Err(Error::ResultGone { job_id: id.clone(), status });
                }
                Ok(state) => Error::NoResult {
                    job_id: id.clone(),
                    after: timeout,
                    state: match state {
                        JobState::Running(_) => OpenState::Running,
                        JobState::Queued(_) => OpenState::Queued,
                        _ => OpenState::Unknown,
                    },
                },
                Err(Error::Store(error)) if error.is_passing => Error::Store(error),
                Err(error) => return Err(error),
            };
            let reread = Instant::now() + spread(REREAD);
            let until = end.map_or(reread, |end| end.min(reread));
            let announced = time::timeout_at(until, notifications.next()).await;
            if let Ok(Some(said)) = &announced
                && let Some(result) = announced_result(said, id)
            {
                return Ok(result);
            }
            if announced.is_err() && end.is_some_and(|end| Instant::now() >= end) {
                return Err(last);
            }
        }
    }
}

/// The result of job `id`, if the announcement of its end holds it: a short one is announced itself.
pub(crate) fn announced_result(said: &[u8], id: &JobId) -> Option<JobResult> {
    serde_json::from_slice(said).ok().filter(|result: &JobResult| result.job_id == *id)
}

/// `around`, a quarter more or less, so that those who began together don't ask together.
pub(crate) fn spread(around: Duration) -> Duration {
    // The keys of a new hash state are random, which saves a crate for one number.
    let random = RandomState::new().hash_one(0) % 1024;
    around.mul_f64(0.75 + random as f64 / 2048.0)
}

//! Reading where a job is.

use std::sync::LazyLock;

use redis::Script;
use sandfleet_common::{JobId, JobResult, JobState, PrintableText, Status};

use super::{
    memory::State,
    record::{FIELDS, Record, state_of},
    redis::RedisStore,
};
use crate::{Error, StoreError};

static GET_STATE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("get_state.lua")));

impl RedisStore {
    /// The state of a job.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::UnreadableResult`] if a newer fleet wrote it, and
    /// [`Error::ForeignResult`].
    pub async fn get(&self, job: &JobId) -> Result<JobState, Error> {
        self.get_state(job).await.map(|(state, _)| state)
    }

    pub(super) async fn get_state(&self, job: &JobId) -> Result<(JobState, Record), Error> {
        let keys = self.keys(job);
        // One script, so that a job can't end between two reads and be in neither. No transaction:
        // a server without memory refuses those, even to read.
        let mut script = GET_STATE.prepare_invoke();
        script.arg(keys.result).arg(keys.cancelled).arg(keys.lease).arg(keys.record);
        script.arg(&FIELDS[..]);
        type Read = (Option<Vec<u8>>, Option<Vec<u8>>, Option<String>, Vec<Option<String>>);
        let (result, cancelled, lease, fields): Read =
            self.invoke(|| format!("read job {job}"), &script).await?;
        let result = one_result(job, result, cancelled).transpose()?;
        let record = Record::of(&fields);
        let state = state_of(result, record.as_ref(), lease.as_deref());
        Ok((state, record.unwrap_or_default()))
    }

    /// The results of `jobs`, as far as they are there, with one command.
    ///
    /// # Errors
    /// [`StoreError`]; and for each job [`Error::UnreadableResult`] if a newer fleet wrote it, and
    /// [`Error::ForeignResult`].
    pub async fn results(
        &self,
        jobs: &[&JobId],
    ) -> Result<Vec<Option<Result<JobResult, Error>>>, StoreError> {
        let keys = jobs.iter().map(|job| self.keys(job));
        let keys: Vec<String> = keys.flat_map(|keys| [keys.result, keys.cancelled]).collect();
        let keys = &keys;
        let mut found: Vec<Option<Vec<u8>>> = self
            .run(
                || format!("read {} results", jobs.len()),
                |mut connection| async move {
                    redis::cmd("MGET").arg(keys).query_async(&mut connection).await
                },
            )
            .await?;
        let found = jobs.iter().zip(found.chunks_mut(2));
        Ok(found.map(|(job, pair)| one_result(job, pair[0].take(), pair[1].take())).collect())
    }
}

impl State {
    /// The same as `get_state.lua`.
    pub(super) fn get(&self, job: &JobId) -> JobState {
        let owner = self.leases.get(job).map(String::as_str);
        state_of(self.results.get(job).cloned(), self.records.get(job), owner)
    }
}

/// The result of a job: what a worker stored, else what its cancellation did. Producers may write the latter, so that it
/// says nothing but that the job was cancelled.
fn one_result(
    job: &JobId,
    result: Option<Vec<u8>>,
    cancelled: Option<Vec<u8>>,
) -> Option<Result<JobResult, Error>> {
    let Some(result) = result else {
        return Some(parsed(job, &cancelled?).and_then(|result| match result.status {
            Status::Cancelled => Ok(result),
            status => Err(Error::UnreadableResult {
                job_id: job.clone(),
                reason: format!("its cancellation says {status}: a producer put it there").into(),
            }),
        }));
    };
    Some(parsed(job, &result))
}

fn parsed(job: &JobId, json: &[u8]) -> Result<JobResult, Error> {
    let result: JobResult = serde_json::from_slice(json).map_err(|error| {
        Error::UnreadableResult { job_id: job.clone(), reason: PrintableText::new(error) }
    })?;
    // Any client that may write to the store can copy a value.
    if result.job_id != *job {
        return Err(Error::ForeignResult { job_id: job.clone(), found: result.job_id });
    }
    Ok(result)
}

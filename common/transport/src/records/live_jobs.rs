//! The jobs that wait or run, for operators: all records of the store are read, in pages.

use sandfleet_common::{JobId, JobState, names};

use super::{
    record::{FIELDS, Record, state_of},
    redis::RedisStore,
};
use crate::StoreError;

/// How many jobs are read with one command.
const PAGE: usize = 1000;

/// A job that has not ended.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveJob {
    /// Its id.
    pub id: JobId,
    /// [Queued](JobState::Queued) or [running](JobState::Running).
    pub state: JobState,
    /// Its tenant, as its record says.
    pub tenant: Option<String>,
    /// Its language, as its record says.
    pub language: Option<String>,
    /// The queue that it was put into.
    pub queue: Option<String>,
    /// When it was submitted.
    pub queued_at: Option<jiff::Timestamp>,
}

/// The jobs that have not ended.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LiveJobs {
    /// They, in no order.
    pub jobs: Vec<LiveJob>,
    /// Whether there are more, which were not read.
    pub is_cut: bool,
}

impl RedisStore {
    /// The jobs that wait or run, at most `max` of them. The server looks through all its keys, and every record is read: a
    /// second for a hundred thousand. A job without a record, which only a producer without our SDK submits, is known once it
    /// was started.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn live_jobs(&self, max: usize) -> Result<LiveJobs, StoreError> {
        let (begin, end) = (format!("{}:{{", self.prefix), "}:record");
        let keys = self.keys_like(&format!("{begin}*{end}"), Some("hash")).await?;
        let id_of =
            |key: &String| key.strip_prefix(&begin)?.strip_suffix(end)?.parse::<JobId>().ok();
        let ids: Vec<JobId> = keys.iter().filter_map(id_of).collect();
        let mut live = LiveJobs::default();
        for page in ids.chunks(PAGE) {
            let mut ask = redis::pipe();
            for id in page {
                ask.cmd("HMGET").arg(names::record_key(&self.prefix, id)).arg(&FIELDS[..]);
                ask.get(names::lease_key(&self.prefix, id));
            }
            let ask = &ask;
            let action = || "read the jobs that have not ended".to_owned();
            type Read = Vec<(Vec<Option<String>>, Option<String>)>;
            let read: Vec<redis::Value> = self
                .run(action, |mut connection| async move { ask.query_async(&mut connection).await })
                .await?;
            let pairs = read
                .chunks(2)
                .map(|pair| redis::from_redis_value(redis::Value::Array(pair.to_vec())));
            let pairs: Read = pairs.filter_map(Result::ok).collect();
            if pairs.len() < page.len() {
                return Err(self
                    .link
                    .unexpected(action(), "another type than a record's and a lease's"));
            }
            for (id, (fields, lease)) in page.iter().zip(pairs) {
                let Some(job) = live_job(id, &fields, lease.as_deref()) else { continue };
                if live.jobs.len() == max {
                    live.is_cut = true;
                    return Ok(live);
                }
                live.jobs.push(job);
            }
        }
        Ok(live)
    }

    /// The digest of the payload that a job is known by; nothing if it isn't known.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn payload_of(&self, job: &JobId) -> Result<Option<String>, StoreError> {
        let mut ask = redis::cmd("HGET");
        ask.arg(names::record_key(&self.prefix, job)).arg("payload");
        self.read(|| format!("read job {job}"), &ask).await
    }
}

fn live_job(id: &JobId, fields: &[Option<String>], lease: Option<&str>) -> Option<LiveJob> {
    let record = Record::of(fields)?;
    let state = state_of(None, Some(&record), lease);
    let queued = record.queued;
    match state {
        JobState::Queued(_) | JobState::Running(_) => Some(LiveJob {
            id: id.clone(),
            state,
            tenant: queued.tenant,
            language: queued.language,
            queue: queued.queue,
            queued_at: queued.queued_at,
        }),
        // It ended, or expired since it was listed.
        JobState::Done(_) | JobState::ResultExpired(_) | JobState::Unknown => None,
    }
}

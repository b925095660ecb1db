//! Ending a job with its one result.

use std::{sync::LazyLock, time::Duration};

use redis::Script;
use sandfleet_common::{JobResult, encode, names};

use super::{
    memory::State,
    redis::{RedisStore, milliseconds},
    usage::counting_script,
};
use crate::StoreError;

static COMMIT: LazyLock<Script> = LazyLock::new(|| counting_script(include_str!("commit.lua")));

/// The longest result that is announced itself, in bytes; a longer one has to be read.
const ANNOUNCED_BYTES: usize = 4096;

/// Which result a job that ran has now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// This one.
    Stored,
    /// It had one; this one is dropped.
    AlreadyThere,
}

/// The answer to the result of a job that isn't run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It is stored.
    Stored,
    /// The job has its result already, or had it.
    AlreadyThere,
    /// A worker runs it.
    Busy,
    /// Another job has this id.
    Twin,
}

/// Why a job ends.
#[derive(Clone, Copy)]
enum End<'a> {
    /// This owner has run it.
    Run { owner: &'a str },
    /// It isn't run, because of a message with this payload.
    Refuse { payload: &'a str },
}

impl From<Refused> for Committed {
    fn from(answer: Refused) -> Self {
        match answer {
            Refused::Stored => Self::Stored,
            Refused::AlreadyThere | Refused::Busy | Refused::Twin => Self::AlreadyThere,
        }
    }
}

impl RedisStore {
    /// Stores the result of a run, with `commit.lua`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn commit(
        &self,
        result: &JobResult,
        owner: &str,
        result_ttl: Duration,
    ) -> Result<Committed, StoreError> {
        self.end(result, result_ttl, End::Run { owner }).await.map(Committed::from)
    }

    /// Stores the result of a job that isn't run, with `commit.lua`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn refuse(
        &self,
        result: &JobResult,
        payload: &str,
        result_ttl: Duration,
    ) -> Result<Refused, StoreError> {
        self.end(result, result_ttl, End::Refuse { payload }).await
    }

    async fn end(
        &self,
        result: &JobResult,
        result_ttl: Duration,
        end: End<'_>,
    ) -> Result<Refused, StoreError> {
        let (job, body) = (&result.job_id, encode(result));
        let (bytes, keys) = (body.len(), self.keys(job));
        let (owner, purpose, payload) = match end {
            End::Run { owner } => (owner, "run", ""),
            End::Refuse { payload } => ("", "refuse", payload),
        };
        let mut script = COMMIT.prepare_invoke();
        script
            .key(keys.result)
            .key(keys.lease)
            .key(keys.record)
            .arg(body)
            .arg(milliseconds(result_ttl))
            .arg(owner)
            .arg(names::done_channel(&self.prefix, job))
            .arg(result.status.as_str())
            .arg(milliseconds(self.dedup_ttl.max(result_ttl)))
            .arg(ANNOUNCED_BYTES)
            .arg(purpose)
            .arg(payload);
        self.count(result, bytes, &mut script);
        let action = || format!("store the result of job {job}");
        let answer: String = self.invoke_with(bytes, action, &script).await?;
        match answer.as_str() {
            "twin" => Ok(Refused::Twin),
            "busy" => Ok(Refused::Busy),
            "stored" => Ok(Refused::Stored),
            "exists" => Ok(Refused::AlreadyThere),
            other => Err(self.link.unexpected(action(), other)),
        }
    }
}

impl State {
    pub(super) fn commit(
        &mut self,
        result: &JobResult,
        owner: &str,
        result_ttl: Duration,
    ) -> Committed {
        self.end(result, result_ttl, End::Run { owner }).into()
    }

    pub(super) fn refuse(
        &mut self,
        result: &JobResult,
        payload: &str,
        result_ttl: Duration,
    ) -> Refused {
        self.end(result, result_ttl, End::Refuse { payload })
    }

    /// The same as `commit.lua`, in the same order.
    fn end(&mut self, result: &JobResult, result_ttl: Duration, end: End<'_>) -> Refused {
        self.sweep();
        let job = &result.job_id;
        let mut record = self.records.get(job).cloned().unwrap_or_default();
        if let End::Refuse { payload } = end {
            if record.is_not(payload) {
                return Refused::Twin;
            }
            if self.leases.has(job) && !self.results.has(job) {
                return Refused::Busy;
            }
        }
        let mut answer = Refused::Stored;
        match self.results.get(job) {
            None if record.ended.is_some() => answer = Refused::AlreadyThere,
            None => self.results.set(job, result.clone(), result_ttl),
            Some(stored) if stored != result => answer = Refused::AlreadyThere,
            Some(_) => {}
        }
        if let End::Run { owner } = end {
            self.release(job, owner);
        }
        if answer == Refused::Stored {
            record.ended = Some(result.status);
            if let End::Refuse { payload } = end {
                record.payload.get_or_insert_with(|| payload.to_owned());
            }
            record.metadata.clear();
            record.queued.queue = None;
            record.started_at = None;
            self.records.set(job, record, self.dedup_ttl.max(result_ttl));
        }
        answer
    }
}

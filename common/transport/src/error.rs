//! What can go wrong on the way to the broker and the store.

use std::time::Duration;

use sandfleet_common::{JobId, PrintableText, Status};

use crate::refusal::{self, Refusal};

/// Why a job wasn't handed over or its result isn't here. No message holds a password.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is unusable.
    #[error("{setting}: {reason}")]
    InvalidConfig {
        /// The setting's name.
        setting: &'static str,
        /// What is wrong and what to write instead.
        reason: String,
    },

    /// The broker can't be reached, refused, or went away. Whether it took the job is unknown.
    #[error("broker {broker}: can't {action}: {}", refusal::of_broker(said).sentence())]
    Broker {
        /// The broker's URL without the password.
        broker: String,
        /// What was tried on what.
        action: String,
        /// What came back. No cause of this error, whose text says it already.
        said: Box<lapin::Error>,
    },

    /// The broker didn't answer in time. Whether it took the job is unknown.
    #[error("broker {broker}: can't {action}: no answer in {after:?}; try again")]
    TimedOut {
        /// The broker's URL without the password.
        broker: String,
        /// What was tried on what.
        action: String,
        /// How long was waited.
        after: Duration,
    },

    /// The broker is short of memory or disk and takes no messages from anybody.
    #[error(
        "broker {broker} blocks publishers for lack of memory or disk since over {after:?}; \
         wait until `rabbitmqctl status` shows no alarm, then submit the same job again"
    )]
    Blocked {
        /// The broker's URL without the password.
        broker: String,
        /// How long was waited.
        after: Duration,
    },

    /// A queue or exchange exists with other settings than the fleet needs.
    #[error(
        "broker {broker}: {what} exists with other settings: {reason}; let it run empty and \
         delete it, or give this fleet a queue prefix of its own"
    )]
    Mismatch {
        /// The broker's URL without the password.
        broker: String,
        /// The queue or exchange.
        what: String,
        /// What the broker says differs.
        reason: PrintableText,
    },

    /// A queue or exchange isn't there, and the user may not make it.
    #[error(
        "broker {broker}: {what} is not there, and this user may not make it ({refused}); run \
         `sandfleet setup` with an operator's user, or let this one configure, write and read there (rabbitmqctl \
         set_permissions)"
    )]
    Undeclared {
        /// The broker's URL without the password.
        broker: String,
        /// The queue or exchange.
        what: String,
        /// How the broker refused to make one.
        refused: PrintableText,
    },

    /// There is no queue for the job: no worker that gives this isolation was ever there.
    #[error(
        "no queue {queue}; start a worker that takes such jobs, or check the prefix and the \
         job's isolation"
    )]
    Unroutable {
        /// The queue that is missing.
        queue: String,
    },

    /// The broker didn't take the job: its queue is at its limit.
    #[error(
        "queue {queue} refused the job: it is full ({}); start more workers, or submit the same \
         job again later", limits(*.jobs, *.bytes)
    )]
    QueueFull {
        /// The queue.
        queue: String,
        /// The jobs that fit into it; 0 for any number. A policy of the broker's may allow fewer.
        jobs: u32,
        /// The bytes that fit into it; 0 for any number. A policy of the broker's may allow fewer.
        bytes: u64,
    },

    /// The job is longer than this client sends, or than any live worker takes.
    #[error(
        "job {job_id} is {bytes} bytes long; this client sends at most {limit} (max_job_bytes; on the command line \
         jobs.max_bytes), {}; send smaller files or raise what is too small",
        match .workers {
            Some(most) => format!("and the live workers for it take at most {most} (their jobs.max_bytes)"),
            None => "and no live worker for it says how much it takes (its jobs.max_bytes)".to_owned(),
        }
    )]
    TooLarge {
        /// The job.
        job_id: JobId,
        /// Its length as JSON, in bytes.
        bytes: usize,
        /// The client's limit, in bytes.
        limit: usize,
        /// The largest limit of the live workers for it, in bytes, if one says.
        workers: Option<usize>,
    },

    /// The job can't be valid for any worker.
    #[error("job {job_id}: {reason}")]
    InvalidJob {
        /// The job.
        job_id: JobId,
        /// Which field is wrong, and how.
        reason: PrintableText,
    },

    /// Another job was submitted under the same id or the same idempotency key.
    #[error(
        "job {job_id} was submitted before with another payload; use another {}",
        if *.by_key { "idempotency_key, or submit exactly the first job" } else { "job_id" }
    )]
    Conflict {
        /// The id, which is the first job's.
        job_id: JobId,
        /// Whether it follows from an idempotency key.
        by_key: bool,
    },

    /// The store can't be reached or refused.
    #[error(transparent)]
    Store(#[from] StoreError),

    /// What the store holds under the job's id is no result that this version can read.
    #[error("result of job {job_id} is unreadable: {reason}; is this client older than the fleet?")]
    UnreadableResult {
        /// The job.
        job_id: JobId,
        /// Why.
        reason: PrintableText,
    },

    /// What the store holds under the job's id is another job's result.
    #[error(
        "the store holds the result of job {found} under the id of job {job_id}: a client that may write to the store \
         put it there; delete the keys of job {job_id} and submit it again"
    )]
    ForeignResult {
        /// The job.
        job_id: JobId,
        /// The job whose result it is.
        found: JobId,
    },

    /// The job ended, and its result has expired.
    #[error(
        "job {job_id} ended as {status}, and its result is not kept any more; ask for a longer \
         result_ttl_ms next time"
    )]
    ResultGone {
        /// The job.
        job_id: JobId,
        /// How it ended.
        status: Status,
    },

    /// The job has no result yet; it is as it was, and can be waited for again.
    #[error(
        "no result of job {job_id} within {after:?}: {}",
        match .state {
            OpenState::Running => "a worker runs it; wait longer",
            OpenState::Queued => "it is queued; see whether live workers take it, or wait longer",
            OpenState::Unknown => "it is unknown; check the id and the prefix",
            OpenState::Open => "it has not ended; wait longer",
        }
    )]
    NoResult {
        /// The job.
        job_id: JobId,
        /// How long was waited.
        after: Duration,
        /// Where it was at the end.
        state: OpenState,
    },
}

/// Where a job without a result is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenState {
    /// There is no such job.
    Unknown,
    /// It waits for a worker.
    Queued,
    /// A worker runs it.
    Running,
    /// One of these: it was waited for together with others, and only results were read.
    Open,
}

impl Error {
    /// What kind of refusal it is, if waiting doesn't help.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Error::Broker { said, .. } => refusal::of_broker(said).refusal,
            Error::Undeclared { .. } => Some(Refusal::Access),
            Error::Mismatch { .. } | Error::InvalidConfig { .. } => Some(Refusal::Setting),
            Error::Store(error) => error.refusal,
            _ => None,
        }
    }
}

/// The store failed. Whether a write took effect is unknown; repeating it is safe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("store {store}: can't {action}: {reason}{}", if *.is_passing { "; check that it runs" } else { "" })]
pub struct StoreError {
    /// The store's URL without the password.
    pub store: String,
    /// What was tried on what.
    pub action: String,
    /// What came back.
    pub reason: String,
    /// Whether a key of the job isn't what sandfleet wrote, such as one of another type: trying
    /// again is of no use then.
    pub is_damaged: bool,
    /// Whether the server is away or not ready: waiting may help then.
    pub is_passing: bool,
    /// What kind of refusal it is, if waiting doesn't help.
    pub refusal: Option<Refusal>,
}

/// The limits of a queue, for reading.
fn limits(jobs: u32, bytes: u64) -> String {
    let jobs = (jobs > 0).then(|| format!("max_jobs {jobs}"));
    let bytes = (bytes > 0).then(|| format!("max_bytes {bytes}"));
    let policy = Some("or what a policy of the broker's says".to_owned());
    [jobs, bytes, policy].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

//! Where a job is, as the store tells.

use jiff::Timestamp;

use crate::{Isolation, JobResult, Priority, Status, TraceId};

/// What the store knows about a job.
#[derive(Debug, Clone, PartialEq)]
pub enum JobState {
    /// Nothing: no such job was ever submitted, or all trace of it is past its time.
    Unknown,
    /// It waits for a worker.
    Queued(QueuedJob),
    /// A worker runs it.
    Running(RunningJob),
    /// It ended.
    Done(Box<JobResult>),
    /// It ended like this, and its result has expired.
    ResultExpired(Status),
}

/// A job that waits. What isn't known was never told: the job came to the broker by other ways
/// than the SDK.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueuedJob {
    /// When it was submitted.
    pub queued_at: Option<Timestamp>,
    /// How often it was started so far.
    pub attempts: u32,
    /// Its language.
    pub language: Option<String>,
    /// The weakest isolation that will do for it.
    pub isolation: Option<Isolation>,
    /// Its priority.
    pub priority: Option<Priority>,
    /// The queue that it waits in.
    pub queue: Option<String>,
    /// Its tenant.
    pub tenant: Option<String>,
    /// Its trace, if its producer named one.
    pub trace_id: Option<TraceId>,
}

/// A job that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningJob {
    /// The worker.
    pub worker_id: String,
    /// Which start of the job this is, from 1.
    pub attempt: u32,
    /// When this attempt began, by the store's clock.
    pub started_at: Option<Timestamp>,
    /// Whether it was cancelled and is about to end.
    pub cancelled: bool,
}

impl JobState {
    /// Whether a worker runs it.
    pub fn is_running(&self) -> bool {
        matches!(self, JobState::Running(_))
    }

    /// Whether it waits for a worker.
    pub fn is_queued(&self) -> bool {
        matches!(self, JobState::Queued(_))
    }
}

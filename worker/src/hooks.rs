//! What happens to jobs, for observers: metrics, progress bars, the live output of
//! `sandfleet run`.

use std::time::Duration;

use sandfleet_common::{JobId, JobResult};

/// One of a program's two output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Called along the path of a job. Implementations return at once: the job waits for them.
pub trait Hooks: Send + Sync {
    /// A delivery was taken from the queue.
    fn taken(&self) {}
    /// The job was claimed and goes to the sandbox.
    fn started(&self, _job: &JobId, _language: &str) {}
    /// The program printed something that is within its output limit.
    fn output(&self, _job: &JobId, _stream: Stream, _bytes: &[u8]) {}
    /// The sandbox is done with the job, after so long; the slot is free again.
    fn ended(&self, _job: &JobId, _busy: Duration) {}
    /// The job's result is in the store for everybody to see.
    fn stored(&self, _result: &JobResult) {}
    /// The job had its result already; nothing ran.
    fn duplicate(&self, _job: &JobId) {}
    /// The job goes back into the queue because the fleet failed it.
    fn retried(&self, _job: &JobId, _reason: &str) {}
    /// A message without a readable job id went to the queue of unreadable messages.
    fn unreadable(&self, _reason: &str) {}
    /// A message with another job's id went there.
    fn twin(&self, _job: &JobId) {}
    /// A message that this worker can't take was put off, for another that can.
    fn put_off(&self, _job: &JobId) {}
}

/// Watches nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct NoHooks;

impl Hooks for NoHooks {}

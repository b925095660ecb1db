//! Results of jobs whose program never ran, or never to an end.

use sandfleet_common::{Job, JobResult, Status, Verdict};

use super::Accounting;
use crate::sandbox::SandboxError;

/// The job isn't valid, or not here.
pub fn rejected(accounting: Accounting, message: String) -> JobResult {
    accounting.close(Status::Rejected, None, message)
}

/// Nobody started the job in time.
pub fn expired(accounting: Accounting, job: &Job) -> JobResult {
    let ttl_ms = job.ttl_ms.unwrap_or(0);
    let message =
        format!("not started within ttl_ms = {ttl_ms} of queued_at; add workers or raise ttl_ms");
    accounting.close(Status::Expired, None, message)
}

/// The fleet failed the job as often as it may.
pub fn exhausted(accounting: Accounting, attempts: u32, last: Option<&SandboxError>) -> JobResult {
    let reason = match last {
        Some(error) => format!("the last failed with: {error}"),
        None => "none of them came to an end, so its worker died or lost its connection".into(),
    };
    let message = format!("given up after {attempts} attempts; {reason}");
    accounting.close(Status::Error, Some(Verdict::InternalError), message)
}

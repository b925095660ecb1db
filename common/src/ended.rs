//! A job that ended, in a few words: what operators list.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{JobId, JobResult, PrintableText, Priority, Status, Timing, TraceId, Verdict};

/// An entry of the fleet's history: how a job ended, without its code, input, output and artifacts.
///
/// Workers write it beside the path of a job, after the result is stored. It is no part of any promise: an entry may be
/// missing, and old ones make room for new ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct EndedJob {
    /// The job.
    pub job_id: JobId,
    /// Its tenant, if it names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<PrintableText>,
    /// Its language as the job names it, if that could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<PrintableText>,
    /// Its priority, if that could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// How it ended.
    pub status: Status,
    /// What is said about its program, if one ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// The result's sentence.
    pub message: PrintableText,
    /// When the producer handed it over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_at: Option<Timestamp>,
    /// When its result was complete.
    pub finished_at: Timestamp,
    /// Where its time went, in milliseconds.
    pub timing: Timing,
    /// The CPU time of its program, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_time_ms: Option<u64>,
    /// The most memory that its program had in use, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_peak_bytes: Option<u64>,
    /// The job's trace, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<TraceId>,
    /// The worker that made the result.
    pub worker_id: PrintableText,
    /// Which start of the job that was, from 1; 0 if it was never started.
    pub attempt: u32,
}

impl EndedJob {
    /// What is said of the job with this result; the rest is of its message.
    pub fn of(
        result: &JobResult,
        tenant: Option<&str>,
        language: Option<&str>,
        priority: Option<Priority>,
    ) -> Self {
        Self {
            job_id: result.job_id.clone(),
            tenant: tenant.map(PrintableText::new),
            language: language.map(PrintableText::new),
            priority,
            status: result.status,
            verdict: result.verdict,
            message: result.message.clone(),
            queued_at: result.queued_at,
            finished_at: result.finished_at,
            timing: result.timing,
            cpu_time_ms: result.usage.map(|usage| usage.cpu_time_ms),
            memory_peak_bytes: result.usage.and_then(|usage| usage.memory_peak_bytes),
            trace_id: result.trace_id,
            worker_id: PrintableText::new(&result.worker_id),
            attempt: result.attempt,
        }
    }

    /// Whether its program did what it was to do.
    pub fn is_accepted(&self) -> bool {
        self.verdict == Some(Verdict::Accepted)
    }
}

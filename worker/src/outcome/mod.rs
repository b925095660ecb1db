//! From what is known about a job to its one result.

pub mod classify;
pub mod compile;
pub mod evaluation;
pub mod signal;
pub mod terminal_results;
pub(crate) mod unreadable;

use std::time::Duration;

use jiff::Timestamp;
use sandfleet_common::{
    Artifact, Content, Encoding, Job, JobId, JobResult, Limits, PrintableText, RunOutput,
    SandboxReport, Status, Timing, TraceId, Usage, Verdict,
};
use sha2::{Digest, Sha256};

use crate::sandbox::{
    Description, End, Outcome, Plan, RootTree, agent_binary::hexadecimal, capture::Captured,
    policy::Policy,
};
use classify::classify;

/// What every result says about its job, however that ended.
#[derive(Debug, Clone)]
pub struct ResultBuilder {
    result: JobResult,
}

impl ResultBuilder {
    /// For a job that could be read.
    pub fn of(worker_id: &str, job: &Job, started_at: Timestamp) -> Self {
        let mut result_builder = Self::unread(worker_id, job.job_id.clone(), started_at);
        result_builder.result.queued_at = job.queued_at;
        result_builder.result.metadata = job.metadata.clone();
        result_builder
    }

    /// Whether the job's tenant is proven, where it names one.
    #[must_use]
    pub fn proven(mut self, proven: Option<bool>) -> Self {
        self.result.tenant_proven = proven;
        self
    }

    /// The job's trace, if it has one.
    #[must_use]
    pub fn traced(mut self, trace_id: Option<TraceId>) -> Self {
        self.result.trace_id = trace_id;
        self
    }

    /// For a job of which nothing but the id could be read.
    pub fn unread(worker_id: &str, job_id: JobId, started_at: Timestamp) -> Self {
        let result = JobResult {
            job_id,
            status: Status::Error,
            verdict: None,
            message: PrintableText::default(),
            exit_code: None,
            signal: None,
            compile: None,
            run: None,
            tests: Vec::new(),
            test_groups: Vec::new(),
            score: None,
            artifacts: Vec::new(),
            artifacts_skipped: Vec::new(),
            limits_hit: Vec::new(),
            usage: None,
            timing: Timing::default(),
            queued_at: None,
            started_at,
            finished_at: started_at,
            sandbox: None,
            worker_id: worker_id.to_owned(),
            attempt: 0,
            security_events: Vec::new(),
            tenant_proven: None,
            trace_id: None,
            metadata: Default::default(),
        };
        Self { result }
    }

    /// Which start of the job it is the result of; 0 without this, for a job that was never started.
    #[must_use]
    pub fn in_attempt(mut self, attempt: u32) -> Self {
        self.result.attempt = attempt;
        self
    }

    /// How long the job waited, by the store's clock and not by two machines'.
    #[must_use]
    pub fn has_waited(mut self, waited: Duration) -> Self {
        self.result.timing.queue_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
        self
    }

    fn close(
        self,
        status: Status,
        verdict: Option<Verdict>,
        message: impl Into<PrintableText>,
    ) -> JobResult {
        JobResult {
            status,
            verdict,
            message: message.into(),
            finished_at: Timestamp::now(),
            ..self.result
        }
    }
}

/// The result of a program that ran.
pub fn conclude(
    result_builder: ResultBuilder,
    plan: &Plan,
    outcome: Outcome,
    description: &Description,
    policy: &Policy,
) -> JobResult {
    let mut judgement = classify(&outcome.end, &plan.limits, plan.output_overflow, policy);
    judgement.add_collected(outcome.collected, &plan.limits);
    let usage = usage(&outcome.end);
    let mut result = result_builder.close(
        judgement.verdict.status(),
        Some(judgement.verdict),
        judgement.message,
    );
    result.exit_code = judgement.exit_code;
    result.signal = judgement.signal;
    result.limits_hit = judgement.limits_hit;
    result.timing.setup_ms = outcome.setup.as_millis() as u64;
    result.timing.run_ms = usage.wall_time_ms;
    result.timing.collect_ms = outcome.collect.as_millis() as u64;
    result.usage = Some(usage);
    result.run = Some(run_output(outcome.stdout, outcome.stderr));
    result.artifacts = outcome.artifacts.into_iter().map(artifact).collect();
    result.artifacts_skipped =
        outcome.artifacts_skipped.into_iter().map(PrintableText::from).collect();
    result.sandbox = Some(sandbox_report(
        description,
        outcome.root,
        &plan.limits,
        outcome.landlock,
        outcome.warm,
    ));
    result
}

fn sandbox_report(
    description: &Description,
    root: RootTree,
    limits: &Limits,
    landlock: Option<u32>,
    warm: bool,
) -> SandboxReport {
    SandboxReport {
        backend: description.backend.to_owned(),
        runtime: description.runtime.clone(),
        isolation: description.isolation,
        image: root.image,
        image_digest: root.digest,
        landlock_abi: landlock,
        warm,
        limits: limits.clone(),
        policy_hash: description.policy_hash.clone(),
    }
}

fn usage(end: &End) -> Usage {
    let wall_time_ms = end.wall_time().as_micros().div_ceil(1000) as u64;
    match end {
        End::Seen(report) => Usage {
            cpu_time_ms: report.cpu_time_us.div_ceil(1000),
            wall_time_ms,
            memory_peak_bytes: report.memory_peak_bytes,
        },
        _ => Usage { wall_time_ms, ..Usage::default() },
    }
}

/// Both streams in one encoding: readable if both are text, else base64 that loses nothing.
fn run_output(stdout: Captured, stderr: Captured) -> RunOutput {
    let (stdout_truncated, stderr_truncated) = (stdout.is_truncated(), stderr.is_truncated());
    let texts = (
        readable(stdout.into_bytes(), stdout_truncated),
        readable(stderr.into_bytes(), stderr_truncated),
    );
    let (stdout, stderr, encoding) = match texts {
        (Ok(stdout), Ok(stderr)) => (stdout, stderr, Encoding::Utf8),
        (stdout, stderr) => {
            let bytes = |text: Result<String, Vec<u8>>| text.map_or_else(|b| b, String::into_bytes);
            let base64 = |text| Encoding::Base64.encode(&bytes(text)).unwrap_or_default();
            (base64(stdout), base64(stderr), Encoding::Base64)
        }
    };
    RunOutput { stdout, stderr, encoding, stdout_truncated, stderr_truncated }
}

/// A stream as text, if it is. A cut may have split the last character: that one goes.
fn readable(bytes: Vec<u8>, truncated: bool) -> Result<String, Vec<u8>> {
    String::from_utf8(bytes).or_else(|error| {
        let valid = error.utf8_error().valid_up_to();
        let cut_at_end = truncated && error.utf8_error().error_len().is_none();
        let mut bytes = error.into_bytes();
        if cut_at_end {
            bytes.truncate(valid);
        }
        String::from_utf8(bytes).map_err(|error| error.into_bytes())
    })
}

fn artifact((name, bytes): (String, Vec<u8>)) -> Artifact {
    let size_bytes = bytes.len() as u64;
    let sha256 = hexadecimal(&Sha256::digest(&bytes));
    let content_type = content_type(&name).to_owned();
    let Content { text, encoding } = Content::from_bytes(bytes);
    Artifact { name, size_bytes, sha256, content_type, content: text, encoding }
}

/// Guessed from the name alone: what a hostile program calls an image is not looked into.
fn content_type(name: &str) -> &'static str {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    match ending.to_ascii_lowercase().as_str() {
        "csv" => "text/csv",
        "gif" => "image/gif",
        "html" => "text/html",
        "jpg" | "jpeg" => "image/jpeg",
        "json" => "application/json",
        "md" => "text/markdown",
        "pdf" => "application/pdf",
        "png" => "image/png",
        "svg" => "image/svg+xml",
        "txt" | "log" => "text/plain",
        "webp" => "image/webp",
        "xml" => "application/xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(head: &[u8], total: u64) -> Captured {
        Captured { head: head.to_vec(), tail: Vec::new(), total }
    }

    #[test]
    fn output_that_is_no_text_loses_nothing() {
        let output = run_output(captured(b"a\xff", 2), captured(b"err", 3));
        assert_eq!(output.encoding, Encoding::Base64);
        assert_eq!(output.encoding.decode(&output.stdout), Ok(b"a\xff".to_vec()));
        assert_eq!(output.encoding.decode(&output.stderr), Ok(b"err".to_vec()));
    }

    #[test]
    fn a_character_split_by_the_cut_does_not_make_text_unreadable() {
        let output = run_output(
            captured("aä".as_bytes().split_last().expect("some").1, 9),
            captured(b"", 0),
        );
        assert_eq!((output.encoding, output.stdout.as_str()), (Encoding::Utf8, "a"));
        assert!(output.stdout_truncated && !output.stderr_truncated);
    }
}

//! The one result of a job.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Encoding, Isolation, JobId, LimitName, Limits, PrintableText, RunOutput, Status,
    TestGroupReport, TestReport, TraceId, Usage, Verdict,
};

/// Everything that is known about a job that ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct JobResult {
    /// The job.
    pub job_id: JobId,
    /// How the job ended; always final.
    pub status: Status,
    /// What is said about the program; absent when no program ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// One sentence: what happened, which limit with which value, what to change.
    pub message: PrintableText,
    /// The program's exit code, if it exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended the program, such as `SIGSEGV`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// How the program was compiled, if its language is compiled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compile: Option<CompileReport>,
    /// What the program printed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunOutput>,
    /// How the program fared on each of the job's tests, in their order. The verdict is that of the first that is not
    /// accepted; `usage` is that of all programs that ran.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<TestReport>,
    /// How the job's groups of tests went, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub test_groups: Vec<TestGroupReport>,
    /// The score of all groups that are in no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Files brought back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Artifact>,
    /// Files that matched and were not brought back, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts_skipped: Vec<PrintableText>,
    /// Limits that refused the program something without ending it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits_hit: Vec<LimitHit>,
    /// What the program used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Where the time went.
    #[serde(default)]
    pub timing: Timing,
    /// When the producer handed the job over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_at: Option<Timestamp>,
    /// When the worker took the job.
    pub started_at: Timestamp,
    /// When the result was complete.
    pub finished_at: Timestamp,
    /// Whether the broker vouched for the user that submitted it, and that user may speak for the job's tenant; absent
    /// for a job that names no tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_proven: Option<bool>,
    /// The job's trace, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<TraceId>,
    /// What the job ran under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<SandboxReport>,
    /// The worker that made this result.
    pub worker_id: String,
    /// Which start of the job this was, from 1; 0 if it was never started.
    pub attempt: u32,
    /// What the program tried that no honest program does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub security_events: Vec<SecurityEvent>,
    /// The producer's notes, as they came.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, Value>,
}

/// How a program was compiled.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct CompileReport {
    /// What the compiler printed: the first `limits.compile.output_bytes` of each stream.
    pub output: RunOutput,
    /// The compiler's exit code, if it exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended the compiler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// What the compiler used.
    pub usage: Usage,
}

/// A file brought back from the working directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Artifact {
    /// The path relative to the working directory.
    pub name: String,
    /// The size in bytes.
    pub size_bytes: u64,
    /// SHA-256 of the bytes, in hexadecimal.
    pub sha256: String,
    /// The media type, guessed from the name.
    pub content_type: String,
    /// The bytes, in `encoding`.
    pub content: String,
    /// How `content` stands for bytes.
    pub encoding: Encoding,
}

impl RunOutput {
    /// What the program wrote to stdout.
    ///
    /// # Errors
    /// If `stdout` isn't in `encoding`: no worker makes such a result.
    pub fn stdout_bytes(&self) -> Result<Vec<u8>, String> {
        self.encoding.decode(&self.stdout)
    }

    /// What the program wrote to stderr.
    ///
    /// # Errors
    /// If `stderr` isn't in `encoding`: no worker makes such a result.
    pub fn stderr_bytes(&self) -> Result<Vec<u8>, String> {
        self.encoding.decode(&self.stderr)
    }
}

impl Artifact {
    /// The file's bytes.
    ///
    /// # Errors
    /// If `content` isn't in `encoding`: no worker makes such a result.
    pub fn bytes(&self) -> Result<Vec<u8>, String> {
        self.encoding.decode(&self.content)
    }
}

/// A limit that refused the program something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct LimitHit {
    /// The limit.
    pub limit: LimitName,
    /// Its value, in its own unit.
    pub value: u64,
}

/// Where a job's time went, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Timing {
    /// Waiting in the queue.
    pub queue_ms: u64,
    /// From the worker taking the job, or from the compiler's end, to the program's start.
    pub setup_ms: u64,
    /// Compiling, with the making and the removal of its container; 0 if nothing was compiled.
    #[serde(default)]
    pub compile_ms: u64,
    /// The program.
    pub run_ms: u64,
    /// From the program's end to the last artifact.
    pub collect_ms: u64,
}

/// What a job ran under.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct SandboxReport {
    /// `native` or `docker`.
    pub backend: String,
    /// What made the container: `sandfleet`, `runc`, `runsc`.
    pub runtime: String,
    /// How strong that is.
    pub isolation: Isolation,
    /// The root tree: an image's name, or `host:/usr`.
    pub image: String,
    /// The image's digest, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_digest: Option<String>,
    /// The version of Landlock that the program ran under, where the kernel offers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub landlock_abi: Option<u32>,
    /// Whether the program started from an interpreter that was there already.
    #[serde(default)]
    pub warm: bool,
    /// The limits in force.
    pub limits: Limits,
    /// SHA-256 over the hardening policy, in hexadecimal: equal hashes, equal barriers.
    pub policy_hash: String,
}

/// Something that no honest program does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct SecurityEvent {
    /// The rule that saw it.
    pub rule: PrintableText,
    /// What was seen.
    pub detail: PrintableText,
}

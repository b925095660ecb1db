//! The sandfleet protocol, version 1.
//!
//! Everything that producers and workers have to agree on lives here and nothing else does: the
//! [`Job`] that goes in, the [`JobResult`] that comes out, their limits and verdicts, how both are
//! put on the wire, and the names of queues and keys. The crate does no I/O.
#![forbid(unsafe_code)]
// Published: everything public has documentation.
#![warn(missing_docs)]

mod checks;
mod content;
mod digest;
mod ended;
mod evaluation;
mod evaluation_checks;
mod header;
mod id;
mod input_file;
mod job;
mod limits;
mod metadata;
pub mod names;
mod needs;
mod owner;
mod printable;
mod result;
mod run_output;
mod state;
mod strict;
mod trace;
mod validate;
mod verdict;
mod wire;
mod worker;

pub use checks::{MAX_FILES, validate_file_name};
pub use content::{Content, Encoding};
pub use digest::{hexadecimal, payload_digest};
pub use ended::EndedJob;
pub use evaluation::{
    Comparison, ComparisonKind, OutputValidator, ScoreAggregation, Test, TestGroup,
    TestGroupReport, TestKind, TestReport,
};
pub use id::{InvalidJobId, JobId};
pub use input_file::InputFile;
pub use job::{
    Isolation, Job, NetworkKind, NetworkPolicy, OutputOverflow, PROTOCOL_MINOR, PROTOCOL_VERSION,
    Priority,
};
pub use limits::{LimitName, Limits, LimitsRequest};
pub use needs::{Needs, Outline};
pub use owner::Owner;
pub use printable::{PrintableText, is_printable, printable_line, write_printable};
pub use result::{
    Artifact, CompileReport, JobResult, LimitHit, SandboxReport, SecurityEvent, Timing,
};
pub use run_output::{RunOutput, Usage};
pub use state::{JobState, QueuedJob, RunningJob};
pub use trace::{InvalidTrace, SpanId, TRACEPARENT, TRACESTATE, TraceContext, TraceId};
pub use validate::validate_tenant;
pub use verdict::{Status, Verdict};
pub use wire::{DecodeError, decode_job, encode, json_fault};
pub use worker::WorkerInfo;

strict::strict!(
    Job, InputFile, OutputOverflow, NetworkPolicy, NetworkKind, Isolation, Priority, Encoding, Limits,
    LimitsRequest, LimitName, JobResult, CompileReport, RunOutput, Artifact, LimitHit, Usage, Timing, SandboxReport,
    SecurityEvent, Status, Verdict, WorkerInfo, EndedJob, Test, TestKind, Comparison, ComparisonKind, OutputValidator,
    TestGroup, ScoreAggregation, TestReport, TestGroupReport;
    reads header::Header, needs::Fields
);

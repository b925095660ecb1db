//! The sandfleet protocol, version 1.
//!
//! Everything that producers and workers have to agree on lives here and nothing else does: the
//! [`Job`] that goes in, the [`JobResult`] that comes out, their limits and verdicts, how both are
//! put on the wire, and the names of queues and keys. The crate does no I/O.
#![forbid(unsafe_code)]
// Published: everything public has documentation.
#![warn(missing_docs)]

mod content;
mod digest;
mod ended;
mod header;
mod id;
mod job;
mod limits;
mod metadata;
pub mod names;
mod needs;
mod owner;
mod printable;
mod result;
mod state;
mod strict;
mod trace;
mod validate;
mod verdict;
mod wire;
mod worker;

pub use content::{Content, Encoding};
pub use digest::{hexadecimal, payload_digest};
pub use ended::EndedJob;
pub use id::{InvalidJobId, JobId};
pub use job::{
    InputFile, Isolation, Job, NetworkKind, NetworkPolicy, OutputOverflow, PROTOCOL_MINOR,
    PROTOCOL_VERSION, Priority,
};
pub use limits::{LimitName, Limits, LimitsRequest};
pub use needs::{Needs, Outline};
pub use owner::Owner;
pub use printable::{PrintableText, is_printable, printable_line, write_printable};
pub use result::{
    Artifact, CompileReport, JobResult, LimitHit, RunOutput, SandboxReport, SecurityEvent, Timing,
    Usage,
};
pub use state::{JobState, QueuedJob, RunningJob};
pub use trace::{InvalidTrace, SpanId, TRACEPARENT, TRACESTATE, TraceContext, TraceId};
pub use validate::{MAX_FILES, validate_file_name, validate_tenant};
pub use verdict::{Status, Verdict};
pub use wire::{DecodeError, decode_job, encode, json_fault};
pub use worker::WorkerInfo;

strict::strict!(
    Job, InputFile, OutputOverflow, NetworkPolicy, NetworkKind, Isolation, Priority, Encoding, Limits,
    LimitsRequest, LimitName, JobResult, CompileReport, RunOutput, Artifact, LimitHit, Usage, Timing, SandboxReport,
    SecurityEvent, Status, Verdict, WorkerInfo, EndedJob;
    reads header::Header, needs::Fields
);

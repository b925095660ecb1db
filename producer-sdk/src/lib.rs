//! Rust client of a sandfleet: hand jobs over, wait for their results.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use sandfleet_sdk::{Client, ClientConfig, Job};
//!
//! # async fn example() -> Result<(), sandfleet_sdk::Error> {
//! let client = Client::connect(ClientConfig {
//!     amqp_url: "amqp://producer:secret@broker:5672/%2f".into(),
//!     redis_url: "redis://:secret@store:6379/0".into(),
//!     ..ClientConfig::default()
//! })
//! .await?;
//!
//! let job = Job::new("python", "print(1 + 1)");
//! let id = client.submit(&job).await?;
//! let result = client.wait(&id, Duration::from_secs(30)).await?;
//! println!("{}: {}", result.status, result.run.unwrap_or_default().stdout);
//! # Ok(())
//! # }
//! ```
//!
//! A job is accepted once [`Client::submit`] returns: the broker has it on disk, and exactly one
//! result will be stored under its id. Submitting a job again under the same id is harmless, also
//! after an error that leaves open whether the broker took it: it is one job. Another job under
//! the same id is refused. A job with an `idempotency_key` gets its id from that and its tenant.
#![forbid(unsafe_code)]
// Published: everything public has documentation.
#![warn(missing_docs)]

mod client;
mod config;
mod input;
mod progress;
mod stream;
mod submit;
mod subscriber;
mod wait;
mod wait_batch;

pub use client::Client;
pub use config::ClientConfig;
pub use input::input_file;
pub use progress::Progress;
pub use stream::{OutputEvent, OutputStream};

/// What the output of [`Client::stream`] is read with.
pub use futures_util::StreamExt;
/// Times in jobs and results.
pub use jiff::Timestamp;
/// What metadata holds.
pub use serde_json::Value;

pub use sandfleet_common::{
    Artifact, Comparison, ComparisonKind, CompileReport, Encoding, EndedJob, InputFile,
    InvalidJobId, InvalidTrace, Isolation, Job, JobId, JobResult, JobState, LimitHit, LimitName,
    Limits, LimitsRequest, NetworkKind, NetworkPolicy, OutputOverflow, OutputValidator,
    PrintableText, Priority, QueuedJob, RunOutput, RunningJob, SandboxReport, ScoreAggregation,
    SecurityEvent, SpanId, Status, Test, TestGroup, TestGroupReport, TestKind, TestReport, Timing,
    TraceContext, TraceId, Usage, Verdict, WorkerInfo,
};
pub use sandfleet_transport::{
    Error, OpenState, QueueLimits, StoreError, Tls,
    records::{Cancellation, HistoryPage, OutputKind},
};

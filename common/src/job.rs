//! A job: one program, its input and what it may use.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Content, Encoding, InputFile, JobId, LimitsRequest, OutputValidator, Test, TestGroup, metadata,
};

/// The protocol version that this crate speaks.
pub const PROTOCOL_VERSION: u32 = 1;

/// Which fields and values of that version this crate knows: raised with every one that is added.
/// Workers announce it, so that a job with a new field waits for one that knows it. Workers that
/// announce none have 0.
pub const PROTOCOL_MINOR: u32 = 3;

/// One program to run. Build it with [`Job::new`] and set what you need.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct Job {
    /// Always [`PROTOCOL_VERSION`].
    pub version: u32,
    /// The id under which the result is stored. Two jobs with one id are one job.
    pub job_id: JobId,
    /// On whose behalf it is run: tenants share the fleet fairly, whatever one of them submits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The language, as the operator's catalogue calls it; it chooses image and command.
    pub language: String,
    /// The program's text. Without it, `entrypoint` names the file that is run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Files put into the working directory before the program starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<InputFile>,
    /// The name of the file to run: with `code`, the name under which the code is put there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<String>,
    /// Arguments of the program.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Environment variables besides the catalogue's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// What the program reads on stdin, in `stdin_encoding`; without it stdin is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// How `stdin` stands for bytes.
    #[serde(default, skip_serializing_if = "Encoding::is_utf8")]
    pub stdin_encoding: Encoding,
    /// Limits asked for.
    #[serde(default)]
    pub limits: LimitsRequest,
    /// What happens when the program prints more than `output_bytes`.
    #[serde(default)]
    pub output_overflow: OutputOverflow,
    /// Whether programs that buffer their stdout through the C library write it line by line.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub line_buffered: bool,
    /// Globs, relative to the working directory, of the files to bring back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<String>,
    /// What the program is tried on: each in a container of its own, after it was compiled once. Without any it is
    /// run once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<Test>,
    /// The groups that tests name, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub test_groups: Vec<TestGroup>,
    /// Whether the first test that is not accepted, in listed order, ends the job.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stop_at_first_failure: bool,
    /// The program that judges the output of tests whose comparison is `validator`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_validator: Option<OutputValidator>,
    /// What the program may reach.
    #[serde(default)]
    pub network_policy: NetworkPolicy,
    /// The weakest isolation the job may run under.
    #[serde(default)]
    pub isolation: Isolation,
    /// Which queue the job waits in.
    #[serde(default)]
    pub priority: Priority,
    /// When the producer handed the job over; the SDK sets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_at: Option<Timestamp>,
    /// How long after it was handed over the job may still be started, in milliseconds, by the
    /// store's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
    /// How long the result is kept, in milliseconds; at most the worker's setting, which is also
    /// the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_ttl_ms: Option<u64>,
    /// What makes a job the same job, in the producer's own words: the SDK makes the id from it
    /// and the tenant, so that submitting again under the same key is the first job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// Whether what the program prints can be followed while it runs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stream: bool,
    /// The producer's own notes, returned with the result and not looked at: at most 10,000 values.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "metadata::deserialize"
    )]
    pub metadata: BTreeMap<String, Value>,
}

/// What happens to output beyond `output_bytes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "snake_case")]
pub enum OutputOverflow {
    /// It is read and thrown away, and the result says so.
    #[default]
    Discard,
    /// The program is killed.
    Kill,
}

/// What a program may reach over the network.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct NetworkPolicy {
    /// Off, or a list.
    #[serde(rename = "type")]
    pub kind: NetworkKind,
    /// With `allowlist`: the names that may be reached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_domains: Vec<String>,
}

/// The kinds of [`NetworkPolicy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "snake_case")]
pub enum NetworkKind {
    /// An empty network namespace.
    #[default]
    Disabled,
    /// Only named hosts, through a proxy.
    Allowlist,
}

/// How a job is kept apart from its host, weakest first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(remote = "Self", rename_all = "snake_case")]
pub enum Isolation {
    /// Namespaces, cgroups and a system call filter on the host's kernel.
    #[default]
    Container,
    /// A kernel in user space (gVisor) between the program and the host's.
    #[serde(rename = "gvisor")]
    GVisor,
    /// A virtual machine of its own.
    #[serde(rename = "microvm")]
    MicroVm,
}

/// Which queue a job waits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "snake_case")]
pub enum Priority {
    /// A client is waiting for it.
    #[default]
    Interactive,
    /// It may wait.
    Batch,
}

impl Isolation {
    /// Every isolation, weakest first.
    pub const ALL: &[Isolation] = &[Isolation::Container, Isolation::GVisor, Isolation::MicroVm];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Isolation::Container => "container",
            Isolation::GVisor => "gvisor",
            Isolation::MicroVm => "microvm",
        }
    }
}

impl Priority {
    /// Every priority, the most urgent first.
    pub const ALL: &[Priority] = &[Priority::Interactive, Priority::Batch];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Priority::Interactive => "interactive",
            Priority::Batch => "batch",
        }
    }
}

impl Job {
    /// Sets what the program reads on stdin.
    pub fn set_stdin(&mut self, bytes: impl Into<Vec<u8>>) {
        let Content { text, encoding } = Content::from_bytes(bytes.into());
        (self.stdin, self.stdin_encoding) = (Some(text), encoding);
    }

    /// What the program reads on stdin.
    ///
    /// # Errors
    /// If `stdin` isn't in `stdin_encoding`.
    pub fn stdin_bytes(&self) -> Result<Option<Vec<u8>>, String> {
        self.stdin.as_deref().map(|text| self.stdin_encoding.decode(text)).transpose()
    }

    /// A job with a new id that runs `code`.
    pub fn new(language: impl Into<String>, code: impl Into<String>) -> Self {
        Self {
            version: PROTOCOL_VERSION,
            job_id: JobId::generate(),
            tenant: None,
            language: language.into(),
            code: Some(code.into()),
            files: Vec::new(),
            entrypoint: None,
            args: Vec::new(),
            env: BTreeMap::new(),
            stdin: None,
            stdin_encoding: Encoding::default(),
            limits: LimitsRequest::default(),
            output_overflow: OutputOverflow::default(),
            line_buffered: false,
            artifacts: Vec::new(),
            tests: Vec::new(),
            test_groups: Vec::new(),
            stop_at_first_failure: false,
            output_validator: None,
            network_policy: NetworkPolicy::default(),
            isolation: Isolation::default(),
            priority: Priority::default(),
            queued_at: None,
            ttl_ms: None,
            result_ttl_ms: None,
            idempotency_key: None,
            stream: false,
            metadata: BTreeMap::new(),
        }
    }
}

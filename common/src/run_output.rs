//! What a program printed and used.

use serde::{Deserialize, Serialize};

use crate::Encoding;

/// What a program printed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct RunOutput {
    /// The first `output_bytes` of stdout.
    pub stdout: String,
    /// The first `output_bytes` of stderr and, if there was more, its end.
    pub stderr: String,
    /// How both stand for bytes: base64 if either isn't UTF-8.
    pub encoding: Encoding,
    /// Whether stdout had more.
    pub stdout_truncated: bool,
    /// Whether stderr had more.
    pub stderr_truncated: bool,
}

/// What a program used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Usage {
    /// CPU time of all its processes, in milliseconds.
    pub cpu_time_ms: u64,
    /// Real time from its start to its end, in milliseconds.
    pub wall_time_ms: u64,
    /// The most memory that was in use at a time, in bytes; its scratch files count. `None` where
    /// nothing counts it.
    pub memory_peak_bytes: Option<u64>,
}

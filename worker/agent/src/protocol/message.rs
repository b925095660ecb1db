//! The JSON of frames that carry more than bytes.

use serde::{Deserialize, Serialize};

use super::mac::Key;

/// Increased with every change of these messages, so that the worker recognises an image with an old agent.
pub const AGENT_PROTOCOL: u32 = 7;

/// The agent's first message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`AGENT_PROTOCOL`] of the agent.
    pub protocol: u32,
    /// The version of Landlock that it and the program are under; `None` where the kernel has
    /// none.
    pub landlock: Option<u32>,
}

/// What to run and within which bounds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRequest {
    /// For the MACs on all frames that the agent sends from here on.
    pub key: Key,
    /// The command; the first element is an absolute path.
    pub command: Vec<String>,
    /// The whole environment, as pairs.
    pub environment: Vec<(String, String)>,
    /// Whether it is a Python that may keep what it prints where PID 1 can read it.
    pub pending_output: bool,
    /// Whether its stdin comes while it runs.
    pub live_stdin: bool,
    /// Globs of the files to bring back.
    pub artifacts: Vec<String>,
    /// The bounds.
    pub bounds: ProcessLimits,
    /// The memory that the program sees, in bytes.
    pub memory_bytes: u64,
    /// Which processors the program is started on, as places in the list of those that the agent may use, counted
    /// around if that is shorter. Empty: all of them.
    pub processors: Vec<u32>,
}

/// The bounds that the agent itself holds the program to. Memory, processes and scratch space
/// are the container's; where its control groups can't be read, the agent asks the container's
/// own kernel instead, if it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessLimits {
    /// Real time, in milliseconds.
    pub wall_time_ms: u64,
    /// CPU time of all processes, in milliseconds.
    pub cpu_time_ms: u64,
    /// Memory of all processes and files, in bytes.
    pub memory_bytes: u64,
    /// Processes and threads at a time.
    pub processes: u64,
    /// What all TCP and UDP sockets together can hold, in bytes, on a kernel that counts it nowhere.
    pub socket_bytes: u64,
    /// Mappings of all processes together, on a kernel that counts a part of their memory nowhere.
    pub mappings: u64,
    /// Record locks of all processes together, on a kernel that counts them nowhere.
    pub record_locks: u64,
    /// Whether the container has a kernel of its own, which tells of nothing but this container.
    pub is_gvisor: bool,
    /// CPU time that the host grants the container, in milliseconds a second.
    pub cpu_quota_ms: u64,
    /// Bytes passed on of each stream.
    pub output_bytes: u64,
    /// Bytes of both streams together at which the program is ended.
    pub output_kill_bytes: u64,
    /// Bytes of a stderr's end that are passed on when it is longer than `output_bytes`.
    pub stderr_tail_bytes: u64,
    /// Open files of a process.
    pub open_files: u64,
    /// Stack that a process starts with, in bytes.
    pub stack_bytes: u64,
    /// Bytes of all artifacts together.
    pub artifact_bytes: u64,
    /// Number of artifacts.
    pub artifact_count: u64,
}

/// A file whose content follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileHeader {
    /// The path below the working directory.
    pub name: String,
    /// The bytes that follow.
    pub size: u64,
}

/// Why the program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// By itself.
    Itself,
    /// `wall_time_ms` was over.
    WallTime,
    /// `cpu_time_ms` was used up.
    CpuTime,
    /// A process of the job was killed for want of memory: the job's, or the host's.
    Memory,
    /// It wrote `output_kill_bytes`.
    Output,
    /// It had more processes than it may, and its kernel could not refuse them.
    Processes,
    /// Its TCP and UDP sockets together could hold more than `socket_bytes`.
    Sockets,
    /// Its processes together had more than `mappings` mappings.
    Mappings,
    /// Its processes together had more than `record_locks` record locks, or hid how many.
    Locks,
    /// It wrote into the stream from the worker, which is silent after the start.
    Tampering,
}

/// How the program ended: facts that it can't forge, read after its last process had exited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitReport {
    /// The first cause.
    pub cause: Cause,
    /// The exit code, if the program exited.
    pub exit_code: Option<i32>,
    /// The signal, if one ended it.
    pub signal: Option<i32>,
    /// Real time it ran, in microseconds.
    pub wall_time_us: u64,
    /// CPU time of all its processes, in microseconds.
    pub cpu_time_us: u64,
    /// The most memory in use, in bytes, if the container's counters can be read here.
    pub memory_peak_bytes: Option<u64>,
    /// Processes killed for want of memory, the container's or the host's, if the container's
    /// counter can be read here.
    pub memory_kills: Option<u64>,
    /// How often the container's own limit of memory was reached, if its counter can be read here.
    /// A kill without it was the host's doing.
    pub memory_limit_hits: Option<u64>,
    /// Processes that could not be started because of the limit.
    pub processes_refused: u64,
    /// Whether the scratch space was seen full.
    pub scratch_full: bool,
    /// Whether it was seen with as many files as fit.
    pub scratch_files_used_up: bool,
    /// Whether a process was seen with all the open files that it may have.
    pub open_files_used_up: bool,
    /// Bytes written to stdout, whether passed on or not.
    pub stdout_bytes: u64,
    /// Bytes written to stderr, whether passed on or not.
    pub stderr_bytes: u64,
}

/// Which limits kept artifacts from being sent; the last frame has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collected {
    /// `artifact_bytes`.
    pub was_too_large: bool,
    /// `artifact_count`.
    pub were_too_many: bool,
}

impl ExitReport {
    /// Whether a process of the job was killed because the host had no memory left, and not the job.
    pub fn was_host_short(&self) -> bool {
        self.memory_kills.is_some_and(|kills| kills > 0) && self.memory_limit_hits == Some(0)
    }
}

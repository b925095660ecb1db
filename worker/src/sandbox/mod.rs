//! Where programs run: one narrow trait, its backends, and what they share.
//!
//! The policy is in [`policy`], the allow-list of system calls in `seccomp.json`; a backend lowers
//! both to what its technology offers. `session.rs` is the worker's side of a job inside a
//! container, the same for every backend; [`classify`](crate::outcome::classify) turns what is known at its end into a
//! verdict.

pub mod agent_binary;
pub mod capacity;
pub mod capture;
pub mod docker;
mod error;
#[cfg(test)]
pub(crate) mod fake;
pub mod health;
mod live_input;
pub mod native;
pub mod policy;
mod processors;
pub mod seccomp;
mod session;
mod uid_pool;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
pub use sandfleet_agent::protocol::message::Cause;
use sandfleet_agent::protocol::message::{Collected, ExitReport};
use sandfleet_common::{Isolation, JobId, Limits, OutputOverflow};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::{hooks::Stream, host::memory::HostMemory};
use capacity::Capacity;
use capture::Captured;

pub use error::SandboxError;
pub use live_input::{LiveInput, LiveSender};
#[cfg(test)]
pub(crate) use session::sent_to_agent;

/// A technology that runs programs.
#[async_trait]
pub trait Sandbox: Send + Sync {
    /// Runs one program to its end, with nothing of it left afterwards. Dropping the future ends
    /// the program.
    ///
    /// # Errors
    /// [`SandboxError`] if the sandbox failed; how the program fares is never an error.
    async fn run(&self, plan: &Plan, watcher: &Watcher<'_>) -> Result<Outcome, SandboxError>;

    /// As [`run`](Self::run), of a program whose stdin comes while it runs. It starts cold.
    ///
    /// # Errors
    /// As `run`; also where two programs can't run at a time.
    async fn run_live(
        &self,
        plan: &Plan,
        watcher: &Watcher<'_>,
        input: &LiveInput,
    ) -> Result<Outcome, SandboxError>;

    /// Whether programs can be run at present, or why not.
    async fn check(&self) -> Result<(), SandboxError>;

    /// What programs run under.
    fn description(&self) -> &Description;

    /// The root tree of programs whose language is in `image`; `None` if there is no such tree.
    fn root_tree(&self, image: &str) -> Option<RootTree> {
        let _ = image;
        Some(self.description().root_tree())
    }

    /// Removes what workers that are gone have left behind; gives back how much that was.
    async fn reap(&self) -> Result<usize, SandboxError>;

    /// Ends everything that runs and removes everything that was made.
    async fn close(&self);

    /// The memory of the host that its programs run on, where that is watched.
    fn host_memory(&self) -> Option<&Arc<HostMemory>> {
        None
    }

    /// The places that its programs run in, where what can't be ended takes one.
    fn capacity(&self) -> Option<&Arc<Capacity>> {
        None
    }
}

/// What a sandbox is, for results and for `doctor`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// `native` or `docker`.
    pub backend: &'static str,
    /// What makes the containers.
    pub runtime: String,
    /// How strong that is.
    pub isolation: Isolation,
    /// The root tree of programs that name no image.
    pub image: String,
    /// Its digest, where it has one.
    pub image_digest: Option<String>,
    /// SHA-256 over the policy, in hexadecimal.
    pub policy_hash: String,
}

/// The root tree that a program sees.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RootTree {
    /// An image's name, or `host:/usr`.
    pub image: String,
    /// Its digest, where it has one: the same for every backend.
    pub digest: Option<String>,
}

impl Description {
    /// The root tree of programs that name no image.
    pub fn root_tree(&self) -> RootTree {
        RootTree { image: self.image.clone(), digest: self.image_digest.clone() }
    }
}

/// One program with everything it needs: nothing in it comes from a job unchecked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The job.
    pub job_id: JobId,
    /// The image that its language is in; empty for any.
    pub image: String,
    /// The command; the first element is an absolute path inside the root tree.
    pub command: Vec<String>,
    /// The whole environment.
    pub environment: Vec<(String, String)>,
    /// Files for the working directory, as names and bytes.
    pub files: Vec<(String, Vec<u8>)>,
    /// What a compiler made of them, for the same place: read-only and executable.
    pub compiled: Vec<(String, Vec<u8>)>,
    /// What the program reads on stdin.
    pub stdin: Option<Vec<u8>>,
    /// The warm interpreter that it may start from, by name.
    pub warm: Option<String>,
    /// Whether it is a Python that may keep what it prints where PID 1 can read it.
    pub pending_output: bool,
    /// Globs of files to bring back.
    pub artifacts: Vec<String>,
    /// The limits in force.
    pub limits: Limits,
    /// What happens to too much output.
    pub output_overflow: OutputOverflow,
}

impl Plan {
    /// Brings the files along that a compiler made. What the job brought under the same name was for the
    /// compiler.
    pub fn add_compiled(&mut self, made: Vec<(String, Vec<u8>)>) {
        self.files.retain(|(name, _)| made.iter().all(|(made, _)| made != name));
        self.compiled = made;
    }
}

/// Gets a program's output as it is printed.
pub type Watcher<'a> = dyn Fn(Stream, &[u8]) + Send + Sync + 'a;

/// What is known when a program is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// What it printed.
    pub stdout: Captured,
    /// What it printed to stderr.
    pub stderr: Captured,
    /// Files brought back, as names and bytes.
    pub artifacts: Vec<(String, Vec<u8>)>,
    /// Matching files that were not brought back, a sentence each.
    pub artifacts_skipped: Vec<String>,
    /// Which limits kept matching files from being brought back.
    pub collected: Collected,
    /// The root tree that it saw.
    pub root: RootTree,
    /// The version of Landlock that it ran under; `None` where the kernel offers none.
    pub landlock: Option<u32>,
    /// Whether it started from a warm interpreter.
    pub warm: bool,
    /// From the call to the program's start.
    pub setup: Duration,
    /// From the program's end to the container's.
    pub collect: Duration,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The agent saw it and accounts for it.
    Seen(ExitReport),
    /// The whole container was killed for want of memory, the agent with it.
    OutOfMemory {
        /// How long the program ran.
        wall_time: Duration,
    },
    /// The program killed the container's first process, and with it the container. Only a kernel
    /// that isn't Linux lets it.
    Killed {
        /// How long the program ran.
        wall_time: Duration,
    },
    /// The program wrote into the stream between its agent and the worker, or took something out of
    /// it. Only a kernel that isn't Linux lets it.
    Tampered {
        /// How long the program ran.
        wall_time: Duration,
    },
    /// The agent did not end it in time, so the container was killed.
    Overdue {
        /// How long the program ran.
        wall_time: Duration,
    },
}

impl End {
    /// How long the program ran.
    pub fn wall_time(&self) -> Duration {
        match self {
            Self::Seen(report) => Duration::from_micros(report.wall_time_us),
            Self::OutOfMemory { wall_time }
            | Self::Killed { wall_time }
            | Self::Tampered { wall_time }
            | Self::Overdue { wall_time } => *wall_time,
        }
    }
}

/// How long a sandbox that closes waits for what it is still taking down.
const CLEANUP_DEADLINE: Duration = Duration::from_secs(20);

/// Waits for clean-ups that were begun and not waited for by the jobs they are of.
async fn wait_for_cleanups(cleanups: &TaskTracker) {
    cleanups.close();
    if timeout(CLEANUP_DEADLINE, cleanups.wait()).await.is_err() {
        tracing::warn!("not everything could be taken down in time; the next worker reaps it");
    }
}

/// Runs the smallest program there is, which takes every barrier.
///
/// # Errors
/// The barrier or the part that fails.
pub async fn self_test(sandbox: &dyn Sandbox) -> Result<(), SandboxError> {
    let outcome = sandbox.run(&smallest_plan(), &|_, _| ()).await?;
    match outcome.end {
        End::Seen(ended) if ended.exit_code == Some(0) => Ok(()),
        end => Err(SandboxError::failed("running /usr/bin/true", format!("{end:?}"))),
    }
}

pub(crate) fn smallest_plan() -> Plan {
    Plan {
        job_id: JobId::generate(),
        image: String::new(),
        command: vec!["/usr/bin/true".into()],
        environment: Vec::new(),
        files: Vec::new(),
        compiled: Vec::new(),
        stdin: None,
        warm: None,
        pending_output: false,
        artifacts: Vec::new(),
        limits: Limits::default(),
        output_overflow: OutputOverflow::default(),
    }
}

/// The account of a program that ended in order, having done next to nothing.
#[cfg(test)]
pub(crate) fn ended_in_order() -> ExitReport {
    ExitReport {
        cause: sandfleet_agent::protocol::message::Cause::Itself,
        exit_code: Some(0),
        signal: None,
        wall_time_us: 1,
        cpu_time_us: 1,
        memory_peak_bytes: Some(1),
        memory_kills: Some(0),
        memory_limit_hits: Some(0),
        processes_refused: 0,
        scratch_full: false,
        scratch_files_used_up: false,
        open_files_used_up: false,
        stdout_bytes: 0,
        stderr_bytes: 0,
    }
}

//! What the worker and a launcher say to each other.

use serde::{Deserialize, Serialize};

use crate::container::barrier::Failed;

/// The number of a control group's descriptors with [`Command::Prepare`].
pub const COUNTER_FILES: usize = 7;

/// The number of all its descriptors.
pub const PREPARE_FILES: usize = COUNTER_FILES + 1;

/// What the worker says to a launcher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// First of all: what every container of this slot has in common. Comes with the
    /// [`COUNTER_FILES`] descriptors of the slot's control group, in the order of
    /// `Counters::from_descriptors`, and the module that interpreters import at their start.
    Prepare {
        /// The directory whose programs containers see: `/` for the host's, or an image's root tree.
        root: String,
        /// The user that containers run as, as the host sees it. A launcher that isn't root has
        /// only its own.
        user: u32,
        /// The system call filter: an array of `struct sock_filter`.
        filter: Vec<u8>,
        /// What the kernel is set to in each container's network namespace: names as sysctl(8) has
        /// them, and values.
        settings: Vec<(String, String)>,
        /// How many processors a container sees.
        processors: u32,
        /// CPU time that they give together in 100 ms, in microseconds.
        cpu_quota_us: u64,
    },
    /// Start a container. Comes with the descriptor over which the agent speaks.
    Launch {
        /// Its scratch space.
        scratch_bytes: u64,
        /// Its shared memory.
        shared_bytes: u64,
        /// How many files fit into each.
        scratch_inodes: u64,
    },
    /// End the container now.
    Kill,
}

/// What a launcher says to the worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// Containers can be started.
    Prepared,
    /// The container is gone with every process in it.
    Exited {
        /// Whether PID 1 itself was killed, which the agent never does by itself.
        killed: bool,
    },
    /// A barrier can't be installed.
    Failed(Failed),
}

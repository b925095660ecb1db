//! How a native sandbox is set up.

use std::path::PathBuf;

use crate::{admission::catalogue::WarmStart, hooks::Observer};

/// The settings of a native sandbox.
#[derive(Debug, Clone, PartialEq)]
pub struct NativeConfig {
    /// The control group to work below, counted from the top of the tree; empty for our own.
    pub cgroup_parent: String,
    /// The first user number for containers.
    pub user_base: u32,
    /// Processors that one program may use.
    pub cpus: f64,
    /// Interpreters that may be started ahead.
    pub warm: Vec<WarmStart>,
    /// Where images are kept; without it programs see those of the host.
    pub images: Option<PathBuf>,
    /// How many programs run at a time.
    pub slots: usize,
    /// Told of what happens to what is started ahead.
    pub observer: Observer,
}

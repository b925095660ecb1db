//! What a worker says about itself while it lives.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Isolation, Priority};

/// A live worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerInfo {
    /// Its name in results.
    pub worker_id: String,
    /// The version of its program.
    pub version: String,
    /// What runs its jobs: `native` or `docker`.
    pub backend: String,
    /// The strongest isolation that it gives; it takes jobs that ask for less, too.
    pub isolation: Isolation,
    /// The languages that it offers.
    pub languages: Vec<String>,
    /// The priorities that it serves.
    pub priorities: Vec<Priority>,
    /// How many jobs it runs at a time.
    pub slots: usize,
    /// How many run at present.
    pub busy: usize,
    /// Whether it is stopping and takes nothing new.
    pub stopping: bool,
    /// When it began.
    pub started_at: Timestamp,
}

impl WorkerInfo {
    /// Whether it takes jobs like this.
    pub fn serves(&self, language: &str, isolation: Isolation, priority: Priority) -> bool {
        !self.stopping
            && self.isolation >= isolation
            && self.priorities.contains(&priority)
            && self.languages.iter().any(|offered| offered == language)
    }
}

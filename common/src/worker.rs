//! What a worker says about itself while it lives.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Isolation, Needs, Priority};

/// A live worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
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
    /// The version of the protocol that it speaks. Older workers don't say, and speak the first.
    #[serde(default = "first")]
    pub protocol_version: u32,
    /// Which of that version's fields it knows, see [`PROTOCOL_MINOR`](crate::PROTOCOL_MINOR).
    #[serde(default)]
    pub protocol_minor: u32,
    /// The longest job that it takes, in bytes. Older workers don't say: nothing waits for them.
    #[serde(default)]
    pub max_job_bytes: usize,
    /// How many jobs it runs at a time.
    pub slots: usize,
    /// How many run at present.
    pub busy: usize,
    /// Whether it is stopping and takes nothing new.
    pub stopping: bool,
    /// Whether its broker, store and sandbox work at present. Older workers don't say.
    #[serde(default = "yes")]
    pub ready: bool,
    /// When it began.
    pub started_at: Timestamp,
}

fn yes() -> bool {
    true
}

fn first() -> u32 {
    1
}

impl WorkerInfo {
    /// Whether it takes jobs like this.
    pub fn serves(&self, language: &str, isolation: Isolation, priority: Priority) -> bool {
        !self.stopping
            && self.isolation >= isolation
            && self.priorities.contains(&priority)
            && self.languages.iter().any(|offered| offered == language)
    }

    /// Whether it takes a job with such needs, as far as it says.
    pub fn takes(&self, needs: &Needs) -> bool {
        self.serves(&needs.language, needs.isolation, needs.priority)
            && (self.protocol_version, self.protocol_minor) >= needs.protocol
            && self.max_job_bytes >= needs.bytes
    }
}

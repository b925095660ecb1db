//! Labels by which a worker recognises containers and images, also those made by another worker.

pub(super) const WORKER: &str = "sandfleet.worker";
pub(super) const DEADLINE: &str = "sandfleet.deadline";
/// On images: the SHA-256 of the agent in them.
pub(super) const AGENT: &str = "org.sandfleet.agent-sha256";

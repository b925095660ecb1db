//! Labels by which a worker recognises containers and images, also those made by another worker.

pub(super) const WORKER: &str = "sandfleet.worker";
pub(super) const DEADLINE: &str = "sandfleet.deadline";
/// On images: the SHA-256 of the agent in them.
pub(super) const AGENT: &str = "org.sandfleet.agent-sha256";
/// On images: the day on which their packages were taken from Debian.
pub(super) const PACKAGES_AS_OF: &str = "org.sandfleet.packages-as-of";

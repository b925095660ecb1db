//! Labels by which a worker recognises containers and images, also those made by another worker.

pub(super) const WORKER: &str = "sandfleet.worker";
pub(super) const DEADLINE: &str = "sandfleet.deadline";
/// On images: the SHA-256 of the agent in them.
pub(crate) const AGENT: &str = "org.sandfleet.agent-sha256";
/// On images: the SHA-256 of the module for Python in them.
pub(crate) const PYTHON_MODULE: &str = "org.sandfleet.python-module-sha256";
/// On images: the name by which languages ask for them.
pub(crate) const IMAGE: &str = "org.sandfleet.image";
/// On images: the digest of their root tree, which is their first layer.
pub(crate) const TREE: &str = "org.sandfleet.tree";
/// On images: the day on which their packages were taken from Debian.
pub(crate) const PACKAGES_AS_OF: &str = "org.sandfleet.packages-as-of";

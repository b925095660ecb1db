//! How a Docker sandbox is set up.

use sandfleet_common::Isolation;

use crate::hooks::Observer;

/// The settings of a Docker sandbox.
#[derive(Debug, Clone, PartialEq)]
pub struct DockerConfig {
    /// The engine: `unix:///path` or `tcp://host:port`.
    pub host: String,
    /// The OCI runtime, by the engine's name for it.
    pub runtime: String,
    /// The image of the containers; `{image}` in it is the name that a language gives its image.
    pub image: String,
    /// The names that languages give their images.
    pub images: Vec<String>,
    /// The first user number for containers.
    pub user_base: u32,
    /// Processors that one program may use.
    pub cpus: f64,
    /// The worker's name.
    pub worker_id: String,
    /// Whether an engine with known vulnerabilities may be used.
    pub allow_outdated: bool,
    /// The AppArmor profile of the containers; without one it is the engine's own.
    pub apparmor_profile: Option<String>,
    /// How many containers may wait for jobs.
    pub pool_size: usize,
    /// How many programs run at a time.
    pub slots: usize,
    /// Told of requests to the engine, and of what happens to what is started ahead.
    pub observer: Observer,
}

impl DockerConfig {
    /// How strong its containers are.
    pub(super) fn isolation(&self) -> Isolation {
        isolation_of(&self.runtime)
    }
}

/// How strong a runtime is, by the names that runtimes are installed under.
pub(super) fn isolation_of(runtime: &str) -> Isolation {
    match runtime {
        name if name.starts_with("runsc") || name.contains("gvisor") => Isolation::GVisor,
        name if name.starts_with("kata") || name.contains("firecracker") => Isolation::MicroVm,
        _ => Isolation::Container,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtimes_are_as_strong_as_their_kind() {
        assert_eq!(isolation_of("runc"), Isolation::Container);
        assert_eq!(isolation_of("runsc"), Isolation::GVisor);
        assert_eq!(isolation_of("kata-fc"), Isolation::MicroVm);
    }
}

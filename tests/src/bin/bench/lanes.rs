//! The names of lanes, and what several of them need.

use super::rounds::Row;

/// The name of the lane that others are compared with.
pub(crate) const BARE: &str = "bare process, python3 -I -S -c";
pub(crate) const OFFERED: &str = "bare process, python3 main.py (as the catalogue has it)";
pub(crate) const COLD: &str = "native, cold, python3 -I -S";
pub(crate) const COLD_OFFERED: &str = "native, cold, python3 main.py";
pub(crate) const WARM: &str = "native, warm";
pub(crate) const DOCKER: &str = "docker backend";
pub(crate) const DOCKER_RUN: &str = "docker run, hardened";
pub(crate) const DOCKER_LIGHT: &str = "docker, now and then";

/// The services that `tests/run` has started, if it has.
pub(crate) struct Engine {
    pub(crate) host: String,
    pub(crate) image: String,
}

impl Engine {
    pub(crate) fn find() -> Option<Self> {
        let host = std::env::var("SANDFLEET_TEST_DOCKER_HOST").ok()?;
        let image = std::env::var("SANDFLEET_TEST_IMAGE");
        Some(Self { host, image: image.unwrap_or_else(|_| "sandfleet/sandbox:latest".into()) })
    }
}

/// The setting that turns warm interpreters on or off.
pub(crate) fn warmth(warm: bool) -> &'static [(&'static str, &'static str)] {
    if warm { &[("SANDBOX_WARM", "true")] } else { &[("SANDBOX_WARM", "false")] }
}

/// A row without figures.
pub(crate) fn skipped(group: &str, lane: &str, why: &str) -> Row {
    Row { group: group.into(), lane: lane.into(), problem: Some(why.into()), ..Row::default() }
}

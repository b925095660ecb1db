//! Whether the engine, containerd and the runtime are free of known vulnerabilities.
//!
//! An engine reports its own version and those of containerd and runc. Debian backports fixes without
//! changing the upstream version; if the engine reports the package's version, the fixes known to be in it
//! count.

mod table;
#[cfg(test)]
mod tests;
mod version;

use std::{os::unix::fs::MetadataExt, path::Path};

use bollard::{Docker, models::SystemVersion};
use sandfleet_common::Isolation;
use tokio::{process::Command, time::timeout};
use tracing::warn;

pub(crate) use self::table::{Component, TABLE, Vulnerability};

use self::version::Version;
use super::{
    config::{DockerConfig, isolation_of},
    request::{DEADLINE, ask},
};
use crate::sandbox::SandboxError;

/// The barrier that an outdated engine lacks.
pub(crate) const BARRIER: &str = "engine versions";

/// What to do about an outdated component.
pub(crate) const WAYS_OUT: &str = "update it on the engine's host; or use --sandbox native, or \
    another sandbox.runtime; or set sandbox.allow_outdated_engine = true if your distribution \
    backported the fix without changing the version, or if you accept the risk";

/// What is known about one component.
#[derive(Debug)]
pub(crate) struct Judged {
    /// Which.
    pub(crate) component: Component,
    /// Its version, as reported.
    pub(crate) found: Option<String>,
    /// Those that it has.
    pub(crate) vulnerabilities: Vec<&'static Vulnerability>,
    /// Whether the version was understood.
    pub(crate) is_known: bool,
}

impl Judged {
    fn new(component: Component, found: Option<String>) -> Self {
        let version = found.as_deref().and_then(Version::parse);
        let vulnerabilities = match (version, &found) {
            (Some(version), Some(text)) => {
                TABLE.of(component).filter(|it| it.is_open(version, text)).collect()
            }
            _ => Vec::new(),
        };
        let is_known = version.is_some() && component != Component::Other;
        Self { component, found, vulnerabilities, is_known }
    }

    /// Whether programs must not be run with it unless the operator says so.
    pub(crate) fn is_refused(&self) -> bool {
        !self.vulnerabilities.is_empty() || (!self.is_known && self.component.is_reported())
    }

    /// What is wrong, in a clause.
    pub(crate) fn complaint(&self) -> String {
        let name = self.component.as_str();
        match &self.found {
            Some(found) if self.is_known => {
                let cves: Vec<&str> =
                    self.vulnerabilities.iter().map(|it| it.cve.as_str()).collect();
                format!(
                    "{name} {found} has known vulnerabilities ({}); {} or later has none",
                    cves.join(", "),
                    TABLE.wanted(self.component)
                )
            }
            Some(found) => format!("{name} has the version {found:?}, which is not understood"),
            None => format!("the engine doesn't report the version of {name}"),
        }
    }
}

/// Asks the engine for its version, and judges it and everything that containers of `config` are made with.
pub(crate) async fn judge(
    docker: &Docker,
    config: &DockerConfig,
) -> Result<Vec<Judged>, SandboxError> {
    let reported = ask("asking the Docker engine for its version", docker.version()).await?;
    let mut judged = read(&reported, &config.runtime);
    if let Some(runsc) = judged.iter_mut().find(|one| one.component == Component::Runsc) {
        *runsc = Judged::new(Component::Runsc, runsc_version(docker, config).await);
    }
    Ok(judged)
}

/// Judges the versions that an engine reports, of itself and of what runs `runtime`.
fn read(reported: &SystemVersion, runtime: &str) -> Vec<Judged> {
    let component = |name: &str| {
        reported.components.iter().flatten().find(|component| component.name == name).map(
            |component| {
                let commit =
                    component.details.as_ref().and_then(|details| details.get("GitCommit"));
                // Debian's builds have the package's whole version there.
                match commit.filter(|commit| commit.starts_with(&component.version)) {
                    Some(package) => package.clone(),
                    None => component.version.clone(),
                }
            },
        )
    };
    let made_by = match isolation_of(runtime) {
        Isolation::GVisor => Component::Runsc,
        Isolation::Container if runtime.contains("runc") => Component::Runc,
        _ => Component::Other,
    };
    let found = match made_by {
        Component::Runc => component("runc"),
        _ => None,
    };
    vec![
        Judged::new(Component::Engine, component("Engine")),
        Judged::new(Component::Containerd, component("containerd")),
        Judged::new(made_by, found),
    ]
}

/// The version of gVisor, which no engine reports: that of the program at the path that the engine
/// names, where engine and worker share a host.
async fn runsc_version(docker: &Docker, config: &DockerConfig) -> Option<String> {
    if !config.host.starts_with("unix://") {
        return None;
    }
    let info = ask("asking the Docker engine for its runtimes", docker.info()).await.ok()?;
    let path = info.runtimes?.remove(&config.runtime)?.path?;
    let path = Path::new(&path);
    // A socket may lead to another host's engine: only what root has put here is run.
    let is_roots = path.is_absolute()
        && path.metadata().is_ok_and(|file| file.uid() == 0 && file.mode() & 0o022 == 0);
    if !is_roots {
        return None;
    }
    let mut command = Command::new(path);
    command.arg("--version").env_clear().kill_on_drop(true);
    let output = timeout(DEADLINE, command.output()).await.ok()?.ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.lines().next()?.strip_prefix("runsc version ")?.trim().to_owned())
}

/// Refuses known vulnerabilities, unless the operator allows them.
pub(super) async fn accept(docker: &Docker, config: &DockerConfig) -> Result<(), SandboxError> {
    let judged = judge(docker, config).await?;
    let complaints: Vec<String> =
        judged.iter().filter(|one| one.is_refused()).map(Judged::complaint).collect();
    if complaints.is_empty() {
        return Ok(());
    }
    let complaints = complaints.join(", and ");
    if config.allow_outdated {
        warn!("sandbox.allow_outdated_engine is set: {complaints}");
        return Ok(());
    }
    Err(SandboxError::Barrier { barrier: BARRIER, reason: complaints, fix: WAYS_OUT.into() })
}

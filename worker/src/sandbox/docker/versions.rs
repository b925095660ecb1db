//! Whether the engine, and what it makes containers with, are without known holes.
//!
//! An engine says its own version and those of containerd and runc. Debian mends old versions
//! without changing their numbers; where its package's version is told, the fixes that are known
//! to be in it count.

mod table;
#[cfg(test)]
mod tests;

use std::{fmt, os::unix::fs::MetadataExt, path::Path};

use bollard::{Docker, models::SystemVersion};
use tokio::{process::Command, time::timeout};
use tracing::warn;

use super::{DEADLINE, DockerConfig, engine::ask, isolation_of};
use crate::sandbox::SandboxError;
use sandfleet_common::Isolation;
pub(crate) use table::Vulnerability;
use table::{Backport, VULNERABILITIES};

/// The barrier that an outdated engine lacks.
pub(crate) const BARRIER: &str = "engine versions";

/// What to do about an outdated component.
pub(crate) const WAYS_OUT: &str = "update it on the engine's host; or use --sandbox native, or \
    another sandbox.runtime; or set sandbox.allow_outdated_engine = true if your distribution has \
    mended it without changing its number, or if the risk is yours to take";

/// A part of what makes containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Component {
    Engine,
    Containerd,
    Runc,
    Runsc,
    /// A runtime of which this table knows nothing.
    Other,
}

impl Component {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Engine => "Docker engine",
            Self::Containerd => "containerd",
            Self::Runc => "runc",
            Self::Runsc => "runsc",
            Self::Other => "runtime",
        }
    }

    /// Whether engines say its version, so that silence is no excuse.
    fn is_told(self) -> bool {
        matches!(self, Self::Engine | Self::Containerd | Self::Runc)
    }
}

/// A version as upstream counts. Release candidates come before their release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    numbers: [u32; 3],
    /// How far a pre-release is: the kind and its number; the release itself is further than any.
    stage: (u32, u32),
}

const ALPHA: u32 = 0;
const BETA: u32 = 1;
const CANDIDATE: u32 = 2;
const RELEASE: (u32, u32) = (3, 0);

impl Version {
    const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { numbers: [major, minor, patch], stage: RELEASE }
    }

    const fn candidate(major: u32, minor: u32, patch: u32, number: u32) -> Self {
        Self { numbers: [major, minor, patch], stage: (CANDIDATE, number) }
    }

    /// Reads `1.2.8`, `v2.1.5`, `1.4.0-rc.3`, `20.10.24+dfsg1`, `1.0.0~rc95+ds1-1`,
    /// `release-20250319.0`, `0.0~20221219.0-2`; nothing of what is no version.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        // Debian's way of saying that upstream counts in dates.
        let text = text.strip_prefix("0.0~").unwrap_or(text);
        let text = text.strip_prefix("release-").unwrap_or(text);
        let text = text.strip_prefix('v').unwrap_or(text);
        let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
        let (number, rest) = text.split_at(end);
        let mut numbers = [0; 3];
        let mut parts = 0;
        for part in number.split('.') {
            *numbers.get_mut(parts)? = part.parse().ok()?;
            parts += 1;
        }
        (parts >= 2).then(|| Self { numbers, stage: stage(rest) })
    }

    /// Whether both are of one release line.
    fn is_of_the_line_of(&self, other: &Self) -> bool {
        self.numbers[..2] == other.numbers[..2]
    }
}

/// How far a version is whose numbers are followed by `rest`.
fn stage(rest: &str) -> (u32, u32) {
    let Some(rest) = rest.strip_prefix(['-', '~']) else { return RELEASE };
    for (name, kind) in [("alpha", ALPHA), ("beta", BETA), ("rc", CANDIDATE)] {
        if let Some(rest) = rest.strip_prefix(name) {
            let rest = rest.trim_start_matches('.');
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            return (kind, rest[..end].parse().unwrap_or(0));
        }
    }
    RELEASE
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.numbers;
        // gVisor's versions are days.
        if major > 10_000_000 {
            return write!(f, "{major}.{minor}");
        }
        write!(f, "{major}.{minor}.{patch}")?;
        match self.stage {
            (CANDIDATE, number) => write!(f, "-rc.{number}"),
            (BETA, number) => write!(f, "-beta.{number}"),
            (ALPHA, number) => write!(f, "-alpha.{number}"),
            _ => Ok(()),
        }
    }
}

/// The release of Debian and the update of it that a package's version ends with: `+deb12u1`.
fn debian_update(text: &str) -> Option<(u32, u32)> {
    let (release, update) = text.split_once("+deb")?.1.split_once('u')?;
    let end = update.find(|c: char| !c.is_ascii_digit()).unwrap_or(update.len());
    Some((release.parse().ok()?, update[..end].parse().ok()?))
}

impl Vulnerability {
    /// Whether a component of this version, told as `text`, has the hole.
    fn is_open(&self, version: Version, text: &str) -> bool {
        let is_past = |fixed: &Version| version >= *fixed && version.is_of_the_line_of(fixed);
        let mended = |backport: &Backport| {
            version == backport.upstream
                && debian_update(text).is_some_and(|(debian, update)| {
                    debian == backport.debian && update >= backport.update
                })
        };
        // Lines without a fix of their own lie before the first fixed one, or after the last.
        let is_newer = self.fixed.last().is_some_and(|last| version >= *last);
        !(is_newer || self.fixed.iter().any(is_past) || self.backports.iter().any(mended))
    }
}

/// What is known about one component.
#[derive(Debug)]
pub(crate) struct Judged {
    /// Which.
    pub(crate) component: Component,
    /// Its version, as it was told.
    pub(crate) found: Option<String>,
    /// The holes that it has.
    pub(crate) vulnerabilities: Vec<&'static Vulnerability>,
    /// Whether the version was understood.
    pub(crate) is_known: bool,
}

impl Judged {
    fn new(component: Component, found: Option<String>) -> Self {
        let version = found.as_deref().and_then(Version::parse);
        let of_it = |hole: &&Vulnerability| hole.component == component;
        let vulnerabilities = match (version, &found) {
            (Some(version), Some(text)) => VULNERABILITIES
                .iter()
                .filter(of_it)
                .filter(|hole| hole.is_open(version, text))
                .collect(),
            _ => Vec::new(),
        };
        let is_known = version.is_some() && component != Component::Other;
        Self { component, found, vulnerabilities, is_known }
    }

    /// Whether programs must not be run with it unless the operator says so.
    pub(crate) fn is_refused(&self) -> bool {
        !self.vulnerabilities.is_empty() || (!self.is_known && self.component.is_told())
    }

    /// What is wrong, in a clause.
    pub(crate) fn complaint(&self) -> String {
        let name = self.component.as_str();
        match &self.found {
            Some(found) if self.is_known => {
                let cves: Vec<&str> = self.vulnerabilities.iter().map(|hole| hole.cve).collect();
                format!(
                    "{name} {found} has known vulnerabilities ({}), {} or later has not",
                    cves.join(", "),
                    wanted(self.component)
                )
            }
            Some(found) => format!("{name} has the version {found:?}, which can't be judged"),
            None => format!("the engine doesn't tell the version of {name}"),
        }
    }
}

/// The lowest version of each release line that has none of the component's holes.
pub(crate) fn wanted(component: Component) -> String {
    let of_it = || VULNERABILITIES.iter().filter(move |hole| hole.component == component);
    let mut whole: Vec<Version> = of_it()
        .flat_map(|hole| hole.fixed)
        .filter(|fixed| !of_it().any(|hole| hole.is_open(**fixed, "")))
        .copied()
        .collect();
    whole.sort_unstable();
    whole.dedup_by(|later, earlier| later.is_of_the_line_of(earlier));
    let whole: Vec<String> = whole.iter().map(Version::to_string).collect();
    match whole.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => "any".into(),
    }
}

/// Asks the engine, and judges what it says about all that containers of `config` are made with.
pub(crate) async fn judge(
    docker: &Docker,
    config: &DockerConfig,
) -> Result<Vec<Judged>, SandboxError> {
    let told = ask("asking the Docker engine for its version", docker.version()).await?;
    let mut judged = read(&told, &config.runtime);
    if let Some(runsc) = judged.iter_mut().find(|one| one.component == Component::Runsc) {
        *runsc = Judged::new(Component::Runsc, runsc_version(docker, config).await);
    }
    Ok(judged)
}

/// Judges what an engine says about itself and about what it runs `runtime` with.
fn read(told: &SystemVersion, runtime: &str) -> Vec<Judged> {
    let component = |name: &str| {
        told.components.iter().flatten().find(|component| component.name == name).map(|component| {
            let commit = component.details.as_ref().and_then(|details| details.get("GitCommit"));
            // Debian's builds tell the package's whole version there.
            match commit.filter(|commit| commit.starts_with(&component.version)) {
                Some(package) => package.clone(),
                None => component.version.clone(),
            }
        })
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

/// The version of gVisor, which no engine tells: that of the program at the path that the engine
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

/// Refuses what has known holes, unless the operator has said that it may be used.
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

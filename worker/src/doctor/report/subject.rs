//! What a report is about: the host, its sandbox, and the versions that make it.

use std::{collections::BTreeMap, fs, time::Duration};

use bollard::Docker;
use sandfleet_common::Isolation;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::{
    app,
    config::{Backend, Settings},
    sandbox::{Description, agent_binary, docker::versions},
};

/// How long an engine may take to answer.
const DEADLINE: Duration = Duration::from_secs(15);

/// What was attacked, and by which sandfleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Its version.
    pub sandfleet_version: String,
    /// The SHA-256 of the agent in it, which is PID 1 of every container.
    pub agent_sha256: String,
    /// Where programs run.
    pub host: Host,
    /// The sandbox, if it could be opened.
    pub sandbox: Option<Opened>,
    /// Versions of the engine and of what it makes containers with, by name.
    pub versions: BTreeMap<String, String>,
}

/// A machine. A remote engine's is known by what the engine says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Its distribution.
    pub system: String,
    /// Its kernel's release and version.
    pub kernel: String,
    /// Its processors.
    pub architecture: String,
}

/// A sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// `native` or `docker`.
    pub backend: String,
    /// What makes the containers.
    pub runtime: String,
    /// How strong that is.
    pub isolation: Isolation,
    /// The root tree.
    pub image: String,
    /// Its digest, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_digest: Option<String>,
    /// SHA-256 over the policy, in hexadecimal.
    pub policy_hash: String,
}

impl Subject {
    pub(super) async fn of(
        backends: &[Backend],
        description: Option<&Description>,
        settings: &Settings,
    ) -> Self {
        let mut host = Host::local();
        let mut versions = BTreeMap::new();
        if backends.contains(&Backend::Docker) {
            match engine(settings).await {
                Ok(engine) => {
                    versions = engine.versions;
                    if !app::is_here(Backend::Docker, settings) && backends.len() == 1 {
                        host = engine.host;
                    }
                }
                Err(error) => {
                    versions.insert("Docker engine".into(), format!("not known: {error:#}"));
                }
            }
        }
        let sandbox = description.map(|it| Opened {
            backend: it.backend.into(),
            runtime: it.runtime.clone(),
            isolation: it.isolation,
            image: it.image.clone(),
            image_digest: it.image_digest.clone(),
            policy_hash: it.policy_hash.clone(),
        });
        Subject {
            sandfleet_version: env!("CARGO_PKG_VERSION").into(),
            agent_sha256: agent_binary::digest(),
            host,
            sandbox,
            versions,
        }
    }

    /// Every fact with its name, for people and for comparisons.
    pub(super) fn facts(&self) -> Vec<(String, String)> {
        let Host { name, system, kernel, architecture } = &self.host;
        let mut facts = vec![
            ("sandfleet", self.sandfleet_version.clone()),
            ("agent (SHA-256)", self.agent_sha256.clone()),
            ("host", name.clone()),
            ("operating system", system.clone()),
            ("kernel", kernel.clone()),
            ("architecture", architecture.clone()),
        ];
        match &self.sandbox {
            None => facts.push(("sandbox", "could not be opened".into())),
            Some(it) => facts.extend([
                ("sandbox", it.backend.clone()),
                ("runtime", it.runtime.clone()),
                ("isolation", it.isolation.as_str().into()),
                ("image", it.image.clone()),
                ("image digest", it.image_digest.clone().unwrap_or_else(|| "it has none".into())),
                ("policy hash", it.policy_hash.clone()),
            ]),
        }
        let versions =
            self.versions.iter().map(|(name, it)| (format!("version of {name}"), it.clone()));
        facts.into_iter().map(|(name, it)| (name.to_owned(), it)).chain(versions).collect()
    }
}

impl Host {
    fn local() -> Self {
        let uname = rustix::system::uname();
        let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
        Host {
            name: text(uname.nodename()),
            system: distribution(&fs::read_to_string("/etc/os-release").unwrap_or_default()),
            kernel: format!(
                "{} {} {}",
                text(uname.sysname()),
                text(uname.release()),
                text(uname.version())
            ),
            architecture: text(uname.machine()),
        }
    }
}

/// What /etc/os-release calls the distribution.
fn distribution(os_release: &str) -> String {
    let name = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "not known".into(), |name| name.trim_matches('"').to_owned())
}

/// What an engine says of itself and its host.
struct Engine {
    host: Host,
    versions: BTreeMap<String, String>,
}

async fn engine(settings: &Settings) -> anyhow::Result<Engine> {
    let config = app::docker_config(settings);
    let asked = async {
        let docker = Docker::connect_with_host(&config.host)?.negotiate_version().await?;
        let info = docker.info().await?;
        Ok::<_, anyhow::Error>((info, versions::judge(&docker, &config).await?))
    };
    let (info, judged) = timeout(DEADLINE, asked).await??;
    let said = |text: Option<String>| text.unwrap_or_else(|| "not known".into());
    let versions = judged.into_iter().map(|it| (it.component.as_str().to_owned(), said(it.found)));
    Ok(Engine {
        host: Host {
            name: said(info.name),
            system: said(info.operating_system),
            kernel: format!("Linux {}", said(info.kernel_version)),
            architecture: said(info.architecture),
        },
        versions: versions.collect(),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn subject() -> Subject {
        Subject {
            sandfleet_version: "0.1.0".into(),
            agent_sha256: "a1".into(),
            host: Host {
                name: "one".into(),
                system: "Debian GNU/Linux 12 (bookworm)".into(),
                kernel: "Linux 6.1.0-37-amd64 #1 SMP Debian 6.1.140-1".into(),
                architecture: "x86_64".into(),
            },
            sandbox: Some(Opened {
                backend: "docker".into(),
                runtime: "runc".into(),
                isolation: Isolation::Container,
                image: "sandfleet/sandbox:latest".into(),
                image_digest: Some("sha256:d1".into()),
                policy_hash: "p1".into(),
            }),
            versions: [("runc".to_owned(), "1.1.5".to_owned())].into(),
        }
    }

    #[test]
    fn the_distribution_is_what_it_calls_itself() {
        let debian = "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n";
        assert_eq!(distribution(debian), "Debian GNU/Linux 12 (bookworm)");
        assert_eq!(distribution(""), "not known");
    }

    #[test]
    fn this_machine_is_described() {
        let host = Host::local();
        assert!(host.kernel.starts_with("Linux ") && host.kernel.contains('.'), "{host:?}");
        assert!(!host.name.is_empty() && !host.architecture.is_empty(), "{host:?}");
    }

    #[test]
    fn every_fact_has_a_name_of_its_own() {
        let facts = subject().facts();
        let names: std::collections::BTreeSet<_> = facts.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), facts.len(), "{facts:?}");
        for value in ["0.1.0", "one", "p1", "sha256:d1", "1.1.5", "container"] {
            assert!(facts.iter().any(|(_, it)| it == value), "{value}");
        }
    }
}

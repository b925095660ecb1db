//! The sandboxes: installs each barrier and runs the smallest program behind them.

use std::{path::Path, time::Duration};

use bollard::{Docker, models::SystemInfo};
use sandfleet_agent::container::barrier::Barrier;
use tokio::time::timeout;

use super::{
    confinement,
    finding::{Finding, State},
    image_age,
    table_age::{self, today},
};
use crate::{
    app,
    config::Settings,
    sandbox::{
        Sandbox, SandboxError,
        docker::{self, DockerConfig, DockerSandbox, versions},
        native::{self, NativeSandbox},
        self_test,
    },
};

pub(super) const NATIVE: &str = "native";
pub(super) const DOCKER: &str = "docker";

/// How long an engine may take to answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// What was found of a sandbox, and whether it works.
pub(super) struct Examined {
    pub(super) findings: Vec<Finding>,
    pub(super) works: Result<(), SandboxError>,
}

pub(super) async fn native(settings: &Settings) -> Examined {
    let mut findings = Vec::new();
    let config = app::native_config(settings);
    findings.push(match native::describe_cgroups(&config) {
        Ok(detail) => Finding::ok(NATIVE, native::CGROUPS, detail),
        Err(error) => missing(NATIVE, native::CGROUPS, &error),
    });
    let tried = async {
        let sandbox = NativeSandbox::open(config).await?;
        let tried = self_test(&sandbox).await;
        sandbox.close().await;
        tried
    };
    let failed = tried.await.err();
    let at_fault = match &failed {
        Some(SandboxError::Barrier { barrier, .. }) => Some(*barrier),
        _ => None,
    };
    let mut standing = at_fault != Some(native::CGROUPS);
    for barrier in Barrier::ALL {
        let name = barrier.as_str();
        findings.push(match &failed {
            Some(error) if at_fault == Some(name) => {
                standing = false;
                missing(NATIVE, name, error)
            }
            _ if standing => Finding::ok(NATIVE, name, "installed"),
            _ => untried(name),
        });
    }
    match &failed {
        None => findings.push(Finding::ok(NATIVE, "self-test", "a program ran behind all of them")),
        Some(SandboxError::Barrier { .. }) => findings.push(untried("self-test")),
        Some(error) => findings.push(missing(NATIVE, "self-test", error)),
    }
    findings.push(users());
    findings.push(landlock());
    findings.extend(confinement::findings(NATIVE, confinement::of_host(Path::new("/"))));
    Examined { findings, works: failed.map_or(Ok(()), Err) }
}

fn missing(area: &'static str, name: &str, error: &SandboxError) -> Finding {
    let (detail, fix) = error.parts();
    Finding::bad(area, name, State::Missing, detail, fix.unwrap_or("see the reason"))
}

fn untried(name: &str) -> Finding {
    let fix = "install the missing barrier first";
    Finding::bad(NATIVE, name, State::Untried, "needs what is missing above", fix)
}

fn users() -> Finding {
    if rustix::process::geteuid().is_root() {
        return Finding::ok(NATIVE, "users", "every slot has one of its own");
    }
    Finding::bad(
        NATIVE,
        "users",
        State::Warning,
        "not root: all containers have your user number, so one job runs at a time, and your \
         supplementary groups",
        "run as root for more slots",
    )
}

/// A second barrier behind the mount namespace: installed if the kernel offers it; its absence is no reason
/// to refuse.
fn landlock() -> Finding {
    match sandfleet_agent::landlock_version() {
        Some(version) => Finding::ok(NATIVE, "Landlock", format!("installed, ABI {version}")),
        None => Finding::bad(
            NATIVE,
            "Landlock",
            State::Warning,
            "this kernel doesn't offer it",
            "boot a kernel with CONFIG_SECURITY_LANDLOCK and landlock in lsm=",
        ),
    }
}

pub(super) async fn docker(settings: &Settings) -> Examined {
    let age = table_age::finding(DOCKER, "known vulnerabilities", versions::TABLE.as_of, today());
    let findings = [vec![age], engine_and_image(settings).await].concat();
    let lacking = findings.iter().find(|finding| finding.is_lacking());
    let works = lacking.map_or(Ok(()), |Finding { name, detail, .. }| {
        Err(SandboxError::failed("using the Docker engine", format!("{name}: {detail}")))
    });
    Examined { findings, works }
}

async fn engine_and_image(settings: &Settings) -> Vec<Finding> {
    let config = app::docker_config(settings);
    let start = format!(
        "install and start a Docker engine, or name another with sandbox.docker_host (now {})",
        config.host
    );
    let asked = async {
        let docker = Docker::connect_with_host(&config.host)?.negotiate_version().await?;
        let info = docker.info().await?;
        Ok::<_, bollard::errors::Error>((docker, info))
    };
    let (docker, info) = match timeout(DEADLINE, asked).await {
        Ok(Ok(answers)) => answers,
        Ok(Err(error)) => {
            return vec![Finding::bad(DOCKER, "engine", State::Missing, error.to_string(), start)];
        }
        Err(_) => {
            let detail = format!("no answer in {} s", DEADLINE.as_secs());
            return vec![Finding::bad(DOCKER, "engine", State::Missing, detail, start)];
        }
    };
    let mut findings = engine(&info, &config.runtime);
    // Another host's kernel can't be looked at from here.
    let host = config.host.starts_with("unix://").then(|| confinement::of_host(Path::new("/")));
    let told = [docker::confinement::has_apparmor(&info), docker::confinement::has_selinux(&info)];
    let modules = confinement::of_engine(told, config.apparmor_profile.as_deref(), host);
    findings.extend(confinement::findings(DOCKER, modules));
    let mut tags: Vec<String> =
        config.images.iter().map(|name| docker::image::tag(&config.image, name)).collect();
    tags.dedup();
    for tag in tags {
        let day = docker::image::packages_as_of(&docker, &tag).await;
        findings.extend(day.map(|day| image_age::finding(DOCKER, &tag, day.as_deref(), today())));
    }
    let versions = versions(&docker, &config).await;
    let refused = versions.iter().any(|finding| finding.state == State::Missing);
    findings.extend(versions);
    if refused {
        findings.push(Finding::bad(
            DOCKER,
            "self-test",
            State::Untried,
            "no program is run with known vulnerabilities",
            "see the versions above",
        ));
        return findings;
    }
    let tried = async {
        let sandbox = DockerSandbox::open(config).await?;
        self_test(&sandbox).await
    };
    findings.push(match tried.await {
        Ok(()) => Finding::ok(DOCKER, "self-test", "a program ran in a container of the image"),
        Err(error) => missing(DOCKER, "self-test", &error),
    });
    findings
}

/// The engine's version and those of what it makes containers with; one finding more for each vulnerability.
async fn versions(docker: &Docker, config: &DockerConfig) -> Vec<Finding> {
    let judged = match versions::judge(docker, config).await {
        Ok(judged) => judged,
        Err(error) => {
            let fix = "see why the engine doesn't answer";
            return vec![Finding::bad(
                DOCKER,
                versions::BARRIER,
                State::Missing,
                error.to_string(),
                fix,
            )];
        }
    };
    let state = if config.allow_outdated { State::Warning } else { State::Missing };
    let mut findings = Vec::new();
    for one in judged {
        let name = format!("{} version", one.component.as_str());
        if one.is_refused() {
            let complaint = one.complaint();
            findings.push(Finding::bad(DOCKER, name, state, complaint, versions::WAYS_OUT));
        } else if one.is_known {
            let found = one.found.unwrap_or_default();
            findings.push(Finding::ok(
                DOCKER,
                name,
                format!("{found}, without known vulnerabilities"),
            ));
        } else {
            let detail = format!("{} doesn't report its version to the engine", config.runtime);
            let fix = "ask it yourself, and keep it up to date";
            findings.push(Finding::bad(DOCKER, name, State::Warning, detail, fix));
        }
        for vulnerability in one.vulnerabilities {
            let name = format!("fix of {}", vulnerability.cve);
            let detail = format!("the vulnerability {}", vulnerability.meaning);
            let fix = format!(
                "update {} to {}, or later; see {}",
                one.component.as_str(),
                versions::TABLE.wanted(one.component),
                vulnerability.source
            );
            findings.push(Finding::bad(DOCKER, name, state, detail, fix));
        }
    }
    findings
}

fn engine(info: &SystemInfo, runtime: &str) -> Vec<Finding> {
    let version = info.server_version.as_deref().unwrap_or("unknown");
    let cgroups = info.cgroup_version.map_or_else(|| "?".into(), |version| version.to_string());
    let mut findings =
        vec![Finding::ok(DOCKER, "engine", format!("{version}, cgroup version {cgroups}"))];
    let mut runtimes: Vec<&str> = info.runtimes.iter().flatten().map(|(n, _)| n.as_str()).collect();
    runtimes.sort_unstable();
    let offered = runtimes.join(", ");
    findings.push(match runtimes.contains(&runtime) {
        true => Finding::ok(DOCKER, "runtime", format!("{runtime} (of {offered})")),
        false => Finding::bad(
            DOCKER,
            "runtime",
            State::Missing,
            format!("{runtime} is not among {offered}"),
            "add it to the engine's runtimes (daemon.json), or choose with sandbox.runtime",
        ),
    });
    for (name, given) in [
        ("memory limit", info.memory_limit),
        ("swap limit", info.swap_limit),
        ("process limit", info.pids_limit),
        ("CPU limit", info.cpu_cfs_quota),
    ] {
        findings.push(match given {
            Some(true) => Finding::ok(DOCKER, name, "offered"),
            // Without swap there is nothing to limit.
            _ if name == "swap limit" => Finding::bad(
                DOCKER,
                name,
                State::Warning,
                "not offered: with swap on this host, programs can use it beyond their memory",
                "boot with swapaccount=1, or switch swap off",
            ),
            _ => Finding::bad(
                DOCKER,
                name,
                State::Missing,
                "not offered",
                "enable the control group controller on the engine's host",
            ),
        });
    }
    let filtered = info.security_options.iter().flatten().any(|option| option.contains("seccomp"));
    findings.push(match filtered {
        true => Finding::ok(DOCKER, "system call filter", "offered"),
        false => Finding::bad(
            DOCKER,
            "system call filter",
            State::Missing,
            "the engine offers no seccomp",
            "use an engine and a kernel with seccomp",
        ),
    });
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an engine or a kernel says is any text.
    #[test]
    fn a_finding_has_the_whole_reason_and_the_fix_of_its_error() {
        let reason = "no; to fix: is not ours; and \"x; y\" neither";
        let error = SandboxError::Failed {
            operation: "looking at the image",
            reason: reason.into(),
            fix: Some("make it"),
        };
        let finding = missing(DOCKER, "self-test", &error);
        assert_eq!(finding.detail, format!("looking at the image: {reason}"));
        assert_eq!(finding.fix.as_deref(), Some("make it"));
        let error =
            SandboxError::Barrier { barrier: "b", reason: reason.into(), fix: "do a; or b".into() };
        let finding = missing(NATIVE, "b", &error);
        assert_eq!((finding.detail.as_str(), finding.fix.as_deref()), (reason, Some("do a; or b")));
        assert_eq!(error.to_string(), format!("{reason}; to fix: do a; or b"));
        let finding = missing(NATIVE, "b", &SandboxError::failed("starting", "x; y"));
        assert_eq!(finding.detail, "starting: x; y");
        assert_eq!(finding.fix.as_deref(), Some("see the reason"));
    }
}

//! The Docker sandbox: one container per job, made by a Docker engine, removed afterwards.
//!
//! The engine may be on another machine: everything goes over the attached stream, nothing is
//! mounted or uploaded. Its archive API is not used at all: it reads containers as root on the
//! host and has been the way out of them more than once.

pub(crate) mod confinement;
mod container;
mod spec;
pub(crate) mod versions;

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bollard::{
    Docker,
    query_parameters::{InspectContainerOptions, ListContainersOptions},
};
use jiff::Timestamp;
use sandfleet_common::Isolation;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use self::container::Container;
use super::{
    Description, Outcome, Plan, Sandbox, SandboxError, Watcher, agent,
    conversation::{self, Broken, Heard, Loss},
    policy::Policy,
    users::ReservedUser,
    wait_for_cleanups,
};

/// Labels by which containers are recognised, also by a worker that didn't make them.
pub(crate) mod label {
    pub(crate) const WORKER: &str = "sandfleet.worker";
    pub(crate) const JOB: &str = "sandfleet.job";
    pub(crate) const ATTEMPT: &str = "sandfleet.attempt";
    pub(crate) const DEADLINE: &str = "sandfleet.deadline";
    /// On images: the agent that is in them.
    pub(crate) const AGENT: &str = "org.sandfleet.agent-sha256";
}

/// How long the engine may take for one request. It answers in milliseconds; an engine that is
/// stuck must not take the worker with it.
const DEADLINE: Duration = Duration::from_secs(15);

/// What a container may take beyond its wall time limit before another worker may take it for
/// left behind, in seconds: start, end and artifacts have deadlines that are shorter together.
const SLACK_SECONDS: i64 = 120;

/// For how long a container has to be made and not started, or ended and not removed, to be taken
/// for left behind, in seconds. Its worker needs moments for either.
const IDLE_SECONDS: i64 = 60;

/// How a Docker sandbox is set up.
#[derive(Debug, Clone, PartialEq)]
pub struct DockerConfig {
    /// The engine: `unix:///path` or `tcp://host:port`.
    pub host: String,
    /// The OCI runtime, by the engine's name for it.
    pub runtime: String,
    /// The image of the containers.
    pub image: String,
    /// The first user number for containers.
    pub user_base: u32,
    /// Processors that one program may use.
    pub cpus: f64,
    /// The worker's name.
    pub worker_id: String,
    /// Whether an engine with known holes may be used.
    pub allow_outdated: bool,
    /// The AppArmor profile of the containers; without one it is the engine's own.
    pub apparmor_profile: Option<String>,
}

/// Runs programs in containers of a Docker engine.
pub struct DockerSandbox {
    docker: Docker,
    config: DockerConfig,
    policy: Policy,
    description: Description,
    /// Counts containers, so that those alive at a time hardly ever share a user.
    made: AtomicU32,
    /// Removals that go on when the jobs' futures are gone.
    cleanups: TaskTracker,
}

/// Waits for the engine, but not for ever.
async fn ask<T>(
    operation: &'static str,
    answer: impl Future<Output = Result<T, bollard::errors::Error>>,
) -> Result<T, SandboxError> {
    match timeout(DEADLINE, answer).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(SandboxError::failed(operation, error)),
        Err(_) => {
            let reason = format!("the Docker engine did not answer in {} s", DEADLINE.as_secs());
            Err(SandboxError::failed(operation, reason))
        }
    }
}

impl DockerSandbox {
    /// Connects to the engine and looks at the image.
    ///
    /// # Errors
    /// If the engine can't be reached or has known holes, or the image isn't there or isn't this
    /// worker's.
    pub async fn open(config: DockerConfig) -> Result<Self, SandboxError> {
        let unreachable = |error: &dyn std::fmt::Display| {
            SandboxError::failed(
                "connecting to the Docker engine",
                format!(
                    "{}: {error}; start it, or name another with sandbox.docker_host",
                    config.host
                ),
            )
        };
        let docker = Docker::connect_with_host(&config.host).map_err(|e| unreachable(&e))?;
        // Engines refuse versions newer than their own, and new ones very old versions.
        let docker = timeout(DEADLINE, docker.negotiate_version())
            .await
            .map_err(|_| unreachable(&"no answer in 15 s"))?
            .map_err(|e| unreachable(&e))?;
        let policy = Policy::strict();
        let image_digest = inspect_image(&docker, &config.image).await?;
        confinement::accept(&docker, &config).await?;
        versions::accept(&docker, &config).await?;
        let description = Description {
            backend: "docker",
            runtime: config.runtime.clone(),
            isolation: isolation_of(&config.runtime),
            image: config.image.clone(),
            image_digest: Some(image_digest),
            policy_hash: policy.hash(),
        };
        // Other workers of the same engine count too; they begin somewhere else.
        let made = AtomicU32::new(uuid::Uuid::now_v7().as_fields().0 ^ std::process::id());
        let cleanups = TaskTracker::new();
        Ok(Self { docker, config, policy, description, made, cleanups })
    }
}

impl DockerSandbox {
    /// When a container ended, in Unix seconds; `None` if it is gone meanwhile or runs.
    async fn ended_at(&self, id: &str) -> Result<Option<i64>, SandboxError> {
        let inspect = self.docker.inspect_container(id, None::<InspectContainerOptions>);
        let inspected = match timeout(DEADLINE, inspect).await {
            Ok(Err(bollard::errors::Error::DockerResponseServerError {
                status_code: 404, ..
            })) => return Ok(None),
            Ok(inspected) => ask("inspecting a container", async { inspected }).await?,
            Err(_) => {
                return Err(SandboxError::failed("inspecting a container", "no answer in 15 s"));
            }
        };
        let ended = inspected.state.and_then(|state| state.finished_at);
        Ok(ended.and_then(|at| at.parse::<Timestamp>().ok()).map(|at| at.as_second()))
    }
}

/// How strong a runtime is, by the names that runtimes are installed under.
fn isolation_of(runtime: &str) -> Isolation {
    match runtime {
        name if name.starts_with("runsc") || name.contains("gvisor") => Isolation::GVisor,
        name if name.starts_with("kata") || name.contains("firecracker") => Isolation::MicroVm,
        _ => Isolation::Container,
    }
}

async fn inspect_image(docker: &Docker, name: &str) -> Result<String, SandboxError> {
    let refuse = |reason: String| {
        SandboxError::failed(
            "looking at the image",
            format!(
                "{name}: {reason}; make it with deploy/images/build, or name another with sandbox.image"
            ),
        )
    };
    let image = match timeout(DEADLINE, docker.inspect_image(name)).await {
        Ok(Ok(image)) => image,
        Ok(Err(error)) => return Err(refuse(error.to_string())),
        Err(_) => return Err(refuse("the Docker engine did not answer in 15 s".into())),
    };
    let config = image.config.unwrap_or_default();
    let carried = config.labels.unwrap_or_default().remove(label::AGENT);
    if carried.as_deref() != Some(agent::digest().as_str()) {
        return Err(refuse("it carries another agent than this worker".into()));
    }
    if config.volumes.is_some_and(|volumes| !volumes.is_empty()) {
        return Err(refuse(
            "it declares volumes, which are writable and outlive containers".into(),
        ));
    }
    image.id.ok_or_else(|| refuse("it has no id".into()))
}

#[async_trait]
impl Sandbox for DockerSandbox {
    async fn run(&self, plan: &Plan, watcher: &Watcher<'_>) -> Result<Outcome, SandboxError> {
        let begun = Instant::now();
        let start = self.made.fetch_add(1, Ordering::Relaxed);
        let user = ReservedUser::reserve(self.config.user_base, start)?;
        let seconds = i64::try_from(plan.limits.wall_time_ms / 1000).unwrap_or(i64::MAX);
        let deadline =
            Timestamp::now().as_second().saturating_add(seconds).saturating_add(SLACK_SECONDS);
        let body = spec::lower(&self.policy, &self.config, plan, user.id, deadline);
        let mut container =
            Container::create(&self.docker, &self.cleanups, plan, user, body).await?;
        let started = container.start().await;
        let (from, to) = started.map_err(|error| confinement::explain(error, &self.config))?;

        let mut heard = Heard::default();
        let isolation = self.description.isolation;
        let held =
            conversation::hold(from, to, plan, &self.policy, isolation, &mut heard, watcher).await;
        // The agent may have been killed with the program: then the engine has to know why.
        let loss = match held {
            Err(Broken::Lost) => container.explain_loss(isolation).await?,
            _ => Loss::Unexplained,
        };
        container.remove().await;
        conversation::conclude(held, heard, begun, loss)
    }

    async fn check(&self) -> Result<(), SandboxError> {
        ask("asking the Docker engine", self.docker.ping()).await?;
        inspect_image(&self.docker, &self.config.image).await.map(drop)
    }

    fn description(&self) -> &Description {
        &self.description
    }

    async fn reap(&self) -> Result<usize, SandboxError> {
        let options = ListContainersOptions {
            all: true,
            filters: Some([("label".to_owned(), vec![label::WORKER.to_owned()])].into()),
            ..ListContainersOptions::default()
        };
        let found = ask("listing containers", self.docker.list_containers(Some(options))).await?;
        let now = Timestamp::now().as_second();
        let mut reaped = 0;
        for summary in found {
            let labels = summary.labels.unwrap_or_default();
            let deadline = labels.get(label::DEADLINE).and_then(|text| text.parse().ok());
            let Some(id) = summary.id else { continue };
            let idle_since = match summary.state.map(|state| state.to_string().to_lowercase()) {
                Some(state) if state == "created" => summary.created,
                Some(state) if state == "exited" => self.ended_at(&id).await?,
                _ => None,
            };
            if is_abandoned(deadline, idle_since, now) && container::remove(&self.docker, &id).await
            {
                reaped += 1;
            }
        }
        Ok(reaped)
    }

    async fn close(&self) {
        wait_for_cleanups(&self.cleanups).await;
    }
}

/// Whether a container was left behind: past its deadline, or for so long made and not started, or
/// ended and not removed. Times are Unix seconds.
fn is_abandoned(deadline: Option<i64>, idle_since: Option<i64>, now: i64) -> bool {
    deadline.is_none_or(|deadline| now > deadline)
        || idle_since.is_some_and(|since| now - since > IDLE_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_no_living_worker_can_need_is_abandoned() {
        let now = 1_000_000;
        assert!(!is_abandoned(Some(now), None, now), "running, in time");
        assert!(is_abandoned(Some(now - 1), None, now), "running, past its deadline");
        assert!(!is_abandoned(Some(now + 9), Some(now - IDLE_SECONDS), now), "about to start");
        assert!(is_abandoned(Some(now + 9), Some(now - IDLE_SECONDS - 1), now), "idle too long");
        assert!(is_abandoned(None, None, now), "no deadline");
    }

    #[test]
    fn runtimes_are_as_strong_as_their_kind() {
        assert_eq!(isolation_of("runc"), Isolation::Container);
        assert_eq!(isolation_of("runsc"), Isolation::GVisor);
        assert_eq!(isolation_of("kata-fc"), Isolation::MicroVm);
    }
}

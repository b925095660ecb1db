//! The Docker sandbox: one container per job, made by a Docker engine, removed afterwards.
//!
//! The engine may be on another machine: everything goes over the attached stream, nothing is
//! mounted or uploaded. Its archive API is not used at all: it reads containers as root on the
//! host and has been the way out of them more than once.

pub(crate) mod confinement;
mod container;
mod engine;
mod pool;
mod spec;
pub(crate) mod versions;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bollard::Docker;
use sandfleet_common::Isolation;
use tokio::time::timeout;
use tracing::debug;

use self::{
    container::Running,
    engine::{Engine, ask},
    pool::Pool,
    spec::ContainerKey,
};
use super::{
    Description, Outcome, Plan, Sandbox, SandboxError, Watcher, agent_binary,
    capacity::Capacity,
    policy::Policy,
    session::{self, Loss, SessionContext, SessionError, Transcript},
    wait_for_cleanups,
};

/// Labels by which containers are recognised, also by a worker that didn't make them.
pub(crate) mod label {
    pub(crate) const WORKER: &str = "sandfleet.worker";
    pub(crate) const DEADLINE: &str = "sandfleet.deadline";
    /// On images: the agent that is in them.
    pub(crate) const AGENT: &str = "org.sandfleet.agent-sha256";
}

/// How long the engine may take for one request. It answers in milliseconds; an engine that is
/// stuck must not take the worker with it.
const DEADLINE: Duration = Duration::from_secs(15);

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
    /// How many containers may wait for jobs.
    pub pool_size: usize,
    /// How many programs run at a time.
    pub slots: usize,
}

/// Runs programs in containers of a Docker engine.
pub struct DockerSandbox {
    engine: Arc<Engine>,
    pool: Pool,
    description: Description,
}

impl DockerSandbox {
    /// Connects to the engine and looks at the image.
    ///
    /// # Errors
    /// If the engine can't be reached or has known holes, or the image isn't there or isn't this
    /// worker's.
    pub async fn open(config: DockerConfig) -> Result<Self, SandboxError> {
        let unreachable = |error: &dyn std::fmt::Display| SandboxError::Failed {
            operation: "connecting to the Docker engine",
            reason: format!("{}: {error}", config.host),
            fix: Some("start it, or name another with sandbox.docker_host"),
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
        let pool_size = config.pool_size;
        let engine = Arc::new(Engine::new(docker, config, policy));
        let pool = Pool::new(Arc::clone(&engine), pool_size);
        Ok(Self { engine, pool, description })
    }

    /// Runs a program in a container that has been waiting, or in one that is made now.
    async fn serve(
        &self,
        plan: &Plan,
        watcher: &Watcher<'_>,
        begun: Instant,
    ) -> Result<Outcome, SandboxError> {
        let key = ContainerKey::of(&plan.limits);
        let mut waiting = self.pool.take(key);
        loop {
            let was_waiting = waiting.is_some();
            let failures = self.pool.failures();
            let mut transcript = Transcript::default();
            let mut running = match waiting.take() {
                Some(waiting) => {
                    transcript.hello = Some(waiting.hello);
                    waiting.running
                }
                None => self.engine.start(key).await?,
            };
            let container = running.container.id();
            debug!(job = %plan.job_id, attempt = plan.attempt, container, was_waiting, "has a container");
            let (from, to) = (&mut running.from, &mut running.to);
            let isolation = self.description.isolation;
            let policy = &self.engine.policy;
            let cpus = self.engine.config.cpus;
            let context =
                SessionContext { plan, policy, isolation, cpus, watcher, transport: &*self.engine };
            let held = session::run(from, to, &context, &mut transcript).await;
            let Running { container, from, to } = running;
            // Whoever hears nobody any more ends.
            drop((from, to));
            if held.is_ok() {
                container.leave().await;
                if !was_waiting {
                    self.pool.trust(failures);
                }
                return session::conclude(held, transcript, begun, Loss::Unexplained);
            }
            let loss = match held {
                // The agent may have been killed with the program: then the engine has to know why.
                Err(SessionError::Lost) => container.explain_loss(isolation).await?,
                _ => Loss::Unexplained,
            };
            container.remove().await;
            let is_lost = matches!(held, Err(SessionError::Lost)) && loss == Loss::Unexplained;
            if was_waiting && is_lost && transcript.started.is_none() {
                // It went while it waited, before it said that the program runs: the job hasn't had
                // its attempt. Others may have gone with it.
                self.pool.distrust();
                continue;
            }
            return session::conclude(held, transcript, begun, loss);
        }
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
    let refuse = |reason: String| SandboxError::Failed {
        operation: "looking at the image",
        reason: format!("{name}: {reason}"),
        fix: Some("make it with deploy/images/build, or name another with sandbox.image"),
    };
    let image = match timeout(DEADLINE, docker.inspect_image(name)).await {
        Ok(Ok(image)) => image,
        Ok(Err(error)) => return Err(refuse(error.to_string())),
        Err(_) => return Err(refuse("the Docker engine did not answer in 15 s".into())),
    };
    let config = image.config.unwrap_or_default();
    let carried = config.labels.unwrap_or_default().remove(label::AGENT);
    if carried.as_deref() != Some(agent_binary::digest().as_str()) {
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
        let _place = self.engine.removals.capacity.enter().await?;
        let served = self.serve(plan, watcher, begun).await;
        if served.is_err() {
            self.pool.distrust();
        }
        served
    }

    async fn check(&self) -> Result<(), SandboxError> {
        ask("asking the Docker engine", self.engine.docker.ping()).await?;
        inspect_image(&self.engine.docker, &self.engine.config.image).await.map(drop)
    }

    fn description(&self) -> &Description {
        &self.description
    }

    async fn reap(&self) -> Result<usize, SandboxError> {
        self.engine.reap().await
    }

    async fn close(&self) {
        self.pool.close();
        wait_for_cleanups(&self.engine.removals.tasks).await;
    }

    fn capacity(&self) -> Option<&Arc<Capacity>> {
        Some(&self.engine.removals.capacity)
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

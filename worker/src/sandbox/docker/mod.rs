//! The Docker sandbox: one container per job, made by a Docker engine, removed afterwards.
//!
//! The engine may be on another machine: everything goes over the attached stream, nothing is
//! mounted or uploaded. Its archive API is not used at all: it reads containers as root on the
//! host and has been the way out of them more than once.

mod config;
pub(crate) mod confinement;
mod container;
mod engine;
pub(crate) mod image;
pub(crate) mod label;
mod load;
mod pool;
mod request;
mod spec;
pub(crate) mod versions;

use std::{sync::Arc, time::Instant};

use async_trait::async_trait;
use bollard::Docker;
use tokio::time::timeout;
use tracing::debug;

pub use self::config::DockerConfig;
pub(crate) use self::load::load;

use self::{
    container::Running,
    engine::Engine,
    image::Images,
    pool::Pool,
    request::{DEADLINE, ask},
    spec::ContainerKey,
};
use crate::labels::PoolEvent;

use super::{
    Description, LiveInput, Outcome, Plan, RootTree, Sandbox, SandboxError, Watcher,
    capacity::Capacity,
    policy::Policy,
    processors::ProcessorPool,
    session::{self, Ending, Loss, SessionContext, SessionError, Transcript},
    wait_for_cleanups,
};

/// Runs programs in containers of a Docker engine.
pub struct DockerSandbox {
    engine: Arc<Engine>,
    pool: Pool,
    processors: Arc<ProcessorPool>,
    images: Images,
    description: Description,
}

impl DockerSandbox {
    /// Connects to the engine and looks at the images.
    ///
    /// # Errors
    /// If the engine can't be reached or has known vulnerabilities, or the image isn't there or isn't this
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
        let images = Images::find(&docker, &config).await?;
        let RootTree { image, digest: image_digest } = images.require("")?.root;
        confinement::accept(&docker, &config).await?;
        versions::accept(&docker, &config).await?;
        let description = Description {
            backend: "docker",
            runtime: config.runtime.clone(),
            isolation: config.isolation(),
            image,
            image_digest,
            policy_hash: policy.hash(),
        };
        let pool_size = config.pool_size;
        let engine = Arc::new(Engine::new(docker, config, policy));
        let pool = Pool::new(Arc::clone(&engine), pool_size);
        let processors = ProcessorPool::new(engine.config.cpus);
        Ok(Self { engine, pool, processors, images, description })
    }

    async fn place_and_serve(
        &self,
        plan: &Plan,
        watcher: &Watcher<'_>,
        input: Option<&LiveInput>,
    ) -> Result<Outcome, SandboxError> {
        let begun = Instant::now();
        let capacity = &self.engine.removals.capacity;
        let _place = match input {
            // Of two programs that wait for each other neither may wait for a place.
            Some(_) => capacity.hold(),
            None => capacity.enter().await?,
        };
        let served = self.serve(plan, watcher, input, begun).await;
        if served.is_err() {
            self.pool.distrust();
        }
        served
    }

    /// Runs a program in a container that was started ahead, or in a new one.
    async fn serve(
        &self,
        plan: &Plan,
        watcher: &Watcher<'_>,
        input: Option<&LiveInput>,
        begun: Instant,
    ) -> Result<Outcome, SandboxError> {
        let image = self.images.require(&plan.image)?;
        let key = ContainerKey::of(&image.id, &plan.limits);
        let mut waiting = self.pool.take(&key);
        let observer = &self.engine.config.observer;
        loop {
            let was_waiting = waiting.is_some();
            observer.pool(if was_waiting { PoolEvent::Hit } else { PoolEvent::Miss });
            let failures = self.pool.failures();
            let mut transcript = Transcript::default();
            let mut running = match waiting.take() {
                Some(waiting) => {
                    transcript.hello = Some(waiting.hello);
                    waiting.running
                }
                None => self.engine.start(&key).await?,
            };
            let container = running.container.id();
            debug!(job = %plan.job_id, container, was_waiting, "has a container");
            let (from, to) = (&mut running.from, &mut running.to);
            let isolation = self.description.isolation;
            let policy = &self.engine.policy;
            let cpus = self.engine.config.cpus;
            let processors = self.processors.take();
            let context = SessionContext {
                plan,
                policy,
                isolation,
                cpus,
                processors: processors.places(),
                watcher,
                transport: &*self.engine,
                input,
            };
            let held = session::run(from, to, &context, &mut transcript).await;
            let Running { container, from, to } = running;
            // An agent whose connection is closed exits.
            drop((from, to));
            if held.is_ok() {
                container.leave().await;
                if !was_waiting {
                    self.pool.trust(failures);
                }
                let ending = Ending::new(begun, Loss::Unexplained);
                return seen(image.root, session::conclude(held, transcript, ending));
            }
            let loss = match held {
                // The agent may have been killed with the program: then the engine has to know why.
                Err(SessionError::Lost) => container.explain_loss(isolation).await?,
                _ => Loss::Unexplained,
            };
            container.remove().await;
            let is_lost = matches!(held, Err(SessionError::Lost)) && loss == Loss::Unexplained;
            // Its input may have gone with it.
            if was_waiting && is_lost && transcript.started.is_none() && input.is_none() {
                // It died while it waited, before the program ran: the job hasn't had its attempt. Others may
                // have died with it.
                observer.pool(PoolEvent::Died);
                self.pool.distrust();
                continue;
            }
            let ending = Ending::new(begun, loss);
            return seen(image.root, session::conclude(held, transcript, ending));
        }
    }
}

/// What came of a program that saw `root`.
fn seen(root: RootTree, concluded: Result<Outcome, SandboxError>) -> Result<Outcome, SandboxError> {
    concluded.map(|outcome| Outcome { root, ..outcome })
}

#[async_trait]
impl Sandbox for DockerSandbox {
    async fn run(&self, plan: &Plan, watcher: &Watcher<'_>) -> Result<Outcome, SandboxError> {
        self.place_and_serve(plan, watcher, None).await
    }

    async fn run_live(
        &self,
        plan: &Plan,
        watcher: &Watcher<'_>,
        input: &LiveInput,
    ) -> Result<Outcome, SandboxError> {
        self.place_and_serve(plan, watcher, Some(input)).await
    }

    async fn check(&self) -> Result<(), SandboxError> {
        ask("asking the Docker engine", self.engine.docker.ping()).await?;
        self.images.refresh(&self.engine.docker).await
    }

    fn root_tree(&self, image: &str) -> Option<RootTree> {
        self.images.get(image).map(|image| image.root)
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

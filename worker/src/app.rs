//! Builds a fleet worker from the settings (`work`). What the modules need of each other is connected here.

use std::{path::Path, sync::Arc, time::Duration};

use jiff::Timestamp;
use sandfleet_common::{Isolation, PROTOCOL_MINOR, PROTOCOL_VERSION, Priority, WorkerInfo};
use sandfleet_sdk::ClientConfig;
use sandfleet_transport::{
    QueueLimits, Tls,
    records::{RedisConfig, RedisStore, Store, TenantLimiter},
};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::{
    admission::{
        Admission,
        catalogue::{Catalogue, WarmStart},
        peers::Peers,
    },
    config::{Backend, QueueSettings, Settings, StoreSettings},
    hooks::Hooks,
    host::memory::{self, HostMemory},
    metrics::{Metrics, MetricsHooks},
    pipeline::{Pipeline, PipelineConfig, exclusive_gate::ExclusiveGate},
    queue::{AmqpConfig, AmqpQueue, DeadLetters, LimitedQueue, Queue},
    sandbox::{
        Description, Sandbox, SandboxError,
        docker::{DockerConfig, DockerSandbox},
        health::HealthTracked,
        native::{NativeConfig, NativeSandbox},
        policy::Policy,
        self_test,
    },
    services::{
        admin, dead_letter_handler::DeadLetterHandler, heartbeat::send_heartbeats,
        reaper::reap_regularly,
    },
    shutdown::Shutdown,
};

/// What a worker logs once it takes jobs; tests wait for it.
pub const READY: &str = "ready for jobs";

/// The first pause before a job that the fleet failed is tried again.
const RETRY_DELAY: Duration = Duration::from_millis(250);

/// Opens the sandbox that `backend` names.
///
/// # Errors
/// Names the barrier or the service that is missing.
pub async fn open_sandbox(
    backend: Backend,
    settings: &Settings,
) -> Result<Arc<dyn Sandbox>, SandboxError> {
    let sandbox: Arc<dyn Sandbox> = match backend {
        Backend::Native => Arc::new(NativeSandbox::open(native_config(settings)).await?),
        Backend::Docker => Arc::new(DockerSandbox::open(docker_config(settings)).await?),
    };
    let memory = HostMemory::new("/proc", least_available(backend, settings));
    Ok(Arc::new(HealthTracked::new(sandbox, Arc::new(memory))))
}

/// Below how much available memory the sandbox's host is short; 0 where that is another machine.
fn least_available(backend: Backend, settings: &Settings) -> u64 {
    match is_here(backend, settings) {
        true => settings.worker.min_available_bytes,
        false => 0,
    }
}

/// Whether programs run on this machine.
pub fn is_here(backend: Backend, settings: &Settings) -> bool {
    backend == Backend::Native || settings.sandbox.docker_host.starts_with("unix:")
}

/// Looks whether this host has the memory for every slot.
fn reserve_memory(backend: Backend, settings: &Settings) -> Result<(), WorkError> {
    if !is_here(backend, settings) {
        return Ok(());
    }
    match memory::reserve(Path::new("/proc"), settings, &settings.limits.largest()) {
        Ok(_) => {}
        Err(reason) if settings.worker.require_memory => return Err(WorkError::Memory(reason)),
        Err(reason) => warn!(reason, "this host may run out of memory"),
    }
    Ok(())
}

/// The native sandbox's part of the settings.
pub fn native_config(settings: &Settings) -> NativeConfig {
    NativeConfig {
        cgroup_parent: settings
            .sandbox
            .cgroup_parent
            .as_ref()
            .map_or_else(String::new, |path| path.to_string_lossy().into_owned()),
        user_base: settings.sandbox.uid_base,
        cpus: settings.sandbox.cpus,
        warm: warm_starts(settings),
        slots: settings.worker.slots,
    }
}

/// The interpreters that may be started ahead.
fn warm_starts(settings: &Settings) -> Vec<WarmStart> {
    if !settings.sandbox.warm {
        return Vec::new();
    }
    let mut starts = Catalogue::embedded().warm_starts();
    starts.iter_mut().for_each(|start| start.vfork = settings.sandbox.warm_vfork);
    starts
}

/// The Docker sandbox's part of the settings.
pub fn docker_config(settings: &Settings) -> DockerConfig {
    DockerConfig {
        host: settings.sandbox.docker_host.clone(),
        runtime: settings.sandbox.runtime.clone(),
        image: settings.sandbox.image.clone(),
        user_base: settings.sandbox.uid_base,
        cpus: settings.sandbox.cpus,
        worker_id: settings.worker.id.clone(),
        allow_outdated: settings.sandbox.allow_outdated_engine,
        apparmor_profile: settings.sandbox.apparmor_profile.clone(),
        pool_size: settings.sandbox.docker_pool_size,
        slots: settings.worker.slots,
    }
}

/// What a worker with `settings` offers.
pub fn admission(settings: &Settings, isolation: Isolation) -> Admission {
    Admission {
        max_job_bytes: settings.jobs.max_bytes,
        default_limits: settings.limits.default.clone(),
        max_limits: settings.limits.max.clone(),
        compile_limits: settings.limits.compile.clone(),
        catalogue: Catalogue::embedded(),
        isolation,
    }
}

/// The numbers that a worker with `settings` works by.
pub fn pipeline_config(settings: &Settings) -> PipelineConfig {
    PipelineConfig {
        worker_id: settings.worker.id.clone(),
        max_attempts: settings.worker.max_attempts,
        lease: Duration::from_millis(settings.worker.lease_ms),
        result_ttl: Duration::from_millis(settings.store.result_ttl_ms),
        retry_delay: RETRY_DELAY,
    }
}

/// Certificates for the broker.
pub fn queue_tls(settings: &Settings) -> Tls {
    let QueueSettings { ca_file, certificate_file, key_file, .. } = settings.queue.clone();
    Tls { ca_file, certificate_file, key_file }
}

/// Certificates for the store.
pub fn store_tls(settings: &Settings) -> Tls {
    let StoreSettings { ca_file, certificate_file, key_file, .. } = settings.store.clone();
    Tls { ca_file, certificate_file, key_file }
}

/// When the fleet's queues are full.
pub fn queue_limits(settings: &Settings) -> QueueLimits {
    QueueLimits { jobs: settings.queue.max_jobs, bytes: settings.queue.max_bytes }
}

/// How a producer with these settings finds its fleet.
pub fn client_config(settings: &Settings) -> ClientConfig {
    ClientConfig {
        amqp_url: settings.queue.url.reveal().to_owned(),
        amqp_tls: queue_tls(settings),
        redis_url: settings.store.url.reveal().to_owned(),
        redis_tls: store_tls(settings),
        prefix: settings.queue.prefix.clone(),
        queue_limits: queue_limits(settings),
        store_prefix: Some(settings.store.prefix.clone()),
        max_job_bytes: settings.jobs.max_bytes,
        dedup_ttl: Duration::from_millis(settings.store.dedup_ttl_ms),
        result_ttl: Duration::from_millis(settings.store.result_ttl_ms),
        ..ClientConfig::default()
    }
}

/// The store's part of the settings.
pub fn redis_config(settings: &Settings) -> RedisConfig {
    RedisConfig {
        url: settings.store.url.reveal().to_owned(),
        tls: store_tls(settings),
        prefix: settings.store.prefix.clone(),
        dedup_ttl: Duration::from_millis(settings.store.dedup_ttl_ms),
        max_wait: Duration::from_millis(settings.queue.max_wait_ms),
        ..RedisConfig::default()
    }
}

fn worker_info(settings: &Settings, sandbox: &Description) -> WorkerInfo {
    WorkerInfo {
        worker_id: settings.worker.id.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        backend: sandbox.backend.into(),
        isolation: sandbox.isolation,
        languages: Catalogue::embedded().names().into_iter().map(str::to_owned).collect(),
        priorities: Priority::ALL.to_vec(),
        protocol_version: PROTOCOL_VERSION,
        protocol_minor: PROTOCOL_MINOR,
        max_job_bytes: settings.jobs.max_bytes,
        slots: settings.worker.slots,
        busy: 0,
        stopping: false,
        started_at: Timestamp::now(),
    }
}

/// Why a worker can't start, or go on.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// Its sandbox isn't there or isn't complete.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// A service's address or its own is unusable.
    #[error("{0}")]
    Unavailable(String),
    /// This host has less memory than its slots may hold.
    #[error("{0}; or let worker.require_memory be false")]
    Memory(String),
    /// All its slots hold something that can't be ended.
    #[error("{0}")]
    Stuck(String),
}

/// How long the start may wait for the store to know of this worker.
const ANNOUNCE_DEADLINE: Duration = Duration::from_secs(1);

/// When a worker stops by itself, in order: its supervisor starts another.
#[derive(Debug, Clone, Copy, Default)]
pub struct DrainAfter {
    /// After it took jobs for so long.
    pub time: Option<Duration>,
    /// After it took so many.
    pub jobs: Option<u64>,
}

/// Works until the process is told to stop, or it is time to: takes jobs from the broker, runs them, stores their
/// results.
///
/// # Errors
/// At the start, or when no slot is left that anything can be run in. A service that goes away later is
/// waited for.
pub async fn work(
    backend: Backend,
    settings: &Settings,
    until: DrainAfter,
) -> Result<(), WorkError> {
    let unavailable = |error: &dyn std::fmt::Display| WorkError::Unavailable(error.to_string());
    reserve_memory(backend, settings)?;
    let sandbox = open_sandbox(backend, settings).await?;
    // A sandbox that can't run anything is known before the first job is taken.
    self_test(sandbox.as_ref()).await?;
    let isolation = sandbox.description().isolation;
    let redis = redis_config(settings);
    let lease = Duration::from_millis(settings.worker.lease_ms);
    let tenant_limiter = (settings.jobs.max_running_per_tenant > 0)
        .then(|| TenantLimiter::connect(&redis, settings.jobs.max_running_per_tenant, lease))
        .transpose()
        .map_err(|error| unavailable(&error))?;
    let redis = Arc::new(RedisStore::connect(redis).map_err(|error| unavailable(&error))?);
    let store: Arc<dyn Store> = Arc::clone(&redis) as _;
    let amqp = AmqpConfig {
        url: settings.queue.url.reveal().to_owned(),
        tls: queue_tls(settings),
        prefix: settings.queue.prefix.clone(),
        name: format!("sandfleet worker {}", settings.worker.id),
        slots: settings.worker.slots,
        limits: queue_limits(settings),
        // What is isolated more strongly than asked for is isolated well enough.
        isolations: Isolation::ALL.iter().copied().filter(|asked| *asked <= isolation).collect(),
        priorities: Priority::ALL.to_vec(),
    };
    let letters = DeadLetters::connect(&amqp).map_err(|error| unavailable(&error))?;
    let queue: Arc<dyn Queue> =
        Arc::new(AmqpQueue::connect(amqp).map_err(|error| unavailable(&error))?);
    let memory = sandbox.host_memory().map(Arc::clone);
    let queue = Arc::new(LimitedQueue::new(queue, until.jobs.unwrap_or(u64::MAX), memory));
    let used_up = {
        let queue = Arc::clone(&queue);
        async move { queue.used_up().await }
    };
    let queue: Arc<dyn Queue> = queue;
    let metrics = Metrics::new(settings.worker.slots, Catalogue::embedded().names());
    let metrics = Arc::new(metrics.map_err(|error| unavailable(&error))?);
    let shutdown = Shutdown::default();
    let admin = admin::open(settings, &metrics, (&queue, &store, &sandbox), &shutdown)
        .await
        .map_err(WorkError::Unavailable)?;
    let reaper = tokio::spawn(reap_regularly(Arc::clone(&sandbox), shutdown.clone()));
    let hooks: Arc<dyn Hooks> = Arc::new(MetricsHooks(Arc::clone(&metrics)));
    let dead_letter_handler = DeadLetterHandler {
        letters,
        store: Arc::clone(&store),
        hooks: Arc::clone(&hooks),
        worker_id: settings.worker.id.clone(),
        result_ttl: Duration::from_millis(settings.store.result_ttl_ms),
        max_job_bytes: settings.jobs.max_bytes,
        shutdown: shutdown.clone(),
    };
    let dead_letter_handler = tokio::spawn(dead_letter_handler.serve());
    let info = worker_info(settings, sandbox.description());
    // Known before it is ready, so that no client is told that there are no live workers. A store that is
    // away is waited for later.
    let _ = timeout(ANNOUNCE_DEADLINE, redis.announce(&info)).await;
    let peers = Some(Peers::of(Arc::clone(&redis)));
    let presence = send_heartbeats(redis, info, move || metrics.slots_busy(), shutdown.clone());
    let presence = tokio::spawn(presence);

    let pipeline = Arc::new(Pipeline {
        queue: Arc::clone(&queue),
        store,
        sandbox: Arc::clone(&sandbox),
        tenant_limiter,
        peers,
        hooks,
        admission: admission(settings, isolation),
        policy: Policy::strict(),
        config: pipeline_config(settings),
        exclusive_gate: ExclusiveGate::default(),
        shutdown: shutdown.clone(),
    });
    info!(
        worker = %settings.worker.id,
        slots = settings.worker.slots,
        backend = sandbox.description().backend,
        isolation = isolation.as_str(),
        "{READY}"
    );
    let serving = tokio::spawn(pipeline.serve(settings.worker.slots));
    let exhausted = async {
        match sandbox.capacity() {
            Some(capacity) => capacity.exhausted().await,
            None => std::future::pending().await,
        }
    };
    let mut stuck = None;
    let enough = async {
        tokio::select! {
            () = used_up => "it has had all the jobs that it was to take".into(),
            () = after(until.time) => "its time is over".into(),
            why = exhausted => stuck.insert(why).clone(),
        }
    };
    let grace = Duration::from_millis(settings.worker.grace_ms);
    let stopped = shutdown.in_order(serving, queue.as_ref(), grace, enough).await;
    sandbox.close().await;
    for task in [reaper, dead_letter_handler, presence].into_iter().chain(admin) {
        if let Err(error) = task.await {
            warn!(%error, "a task ended abnormally");
        }
    }
    info!("stopped");
    match stuck {
        Some(reason) => Err(WorkError::Stuck(reason)),
        None => stopped.map_err(WorkError::Unavailable),
    }
}

async fn after(time: Option<Duration>) {
    match time {
        Some(time) => sleep(time).await,
        None => std::future::pending().await,
    }
}

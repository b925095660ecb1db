//! Makes each part's configuration from the settings: the settings and the parts meet only here and in `work`.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use sandfleet_common::{
    Isolation, PROTOCOL_MINOR, PROTOCOL_VERSION, Priority, TraceContext, WorkerInfo,
};
use sandfleet_sdk::ClientConfig;
use sandfleet_transport::{QueueLimits, Tls, audit::AuditConfig, records::RedisConfig};

use crate::{
    admission::{Admission, catalogue::WarmStart},
    backend::{self, Resolved},
    config::{
        Backend, BackendChoice, ImagesSettings, QueueSettings, Settings, StoreSettings,
        TracingSettings,
    },
    hooks::Observer,
    host::memory::HostMemory,
    images::ImagesConfig,
    pipeline::PipelineConfig,
    queue::AmqpConfig,
    sandbox::{
        Description, Sandbox, SandboxError,
        docker::{DockerConfig, DockerSandbox},
        health::HealthTracked,
        native::{NativeConfig, NativeSandbox},
        self_test,
    },
    traces::{Collector, ExporterConfig, text},
};

/// The first pause before a job that the fleet failed is tried again.
const RETRY_DELAY: Duration = Duration::from_millis(250);

/// Opens the sandbox that `backend` names, which tells `observer` of what happens in it beside jobs.
///
/// # Errors
/// Names the barrier or the service that is missing.
pub async fn open_sandbox(
    backend: Backend,
    settings: &Settings,
    observer: Observer,
) -> Result<Arc<dyn Sandbox>, SandboxError> {
    let sandbox: Arc<dyn Sandbox> = match backend {
        Backend::Native => Arc::new(
            NativeSandbox::open(NativeConfig { observer, ..native_config(settings) }).await?,
        ),
        Backend::Docker => Arc::new(
            DockerSandbox::open(DockerConfig { observer, ..docker_config(settings) }).await?,
        ),
    };
    let memory = HostMemory::new("/proc", least_available(backend, settings));
    Ok(Arc::new(HealthTracked::new(sandbox, Arc::new(memory))))
}

/// Opens the sandbox that `choice` comes to on this host, and runs the smallest program in it: one that can't run
/// anything is known before the first job.
///
/// # Errors
/// As [`open_sandbox`]; where neither can be used, of both.
pub async fn open_chosen_sandbox(
    choice: BackendChoice,
    settings: &Settings,
    observer: Observer,
) -> Result<Resolved<Arc<dyn Sandbox>>, SandboxError> {
    let settings = &backend::settings_for(choice, settings);
    let tried = async |backend| {
        let sandbox = open_sandbox(backend, settings, observer.clone()).await?;
        if let Err(error) = self_test(sandbox.as_ref()).await {
            sandbox.close().await;
            return Err(error);
        }
        Ok(sandbox)
    };
    backend::resolve(choice, tried(Backend::Native), tried(Backend::Docker)).await
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
        images: Some(settings.images.directory.clone()),
        slots: settings.worker.slots,
        observer: Observer::default(),
    }
}

/// The interpreters that may be started ahead.
fn warm_starts(settings: &Settings) -> Vec<WarmStart> {
    if !settings.sandbox.warm {
        return Vec::new();
    }
    let mut starts = settings.catalogue.warm_starts();
    starts.iter_mut().for_each(|start| start.vfork = settings.sandbox.warm_vfork);
    starts
}

/// The Docker sandbox's part of the settings.
pub fn docker_config(settings: &Settings) -> DockerConfig {
    DockerConfig {
        host: settings.sandbox.docker_host.clone(),
        runtime: settings.sandbox.runtime.clone(),
        image: settings.sandbox.image.clone(),
        images: settings.catalogue.images().into_iter().map(str::to_owned).collect(),
        user_base: settings.sandbox.uid_base,
        cpus: settings.sandbox.cpus,
        worker_id: settings.worker.id.clone(),
        allow_outdated: settings.sandbox.allow_outdated_engine,
        apparmor_profile: settings.sandbox.apparmor_profile.clone(),
        pool_size: settings.sandbox.docker_pool_size,
        slots: settings.worker.slots,
        observer: Observer::default(),
    }
}

/// Where images are, and what they are made from.
pub fn images_config(settings: &Settings) -> ImagesConfig {
    let ImagesSettings { directory, definitions_directory, debian_mirror, security_mirror } =
        settings.images.clone();
    ImagesConfig { directory, definitions: definitions_directory, debian_mirror, security_mirror }
}

/// What a worker with `settings` offers.
pub fn admission(settings: &Settings, isolation: Isolation) -> Admission {
    Admission {
        max_job_bytes: settings.jobs.max_bytes,
        default_limits: settings.limits.default.clone(),
        max_limits: settings.limits.max.clone(),
        compile_limits: settings.limits.compile.clone(),
        catalogue: settings.catalogue.clone(),
        max_tests: settings.jobs.max_tests,
        job_wall_time_ms: match settings.jobs.job_wall_time_ms {
            0 => settings.queue.consumer_timeout_ms / 3,
            set => set,
        },
        cpus: settings.sandbox.cpus,
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
        tenant_users: settings.jobs.tenant_users.clone(),
        budgets: settings.jobs.budgets.clone(),
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
        audit_entries: settings.audit.entries,
        audit_file: settings.audit.file.clone(),
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
        usage_ttl: Duration::from_millis(settings.store.usage_ttl_ms),
        audit: AuditConfig {
            entries: settings.audit.entries,
            file: settings.audit.file.clone(),
            broker_url: settings.queue.url.reveal().to_owned(),
        },
        ..RedisConfig::default()
    }
}

/// What spans are exported, and where to: nothing without an endpoint. Jobs whose message names no trace are children of
/// `parent`, if there is one.
///
/// # Errors
/// One sentence, if the collector's address or headers are unusable.
pub fn exporter_config(
    settings: &Settings,
    parent: Option<TraceContext>,
) -> Result<Option<ExporterConfig>, String> {
    let tracing = &settings.tracing;
    let Some(endpoint) = &tracing.endpoint else { return Ok(None) };
    let TracingSettings { ca_file, certificate_file, key_file, .. } = tracing.clone();
    let tls = Tls { ca_file, certificate_file, key_file };
    let collector = Collector::new(endpoint.reveal(), tracing.headers.reveal(), tls)
        .map_err(|error| format!("tracing.endpoint = {endpoint} is unusable: {error}"))?;
    let resource = vec![
        ("service.name", text(&tracing.service_name)),
        ("service.instance.id", text(&settings.worker.id)),
        ("service.version", text(env!("CARGO_PKG_VERSION"))),
    ];
    Ok(Some(ExporterConfig { collector, resource, ratio: tracing.sampling_ratio, parent }))
}

/// The queue's part of the settings, of a worker that gives `isolation`.
pub fn amqp_config(settings: &Settings, isolation: Isolation) -> AmqpConfig {
    AmqpConfig {
        url: settings.queue.url.reveal().to_owned(),
        tls: queue_tls(settings),
        prefix: settings.queue.prefix.clone(),
        name: format!("sandfleet worker {}", settings.worker.id),
        slots: settings.worker.slots,
        limits: queue_limits(settings),
        // What is isolated more strongly than asked for is isolated well enough.
        isolations: Isolation::ALL.iter().copied().filter(|asked| *asked <= isolation).collect(),
        priorities: Priority::ALL.to_vec(),
        worker_users: settings.queue.worker_users.0.clone(),
    }
}

/// What a worker with `settings` says of itself.
pub fn worker_info(settings: &Settings, sandbox: &Description) -> WorkerInfo {
    WorkerInfo {
        worker_id: settings.worker.id.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        backend: sandbox.backend.into(),
        isolation: sandbox.isolation,
        languages: settings.catalogue.all_names().map(str::to_owned).collect(),
        priorities: Priority::ALL.to_vec(),
        protocol_version: PROTOCOL_VERSION,
        protocol_minor: PROTOCOL_MINOR,
        max_job_bytes: settings.jobs.max_bytes,
        slots: settings.worker.slots,
        busy: 0,
        stopping: false,
        ready: true,
        started_at: Timestamp::now(),
    }
}

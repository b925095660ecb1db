//! A worker process from its start to its end: puts the parts together, waits until they work, and serves.

use std::{path::Path, sync::Arc, time::Duration};

use sandfleet_transport::{
    Refusal,
    records::{RedisStore, Store, TenantLimiter},
};
use tokio::{
    sync::{Notify, Semaphore, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tracing::{info, warn};

use crate::{
    admission::{installed, peers::Peers},
    app,
    backend::Resolved,
    config::{Backend, BackendChoice, Settings},
    hooks::{Hooks, Observer},
    host::memory,
    metrics::{Metrics, MetricsHooks},
    pipeline::{Pipeline, compile_cache::CompileCache, exclusive_gate::ExclusiveGate},
    queue::{AmqpConfig, AmqpQueue, DeadLetterStatus, DeadLetters, Gate, LimitedQueue, Queue},
    sandbox::{Sandbox, SandboxError, policy::Policy},
    services::{
        admin,
        audit::note_worker,
        certificates,
        dead_letter_handler::DeadLetterHandler,
        heartbeat::send_heartbeats,
        job_log::{HistoryWriter, JobLog},
        log_loss::{self, LostLines},
        readiness::{self, Readiness},
        reaper::reap_regularly,
        switches::follow_switches,
        taken_jobs::note_taken_jobs,
        timed_store::TimedStore,
    },
    shutdown::{Shutdown, Signals},
    traces::{Exporter, Tracer},
};

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
    /// Its broker or store refused it for all of worker.refusal_timeout_ms.
    #[error("{1}")]
    Refused(Refusal, String),
}

/// Works until the process is told to stop, or it is time to: takes jobs from the broker, runs them, stores their
/// results. `lost_lines` of the log are counted.
///
/// # Errors
/// At the start, or when no slot is left that anything can be run in. A service that goes away later is
/// waited for.
pub async fn work(
    choice: BackendChoice,
    settings: &Settings,
    until: DrainAfter,
    lost_lines: LostLines,
) -> Result<(), WorkError> {
    let mut signals = Signals::listen();
    let metrics = Metrics::new(
        settings.worker.slots,
        settings.catalogue.names(),
        settings.admin.metrics_tenants,
    );
    let metrics = Arc::new(metrics.map_err(unavailable)?);
    let hooks: Arc<dyn Hooks> = Arc::new(MetricsHooks(Arc::clone(&metrics)));
    let Resolved { backend, made: sandbox, why } = tokio::select! {
        opened = app::open_chosen_sandbox(choice, settings, Observer(Arc::clone(&hooks))) => opened?,
        () = signals.next() => {
            info!("stopped before it began");
            return Ok(());
        }
    };
    let installed = tokio::select! {
        looked = with_installed(settings, sandbox.as_ref()) => looked.map(Some),
        () = signals.next() => Ok(None),
    };
    let settings = &match installed {
        Ok(Some(settings)) => settings,
        Ok(None) => {
            info!("stopped before it began");
            sandbox.close().await;
            return Ok(());
        }
        Err(error) => {
            sandbox.close().await;
            return Err(error.into());
        }
    };
    let description = sandbox.description();
    metrics.set_sandbox(description.backend, description.isolation.as_str());
    info!(
        worker = %settings.worker.id,
        slots = settings.worker.slots,
        backend = description.backend,
        isolation = description.isolation.as_str(),
        why,
        languages = settings.catalogue.names().join(" "),
        "the sandbox works; connecting"
    );
    let shutdown = Shutdown::default();
    let worker = reserve_memory(backend, settings)
        .and_then(|()| app::exporter_config(settings, None).map_err(WorkError::Unavailable))
        .and_then(|export| {
            let observer = Observer(Arc::clone(&hooks));
            let started = export.map(|config| Exporter::start(config, observer));
            let (tracer, exporter) = started.unzip();
            tokio::spawn(log_loss::watch(lost_lines, Arc::clone(&metrics), shutdown.clone()));
            let parts = (metrics, hooks, tracer.unwrap_or_default());
            let worker = Worker::new(settings, &sandbox, until, parts, shutdown.clone())?;
            Ok((worker, exporter))
        });
    let worked = match worker {
        Ok((worker, exporter)) => {
            let worked = worker.run(&mut signals).await;
            if let Some(exporter) = exporter {
                exporter.finish().await;
            }
            worked
        }
        Err(error) => Err(error),
    };
    shutdown.abort();
    sandbox.close().await;
    info!("stopped");
    worked
}

/// Offers the languages that the sandbox has.
async fn with_installed(
    settings: &Settings,
    sandbox: &dyn Sandbox,
) -> Result<Settings, SandboxError> {
    let mut settings = settings.clone();
    settings.catalogue = installed::in_sandbox(sandbox, &settings.catalogue).await?;
    Ok(settings)
}

/// Looks whether this host has the memory for every slot.
fn reserve_memory(backend: Backend, settings: &Settings) -> Result<(), WorkError> {
    if !app::is_here(backend, settings) {
        return Ok(());
    }
    match memory::reserve(Path::new("/proc"), settings, &settings.limits.largest()) {
        Ok(_) => {}
        Err(reason) if settings.worker.require_memory => return Err(WorkError::Memory(reason)),
        Err(reason) => warn!(reason, "this host may run out of memory"),
    }
    Ok(())
}

/// A worker whose sandbox works.
struct Worker<'a> {
    settings: &'a Settings,
    sandbox: &'a Arc<dyn Sandbox>,
    until: DrainAfter,
    amqp: AmqpConfig,
    queue: Arc<LimitedQueue>,
    letters: DeadLetterStatus,
    redis: Arc<RedisStore>,
    tenant_limiter: Option<TenantLimiter>,
    metrics: Arc<Metrics>,
    hooks: Arc<dyn Hooks>,
    tracer: Tracer,
    history: Option<HistoryWriter>,
    readiness: Arc<Readiness>,
    all_held: watch::Sender<bool>,
    shutdown: Shutdown,
}

fn unavailable(error: impl std::fmt::Display) -> WorkError {
    WorkError::Unavailable(error.to_string())
}

impl<'a> Worker<'a> {
    /// Begins to connect to the broker, and takes nothing from it yet.
    fn new(
        settings: &'a Settings,
        sandbox: &'a Arc<dyn Sandbox>,
        until: DrainAfter,
        (metrics, hooks, tracer): (Arc<Metrics>, Arc<dyn Hooks>, Tracer),
        shutdown: Shutdown,
    ) -> Result<Self, WorkError> {
        let redis = app::redis_config(settings);
        let lease = Duration::from_millis(settings.worker.lease_ms);
        let tenant_limiter = (settings.jobs.max_running_per_tenant > 0)
            .then(|| TenantLimiter::connect(&redis, settings.jobs.max_running_per_tenant, lease))
            .transpose()
            .map_err(unavailable)?;
        let redis = Arc::new(RedisStore::connect(redis).map_err(unavailable)?);
        let (job_log, history) = JobLog::new(settings.store.history_jobs);
        let hooks: Arc<dyn Hooks> = Arc::new(vec![hooks, Arc::new(job_log) as Arc<dyn Hooks>]);
        let amqp = app::amqp_config(settings, sandbox.description().isolation);
        let letters = DeadLetterStatus::default();
        let all_held = watch::Sender::new(false);
        let changed = Arc::new(Notify::new());
        // Of what is asked whether it works, the broker is one, and it has to know whether the others do.
        let able = watch::Sender::new(false);
        let gate = Gate {
            open: able.subscribe(),
            held: all_held.subscribe(),
            changed: Arc::clone(&changed),
            observer: Observer(Arc::clone(&hooks)),
        };
        let queue: Arc<dyn Queue> =
            Arc::new(AmqpQueue::connect(amqp.clone(), gate).map_err(unavailable)?);
        let components = readiness::components(
            (&queue, letters.clone()),
            (&redis, settings.store.url.to_string()),
            sandbox,
            &metrics,
        );
        let patience = Duration::from_millis(settings.worker.refusal_timeout_ms);
        let readiness = Readiness::new(components, Arc::clone(&metrics), patience, (changed, able));
        Ok(Self {
            settings,
            sandbox,
            until,
            amqp,
            queue: Arc::new(LimitedQueue::new(
                queue,
                until.jobs.unwrap_or(u64::MAX),
                sandbox.host_memory().map(Arc::clone),
            )),
            letters,
            redis,
            tenant_limiter,
            metrics,
            hooks,
            tracer,
            history,
            readiness: Arc::new(readiness),
            all_held,
            shutdown,
        })
    }

    /// Waits until all works, and serves.
    async fn run(mut self, signals: &mut Signals) -> Result<(), WorkError> {
        let history = self.history.take();
        let Self { settings, readiness, shutdown, .. } = &self;
        let admin = admin::open(settings, &self.metrics, readiness, shutdown)
            .await
            .map_err(WorkError::Unavailable)?;
        let watching = tokio::spawn(Arc::clone(readiness).watch(shutdown.clone()));
        let reaping = tokio::spawn(reap_regularly(
            Arc::clone(self.sandbox),
            Arc::clone(&self.hooks),
            shutdown.clone(),
        ));
        let certificates = certificates::watch(settings, &self.metrics, shutdown);
        let history =
            history.map(|it| tokio::spawn(it.write(Arc::clone(&self.redis), shutdown.clone())));
        let mut tasks: Vec<_> = [watching, reaping]
            .into_iter()
            .chain(admin)
            .chain(certificates)
            .chain(history)
            .collect();
        let worked = tokio::select! {
            biased;
            () = signals.next() => Ok(()),
            (refusal, reason) = readiness.refused() => Err(WorkError::Refused(refusal, reason)),
            () = readiness.works() => self.serve(signals, &mut tasks).await,
        };
        shutdown.abort();
        for task in tasks {
            if let Err(error) = task.await {
                warn!(%error, "a task ended abnormally");
            }
        }
        worked
    }

    /// Takes jobs until it is time to stop.
    async fn serve(
        &self,
        signals: &mut Signals,
        tasks: &mut Vec<JoinHandle<()>>,
    ) -> Result<(), WorkError> {
        let Self { settings, sandbox, shutdown, .. } = self;
        let info = app::worker_info(settings, sandbox.description());
        // Known before it is ready, so that no client is told that there are no live workers. A store that has gone
        // away again is waited for later.
        let _ = timeout(ANNOUNCE_DEADLINE, self.redis.announce(&info)).await;
        self.readiness.serve().await;
        let metrics = Arc::clone(&self.metrics);
        tasks.push(tokio::spawn(send_heartbeats(
            Arc::clone(&self.redis),
            info,
            move || metrics.slots_busy(),
            self.readiness.ready(),
            shutdown.clone(),
        )));
        let (queue, store) = (Arc::clone(&self.queue), Arc::clone(&self.redis));
        tasks.push(tokio::spawn(note_taken_jobs(queue, store, shutdown.clone())));
        tasks.push(tokio::spawn(note_worker(
            Arc::clone(&self.redis),
            settings.worker.id.clone(),
            sandbox.description().clone(),
            shutdown.clone(),
        )));
        tasks.push(tokio::spawn(follow_switches(
            Arc::clone(&self.redis),
            Arc::clone(&self.metrics),
            self.all_held.clone(),
            shutdown.clone(),
        )));
        tasks.push(tokio::spawn(self.dead_letter_handler()?.serve()));
        let serving = tokio::spawn(self.pipeline().serve(settings.worker.slots));
        let exhausted = async {
            match sandbox.capacity() {
                Some(capacity) => capacity.exhausted().await,
                None => std::future::pending().await,
            }
        };
        let mut stuck = None;
        let enough = async {
            tokio::select! {
                () = self.queue.used_up() => "it has had all the jobs that it was to take".into(),
                () = after(self.until.time) => "its time is over".into(),
                why = exhausted => stuck.insert(why).clone(),
            }
        };
        let grace = Duration::from_millis(settings.worker.grace_ms);
        let (metrics, draining) = (Arc::clone(&self.metrics), shutdown.clone());
        tasks.push(tokio::spawn(async move {
            draining.drained().await;
            metrics.set_draining(grace);
        }));
        let queue = self.queue.as_ref();
        let stopped = shutdown.in_order(signals, serving, queue, grace, enough).await;
        match stuck {
            Some(reason) => Err(WorkError::Stuck(reason)),
            None => stopped.map_err(WorkError::Unavailable),
        }
    }

    fn dead_letter_handler(&self) -> Result<DeadLetterHandler, WorkError> {
        Ok(DeadLetterHandler {
            letters: DeadLetters::connect(&self.amqp, self.letters.clone()).map_err(unavailable)?,
            store: self.store(),
            hooks: Arc::clone(&self.hooks),
            worker_id: self.settings.worker.id.clone(),
            result_ttl: Duration::from_millis(self.settings.store.result_ttl_ms),
            max_job_bytes: self.settings.jobs.max_bytes,
            tenant_users: self.settings.jobs.tenant_users.clone(),
            shutdown: self.shutdown.clone(),
        })
    }

    /// The store as the path of a job calls it: timed.
    fn store(&self) -> Arc<dyn Store> {
        let store = Arc::clone(&self.redis) as Arc<dyn Store>;
        Arc::new(TimedStore::new(store, Observer(Arc::clone(&self.hooks))))
    }

    fn pipeline(&self) -> Arc<Pipeline> {
        Arc::new(Pipeline {
            queue: Arc::clone(&self.queue) as Arc<dyn Queue>,
            store: self.store(),
            sandbox: Arc::clone(self.sandbox),
            tenant_limiter: self.tenant_limiter.clone(),
            peers: Some(Peers::of(Arc::clone(&self.redis))),
            hooks: Arc::clone(&self.hooks),
            tracer: self.tracer.clone(),
            admission: app::admission(self.settings, self.sandbox.description().isolation),
            policy: Policy::strict(),
            config: app::pipeline_config(self.settings),
            compile_cache: CompileCache::new(self.settings.jobs.compile_cache_bytes),
            slots: Semaphore::new(self.settings.worker.slots),
            exclusive_gate: ExclusiveGate::default(),
            shutdown: self.shutdown.clone(),
        })
    }
}

async fn after(time: Option<Duration>) {
    match time {
        Some(time) => sleep(time).await,
        None => std::future::pending().await,
    }
}

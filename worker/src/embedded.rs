//! Everything in one process: the same pipeline, with a queue and a store in memory.

use std::{path::Path, sync::Arc, time::Duration};

use sandfleet_common::{Job, JobResult, JobState, encode};
use sandfleet_transport::records::{MemoryStore, Store};
use tokio::sync::Semaphore;
use tracing::warn;

use crate::{
    app,
    config::Settings,
    hooks::Hooks,
    host::memory,
    pipeline::{
        Pipeline, PipelineConfig, compile_cache::CompileCache, exclusive_gate::ExclusiveGate,
    },
    queue::{MemoryQueue, Queue},
    sandbox::{Sandbox, policy::Policy},
    shutdown::Shutdown,
    traces::Tracer,
};

/// A fleet of one process.
pub struct Embedded {
    queue: MemoryQueue,
    store: MemoryStore,
    pipeline: Arc<Pipeline>,
}

impl Embedded {
    /// A fleet that runs programs in `sandbox`.
    pub fn new(sandbox: Arc<dyn Sandbox>, settings: &Settings, hooks: Arc<dyn Hooks>) -> Self {
        Self::traced(sandbox, settings, hooks, Tracer::default())
    }

    /// The same, whose deliveries `tracer` follows.
    pub fn traced(
        sandbox: Arc<dyn Sandbox>,
        settings: &Settings,
        hooks: Arc<dyn Hooks>,
        tracer: Tracer,
    ) -> Self {
        if let Err(reason) = memory::reserve(Path::new("/proc"), settings, &settings.limits.default)
        {
            warn!(reason, "this machine may run out of memory");
        }
        // A result is read from the hooks, or by a caller that waits already.
        let result_ttl = Duration::from_secs(10);
        let (queue, store) = (MemoryQueue::new(), MemoryStore::remembering(result_ttl));
        let config = PipelineConfig {
            // There is no other worker that could do better: a failure is reported at once.
            max_attempts: 1,
            result_ttl,
            ..app::pipeline_config(settings)
        };
        let pipeline = Pipeline {
            tenant_limiter: None,
            peers: None,
            queue: Arc::new(queue.clone()),
            store: Arc::new(store.clone()),
            admission: app::admission(settings, sandbox.description().isolation),
            sandbox,
            hooks,
            tracer,
            policy: Policy::strict(),
            config,
            compile_cache: CompileCache::new(0),
            slots: Semaphore::new(settings.worker.slots),
            exclusive_gate: ExclusiveGate::default(),
            shutdown: Shutdown::default(),
        };
        Self { queue, store, pipeline: Arc::new(pipeline) }
    }

    /// Runs one job to its result; `None` if it was [stopped](Self::stop) before.
    pub async fn run(&self, job: &Job) -> Option<JobResult> {
        self.submit(encode(job));
        self.close();
        self.serve(1).await;
        match self.store.get(&job.job_id).await {
            Ok(JobState::Done(result)) => Some(*result),
            _ => None,
        }
    }

    /// Ends what runs and takes nothing new; serving ends soon after.
    pub async fn stop(&self) {
        self.pipeline.shutdown.drain();
        self.queue.stop().await;
        self.pipeline.shutdown.abort();
    }

    /// Takes jobs, `slots` at a time, until the queue is closed and empty.
    pub async fn serve(&self, slots: usize) {
        Arc::clone(&self.pipeline).serve(slots).await;
    }

    /// Puts a job's bytes into the queue.
    pub fn submit(&self, body: Vec<u8>) {
        self.queue.push(body);
    }

    /// Says that no more jobs will come.
    pub fn close(&self) {
        self.queue.close();
    }
}

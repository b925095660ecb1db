//! What a pipeline does that no service has a part in.

use std::sync::atomic::{AtomicUsize, Ordering};

use sandfleet_common::{Isolation, Job, JobResult, encode};
use sandfleet_transport::records::MemoryStore;
use tokio::sync::Semaphore;

use super::{compile_cache::CompileCache, exclusive_gate::ExclusiveGate, *};
use crate::{
    app,
    config::Settings,
    hooks::{Hooks, JobFacts},
    queue::MemoryQueue,
    sandbox::{fake::FakeSandbox, policy::Policy},
    shutdown::Shutdown,
    traces::Tracer,
};

/// Stops the worker when it takes a job.
struct StopOnceTaken {
    shutdown: Shutdown,
    taken: AtomicUsize,
    stored: AtomicUsize,
}

impl Hooks for StopOnceTaken {
    fn taken(&self, _: bool) {
        self.taken.fetch_add(1, Ordering::Relaxed);
        self.shutdown.drain();
    }

    fn stored(&self, _: &JobResult, _: &JobFacts) {
        self.stored.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn what_was_taken_before_the_worker_was_told_to_stop_is_run() {
    const JOBS: usize = 64;
    let settings = Settings::load(None, Vec::new()).expect("the defaults");
    let queue = MemoryQueue::new();
    (0..JOBS).for_each(|_| queue.push(encode(&Job::new("bash", "true"))));
    queue.close();
    let shutdown = Shutdown::default();
    let hooks = Arc::new(StopOnceTaken {
        shutdown: shutdown.clone(),
        taken: AtomicUsize::new(0),
        stored: AtomicUsize::new(0),
    });
    let pipeline = Pipeline {
        queue: Arc::new(queue),
        store: Arc::new(MemoryStore::new()),
        admission: app::admission(&settings, Isolation::Container),
        sandbox: Arc::new(FakeSandbox::default()),
        hooks: hooks.clone(),
        tracer: Tracer::default(),
        tenant_limiter: None,
        peers: None,
        policy: Policy::strict(),
        config: PipelineConfig { max_attempts: 1, ..app::pipeline_config(&settings) },
        compile_cache: CompileCache::new(0),
        slots: Semaphore::new(1),
        exclusive_gate: ExclusiveGate::default(),
        shutdown,
    };
    Arc::new(pipeline).serve(1).await;
    assert_eq!(hooks.stored.load(Ordering::Relaxed), JOBS);
    assert_eq!(hooks.taken.load(Ordering::Relaxed), JOBS, "none went back to be taken again");
}

#[test]
fn the_first_pause_of_a_job_is_the_one_that_is_configured() {
    let settings = Settings::load(None, Vec::new()).expect("the defaults");
    let config = app::pipeline_config(&settings);
    let times = |number| config.pause_after(number).div_duration_f64(config.retry_delay);
    assert_eq!([1, 2, 3].map(times), [1.0, 2.0, 4.0]);
}

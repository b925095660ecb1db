//! What a pipeline does that no service has a part in.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use sandfleet_common::{Isolation, encode};

use super::*;
use crate::{
    app,
    config::Settings,
    queue::MemoryQueue,
    sandbox::{Description, Watcher},
    store::MemoryStore,
};

/// Where nothing can be started.
struct Nowhere(Description);

#[async_trait]
impl Sandbox for Nowhere {
    async fn run(&self, _: &Plan, _: &Watcher<'_>) -> Result<Outcome, SandboxError> {
        Err(SandboxError::failed("starting", "there is no place"))
    }

    async fn check(&self) -> Result<(), SandboxError> {
        Ok(())
    }

    fn description(&self) -> &Description {
        &self.0
    }

    async fn reap(&self) -> Result<usize, SandboxError> {
        Ok(0)
    }

    async fn close(&self) {}
}

/// Has the worker told to stop the moment it takes a job.
struct StopOnceTaken {
    shutdown: Shutdown,
    taken: AtomicUsize,
    stored: AtomicUsize,
}

impl Hooks for StopOnceTaken {
    fn taken(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
        self.shutdown.drain();
    }

    fn stored(&self, _: &JobResult) {
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
    let sandbox = Nowhere(Description {
        backend: "nowhere",
        runtime: String::new(),
        isolation: Isolation::Container,
        image: String::new(),
        image_digest: None,
        policy_hash: String::new(),
    });
    let pipeline = Pipeline {
        queue: Arc::new(queue),
        store: Arc::new(MemoryStore::new()),
        admission: app::admission(&settings, sandbox.0.isolation),
        sandbox: Arc::new(sandbox),
        hooks: hooks.clone(),
        places: None,
        policy: Policy::strict(),
        terms: Terms { max_attempts: 1, ..app::terms(&settings) },
        company: Company::default(),
        shutdown,
    };
    Arc::new(pipeline).serve(1).await;
    assert_eq!(hooks.stored.load(Ordering::Relaxed), JOBS);
    assert_eq!(hooks.taken.load(Ordering::Relaxed), JOBS, "none went back to be taken again");
}

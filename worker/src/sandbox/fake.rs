//! A sandbox for tests of what is around one: nothing runs in it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use sandfleet_common::Isolation;

use super::{
    Description, End, LiveInput, Outcome, Plan, Sandbox, SandboxError, Watcher, capture::Captured,
    ended_in_order,
};

/// Answers every question, and starts programs only while it isn't broken.
pub(crate) struct FakeSandbox {
    pub(crate) is_broken: AtomicBool,
    /// Whether what is started never comes back.
    pub(crate) hangs: AtomicBool,
    pub(crate) runs: AtomicUsize,
    description: Description,
}

impl Default for FakeSandbox {
    fn default() -> Self {
        Self {
            is_broken: AtomicBool::new(false),
            hangs: AtomicBool::new(false),
            runs: AtomicUsize::new(0),
            description: Description {
                backend: "fragile",
                runtime: String::new(),
                isolation: Isolation::Container,
                image: String::new(),
                image_digest: None,
                policy_hash: String::new(),
            },
        }
    }
}

#[async_trait]
impl Sandbox for FakeSandbox {
    async fn run(&self, _: &Plan, _: &Watcher<'_>) -> Result<Outcome, SandboxError> {
        self.runs.fetch_add(1, Ordering::Relaxed);
        if self.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if self.is_broken.load(Ordering::Relaxed) {
            return Err(SandboxError::failed("starting", "stuck"));
        }
        Ok(Outcome {
            warm: false,
            end: End::Seen(ended_in_order()),
            stdout: Captured::default(),
            stderr: Captured::default(),
            artifacts: Vec::new(),
            artifacts_skipped: Vec::new(),
            collected: Default::default(),
            root: Default::default(),
            landlock: None,
            setup: Default::default(),
            collect: Default::default(),
        })
    }

    async fn run_live(
        &self,
        plan: &Plan,
        watcher: &Watcher<'_>,
        _: &LiveInput,
    ) -> Result<Outcome, SandboxError> {
        self.run(plan, watcher).await
    }

    async fn check(&self) -> Result<(), SandboxError> {
        Ok(())
    }

    fn description(&self) -> &Description {
        &self.description
    }

    async fn reap(&self) -> Result<usize, SandboxError> {
        Ok(0)
    }

    async fn close(&self) {}
}

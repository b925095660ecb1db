//! Whether a sandbox can be trusted with the next job.
//!
//! An engine may answer every question and still start no container. So a sandbox that has failed
//! once is away until a program has run in it from beginning to end.
//!
//! Callers share the one probe that runs; the first starts it. A probe goes on when its callers time out, so
//! that a sandbox that hangs has one probe in it at a time.

#[cfg(test)]
mod tests;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tracing::{info, warn};

use crate::host::memory::HostMemory;

use super::{
    Description, LiveInput, Outcome, Plan, RootTree, Sandbox, SandboxError, Watcher,
    capacity::Capacity, self_test,
};

/// How long things take.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// How long an answer is waited for; shorter than the admin port waits for it.
    answer: Duration,
    /// How long a probe may take: longer than each step of a program's start and end may.
    probe: Duration,
    /// How long after a probe that failed there is no other: at first, and at most.
    first_pause: Duration,
    longest_pause: Duration,
}

const PACE: Pace = Pace {
    answer: Duration::from_millis(1500),
    probe: Duration::from_secs(90),
    first_pause: Duration::from_millis(500),
    longest_pause: Duration::from_secs(15),
};

/// A sandbox whose failures are remembered until it has proved itself again.
pub struct HealthTracked {
    shared: Arc<Shared>,
}

struct Shared {
    sandbox: Arc<dyn Sandbox>,
    memory: Arc<HostMemory>,
    pace: Pace,
    health: Mutex<Health>,
    /// Counts the probes that have ended.
    ended: watch::Sender<u64>,
}

#[derive(Default)]
struct Health {
    /// What failed last, unless a program ran since.
    failure: Option<String>,
    /// How often something has failed so far.
    failures: u64,
    /// Since when a probe runs.
    probing_since: Option<Instant>,
    pause: Duration,
    not_before: Option<Instant>,
}

impl HealthTracked {
    /// Watches over `sandbox`, whose host has `memory`.
    pub fn new(sandbox: Arc<dyn Sandbox>, memory: Arc<HostMemory>) -> Self {
        Self::with_pace(sandbox, memory, PACE)
    }

    fn with_pace(sandbox: Arc<dyn Sandbox>, memory: Arc<HostMemory>, pace: Pace) -> Self {
        let shared = Shared {
            sandbox,
            memory,
            pace,
            health: Mutex::default(),
            ended: watch::Sender::default(),
        };
        Self { shared: Arc::new(shared) }
    }
}

impl HealthTracked {
    /// Notes how a run ends.
    async fn noted(
        &self,
        run: impl Future<Output = Result<Outcome, SandboxError>>,
    ) -> Result<Outcome, SandboxError> {
        let failures = self.shared.health().failures;
        let ran = run.await;
        match &ran {
            Ok(_) => self.shared.note_success(failures),
            // The sandbox did what it could: its host can be waited for without a proof.
            Err(SandboxError::HostMemory) => self.shared.memory.note_kill(),
            Err(error) => self.shared.note_failure(error.to_string()),
        }
        ran
    }
}

impl Shared {
    fn health(&self) -> MutexGuard<'_, Health> {
        // Every change is whole before anything can panic.
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_failure(&self, reason: String) {
        let mut health = self.health();
        health.failures += 1;
        if health.failure.is_none() {
            warn!(reason, "the sandbox is away until a program has run in it");
        }
        health.failure = Some(reason);
    }

    /// A program ran from beginning to end, begun after so many failures.
    fn note_success(&self, failures: u64) {
        let mut health = self.health();
        if health.failures != failures {
            return;
        }
        if health.failure.take().is_some() {
            info!("the sandbox works again");
        }
        (health.pause, health.not_before) = (Duration::ZERO, None);
    }

    /// Has a probe run, if none does; an error if it is too early for another.
    fn begin_probe(self: &Arc<Self>) -> Result<(), SandboxError> {
        let mut health = self.health();
        if health.probing_since.is_some() {
            return Ok(());
        }
        let now = Instant::now();
        if let (Some(failure), Some(at)) = (&health.failure, health.not_before)
            && now < at
        {
            let left = (at - now).as_secs() + 1;
            let reason = format!("{failure}; it is tried again in {left} s");
            return Err(SandboxError::failed("running a program", reason));
        }
        health.probing_since = Some(now);
        let probe = Probe(Arc::clone(self));
        tokio::spawn(probe.run());
        Ok(())
    }

    /// What is known once a probe has ended, or after the longest time that callers wait.
    fn answer(&self, has_ended: bool) -> Result<(), SandboxError> {
        let health = self.health();
        let reason = match (&health.failure, has_ended) {
            (None, true) => return Ok(()),
            (Some(failure), true) => failure.clone(),
            (failure, false) => {
                let seconds = health.probing_since.map_or(0, |since| since.elapsed().as_secs());
                let failure = failure.as_deref().unwrap_or("no answer yet");
                format!("{failure}; it has been tried for {seconds} s whether it works")
            }
        };
        Err(SandboxError::failed("running a program", reason))
    }
}

/// The one probe that runs. However it ends, another may follow.
struct Probe(Arc<Shared>);

impl Probe {
    async fn run(self) {
        let (failures, has_failed) = {
            let health = self.0.health();
            (health.failures, health.failure.is_some())
        };
        let (sandbox, pace) = (self.0.sandbox.as_ref(), self.0.pace);
        let tried = async {
            sandbox.check().await?;
            if has_failed { self_test(sandbox).await } else { Ok(()) }
        };
        let tried = timeout(pace.probe, tried).await.unwrap_or_else(|_| {
            let reason = format!("no end in {} s", pace.probe.as_secs());
            Err(SandboxError::failed("trying the sandbox", reason))
        });
        match tried {
            Ok(()) => self.0.note_success(failures),
            Err(error) => {
                self.0.note_failure(error.to_string());
                let mut health = self.0.health();
                health.pause = (health.pause * 2).clamp(pace.first_pause, pace.longest_pause);
                health.not_before = Some(Instant::now() + health.pause);
            }
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.0.health().probing_since = None;
        self.0.ended.send_modify(|ended| *ended += 1);
    }
}

#[async_trait]
impl Sandbox for HealthTracked {
    async fn run(&self, plan: &Plan, watcher: &Watcher<'_>) -> Result<Outcome, SandboxError> {
        self.noted(self.shared.sandbox.run(plan, watcher)).await
    }

    async fn run_live(
        &self,
        plan: &Plan,
        watcher: &Watcher<'_>,
        input: &LiveInput,
    ) -> Result<Outcome, SandboxError> {
        self.noted(self.shared.sandbox.run_live(plan, watcher, input)).await
    }

    async fn check(&self) -> Result<(), SandboxError> {
        if let Some(reason) = self.capacity().and_then(|capacity| capacity.exhaustion()) {
            return Err(SandboxError::failed("finding a slot", reason));
        }
        let mut ended = self.shared.ended.subscribe();
        self.shared.begin_probe()?;
        let has_ended = timeout(self.shared.pace.answer, ended.changed()).await.is_ok();
        self.shared.answer(has_ended)
    }

    fn description(&self) -> &Description {
        self.shared.sandbox.description()
    }

    fn root_tree(&self, image: &str) -> Option<RootTree> {
        self.shared.sandbox.root_tree(image)
    }

    async fn reap(&self) -> Result<usize, SandboxError> {
        self.shared.sandbox.reap().await
    }

    async fn close(&self) {
        self.shared.sandbox.close().await;
    }

    fn host_memory(&self) -> Option<&Arc<HostMemory>> {
        Some(&self.shared.memory)
    }

    fn capacity(&self) -> Option<&Arc<Capacity>> {
        self.shared.sandbox.capacity()
    }
}

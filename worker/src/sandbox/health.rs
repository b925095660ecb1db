//! Whether a sandbox can be trusted with the next job.
//!
//! An engine may answer every question and still start no container. So a sandbox that has failed
//! once is away until a program has run in it from beginning to end.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::{Description, Outcome, Plan, Sandbox, SandboxError, Watcher, self_test};

/// A sandbox whose failures are remembered until it has proved itself again.
pub struct Watched {
    sandbox: Arc<dyn Sandbox>,
    /// What failed last, unless a program ran since.
    failure: Mutex<Option<String>>,
    /// One proof at a time is enough.
    proof: tokio::sync::Mutex<()>,
}

impl Watched {
    /// Watches over `sandbox`.
    pub fn new(sandbox: Arc<dyn Sandbox>) -> Self {
        Self { sandbox, failure: Mutex::default(), proof: tokio::sync::Mutex::default() }
    }

    fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn remember(&self, failure: Option<String>) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }
}

#[async_trait]
impl Sandbox for Watched {
    async fn run(&self, plan: &Plan, watcher: &Watcher<'_>) -> Result<Outcome, SandboxError> {
        let ran = self.sandbox.run(plan, watcher).await;
        if let Err(error) = &ran {
            self.remember(Some(error.to_string()));
        }
        ran
    }

    async fn check(&self) -> Result<(), SandboxError> {
        self.sandbox.check().await?;
        let Some(failure) = self.failure() else { return Ok(()) };
        let Ok(_proof) = self.proof.try_lock() else {
            let reason = format!("{failure}; a program is being run to see whether it works again");
            return Err(SandboxError::failed("running a program", reason));
        };
        self_test(self.sandbox.as_ref()).await?;
        self.remember(None);
        Ok(())
    }

    fn description(&self) -> &Description {
        self.sandbox.description()
    }

    async fn reap(&self) -> Result<usize, SandboxError> {
        self.sandbox.reap().await
    }

    async fn close(&self) {
        self.sandbox.close().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::sandbox::{fragile::Fragile, smallest_plan};

    #[tokio::test]
    async fn a_sandbox_that_failed_is_away_until_a_program_has_run_in_it() {
        let fragile = Arc::new(Fragile::default());
        let watched = Watched::new(fragile.clone());
        let run = async || watched.run(&smallest_plan(), &|_, _| ()).await.is_ok();
        assert!(run().await);
        assert!(watched.check().await.is_ok());
        assert_eq!(fragile.runs.load(Ordering::Relaxed), 1, "no proof is asked for");

        fragile.is_broken.store(true, Ordering::Relaxed);
        assert!(!run().await);
        assert!(watched.check().await.is_err(), "though it answers");

        fragile.is_broken.store(false, Ordering::Relaxed);
        assert!(watched.check().await.is_ok());
        let runs = fragile.runs.load(Ordering::Relaxed);
        assert!(watched.check().await.is_ok());
        assert_eq!(fragile.runs.load(Ordering::Relaxed), runs, "proved once");
    }
}

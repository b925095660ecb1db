//! Results in memory, for the embedded mode.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use sandfleet_common::{JobId, JobResult, JobState};
use tokio::time::Instant;

use super::{Claim, Claimed, Committed, Store, StoreError};

/// Results of this process. Clones are the same store.
#[derive(Clone, Default)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    results: HashMap<JobId, Kept<JobResult>>,
    /// The owners.
    leases: HashMap<JobId, Kept<String>>,
    attempts: HashMap<JobId, Kept<u32>>,
    /// How many entries there may be before those past their time are looked for.
    sweep_at: usize,
}

/// Something with a time to live.
struct Kept<T> {
    value: T,
    until: Instant,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn claim(&self, job: &JobId, claim: &Claim) -> Result<Claimed, StoreError> {
        let mut state = self.lock();
        state.sweep();
        if live(&state.results, job).is_some() {
            return Ok(Claimed::Done);
        }
        let attempts = live(&state.attempts, job).copied().unwrap_or(0);
        match state.leases.get(job).filter(|lease| lease.until > Instant::now()) {
            // The owner asks again because the answer was lost.
            Some(lease) if lease.value == claim.owner => {
                state.leases.insert(job.clone(), Kept::new(claim.owner.clone(), claim.lease));
                return Ok(Claimed::Run { attempt: attempts });
            }
            Some(lease) => {
                return Ok(Claimed::Busy { lease_left: lease.until - Instant::now() });
            }
            None => {}
        }
        if attempts >= claim.max_attempts {
            return Ok(Claimed::Exhausted { attempts });
        }
        state.attempts.insert(job.clone(), Kept::new(attempts + 1, claim.keep));
        state.leases.insert(job.clone(), Kept::new(claim.owner.clone(), claim.lease));
        Ok(Claimed::Run { attempt: attempts + 1 })
    }

    async fn renew(&self, job: &JobId, owner: &str, lease: Duration) -> Result<(), StoreError> {
        let mut state = self.lock();
        if live(&state.leases, job).is_some_and(|holder| holder == owner) {
            state.leases.insert(job.clone(), Kept::new(owner.to_owned(), lease));
        }
        Ok(())
    }

    async fn release(&self, job: &JobId, owner: &str) -> Result<(), StoreError> {
        self.lock().release(job, owner);
        Ok(())
    }

    async fn commit(
        &self,
        result: &JobResult,
        owner: &str,
        keep: Duration,
    ) -> Result<Committed, StoreError> {
        let mut state = self.lock();
        state.sweep();
        let job = &result.job_id;
        state.release(job, owner);
        if let Some(stored) = live(&state.results, job) {
            let ours = stored == result;
            return Ok(if ours { Committed::Stored } else { Committed::AlreadyThere });
        }
        state.results.insert(job.clone(), Kept::new(result.clone(), keep));
        Ok(Committed::Stored)
    }

    async fn get(&self, job: &JobId) -> Result<JobState, StoreError> {
        let state = self.lock();
        Ok(match live(&state.results, job) {
            Some(result) => JobState::Done(Box::new(result.clone())),
            None if live(&state.leases, job).is_some() => JobState::Running,
            None => JobState::Unknown,
        })
    }

    async fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl State {
    fn release(&mut self, job: &JobId, owner: &str) {
        if self.leases.get(job).is_some_and(|lease| lease.value == owner) {
            self.leases.remove(job);
        }
    }

    /// Throws away what is past its time, once there is twice as much as after the last sweep: so
    /// that memory is bounded by what is live, at a constant cost for each entry.
    fn sweep(&mut self) {
        let count = self.results.len() + self.leases.len() + self.attempts.len();
        if count < self.sweep_at.max(1024) {
            return;
        }
        let now = Instant::now();
        self.results.retain(|_, kept| kept.until > now);
        self.leases.retain(|_, kept| kept.until > now);
        self.attempts.retain(|_, kept| kept.until > now);
        let left = self.results.len() + self.leases.len() + self.attempts.len();
        self.sweep_at = left * 2;
    }
}

impl<T> Kept<T> {
    fn new(value: T, keep: Duration) -> Self {
        let now = Instant::now();
        // A time beyond what the clock can count is as good as a hundred years.
        let far = || now + Duration::from_secs(100 * 365 * 86_400);
        Self { value, until: now.checked_add(keep).unwrap_or_else(far) }
    }
}

fn live<'a, T>(kept: &'a HashMap<JobId, Kept<T>>, job: &JobId) -> Option<&'a T> {
    kept.get(job).filter(|kept| kept.until > Instant::now()).map(|kept| &kept.value)
}

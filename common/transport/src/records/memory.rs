//! The records in memory, for the embedded mode: what the steps work on.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sandfleet_common::{JobId, JobResult};
use tokio::{sync::broadcast, time::Instant};

use super::{
    cancellations::{BACKLOG, CancelNotice},
    record::Record,
};

/// How long a job may wait for its first claim, and how long its record is kept until it has ended.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(7 * 86_400);

/// The records of this process. Clones are the same store.
#[derive(Clone)]
pub struct MemoryStore(Arc<Mutex<State>>);

/// What Redis keeps in its keys.
pub(super) struct State {
    pub(super) results: Kept<JobResult>,
    /// The owners.
    pub(super) leases: Kept<String>,
    pub(super) records: Kept<Record>,
    pub(super) notices: broadcast::Sender<CancelNotice>,
    /// How long a record is kept after its job's end.
    pub(super) dedup_ttl: Duration,
    /// How many entries there may be before the expired ones are removed.
    sweep_at: usize,
}

/// Values with a time to live.
pub(super) struct Kept<T>(HashMap<JobId, (T, Instant)>);

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::remembering(MAX_WAIT)
    }

    /// An empty store that keeps a record for `dedup_ttl` after its job's end.
    pub fn remembering(dedup_ttl: Duration) -> Self {
        Self(Arc::new(Mutex::new(State {
            results: Kept(HashMap::new()),
            leases: Kept(HashMap::new()),
            records: Kept(HashMap::new()),
            notices: broadcast::channel(BACKLOG).0,
            dedup_ttl,
            sweep_at: 0,
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Removes what has expired, once there is twice as much as after the last sweep: memory is
    /// bounded by what is live, at a constant cost for each entry.
    pub(super) fn sweep(&mut self) {
        if self.count() < self.sweep_at.max(1024) {
            return;
        }
        self.results.sweep();
        self.leases.sweep();
        self.records.sweep();
        self.sweep_at = self.count() * 2;
    }

    fn count(&self) -> usize {
        self.results.0.len() + self.leases.0.len() + self.records.0.len()
    }
}

impl<T> Kept<T> {
    pub(super) fn get(&self, job: &JobId) -> Option<&T> {
        self.get_until(job).map(|(value, _)| value)
    }

    /// With the time at which it expires.
    pub(super) fn get_until(&self, job: &JobId) -> Option<(&T, Instant)> {
        let (value, until) = self.0.get(job)?;
        (*until > Instant::now()).then_some((value, *until))
    }

    pub(super) fn has(&self, job: &JobId) -> bool {
        self.get(job).is_some()
    }

    pub(super) fn set(&mut self, job: &JobId, value: T, ttl: Duration) {
        let now = Instant::now();
        // A time beyond what the clock can count is as good as a hundred years.
        let until =
            now.checked_add(ttl).unwrap_or_else(|| now + Duration::from_secs(100 * 365 * 86_400));
        self.0.insert(job.clone(), (value, until));
    }

    pub(super) fn remove(&mut self, job: &JobId) {
        self.0.remove(job);
    }

    fn sweep(&mut self) {
        let now = Instant::now();
        self.0.retain(|_, (_, until)| *until > now);
    }
}

impl Kept<Record> {
    /// Changes a record and leaves its time to live; one that isn't there is created.
    pub(super) fn change(&mut self, job: &JobId, change: impl FnOnce(&mut Record)) {
        if !self.has(job) {
            self.set(job, Record::default(), MAX_WAIT);
        }
        if let Some((record, _)) = self.0.get_mut(job) {
            change(record);
        }
    }
}

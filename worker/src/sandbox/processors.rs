//! Which processors a running job is started on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::thread::sched_getaffinity;

/// Spreads running jobs over the processors that this process may use. A job gets as many as it may use at a
/// time (`sandbox.cpus`, rounded up): so what counts them (nproc, runtimes that start a thread for each) finds
/// that number and not the host's.
#[derive(Debug)]
pub(crate) struct ProcessorPool {
    each: usize,
    /// How many jobs each of them has.
    jobs: Mutex<Vec<u32>>,
}

/// Those of one job, until it is dropped.
#[derive(Debug)]
pub(crate) struct JobProcessors {
    pool: Arc<ProcessorPool>,
    places: Vec<u32>,
}

impl ProcessorPool {
    pub(crate) fn new(cpus: f64) -> Arc<Self> {
        // Where they can't be counted there is nothing to choose from.
        Self::of(sched_getaffinity(None).map_or(0, |set| set.count()), cpus)
    }

    fn of(processors: u32, cpus: f64) -> Arc<Self> {
        Arc::new(Self {
            each: cpus.ceil() as usize,
            jobs: Mutex::new(vec![0; processors as usize]),
        })
    }

    /// How many a job sees.
    pub(crate) fn count(&self) -> u32 {
        self.each.clamp(1, self.lock().len().max(1)) as u32
    }

    /// The processors with the fewest jobs, as places in the list of all; none where a job has all of them.
    pub(crate) fn take(self: &Arc<Self>) -> JobProcessors {
        let mut jobs = self.lock();
        let mut places: Vec<u32> = Vec::new();
        if self.each < jobs.len() {
            places = (0..jobs.len() as u32).collect();
            places.sort_by_key(|place| jobs[*place as usize]);
            places.truncate(self.each);
        }
        places.iter().for_each(|place| jobs[*place as usize] += 1);
        drop(jobs);
        JobProcessors { pool: Arc::clone(self), places }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u32>> {
        // Counted up and down only: a panic elsewhere can't leave it torn.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl JobProcessors {
    pub(crate) fn places(&self) -> &[u32] {
        &self.places
    }
}

impl Drop for JobProcessors {
    fn drop(&mut self) {
        let mut jobs = self.pool.lock();
        self.places.iter().for_each(|place| jobs[*place as usize] -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_at_a_time_are_on_processors_of_their_own_as_long_as_there_are_any() {
        let pool = ProcessorPool::of(4, 1.5);
        let (first, second) = (pool.take(), pool.take());
        assert_eq!((first.places(), second.places()), (&[0, 1][..], &[2, 3][..]));
        let third = pool.take();
        assert_eq!(third.places(), [0, 1]);
        drop((first, third));
        assert_eq!(pool.take().places(), [0, 1]);
    }

    #[test]
    fn a_job_that_may_use_all_is_held_to_none() {
        assert_eq!(ProcessorPool::of(2, 2.0).take().places(), [0; 0]);
        assert_eq!(ProcessorPool::of(0, 1.0).take().places(), [0; 0]);
        assert_eq!(ProcessorPool::of(2, 64.0).count(), 2);
        assert_eq!(ProcessorPool::of(8, 0.25).count(), 1);
    }
}

//! What is known of a fleet at a moment.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sandfleet_common::{EndedJob, JobState, Priority, WorkerInfo};
use sandfleet_transport::records::{LiveJob, Switch, TenantUsage};

/// How long ago a job may have ended to count in rates and verdicts, in seconds.
pub(super) const WINDOW_SECONDS: i64 = 60;
/// How many jobs that ended are read at most.
pub(super) const MAX_ENDED: usize = 2000;
/// The account of jobs that name no tenant.
pub(super) const NO_TENANT: &str = "(none)";

/// A fleet at a moment. What a service that is away said last stays.
#[derive(Clone, Default)]
pub(super) struct Sample {
    pub(super) at: Timestamp,
    pub(super) prefix: String,
    /// Why the broker or the store can't be asked at present.
    pub(super) broker_trouble: Option<String>,
    pub(super) store_trouble: Option<String>,
    pub(super) broker_is_blocked: bool,
    pub(super) queues: Vec<QueueNow>,
    pub(super) workers: Vec<WorkerInfo>,
    pub(super) switches: Vec<Switch>,
    /// The jobs that wait or run, and whether there are more than were read.
    pub(super) live: Vec<LiveJob>,
    pub(super) live_is_cut: bool,
    /// Jobs that ended lately, the newest first.
    pub(super) ended: Vec<EndedJob>,
    /// What tenants used today.
    pub(super) usage: BTreeMap<String, TenantUsage>,
}

/// A queue at a moment.
#[derive(Clone)]
pub(super) struct QueueNow {
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) messages: u32,
    pub(super) consumers: u32,
    pub(super) priority: Option<Priority>,
}

/// What a tenant has.
#[derive(Clone, Copy, Default)]
pub(super) struct TenantNow {
    pub(super) interactive: usize,
    pub(super) batch: usize,
    pub(super) running: usize,
    /// When the oldest of its jobs that wait was submitted.
    pub(super) oldest: Option<Timestamp>,
    pub(super) ended: usize,
    pub(super) accepted: usize,
    pub(super) used: TenantUsage,
}

impl Sample {
    pub(super) fn waiting(&self) -> impl Iterator<Item = &LiveJob> {
        self.live.iter().filter(|job| matches!(job.state, JobState::Queued(_)))
    }

    pub(super) fn running(&self) -> impl Iterator<Item = &LiveJob> {
        self.live.iter().filter(|job| matches!(job.state, JobState::Running(_)))
    }

    /// The jobs that a worker runs.
    pub(super) fn running_on<'a>(&'a self, worker: &'a str) -> impl Iterator<Item = &'a LiveJob> {
        self.running().filter(move |job| match &job.state {
            JobState::Running(running) => running.worker_id == worker,
            _ => false,
        })
    }

    /// The job that waits longest.
    pub(super) fn oldest(&self) -> Option<&LiveJob> {
        self.waiting().filter(|job| job.queued_at.is_some()).min_by_key(|job| job.queued_at)
    }

    /// Live workers that take jobs, their slots, and how many of these are busy.
    pub(super) fn capacity(&self) -> (usize, usize, usize) {
        let ready = self.workers.iter().filter(|worker| worker.ready && !worker.stopping);
        ready.fold((0, 0, 0), |(workers, slots, busy), it| {
            (workers + 1, slots + it.slots, busy + it.busy)
        })
    }

    /// Messages in the queues of jobs, those that are put off among them.
    pub(super) fn depth(&self) -> u64 {
        self.of_kinds(&["jobs", "tenant_jobs", "later"])
    }

    /// Messages in queues of these kinds.
    pub(super) fn of_kinds(&self, kinds: &[&str]) -> u64 {
        let of = self.queues.iter().filter(|queue| kinds.contains(&queue.kind));
        of.map(|queue| u64::from(queue.messages)).sum()
    }

    /// The jobs that ended within the window, as far as the history has them.
    pub(super) fn lately(&self) -> impl Iterator<Item = &EndedJob> {
        let since = self.at.as_second() - WINDOW_SECONDS;
        self.ended.iter().filter(move |job| job.finished_at.as_second() >= since)
    }

    /// Over how many seconds jobs that ended are counted: less than the window if more ended in it than are read.
    pub(super) fn window(&self) -> i64 {
        match self.ended.last() {
            Some(oldest) if self.ended.len() >= MAX_ENDED => {
                let reaches = self.at.as_second() - oldest.finished_at.as_second();
                reaches.clamp(1, WINDOW_SECONDS)
            }
            _ => WINDOW_SECONDS,
        }
    }

    /// Jobs that ended a second.
    pub(super) fn rate(&self) -> f64 {
        self.lately().count() as f64 / self.window() as f64
    }

    /// How often each verdict, or status without one, was given lately, the most frequent first.
    pub(super) fn verdicts(&self) -> Vec<(&'static str, usize)> {
        let mut counts = BTreeMap::new();
        for job in self.lately() {
            *counts.entry(outcome(job)).or_insert(0) += 1;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(name, count)| (usize::MAX - count, *name));
        counts
    }

    pub(super) fn tenants(&self) -> BTreeMap<String, TenantNow> {
        let mut tenants = BTreeMap::<String, TenantNow>::new();
        let mut of = |tenant: Option<&str>, change: &mut dyn FnMut(&mut TenantNow)| {
            change(tenants.entry(tenant.unwrap_or(NO_TENANT).to_owned()).or_default());
        };
        for job in &self.live {
            of(job.tenant.as_deref(), &mut |it| match &job.state {
                JobState::Running(_) => it.running += 1,
                JobState::Queued(queued) => {
                    match queued.priority {
                        Some(Priority::Batch) => it.batch += 1,
                        _ => it.interactive += 1,
                    }
                    it.oldest = [it.oldest, job.queued_at].into_iter().flatten().min();
                }
                _ => {}
            });
        }
        for job in self.lately() {
            of(job.tenant.as_deref(), &mut |it| {
                it.ended += 1;
                it.accepted += usize::from(job.is_accepted());
            });
        }
        for (account, used) in &self.usage {
            of(Some(account), &mut |it| it.used = *used);
        }
        tenants
    }
}

/// A verdict, or the status of a job without one.
pub(super) fn outcome(job: &EndedJob) -> &'static str {
    job.verdict.map_or(job.status.as_str(), |verdict| verdict.as_str())
}

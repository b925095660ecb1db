//! Three workers of four slots.

use std::{collections::BTreeMap, net::SocketAddr};

use rustix::process::Signal;
use sandfleet_common::{JobId, names};
use sandfleet_tests::{FleetWorker, Installation, Services, eventually, http_get};
use tokio::process::Command;

use crate::load::{Load, without_result};

/// Their names.
pub(crate) const NAMES: [&str; 3] = ["one", "two", "three"];
/// The jobs that one runs at a time.
pub(crate) const SLOTS: usize = 4;

/// How all workers here are set up: claims of dead ones end soon.
pub(crate) fn installation(services: &Services) -> Installation {
    Installation::fresh()
        .on(services)
        .set("WORKER_SLOTS", &SLOTS.to_string())
        .set("WORKER_LEASE_MS", "2000")
        .quiet()
}

/// What is different about how one worker is started.
type Change = Box<dyn Fn(&mut Command)>;

/// The workers that live.
pub(crate) struct Fleet<'a> {
    installation: &'a Installation,
    changes: BTreeMap<&'static str, Change>,
    workers: BTreeMap<&'static str, FleetWorker>,
    admins: Vec<SocketAddr>,
}

impl<'a> Fleet<'a> {
    /// Nobody yet.
    pub(crate) fn of(installation: &'a Installation) -> Self {
        Self {
            installation,
            changes: BTreeMap::new(),
            workers: BTreeMap::new(),
            admins: Vec::new(),
        }
    }

    /// All three, ready for jobs.
    pub(crate) async fn start(installation: &'a Installation) -> Self {
        let mut fleet = Self::of(installation);
        fleet.join(&NAMES).await;
        fleet
    }

    /// How `name` is started from now on.
    pub(crate) fn change(&mut self, name: &'static str, change: impl Fn(&mut Command) + 'static) {
        self.changes.insert(name, Box::new(change));
    }

    /// Starts those that are not there, and waits until they are ready for jobs.
    pub(crate) async fn join(&mut self, names: &[&'static str]) {
        for name in names {
            let change = |command: &mut Command| {
                if let Some(change) = self.changes.get(name) {
                    change(command);
                }
            };
            let worker = self.installation.worker_by(name, change);
            assert!(self.workers.insert(name, worker).is_none(), "{name} is there");
        }
        for name in names {
            self.workers.get_mut(name).expect("just started").ready().await;
        }
    }

    /// As [`join`](Self::join), with admin ports, and as all workers are started.
    pub(crate) async fn join_with_admin(&mut self, names: &[&'static str]) {
        for name in names {
            let (worker, admin) = self.installation.worker_with_admin(name).await;
            assert!(self.workers.insert(name, worker).is_none(), "{name} is there");
            self.admins.push(admin);
        }
    }

    /// What the workers with admin ports have counted under `metric`, whatever its labels.
    pub(crate) async fn counted(&self, metric: &str) -> u64 {
        let mut sum = 0;
        for admin in &self.admins {
            let (_, metrics) = http_get(*admin, "/metrics").await;
            let lines = metrics.lines().filter_map(|line| line.strip_prefix(metric));
            let ours = lines.filter(|rest| rest.starts_with(['{', ' ']));
            let values = ours.filter_map(|rest| rest.rsplit_once(' ')?.1.parse::<u64>().ok());
            sum += values.sum::<u64>();
        }
        sum
    }

    /// Stops the process of one in the middle of jobs, and gives those: what it has claimed and
    /// not stored.
    pub(crate) async fn stands_still(
        &self,
        name: &str,
        services: &Services,
        load: &Load,
    ) -> Vec<JobId> {
        eventually("running jobs", || async {
            self.worker(name).signal(Signal::STOP);
            let open = without_result(&load.books());
            let held = held_by(services, name, &open).await;
            if held.is_empty() {
                self.worker(name).signal(Signal::CONT);
            }
            (!held.is_empty()).then_some(held)
        })
        .await
    }

    /// The one that is called so.
    pub(crate) fn worker(&self, name: &str) -> &FleetWorker {
        &self.workers[name]
    }

    /// Kills one.
    pub(crate) async fn kill(&mut self, name: &str) {
        let mut worker = self.workers.remove(name).expect("it is there");
        worker.signal(Signal::KILL);
        assert_eq!(worker.ended().await, 1009);
    }

    /// Tells one to stop, which it has to do in good order.
    pub(crate) async fn stop(&mut self, name: &str) {
        let mut worker = self.workers.remove(name).expect("it is there");
        worker.signal(Signal::TERM);
        assert_eq!(worker.ended().await, 0, "{name}: {}", worker.log());
    }

    /// Stops all that are there.
    pub(crate) async fn stop_all(mut self) {
        let names: Vec<_> = self.workers.keys().copied().collect();
        names.iter().for_each(|name| self.worker(name).signal(Signal::TERM));
        for name in names {
            let mut worker = self.workers.remove(name).expect("it is there");
            assert_eq!(worker.ended().await, 0, "{name}: {}", worker.log());
        }
    }
}

/// Those of `ids` that `worker` has claimed.
pub(crate) async fn held_by(services: &Services, worker: &str, ids: &[JobId]) -> Vec<JobId> {
    let start = format!("{worker}/");
    let is_held = |owner: &Option<String>| owner.as_ref().is_some_and(|it| it.starts_with(&start));
    let holders = holders(services, ids).await;
    ids.iter().zip(holders).filter(|(_, owner)| is_held(owner)).map(|(id, _)| id.clone()).collect()
}

/// The owner of each claimed job: the worker's name, a slash, and what is another with
/// each claim.
pub(crate) async fn holders(services: &Services, ids: &[JobId]) -> Vec<Option<String>> {
    if ids.is_empty() {
        return Vec::new();
    }
    let keys: Vec<String> = ids.iter().map(|id| names::lease_key(&services.prefix, id)).collect();
    let mut store = services.redis().await;
    redis::cmd("MGET").arg(keys).query_async(&mut store).await.expect("the store runs")
}

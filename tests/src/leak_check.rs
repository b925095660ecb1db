//! What a worker could leave behind on this host, and the claim that it didn't.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use bollard::{
    Docker,
    query_parameters::{ListContainersOptions, RemoveContainerOptions},
};
use tokio::time::{self, Instant};

use crate::{
    DEADLINE, TestCgroup,
    services::setting,
    test_cgroup::{groups_below, processes_in},
};

/// The traces of one worker, as they were when this was made.
///
/// Tests run at the same time, so only what is this worker's is looked at: control groups and the
/// processes in them below its test_cgroup, with the network namespaces that they hold; containers
/// with its label; and mounts on the host where only a sandbox would make them, since no test may
/// ever make one there.
#[derive(Debug)]
pub struct LeakCheck<'a> {
    test_cgroup: &'a TestCgroup,
    worker: String,
    before: BTreeSet<String>,
}

impl<'a> LeakCheck<'a> {
    /// The traces of the worker called `worker` that works on `test_cgroup`, as they are now.
    ///
    /// # Panics
    /// If the Docker engine doesn't answer.
    pub async fn before(test_cgroup: &'a TestCgroup, worker: &str) -> Self {
        let mut leak_check =
            Self { test_cgroup, worker: worker.to_owned(), before: BTreeSet::new() };
        leak_check.before = leak_check.look().await;
        leak_check
    }

    /// Whether exactly that is there now which was before.
    ///
    /// # Panics
    /// If the Docker engine doesn't answer.
    pub async fn are_equal(&self) -> bool {
        self.look().await == self.before
    }

    /// Waits until nothing is there that wasn't before, and nothing is missing.
    ///
    /// # Panics
    /// After [`DEADLINE`], naming what is left.
    pub async fn are_gone(&self) {
        let left = self.left().await;
        assert!(left.is_empty(), "left behind after {DEADLINE:?}: {left:#?}");
    }

    /// As [`are_gone`](Self::are_gone), and gives what is left after [`DEADLINE`], or missing.
    ///
    /// # Panics
    /// If the Docker engine doesn't answer.
    pub async fn left(&self) -> BTreeSet<String> {
        let end = Instant::now() + DEADLINE;
        loop {
            let now = self.look().await;
            if now == self.before || Instant::now() >= end {
                let missing = self.before.difference(&now).map(|it| format!("missing: {it}"));
                return now.difference(&self.before).cloned().chain(missing).collect();
            }
            time::sleep(time::Duration::from_millis(20)).await;
        }
    }

    /// A line for each trace that is there now.
    ///
    /// # Panics
    /// If the Docker engine doesn't answer.
    pub async fn look(&self) -> BTreeSet<String> {
        let mut traces = territories(self.test_cgroup);
        traces.extend(host_mounts());
        traces.extend(containers_of(&self.worker).await);
        traces
    }
}

fn territories(test_cgroup: &TestCgroup) -> BTreeSet<String> {
    let mut traces = BTreeSet::new();
    for directory in test_cgroup.directories() {
        for group in groups_below(directory).into_iter().skip(1) {
            // Where a worker on version 2 sits itself; it is empty with the worker's end.
            if group.ends_with("sandfleet.worker") {
                continue;
            }
            traces.insert(format!("control group {}", group.display()));
            for process in processes_in(&group) {
                let link = |name: &str| {
                    fs::read_link(format!("/proc/{process}/{name}"))
                        .map_or_else(|_| "?".to_owned(), |target| target.display().to_string())
                };
                traces.insert(format!("process {process}, {}, {}", link("exe"), link("ns/net")));
            }
        }
    }
    traces
}

/// What the native sandbox mounts, in namespaces of its own; and below [`ASSEMBLY`] while it puts
/// a root tree together.
const MOUNTED: &[&str] = &[
    "",
    "box",
    "tmp",
    "proc",
    ".proc",
    "old",
    "usr",
    "bin",
    "sbin",
    "lib",
    "lib32",
    "lib64",
    "libx32",
    "etc",
    "dev/null",
    "dev/zero",
    "dev/full",
    "dev/random",
    "dev/urandom",
];
const ASSEMBLY: &str = "/tmp";

/// Mounts of the host's own namespace where only a sandbox would make them: others mount what
/// they like while we look.
fn host_mounts() -> BTreeSet<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").expect("/proc is there");
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for target in text.lines().filter_map(|line| line.split(' ').nth(4)) {
        let below = |top: &str| Some(target.strip_prefix(top)?.trim_start_matches('/'));
        if [below(""), below(ASSEMBLY)].iter().flatten().any(|name| MOUNTED.contains(name)) {
            *counts.entry(target).or_default() += 1;
        }
    }
    counts.into_iter().map(|(target, count)| format!("{count} mounts on {target}")).collect()
}

/// Removes what a worker that was killed has left in the Docker engine, where workers that come
/// after it would only do so later.
///
/// # Panics
/// If the engine doesn't answer.
pub async fn remove_containers(worker: &str) {
    let docker = engine().await;
    for id in ids_of(&docker, worker).await {
        let options = RemoveContainerOptions { force: true, ..Default::default() };
        docker.remove_container(&id, Some(options)).await.expect("the Docker engine runs");
    }
}

async fn containers_of(worker: &str) -> Vec<String> {
    let ids = ids_of(&engine().await, worker).await;
    ids.into_iter().map(|id| format!("container {id}")).collect()
}

async fn engine() -> Docker {
    Docker::connect_with_host(&setting("SANDFLEET_TEST_DOCKER_HOST"))
        .expect("a valid address")
        .negotiate_version()
        .await
        .expect("the Docker engine runs")
}

async fn ids_of(docker: &Docker, worker: &str) -> Vec<String> {
    let options = ListContainersOptions {
        all: true,
        filters: Some([("label".to_owned(), vec![format!("sandfleet.worker={worker}")])].into()),
        ..ListContainersOptions::default()
    };
    let found = docker.list_containers(Some(options)).await.expect("the Docker engine runs");
    found.into_iter().filter_map(|container| container.id).collect()
}

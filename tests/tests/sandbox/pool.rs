//! Containers of Docker's that were started ahead.

use std::{collections::BTreeSet, fs, process::Stdio, time::Duration};

use bollard::{
    Docker,
    query_parameters::{InspectContainerOptions, KillContainerOptions, ListContainersOptions},
};
use sandfleet_common::{Job, Verdict, encode};
use sandfleet_tests::{Installation, LeakCheck, TestCgroup, eventually, soon};
use sandfleet_worker::sandbox::{Sandbox, docker::DockerSandbox};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    time::{interval, timeout},
};

use crate::{
    bench::{
        admitted, docker_config, host_processes_with, interrupt, marker, open, python, run,
        stdout_of,
    },
    lifetime::{LEAVE, LOOK},
};

const SIZE: usize = 2;

/// A worker's containers, as the engine sees them.
struct Containers {
    docker: Docker,
    worker: String,
}

impl Containers {
    async fn of(worker: &str) -> Self {
        let config = docker_config(worker.to_owned(), "runc");
        let docker = Docker::connect_with_host(&config.host).expect("a valid address");
        let docker = docker.negotiate_version().await.expect("the engine runs");
        Self { docker, worker: worker.to_owned() }
    }

    async fn running(&self) -> BTreeSet<String> {
        self.list(false).await
    }

    /// The ids of those that run, or of all.
    async fn list(&self, all: bool) -> BTreeSet<String> {
        let label = format!("sandfleet.worker={}", self.worker);
        let options = ListContainersOptions {
            all,
            filters: Some([("label".to_owned(), vec![label])].into()),
            ..ListContainersOptions::default()
        };
        let found = self.docker.list_containers(Some(options)).await.expect("the engine answers");
        found.into_iter().filter_map(|container| container.id).collect()
    }

    /// Waits until `SIZE` containers wait that are none of `others`.
    async fn filled_anew(&self, others: &BTreeSet<String>) -> BTreeSet<String> {
        eventually("a full pool", || async {
            let running = self.running().await;
            (running.len() == SIZE && running.is_disjoint(others)).then_some(running)
        })
        .await
    }
}

/// A sandbox with a pool on the tests' engine.
struct Pooled {
    sandbox: DockerSandbox,
    containers: Containers,
}

impl Pooled {
    async fn open(worker: &str) -> Self {
        let mut config = docker_config(worker.to_owned(), "runc");
        config.pool_size = SIZE;
        Self { sandbox: open(config).await, containers: Containers::of(worker).await }
    }

    /// Runs jobs until the pool is full; gives the containers in it.
    async fn fill(&self) -> BTreeSet<String> {
        stdout_of(&self.sandbox, &python("print()")).await;
        eventually("the removal of what has been used", || async {
            self.containers.list(true).await.is_empty().then_some(())
        })
        .await;
        // Once is no demand, twice is.
        let second = self.container_of(resident(), async |_| {}).await;
        self.containers.filled_anew(&BTreeSet::from([second])).await
    }

    /// The container that `job` runs in, which may not end by itself.
    async fn container_of(&self, mut job: Job, meanwhile: impl AsyncFnOnce(&str)) -> String {
        let marker = marker();
        job.args = vec![marker.clone()];
        job.limits.wall_time_ms = Some(60_000);
        let mut container = String::new();
        interrupt(&self.sandbox, &job, async || {
            let process = host_processes_with(&marker)[0];
            let groups = fs::read_to_string(format!("/proc/{process}/cgroup")).expect("it runs");
            let id = groups.lines().find_map(|line| {
                let name = line.rsplit('/').next()?.trim_start_matches("docker-");
                let name = name.trim_end_matches(".scope");
                (name.len() == 64).then(|| name.to_owned())
            });
            container = id.unwrap_or_else(|| panic!("no container's id in {groups}"));
            meanwhile(&container).await;
        })
        .await;
        container
    }
}

fn resident() -> Job {
    python(&format!("{LEAVE}\n    import time\n    print('up')\n    time.sleep(1000)"))
}

/// Tries `claim` on a sandbox with a pool, of which nothing may be left afterwards.
async fn pooled(claim: impl AsyncFnOnce(&Pooled)) {
    let test_cgroup = TestCgroup::fresh();
    let worker = test_cgroup.path().trim_start_matches('/').to_owned();
    let leak_check = LeakCheck::before(&test_cgroup, &worker).await;
    let pooled = Pooled::open(&worker).await;
    claim(&pooled).await;
    pooled.sandbox.close().await;
    // Not in the end, but now.
    assert!(leak_check.are_equal().await, "{:#?}", leak_check.look().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_job_has_a_container_that_waited_for_it_alone() {
    pooled(async |pooled| {
        let waiting = pooled.fill().await;
        let first = pooled.container_of(resident(), async |_| {}).await;
        let second = pooled.container_of(resident(), async |_| {}).await;
        let its = BTreeSet::from([first, second]);
        assert_eq!(its, waiting, "they were there before");
        let waiting = pooled.containers.filled_anew(&waiting).await;
        assert_eq!(stdout_of(&pooled.sandbox, &python(LOOK)).await, "looked\n");
        eventually("the removal of the one that was used", || async {
            let running = pooled.containers.running().await;
            (!waiting.is_subset(&running) && running.len() == SIZE).then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_was_killed_while_it_waited_is_given_to_nobody() {
    pooled(async |pooled| {
        for container in &pooled.fill().await {
            let killed =
                pooled.containers.docker.kill_container(container, None::<KillContainerOptions>);
            killed.await.expect("it runs");
        }
        for _ in 0..SIZE {
            assert_eq!(stdout_of(&pooled.sandbox, &python("print('alive')")).await, "alive\n");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_has_its_own_limits_whatever_waits() {
    pooled(async |pooled| {
        let waiting = pooled.fill().await;
        let mut job = resident();
        job.limits.memory_bytes = Some(64 << 20);
        let other = pooled
            .container_of(job, async |container| {
                let inspect = pooled
                    .containers
                    .docker
                    .inspect_container(container, None::<InspectContainerOptions>);
                let host = inspect.await.expect("it runs").host_config.expect("it has one");
                // The job's own and the agent's 4 MiB.
                assert_eq!(host.memory, Some(68 << 20));
            })
            .await;
        assert!(!waiting.contains(&other));
        let mut greedy = python("len(bytes(100 << 20).replace(b'\\0', b'1'))");
        greedy.limits.memory_bytes = Some(64 << 20);
        let result = run(&pooled.sandbox, &greedy).await;
        assert_eq!(result.verdict, Some(Verdict::MemoryLimitExceeded), "{result:#?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_waited_when_something_failed_serves_a_job() {
    pooled(async |pooled| {
        let waiting = pooled.fill().await;
        // No frame is so long: the order can't be sent.
        let mut plan = admitted(&python("print()")).plan;
        plan.environment.push(("LONG".into(), "x".repeat(2 << 20)));
        pooled.sandbox.run(&plan, &|_, _| ()).await.expect_err("it fits no frame");
        let next = pooled.container_of(resident(), async |_| {}).await;
        assert!(!waiting.contains(&next), "{next} was there before");
        eventually("the removal of all that waited", || async {
            pooled.containers.running().await.is_disjoint(&waiting).then_some(())
        })
        .await;
        stdout_of(&pooled.sandbox, &python("print()")).await;
        pooled.containers.filled_anew(&waiting).await;
    })
    .await;
}

/// How long the reaper leaves containers alone that have ended, and more.
const REAPED_WITHIN: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waited_for_a_killed_worker_ends_and_is_reaped() {
    let installation = Installation::fresh();
    let worker = installation.test_cgroup.path().trim_start_matches('/').to_owned();
    let installation =
        installation.set("WORKER_ID", &worker).set("SANDBOX_DOCKER_POOL_SIZE", &SIZE.to_string());
    let arguments = ["run", "--sandbox", "docker", "--batch", "-", "--concurrency", "1"];
    let mut command = installation.command(&arguments);
    let mut process = command.stdin(Stdio::piped()).spawn().expect("the program is there");
    let mut input = process.stdin.take().expect("a pipe");
    let mut results = BufReader::new(process.stdout.take().expect("a pipe")).lines();
    for _ in 0..SIZE {
        let line = [encode(&python("print()")), b"\n".to_vec()].concat();
        input.write_all(&line).await.expect("it reads");
        let result = soon("a result", results.next_line()).await.expect("a pipe");
        assert!(result.is_some_and(|line| line.contains("accepted")));
    }
    let containers = Containers::of(&worker).await;
    containers.filled_anew(&BTreeSet::new()).await;
    process.kill().await.expect("it runs");

    eventually("the end of what waited", || async {
        containers.running().await.is_empty().then_some(())
    })
    .await;
    let another = open(docker_config("another".into(), "runc")).await;
    let reaped = async {
        let mut turns = interval(Duration::from_secs(1));
        while !containers.list(true).await.is_empty() {
            turns.tick().await;
            another.reap().await.expect("the engine runs");
        }
    };
    timeout(REAPED_WITHIN, reaped).await.expect("the reaper finds them");
    another.close().await;
}

//! Workers that die, and what those that come after them find.

use std::{
    fs,
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering},
};

use futures_util::future::join_all;
use rustix::process::Signal;
use sandfleet_tests::{Installation, LeakCheck, Services, TestCgroup, eventually};
use sandfleet_worker::sandbox::{
    Sandbox,
    native::{NativeConfig, NativeSandbox},
};
use tokio::process::Command;

use crate::{LONG, result_of, running, sleeper, stdout};

#[tokio::test]
async fn the_job_of_a_killed_worker_is_finished_by_another() {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services).set("WORKER_LEASE_MS", "1000");
    let client = services.client().await;
    let nothing = LeakCheck::before(&installation.test_cgroup, "first").await;
    let mut first = installation.worker("first");
    let job = sleeper(2.0);
    client.submit(&job).await.expect("the broker takes it");
    running(&client, &job.job_id).await;
    let traces: Vec<String> = nothing
        .look()
        .await
        .into_iter()
        .filter(|trace| trace.starts_with("control group"))
        .collect();
    assert!(!traces.is_empty(), "there is something to leave behind");
    first.signal(Signal::KILL);
    assert_eq!(first.ended().await, 1009);

    let mut second = installation.worker("second");
    let result = result_of(&client, &job.job_id).await;
    assert_eq!((result.worker_id.as_str(), result.attempt), ("second", 2), "{result:#?}");
    assert_eq!(stdout(&result), "slept\n");
    eventually("the end of what the dead worker had", || async {
        let now = nothing.look().await;
        (!traces.iter().any(|trace| now.contains(trace))).then_some(())
    })
    .await;
    second.signal(Signal::TERM);
    assert_eq!(second.ended().await, 0, "{}", second.log());
    nothing.are_gone().await;
    // One result, and nothing that would make another.
    let (_connection, channel) = services.channel().await.expect("the broker runs");
    for priority in sandfleet_common::Priority::ALL {
        let queue = sandfleet_common::names::job_queue(
            &services.prefix,
            sandfleet_common::Isolation::Container,
            *priority,
        );
        let left = channel
            .queue_purge(queue.as_str().into(), Default::default())
            .await
            .expect("the queue is there");
        assert_eq!(left, 0, "{queue}");
    }
    assert_eq!(services.dead_letter().await, None);
}

#[tokio::test]
async fn the_containers_of_a_killed_worker_end() {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services).set("SANDBOX_BACKEND", "docker");
    let client = services.client().await;
    let id = services.prefix.clone();
    let mut worker = installation.worker(&id);
    let marker = format!("marker-{id}");
    let mut job = sleeper(1000.0);
    job.args = vec![marker.clone()];
    job.limits.wall_time_ms = Some(LONG.as_millis() as u64);
    client.submit(&job).await.expect("the broker takes it");
    eventually("the program", || async { has_process(&marker).then_some(()) }).await;
    worker.signal(Signal::KILL);
    worker.ended().await;
    eventually("the program's end", || async { (!has_process(&marker)).then_some(()) }).await;
    sandfleet_tests::remove_containers(&id).await;
}

fn has_process(argument: &str) -> bool {
    let entries = fs::read_dir("/proc").expect("/proc is there").flatten();
    let mut lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.any(|line| line.split(|byte| *byte == 0).any(|part| part == argument.as_bytes()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reaper_leaves_workers_alone_that_just_start() {
    let test_cgroup = TestCgroup::fresh();
    let config = NativeConfig {
        cgroup_parent: test_cgroup.path(),
        user_base: 500_000,
        cpus: 1.0,
        warm: Vec::new(),
        images: None,
        slots: 1,
        observer: Default::default(),
    };
    let open = || NativeSandbox::open(config.clone());
    let reapers = [open().await, open().await].map(|it| it.expect("this host has all barriers"));
    let done = AtomicBool::new(false);
    let reap = async |reaper: &NativeSandbox| {
        while !done.load(Ordering::SeqCst) {
            reaper.reap().await.expect("it looks");
        }
    };
    let start = async {
        for _ in 0..10 {
            for worker in join_all((0..12).map(|_| open())).await {
                worker.expect("nobody takes its groups away").close().await;
            }
        }
        done.store(true, Ordering::SeqCst);
    };
    tokio::join!(reap(&reapers[0]), reap(&reapers[1]), start);
    for reaper in reapers {
        reaper.close().await;
    }
}

#[tokio::test]
async fn the_reaper_touches_nothing_that_is_not_a_workers() {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services);
    let mut dead = installation.worker("dead");
    dead.ready().await;
    dead.signal(Signal::KILL);
    dead.ended().await;
    // The reaper looks into one hierarchy after the other: when the dead worker's groups are gone
    // from the last, it has seen all.
    let directories = installation.test_cgroup.directories();
    let last = directories.last().expect("there is one");
    let abandoned: Vec<_> = fs::read_dir(last)
        .expect("our test_cgroup")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_dir() && !path.ends_with("sandfleet.worker"))
        .collect();
    assert_eq!(abandoned.len(), 1, "{abandoned:#?}");

    let mut foreign = Vec::new();
    // Such as units of systemd's are called that run workers, and the groups of these tests.
    for name in ["sandfleet-worker.service", "sandfleet-worker-7.service", "sandfleet-tests-1a2b"] {
        let group = directories[0].join(name);
        fs::create_dir(&group).expect("our test_cgroup");
        let mut command = Command::new("sleep");
        command.arg("1000").stdin(Stdio::null()).kill_on_drop(true);
        let process = command.spawn().expect("everybody has sleep");
        let pid = process.id().expect("it runs").to_string();
        fs::write(group.join("cgroup.procs"), pid).expect("our test_cgroup");
        foreign.push((group, process));
    }
    let mut worker = installation.worker("alive");
    worker.ready().await;
    eventually("the reaper", || async { (!abandoned[0].exists()).then_some(()) }).await;
    for (group, process) in &mut foreign {
        assert_eq!(process.try_wait().expect("our child"), None, "{} lives", group.display());
        assert!(group.exists(), "{}", group.display());
    }
}

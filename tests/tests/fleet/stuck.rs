//! Workers whose host can't end what they have started.

use std::fs;

use sandfleet_common::Job;
use sandfleet_tests::{Frozen, Installation, Services, eventually};

use crate::{result_of, stdout};

/// The processes of all slots.
fn processes(installation: &Installation) -> Vec<u32> {
    let memory = &installation.test_cgroup.directories()[0];
    let worker = fs::read_dir(memory).expect("it is there").flatten();
    let slots = worker.filter_map(|entry| fs::read_dir(entry.path()).ok()).flatten().flatten();
    let lists =
        slots.filter_map(|entry| fs::read_to_string(entry.path().join("cgroup.procs")).ok());
    let numbers =
        |list: String| list.lines().filter_map(|it| it.parse().ok()).collect::<Vec<u32>>();
    lists.flat_map(numbers).collect()
}

#[tokio::test]
async fn a_worker_without_a_slot_says_so_drains_and_exits_with_its_own_code() {
    if !Frozen::is_offered() {
        eprintln!("this host has nothing that keeps a process from being killed");
        return;
    }
    let services = Services::fresh();
    let installation = Installation::fresh()
        .on(&services)
        .set("WORKER_SLOTS", "1")
        .set("SANDBOX_WARM", "false")
        .set("WORKER_LEASE_MS", "2000");
    let client = services.client().await;
    let mut stuck = installation.worker("stuck");
    stuck.ready().await;
    // The worker's own two programs are behind it: whether its sandbox works, and which languages that has.
    let held = eventually("a launcher and the container that waits in its slot", || async {
        Some(processes(&installation)).filter(|found| found.len() == 2)
    })
    .await;
    let frozen = Frozen::hold(&held);
    let job = Job::new("python", "print('done')");
    client.submit(&job).await.expect("the broker takes it");
    // A start and an end that don't come are waited for, for 25 s together.
    eventually("a slot that is discarded", || async {
        stuck.log().contains("a slot is discarded").then_some(())
    })
    .await;
    // Then the end of the launcher, and of what is left at the worker's own end.
    stuck.logs("no slot is left").await;
    assert_eq!(stuck.ended().await, 74, "{}", stuck.log());
    let log = stuck.log();
    assert!(log.contains("no slot is left: 1 of 1 slots held by what can't be ended"), "{log}");
    assert!(log.lines().filter(|line| line.contains("WARN")).count() < 10, "one line each: {log}");
    drop(frozen);

    let _second = installation.worker("second");
    let result = result_of(&client, &job.job_id).await;
    assert_eq!((result.worker_id.as_str(), stdout(&result)), ("second", "done\n"), "{result:#?}");
}

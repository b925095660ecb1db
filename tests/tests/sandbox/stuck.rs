//! Launchers that don't do their part any more, and those that can't even be ended.

use std::{fs, path::Path};

use rustix::process::{Pid, Signal, kill_process};
use sandfleet_common::Verdict;
use sandfleet_tests::{Frozen, LeakCheck, TestCgroup, eventually};
use sandfleet_worker::sandbox::{
    Sandbox,
    native::{NativeConfig, NativeSandbox},
};

use crate::bench::{admitted, python, run};

/// The processes of all slots below `test_cgroup`.
fn launchers(test_cgroup: &TestCgroup) -> Vec<u32> {
    fn below(directory: &Path, found: &mut Vec<u32>) {
        let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
        found.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                below(&entry.path(), found);
            }
        }
    }
    let mut found = Vec::new();
    below(&test_cgroup.directories()[0], &mut found);
    found.retain(|process| *process != std::process::id());
    found
}

/// A native sandbox with one slot, which is ready.
async fn with_one_slot(test_cgroup: &TestCgroup) -> NativeSandbox {
    let config = NativeConfig {
        cgroup_parent: test_cgroup.path(),
        user_base: 600_000,
        cpus: 1.0,
        warm: Vec::new(),
        images: None,
        slots: 1,
        observer: Default::default(),
    };
    NativeSandbox::open(config).await.expect("this host has all barriers")
}

async fn fails(sandbox: &NativeSandbox) -> String {
    let plan = admitted(&python("pass")).plan;
    sandbox.run(&plan, &|_, _| ()).await.expect_err("its launcher does nothing").to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_launcher_that_stands_still_is_replaced() {
    let test_cgroup = TestCgroup::fresh();
    let leak_check = LeakCheck::before(&test_cgroup, "none").await;
    let sandbox = with_one_slot(&test_cgroup).await;
    let stopped = launchers(&test_cgroup);
    assert!(!stopped.is_empty(), "there is one");
    for process in &stopped {
        let process = Pid::from_raw(i32::try_from(*process).expect("a number")).expect("not 0");
        kill_process(process, Signal::STOP).expect("it is ours");
    }
    let error = fails(&sandbox).await;
    assert!(error.contains("not gone in 10 s") && error.contains("state T"), "{error}");
    let result = run(&sandbox, &python("pass")).await;
    assert_eq!(result.verdict, Some(Verdict::Accepted), "{result:#?}");
    assert_eq!(sandbox.capacity().expect("it has places").lost(), 0, "it could be killed");
    assert!(launchers(&test_cgroup).iter().all(|process| !stopped.contains(process)), "it was");
    sandbox.close().await;
    drop(sandbox);
    leak_check.are_gone().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_launcher_that_can_not_be_killed_takes_its_slot_out_until_it_is_gone() {
    if !Frozen::is_offered() {
        eprintln!("this host has nothing that keeps a process from being killed");
        return;
    }
    let test_cgroup = TestCgroup::fresh();
    let leak_check = LeakCheck::before(&test_cgroup, "none").await;
    let sandbox = with_one_slot(&test_cgroup).await;
    let capacity = sandbox.capacity().expect("it has places");
    let frozen = Frozen::hold(&launchers(&test_cgroup));
    let error = fails(&sandbox).await;
    assert!(error.contains("not gone in 10 s") && error.contains("state D"), "{error}");
    let reason = capacity.exhausted().await;
    assert!(reason.contains("no slot is left: 1 of 1"), "{reason}");
    // Nothing more is started that would hang as well.
    let error = fails(&sandbox).await;
    assert!(error.contains("no slot is left"), "{error}");

    drop(frozen);
    eventually("the slot that was lost", || async { (capacity.lost() == 0).then_some(()) }).await;
    let result = run(&sandbox, &python("pass")).await;
    assert_eq!(result.verdict, Some(Verdict::Accepted), "{result:#?}");
    sandbox.close().await;
    drop(sandbox);
    leak_check.are_gone().await;
}

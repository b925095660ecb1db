//! Native containers that were started before there was a program for them.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};
use sandfleet_common::{Job, JobResult, Verdict};
use sandfleet_tests::{children_of, eventually};
use sandfleet_worker::sandbox::Sandbox;

use crate::bench::{natively, python, run};

async fn accepted(sandbox: &dyn Sandbox, job: &Job) -> JobResult {
    let result = run(sandbox, job).await;
    assert_eq!(result.verdict, Some(Verdict::Accepted), "{result:?}");
    result
}

/// Runs programs until containers wait; gives back their first processes.
async fn containers_that_wait(sandbox: &dyn Sandbox) -> Vec<Pid> {
    // A slot starts a container ahead once it has run two programs.
    for _ in 0..6 {
        accepted(sandbox, &python("print('one')")).await;
    }
    eventually("a container that waits", || async {
        let found = first_processes();
        (!found.is_empty()).then_some(found)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_was_killed_while_it_waited_is_given_to_nobody() {
    natively(Vec::new(), async |sandbox| {
        for _ in 0..3 {
            for container in containers_that_wait(sandbox).await {
                // One may have ended since, with its job.
                let _ = kill_process(container, Signal::KILL);
            }
            for _ in 0..3 {
                accepted(sandbox, &python("print('served')")).await;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_has_the_limits_of_its_own_job_and_not_those_of_the_one_before() {
    natively(Vec::new(), async |sandbox| {
        let code = r#"
            import os, resource
            space = os.statvfs("/tmp")
            print(space.f_blocks * space.f_frsize, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
            block = bytearray(100 << 20)
        "#;
        let mut large = python(code);
        (large.limits.scratch_bytes, large.limits.files) = (Some(8 << 20), Some(70));
        let mut small = large.clone();
        (small.limits.scratch_bytes, small.limits.files) = (Some(4 << 20), Some(60));
        small.limits.memory_bytes = Some(50 << 20);
        // In turns, so that each kind finds containers that wait for it, and for the other.
        for turn in 0..12 {
            let (of_large, of_small) = (run(sandbox, &large).await, run(sandbox, &small).await);
            assert_eq!(of_large.verdict, Some(Verdict::Accepted), "{turn}: {of_large:?}");
            let shown = |result: JobResult| result.run.expect("it ran").stdout;
            assert_eq!(shown(of_large), format!("{} 70\n", 8 << 20));
            let verdict = of_small.verdict;
            assert_eq!(verdict, Some(Verdict::MemoryLimitExceeded), "{turn}: {of_small:?}");
            assert_eq!(shown(of_small), format!("{} 60\n", 4 << 20));
        }
    })
    .await;
}

/// The first processes of this process's native containers: children of its children, with two numbers.
fn first_processes() -> Vec<Pid> {
    let is_first = |process: &Pid| {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        numbers.is_some_and(|numbers| numbers.split_whitespace().nth(1) == Some("1"))
    };
    let children = children_of("self").into_iter();
    children.flat_map(|child| children_of(&child.to_string())).filter(is_first).collect()
}

//! Native containers that were started before there was a program for them.

use std::{fs, os::fd::OwnedFd};

use futures_util::future::join_all;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use sandfleet_common::{Job, JobResult, Verdict};
use sandfleet_tests::{children_of, eventually};
use sandfleet_worker::sandbox::Sandbox;

use crate::bench::{natively, python, run};

async fn accepted(sandbox: &dyn Sandbox, job: &Job) -> JobResult {
    let result = run(sandbox, job).await;
    assert_eq!(result.verdict, Some(Verdict::Accepted), "{result:?}");
    result
}

/// Runs programs until a container waits; gives back its first process, and the launcher that it is of.
async fn container_that_waits(sandbox: &dyn Sandbox) -> (Pid, Pid) {
    // A slot starts a container ahead once it has run two programs.
    for _ in 0..6 {
        accepted(sandbox, &python("print('one')")).await;
    }
    eventually("a container that waits", || async {
        first_processes().into_iter().find(|(first, _)| waits_for_an_order(*first))
    })
    .await
}

/// Whether an agent sleeps in a read (no job is under way here): one whose job is over, and that is about to
/// end, reads nothing any more.
fn waits_for_an_order(agent: Pid) -> bool {
    let call = fs::read_to_string(format!("/proc/{agent}/syscall")).unwrap_or_default();
    let number = call.split(' ').next().and_then(|number| number.parse().ok());
    number.is_some_and(|number: u32| READS.contains(&number))
}

/// The numbers of read(2) and recvfrom(2).
#[cfg(target_arch = "x86_64")]
const READS: [u32; 2] = [0, 45];
#[cfg(target_arch = "aarch64")]
const READS: [u32; 2] = [63, 207];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_was_killed_while_it_waited_is_given_to_nobody() {
    natively(Vec::new(), async |sandbox| {
        for _ in 0..3 {
            let (container, launcher) = container_that_waits(sandbox).await;
            let process = pidfd_open(container, PidfdFlags::empty()).expect("it waits");
            let end = pidfd_open(launcher, PidfdFlags::empty()).expect("it has a container");
            assert!(waits_for_an_order(container), "it has gone by itself");
            pidfd_send_signal(&process, Signal::KILL).expect("it waits");
            eventually("its end", || async { has_ended(&process).then_some(()) }).await;
            // It is noticed when the slot would be given to a program: the launcher goes too. All idle slots are
            // asked for, when there are more programs than slots.
            let job = python("print('served')");
            eventually("its slot is given up", || async {
                join_all((0..4).map(|_| accepted(sandbox, &job))).await;
                has_ended(&end).then_some(())
            })
            .await;
        }
    })
    .await;
}

fn has_ended(process: &OwnedFd) -> bool {
    let mut end = [PollFd::new(process, PollFlags::IN)];
    poll(&mut end, Some(&Timespec::default())).expect("a descriptor of a process") == 1
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
        (large.limits.scratch_bytes, large.limits.open_files) = (Some(8 << 20), Some(70));
        let mut small = large.clone();
        (small.limits.scratch_bytes, small.limits.open_files) = (Some(4 << 20), Some(60));
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

/// The first processes of this process's native containers, each with its launcher: children of this process's
/// children, with two numbers.
fn first_processes() -> Vec<(Pid, Pid)> {
    let is_first = |process: &Pid| {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        numbers.is_some_and(|numbers| numbers.split_whitespace().nth(1) == Some("1"))
    };
    let children = children_of("self").into_iter();
    let of = |launcher: Pid| {
        children_of(&launcher.to_string()).into_iter().map(move |child| (child, launcher))
    };
    children.flat_map(of).filter(|(child, _)| is_first(child)).collect()
}

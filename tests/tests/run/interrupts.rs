//! Runs that are ended from outside.

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use sandfleet_tests::{Installation, LeakCheck, eventually, soon};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::Programs;

/// Interrupts a run whose program has started by `interrupt`.
async fn leaves_nothing(sandbox: &str, interrupt: impl FnOnce(Pid)) {
    let installation = Installation::fresh();
    let id = installation.test_cgroup.path().trim_start_matches('/').to_owned();
    let (installation, programs) = (installation.set("WORKER_ID", &id), Programs::new());
    let leak_check = LeakCheck::before(&installation.test_cgroup, &id).await;
    let script = programs.write("it.py", "import time; print('up'); time.sleep(1000)");
    let arguments = ["run", &script, "--sandbox", sandbox, "--limit", "wall_time_ms=60000"];
    let mut process =
        installation.command(&arguments).process_group(0).spawn().expect("the binary is there");
    let mut lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
    let line = soon("a line of output", lines.next_line()).await.expect("readable");
    assert_eq!(line.as_deref(), Some("up"));
    assert!(!leak_check.are_equal().await, "there is something to leave behind");
    interrupt(Pid::from_raw(process.id().expect("it runs") as i32).expect("not zero"));
    let output = soon("its end", process.wait_with_output()).await.expect("it ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{:?} {stderr}", output.status);
    // The tests' engine may be one that the worker warns of.
    let said = stderr.lines().filter(|line| !line.contains("sandbox.allow_outdated_engine"));
    assert_eq!(said.collect::<Vec<_>>(), ["sandfleet: interrupted"]);
    // No process after the run would do it.
    assert!(leak_check.are_equal().await, "{:#?}", leak_check.look().await);
}

#[tokio::test]
async fn an_interrupt_ends_the_program_too() {
    leaves_nothing("native", |pid| kill_process(pid, Signal::INT).expect("it runs")).await;
}

#[tokio::test]
async fn ctrl_c_in_a_terminal_ends_the_program_too() {
    leaves_nothing("native", |pid| kill_process_group(pid, Signal::INT).expect("it runs")).await;
}

#[tokio::test]
async fn an_interrupt_removes_the_container() {
    leaves_nothing("docker", |pid| kill_process(pid, Signal::INT).expect("it runs")).await;
}

#[tokio::test]
async fn a_killed_run_takes_its_program_with_it() {
    let (installation, programs) = (Installation::fresh(), Programs::new());
    let script = programs.write("it.py", "import time; print('up'); time.sleep(1000)");
    let mut command = installation.command(&["run", &script, "--limit", "wall_time_ms=60000"]);
    let mut process = command.spawn().expect("the binary is there");
    let mut lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
    soon("a line of output", lines.next_line()).await.expect("readable");
    process.kill().await.expect("it runs");
    let leak_check = LeakCheck::before(&installation.test_cgroup, "none").await;
    eventually("the end of its processes", || async {
        let traces = leak_check.look().await;
        (!traces.iter().any(|trace| trace.starts_with("process"))).then_some(())
    })
    .await;
}

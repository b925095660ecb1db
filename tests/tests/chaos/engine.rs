//! A Docker engine that stops answering.

use std::{fs, path::Path, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use sandfleet_tests::{LeakCheck, Services, setting};
use tokio::time::{Instant, sleep};

use crate::{
    check::conclude,
    fleet::{Fleet, installation},
    jobs::mixed,
    load::Load,
};

/// So many jobs.
const JOBS: usize = 12;
/// How long it doesn't answer: longer than a worker waits for an answer of it.
const SILENCE: Duration = Duration::from_secs(20);

/// The tests' own engine while it is stopped.
struct Stopped(Pid);

impl Stopped {
    fn engine() -> Self {
        let socket = setting("SANDFLEET_TEST_DOCKER_HOST");
        let socket = Path::new(socket.strip_prefix("unix://").expect("a socket"));
        let file = socket.with_file_name("dockerd-own.pid");
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
        let pid = text.trim().parse().ok().and_then(Pid::from_raw).expect("a process number");
        kill_process(pid, Signal::STOP).expect("the Docker engine runs");
        Self(pid)
    }
}

/// Also when the test fails.
impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::CONT);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_does_not_answer_makes_no_verdicts() {
    let services = Services::fresh();
    let installation = installation(&services).set("SANDBOX_BACKEND", "docker");
    let leak_check = LeakCheck::before(&installation.test_cgroup, "one").await;
    let mut fleet = Fleet::of(&installation);
    fleet.join(&["one"]).await;
    let client = services.client().await;
    let (url, prefix) = (&services.redis_url, &services.prefix);
    let load = Load::of(client, url, prefix, JOBS, Some(JOBS), mixed);
    load.has_results(1).await;
    let stopped = Stopped::engine();
    // The length of the fault.
    sleep(SILENCE).await;
    drop(stopped);
    let again = Instant::now();
    let recovery = load.recovers(again, None).await;
    let fault = "dockerd stops for 20 s";
    let row = conclude(fault, load, fleet, &services, &leak_check, recovery).await;
    assert_eq!(row.jobs, JOBS);
}

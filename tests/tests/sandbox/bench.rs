//! The sandboxes under test, and what a claim needs to try one.

use std::{
    fs,
    sync::Mutex,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use sandfleet_common::{Isolation, Job, JobResult, Limits, Verdict, encode};
use sandfleet_tests::{LeakCheck, TestCgroup};
use sandfleet_worker::{
    admission::{
        Admission, Admitted,
        catalogue::{Catalogue, WarmStart},
    },
    hooks::Stream,
    outcome::{ResultBuilder, conclude},
    sandbox::{
        Sandbox, Watcher,
        docker::{DockerConfig, DockerSandbox},
        native::{NativeConfig, NativeSandbox},
        policy::Policy,
    },
};
use tokio::sync::Notify;

/// Two, so that programs with two processes can be told from those with one.
pub(crate) const CPUS: f64 = 2.0;

/// Tries `claim` on a native sandbox, of which nothing may be left afterwards.
pub(crate) async fn native(claim: impl AsyncFnOnce(&dyn Sandbox)) {
    natively(Vec::new(), claim).await;
}

/// Tries `claim` on a native sandbox with a warm interpreter for it.
pub(crate) async fn warm(claim: impl AsyncFnOnce(&dyn Sandbox)) {
    natively(Catalogue::embedded().warm_starts(), async |sandbox| {
        warm_up(sandbox, &python("print('warm')")).await;
        claim(sandbox).await;
    })
    .await;
}

/// Runs `job` until it starts from a warm interpreter.
pub(crate) async fn warm_up(sandbox: &dyn Sandbox, job: &Job) {
    let begun = Instant::now();
    while !run(sandbox, job).await.sandbox.expect("it ran").warm {
        assert!(begun.elapsed() < Duration::from_secs(60), "no interpreter gets warm");
    }
}

pub(crate) async fn natively(warm: Vec<WarmStart>, claim: impl AsyncFnOnce(&dyn Sandbox)) {
    natively_on(CPUS, warm, claim).await;
}

pub(crate) async fn natively_on(
    cpus: f64,
    warm: Vec<WarmStart>,
    claim: impl AsyncFnOnce(&dyn Sandbox),
) {
    let test_cgroup = TestCgroup::fresh();
    let leak_check = LeakCheck::before(&test_cgroup, "none").await;
    let config = NativeConfig {
        cgroup_parent: test_cgroup.path(),
        user_base: 300_000,
        cpus,
        warm,
        images: None,
        slots: 64,
        observer: Default::default(),
    };
    let sandbox = NativeSandbox::open(config).await.expect("this host has all barriers");
    claim(&sandbox).await;
    sandbox.close().await;
    drop(sandbox);
    leak_check.are_gone().await;
}

/// Tries `claim` on a Docker sandbox, of which nothing may be left afterwards.
pub(crate) async fn docker(claim: impl AsyncFnOnce(&dyn Sandbox)) {
    on_engine("runc", claim).await;
}

/// Tries `claim` on a Docker sandbox with gVisor, of which nothing may be left afterwards.
pub(crate) async fn gvisor(claim: impl AsyncFnOnce(&dyn Sandbox)) {
    on_engine("runsc", claim).await;
}

async fn on_engine(runtime: &str, claim: impl AsyncFnOnce(&dyn Sandbox)) {
    let test_cgroup = TestCgroup::fresh();
    let worker_id = test_cgroup.path().trim_start_matches('/').to_owned();
    let leak_check = LeakCheck::before(&test_cgroup, &worker_id).await;
    let sandbox = open(docker_config(worker_id, runtime)).await;
    claim(&sandbox).await;
    sandbox.close().await;
    leak_check.are_gone().await;
}

/// The sandbox of that configuration.
pub(crate) async fn open(config: DockerConfig) -> DockerSandbox {
    DockerSandbox::open(config).await.expect("the engine runs and has the image")
}

/// A Docker sandbox on the tests' engine.
pub(crate) fn docker_config(worker_id: String, runtime: &str) -> DockerConfig {
    let variable = |name: &str| std::env::var(name);
    DockerConfig {
        host: variable("SANDFLEET_TEST_DOCKER_HOST").expect("run `bash tests/run`, which sets it"),
        runtime: runtime.into(),
        image: variable("SANDFLEET_TEST_IMAGE")
            .unwrap_or_else(|_| "sandfleet/sandbox:latest".into()),
        images: Vec::new(),
        user_base: 400_000,
        cpus: CPUS,
        worker_id,
        // Debian 12 has no newer one.
        allow_outdated: true,
        apparmor_profile: None,
        pool_size: 0,
        slots: 64,
        observer: Default::default(),
    }
}

/// A job that runs `code`, which may be indented as the test is.
pub(crate) fn python(code: &str) -> Job {
    Job::new("python", dedent(code))
}

fn dedent(code: &str) -> String {
    let lines = || code.lines().filter(|line| !line.trim().is_empty());
    let margin = lines().map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    code.lines().map(|line| format!("{}\n", line.get(margin..).unwrap_or(""))).collect()
}

/// Runs a job from its bytes to its result, as a worker does.
pub(crate) async fn run(sandbox: &dyn Sandbox, job: &Job) -> JobResult {
    watch(sandbox, job, &|_, _| {}).await
}

/// What a worker makes of `job`.
pub(crate) fn admitted(job: &Job) -> Admitted {
    let admission = Admission {
        max_job_bytes: 8 << 20,
        default_limits: Limits::default(),
        max_limits: Limits { wall_time_ms: 60_000, scratch_bytes: 1 << 30, ..Limits::default() },
        compile_limits: Limits::default(),
        catalogue: Catalogue::embedded(),
        cpus: 1.0,
        isolation: Isolation::Container,
        max_tests: 100,
        job_wall_time_ms: 600_000,
    };
    admission.admit(&encode(job)).expect("a valid job")
}

/// As [`run`], and tells `watcher` what is printed.
pub(crate) async fn watch(sandbox: &dyn Sandbox, job: &Job, watcher: &Watcher<'_>) -> JobResult {
    let Admitted { job, plan, .. } = admitted(job);
    let result_builder = ResultBuilder::of("test", &job, Timestamp::now());
    let outcome = sandbox.run(&plan, watcher).await.expect("the sandbox works");
    conclude(result_builder, &plan, outcome, sandbox.description(), &Policy::strict())
}

/// Runs a job that has to be accepted and gives what it printed.
pub(crate) async fn stdout_of(sandbox: &dyn Sandbox, job: &Job) -> String {
    let result = run(sandbox, job).await;
    assert_eq!(result.verdict, Some(Verdict::Accepted), "{result:#?}");
    result.run.expect("it ran").stdout
}

/// Runs a job that never ends until it has printed something; then calls `meanwhile` and drops
/// the run.
pub(crate) async fn interrupt(sandbox: &dyn Sandbox, job: &Job, meanwhile: impl AsyncFnOnce()) {
    let printed = Notify::new();
    let watcher = |_: Stream, _: &[u8]| printed.notify_one();
    let running = watch(sandbox, job, &watcher);
    tokio::pin!(running);
    tokio::select! {
        result = &mut running => panic!("it was not to end: {result:#?}"),
        () = printed.notified() => {}
    }
    tokio::select! {
        result = &mut running => panic!("it was not to end: {result:#?}"),
        () = meanwhile() => {}
    }
}

/// What a watcher saw, one after the other.
#[derive(Default)]
pub(crate) struct Seen(Mutex<Vec<(Stream, Vec<u8>)>>);

impl Seen {
    pub(crate) fn push(&self, stream: Stream, bytes: &[u8]) {
        self.0.lock().expect("nobody panicked").push((stream, bytes.to_vec()));
    }

    pub(crate) fn of(&self, wanted: Stream) -> Vec<u8> {
        let seen = self.0.lock().expect("nobody panicked");
        seen.iter().filter(|(stream, _)| *stream == wanted).flat_map(|(_, b)| b.clone()).collect()
    }
}

/// The host's processes with `argument` among theirs.
pub(crate) fn host_processes_with(argument: &str) -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("/proc is there").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let has = |pid: &u32| {
        // It may end while we look.
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|part| part == argument.as_bytes())
    };
    pids.filter(has).collect()
}

/// An argument that no other process has.
pub(crate) fn marker() -> String {
    format!("marker-{}", sandfleet_common::JobId::generate())
}

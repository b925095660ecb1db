//! Tens of thousands of tiny jobs through one worker.

use std::{fs, time::Duration};

use rustix::process::Signal;
use sandfleet_common::{Job, JobId, Verdict};
use sandfleet_tests::{Installation, LeakCheck, Services};
use tokio::time::Instant;

const MIB: usize = 1 << 20;
/// So many are submitted and waited for at a time.
const PART: usize = 5000;

/// How many jobs: 100000, unless `SANDFLEET_TEST_FLOOD` says fewer.
fn jobs() -> usize {
    std::env::var("SANDFLEET_TEST_FLOOD").map_or(100_000, |count| count.parse().expect("a number"))
}

/// The most memory that a process ever had, in bytes.
fn peak_memory(pid: i32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a line");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<usize>().ok()).expect("a number")
        * 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_jobs_of_a_flood_end_and_the_worker_stays_small() {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services).set("WORKER_SLOTS", "4");
    let client = services.client().await;
    let leak_check = LeakCheck::before(&installation.test_cgroup, "only").await;
    let began = Instant::now();
    let mut ids: Vec<JobId> = Vec::new();
    while ids.len() < jobs() {
        let jobs: Vec<Job> = (0..PART.min(jobs() - ids.len()))
            .map(|n| {
                let mut job = Job::new("bash", "echo $((1 + 1))");
                job.tenant = (n % 3 > 0).then(|| format!("tenant-{}", n % 7));
                job
            })
            .collect();
        for outcome in client.submit_batch(&jobs).await {
            ids.push(outcome.expect("accepted"));
        }
    }
    println!("{} jobs accepted after {:?}", ids.len(), began.elapsed());
    let mut worker = installation.worker("only");
    let began = Instant::now();
    for part in ids.chunks(PART) {
        for outcome in client.wait_batch(part, Duration::from_secs(3600)).await {
            let result = outcome.expect("a result");
            assert_eq!((result.verdict, result.attempt), (Some(Verdict::Accepted), 1));
            assert_eq!(result.run.expect("it ran").stdout, "2\n");
        }
    }
    let (peak, took) = (peak_memory(worker.pid().as_raw_nonzero().get()), began.elapsed());
    let rate = ids.len() as f64 / took.as_secs_f64();
    println!(
        "{} results after {took:?}, {rate:.0}/s; the worker had {} MiB at most",
        ids.len(),
        peak / MIB
    );
    assert!(peak < 200 * MIB, "{} MiB", peak / MIB);
    worker.signal(Signal::TERM);
    assert_eq!(worker.ended().await, 0, "{}", worker.log());
    leak_check.are_gone().await;
}

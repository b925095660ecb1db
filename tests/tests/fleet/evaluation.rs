//! Jobs with tests on a fleet: what happens in the middle of them.

use rustix::process::Signal;
use sandfleet_common::{Job, Status, Test, Verdict};
use sandfleet_tests::{Installation, LeakCheck, Services};

use crate::{result_of, running};

/// Tests that take as long as their stdin says, in seconds.
fn job(seconds: &[f64]) -> Job {
    let code = "import time\ntime.sleep(float(input()))\nprint('slept')\n";
    let mut job = Job::new("python", code);
    let test = |(place, seconds): (usize, &f64)| {
        Test::new(place.to_string(), format!("{seconds}\n"), "slept\n")
    };
    job.tests = seconds.iter().enumerate().map(test).collect();
    job.limits.wall_time_ms = Some(20_000);
    job
}

#[tokio::test]
async fn tests_are_run_by_the_fleet_and_a_killed_worker_loses_none() {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services).set("WORKER_LEASE_MS", "1000");
    let client = services.client().await;
    let mut first = installation.worker("first");
    let job = job(&[0.0, 0.0, 1.5, 0.0, 1.5]);
    client.submit(&job).await.expect("the broker takes it");
    running(&client, &job.job_id).await;
    first.signal(Signal::KILL);
    first.ended().await;
    let _second = installation.worker("second");
    let result = result_of(&client, &job.job_id).await;
    assert_eq!((result.worker_id.as_str(), result.attempt), ("second", 2), "{result:#?}");
    assert_eq!(result.verdict, Some(Verdict::Accepted), "{result:#?}");
    assert_eq!(result.tests.len(), 5);
    assert!(result.tests.iter().all(|test| test.is_accepted()), "{result:#?}");
}

#[tokio::test]
async fn a_cancelled_job_and_a_drain_leave_no_test_behind() {
    let services = Services::fresh();
    let installation =
        Installation::fresh().on(&services).set("WORKER_GRACE_MS", "500").set("WORKER_SLOTS", "3");
    let client = services.client().await;
    let leak_check = LeakCheck::before(&installation.test_cgroup, "only").await;
    let mut worker = installation.worker("only");
    worker.ready().await;
    let long = [15.0; 6];
    let cancelled = job(&long);
    client.submit(&cancelled).await.expect("the broker takes it");
    running(&client, &cancelled.job_id).await;
    client.cancel(&cancelled.job_id).await.expect("answered");
    let result = result_of(&client, &cancelled.job_id).await;
    assert_eq!((result.status, result.tests.len()), (Status::Cancelled, 0));
    // One that is given back when the worker stops, and finished by the next.
    let handed_back = job(&[3.0, 3.0]);
    client.submit(&handed_back).await.expect("the broker takes it");
    running(&client, &handed_back.job_id).await;
    worker.signal(Signal::TERM);
    assert_eq!(worker.ended().await, 0, "{}", worker.log());
    leak_check.are_gone().await;
    let _next = installation.worker("next");
    let result = result_of(&client, &handed_back.job_id).await;
    assert_eq!(result.verdict, Some(Verdict::Accepted), "{result:#?}");
}

#[tokio::test]
async fn a_job_whose_tests_take_too_long_is_rejected_with_the_sum() {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services).set("JOBS_JOB_WALL_TIME_MS", "45000");
    let client = services.client().await;
    let _worker = installation.worker("only");
    let job = job(&[0.0, 0.0, 0.0]);
    client.submit(&job).await.expect("the broker takes it");
    let result = result_of(&client, &job.job_id).await;
    assert_eq!(result.status, Status::Rejected);
    let said = result.message.as_str();
    assert!(said.contains("60000 ms") && said.contains("45000 (jobs.job_wall_time_ms)"), "{said}");
}

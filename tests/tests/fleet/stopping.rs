//! Workers that are told to stop.

use rustix::process::{Signal, kill_process_group};
use sandfleet_common::Job;
use sandfleet_tests::{Installation, LeakCheck, Services};

use crate::{result_of, running, sleeper, stdout};

/// Stops a worker in the middle of a job by `stop`: the job ends well, and the next one waits.
async fn drains(stop: impl FnOnce(&sandfleet_tests::FleetWorker)) {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services).set("WORKER_SLOTS", "1");
    let client = services.client().await;
    let leak_check = LeakCheck::before(&installation.test_cgroup, "first").await;
    let mut first = installation.worker("first");
    let (job, next) = (sleeper(1.5), Job::new("python", "print('next')"));
    client.submit(&job).await.expect("the broker takes it");
    running(&client, &job.job_id).await;
    client.submit(&next).await.expect("the broker takes it");
    stop(&first);
    assert_eq!(first.ended().await, 0, "{}", first.log());
    let result = result_of(&client, &job.job_id).await;
    assert_eq!((stdout(&result), result.attempt), ("slept\n", 1), "{result:#?}");
    assert_eq!(result.worker_id, "first");
    leak_check.are_gone().await;

    let _second = installation.worker("second");
    let result = result_of(&client, &next.job_id).await;
    assert_eq!((result.worker_id.as_str(), result.attempt), ("second", 1), "nothing new is taken");
}

#[tokio::test]
async fn a_stopped_worker_finishes_what_runs_and_takes_nothing_new() {
    drains(|worker| worker.signal(Signal::TERM)).await;
}

#[tokio::test]
async fn ctrl_c_in_a_terminal_stops_a_worker_in_order() {
    drains(|worker| kill_process_group(worker.pid(), Signal::INT).expect("it runs")).await;
}

#[tokio::test]
async fn a_job_longer_than_the_grace_period_goes_to_another_worker() {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services).set("WORKER_GRACE_MS", "100");
    let client = services.client().await;
    let leak_check = LeakCheck::before(&installation.test_cgroup, "first").await;
    let mut first = installation.worker("first");
    let job = sleeper(2.5);
    client.submit(&job).await.expect("the broker takes it");
    running(&client, &job.job_id).await;
    first.signal(Signal::TERM);
    assert_eq!(first.ended().await, 0, "{}", first.log());
    leak_check.are_gone().await;

    let _second = installation.worker("second");
    let result = result_of(&client, &job.job_id).await;
    assert_eq!((result.worker_id.as_str(), result.attempt), ("second", 2), "{result:#?}");
    assert_eq!(stdout(&result), "slept\n");
}

#[tokio::test]
async fn a_second_signal_ends_the_grace_period() {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services).set("WORKER_GRACE_MS", "3600000");
    let client = services.client().await;
    let leak_check = LeakCheck::before(&installation.test_cgroup, "first").await;
    let mut worker = installation.worker("first");
    let mut job = sleeper(1000.0);
    job.limits.wall_time_ms = Some(60_000);
    client.submit(&job).await.expect("the broker takes it");
    running(&client, &job.job_id).await;
    worker.signal(Signal::TERM);
    worker.logs(sandfleet_worker::shutdown::STOPPING).await;
    worker.signal(Signal::TERM);
    assert_eq!(worker.ended().await, 0, "{}", worker.log());
    leak_check.are_gone().await;
}

#[tokio::test]
async fn a_worker_stops_by_itself_after_so_many_jobs() {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services).set("WORKER_SLOTS", "2");
    let client = services.client().await;
    let jobs: Vec<Job> = (0..5).map(|_| sleeper(0.3)).collect();
    for outcome in client.submit_batch(&jobs).await {
        outcome.expect("the broker takes it");
    }
    let leak_check = LeakCheck::before(&installation.test_cgroup, "first").await;
    let mut first = installation.worker_with("first", &["--drain-after-jobs", "3"]);
    assert_eq!(first.ended().await, 0, "{}", first.log());
    leak_check.are_gone().await;
    let _second = installation.worker("second");
    let mut ran = std::collections::BTreeMap::new();
    for job in &jobs {
        let result = result_of(&client, &job.job_id).await;
        assert_eq!((stdout(&result), result.attempt), ("slept\n", 1), "{result:#?}");
        *ran.entry(result.worker_id).or_insert(0) += 1;
    }
    assert_eq!(ran, [("first".to_owned(), 3), ("second".to_owned(), 2)].into());
}

#[tokio::test]
async fn a_worker_stops_by_itself_after_a_while_and_finishes_what_runs() {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services);
    let client = services.client().await;
    let mut worker = installation.worker_with("only", &["--drain-after", "2s"]);
    let job = sleeper(3.0);
    client.submit(&job).await.expect("the broker takes it");
    assert_eq!(worker.ended().await, 0, "{}", worker.log());
    let result = client.wait(&job.job_id, std::time::Duration::ZERO).await.expect("it is there");
    assert_eq!((stdout(&result), result.attempt), ("slept\n", 1), "{result:#?}");
    assert!(worker.log().contains("enough"), "{}", worker.log());
}

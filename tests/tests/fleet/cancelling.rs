//! Jobs that are called off.

use std::time::{Duration, Instant};

use sandfleet_common::{Job, Status};
use sandfleet_sdk::Cancellation;
use sandfleet_tests::{Installation, LeakCheck, Services};

use crate::{result_of, running, sleeper};

#[tokio::test]
async fn a_running_job_ends_within_a_second_of_its_cancellation() {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services);
    let client = services.client().await;
    let leak_check = LeakCheck::before(&installation.test_cgroup, "only").await;
    let mut worker = installation.worker("only");
    worker.ready().await;
    let mut job = sleeper(1000.0);
    job.limits.wall_time_ms = Some(60_000);
    client.submit(&job).await.expect("the broker takes it");
    running(&client, &job.job_id).await;
    let began = Instant::now();
    assert_eq!(client.cancel(&job.job_id).await.expect("answered"), Cancellation::Requested);
    let result = result_of(&client, &job.job_id).await;
    let took = began.elapsed();
    assert_eq!((result.status, result.verdict, result.attempt), (Status::Cancelled, None, 1));
    assert!(result.message.starts_with("cancelled by producer "), "{}", result.message);
    assert!(result.message.ends_with("while it ran, in attempt 1"), "{}", result.message);
    // The next renewal would come after five seconds: this was the announcement.
    assert!(took < Duration::from_secs(3), "{took:?}");
    eprintln!("cancelled in {took:?}");
    // The slot is free again, and nothing is left.
    let next = Job::new("python", "print('next')");
    client.submit(&next).await.expect("the broker takes it");
    assert_eq!(result_of(&client, &next.job_id).await.status, Status::Succeeded);
    let ended = client.cancel(&next.job_id).await.expect("answered");
    assert_eq!(ended, Cancellation::Ended(Status::Succeeded));
    worker.signal(rustix::process::Signal::TERM);
    assert_eq!(worker.ended().await, 0, "{}", worker.log());
    leak_check.are_gone().await;
}

#[tokio::test]
async fn a_lost_announcement_is_made_up_for_by_the_next_renewal() {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services).set("WORKER_LEASE_MS", "1500");
    let client = services.client().await;
    let _worker = installation.worker("only");
    let mut job = sleeper(1000.0);
    job.limits.wall_time_ms = Some(60_000);
    client.submit(&job).await.expect("the broker takes it");
    running(&client, &job.job_id).await;
    // The mark alone, as if its announcement was lost.
    let mut redis = services.redis().await;
    let record = sandfleet_common::names::record_key(&services.prefix, &job.job_id);
    redis::cmd("HSET")
        .arg(&record)
        .arg("cancelled_by")
        .arg("nobody")
        .query_async::<()>(&mut redis)
        .await
        .expect("marked");
    let result = result_of(&client, &job.job_id).await;
    assert_eq!(result.status, Status::Cancelled);
    assert!(result.message.starts_with("cancelled by nobody"), "{}", result.message);
}

#[tokio::test]
async fn a_waiting_job_that_is_cancelled_never_starts() {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services);
    let client = services.client().await;
    let jobs = [sleeper(0.0), sleeper(0.0)];
    for job in &jobs {
        client.submit(job).await.expect("the broker takes it");
    }
    let [first, second] = jobs.each_ref().map(|job| job.job_id.as_str());
    let ran = installation.run(&["cancel", first, second, "never-submitted"]).await;
    assert_eq!(ran.code, 66, "{ran:#?}");
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{ran:#?}");
    assert_eq!(lines[0], format!("{first}: cancelled before it was started"));
    assert!(lines[2].starts_with("never-submitted: unknown"), "{}", lines[2]);
    // Nobody waits for the queue.
    for job in &jobs {
        let result = result_of(&client, &job.job_id).await;
        assert_eq!((result.status, result.attempt), (Status::Cancelled, 0));
        assert!(result.message.contains(" on "), "who on which host: {}", result.message);
    }
    let shown = installation.run(&["result", first]).await;
    assert_eq!(shown.code, 123, "{shown:#?}");
    let again = installation.run(&["cancel", first]).await;
    assert_eq!((again.code, again.stdout), (0, format!("{first}: had ended before: cancelled\n")));

    let (_worker, address) = installation.worker_with_admin("only").await;
    crate::admin::counts(address, "sandfleet_job_duplicates_total", 2).await;
    crate::admin::counts(address, "sandfleet_job_starts_total{language=\"python\"}", 0).await;
}

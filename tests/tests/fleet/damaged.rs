//! Keys in the store that no worker and no producer made: a client that may write to it can spoil a job, and
//! no other.

use std::time::Duration;

use redis::AsyncCommands;
use sandfleet_common::{Job, Priority, Status, encode, names};
use sandfleet_sdk::Error;
use sandfleet_tests::{Installation, Services, eventually};

use crate::{result_of, stdout};

/// A fleet of one worker with one slot: what holds that, holds up all.
async fn fleet() -> (Services, Installation) {
    let services = Services::fresh();
    let installation =
        Installation::fresh().on(&services).set("WORKER_SLOTS", "1").set("WORKER_LEASE_MS", "1000");
    (services, installation)
}

#[tokio::test]
async fn a_job_whose_keys_are_damaged_is_set_aside_and_keeps_no_other_waiting() {
    let (services, installation) = fleet().await;
    let client = services.client().await;
    let mut redis = services.redis().await;
    let bad: Vec<Job> = (0..3).map(|_| Job::new("python", "print('bad')")).collect();
    let prefix = &services.prefix;
    let () = redis.set(names::record_key(prefix, &bad[0].job_id), "x").await.expect("set");
    let record = names::record_key(prefix, &bad[1].job_id);
    let () = redis.hset(record, "attempts", "many").await.expect("set");
    let lease = names::lease_key(prefix, &bad[2].job_id);
    let () = redis.rpush(lease, "w/x").await.expect("set");
    for job in &bad {
        services.push(Priority::Interactive, &encode(job)).await;
    }
    let _worker = installation.worker("only");
    let good = Job::new("python", "print('good')");
    client.submit(&good).await.expect("the broker takes it");
    assert_eq!(stdout(&result_of(&client, &good.job_id).await), "good\n");
    // What can have a result has one.
    assert_eq!(result_of(&client, &bad[1].job_id).await.status, Status::Error);
    for _ in [0, 2] {
        let (_, reason) =
            eventually("a message that was set aside", || async { services.unreadable().await })
                .await;
        assert!(reason.contains("keys are damaged"), "{reason}");
    }
}

#[tokio::test]
async fn the_result_of_another_job_is_not_returned() {
    let (services, installation) = fleet().await;
    let client = services.client().await;
    let _worker = installation.worker("only");
    let (job, other) = (Job::new("python", "print('mine')"), Job::new("python", ""));
    client.submit(&job).await.expect("the broker takes it");
    result_of(&client, &job.job_id).await;
    let [key, others] = [&job, &other].map(|job| names::result_key(&services.prefix, &job.job_id));
    let mut redis = services.redis().await;
    let mine: Vec<u8> = redis.get(key).await.expect("stored");
    let () = redis.set(others, mine).await.expect("set");
    let is_told =
        |error: &Error| matches!(error, Error::ForeignResult { found, .. } if *found == job.job_id);
    let error = client.get(&other.job_id).await.expect_err("not its own");
    assert!(is_told(&error), "{error}");
    let ids = [other.job_id.clone()];
    let waited = client.wait_batch(&ids, Duration::from_secs(5)).await.remove(0);
    assert!(is_told(waited.as_ref().expect_err("not its own")), "{waited:?}");
}

#[tokio::test]
async fn a_lease_without_an_end_gets_one() {
    let (services, installation) = fleet().await;
    let client = services.client().await;
    let job = Job::new("python", "print('ran')");
    let lease = names::lease_key(&services.prefix, &job.job_id);
    let () = services.redis().await.set(lease, "gone/x").await.expect("set");
    services.push(Priority::Interactive, &encode(&job)).await;
    let _worker = installation.worker("only");
    assert_eq!(stdout(&result_of(&client, &job.job_id).await), "ran\n");
}

#[tokio::test]
async fn forged_announcements_hide_no_worker() {
    let (services, installation) = fleet().await;
    let client = services.client().await;
    let mut redis = services.redis().await;
    let index = names::workers_key(&services.prefix);
    let future = 4_000_000_000_000_i64;
    let forged: Vec<(i64, String)> = (0..12_000).map(|n| (future, format!("forged-{n}"))).collect();
    let () = redis.zadd_multiple(&index, &forged).await.expect("set");
    let () = redis.sadd(names::worker_key(&services.prefix, "forged-1"), "x").await.expect("set");
    let mut worker = installation.worker("true");
    worker.ready().await;
    let workers = client.workers().await.expect("listed");
    let ids: Vec<_> = workers.iter().map(|worker| worker.worker_id.as_str()).collect();
    assert_eq!(ids, ["true"]);
    // With a time that may be, their keys are looked at.
    let () = redis.zadd(&index, "forged-1", 4_000_000_000_i64).await.expect("set");
    assert_eq!(client.workers().await.expect("listed").len(), 1);
}

#[tokio::test]
async fn a_record_with_a_long_queue_name_shows_its_job() {
    let (services, _installation) = fleet().await;
    let client = services.client().await;
    let job = Job::new("python", "");
    let record = names::record_key(&services.prefix, &job.job_id);
    let () = services.redis().await.hset(record, "queue", "q".repeat(300)).await.expect("set");
    let progress = client.progress(&job.job_id).await.expect("shown");
    assert!(progress.state.is_queued() && progress.queue_depth.is_none(), "{progress:?}");
}

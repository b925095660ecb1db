//! Jobs whose end no worker sees: each has a result all the same.

use rustix::process::Signal;
use sandfleet_common::{Job, JobResult, JobState, Priority, Status, Verdict, encode};
use sandfleet_sdk::{Client, ClientConfig};
use sandfleet_tests::{Clock, Installation, PrivateRedis, Services, eventually};

use crate::{result_of, sleeper, stdout};

#[tokio::test]
async fn a_job_that_kills_its_worker_each_time_ends_with_an_error() {
    let services = Services::fresh();
    let installation =
        Installation::fresh().on(&services).set("WORKER_LEASE_MS", "1000").set("WORKER_SLOTS", "2");
    let client = services.client().await;
    let mut poison = sleeper(1000.0);
    poison.limits.wall_time_ms = Some(60_000);
    client.submit(&poison).await.expect("the broker takes it");
    for number in 1..=3 {
        let mut victim = installation.worker(&format!("victim-{number}"));
        eventually("its start", || async {
            match client.get(&poison.job_id).await.expect("the store runs") {
                JobState::Running(running) => (running.attempt == number).then_some(()),
                _ => None,
            }
        })
        .await;
        victim.signal(Signal::KILL);
        assert_eq!(victim.ended().await, 1009);
    }
    let neighbour = Job::new("python", "print('unharmed')");
    client.submit(&neighbour).await.expect("the broker takes it");
    let _survivor = installation.worker("survivor");
    let result = result_of(&client, &poison.job_id).await;
    assert_eq!((result.status, result.verdict), (Status::Error, Some(Verdict::InternalError)));
    assert!(result.message.starts_with("given up after 3 attempts"), "{}", result.message);
    let neighbour = result_of(&client, &neighbour.job_id).await;
    assert_eq!((stdout(&neighbour), neighbour.attempt), ("unharmed\n", 1));
    assert_eq!(services.dead_letter().await, None);
}

#[tokio::test]
async fn the_last_of_several_attempts_runs_alone() {
    let services = Services::fresh();
    let installation =
        Installation::fresh().on(&services).set("WORKER_LEASE_MS", "1000").set("WORKER_SLOTS", "2");
    let client = services.client().await;
    let slow = Job::new("python", "import time; time.sleep(4); print(time.time())");
    client.submit(&slow).await.expect("the broker takes it");
    let mut last = None;
    for number in 1..=3 {
        let mut worker = installation.worker(&format!("worker-{number}"));
        eventually("its start", || async {
            match client.get(&slow.job_id).await.expect("the store runs") {
                JobState::Running(running) => (running.attempt == number).then_some(()),
                _ => None,
            }
        })
        .await;
        if number < 3 {
            worker.signal(Signal::KILL);
            assert_eq!(worker.ended().await, 1009);
        }
        last = Some(worker);
    }
    let neighbour = Job::new("python", "import time; print(time.time())");
    client.submit(&neighbour).await.expect("the broker takes it");
    let time = |result: &JobResult| stdout(result).trim().parse::<f64>().expect("a time");
    let ended = time(&result_of(&client, &slow.job_id).await);
    let began = time(&result_of(&client, &neighbour.job_id).await);
    assert!(began >= ended, "{} s before its end", ended - began);
    drop(last);
}

#[tokio::test]
async fn a_job_that_the_broker_gave_up_has_a_result() {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services);
    let client = services.client().await;
    let mut job = Job::new("python", "print('never')");
    job.metadata = [("course".to_owned(), serde_json::json!(7))].into();
    client.submit(&job).await.expect("the broker takes it");
    // As often as the broker allows, and once more.
    let (connection, channel) = services.channel().await.expect("the broker runs");
    let queue = sandfleet_common::names::job_queue(
        &services.prefix,
        sandfleet_common::Isolation::Container,
        Priority::Interactive,
    );
    eventually("the end of the broker's patience", || async {
        let got = channel
            .basic_get(queue.as_str().into(), Default::default())
            .await
            .expect("the queue is there");
        let Some(message) = got else {
            let dead = sandfleet_common::names::dead_queue(&services.prefix);
            let passive =
                lapin::options::QueueDeclareOptions { passive: true, ..Default::default() };
            let dead = channel.queue_declare(dead.as_str().into(), passive, Default::default());
            return (dead.await.expect("it is there").message_count() == 1).then_some(());
        };
        let back = lapin::options::BasicRejectOptions { requeue: true };
        message.delivery.acker.reject(back).await.expect("rejected");
        None
    })
    .await;
    drop((channel, connection));
    let _worker = installation.worker("only");
    let result = result_of(&client, &job.job_id).await;
    assert_eq!((result.status, result.verdict), (Status::Error, Some(Verdict::InternalError)));
    assert!(result.message.contains(&queue), "{}", result.message);
    assert_eq!((result.worker_id.as_str(), &result.metadata), ("only", &job.metadata));
    eventually("the end of the dead letter", || async {
        services.dead_letter().await.is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_dead_letter_does_not_touch_a_job_that_has_its_result_or_runs() {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services);
    let client = services.client().await;
    let _worker = installation.worker("only");
    let (done, runs) = (Job::new("python", "print('done')"), sleeper(2.0));
    client.submit(&done).await.expect("the broker takes it");
    let result = result_of(&client, &done.job_id).await;
    client.submit(&runs).await.expect("the broker takes it");
    crate::running(&client, &runs.job_id).await;
    services.bury(&encode(&done)).await;
    services.bury(&encode(&runs)).await;
    assert_eq!(stdout(&result_of(&client, &runs.job_id).await), "slept\n");
    // What names no job goes to people, and shows that all before it was seen.
    services.bury(b"no job").await;
    let letter = eventually("a letter for people", || services.dead_letter()).await;
    assert_eq!(letter.0, b"no job");
    assert_eq!(result_of(&client, &done.job_id).await, result);
    assert_eq!(services.dead_letter().await, None);
}

#[tokio::test]
async fn a_store_without_memory_holds_results_back_and_loses_none() {
    let services = Services::fresh();
    let store = PrivateRedis::start(&["--maxmemory-policy", "noeviction"]).await;
    let installation =
        Installation::fresh().on(&services).set("STORE_URL", &store.url()).set("WORKER_SLOTS", "2");
    let config = ClientConfig { redis_url: store.url(), ..services.client_config() };
    let client = Client::connect(config).await.expect("the services run");
    let worker = installation.worker("only");
    let jobs: Vec<Job> = (0..6).map(|_| sleeper(0.5)).collect();
    for job in &jobs {
        client.submit(job).await.expect("the broker takes it");
    }
    crate::running(&client, &jobs[0].job_id).await;
    store.config("maxmemory", "1").await;
    worker.logs("not ready").await;
    // Nothing is acknowledged, and no more is taken than there are slots.
    let queue = sandfleet_common::names::job_queue(
        &services.prefix,
        sandfleet_common::Isolation::Container,
        Priority::Interactive,
    );
    let (_connection, channel) = services.channel().await.expect("the broker runs");
    let passive = lapin::options::QueueDeclareOptions { passive: true, ..Default::default() };
    let left = channel.queue_declare(queue.as_str().into(), passive, Default::default()).await;
    assert!(left.expect("it is there").message_count() >= 3, "it takes and takes");
    store.config("maxmemory", "0").await;
    for job in &jobs {
        let result = result_of(&client, &job.job_id).await;
        assert_eq!((stdout(&result), result.attempt), ("slept\n", 1));
    }
}

#[tokio::test]
async fn a_worker_whose_clock_is_an_hour_off_expires_nothing_early_and_nothing_late() {
    let services = Services::fresh();
    let client = services.client().await;
    for ahead in ["+1h", "-1h"] {
        let installation = Installation::fresh().on(&services);
        let mut fresh = Job::new("python", "import time; print(time.time() > 0)");
        fresh.ttl_ms = Some(600_000);
        let mut old = Job::new("python", "print('never')");
        old.ttl_ms = Some(1);
        for job in [&fresh, &old] {
            client.submit(job).await.expect("the broker takes it");
        }
        let clock = Clock::ahead(ahead);
        let mut worker = installation.worker_by("off", |command| clock.worn_by(command));
        let result = result_of(&client, &fresh.job_id).await;
        assert_eq!(result.status, Status::Succeeded, "{ahead}: {}", result.message);
        let apart = result.started_at.duration_since(jiff::Timestamp::now()).abs();
        assert!(apart.as_secs() > 3000, "its clock was not off: {apart}");
        assert!(result.timing.queue_ms < 300_000, "{ahead}: {}", result.timing.queue_ms);
        let result = result_of(&client, &old.job_id).await;
        assert_eq!(result.status, Status::Expired, "{ahead}: {}", result.message);
        worker.signal(Signal::TERM);
        assert_eq!(worker.ended().await, 0, "{}", worker.log());
    }
}

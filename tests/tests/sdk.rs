//! What a producer is promised.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use sandfleet_common::{Isolation, Job, JobId, Priority, decode_job, names};
use sandfleet_sdk::{Client, ClientConfig, Error, OpenState};
use sandfleet_tests::{DEADLINE, Services, claim, eventually, result, soon};
use sandfleet_worker::{
    queue::Queue,
    queue::settle::{Settlement, settle},
};

const LONG: Duration = Duration::from_secs(600);

#[tokio::test]
async fn a_submitted_job_arrives_as_it_was_with_the_time_it_was_handed_over() {
    let services = Services::fresh();
    let client = services.client().await;
    let mut job = Job::new("python", "print('ä\0')");
    job.priority = Priority::Batch;
    let id = client.submit(&job).await.expect("accepted");
    assert_eq!(id, job.job_id);
    let mut arrived = services.jobs_in_queue(1).await.remove(0);
    let queued_at = arrived.queued_at.take().expect("it was stamped");
    assert!(queued_at.duration_until(jiff::Timestamp::now()).as_secs() < 60);
    assert_eq!(arrived, job);
}

#[tokio::test]
async fn a_time_stamp_that_is_there_stays() {
    let services = Services::fresh();
    let client = services.client().await;
    let mut job = Job::new("python", "1");
    job.queued_at = Some(jiff::Timestamp::UNIX_EPOCH);
    client.submit(&job).await.expect("accepted");
    assert_eq!(services.jobs_in_queue(1).await, [job]);
}

#[tokio::test]
async fn a_too_large_job_is_refused_before_it_is_sent() {
    let services = Services::fresh();
    let config = ClientConfig { max_job_bytes: 1000, ..services.client_config() };
    let client = Client::connect(config).await.expect("the services run");
    let job = Job::new("python", "#".repeat(1000));
    let error = client.submit(&job).await.expect_err("it is too large");
    assert!(matches!(error, Error::TooLarge { limit: 1000, .. }), "{error}");
    assert!(
        error.to_string().contains("this client sends at most 1000 (max_job_bytes;"),
        "{error}"
    );
    let small = Job::new("python", "1");
    client.submit(&small).await.expect("accepted");
    assert_eq!(services.jobs_in_queue(1).await[0].job_id, small.job_id);
}

#[tokio::test]
async fn an_invalid_job_is_refused_with_the_field() {
    let services = Services::fresh();
    let client = services.client().await;
    let error = client.submit(&Job::new("", "1")).await.expect_err("no language");
    assert!(matches!(&error, Error::InvalidJob { .. }), "{error}");
    assert!(error.to_string().contains("language"), "{error}");
}

#[tokio::test]
async fn a_job_that_no_worker_ever_served_is_unroutable() {
    let services = Services::fresh();
    let client = services.client().await;
    let mut job = Job::new("python", "1");
    job.isolation = Isolation::MicroVm;
    let error = client.submit(&job).await.expect_err("there is no such queue");
    let queue = names::job_queue(&services.prefix, Isolation::MicroVm, Priority::Interactive);
    assert!(matches!(&error, Error::Unroutable { queue: named } if *named == queue), "{error}");
}

#[tokio::test]
async fn a_batch_tells_of_each_job_what_became_of_it() {
    let services = Services::fresh();
    let client = services.client().await;
    let jobs: Vec<Job> = (0..2000)
        .map(|n| {
            let mut job = Job::new(if n % 100 == 7 { "" } else { "python" }, n.to_string());
            if n % 3 == 0 {
                job.isolation = Isolation::GVisor;
            }
            job
        })
        .collect();
    let outcomes = client.submit_batch(&jobs).await;
    assert_eq!(outcomes.len(), jobs.len());
    let mut accepted = BTreeSet::new();
    for (job, outcome) in jobs.iter().zip(outcomes) {
        match (job.language.is_empty(), job.isolation, outcome) {
            (true, _, Err(Error::InvalidJob { job_id, .. })) => assert_eq!(job_id, job.job_id),
            (false, Isolation::GVisor, Err(Error::Unroutable { .. })) => {}
            (false, Isolation::Container, Ok(id)) => {
                assert_eq!(id, job.job_id);
                accepted.insert(id);
            }
            (_, _, outcome) => panic!("{outcome:?} of {job:?}"),
        }
    }
    let arrived = services.jobs_in_queue(accepted.len()).await;
    assert_eq!(arrived.into_iter().map(|job| job.job_id).collect::<BTreeSet<_>>(), accepted);
}

#[tokio::test]
async fn jobs_submitted_at_the_same_time_get_their_own_answers() {
    let services = Services::fresh();
    let client = services.client().await;
    let outcomes = join_all((0..300).map(|n| {
        let client = client.clone();
        async move {
            let mut job = Job::new("python", "1");
            if n % 2 == 0 {
                job.isolation = Isolation::GVisor;
            }
            (job.isolation, client.submit(&job).await)
        }
    }))
    .await;
    for (isolation, outcome) in outcomes {
        assert_eq!(outcome.is_ok(), isolation == Isolation::Container, "{outcome:?}");
    }
}

#[tokio::test]
async fn a_full_queue_refuses_and_says_so() {
    let services = Services::fresh();
    let client = services.client().await;
    let policy = format!("{}-full", services.prefix);
    let pattern = format!("^{}\\.jobs", services.prefix);
    services.rabbitmqctl(&[
        "set_policy",
        "--apply-to",
        "queues",
        &policy,
        &pattern,
        r#"{"max-length":2}"#,
    ]);
    let error =
        eventually("a refusal", || async { client.submit(&Job::new("python", "1")).await.err() })
            .await;
    services.rabbitmqctl(&["clear_policy", &policy]);
    assert!(matches!(error, Error::QueueFull { .. }), "{error}");
}

#[tokio::test]
async fn submitting_survives_a_lost_connection() {
    let services = Services::fresh();
    let (wire, amqp_url) = services.producer_amqp_relay().await;
    let config = ClientConfig { amqp_url, ..services.client_config() };
    let client = Client::connect(config).await.expect("the services run");
    let mut ids = BTreeSet::new();
    for _ in 0..10 {
        let (one, two) = (Job::new("python", "1"), Job::new("python", "2"));
        ids.extend([one.job_id.clone(), two.job_id.clone()]);
        // Idle, and with a message on its way.
        wire.cut();
        wire.mend();
        client.submit(&one).await.expect("accepted");
        let (outcome, ()) = tokio::join!(client.submit(&two), async {
            tokio::task::yield_now().await;
            wire.cut();
            wire.mend();
        });
        outcome.expect("accepted");
    }
    // Some may be there twice, and none is missing.
    let queue = services.queue(&services.amqp_url, 1);
    while !ids.is_empty() {
        let delivery = soon("a job", queue.next()).await.expect("the queue goes on");
        ids.remove(&decode_job(&delivery.body, 8 << 20).expect("a valid job").job_id);
        settle(delivery, Settlement::Done).await;
    }
}

#[tokio::test]
async fn a_broker_that_is_gone_is_an_error_and_then_it_is_back() {
    let services = Services::fresh();
    let (wire, amqp_url) = services.producer_amqp_relay().await;
    let config = ClientConfig { amqp_url, ..services.client_config() };
    let client = Client::connect(config).await.expect("the services run");
    wire.cut();
    let job = Job::new("python", "1");
    let error = soon("an error", client.submit(&job)).await.expect_err("nobody is there");
    assert!(matches!(error, Error::Broker { .. }), "{error}");
    wire.mend();
    client.submit(&job).await.expect("accepted");
}

#[tokio::test]
async fn wait_sees_a_result_stored_before_it_asked() {
    let services = Services::fresh();
    let client = services.client().await;
    let result = result(&JobId::generate(), "done");
    let store = services.store(&services.redis_url);
    store.commit(&result, "a", LONG).await.expect("stored");
    assert_eq!(client.wait(&result.job_id, Duration::ZERO).await.expect("a result"), result);
}

#[tokio::test]
async fn wait_wakes_when_the_result_is_stored() {
    let services = Services::fresh();
    let client = services.client().await;
    let store = services.store(&services.redis_url);
    store.check().await.expect("it runs");
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let result = result(&JobId::generate(), "done");
        let waiting = tokio::spawn({
            let (client, id) = (client.clone(), result.job_id.clone());
            async move { (client.wait(&id, DEADLINE).await, Instant::now()) }
        });
        let channel = names::done_channel(&services.prefix, &result.job_id);
        eventually("a subscription", || async {
            let mut redis = services.redis().await;
            let (_, listeners): (String, usize) = redis::cmd("PUBSUB")
                .arg("NUMSUB")
                .arg(&channel)
                .query_async(&mut redis)
                .await
                .expect("answered");
            (listeners > 0).then_some(())
        })
        .await;
        store.commit(&result, "a", LONG).await.expect("stored");
        let stored = Instant::now();
        let (outcome, woken) = soon("the result", waiting).await.expect("no panic");
        assert_eq!(outcome.expect("a result"), result);
        slowest = slowest.max(woken.saturating_duration_since(stored));
    }
    // The slow re-read comes after 1.5 s at the earliest, so it wasn't that.
    assert!(slowest < Duration::from_millis(1000), "the slowest took {slowest:?}");
}

#[tokio::test]
async fn wait_ends_in_time_and_tells_whether_the_job_runs() {
    let services = Services::fresh();
    let client = services.client().await;
    let (id, brief) = (JobId::generate(), Duration::from_millis(50));
    let error = client.wait(&id, brief).await.expect_err("there is none");
    assert!(matches!(&error, Error::NoResult { state: OpenState::Unknown, .. }), "{error}");
    services.store(&services.redis_url).claim(&id, &claim("a")).await.expect("claimed");
    let error = client.wait(&id, brief).await.expect_err("there is none");
    assert!(matches!(&error, Error::NoResult { state: OpenState::Running, .. }), "{error}");
    assert!(client.get(&id).await.expect("read").is_running());
}

#[tokio::test]
async fn many_who_wait_share_two_connections() {
    let services = Services::fresh();
    let (wire, redis_url) = services.producer_redis_relay().await;
    let config = ClientConfig { redis_url, ..services.client_config() };
    let client = Client::connect(config).await.expect("the services run");
    let store = services.store(&services.redis_url);
    let results: Vec<_> = (0..500).map(|_| result(&JobId::generate(), "done")).collect();
    let waiting: Vec<_> = results
        .iter()
        .map(|result| {
            let (client, id) = (client.clone(), result.job_id.clone());
            tokio::spawn(async move { client.wait(&id, DEADLINE).await })
        })
        .collect();
    for result in &results {
        store.commit(result, "a", LONG).await.expect("stored");
    }
    for (waiting, result) in waiting.into_iter().zip(results) {
        assert_eq!(waiting.await.expect("no panic").expect("a result"), result);
    }
    assert_eq!(wire.accepted(), 2);
    // Nobody waits any more, so nothing is listened to.
    let mut redis = services.redis().await;
    eventually("the end of all subscriptions", || {
        let mut redis = redis.clone();
        let pattern = format!("{}:*", services.prefix);
        async move {
            let channels: Vec<String> = redis::cmd("PUBSUB")
                .arg("CHANNELS")
                .arg(pattern)
                .query_async(&mut redis)
                .await
                .expect("answered");
            channels.is_empty().then_some(())
        }
    })
    .await;
    redis::cmd("PING").query_async::<()>(&mut redis).await.expect("it runs");
}

#[tokio::test]
async fn five_thousand_jobs_are_submitted_and_waited_for_together() {
    let services = Services::fresh();
    let (wire, redis_url) = services.producer_redis_relay().await;
    let config = ClientConfig { redis_url, ..services.client_config() };
    let client = Client::connect(config).await.expect("the services run");
    let mut jobs: Vec<Job> = (0..5000).map(|n| Job::new("python", n.to_string())).collect();
    for job in jobs.iter_mut().step_by(2) {
        job.tenant = Some("acme".into());
    }
    let began = Instant::now();
    for outcome in client.submit_batch(&jobs).await {
        outcome.expect("accepted");
    }
    println!("5000 jobs accepted after {:?}", began.elapsed());

    let ids: Vec<JobId> = jobs.iter().map(|job| job.job_id.clone()).collect();
    let store = services.store(&services.redis_url);
    let began = Instant::now();
    let (outcomes, ()) = tokio::join!(client.wait_batch(&ids, DEADLINE), async {
        for id in &ids {
            store.commit(&result(id, "done"), "a", LONG).await.expect("stored");
        }
        println!("5000 results stored after {:?}", began.elapsed());
    });
    println!("5000 results here after {:?}", began.elapsed());
    for (id, outcome) in ids.iter().zip(outcomes) {
        assert_eq!(&outcome.expect("a result").job_id, id);
    }
    assert_eq!(wire.accepted(), 2, "one connection for questions, one for announcements");
}

#[tokio::test]
async fn a_batch_that_is_waited_for_tells_which_jobs_are_open() {
    let services = Services::fresh();
    let client = services.client().await;
    let ids: Vec<JobId> = (0..3).map(|_| JobId::generate()).collect();
    let store = services.store(&services.redis_url);
    store.commit(&result(&ids[1], "done"), "a", LONG).await.expect("stored");
    let outcomes = client.wait_batch(&ids, Duration::from_millis(200)).await;
    assert!(matches!(&outcomes[0], Err(Error::NoResult { job_id, .. }) if *job_id == ids[0]));
    assert_eq!(outcomes[1].as_ref().expect("a result").job_id, ids[1]);
    assert!(matches!(&outcomes[2], Err(Error::NoResult { .. })));
    assert!(client.wait_batch(&[], Duration::from_secs(1)).await.is_empty());
}

#[tokio::test]
async fn a_hundred_megabytes_are_refused_before_they_are_sent() {
    let services = Services::fresh();
    let (wire, amqp_url) = services.producer_amqp_relay().await;
    let config = ClientConfig { amqp_url, ..services.client_config() };
    let client = Client::connect(config).await.expect("the services run");
    // Whatever was sent now would be an error of another kind.
    wire.cut();
    let error = client.submit(&Job::new("python", "#".repeat(100 << 20))).await;
    assert!(matches!(error, Err(Error::TooLarge { .. })), "{error:?}");
}

#[tokio::test]
async fn wait_survives_a_store_that_goes_away() {
    let services = Services::fresh();
    let (wire, redis_url) = services.producer_redis_relay().await;
    let config = ClientConfig { redis_url, ..services.client_config() };
    let client = Client::connect(config).await.expect("the services run");
    let result = result(&JobId::generate(), "done");
    let waiting = tokio::spawn({
        let (client, id) = (client.clone(), result.job_id.clone());
        async move { client.wait(&id, DEADLINE).await }
    });
    eventually("a subscription", || async { (wire.accepted() >= 2).then_some(()) }).await;
    wire.cut();
    // Announced without a subscriber.
    services.store(&services.redis_url).commit(&result, "a", LONG).await.expect("stored");
    wire.mend();
    assert_eq!(waiting.await.expect("no panic").expect("a result"), result);
}

#[tokio::test]
async fn no_error_and_no_debug_output_shows_a_password() {
    let services = Services::fresh();
    let config = ClientConfig {
        amqp_url: "amqp://user:SECRET@127.0.0.1:1/%2f".into(),
        ..services.client_config()
    };
    let shown = format!("{config:?}");
    let error = Client::connect(config).await.expect_err("nobody is there");
    let shown = format!("{shown} {error} {error:?}");
    assert!(shown.contains("amqp://user:***@127.0.0.1:1/%2f"), "{shown}");
    assert!(!shown.contains("SECRET"), "{shown}");
    let config = ClientConfig {
        redis_url: "redis://:SECRET@127.0.0.1:1/0".into(),
        ..services.client_config()
    };
    let error = Client::connect(config).await.expect_err("nobody is there");
    let shown = format!("{error} {error:?}");
    assert!(matches!(error, Error::Store { .. }) && !shown.contains("SECRET"), "{shown}");
    let client = services.client().await;
    let password = services.producer.amqp_url.split([':', '@']).nth(2).expect("a login");
    assert!(!format!("{client:?}").contains(password), "{client:?}");
}

//! A queue without a leader, which answers nothing, or with an error that ends connections.

use std::time::Duration;

use sandfleet_common::{Isolation, Job, Priority, names};
use sandfleet_sdk::{Client, ClientConfig, Error};
use sandfleet_tests::{
    Installation, PrivateBroker, Services, StuckQueue, eventually, http_get, setting,
};
use sandfleet_worker::queue::{
    Queue,
    settle::{Settlement, settle},
};
use tokio::time::Instant;

use crate::{connected, jobs, ready_in_shard, take};

/// A broker of its own: a queue that answers nothing also blocks listing queues.
async fn private_broker() -> (PrivateBroker, Services) {
    let broker = PrivateBroker::start().await;
    let ctl = broker.ctl().display().to_string();
    let services = Services::at(&broker.url(), &setting("SANDFLEET_TEST_REDIS_URL"), &ctl);
    (broker, services)
}

fn interactive(services: &Services) -> String {
    names::job_queue(&services.prefix, Isolation::Container, Priority::Interactive)
}

#[tokio::test]
async fn a_queue_that_falls_silent_keeps_a_worker_from_no_other() {
    keeps_from_no_other(StuckQueue::silent).await;
}

#[tokio::test]
async fn a_queue_that_goes_down_keeps_a_worker_from_no_other() {
    keeps_from_no_other(StuckQueue::down).await;
}

async fn keeps_from_no_other(end: for<'a> fn(&'a Services, &str) -> StuckQueue<'a>) {
    let (_broker, services) = private_broker().await;
    let queue = connected(services.queue(&services.amqp_url, 2)).await;
    services.push(Priority::Interactive, b"returned").await;
    let returned = take(&queue).await;
    let name = interactive(&services);
    let stuck = end(&services, &name);
    // What is settled now, the queue hears of when it goes on.
    settle(returned, Settlement::Requeue).await;
    services.push_all(Priority::Batch, jobs("batch", 20)).await;
    let began = Instant::now();
    for _ in 0..10 {
        let taken = [take(&queue).await, take(&queue).await];
        for delivery in taken {
            assert!(delivery.body.starts_with(b"batch"));
            settle(delivery, Settlement::Done).await;
        }
    }
    println!("20 jobs of another queue after {:?}", began.elapsed());
    let note = queue.check().await.expect("it works").expect("a note");
    assert!(note.contains(&format!("no answer from queue {name};")), "{note}");
    drop(stuck);
    let again = take(&queue).await;
    assert_eq!(again.body, b"returned");
    settle(again, Settlement::Done).await;
    assert_eq!(queue.check().await, Ok(None));
}

#[tokio::test]
async fn a_queue_that_is_silent_from_the_start_is_named_and_comes_back() {
    let (_broker, services) = private_broker().await;
    let in_the_stuck_one = Job::new("python", "print('late')");
    let late = services.client().await.submit(&in_the_stuck_one).await.expect("accepted");
    let name = interactive(&services);
    let stuck = StuckQueue::silent(&services, &name);

    let began = Instant::now();
    let installation = Installation::fresh().on(&services);
    let (worker, admin) = installation.worker_with_admin("only").await;
    // Producers that connect now can do so, too.
    let client = services.client().await;
    let mut elsewhere = Job::new("python", "print('soon')");
    elsewhere.tenant = Some("acme".into());
    for _ in 0..2 {
        elsewhere.job_id = Job::new("python", "").job_id;
        let id = client.submit(&elsewhere).await.expect("accepted");
        let result = client.wait(&id, Duration::from_secs(30)).await.expect("it runs");
        assert_eq!(result.run.expect("it ran").stdout, "soon\n");
    }
    println!("2 jobs of another queue after {:?}", began.elapsed());
    eventually("a word on the stuck queue", || async {
        let (status, body) = http_get(admin, "/readyz").await;
        (status == 200 && body.contains(&name)).then_some(())
    })
    .await;

    let resumed = Instant::now();
    drop(stuck);
    let result = client.wait(&late, Duration::from_secs(30)).await.expect("it runs");
    assert_eq!((result.attempt, result.run.expect("it ran").stdout.as_str()), (1, "late\n"));
    println!("and the stuck queue's after {:?}", resumed.elapsed());
    eventually("silence on it", || async {
        let (status, body) = http_get(admin, "/readyz").await;
        (status == 200 && !body.contains(&name)).then_some(())
    })
    .await;
    let log = worker.log();
    let lines = |part| log.lines().filter(|line| line.contains(part)).count();
    assert_eq!(lines("a queue is stuck"), 1, "{log}");
    assert_eq!(lines("a queue answers again"), 1, "{log}");
    assert_eq!(lines("connecting again"), 0, "{log}");
}

#[tokio::test]
async fn a_tenant_one_of_whose_queues_is_silent_is_given_the_other() {
    let (_broker, services) = private_broker().await;
    let config = ClientConfig { timeout: Duration::from_secs(3), ..services.client_config() };
    let client = Client::connect(config).await.expect("the services run");
    let [first, second] = names::tenant_shards("acme");
    let priority = Priority::Interactive;
    let name = names::shard_queue(&services.prefix, Isolation::Container, priority, first);
    let stuck = StuckQueue::silent(&services, &name);
    let mut job = Job::new("python", "1");
    job.tenant = Some("acme".into());
    let error = client.submit(&job).await.expect_err("nobody confirms");
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    for _ in 0..5 {
        client.submit(&job).await.expect("accepted");
        job.job_id = Job::new("python", "1").job_id;
    }
    assert_eq!(ready_in_shard(&services, priority, second).await, Some(5));
    drop(stuck);
}

//! A broker that is out of memory, or past a timeout.

use std::time::Duration;

use sandfleet_common::{Isolation, Job, Priority, names};
use sandfleet_sdk::{Client, ClientConfig, Error};
use sandfleet_tests::{Services, eventually, soon};
use sandfleet_worker::queue::{
    Queue,
    settle::{Settlement, settle},
};
use tokio::time::Instant;

/// Undoes what was done to the broker, also when a test fails.
struct Undo<'a>(&'a Services, &'static [&'static [&'static str]]);

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        self.1.iter().for_each(|arguments| drop(self.0.rabbitmqctl(arguments)));
    }
}

/// How many messages a queue has, unacknowledged ones included.
fn messages(services: &Services) -> Option<usize> {
    let queue = names::job_queue(&services.prefix, Isolation::Container, Priority::Interactive);
    let listed = services.rabbitmqctl(&["--silent", "list_queues", "name", "messages"]);
    let line = listed.lines().find_map(|line| line.strip_prefix(&queue)?.strip_prefix('\t'))?;
    line.trim().parse().ok()
}

#[tokio::test]
async fn a_broker_without_memory_blocks_submits_and_not_acks() {
    let services = Services::fresh();
    let config = ClientConfig { timeout: Duration::from_secs(3), ..services.client_config() };
    let client = Client::connect(config).await.expect("the services run");
    let queue = services.queue(&services.amqp_url, 2);
    client.submit(&Job::new("python", "1")).await.expect("accepted");
    let running = soon("a job", queue.next()).await.expect("the queue goes on");

    let undo = Undo(&services, &[&["set_vm_memory_high_watermark", "0.4"]]);
    services.rabbitmqctl(&["set_vm_memory_high_watermark", "0.00001"]);
    let began = Instant::now();
    let error = loop {
        // The alarm takes a moment.
        let outcome = client.submit(&Job::new("python", "2")).await;
        if let Err(error) = outcome {
            break error;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "never blocked");
    };
    println!("{error}");
    assert!(matches!(error, Error::Blocked { .. }), "{error}");
    assert!(error.to_string().contains("blocks publishers"), "{error}");
    let began = Instant::now();
    let again = client.submit(&Job::new("python", "3")).await.expect_err("still blocked");
    assert!(began.elapsed() < Duration::from_secs(8), "{again} after {:?}", began.elapsed());

    let before = messages(&services).expect("the queue is there");
    settle(running, Settlement::Done).await;
    eventually("the acknowledgement", || async {
        (messages(&services) == Some(before - 1)).then_some(())
    })
    .await;
    drop(undo);
    eventually("the end of the alarm", || async {
        client.submit(&Job::new("python", "4")).await.ok()
    })
    .await;
}

#[tokio::test]
async fn a_delivery_that_outlives_the_consumer_timeout_is_given_again_and_the_worker_goes_on() {
    let services = Services::fresh();
    let undo = Undo(
        &services,
        &[
            &["eval", "application:set_env(rabbit, consumer_timeout, 1800000)."],
            &["eval", "application:set_env(rabbit, channel_tick_interval, 60000)."],
        ],
    );
    services.rabbitmqctl(&["eval", "application:set_env(rabbit, consumer_timeout, 2000)."]);
    services.rabbitmqctl(&["eval", "application:set_env(rabbit, channel_tick_interval, 500)."]);
    let client = services.client().await;
    let slow = services.queue(&services.amqp_url, 1);
    client.submit(&Job::new("python", "1")).await.expect("accepted");
    let first = soon("a job", slow.next()).await.expect("the queue goes on");
    let other = services.queue(&services.amqp_url, 1);
    let second = soon("the job again", other.next()).await.expect("the queue goes on");
    assert_eq!(second.body, first.body);
    settle(second, Settlement::Done).await;
    // Its right to settle is gone; the worker notices, connects again, and takes the next job.
    settle(first, Settlement::Done).await;
    other.stop().await;
    client.submit(&Job::new("python", "2")).await.expect("accepted");
    let next = soon("the next job", slow.next()).await.expect("the queue goes on");
    settle(next, Settlement::Done).await;
    drop(undo);
}

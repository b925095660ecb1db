//! Messages that come back from the queues in which they were put off, whatever else is in those.

use std::time::Duration;

use lapin::{BasicProperties, options::BasicPublishOptions};
use sandfleet_common::{Isolation, Priority, names};
use sandfleet_tests::{Services, eventually};
use sandfleet_worker::queue::{
    AmqpConfig, AmqpQueue, Gate, Queue,
    settle::{Settlement, settle},
};
use tokio::time::{Instant, timeout};

use crate::{connected, ready_in, take};

/// More than the broker's dead-lettering holds of each queue at a time, which is 32.
const POISONS: u32 = 40;

/// Publishes messages to the first of the `later` queues.
async fn poison(services: &Services, exchange: &str, routing_key: &str) {
    let (_connection, channel) = services.channel().await.expect("the broker runs");
    channel.confirm_select(Default::default()).await.expect("confirms");
    for _ in 0..POISONS {
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let properties = BasicProperties::default().with_delivery_mode(2);
        let sent = channel
            .basic_publish(exchange.into(), routing_key.into(), options, b"poison", properties)
            .await;
        let confirmed = sent.expect("sent").await.expect("confirmed");
        assert!(confirmed.is_ack() && confirmed.take_message().is_none(), "it has a queue");
    }
}

#[tokio::test]
async fn what_names_no_queue_to_come_back_to_is_set_aside_and_holds_up_nothing() {
    let services = Services::fresh();
    let queue = connected(services.queue(&services.amqp_url, 1)).await;
    let later = names::later_queue(&services.prefix, 0);
    // A queue that isn't there; and the queue that it waits in, so that it would wait for ever.
    poison(&services, &later, "no.such.queue").await;
    poison(&services, "", &later).await;
    services.push(Priority::Interactive, b"job").await;
    settle(take(&queue).await, Settlement::Later).await;
    let began = Instant::now();
    let again = timeout(Duration::from_secs(5), queue.next()).await.expect("it comes back");
    let again = again.expect("the queue goes on");
    println!("back after {:?}", began.elapsed());
    assert_eq!((again.body.as_slice(), again.put_off), (b"job".as_slice(), 1));
    settle(again, Settlement::Done).await;
    let unreadable = names::unreadable_queue(&services.prefix);
    eventually("all poisons in the queue of unreadable messages", || async {
        let count = ready_in(&services, unreadable.clone()).await;
        (count == Some(2 * POISONS)).then_some(())
    })
    .await;
    assert!(services.is_empty().await);
}

/// A worker with its isolation is the first to declare its queues.
#[tokio::test]
async fn a_message_comes_back_in_every_isolation_and_to_the_dead_letters() {
    let services = Services::fresh();
    let _first = connected(services.queue(&services.amqp_url, 1)).await;
    for isolation in Isolation::ALL {
        let config = AmqpConfig {
            url: services.admin.amqp_url.clone(),
            tls: Default::default(),
            prefix: services.prefix.clone(),
            name: format!("{} worker", services.prefix),
            slots: 1,
            limits: Default::default(),
            isolations: vec![*isolation],
            priorities: Priority::ALL.to_vec(),
            worker_users: Default::default(),
        };
        let _worker =
            connected(AmqpQueue::connect(config, Gate::default()).expect("a valid configuration"))
                .await;
    }
    let list = ["-q", "list_bindings", "source_name", "destination_name", "routing_key"];
    let bindings = services.rabbitmqctl(&list);
    let requeue = names::requeue_exchange(&services.prefix);
    let mut wanted = vec![names::dead_queue(&services.prefix)];
    for isolation in Isolation::ALL {
        for priority in Priority::ALL {
            wanted.push(names::job_queue(&services.prefix, *isolation, *priority));
            let shard = |n| names::shard_queue(&services.prefix, *isolation, *priority, n);
            wanted.extend((0..names::TENANT_SHARDS).map(shard));
        }
    }
    let mut bound: Vec<&str> = bindings
        .lines()
        .filter_map(|line| line.strip_prefix(&requeue)?.strip_prefix('\t'))
        .collect();
    let mut wanted: Vec<String> = wanted.iter().map(|it| format!("{it}\t{it}")).collect();
    bound.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(bound, wanted);
}

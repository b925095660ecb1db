//! What RabbitMQ adds to the promises of a queue: several workers, two priorities, and a
//! connection that breaks.

mod faults;
mod put_off;
mod room;
mod stuck;
mod tenants;
mod throughput;

use std::time::Duration;

use lapin::{
    BasicProperties,
    options::{BasicPublishOptions, QueueDeclareOptions, QueueDeleteOptions},
    types::{AMQPValue, FieldTable},
};
use sandfleet_common::{Isolation, Priority, names};
use sandfleet_tests::{Services, eventually, soon};
use sandfleet_worker::queue::{
    AmqpQueue, Delivery, Queue,
    settle::{Settlement, settle},
};

pub(crate) async fn connected(queue: AmqpQueue) -> AmqpQueue {
    eventually("a connection", || async { queue.check().await.ok() }).await;
    queue
}

pub(crate) async fn take(queue: &AmqpQueue) -> Delivery {
    soon("a job", queue.next()).await.expect("the queue goes on")
}

pub(crate) fn jobs(name: &str, count: usize) -> impl Iterator<Item = Vec<u8>> {
    (0..count).map(move |n| format!("{name} {n}").into_bytes())
}

/// How many messages of a job queue are ready; nothing if there is no such queue.
async fn ready(services: &Services, priority: Priority) -> Option<u32> {
    ready_in(services, names::job_queue(&services.prefix, Isolation::Container, priority)).await
}

/// As [`ready`], for one of the tenants' queues.
pub(crate) async fn ready_in_shard(
    services: &Services,
    priority: Priority,
    shard: usize,
) -> Option<u32> {
    let queue = names::shard_queue(&services.prefix, Isolation::Container, priority, shard);
    ready_in(services, queue).await
}

async fn ready_in(services: &Services, queue: String) -> Option<u32> {
    let (_connection, channel) = services.channel().await.expect("the broker runs");
    let passive = QueueDeclareOptions { passive: true, ..Default::default() };
    let declared = channel.queue_declare(queue.as_str().into(), passive, FieldTable::default());
    declared.await.ok().map(|queue| queue.message_count())
}

#[tokio::test]
async fn a_worker_holds_as_many_jobs_as_it_has_slots() {
    let services = Services::fresh();
    services.push_all(Priority::Interactive, jobs("interactive", 10)).await;
    services.push_all(Priority::Batch, jobs("batch", 10)).await;
    let busy = connected(services.queue(&services.amqp_url, 3)).await;
    let mut taken = Vec::new();
    for _ in 0..3 {
        taken.push(take(&busy).await);
    }
    // All the others are there for another worker, at once.
    let idle = connected(services.queue(&services.amqp_url, 20)).await;
    let mut others = Vec::new();
    for _ in 0..17 {
        others.push(take(&idle).await);
    }
    for priority in Priority::ALL {
        assert_eq!(ready(&services, *priority).await, Some(0));
    }
}

#[tokio::test]
async fn a_worker_without_a_free_slot_leaves_new_jobs_to_an_idle_one() {
    let services = Services::fresh();
    let busy = connected(services.queue(&services.amqp_url, 1)).await;
    let idle = connected(services.queue(&services.amqp_url, 1)).await;
    services.push(Priority::Batch, b"long").await;
    let (long, idle) = soon("a job", async {
        tokio::select! {
            job = busy.next() => (job, &idle),
            job = idle.next() => (job, &busy),
        }
    })
    .await;
    // Whichever took the long job: each of these goes to the other one.
    for n in 0..20 {
        services.push(Priority::Interactive, format!("short {n}").as_bytes()).await;
        settle(take(idle).await, Settlement::Done).await;
    }
    drop(long);
}

#[tokio::test]
async fn interactive_jobs_go_first_and_batch_is_not_starved() {
    let services = Services::fresh();
    services.push_all(Priority::Batch, jobs("batch", 20)).await;
    services.push_all(Priority::Interactive, jobs("interactive", 60)).await;
    let queue = connected(services.queue(&services.amqp_url, 1)).await;
    let mut order = Vec::new();
    for _ in 0..64 {
        let delivery = take(&queue).await;
        order.push(delivery.body.starts_with(b"batch"));
        settle(delivery, Settlement::Done).await;
    }
    let batch = order.iter().filter(|batch| **batch).count();
    assert_eq!(batch, 8, "one in eight: {order:?}");
    assert!(!order[0], "an interactive job goes first");
}

#[tokio::test]
async fn a_worker_comes_back_after_its_connection_broke() {
    let services = Services::fresh();
    let (wire, url) = services.amqp_relay().await;
    let queue = connected(services.queue(&url, 2)).await;
    services.push(Priority::Interactive, b"before").await;
    let before = take(&queue).await;
    wire.cut();
    let reason = eventually("bad news", || async {
        queue.check().await.err().map(|trouble| trouble.reason)
    })
    .await;
    assert!(reason.contains("broker"), "{reason}");
    wire.mend();
    // The connection it came over is gone: this settles nothing, and harms nothing.
    settle(before, Settlement::Done).await;
    let again = take(&queue).await;
    assert_eq!(again.body, b"before");
    settle(again, Settlement::Done).await;
    services.push(Priority::Interactive, b"after").await;
    assert_eq!(take(&queue).await.body, b"after");
    queue.check().await.expect("it is connected");
}

#[tokio::test]
async fn a_worker_that_may_make_queues_comes_back_after_they_were_deleted() {
    let services = Services::fresh();
    let queue = connected(services.queue(&services.admin.amqp_url, 2)).await;
    delete_job_queues(&services).await;
    eventually("the queues' return", || ready(&services, Priority::Batch)).await;
    services.push(Priority::Batch, b"job").await;
    assert_eq!(take(&queue).await.body, b"job");
}

#[tokio::test]
async fn any_other_worker_comes_back_when_an_operator_has_made_them_again() {
    let services = Services::fresh();
    let queue = connected(services.queue(&services.amqp_url, 2)).await;
    delete_job_queues(&services).await;
    let reason = eventually("a sentence", || async {
        let trouble = queue.check().await.err()?;
        Some(trouble.reason).filter(|reason| reason.contains("is not there"))
    })
    .await;
    assert!(reason.contains("sandfleet setup"), "{reason}");
    services.declare_for(vec![Isolation::Container]);
    services.push(Priority::Batch, b"job").await;
    assert_eq!(take(&queue).await.body, b"job");
}

async fn delete_job_queues(services: &Services) {
    let (_connection, channel) = services.channel().await.expect("the broker runs");
    for priority in Priority::ALL {
        let name = names::job_queue(&services.prefix, Isolation::Container, *priority);
        channel
            .queue_delete(name.as_str().into(), QueueDeleteOptions::default())
            .await
            .expect("deleted");
    }
}

#[tokio::test]
async fn stopping_hands_back_what_nobody_took() {
    let services = Services::fresh();
    services.push_all(Priority::Interactive, jobs("job", 4)).await;
    let queue = connected(services.queue(&services.amqp_url, 4)).await;
    let taken = take(&queue).await;
    eventually("all to be with the worker", || async {
        (ready(&services, Priority::Interactive).await == Some(0)).then_some(())
    })
    .await;
    soon("the end", queue.stop()).await;
    // The worker is still there, with its connection; what it didn't take is free all the same.
    let other = connected(services.queue(&services.amqp_url, 4)).await;
    for _ in 0..3 {
        assert_ne!(take(&other).await.body, taken.body);
    }
    settle(taken, Settlement::Done).await;
}

#[tokio::test]
async fn a_worker_stops_at_once_when_there_is_no_broker() {
    let services = Services::fresh();
    let (wire, url) = services.amqp_relay().await;
    wire.cut();
    let queue = services.queue(&url, 1);
    let reason = eventually("a reason", || async {
        queue
            .check()
            .await
            .err()
            .map(|trouble| trouble.reason)
            .filter(|reason| reason.contains("can't connect"))
    })
    .await;
    assert!(reason.contains("127.0.0.1") && reason.contains("check that it runs"), "{reason}");
    let (end, ()) = soon("the end", async { tokio::join!(queue.next(), queue.stop()) }).await;
    assert!(end.is_none());
}

#[tokio::test]
async fn a_queue_with_other_settings_is_refused_with_what_differs() {
    let services = Services::fresh();
    let (_connection, channel) = services.channel().await.expect("the broker runs");
    let name = names::job_queue(&services.prefix, Isolation::Container, Priority::Interactive);
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    channel
        .queue_declare(name.as_str().into(), durable, FieldTable::default())
        .await
        .expect("declared");
    // Of a worker that may make queues: any other takes them as they are.
    let queue = services.queue_as_it_is(&services.admin.amqp_url, 1);
    let reason = eventually("a refusal", || async {
        queue
            .check()
            .await
            .err()
            .map(|trouble| trouble.reason)
            .filter(|reason| reason.contains("exists with other settings"))
    })
    .await;
    for part in [name.as_str(), "x-dead-letter-exchange", "wanted is", "delete it"] {
        assert!(reason.contains(part), "{reason:?} doesn't name {part:?}");
    }
}

#[tokio::test]
async fn a_message_returned_too_often_goes_to_the_dead_letters() {
    let services = Services::fresh();
    services.push(Priority::Interactive, b"poison").await;
    let queue = connected(services.queue(&services.amqp_url, 1)).await;
    let mut returns = 0;
    let letter = loop {
        // The broker gives it out 26 times, and then it is gone.
        match tokio::time::timeout(Duration::from_secs(2), queue.next()).await {
            Ok(delivery) => {
                settle(delivery.expect("the queue goes on"), Settlement::Requeue).await;
                returns += 1;
                assert!(returns <= 30, "the limit isn't kept");
            }
            Err(_) => break eventually("a dead letter", || services.dead_letter()).await,
        }
    };
    assert_eq!(letter.0, b"poison");
    assert_eq!(returns, 26);
}

#[tokio::test]
async fn a_message_that_cannot_be_set_aside_goes_back_to_its_queue() {
    let services = Services::fresh();
    let queue = connected(services.queue(&services.amqp_url, 1)).await;
    let set_aside = || Settlement::Unreadable("names no job".into());
    services.push(Priority::Interactive, b"{first").await;
    // Has the connection for that made, which declares the queue.
    settle(take(&queue).await, set_aside()).await;
    eventually("what was set aside", || services.unreadable()).await;
    let (_connection, channel) = services.channel().await.expect("the broker runs");
    let unreadable = names::unreadable_queue(&services.prefix);
    channel
        .queue_delete(unreadable.as_str().into(), QueueDeleteOptions::default())
        .await
        .expect("deleted");
    services.push(Priority::Interactive, b"{second").await;
    // Only `mandatory` tells.
    settle(take(&queue).await, set_aside()).await;
    assert_eq!(take(&queue).await.body, b"{second");
}

/// The broker drops it when the message is published again.
#[tokio::test]
async fn a_message_that_is_put_off_keeps_its_expiration() {
    for settlement in [Settlement::Later, Settlement::Postpone] {
        let services = Services::fresh();
        let queue = connected(services.queue(&services.amqp_url, 1)).await;
        let (_connection, channel) = services.channel().await.expect("the broker runs");
        let name = names::job_queue(&services.prefix, Isolation::Container, Priority::Interactive);
        let sent = channel.basic_publish(
            "".into(),
            name.as_str().into(),
            BasicPublishOptions::default(),
            b"{job",
            BasicProperties::default().with_expiration("1500".into()),
        );
        sent.await.expect("sent");
        let mut deliveries = 0;
        let put_off = async {
            loop {
                settle(take(&queue).await, settlement.clone()).await;
                deliveries += 1;
            }
        };
        let letter = tokio::select! {
            letter = eventually("its end", || services.dead_letter()) => letter,
            () = put_off => unreachable!(),
        };
        assert_eq!(letter, (b"{job".to_vec(), "expired".to_owned()), "{settlement:?}");
        assert!(deliveries > 1, "{settlement:?}: it came back before");
    }
}

#[tokio::test]
async fn the_queue_of_unreadable_messages_drops_its_oldest() {
    const KEPT: u32 = 10_000;
    let services = Services::fresh();
    let _queue = connected(services.queue(&services.amqp_url, 1)).await;
    let unreadable = names::unreadable_queue(&services.prefix);
    let (connection, channel) = services.channel().await.expect("the broker runs");
    for n in 0..KEPT + 50 {
        let body = n.to_string();
        let sent = channel.basic_publish(
            "".into(),
            unreadable.as_str().into(),
            BasicPublishOptions::default(),
            body.as_bytes(),
            BasicProperties::default().with_delivery_mode(2),
        );
        sent.await.expect("sent");
    }
    eventually("the last message", || async {
        (ready_in(&services, unreadable.clone()).await == Some(KEPT)).then_some(())
    })
    .await;
    let (first, _) = services.unreadable().await.expect("they are there");
    assert_eq!(String::from_utf8_lossy(&first), "50", "the oldest are gone");
    drop((channel, connection));
}

#[tokio::test]
async fn an_older_fleets_queue_of_unreadable_messages_serves_as_it_is() {
    let services = Services::fresh();
    let (_connection, channel) = services.channel().await.expect("the broker runs");
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    let unreadable = names::unreadable_queue(&services.prefix);
    let declared = channel.queue_declare(unreadable.as_str().into(), durable, arguments);
    declared.await.expect("declared without bounds");
    let queue = connected(services.queue(&services.amqp_url, 1)).await;
    services.push(Priority::Interactive, b"{broken").await;
    settle(take(&queue).await, Settlement::Unreadable("names no job".into())).await;
    let (body, _) = eventually("what was set aside", || services.unreadable()).await;
    assert_eq!(body, b"{broken");
}

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test]
async fn headers_go_where_their_message_goes() {
    let services = Services::fresh();
    let queue = connected(services.queue(&services.amqp_url, 1)).await;
    let (_connection, channel) = services.channel().await.expect("the broker runs");
    let jobs = names::job_queue(&services.prefix, Isolation::Container, Priority::Interactive);
    let mut headers = FieldTable::default();
    headers.insert("traceparent".into(), AMQPValue::LongString(TRACE.into()));
    // Copies for the queue that it is in: published again with it, a message would never be settled.
    let copies = vec![AMQPValue::LongString(jobs.as_str().into())];
    headers.insert("CC".into(), AMQPValue::FieldArray(copies.into()));
    let sent = channel.basic_publish(
        "".into(),
        jobs.as_str().into(),
        BasicPublishOptions::default(),
        b"job",
        BasicProperties::default().with_headers(headers),
    );
    sent.await.expect("sent");
    settle(take(&queue).await, Settlement::Later).await;
    settle(take(&queue).await, Settlement::Postpone).await;
    let again = take(&queue).await;
    assert_eq!(again.put_off, 1);
    settle(again, Settlement::Unreadable("shown".into())).await;
    let unreadable = names::unreadable_queue(&services.prefix);
    let got = eventually("what was set aside", || async {
        let got = channel.basic_get(unreadable.as_str().into(), Default::default()).await;
        got.expect("the queue is there")
    })
    .await;
    let headers = got.delivery.properties.headers().clone().expect("headers");
    let trace = AMQPValue::LongString(TRACE.into());
    assert_eq!(headers.inner().get("traceparent"), Some(&trace), "{headers:?}");
    assert!(!headers.inner().contains_key("x-death"), "{headers:?}");
    assert!(!headers.inner().contains_key("CC"), "{headers:?}");
    assert_eq!(ready(&services, Priority::Interactive).await, Some(0), "no copy came back");
}

#[tokio::test]
async fn what_a_test_made_is_gone_afterwards() {
    let services = Services::fresh();
    services.push(Priority::Interactive, b"job").await;
    let mut same = Services::fresh();
    same.prefix.clone_from(&services.prefix);
    assert_eq!(ready(&same, Priority::Interactive).await, Some(1));
    drop(services);
    assert_eq!(ready(&same, Priority::Interactive).await, None);
}

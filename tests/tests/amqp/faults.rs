//! Connections that break in the less obvious ways.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use lapin::options::{BasicGetOptions, BasicNackOptions, QueueDeleteOptions};
use sandfleet_common::{Priority, names};
use sandfleet_tests::{Services, eventually};
use sandfleet_worker::queue::{
    AmqpQueue, Queue,
    settle::{Settlement, settle},
};

use crate::{connected, take};

#[tokio::test]
async fn a_worker_leaves_a_broker_that_says_nothing_and_comes_back() {
    let services = Services::fresh();
    let (wire, url) = services.amqp_relay().await;
    // Two of these without a word, and it is dead; in production it is 10 s.
    let queue = connected(services.queue(&format!("{url}?heartbeat=2"), 2)).await;
    services.push(Priority::Interactive, b"before").await;
    let before = take(&queue).await;
    wire.silence();
    let reason = eventually("bad news", || async {
        queue.check().await.err().map(|trouble| trouble.reason)
    })
    .await;
    assert!(reason.contains("broker"), "{reason}");
    // It tries again, and a listener accepts but answers nothing.
    let tries = wire.accepted();
    eventually("another try", || async { (wire.accepted() > tries).then_some(()) }).await;
    // What ran meanwhile ends; where it came from hears nothing of it, and sends it again.
    settle(before, Settlement::Done).await;
    wire.mend();
    let again = take(&queue).await;
    assert_eq!(again.body, b"before");
    settle(again, Settlement::Done).await;
    services.push(Priority::Interactive, b"after").await;
    assert_eq!(take(&queue).await.body, b"after");
}

#[tokio::test]
async fn a_worker_that_is_thrown_out_again_and_again_comes_back_less_and_less_often() {
    let services = Services::fresh();
    let (wire, url) = services.amqp_relay().await;
    wire.cut();
    let began = Instant::now();
    let queue = services.queue(&url, 1);
    eventually("five tries", || async { (wire.accepted() >= 5).then_some(()) }).await;
    // The pauses between them are 0.2, 0.4, 0.8 and 1.6 s, each up to half of it less; on a busy machine all
    // takes longer.
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(1500), "five tries in {took:?}");
    wire.mend();
    connected(queue).await;
}

#[tokio::test]
async fn a_worker_comes_back_when_the_operator_closes_its_connections() {
    let services = Services::fresh();
    let queue = connected(services.queue(&services.amqp_url, 2)).await;
    services.push(Priority::Interactive, b"before").await;
    let before = take(&queue).await;
    let name = format!("{} worker", services.prefix);
    // Only this worker's: others share the broker.
    services.rabbitmqctl(&[
        "eval",
        &format!(
            "[rabbit_networking:close_connection(proplists:get_value(pid, C), \"maintenance\") || \
             C <- rabbit_networking:connection_info_all([pid, client_properties]), \
             lists:member({{<<\"connection_name\">>, longstr, <<\"{name}\">>}}, \
             proplists:get_value(client_properties, C))]."
        ),
    ]);
    let again = take(&queue).await;
    assert_eq!(again.body, b"before");
    settle(before, Settlement::Done).await;
    settle(again, Settlement::Done).await;
    services.push(Priority::Interactive, b"after").await;
    assert_eq!(take(&queue).await.body, b"after");
}

/// Deletes the queue of unreadable messages, so that the next can't be moved there, and sends that next one.
async fn nowhere_to_move(services: &Services, queue: &AmqpQueue) {
    let set_aside = Settlement::Unreadable("names no job".into());
    services.push(Priority::Interactive, b"{first").await;
    // Has the connection for that made, which declares the queue.
    settle(take(queue).await, set_aside).await;
    let (_connection, channel) = services.channel().await.expect("the broker runs");
    let unreadable = names::unreadable_queue(&services.prefix);
    let options = QueueDeleteOptions::default();
    channel.queue_delete(unreadable.as_str().into(), options).await.expect("deleted");
    services.push(Priority::Interactive, b"{second").await;
}

#[tokio::test]
async fn a_message_that_cannot_be_moved_is_returned_less_and_less_often() {
    let services = Services::fresh();
    let queue = connected(services.queue(&services.amqp_url, 1)).await;
    let set_aside = || Settlement::Unreadable("names no job".into());
    nowhere_to_move(&services, &queue).await;
    let began = Instant::now();
    for _ in 0..4 {
        settle(take(&queue).await, set_aside()).await;
    }
    assert_eq!(take(&queue).await.body, b"{second");
    // As for connections: 0.2, 0.4, 0.8 and 1.6 s, each up to half of it less.
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(1500), "four returns in {took:?}");
}

#[tokio::test]
async fn a_worker_that_stops_waits_for_no_message_that_cannot_be_moved() {
    let services = Services::fresh();
    let queue = connected(services.queue(&services.amqp_url, 1)).await;
    let set_aside = || Settlement::Unreadable("names no job".into());
    nowhere_to_move(&services, &queue).await;
    for _ in 0..4 {
        settle(take(&queue).await, set_aside()).await;
    }
    // The next pause is of 1.6 s at least.
    let settling = tokio::spawn(settle(take(&queue).await, set_aside()));
    let began = Instant::now();
    queue.stop().await;
    settling.await.expect("it ends");
    let took = began.elapsed();
    assert!(took < Duration::from_millis(1400), "stopped in {took:?}");
}

#[tokio::test]
async fn a_dead_letter_returned_too_often_is_kept_for_people() {
    let services = Services::fresh();
    // Declares the queues, and takes no letters.
    let _queue = connected(services.queue(&services.amqp_url, 1)).await;
    services.bury(b"poison").await;
    let (_connection, channel) = services.channel().await.expect("the broker runs");
    let dead = names::dead_queue(&services.prefix);
    let returns = AtomicU32::new(0);
    let (body, _) = eventually("a message that was kept", || async {
        // What was returned last is there again, or was given up, a moment later.
        let got = channel.basic_get(dead.as_str().into(), BasicGetOptions::default()).await;
        if let Some(letter) = got.expect("the queue is there") {
            let requeue = BasicNackOptions { requeue: true, ..Default::default() };
            letter.delivery.acker.nack(requeue).await.expect("the broker listens");
            returns.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        services.unreadable().await
    })
    .await;
    assert_eq!(body, b"poison");
    assert_eq!(returns.into_inner(), 101);
}

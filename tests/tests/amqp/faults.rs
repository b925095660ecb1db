//! Connections that break in the less obvious ways.

use std::time::{Duration, Instant};

use sandfleet_common::Priority;
use sandfleet_tests::{Services, eventually};
use sandfleet_worker::queue::{
    Queue,
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
    let reason = eventually("bad news", || async { queue.check().await.err() }).await;
    assert!(reason.contains("broker"), "{reason}");
    // It tries again, and somebody accepts but answers nothing.
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

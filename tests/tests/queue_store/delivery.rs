//! What becomes of deliveries.

use std::{collections::BTreeSet, time::Instant};

use sandfleet_tests::{Backends, eventually, soon};
use sandfleet_transport::LATER;
use sandfleet_worker::queue::settle::{Settlement, settle};

pub(crate) async fn an_acknowledged_delivery_never_comes_back(backends: Backends) {
    let worker = backends.worker(1).await;
    backends.push(b"first").await;
    settle(worker.take().await, Settlement::Done).await;
    backends.push(b"second").await;
    let second = worker.take().await;
    assert_eq!(second.body, b"second");
    worker.vanish(second).await;
    let other = backends.worker(1).await;
    assert_eq!(other.take().await.body, b"second");
}

pub(crate) async fn an_unsettled_delivery_comes_back_when_its_worker_is_gone(backends: Backends) {
    let worker = backends.worker(1).await;
    backends.push(b"job").await;
    let delivery = worker.take().await;
    worker.vanish(delivery).await;
    assert_eq!(backends.worker(1).await.take().await.body, b"job");
}

pub(crate) async fn a_dropped_delivery_comes_back(backends: Backends) {
    let worker = backends.worker(1).await;
    backends.push(b"job").await;
    drop(worker.take().await);
    assert_eq!(worker.take().await.body, b"job");
}

pub(crate) async fn a_requeued_delivery_comes_back(backends: Backends) {
    let worker = backends.worker(1).await;
    backends.push(b"job").await;
    settle(worker.take().await, Settlement::Requeue).await;
    assert_eq!(worker.take().await.body, b"job");
}

pub(crate) async fn a_message_that_is_set_aside_carries_its_reason(backends: Backends) {
    let worker = backends.worker(1).await;
    backends.push(b"{broken").await;
    let delivery = worker.take().await;
    settle(delivery, Settlement::Unreadable("names no job: ä".into())).await;
    let letter = eventually("a message that was set aside", || backends.unreadable()).await;
    assert_eq!(letter, (b"{broken".to_vec(), "names no job: ä".to_owned()));
    // It left its queue: the next job is another one.
    backends.push(b"job").await;
    assert_eq!(worker.take().await.body, b"job");
}

pub(crate) async fn a_delivery_that_is_put_off_comes_back_later_and_lets_others_pass(
    backends: Backends,
) {
    let worker = backends.worker(1).await;
    backends.push(b"first").await;
    let begun = Instant::now();
    let first = worker.take().await;
    assert_eq!(first.put_off, 0);
    settle(first, Settlement::Later).await;
    backends.push(b"second").await;
    let second = worker.take().await;
    assert_eq!(second.body, b"second");
    settle(second, Settlement::Done).await;
    let again = worker.take().await;
    assert_eq!((&again.body[..], again.put_off), (&b"first"[..], 1));
    assert!(begun.elapsed() >= LATER[0], "{:?}", begun.elapsed());
    settle(again, Settlement::Done).await;
    assert_eq!(backends.unreadable().await, None);
}

pub(crate) async fn every_delivery_is_given_once(backends: Backends) {
    let (one, two) = (backends.worker(3).await, backends.worker(2).await);
    let sent: BTreeSet<Vec<u8>> = (0..200).map(|n| format!("job {n}").into_bytes()).collect();
    for body in &sent {
        backends.push(body).await;
    }
    let mut taken = Vec::new();
    while taken.len() < sent.len() {
        let delivery = soon("a job", async {
            tokio::select! { job = one.queue.next() => job, job = two.queue.next() => job }
        })
        .await
        .expect("the queue goes on");
        taken.push(delivery.body.clone());
        settle(delivery, Settlement::Done).await;
    }
    assert_eq!(taken.into_iter().collect::<BTreeSet<_>>(), sent);
}

pub(crate) async fn a_stopped_queue_gives_nothing_and_what_was_taken_can_be_settled(
    backends: Backends,
) {
    let worker = backends.worker(2).await;
    backends.push(b"taken").await;
    let taken = worker.take().await;
    let (waiting, ()) = soon("the end of the wait", async {
        tokio::join!(worker.queue.next(), async {
            // Now a task waits, so `stop` has to wake it.
            tokio::task::yield_now().await;
            worker.queue.stop().await;
        })
    })
    .await;
    assert!(waiting.is_none());
    backends.push(b"left").await;
    assert!(soon("the end", worker.queue.next()).await.is_none());
    settle(taken, Settlement::Done).await;
    if let Some(other) = backends.another_worker(1).await {
        let left = other.take().await;
        assert_eq!(left.body, b"left");
        settle(left, Settlement::Done).await;
        worker.vanish_idle().await;
        backends.push(b"last").await;
        assert_eq!(other.take().await.body, b"last", "a settled job came back");
    }
}

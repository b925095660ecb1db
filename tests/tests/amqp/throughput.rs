//! How fast jobs come when they take no time.

use std::time::Duration;

use lapin::options::{BasicAckOptions, BasicGetOptions};
use sandfleet_common::{Isolation, Priority, names};
use sandfleet_tests::Services;
use sandfleet_worker::queue::{
    Queue,
    settle::{Settlement, settle},
};
use tokio::time::Instant;

use crate::{connected, jobs, take};

/// Jobs a second through one worker.
async fn rate(slots: usize, count: usize) -> f64 {
    let services = Services::fresh();
    services.push_all(Priority::Interactive, jobs("job", count)).await;
    let queue = connected(services.queue(&services.amqp_url, slots)).await;
    let began = Instant::now();
    let left = std::sync::atomic::AtomicUsize::new(count);
    let slot = async || {
        use std::sync::atomic::Ordering::SeqCst;
        while left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
            settle(take(&queue).await, Settlement::Done).await;
        }
    };
    futures_util::future::join_all((0..slots).map(|_| slot())).await;
    let rate = count as f64 / began.elapsed().as_secs_f64();
    queue.stop().await;
    rate
}

/// Jobs a second of a client that does nothing but ask for one and acknowledge it.
async fn bare_rate(count: usize) -> f64 {
    let services = Services::fresh();
    services.push_all(Priority::Interactive, jobs("job", count)).await;
    let (_connection, channel) = services.channel().await.expect("the broker runs");
    let queue = names::job_queue(&services.prefix, Isolation::Container, Priority::Interactive);
    let began = Instant::now();
    for _ in 0..count {
        let got = channel.basic_get(queue.as_str().into(), BasicGetOptions::default()).await;
        let got = got.expect("the broker answers").expect("a job");
        got.delivery.acker.ack(BasicAckOptions::default()).await.expect("the broker listens");
    }
    count as f64 / began.elapsed().as_secs_f64()
}

/// Against a bare client of the same moment, so that a slow machine is one for both. Both wait for the broker's disk,
/// whose speed changes within seconds: what no round of several reaches is slow, and not unlucky.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_is_no_bottleneck() {
    const ROUNDS: usize = 5;
    for (slots, least) in [(1, 0.6), (2, 0.7), (8, 1.5), (64, 2.0)] {
        let mut ratios = Vec::new();
        while ratios.len() < ROUNDS && ratios.iter().all(|ratio| *ratio <= least) {
            let bare = bare_rate(1000).await;
            let ratio = rate(slots, 1000).await / bare;
            println!("{slots} slots: {ratio:.2} times a bare client's {bare:.0} jobs/s");
            ratios.push(ratio);
        }
        let reached = ratios.iter().any(|ratio| *ratio > least);
        assert!(reached, "{slots} slots: {ratios:.2?} times a bare client's rate, not {least}");
    }
}

#[tokio::test]
async fn interactive_jobs_overtake_thousands_of_batch_jobs() {
    let services = Services::fresh();
    services.push_all(Priority::Batch, jobs("batch", 3000)).await;
    let queue = connected(services.queue(&services.amqp_url, 8)).await;
    for _ in 0..200 {
        settle(take(&queue).await, Settlement::Done).await;
    }
    services.push_all(Priority::Interactive, jobs("interactive", 100)).await;
    let began = Instant::now();
    let (mut batch, mut interactive) = (0, 0);
    while interactive < 100 {
        let delivery = take(&queue).await;
        match delivery.body.starts_with(b"batch") {
            true => batch += 1,
            false => interactive += 1,
        }
        settle(delivery, Settlement::Done).await;
    }
    println!("100 interactive jobs: {batch} of 2800 batch jobs went first, {:?}", began.elapsed());
    // One in eight, and those that were with the worker when they came.
    assert!((10..=30).contains(&batch), "{batch} batch jobs went first");
    assert!(began.elapsed() < Duration::from_secs(30));
}

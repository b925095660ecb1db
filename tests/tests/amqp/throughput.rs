//! How fast jobs come when they take no time.

use std::time::Duration;

use sandfleet_common::Priority;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_is_no_bottleneck() {
    for slots in [1, 2, 8, 64] {
        let rate = rate(slots, 1000).await;
        println!("{slots} slots: {rate:.0} jobs/s");
        // A sandbox makes at most some hundreds of containers a second.
        assert!(rate > 50.0, "{rate:.0} jobs/s with {slots} slots");
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

//! Tenants that share a fleet.

use std::time::Duration;

use sandfleet_common::{Job, Priority, decode_job, names};
use sandfleet_sdk::Client;
use sandfleet_tests::{Services, soon};
use sandfleet_worker::queue::{
    Queue,
    settle::{Settlement, settle},
};
use tokio::time::{self, Instant};

use crate::connected;

/// How long the jobs of these tests run.
const RUN: Duration = Duration::from_millis(5);

fn jobs_of(tenant: &str, priority: Priority, count: usize) -> Vec<Job> {
    let job = |_| {
        let mut job = Job::new("python", "1");
        job.tenant = Some(tenant.into());
        job.priority = priority;
        job
    };
    (0..count).map(job).collect()
}

async fn submit(client: &Client, jobs: &[Job]) {
    for outcome in client.submit_batch(jobs).await {
        outcome.expect("the broker takes it");
    }
}

/// A tenant whose jobs meet those of `other` in one of its two queues.
fn neighbour_of(other: &str) -> String {
    let theirs = names::tenant_shards(other);
    let shares_one = |name: &String| {
        names::tenant_shards(name).iter().filter(|shard| theirs.contains(shard)).count() == 1
    };
    (0..).map(|n| format!("neighbour-{n}")).find(shares_one).expect("there are many names")
}

/// Runs jobs in `slots` slots until `goes_on` says of one that it was the last.
async fn work(queue: &dyn Queue, slots: usize, goes_on: impl Fn(&Job) -> bool) {
    let slot = async || {
        loop {
            let delivery = soon("a job", queue.next()).await.expect("the queue goes on");
            let job = decode_job(&delivery.body, 8 << 20).expect("a valid job");
            let ends = !goes_on(&job);
            time::sleep(RUN).await;
            settle(delivery, Settlement::Done).await;
            if ends {
                return;
            }
        }
    };
    let slots = (0..slots).map(|_| Box::pin(slot()));
    futures_util::future::select_all(slots).await;
}

#[tokio::test]
async fn a_tenant_with_thousands_of_jobs_does_not_delay_another() {
    let services = Services::fresh();
    let client = services.client().await;
    submit(&client, &jobs_of("flood", Priority::Interactive, 5000)).await;
    let queue = connected(services.queue(&services.amqp_url, 4)).await;
    // The fleet is busy with the flood, and knows of no other tenant.
    let ran = std::cell::Cell::new(0);
    work(&queue, 4, |_| ran.replace(ran.get() + 1) < 200).await;

    let other = neighbour_of("flood");
    let (began, before) = (Instant::now(), ran.get());
    submit(&client, &jobs_of(&other, Priority::Interactive, 1)).await;
    work(&queue, 4, |job| {
        ran.set(ran.get() + 1);
        job.tenant.as_deref() != Some(other.as_str())
    })
    .await;
    let (waited, ahead) = (began.elapsed(), ran.get() - before - 1);
    println!("after {waited:?}, with {ahead} of 5000 jobs ahead of it");
    assert!(waited < Duration::from_secs(3) && ahead < 1000, "{waited:?}, {ahead} jobs");

    // And from then on it has its turns: no job of its waits for more than a few of the flood's.
    submit(&client, &jobs_of(&other, Priority::Interactive, 50)).await;
    let (mut left, before) = (50, ran.get());
    let left = std::cell::RefCell::new(&mut left);
    work(&queue, 4, |job| {
        ran.set(ran.get() + 1);
        if job.tenant.as_deref() == Some(other.as_str()) {
            **left.borrow_mut() -= 1;
        }
        **left.borrow() > 0
    })
    .await;
    let ahead = ran.get() - before - 50;
    println!("50 more had {ahead} jobs ahead of them");
    assert!(ahead < 1000, "{ahead} jobs of the flood");
}

#[tokio::test]
async fn tenants_and_those_without_share_evenly() {
    let services = Services::fresh();
    let client = services.client().await;
    // Three whose queues differ, so that each has two.
    let mut taken = Vec::new();
    let mut tenants = Vec::new();
    for name in (0..).map(|n| format!("tenant-{n}")) {
        let shards = names::tenant_shards(&name);
        if tenants.len() < 3 && !shards.iter().any(|shard| taken.contains(shard)) {
            taken.extend(shards);
            tenants.push(name);
        } else if tenants.len() == 3 {
            break;
        }
    }
    for tenant in &tenants {
        submit(&client, &jobs_of(tenant, Priority::Batch, 400)).await;
    }
    let queue = connected(services.queue(&services.amqp_url, 1)).await;
    let mut shares = std::collections::BTreeMap::new();
    for _ in 0..300 {
        let delivery = soon("a job", queue.next()).await.expect("the queue goes on");
        let job = decode_job(&delivery.body, 8 << 20).expect("a valid job");
        *shares.entry(job.tenant).or_insert(0) += 1;
        settle(delivery, Settlement::Done).await;
    }
    println!("{shares:?}");
    assert!(shares.values().all(|share| (85..=115).contains(share)), "{shares:?}");
}

#[tokio::test]
async fn the_two_queues_of_a_tenant_are_filled_evenly() {
    let services = Services::fresh();
    let client = services.client().await;
    submit(&client, &jobs_of("acme", Priority::Batch, 300)).await;
    let mut waiting = Vec::new();
    for shard in names::tenant_shards("acme") {
        waiting.push(crate::ready_in_shard(&services, Priority::Batch, shard).await);
    }
    // RabbitMQ 4 tells of a message a moment after it has confirmed it.
    let counts: Vec<u32> = waiting.into_iter().flatten().collect();
    assert_eq!(counts.iter().sum::<u32>(), 300, "{counts:?}");
    assert!(counts.iter().all(|count| (140..=160).contains(count)), "{counts:?}");
}

#[tokio::test]
async fn a_postponed_job_lets_others_of_its_queue_pass() {
    let services = Services::fresh();
    let client = services.client().await;
    submit(&client, &jobs_of("acme", Priority::Batch, 2)).await;
    let shard = names::tenant_shards("acme")[0];
    let same_shard = |name: &String| {
        let shards = names::tenant_shards(name);
        shards[0] == shard && name != "acme"
    };
    let other = (0..).map(|n| format!("t{n}")).find(same_shard).expect("there are many names");
    submit(&client, &jobs_of(&other, Priority::Batch, 40)).await;
    let queue = connected(services.queue(&services.amqp_url, 2)).await;
    let (mut others, mut postponed) = (0, 0);
    while others < 40 {
        let delivery = soon("a job", queue.next()).await.expect("the queue goes on");
        let job = decode_job(&delivery.body, 8 << 20).expect("a valid job");
        let full = job.tenant.as_deref() == Some("acme");
        (others, postponed) = (others + usize::from(!full), postponed + usize::from(full));
        let end = if full { Settlement::Postpone } else { Settlement::Done };
        settle(delivery, end).await;
    }
    // However often it was postponed, it is no dead letter but still there.
    for _ in 0..60 {
        let delivery = soon("a job", queue.next()).await.expect("the queue goes on");
        settle(delivery, Settlement::Postpone).await;
        postponed += 1;
    }
    println!("{postponed} times postponed");
    assert_eq!(services.dead_letter().await, None);
    for _ in 0..2 {
        let delivery = soon("a job", queue.next()).await.expect("the queue goes on");
        settle(delivery, Settlement::Done).await;
    }
}

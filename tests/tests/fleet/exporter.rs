//! What the exporter shows of a fleet, with workers and without.

use std::net::SocketAddr;

use sandfleet_common::{Isolation, Job, Priority, names};
use sandfleet_tests::{Installation, Services, eventually, http_get};
use tokio::process::Child;

use crate::{admin::counts, result_of, sleeper, stdout};

/// An exporter that asks five times a second. Dropping it kills it.
async fn exporter(installation: Installation) -> (Installation, Child, SocketAddr) {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = free.local_addr().expect("it is bound");
    drop(free);
    let installation = installation
        .set("EXPORTER_ADDRESS", &address.to_string())
        .set("EXPORTER_INTERVAL_MS", "200");
    let exporter = installation.command(&["exporter"]).spawn().expect("the binary is there");
    eventually("a port that is open", || async {
        tokio::net::TcpStream::connect(address).await.ok()
    })
    .await;
    (installation, exporter, address)
}

fn series(metric: &str, services: &Services) -> String {
    let queue = names::job_queue(&services.prefix, Isolation::Container, Priority::Interactive);
    format!("sandfleet_fleet_queue_{metric}{{kind=\"jobs\",queue=\"{queue}\"}}")
}

/// The value of a series, if it is there.
async fn value(address: SocketAddr, series: &str) -> Option<f64> {
    let (status, page) = http_get(address, "/metrics").await;
    assert_eq!(status, 200);
    page.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

#[tokio::test]
async fn what_waits_is_shown_while_no_worker_lives_and_grows_older() {
    let services = Services::fresh();
    let client = services.client().await;
    let job = Job::new("python", "print('served')");
    client.submit(&job).await.expect("the broker takes it");
    let (installation, _exporter, address) = exporter(Installation::fresh().on(&services)).await;
    counts(address, &series("messages", &services), 1).await;
    counts(address, &series("workers", &services), 0).await;
    counts(address, "sandfleet_fleet_workers{state=\"ready\"}", 0).await;
    let age = series("oldest_age_seconds", &services);
    let first = eventually("an age", || value(address, &age)).await;
    eventually("an age that grows", || async {
        value(address, &age).await.filter(|now| *now > first + 0.5)
    })
    .await;
    let _worker = installation.worker("late");
    assert_eq!(stdout(&result_of(&client, &job.job_id).await), "served\n");
    counts(address, &series("messages", &services), 0).await;
    counts(address, &series("workers", &services), 1).await;
    counts(address, &age, 0).await;
    counts(address, "sandfleet_fleet_workers{state=\"ready\"}", 1).await;
}

#[tokio::test]
async fn the_oldest_job_is_no_older_than_the_last_that_was_taken() {
    let services = Services::fresh();
    let client = services.client().await;
    let installation = Installation::fresh().on(&services).set("WORKER_SLOTS", "1");
    let (installation, _exporter, address) = exporter(installation).await;
    let mut worker = installation.worker("one");
    worker.ready().await;
    let jobs = [sleeper(0.1), sleeper(60.0), sleeper(0.1)];
    client.submit(&jobs[0]).await.expect("the broker takes it");
    result_of(&client, &jobs[0].job_id).await;
    counts(address, &series("messages", &services), 0).await;
    for job in &jobs[1..] {
        client.submit(job).await.expect("the broker takes it");
    }
    counts(address, &series("messages", &services), 1).await;
    let age = series("oldest_age_seconds", &services);
    let seen = eventually("an age", || value(address, &age)).await;
    assert!(seen < 20.0, "{seen} s, and it was submitted just now");
    client.cancel(&jobs[1].job_id).await.expect("the store runs");
    result_of(&client, &jobs[2].job_id).await;
}

#[tokio::test]
async fn what_a_service_that_is_away_would_tell_is_absent_and_not_zero() {
    let services = Services::fresh();
    let client = services.client().await;
    client.submit(&Job::new("python", "1")).await.expect("the broker takes it");
    let (wire, url) = services.redis_relay().await;
    let installation = Installation::fresh().on(&services).set("STORE_URL", &url);
    let (_installation, _exporter, address) = exporter(installation).await;
    counts(address, "sandfleet_fleet_service_up{service=\"store\"}", 1).await;
    assert!(value(address, "sandfleet_fleet_store_memory_bytes").await.is_some());
    wire.cut();
    counts(address, "sandfleet_fleet_service_up{service=\"store\"}", 0).await;
    assert_eq!(value(address, "sandfleet_fleet_store_memory_bytes").await, None);
    assert_eq!(value(address, "sandfleet_fleet_workers{state=\"ready\"}").await, None);
    counts(address, "sandfleet_fleet_service_up{service=\"broker\"}", 1).await;
    counts(address, &series("messages", &services), 1).await;
    wire.mend();
    counts(address, "sandfleet_fleet_service_up{service=\"store\"}", 1).await;
    eventually("what the store tells", || value(address, "sandfleet_fleet_store_memory_bytes"))
        .await;
}

#[tokio::test]
async fn no_job_waits_for_who_watches() {
    let services = Services::fresh();
    let client = services.client().await;
    let installation = Installation::fresh().on(&services).set("ADMIN_METRICS_TENANTS", "1");
    let (installation, mut exporter, _) = exporter(installation).await;
    let (_worker, address) = installation.worker_with_admin("one").await;
    // Scraped without a pause, offered tenants without end, and the exporter dies.
    let scraping = tokio::spawn(async move {
        loop {
            http_get(address, "/metrics").await;
        }
    });
    exporter.start_kill().expect("it runs");
    let of_a_tenant = |n| {
        let tenant = Some(format!("tenant-{n}"));
        Job { tenant, ..Job::new("bash", "echo served") }
    };
    let jobs: Vec<Job> = (0..40).map(of_a_tenant).collect();
    for outcome in client.submit_batch(&jobs).await {
        outcome.expect("the broker takes it");
    }
    for job in &jobs {
        let result = result_of(&client, &job.job_id).await;
        assert_eq!((stdout(&result), result.attempt), ("served\n", 1));
    }
    scraping.abort();
    let others = "sandfleet_tenant_job_results_total{status=\"succeeded\",tenant=\"other\"}";
    counts(address, others, 39).await;
    let (_, page) = http_get(address, "/metrics").await;
    assert_eq!(page.matches("sandfleet_tenant_run_seconds_total{").count(), 2);
}

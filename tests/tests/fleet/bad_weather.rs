//! What watches the fleet misbehaves, or the clock does: no job is delayed or lost. The collector of spans is in `traces`, the
//! log in `logs`, the exporter's death in `exporter`.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    time::{Duration, Instant},
};

use sandfleet_common::{Job, Status};
use sandfleet_sdk::Client;
use sandfleet_tests::{Clock, Installation, Services, TraceCollector, http_get};
use tokio::time::sleep;

use crate::{result_of, running, sleeper, stdout};

/// The series of a page, without their values.
async fn series(address: SocketAddr) -> BTreeSet<String> {
    let (status, page) = http_get(address, "/metrics").await;
    assert_eq!(status, 200);
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect()
}

/// Serves jobs of as many tenants, each of which also has one in a language that there is not; how long that took.
async fn serve(client: &Client, tenants: std::ops::Range<u32>) -> Duration {
    let of_a_tenant = |number: &u32| {
        let tenant = Some(format!("tenant-{number}"));
        let served = Job { tenant: tenant.clone(), ..Job::new("bash", "echo served") };
        [served, Job { tenant, ..Job::new(format!("language-{number}"), "x") }]
    };
    let jobs: Vec<Job> = tenants.collect::<Vec<_>>().iter().flat_map(of_a_tenant).collect();
    let begun = Instant::now();
    for outcome in client.submit_batch(&jobs).await {
        outcome.expect("the broker takes it");
    }
    for pair in jobs.chunks(2) {
        let result = result_of(client, &pair[0].job_id).await;
        assert_eq!((stdout(&result), result.attempt), ("served\n", 1));
        assert_eq!(result_of(client, &pair[1].job_id).await.status, Status::Rejected);
    }
    begun.elapsed()
}

#[tokio::test]
async fn scrapes_every_second_and_labels_without_end_delay_no_job() {
    let services = Services::fresh();
    let client = services.client().await;
    let installation = Installation::fresh().on(&services).set("ADMIN_METRICS_TENANTS", "10");
    let (_worker, address) = installation.worker_with_admin("one").await;
    // The tenants that have series of their own.
    serve(&client, 0..10).await;
    let before = series(address).await;
    let alone = serve(&client, 100..160).await;
    let scraping = tokio::spawn(async move {
        loop {
            http_get(address, "/metrics").await;
            sleep(Duration::from_secs(1)).await;
        }
    });
    let scraped = serve(&client, 200..260).await;
    scraping.abort();
    // The machine may be busy with something else in one of them.
    assert!(scraped < alone * 3 + Duration::from_secs(2), "{scraped:?} instead of {alone:?}");
    let after = series(address).await;
    let new: Vec<_> = after.difference(&before).collect();
    assert!(new.is_empty(), "{new:#?}");
    assert!(after.len() < 2000, "{}", after.len());
}

#[tokio::test]
async fn a_clock_that_jumps_delays_no_job_and_moves_no_span() {
    const RUNS: f64 = 2.5;
    let collector = TraceCollector::start().await;
    let services = Services::fresh();
    let client = services.client().await;
    let installation = Installation::fresh()
        .on(&services)
        .set("WORKER_SLOTS", "1")
        .set("WORKER_LEASE_MS", "1000")
        .set("TRACING_ENDPOINT", &collector.endpoint());
    let clock = Clock::ahead("+0");
    let mut worker = installation.worker_by("one", |command| clock.worn_by(command));
    worker.ready().await;
    for ahead in ["+1h", "-1h", "+0"] {
        let job = Job { ttl_ms: Some(600_000), ..sleeper(RUNS as f32) };
        client.submit(&job).await.expect("the broker takes it");
        running(&client, &job.job_id).await;
        let begun = Instant::now();
        clock.jump(ahead);
        let result = result_of(&client, &job.job_id).await;
        assert_eq!((stdout(&result), result.attempt), ("slept\n", 1), "{ahead}");
        assert!(begun.elapsed().as_secs_f64() < RUNS + 10.0, "{ahead}: {:?}", begun.elapsed());
        let trace_id = result.trace_id.expect("spans are exported").to_string();
        for span in collector.trace(&trace_id, "process", 1).await {
            let nanoseconds = span.end_time_unix_nano.checked_sub(span.start_time_unix_nano);
            let took = Duration::from_nanos(nanoseconds.expect("it ends after it began"));
            let longest = Duration::from_secs_f64(RUNS + 15.0);
            assert!(took < longest, "{ahead}: {} took {took:?}", span.name);
        }
    }
    let log = worker.log();
    assert!(!log.contains("lease of a running job") && !log.contains("not ready"), "{log}");
}

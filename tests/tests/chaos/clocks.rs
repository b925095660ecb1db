//! A worker whose clock jumps.

use jiff::Timestamp;
use sandfleet_tests::{Clock, LeakCheck, Services};
use tokio::time::Instant;

use crate::{
    check::conclude,
    fleet::{Fleet, NAMES, installation},
    jobs::mixed,
    load::{Load, parse},
};

/// How far off the clocks are by which the results of `worker` were made, in seconds.
fn offsets(load: &Load, worker: &str) -> Vec<i64> {
    let books = load.books();
    let results = books.values().filter_map(|entry| Some(parse(&entry.seen.as_ref()?.1)));
    let theirs = results.filter(|result| result.worker_id == worker);
    theirs.map(|it| it.started_at.duration_since(Timestamp::now()).as_secs()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_by_an_hour_expires_nothing_and_ends_nothing() {
    let services = Services::fresh();
    let installation = installation(&services);
    let leak_check = LeakCheck::before(&installation.test_cgroup, "only").await;
    let clock = std::sync::Arc::new(Clock::ahead("+0"));
    let mut fleet = Fleet::of(&installation);
    let worn = clock.clone();
    fleet.change("one", move |command| worn.worn_by(command));
    fleet.join(&NAMES).await;
    let client = services.client().await;
    let load = Load::start(client, &services.redis_url, &services.prefix, |number| {
        let (kind, mut job) = mixed(number);
        // By a clock that is an hour off it would be over.
        job.ttl_ms = Some(1_800_000);
        (kind, job)
    });
    load.recovers(Instant::now(), Some("one")).await;
    let mut recovery = None;
    for (ahead, is_off) in [("+1h", (|by| by > 3000) as fn(i64) -> bool), ("-1h", |by| by < -3000)]
    {
        clock.jump(ahead);
        let jumped = Instant::now();
        while !offsets(&load, "one").into_iter().any(is_off) {
            load.recovers(Instant::now(), Some("one")).await;
        }
        recovery = Some(jumped.elapsed());
    }
    let fault = "a worker's clock jumps by an hour";
    let recovery = recovery.expect("it jumped");
    let row = conclude(fault, load, fleet, &services, &leak_check, recovery).await;
    assert!(row.repeated.is_empty(), "{row:#?}");
}

//! Workers that die, wherever in the life of a job that is.

use std::{collections::BTreeSet, time::Duration};

use redis::AsyncCommands;
use sandfleet_common::{JobId, names};
use sandfleet_tests::{LeakCheck, Services, eventually};
use tokio::time::{Instant, sleep};

use crate::{
    check::{conclude, unacknowledged},
    fleet::{Fleet, NAMES, SLOTS, held_by, installation},
    jobs::mixed,
    load::{Load, rounds},
};

fn all(load: &Load) -> Vec<JobId> {
    load.books().keys().cloned().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_killed_before_the_claim_costs_no_attempt() {
    let services = Services::fresh();
    let installation = installation(&services);
    let leak_check = LeakCheck::before(&installation.test_cgroup, "only").await;
    let (wire, url) = services.redis_relay().await;
    let mut fleet = Fleet::of(&installation);
    fleet.change("one", move |command| {
        command.env("SANDFLEET_STORE_URL", &url);
    });
    fleet.join(&["one"]).await;
    wire.silence();
    let client = services.client().await;
    let load = Load::start(client, &services.redis_url, &services.prefix, mixed);
    load.has_accepted(2 * SLOTS).await;
    eventually("its deliveries", || async { (unacknowledged(&services) >= SLOTS).then_some(()) })
        .await;
    assert_eq!(held_by(&services, "one", &all(&load)).await, [], "it has claimed one");
    fleet.kill("one").await;
    wire.mend();
    let killed = Instant::now();
    fleet.join(&NAMES).await;
    let recovery = load.recovers(killed, None).await;
    let fault = "kill -9 before the claim";
    let row = conclude(fault, load, fleet, &services, &leak_check, recovery).await;
    assert!(row.repeated.is_empty(), "attempts were counted that never were: {row:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_running_jobs_of_a_killed_worker_and_no_others_run_again() {
    let services = Services::fresh();
    let installation = installation(&services);
    let leak_check = LeakCheck::before(&installation.test_cgroup, "only").await;
    let mut fleet = Fleet::start(&installation).await;
    let client = services.client().await;
    let load = Load::start(client, &services.redis_url, &services.prefix, mixed);
    load.has_results(SLOTS).await;
    let held = fleet.stands_still("one", &services, &load).await;
    fleet.kill("one").await;
    fleet.join(&["one"]).await;
    let joined = Instant::now();
    let recovery = load.recovers(joined, Some("one")).await;
    let fault = "kill -9 while jobs run";
    let row = conclude(fault, load, fleet, &services, &leak_check, recovery).await;
    let repeated: BTreeSet<_> = row.repeated.into_keys().collect();
    assert_eq!(repeated, held.into_iter().collect::<BTreeSet<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_that_was_stored_and_not_acknowledged_is_not_made_again() {
    let services = Services::fresh();
    let installation = installation(&services);
    let leak_check = LeakCheck::before(&installation.test_cgroup, "only").await;
    let (wire, url) = services.amqp_relay().await;
    let mut fleet = Fleet::of(&installation);
    fleet.change("one", move |command| {
        command.env("SANDFLEET_QUEUE_URL", &url);
    });
    fleet.join(&["one"]).await;
    let client = services.client().await;
    let load = Load::start(client, &services.redis_url, &services.prefix, mixed);
    load.has_results(SLOTS).await;
    wire.silence();
    // What it has, it finishes, and no result is announced.
    let mut store = services.redis().await;
    eventually("the end of what it runs", || async {
        held_by(&services, "one", &all(&load)).await.is_empty().then_some(())
    })
    .await;
    let unheard = unacknowledged(&services);
    assert!(unheard > 0, "all was acknowledged");
    let stored: usize = {
        let keys: Vec<String> =
            all(&load).iter().map(|id| names::result_key(&services.prefix, id)).collect();
        store.exists(keys).await.expect("the store runs")
    };
    fleet.kill("one").await;
    wire.mend();
    let killed = Instant::now();
    fleet.join(&NAMES).await;
    let recovery = load.recovers(killed, None).await;
    println!("  {stored} results were stored, {unheard} messages not acknowledged");
    let fault = "kill -9 between result and ack";
    let row = conclude(fault, load, fleet, &services, &leak_check, recovery).await;
    assert!(row.repeated.is_empty(), "{row:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_are_killed_again_and_again_lose_nothing() {
    let services = Services::fresh();
    // The same job may be met by more than one of the kills.
    let installation = installation(&services).set("WORKER_MAX_ATTEMPTS", "20");
    let leak_check = LeakCheck::before(&installation.test_cgroup, "only").await;
    let mut fleet = Fleet::start(&installation).await;
    let client = services.client().await;
    let load = Load::start(client, &services.redis_url, &services.prefix, mixed);
    load.has_results(SLOTS).await;
    let mut killed = Instant::now();
    for round in 0..rounds(12, 3) {
        let name = NAMES[round % NAMES.len()];
        // Later by something else than the rhythm of the jobs.
        sleep(Duration::from_millis(370 + 111 * round as u64)).await;
        fleet.kill(name).await;
        fleet.join(&[name]).await;
        killed = Instant::now();
    }
    let recovery = load.recovers(killed, None).await;
    let fault = "kill -9 again and again";
    conclude(fault, load, fleet, &services, &leak_check, recovery).await;
}

//! A wire that is cut, or swallows all that is sent, between one worker and a service, while the
//! others work on. What that worker has is given to others; what it stores late is too late.

use std::time::Duration;

use sandfleet_tests::{ChaosProxy, LeakCheck, Services};
use tokio::time::{Instant, sleep};

use crate::{
    check::conclude,
    fleet::{Fleet, NAMES, installation},
    jobs::mixed,
    load::{Load, rounds},
};

/// Longer than a lease, and than the broker and the clients wait for a sign of life.
fn long() -> Duration {
    Duration::from_secs(rounds(25, 8) as u64)
}

/// Strikes the wire of the worker `one` to a service: `variable` says which, `address` is its
/// address through `wire`.
async fn strikes(
    fault: &str,
    services: Services,
    (variable, wire, url): (&'static str, ChaosProxy, String),
    strike: impl Fn(&ChaosProxy),
) {
    let installation = installation(&services);
    let leak_check = LeakCheck::before(&installation.test_cgroup, "only").await;
    let mut fleet = Fleet::of(&installation);
    fleet.change("one", move |command| {
        command.env(variable, &url);
    });
    fleet.join(&NAMES).await;
    let client = services.client().await;
    let load = Load::start(client, &services.redis_url, &services.prefix, mixed);
    load.recovers(Instant::now(), Some("one")).await;
    strike(&wire);
    // The length of the fault.
    sleep(long()).await;
    wire.mend();
    let mended = Instant::now();
    let recovery = load.recovers(mended, Some("one")).await;
    conclude(fault, load, fleet, &services, &leak_check, recovery).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_cut_off_from_the_broker_comes_back() {
    let services = Services::fresh();
    let (wire, url) = services.amqp_relay().await;
    let fault = "worker and broker: cut";
    strikes(fault, services, ("SANDFLEET_QUEUE_URL", wire, url), ChaosProxy::cut).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_whose_words_to_the_broker_are_swallowed_comes_back() {
    let services = Services::fresh();
    let (wire, url) = services.amqp_relay().await;
    let fault = "worker and broker: black hole";
    strikes(fault, services, ("SANDFLEET_QUEUE_URL", wire, url), ChaosProxy::silence).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_cut_off_from_the_store_comes_back() {
    let services = Services::fresh();
    let (wire, url) = services.redis_relay().await;
    let fault = "worker and store: cut";
    strikes(fault, services, ("SANDFLEET_STORE_URL", wire, url), ChaosProxy::cut).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_whose_words_to_the_store_are_swallowed_comes_back() {
    let services = Services::fresh();
    let (wire, url) = services.redis_relay().await;
    let fault = "worker and store: black hole";
    strikes(fault, services, ("SANDFLEET_STORE_URL", wire, url), ChaosProxy::silence).await;
}

/// Both at once, and the worker stands still meanwhile: when it goes on, it holds results of jobs
/// that others have finished.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_stood_still_changes_no_result() {
    use rustix::process::Signal;

    let services = Services::fresh();
    let installation = installation(&services);
    let leak_check = LeakCheck::before(&installation.test_cgroup, "only").await;
    let (wire, url) = services.amqp_relay().await;
    let mut fleet = Fleet::of(&installation);
    fleet.change("one", move |command| {
        command.env("SANDFLEET_QUEUE_URL", &url);
    });
    fleet.join(&NAMES).await;
    let client = services.client().await;
    let load = Load::start(client, &services.redis_url, &services.prefix, mixed);
    load.recovers(Instant::now(), Some("one")).await;
    for _ in 0..rounds(3, 1) {
        let held = fleet.stands_still("one", &services, &load).await;
        wire.cut();
        load.have_results(&held).await;
        wire.mend();
        fleet.worker("one").signal(Signal::CONT);
        load.recovers(Instant::now(), Some("one")).await;
    }
    let recovery = load.recovers(Instant::now(), Some("one")).await;
    let fault = "a worker stands still, others finish its jobs";
    let row = conclude(fault, load, fleet, &services, &leak_check, recovery).await;
    assert!(!row.repeated.is_empty(), "nobody had to take over");
}

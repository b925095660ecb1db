//! Workers that are replaced one after the other, as in an update.

use sandfleet_tests::{LeakCheck, Services};
use tokio::time::Instant;

use crate::{
    check::conclude,
    fleet::{Fleet, NAMES, installation},
    jobs::mixed,
    load::{Load, rounds},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_loses_nothing_and_repeats_nothing() {
    let services = Services::fresh();
    let installation = installation(&services);
    let leak_check = LeakCheck::before(&installation.test_cgroup, "only").await;
    let mut fleet = Fleet::start(&installation).await;
    let client = services.client().await;
    let load = Load::start(client, &services.redis_url, &services.prefix, mixed);
    load.has_results(NAMES.len()).await;
    let mut began = Instant::now();
    for _ in 0..rounds(3, 1) {
        for name in NAMES {
            began = Instant::now();
            fleet.stop(name).await;
            fleet.join(&[name]).await;
            load.recovers(Instant::now(), Some(name)).await;
        }
    }
    let recovery = load.recovers(began, None).await;
    let fault = "rolling restart of all workers";
    let row = conclude(fault, load, fleet, &services, &leak_check, recovery).await;
    assert!(row.repeated.is_empty(), "what ran was not let finish: {row:#?}");
}

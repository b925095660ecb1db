//! Every message comes three times.

use std::collections::BTreeSet;

use sandfleet_common::{JobId, encode};
use sandfleet_tests::{LeakCheck, Services};
use tokio::time::Instant;

use crate::{
    check::conclude,
    fleet::{Fleet, NAMES, installation},
    jobs::mixed,
    load::{Load, rounds},
};

/// Publishes the messages of `jobs` once more.
async fn again(services: &Services, load: &Load, jobs: &BTreeSet<JobId>) {
    let bodies: Vec<_> = {
        let books = load.books();
        jobs.iter().map(|id| (books[id].job.priority, encode(&books[id].job))).collect()
    };
    for (priority, body) in bodies {
        services.push(priority, &body).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_come_three_times_are_run_once() {
    let services = Services::fresh();
    let installation = installation(&services);
    let leak_check = LeakCheck::before(&installation.test_cgroup, "only").await;
    let mut fleet = Fleet::of(&installation);
    fleet.join_with_admin(&NAMES).await;
    let client = services.client().await;
    let load = Load::start(client, &services.redis_url, &services.prefix, mixed);
    let began = Instant::now();
    let (mut twice, mut thrice) = (BTreeSet::new(), BTreeSet::new());
    while thrice.len() < rounds(300, 60) {
        let (accepted, ended): (BTreeSet<JobId>, BTreeSet<JobId>) = {
            let books = load.books();
            let ids = |is: fn(&crate::load::Entry) -> bool| {
                books.iter().filter(|(_, it)| is(it)).map(|(id, _)| id.clone()).collect()
            };
            (ids(|it| it.accepted), ids(|it| it.seen.is_some()))
        };
        let new = &accepted - &twice;
        again(&services, &load, &new).await;
        twice.extend(new);
        let new = &(&ended & &twice) - &thrice;
        again(&services, &load, &new).await;
        thrice.extend(new);
        load.goes_on().await;
    }
    let recovery = load.recovers(began, None).await;
    println!("  {} messages came twice, {} three times", twice.len(), thrice.len());
    let fault = "every message two and three times";
    load.drained().await;
    // By what the workers themselves counted: what was claimed is not all that can be started.
    let starts = fleet.counted("sandfleet_job_starts_total").await;
    let duplicates = fleet.counted("sandfleet_job_duplicates_total").await;
    println!("  {starts} starts, {duplicates} deliveries of jobs that had their result");
    let row = conclude(fault, load, fleet, &services, &leak_check, recovery).await;
    assert_eq!(starts as usize, row.jobs + row.repeats(), "{row:#?}");
    assert!(duplicates as usize >= thrice.len());
    assert!(row.repeated.is_empty(), "{row:#?}");
}

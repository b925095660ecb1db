//! Jobs that kill their workers, one in a hundred.

use std::collections::BTreeSet;

use sandfleet_common::JobId;
use sandfleet_tests::{LeakCheck, Services};
use tokio::time::Instant;

use crate::{
    check::conclude,
    fleet::{Fleet, NAMES, holders, installation},
    jobs::{Kind, mixed},
    load::{Load, rounds, without_result},
};

/// How often a job is started before the fleet gives it up: the default.
const ATTEMPTS: u32 = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_that_kill_their_workers_end_with_an_error_and_take_no_other_with_them() {
    let services = Services::fresh();
    let installation = installation(&services);
    let leak_check = LeakCheck::before(&installation.test_cgroup, "only").await;
    let mut fleet = Fleet::start(&installation).await;
    let client = services.client().await;
    let all = rounds(3, 1);
    let (url, prefix) = (&services.redis_url, &services.prefix);
    let load = Load::start(client, url, prefix, move |number| {
        let is_poison = number % 100 == 10 && number / 100 < all;
        if is_poison { (Kind::Poison, Kind::Poison.job()) } else { mixed(number) }
    });
    let poison = || -> Vec<JobId> {
        let books = load.books();
        let poison = books.iter().filter(|(_, entry)| entry.kind == Kind::Poison);
        poison.map(|(id, _)| id.clone()).collect()
    };
    let open = || -> Vec<JobId> {
        let open: BTreeSet<_> = without_result(&load.books()).into_iter().collect();
        poison().into_iter().filter(|id| open.contains(id)).collect()
    };
    let mut dead = BTreeSet::new();
    let mut killed = Instant::now();
    while poison().len() < all || !open().is_empty() {
        load.goes_on().await;
        for owner in holders(&services, &open()).await.into_iter().flatten() {
            let name = NAMES.into_iter().find(|name| owner.starts_with(&format!("{name}/")));
            // The claim of one that is dead stays for a while.
            if dead.insert(owner) {
                let name = name.expect("one of ours");
                fleet.kill(name).await;
                fleet.join(&[name]).await;
                killed = Instant::now();
            }
        }
    }
    let poison: BTreeSet<_> = poison().into_iter().collect();
    let recovery = load.recovers(killed, None).await;
    println!("  {} jobs killed their workers, {} times in all", poison.len(), dead.len());
    let fault = "1 job in 100 kills its worker";
    let row = conclude(fault, load, fleet, &services, &leak_check, recovery).await;
    for id in &poison {
        assert_eq!(row.repeated.get(id), Some(&ATTEMPTS), "{id}");
    }
}

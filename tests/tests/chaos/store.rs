//! A store that dies, comes back, or is slow. The fleet has one of its own.

use std::time::Duration;

use sandfleet_sdk::{Client, ClientConfig};
use sandfleet_tests::{LeakCheck, PrivateRedis, Services};
use tokio::time::{Instant, sleep};

use crate::{
    check::conclude,
    fleet::{Fleet, installation},
    jobs::mixed,
    load::{Load, rounds},
};

/// How a store comes to its end.
enum End {
    Shutdown,
    Kill,
}

/// Strikes a store that was started with `options`, again and again.
async fn dies(fault: &str, options: &[&str], end: End) {
    let mut store = PrivateRedis::start(options).await;
    let mut services = Services::fresh();
    services.set_store(&store.url());
    let installation = installation(&services);
    let leak_check = LeakCheck::before(&installation.test_cgroup, "only").await;
    let fleet = Fleet::start(&installation).await;
    let load = load(&services).await;
    load.has_results(4).await;
    let mut back = Instant::now();
    for _ in 0..rounds(3, 1) {
        match end {
            End::Shutdown => store.shutdown().await,
            End::Kill => store.kill().await,
        }
        // The length of the fault: running jobs end meanwhile, and have to wait.
        sleep(Duration::from_secs(3)).await;
        store.restart().await;
        back = Instant::now();
        load.recovers(back, None).await;
    }
    let recovery = load.recovers(back, None).await;
    conclude(fault, load, fleet, &services, &leak_check, recovery).await;
}

async fn load(services: &Services) -> Load {
    let config = ClientConfig { timeout: Duration::from_secs(3), ..services.client_config() };
    let client = Client::connect(config).await.expect("the services run");
    Load::start(client, &services.redis_url, &services.prefix, mixed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_shut_down_loses_nothing() {
    let options = ["--appendonly", "yes", "--appendfsync", "everysec"];
    dies("Redis: SHUTDOWN, appendfsync everysec", &options, End::Shutdown).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_killed_loses_nothing_in_the_durable_mode() {
    let options = ["--appendonly", "yes", "--appendfsync", "always"];
    dies("Redis: kill -9, appendfsync always", &options, End::Kill).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_slow_makes_no_verdicts() {
    let store = PrivateRedis::start(&["--appendonly", "yes"]).await;
    let mut services = Services::fresh();
    services.set_store(&store.url());
    let installation = installation(&services);
    let leak_check = LeakCheck::before(&installation.test_cgroup, "only").await;
    let fleet = Fleet::start(&installation).await;
    let load = load(&services).await;
    load.has_results(4).await;
    for _ in 0..rounds(20, 6) {
        store.command(&["CLIENT", "PAUSE", "500", "ALL"]).await;
        // A moment without, or nothing but this would ever get through.
        sleep(Duration::from_millis(600)).await;
    }
    let recovery = load.recovers(Instant::now(), None).await;
    let fault = "Redis: stops for 500 ms, again and again";
    conclude(fault, load, fleet, &services, &leak_check, recovery).await;
}

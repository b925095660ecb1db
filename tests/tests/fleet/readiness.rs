//! Workers whose broker or store refuses them, is away, or goes away.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use sandfleet_common::{Job, WorkerInfo, encode};
use sandfleet_sdk::{Client, ClientConfig};
use sandfleet_tests::{
    FleetWorker, Installation, PrivateRedis, Services, TestCa, eventually, http_get,
};
use sandfleet_worker::services::readiness::READY;

use crate::{admin::counts, result_of, running, sleeper, stdout};

/// How long a service may refuse a worker of these tests.
const PATIENCE: &str = "1500";

fn impatient(services: &Services) -> Installation {
    Installation::fresh().on(services).set("WORKER_REFUSAL_TIMEOUT_MS", PATIENCE)
}

/// The lines of a worker's log that hold `part`.
fn lines(worker: &FleetWorker, part: &str) -> Vec<String> {
    worker.log().lines().filter(|line| line.contains(part)).map(str::to_owned).collect()
}

async fn listed(services: &Services) -> Vec<WorkerInfo> {
    services.client().await.workers().await.expect("the store runs")
}

/// A worker that is refused ends with `code` and one sentence that says `parts`.
async fn is_refused(
    what: &str,
    services: &Services,
    wrong: Installation,
    code: i32,
    parts: &[&str],
) {
    let mut worker = wrong.worker("refused");
    worker.logs("not ready").await;
    assert_eq!(listed(services).await, [], "{what}: it is listed");
    assert_eq!(worker.ended().await, code, "{what}: {}", worker.log());
    worker.logs("\nsandfleet: ").await;
    let log = worker.log();
    assert_eq!(lines(&worker, "not ready").len(), 1, "{what}: a line for each try: {log}");
    assert!(!log.contains(READY), "{what}: {log}");
    // The first line is the sandbox's, the last the error's.
    let said = log.lines().filter(|line| !line.contains("the broker's version")).count();
    assert!(said <= 4, "{what}: the libraries talk: {log}");
    let last = log.lines().last().expect("a sentence");
    assert!(last.starts_with("sandfleet: "), "{what}: {log}");
    for part in parts {
        assert!(last.contains(part), "{what}: {last:?} does not say {part:?}");
    }
    assert!(!log.contains("SECRET"), "{what}: {log}");
}

fn with_login(url: &str, login: &str) -> String {
    let (scheme, rest) = url.split_once("://").expect("a URL");
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    format!("{scheme}://{login}@{host}")
}

#[tokio::test]
async fn a_broker_that_refuses_a_worker_for_good_ends_it_with_one_sentence() {
    let services = Services::fresh();
    let url = services.amqp_url.as_str();
    let user = services.prefix.clone();
    services.rabbitmqctl(&["add_user", &user, "SECRET"]);
    let host = url.rsplit_once('/').expect("a virtual host").0;
    let authority = TestCa::fresh();
    let (_wire, behind_tls) = services.amqp_behind_tls(authority.server(false)).await;
    let (login, rights, setting) =
        ("refused the login", "refused for user", "vhost nope not found");
    for (what, wrong, code, parts) in [
        (
            "password",
            with_login(url, "sandfleet-worker.1:SECRET"),
            77,
            [login, "check the user and the password"],
        ),
        ("rights", with_login(url, &format!("{user}:SECRET")), 77, [rights, "set_permissions"]),
        ("virtual host", format!("{host}/nope"), 78, [setting, "add_vhost"]),
        (
            "TLS to a plain port",
            url.replace("amqp:", "amqps:"),
            76,
            ["doesn't speak TLS", "without TLS"],
        ),
        ("plain to TLS", behind_tls.replace("amqps:", "amqp:"), 76, ["it speaks TLS", "with TLS"]),
        ("an unknown authority", behind_tls, 76, ["not accepted", "ca_file"]),
    ] {
        let installation = impatient(&services).set("QUEUE_URL", &wrong);
        is_refused(what, &services, installation, code, &[&["broker amqp"], &parts[..]].concat())
            .await;
    }
    services.rabbitmqctl(&["delete_user", &user]);
}

#[tokio::test]
async fn a_store_that_refuses_a_worker_for_good_ends_it_with_one_sentence() {
    let services = Services::fresh();
    let closed = PrivateRedis::start(&[]).await;
    let closed_url = closed.url();
    closed.config("requirepass", "right").await;
    let forgetful = PrivateRedis::start(&["--maxmemory-policy", "allkeys-lru"]).await;
    let authority = TestCa::fresh();
    let (_wire, behind_tls) = services.redis_behind_tls(authority.server(false)).await;
    let amqp_port = services.amqp_url.rsplit_once('@').expect("a login").1;
    for (what, wrong, code, parts) in [
        (
            "password",
            with_login(&closed_url, "default:SECRET"),
            77,
            ["refused the login", "password"],
        ),
        ("no password", closed_url, 77, ["wants a login", "password"]),
        ("database", format!("{}99", services.redis_url), 78, ["out of range", "name another"]),
        (
            "TLS to a plain port",
            services.redis_url.replace("redis:", "rediss:"),
            76,
            ["doesn't speak TLS", "without TLS"],
        ),
        (
            "plain to TLS",
            behind_tls.replace("rediss:", "redis:"),
            76,
            ["it speaks TLS", "with TLS"],
        ),
        ("an unknown authority", behind_tls, 76, ["not accepted", "ca_file"]),
        (
            "a broker",
            format!("redis://{}", amqp_port.replace("%2f", "0")),
            76,
            ["doesn't speak Redis", "port"],
        ),
        ("eviction", forgetful.url(), 78, ["allkeys-lru", "noeviction"]),
    ] {
        let installation = impatient(&services).set("STORE_URL", &wrong);
        is_refused(what, &services, installation, code, &[&["store redis"], &parts[..]].concat())
            .await;
    }
}

#[tokio::test]
async fn a_worker_whose_store_is_not_there_yet_waits_takes_nothing_and_begins_when_it_comes() {
    let services = Services::fresh();
    let mut store = PrivateRedis::start(&["--maxmemory-policy", "noeviction"]).await;
    let url = store.url();
    store.kill().await;
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = free.local_addr().expect("it is bound");
    drop(free);
    let installation = impatient(&services).set("STORE_URL", &url);
    let mut worker = installation.worker_by("early", |command| {
        command.env("SANDFLEET_ADMIN_ADDRESS", address.to_string());
    });
    worker.logs("not ready").await;
    let line = &lines(&worker, "not ready")[0];
    assert!(line.contains("store redis://") && line.contains("check that it runs"), "{line}");
    let (status, body) = http_get(address, "/readyz").await;
    assert_eq!(status, 503, "{body}");
    counts(address, "sandfleet_worker_ready", 0).await;
    // Another worker of the fleet, whose store is right, has all the jobs.
    let others = Installation::fresh().on(&services).set("WORKER_SLOTS", "1");
    let mut other = others.worker("other");
    other.ready().await;
    let client = services.client().await;
    let jobs: Vec<Job> = (0..4).map(|n| Job::new("python", format!("print({n})"))).collect();
    for job in &jobs {
        client.submit(job).await.expect("the broker takes it");
    }
    for job in &jobs {
        assert_eq!(result_of(&client, &job.job_id).await.worker_id, "other");
    }
    assert_eq!(lines(&worker, "not ready").len(), 1, "{}", worker.log());
    assert!(!worker.log().contains(READY), "{}", worker.log());
    store.restart().await;
    worker.ready().await;
    counts(address, "sandfleet_worker_ready", 1).await;
    let config = ClientConfig { redis_url: url, ..services.client_config() };
    let client = Client::connect(config).await.expect("both run");
    let known = client.workers().await.expect("listed");
    assert_eq!((known[0].worker_id.as_str(), known[0].ready), ("early", true));
    drop(other);
    let job = Job::new("python", "print('late')");
    client.submit(&job).await.expect("the broker takes it");
    assert_eq!(stdout(&result_of(&client, &job.job_id).await), "late\n");
}

#[tokio::test]
async fn a_worker_whose_broker_goes_away_says_so_once_and_is_ready_again_when_it_is_back() {
    let services = Services::fresh();
    let (wire, url) = services.amqp_relay().await;
    let installation = impatient(&services).set("QUEUE_URL", &url).set("WORKER_SLOTS", "2");
    let (worker, address) = installation.worker_with_admin("only").await;
    let client = services.client().await;
    let job = sleeper(2.0);
    client.submit(&job).await.expect("the broker takes it");
    running(&client, &job.job_id).await;
    assert!(listed(&services).await[0].ready);
    let tries = wire.accepted();
    wire.cut();
    worker.logs("not ready").await;
    eventually("a worker that says that it is not ready", || async {
        (!listed(&services).await.first()?.ready).then_some(())
    })
    .await;
    counts(address, "sandfleet_worker_ready", 0).await;
    // What runs goes on meanwhile.
    assert_eq!(stdout(&result_of(&client, &job.job_id).await), "slept\n");
    eventually("more tries", || async { (wire.accepted() > tries + 6).then_some(()) }).await;
    assert_eq!(lines(&worker, "not ready").len(), 1, "{}", worker.log());
    wire.mend();
    eventually("a worker that is ready again", || async {
        (lines(&worker, READY).len() == 2).then_some(())
    })
    .await;
    counts(address, "sandfleet_worker_ready", 1).await;
    eventually("a worker that says so", || async {
        listed(&services).await.first()?.ready.then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_was_ready_goes_on_when_its_login_is_refused_later() {
    let services = Services::fresh();
    let user = services.prefix.clone();
    services.rabbitmqctl(&["add_user", &user, "first"]);
    services.rabbitmqctl(&["set_permissions", &user, ".*", ".*", ".*"]);
    let (wire, url) = services.amqp_relay().await;
    let installation =
        impatient(&services).set("QUEUE_URL", &with_login(&url, &format!("{user}:first")));
    let mut worker = installation.worker("only");
    worker.ready().await;
    services.rabbitmqctl(&["change_password", &user, "second"]);
    wire.cut();
    wire.mend();
    worker.logs("it refused the login").await;
    let refused = Instant::now();
    let tries = wire.accepted();
    eventually("tries for longer than a start may take", || async {
        (refused.elapsed() > Duration::from_secs(3) && wire.accepted() > tries).then_some(())
    })
    .await;
    assert!(lines(&worker, "it refused the login").len() == 1, "{}", worker.log());
    services.rabbitmqctl(&["change_password", &user, "first"]);
    eventually("a worker that is ready again", || async {
        (lines(&worker, READY).len() == 2).then_some(())
    })
    .await;
    worker.signal(Signal::TERM);
    assert_eq!(worker.ended().await, 0, "{}", worker.log());
    services.rabbitmqctl(&["delete_user", &user]);
}

/// Ends a worker in which nothing runs, which has no use for its grace period.
async fn stops_at_once(what: &str, worker: &mut FleetWorker) {
    let since = Instant::now();
    worker.signal(Signal::TERM);
    assert_eq!(worker.ended().await, 0, "{what}: {}", worker.log());
    let took = since.elapsed();
    println!("{what}: stopped in {took:?}");
    // About a second, and some more on a busy machine; the grace period is 30 s.
    assert!(took < Duration::from_secs(4), "{what}: {took:?}: {}", worker.log());
}

#[tokio::test]
async fn a_worker_in_which_nothing_runs_stops_at_once() {
    let services = Services::fresh();
    let (amqp, amqp_url) = services.amqp_relay().await;
    let (redis, redis_url) = services.redis_relay().await;
    let fresh = || {
        Installation::fresh().on(&services).set("QUEUE_URL", &amqp_url).set("STORE_URL", &redis_url)
    };
    let installation = fresh();
    let mut worker = installation.worker("idle");
    worker.ready().await;
    stops_at_once("idle", &mut worker).await;

    let mut worker = installation.worker("silent");
    worker.ready().await;
    amqp.silence();
    redis.silence();
    stops_at_once("both say nothing any more", &mut worker).await;

    let tries = amqp.accepted();
    let mut worker = installation.worker("connecting");
    eventually("a try", || async { (amqp.accepted() > tries).then_some(()) }).await;
    stops_at_once("connecting", &mut worker).await;
    // Ends what the services believe to be connected still.
    for wire in [&amqp, &redis] {
        wire.cut();
        wire.mend();
    }

    // Jobs that wait for the store are no running jobs.
    let mut worker = installation.worker("waiting");
    worker.ready().await;
    let client = services.client().await;
    let job = Job::new("python", "print('later')");
    client.submit(&job).await.expect("the broker takes it");
    result_of(&client, &job.job_id).await;
    redis.cut();
    let job = Job::new("python", "print('later')");
    client.submit(&job).await.expect("the broker takes it");
    worker.logs("not ready").await;
    stops_at_once("its store is away", &mut worker).await;
    redis.mend();
    let mut worker = installation.worker("next");
    worker.ready().await;
    assert_eq!(stdout(&result_of(&client, &job.job_id).await), "later\n");
}

#[tokio::test]
async fn failed_jobs_and_poison_messages_leave_a_line() {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services).set("WORKER_SLOTS", "1");
    let mut worker = installation.worker("only");
    worker.ready().await;
    let client = services.client().await;
    // As the broker gives up a message that came back too often.
    let job = Job::new("python", "print(1)");
    services.bury(&encode(&job)).await;
    result_of(&client, &job.job_id).await;
    let line = format!("a job ended in status error job={}", job.job_id);
    worker.logs(&line).await;
    services.push(sandfleet_common::Priority::Batch, b"no job").await;
    worker.logs("a message can't be answered").await;
    let line = &lines(&worker, "a message can't be answered")[0];
    assert!(line.contains("reason="), "{line}");
}

//! What Redis adds to the promises of a store: a server that forgets, goes away, or is set up
//! wrongly.

use std::time::Duration;

use futures_util::StreamExt;
use sandfleet_common::{JobId, JobState, names};
use sandfleet_tests::{Services, eventually, result, soon};
use sandfleet_worker::store::{Claim, Claimed, Committed, RedisStore, Store};

const LONG: Duration = Duration::from_secs(600);

fn claim(owner: &str) -> Claim {
    Claim { owner: owner.into(), lease: LONG, max_attempts: 3, keep: LONG }
}

#[tokio::test]
async fn a_commit_is_announced() {
    let services = Services::fresh();
    let store = services.store(&services.redis_url);
    let job = JobId::generate();
    let client = redis::Client::open(services.redis_url.as_str()).expect("a valid URL");
    let mut subscription = client.get_async_pubsub().await.expect("the store runs");
    let channel = names::done_channel(&services.prefix, &job);
    subscription.subscribe(&channel).await.expect("subscribed");
    store.commit(&result(&job, "done"), "a", LONG).await.expect("stored");
    let message = soon("the announcement", subscription.on_message().next()).await;
    assert_eq!(message.expect("connected").get_channel_name(), channel);
}

#[tokio::test]
async fn a_server_that_forgot_the_scripts_is_told_them_again() {
    let services = Services::fresh();
    let store = services.store(&services.redis_url);
    for attempt in 1..=2 {
        let mut redis = services.redis().await;
        redis::cmd("SCRIPT").arg("FLUSH").query_async::<()>(&mut redis).await.expect("flushed");
        let owner = format!("owner {attempt}");
        let job = JobId::generate();
        let claimed = store.claim(&job, &claim(&owner)).await.expect("claimed");
        assert_eq!(claimed, Claimed::Run { attempt: 1 });
    }
}

#[tokio::test]
async fn every_key_has_a_time_to_live() {
    let services = Services::fresh();
    let store = services.store(&services.redis_url);
    let (done, running) = (JobId::generate(), JobId::generate());
    for job in [&done, &running] {
        store.claim(job, &claim("a")).await.expect("claimed");
    }
    store.commit(&result(&done, "done"), "a", LONG).await.expect("stored");
    store.check().await.expect("it runs");
    let mut redis = services.redis().await;
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg(format!("{}:*", services.prefix))
        .query_async(&mut redis)
        .await
        .expect("listed");
    // A result and a count; a lease and a count; the mark of the check.
    assert_eq!(keys.len(), 5, "{keys:?}");
    for key in keys {
        let left: i64 =
            redis::cmd("PTTL").arg(&key).query_async(&mut redis).await.expect("answered");
        assert!(left > 0, "{key} stays for ever");
    }
}

#[tokio::test]
async fn a_store_comes_back_after_its_connection_broke() {
    let services = Services::fresh();
    let (wire, url) = services.redis_relay().await;
    let store = services.store(&url);
    let job = JobId::generate();
    store.claim(&job, &claim("a")).await.expect("claimed");
    wire.cut();
    let error = soon("an answer", store.get(&job)).await.expect_err("nobody is there");
    assert!(error.to_string().contains(job.as_str()), "{error}");
    assert!(store.check().await.is_err());
    wire.mend();
    let state = eventually("the store's return", || async { store.get(&job).await.ok() }).await;
    assert_eq!(state, JobState::Running);
}

#[tokio::test]
async fn a_broken_connection_costs_no_operation_if_the_server_is_there() {
    let services = Services::fresh();
    let (wire, url) = services.redis_relay().await;
    let store = services.store(&url);
    for n in 0..10 {
        let job = JobId::generate();
        let claimed = store.claim(&job, &claim("a")).await.expect("claimed");
        assert_eq!(claimed, Claimed::Run { attempt: 1 }, "after {n} cuts");
        wire.cut();
        wire.mend();
        let committed = store.commit(&result(&job, "done"), "a", LONG).await.expect("stored");
        assert_eq!(committed, Committed::Stored);
    }
}

#[tokio::test]
async fn check_refuses_a_server_that_throws_results_away() {
    let services = Services::fresh();
    let store = services.store(&services.redis_url);
    store.check().await.expect("the server under test keeps everything");
    let policy = Policy::set(&services, "volatile-lru").await;
    let error = store.check().await.expect_err("it may throw results away").to_string();
    for part in ["volatile-lru", "noeviction", "redis.conf"] {
        assert!(error.contains(part), "{error:?} doesn't name {part:?}");
    }
    policy.restore().await;
    store.check().await.expect("it keeps everything again");
}

#[tokio::test]
async fn no_error_shows_the_password() {
    let store: RedisStore = Services::fresh().store("redis://user:SECRET@127.0.0.1:1/0");
    let error = store.check().await.expect_err("nobody is there");
    let shown = format!("{error} {error:?}");
    assert!(
        shown.contains("redis://user:***@127.0.0.1:1/0") && !shown.contains("SECRET"),
        "{shown}"
    );
}

/// The server's eviction policy, put back at the end. Without a `maxmemory` none evicts anything,
/// so the other tests don't notice.
struct Policy<'a> {
    services: &'a Services,
    restored: bool,
}

impl<'a> Policy<'a> {
    async fn set(services: &'a Services, policy: &str) -> Self {
        set_policy(services, policy).await;
        Self { services, restored: false }
    }

    async fn restore(mut self) {
        set_policy(self.services, "noeviction").await;
        self.restored = true;
    }
}

impl Drop for Policy<'_> {
    fn drop(&mut self) {
        if !self.restored {
            let client = redis::Client::open(self.services.redis_url.as_str());
            let put_back = client.and_then(|client| {
                let mut connection = client.get_connection()?;
                redis::cmd("CONFIG")
                    .arg(["SET", "maxmemory-policy", "noeviction"].as_slice())
                    .exec(&mut connection)
            });
            if let Err(error) = put_back {
                eprintln!("maxmemory-policy was not put back: {error}");
            }
        }
    }
}

async fn set_policy(services: &Services, policy: &str) {
    let mut redis = services.redis().await;
    redis::cmd("CONFIG")
        .arg(["SET", "maxmemory-policy", policy].as_slice())
        .query_async::<()>(&mut redis)
        .await
        .expect("the server under test lets itself be configured");
}

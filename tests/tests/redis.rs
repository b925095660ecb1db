//! What Redis adds to the promises of a store: a server that forgets, goes away, or is set up
//! wrongly.

use std::time::Duration;

use futures_util::StreamExt;
use redis::{SetExpiry, SetOptions};
use sandfleet_common::{Isolation, JobId, JobState, Priority, WorkerInfo, encode, names};
use sandfleet_sdk::OutputKind;
use sandfleet_tests::{PrivateRedis, Services, claim, eventually, result, soon};
use sandfleet_transport::records::{Claimed, Committed, Output, RedisStore};

const LONG: Duration = Duration::from_secs(600);

fn printed(attempt: u32, offset: u64, bytes: &[u8]) -> Output {
    Output { attempt, kind: OutputKind::Stdout, offset, bytes: bytes.to_vec() }
}

fn worker_info(id: &str) -> WorkerInfo {
    WorkerInfo {
        worker_id: id.into(),
        version: "1".into(),
        backend: "native".into(),
        isolation: Isolation::Container,
        languages: vec!["python".into()],
        priorities: Priority::ALL.to_vec(),
        protocol_version: 1,
        protocol_minor: 0,
        max_job_bytes: 0,
        slots: 1,
        busy: 0,
        stopping: false,
        ready: true,
        started_at: jiff::Timestamp::UNIX_EPOCH,
    }
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
        assert!(matches!(claimed, Claimed::Run { attempt: 1, .. }), "{claimed:?}");
    }
}

/// Whoever may write to the store can put anything there.
#[tokio::test]
async fn what_is_no_workers_entry_keeps_no_worker_from_being_listed() {
    let services = Services::fresh();
    let store = services.store(&services.redis_url);
    let mut redis = services.redis().await;
    store.announce(&worker_info("w")).await.expect("announced");
    let index = names::workers_key(&services.prefix);
    let mut forged: Vec<(&[u8], Vec<u8>)> = vec![
        (b"\xff\xfe", encode(&worker_info("not UTF-8"))),
        (b"no JSON", b"{".to_vec()),
        (b"an array", b"[1,2]".to_vec()),
        (b"of another name", encode(&worker_info("w"))),
    ];
    let mut long = worker_info("long");
    long.languages = vec!["x".repeat(1 << 20)];
    forged.push((b"long", encode(&long)));
    let mut pipe = redis::pipe();
    for (id, info) in forged {
        pipe.zadd(&index, id, i64::MAX / 1024);
        let key = [names::worker_key(&services.prefix, "").as_bytes(), id].concat();
        pipe.set_options(key, info, SetOptions::default().with_expiration(SetExpiry::EX(60)));
    }
    pipe.query_async::<()>(&mut redis).await.expect("written");
    assert_eq!(store.workers().await.expect("listed"), [worker_info("w")]);

    let mut pipe = redis::pipe();
    for n in 0..20_000 {
        pipe.zadd(&index, format!("forged-{n}"), n);
    }
    pipe.query_async::<()>(&mut redis).await.expect("written");
    assert_eq!(store.workers().await.expect("listed"), [worker_info("w")]);
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
    store.append(&running, "a", &[printed(1, 0, b"x")]).await.expect("stored");
    store.check().await.expect("it runs");
    store.announce(&worker_info("w")).await.expect("announced");
    let mut redis = services.redis().await;
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg(format!("{}:*", services.prefix))
        .query_async(&mut redis)
        .await
        .expect("listed");
    // A result, a record and what was used on the day; a lease, a record and output; the mark of the check;
    // a worker and the index of workers.
    assert_eq!(keys.len(), 9, "{keys:?}");
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
    assert!(state.is_running(), "{state:?}");
}

#[tokio::test]
async fn a_broken_connection_costs_no_operation_if_the_server_is_there() {
    let services = Services::fresh();
    let (wire, url) = services.redis_relay().await;
    let store = services.store(&url);
    for n in 0..10 {
        let job = JobId::generate();
        let claimed = store.claim(&job, &claim("a")).await.expect("claimed");
        assert!(matches!(claimed, Claimed::Run { attempt: 1, .. }), "{claimed:?}, {n} cuts");
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

#[tokio::test]
async fn a_worker_is_listed_while_it_lives() {
    let services = Services::fresh();
    let store = services.store(&services.redis_url);
    for id in ["b", "a"] {
        store.announce(&worker_info(id)).await.expect("announced");
    }
    assert_eq!(store.workers().await.expect("listed"), [worker_info("a"), worker_info("b")]);
    store.leave("a").await.expect("left");
    // As if its time were over: it died without a word.
    let mut redis = services.redis().await;
    let key = names::worker_key(&services.prefix, "b");
    redis::cmd("DEL").arg(key).query_async::<()>(&mut redis).await.expect("deleted");
    assert_eq!(store.workers().await.expect("listed"), []);
}

#[tokio::test]
async fn only_who_holds_a_job_adds_to_its_output_and_nobody_after_its_result() {
    let services = Services::fresh();
    let store = services.store(&services.redis_url);
    let job = JobId::generate();
    store.claim(&job, &claim("a")).await.expect("claimed");
    store.append(&job, "a", &[printed(1, 0, b"one"), printed(1, 3, b"two")]).await.expect("added");
    store.append(&job, "stale", &[printed(1, 6, b"no")]).await.expect("ignored");
    store.commit(&result(&job, "done"), "b", LONG).await.expect("stored");
    store.append(&job, "a", &[printed(1, 6, b"no")]).await.expect("ignored");
    let entries = store.output(&job, "").await.expect("read");
    let read: Vec<_> =
        entries.iter().map(|entry| (entry.output.offset, &entry.output.bytes[..])).collect();
    assert_eq!(read, [(0, &b"one"[..]), (3, &b"two"[..])]);
    let rest = store.output(&job, &entries[0].id).await.expect("read");
    assert_eq!(rest, entries[1..]);
}

#[tokio::test]
async fn a_server_without_memory_stores_nothing_and_changes_nothing_until_it_has_some() {
    let server = PrivateRedis::start(&["--maxmemory-policy", "noeviction"]).await;
    let store = server.store();
    let (claimed, waiting) = (JobId::generate(), JobId::generate());
    store.claim(&claimed, &claim("a")).await.expect("claimed");
    server.config("maxmemory", "1").await;
    let error = store.commit(&result(&claimed, "done"), "a", LONG).await.expect_err("no room");
    assert!(error.to_string().contains("OOM"), "{error}");
    store.claim(&waiting, &claim("b")).await.expect_err("no room");
    assert!(store.check().await.is_err());
    assert!(store.get(&claimed).await.expect("read").is_running());
    assert_eq!(store.get(&waiting).await.expect("read"), JobState::Unknown);
    server.config("maxmemory", "0").await;
    let committed = store.commit(&result(&claimed, "done"), "a", LONG).await.expect("stored");
    assert_eq!(committed, Committed::Stored);
    let first = store.claim(&waiting, &claim("b")).await.expect("claimed");
    assert!(matches!(first, Claimed::Run { attempt: 1, .. }), "{first:?}");
}

#[tokio::test]
async fn a_server_that_became_a_replica_is_left_for_the_one_that_takes_writes() {
    let server = PrivateRedis::start(&[]).await;
    let store = server.store();
    let job = JobId::generate();
    store.claim(&job, &claim("a")).await.expect("claimed");
    // Of no primary: it answers, and takes no writes.
    server.command(&["REPLICAOF", "127.0.0.1", "1"]).await;
    let before = server.connections().await;
    let error = store.commit(&result(&job, "done"), "a", LONG).await.expect_err("read only");
    assert!(error.to_string().contains("read only replica"), "{error}");
    // Besides that of the second question, one was made that would have led to the new primary.
    assert!(server.connections().await > before + 1, "it stayed on the old connection");
    server.command(&["REPLICAOF", "NO", "ONE"]).await;
    let committed = store.commit(&result(&job, "done"), "a", LONG).await.expect("stored");
    assert_eq!(committed, Committed::Stored);
}

#[tokio::test]
async fn a_replica_that_lost_its_primary_is_left_for_the_one_that_serves() {
    let server = PrivateRedis::start(&["--replica-serve-stale-data", "no"]).await;
    let store = server.store();
    let job = JobId::generate();
    store.claim(&job, &claim("a")).await.expect("claimed");
    // Of no primary: it answers MASTERDOWN to everything.
    server.command(&["REPLICAOF", "127.0.0.1", "1"]).await;
    let before = server.connections().await;
    let error = store.commit(&result(&job, "done"), "a", LONG).await.expect_err("no primary");
    assert!(error.to_string().contains("MasterDown"), "{error}");
    assert!(server.connections().await > before + 1, "it stayed on the old connection");
    server.command(&["REPLICAOF", "NO", "ONE"]).await;
    let committed = store.commit(&result(&job, "done"), "a", LONG).await.expect("stored");
    assert_eq!(committed, Committed::Stored);
}

#[tokio::test]
async fn a_server_that_is_loading_is_waited_for() {
    // Three seconds for a thousand keys, and an answer in between.
    let slowly = ["--key-load-delay", "3000", "--loading-process-events-interval-bytes", "1024"];
    let mut server = PrivateRedis::start(&slowly).await;
    let mut services = Services::fresh();
    services.set_store(&server.url());
    let client = services.client().await;
    let store = services.store(&services.redis_url);
    let (ended, runs) = (JobId::generate(), JobId::generate());
    store.commit(&result(&ended, "done"), "a", LONG).await.expect("stored");
    store.claim(&runs, &claim("a")).await.expect("claimed");
    let keys = "for n = 1, 1000 do redis.call('SET', 'key' .. n, n .. string.rep('x', 19)) end";
    server.command(&["EVAL", keys, "0"]).await;
    server.command(&["SAVE"]).await;
    server.kill().await;
    server.restart().await;
    let error = store.commit(&result(&runs, "done"), "a", LONG).await.expect_err("it is loading");
    assert!(error.to_string().contains("is loading"), "{error}");
    // A producer is not told of it.
    client.wait(&ended, LONG).await.expect("the result");
    let committed = eventually("the end of the loading", || async {
        store.commit(&result(&runs, "done"), "a", LONG).await.ok()
    })
    .await;
    assert_eq!(committed, Committed::Stored);
}

#[tokio::test]
async fn a_server_that_does_not_answer_costs_a_time_out_and_no_result() {
    let server = PrivateRedis::start(&[]).await;
    let store = server.store();
    let job = JobId::generate();
    store.claim(&job, &claim("a")).await.expect("claimed");
    server.command(&["CLIENT", "PAUSE", "6000", "ALL"]).await;
    let error = soon("an answer", store.commit(&result(&job, "done"), "a", LONG)).await;
    let error = error.expect_err("it is silent for longer than it is waited for");
    assert!(error.to_string().contains("no answer in"), "{error}");
    let committed = eventually("the server's return", || async {
        store.commit(&result(&job, "done"), "a", LONG).await.ok()
    })
    .await;
    // Whether or not the first try arrived: it was the same result.
    assert_eq!(committed, Committed::Stored);
}

#[tokio::test]
async fn a_large_result_is_stored_and_read_whole() {
    let services = Services::fresh();
    let store = services.store(&services.redis_url);
    let mut large = result(&JobId::generate(), "large");
    large.metadata.insert("much".into(), "x".repeat(24 << 20).into());
    let committed = store.commit(&large, "a", LONG).await.expect("stored");
    assert_eq!(committed, Committed::Stored);
    let state = store.get(&large.job_id).await.expect("read");
    assert!(state == JobState::Done(Box::new(large)), "it is another one");
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
            let client = redis::Client::open(self.services.admin.redis_url.as_str());
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

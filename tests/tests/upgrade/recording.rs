//! Records what this version writes: `tests/run upgrade --record`.

use std::{collections::BTreeMap, fs, process::Command};

use jiff::Timestamp;
use lapin::options::BasicGetOptions;
use redis::{AsyncCommands, aio::MultiplexedConnection};
use sandfleet_common::{
    Encoding, InputFile, Isolation, Job, JobResult, LimitsRequest, Priority, Status, Verdict, names,
};
use sandfleet_sdk::Client;
use sandfleet_tests::{DEADLINE, Installation, Services};

use crate::release::{Data, Ending, Message, Release, Value};

#[tokio::test]
#[ignore = "writes a file of the repository: tests/run upgrade --record"]
async fn this_version_is_recorded() {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services).quiet().set("WORKER_SLOTS", "1");
    let client = services.client().await;
    let recorded_at_ms = Timestamp::now().as_millisecond();
    let mut jobs = waiting_jobs(&client).await;
    let messages = messages(&services).await;
    assert_eq!(messages.len(), jobs.len(), "a message for each job that waits");
    let waiting = keys(&services).await;

    let mut worker = installation.worker("recorded");
    worker.ready().await;
    for (what, job) in jobs_to_run() {
        client.submit(&job).await.expect("the broker takes it");
        let result = client.wait(&job.job_id, DEADLINE).await.expect("a result");
        jobs.push(ending(what, job, false, &result));
    }
    let mut ended = keys(&services).await;
    ended.retain(|key, _| !waiting.contains_key(key));
    let release = Release {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: head(),
        recorded_at_ms,
        prefix: services.prefix.clone(),
        messages,
        waiting,
        ended,
        jobs,
    };
    let file = Release::directory().join(format!("{}.json", release.version));
    let text = serde_json::to_string_pretty(&release).expect("it is plain data") + "\n";
    fs::write(&file, text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    println!("recorded {}", file.display());
}

/// Submits what waits, and cancels one of them; nothing takes them.
async fn waiting_jobs(client: &Client) -> Vec<Ending> {
    let mut jobs = Vec::new();
    for (what, mut job) in [
        ("waits, interactive", Job::new("python", "print(input())")),
        ("waits, of a tenant, with a file", Job::new("python", "print(open('a.txt').read())")),
        ("waits, batch, fails", Job::new("bash", "echo no; exit 3")),
        ("was cancelled while it waited", Job::new("python", "print('never')")),
    ] {
        job.stdin = Some("from stdin\n".into());
        job.metadata.insert("recorded".into(), true.into());
        match what {
            "waits, of a tenant, with a file" => {
                job.tenant = Some("acme".into());
                job.files = vec![file("a.txt", "from a file")];
            }
            "waits, batch, fails" => job.priority = Priority::Batch,
            _ => {}
        }
        client.submit(&job).await.expect("the broker takes it");
        let (status, verdict, stdout) = match what {
            "waits, batch, fails" => {
                (Status::Failed, Some(Verdict::RuntimeError), Some("no\n".to_owned()))
            }
            "was cancelled while it waited" => {
                client.cancel(&job.job_id).await.expect("the store takes it");
                (Status::Cancelled, None, None)
            }
            "waits, interactive" => {
                (Status::Succeeded, Some(Verdict::Accepted), Some("from stdin\n".to_owned()))
            }
            _ => (Status::Succeeded, Some(Verdict::Accepted), Some("from a file\n".to_owned())),
        };
        let what = what.to_owned();
        jobs.push(Ending { what, id: job.job_id, waits: true, status, verdict, stdout });
    }
    jobs
}

/// One for each kind of end.
fn jobs_to_run() -> Vec<(&'static str, Job)> {
    let mut slow = Job::new("python", "while True: pass");
    slow.limits = LimitsRequest { wall_time_ms: Some(300), ..Default::default() };
    let mut writes = Job::new("python", "open('out.txt', 'w').write('kept'); print('wrote')");
    writes.artifacts = vec!["out.txt".into()];
    writes.tenant = Some("acme".into());
    vec![
        ("accepted, with an artifact", writes),
        ("runtime error", Job::new("bash", "echo out; echo err >&2; exit 3")),
        ("compile error", Job::new("c", "int main(void) { return }")),
        ("time limit", slow),
        ("rejected", Job::new("klingon", "Qapla'")),
        ("not UTF-8", Job::new("python", "import os; os.write(1, b'\\xff\\xfe')")),
    ]
}

fn file(name: &str, content: &str) -> InputFile {
    InputFile { name: name.into(), content: content.into(), encoding: Encoding::Utf8 }
}

fn ending(what: &str, job: Job, waits: bool, result: &JobResult) -> Ending {
    let stdout = result.run.as_ref().map(|run| run.stdout.clone());
    Ending {
        what: what.to_owned(),
        id: job.job_id,
        waits,
        status: result.status,
        verdict: result.verdict,
        stdout,
    }
}

/// All messages of the job queues, taken out.
async fn messages(services: &Services) -> Vec<Message> {
    let (_connection, channel) = services.channel().await.expect("the broker runs");
    let mut messages = Vec::new();
    for priority in Priority::ALL {
        let plain = names::job_queue(&services.prefix, Isolation::Container, *priority);
        let shards = (0..names::TENANT_SHARDS).map(|shard| {
            names::shard_queue(&services.prefix, Isolation::Container, *priority, shard)
        });
        for queue in [plain].into_iter().chain(shards) {
            let take = BasicGetOptions { no_ack: true };
            while let Some(got) =
                channel.basic_get(queue.as_str().into(), take).await.expect("a queue")
            {
                let properties = &got.delivery.properties;
                messages.push(Message {
                    exchange: got.delivery.exchange.to_string(),
                    routing_key: got.delivery.routing_key.to_string(),
                    priority: *properties.priority(),
                    message_id: properties.message_id().as_ref().map(ToString::to_string),
                    content_type: properties.content_type().as_ref().map(ToString::to_string),
                    headers: properties.headers().clone().unwrap_or_default(),
                    body: String::from_utf8(got.delivery.data).expect("JSON"),
                });
            }
        }
    }
    messages
}

/// All keys of the fleet.
async fn keys(services: &Services) -> BTreeMap<String, Value> {
    let client = redis::Client::open(services.admin.redis_url.as_str()).expect("a URL");
    let mut store = client.get_multiplexed_async_connection().await.expect("the store runs");
    let pattern = format!("{}:*", services.prefix);
    let names: Vec<String> = store.keys(pattern).await.expect("an administrator may list");
    let mut keys = BTreeMap::new();
    for name in names {
        let value = read(&mut store, &name).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        keys.insert(name, value);
    }
    keys
}

async fn read(store: &mut MultiplexedConnection, key: &str) -> redis::RedisResult<Value> {
    let ttl: i64 = store.pttl(key).await?;
    let kind: String = redis::cmd("TYPE").arg(key).query_async(store).await?;
    let data = match kind.as_str() {
        "string" => Data::String(store.get(key).await?),
        "hash" => Data::Hash(store.hgetall(key).await?),
        "zset" => Data::SortedSet(store.zrange_withscores(key, 0, -1).await?),
        "stream" => {
            let mut range = redis::cmd("XRANGE");
            Data::Stream(range.arg(key).arg("-").arg("+").query_async(store).await?)
        }
        kind => panic!("{key} is a {kind}: record it as well"),
    };
    Ok(Value { ttl_ms: (ttl >= 0).then_some(ttl), data })
}

fn head() -> String {
    let asked = Command::new("git").args(["rev-parse", "HEAD"]).output().expect("git is there");
    let head = String::from_utf8(asked.stdout).expect("a commit");
    head.trim().to_owned()
}

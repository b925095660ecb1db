//! Deletion: what is kept of a job ends before its time, and what it leaves can't run it again.

use std::time::Duration;

use sandfleet_common::{Job, JobId, JobState, Status, names};
use sandfleet_sdk::Client;
use sandfleet_tests::eventually;

use crate::servers::Servers;

async fn submit(client: &Client, tenant: &str, code: &str) -> JobId {
    let mut job = Job::new("python", code);
    (job.tenant, job.stream) = (Some(tenant.to_owned()), true);
    client.submit(&job).await.expect("the broker takes it")
}

#[tokio::test]
async fn a_deleted_job_leaves_nothing_but_that_it_ended() {
    let servers = Servers::start().await;
    let [worker, operator] = ["worker", "operator"].map(|name| servers.installation(name));
    let client = Client::connect(servers.client_config("producer")).await.expect("it is let in");
    let worker = worker.set("WORKER_SLOTS", "2");
    let mut only = worker.worker("only");
    only.ready().await;
    let done = submit(&client, "acme", "print('secret')").await;
    let other = submit(&client, "shop", "print('kept')").await;
    for id in [&done, &other] {
        let result = client.wait(id, Duration::from_secs(60)).await.expect("it has a result");
        assert_eq!(result.status, Status::Succeeded);
    }
    let running = submit(&client, "acme", "import time; time.sleep(600)").await;
    eventually("its start", || async {
        client.get(&running).await.expect("read").is_running().then_some(())
    })
    .await;

    let deleted = operator.run(&["delete", done.as_str()]).await;
    assert_eq!(deleted.code, 0, "{deleted:#?}");
    assert!(deleted.stdout.contains("result, record and output are deleted"), "{deleted:#?}");
    assert!(deleted.stderr.contains("append-only file"), "{deleted:#?}");
    let mut admin = servers.admin().await;
    let mut find = redis::cmd("KEYS");
    find.arg(format!("{}:{{{done}}}:*", servers.prefix));
    let kept: Vec<String> = find.query_async(&mut admin).await.expect("an administrator");
    let record = names::record_key(&servers.prefix, &done);
    assert_eq!(kept, std::slice::from_ref(&record));
    let fields: Vec<(String, String)> =
        redis::cmd("HGETALL").arg(&record).query_async(&mut admin).await.expect("a hash");
    assert_eq!(fields, [("ended".to_owned(), "succeeded".to_owned())]);
    let left: i64 = redis::cmd("PTTL").arg(&record).query_async(&mut admin).await.expect("a time");
    assert!(left > 0, "{left}");
    let state = client.get(&done).await.expect("read");
    assert_eq!(state, JobState::ResultExpired(Status::Succeeded));
    let again = operator.run(&["delete", done.as_str()]).await;
    assert!(again.code != 0 && again.stdout.contains("nothing is kept"), "{again:#?}");

    let refused = operator.run(&["delete", "--tenant", "acme"]).await;
    assert!(
        refused.code != 0 && refused.stdout.contains(&format!("{running}: runs")),
        "{refused:#?}"
    );
    assert!(client.get(&running).await.expect("read").is_running());
    client.cancel(&running).await.expect("told");
    client.wait(&running, Duration::from_secs(60)).await.expect("it has a result");
    let deleted = operator.run(&["delete", "--tenant", "acme"]).await;
    assert_eq!((deleted.code, deleted.stdout.lines().count()), (0, 1), "{deleted:#?}");
    let none = operator.run(&["delete", "--tenant", "acme"]).await;
    assert!(none.code == 0 && none.stdout.contains("nothing is kept of tenant acme"), "{none:#?}");
    assert!(matches!(client.get(&other).await, Ok(JobState::Done(_))), "another tenant's stays");

    let audit = operator.run(&["audit"]).await;
    assert!(audit.stdout.contains(&format!("deleted {done}")), "{audit:#?}");
    let tried = servers.installation("producer").run(&["delete", other.as_str()]).await;
    assert!(tried.code != 0, "a producer deletes no result: {tried:#?}");
    assert!(matches!(client.get(&other).await, Ok(JobState::Done(_))));
}

#[tokio::test]
async fn a_job_that_is_deleted_while_it_waits_is_never_started() {
    let servers = Servers::start().await;
    let [worker, operator] = ["worker", "operator"].map(|name| servers.installation(name));
    let client = Client::connect(servers.client_config("producer")).await.expect("it is let in");
    let waiting = submit(&client, "acme", "print('never')").await;
    let deleted = operator.run(&["delete", waiting.as_str()]).await;
    assert!(deleted.stdout.contains("deleted while it waited"), "{deleted:#?}");
    assert!(deleted.stderr.contains("still in queues"), "{deleted:#?}");
    let later = submit(&client, "acme", "print('runs')").await;
    let worker = worker.set("WORKER_SLOTS", "1");
    let (only, address) = worker.worker_with_admin("only").await;
    let result = client.wait(&later, Duration::from_secs(60)).await.expect("it has a result");
    assert_eq!(result.status, Status::Succeeded);
    let state = client.get(&waiting).await.expect("read");
    assert_eq!(state, JobState::ResultExpired(Status::Cancelled));
    eventually("the message of the deleted job", || async {
        let page = sandfleet_tests::http_get(address, "/metrics").await.1;
        let told = |line: &str| page.lines().any(|it| it == line);
        (told("sandfleet_job_duplicates_total 1")
            && told("sandfleet_job_starts_total{language=\"python\"} 1"))
        .then_some(())
    })
    .await;
    drop(only);
}

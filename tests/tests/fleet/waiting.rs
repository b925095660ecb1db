//! What a waiting client is told.

use std::fs;

use sandfleet_common::{Job, WorkerInfo};
use sandfleet_tests::{Installation, Services, eventually, submitted};
use tempfile::TempDir;

use crate::{result_of, running, sleeper, stdout};

#[tokio::test]
async fn workers_are_listed_while_they_live() {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services).set("WORKER_SLOTS", "3");
    let client = services.client().await;
    let none = installation.run(&["workers"]).await;
    assert!(none.stdout.starts_with("no live workers"), "{none:#?}");
    let mut worker = installation.worker("one");
    worker.ready().await;
    let listed = installation.run(&["workers", "--json"]).await;
    let workers: Vec<WorkerInfo> = serde_json::from_str(&listed.stdout).expect("JSON");
    let [one] = &workers[..] else { panic!("{workers:#?}") };
    assert_eq!((one.worker_id.as_str(), one.slots, one.backend.as_str()), ("one", 3, "native"));
    assert!(one.languages.contains(&"python".to_owned()), "{one:#?}");
    let job = sleeper(6.0);
    client.submit(&job).await.expect("the broker takes it");
    running(&client, &job.job_id).await;
    eventually("a heartbeat that tells of the job", || async {
        (client.workers().await.expect("the store runs")[0].busy == 1).then_some(())
    })
    .await;
    worker.signal(rustix::process::Signal::TERM);
    eventually("the word that it stops", || async {
        client.workers().await.expect("the store runs").first()?.stopping.then_some(())
    })
    .await;
    assert_eq!(worker.ended().await, 0, "{}", worker.log());
    assert_eq!(client.workers().await.expect("the store runs"), []);
}

#[tokio::test]
async fn who_waits_is_told_where_the_job_is_and_what_is_missing() {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services);
    let client = services.client().await;
    let unknown = installation.run(&["result", "never-submitted", "--wait"]).await;
    assert_eq!(unknown.code, 66, "{unknown:#?}");
    assert!(unknown.stderr.contains("is unknown"), "{}", unknown.stderr);

    let _worker = installation.worker("only");
    // A language that this client's catalogue would refuse, and no worker offers.
    let cobol = Job::new("cobol", "DISPLAY 1");
    let mut busy = sleeper(1000.0);
    busy.limits.wall_time_ms = Some(60_000);
    client.submit(&busy).await.expect("the broker takes it");
    running(&client, &busy.job_id).await;
    let shown = installation.run(&["result", busy.job_id.as_str()]).await;
    assert_eq!(shown.code, 75, "{shown:#?}");
    assert!(shown.stderr.contains("on worker only, attempt 1"), "{}", shown.stderr);
    client.cancel(&busy.job_id).await.expect("answered");
    // Written down and not published: a worker would only reject it.
    submitted(&services.store(&services.redis_url), &cobol).await;
    let shown = installation.run(&["result", cobol.job_id.as_str()]).await;
    assert!(shown.stderr.contains("the only live worker doesn't take language \"cobol\""));
}

#[tokio::test]
async fn a_submission_that_waits_warns_once_when_nobody_is_there() {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services);
    let directory = TempDir::new().expect("room for files");
    let script = directory.path().join("it.py").display().to_string();
    fs::write(&script, "print('printed')").expect("room for a file");
    let keyed = ["submit", &script, "--idempotency-key", "k", "--wait", "--timeout", "0"];
    let ran = installation.run(&keyed).await;
    assert_eq!(ran.code, 75, "{ran:#?}");
    let warnings = ran.stderr.lines().filter(|line| line.contains("warning")).count();
    assert_eq!((warnings, ran.stderr.lines().count()), (1, 2), "{}", ran.stderr);
    assert!(ran.stderr.contains("no live workers"), "{}", ran.stderr);
    assert!(ran.stderr.contains("no result within 0 s: job ") && ran.stderr.contains("is queued"));
    assert!(!ran.stderr.contains("whether it was submitted"), "{}", ran.stderr);
    let id = sandfleet_common::JobId::of_key(None, "k");
    let ran = installation.run(&["result", id.as_str(), "--wait", "--timeout", "0"]).await;
    assert_eq!((ran.code, ran.stderr.lines().count()), (75, 2), "{ran:#?}");
    assert!(ran.stderr.contains("warning: job ") && ran.stderr.contains("no live workers"));

    let mut worker = installation.worker("only");
    worker.ready().await;
    let ran = installation.run(&["submit", &script, "--idempotency-key", "k", "--wait"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "printed\n"), "{ran:#?}");
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
    // The job of before, and no other one.
    let printed = installation.run(&["submit", &script, "--idempotency-key", "k"]).await;
    assert_eq!((printed.code, printed.stdout), (0, format!("{id}\n")));
    let client = services.client().await;
    assert_eq!(stdout(&result_of(&client, &id).await), "printed\n");
    fs::write(&script, "print('something else')").expect("room for a file");
    let other = installation.run(&["submit", &script, "--idempotency-key", "k"]).await;
    assert_eq!(other.code, 65, "{other:#?}");
    assert!(other.stderr.contains("another payload"), "{}", other.stderr);
}

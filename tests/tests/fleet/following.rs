//! Output that is followed while the program runs.

use std::fs;

use futures_util::StreamExt;
use rustix::process::Signal;
use sandfleet_common::{Job, Status};
use sandfleet_sdk::OutputEvent;
use sandfleet_tests::{Installation, Services, eventually, soon};
use tempfile::TempDir;

use crate::result_of;

/// A job that prints, and goes on when it is told to by its end.
fn printer(seconds: u32) -> Job {
    let mut job = Job::new(
        "python",
        format!(
            "import sys, time\nprint('begun', flush=True)\nprint('aside', file=sys.stderr, flush=True)\n\
             time.sleep({seconds})\nprint('over')"
        ),
    );
    job.stream = true;
    job.limits.wall_time_ms = Some(60_000);
    job
}

#[tokio::test]
async fn output_comes_while_the_program_runs_and_ends_with_the_result() {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services);
    let client = services.client().await;
    let _worker = installation.worker("only");
    let job = printer(3);
    client.submit(&job).await.expect("the broker takes it");
    let mut events = client.stream(&job.job_id);
    let mut seen = Vec::new();
    let result = loop {
        let event = soon("an event", events.next()).await.expect("it ends with the result");
        match event.expect("the store runs") {
            OutputEvent::Done(result) => break result,
            event => {
                if event == OutputEvent::Stdout(b"begun\n".to_vec()) {
                    let state = client.get(&job.job_id).await.expect("read");
                    assert!(state.is_running(), "it was told only afterwards: {state:?}");
                }
                seen.push(event);
            }
        }
    };
    assert!(soon("the end", events.next()).await.is_none());
    assert_eq!(seen.remove(0), OutputEvent::Started { attempt: 1 });
    for event in [
        OutputEvent::Stdout(b"begun\n".to_vec()),
        OutputEvent::Stderr(b"aside\n".to_vec()),
        OutputEvent::Stdout(b"over\n".to_vec()),
    ] {
        assert!(seen.contains(&event), "{event:?} in {seen:?}");
    }
    assert_eq!((seen.len(), result.status), (3, Status::Succeeded), "{seen:?}");
}

#[tokio::test]
async fn a_second_attempt_is_seen_to_begin() {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services).set("WORKER_LEASE_MS", "1000");
    let client = services.client().await;
    let mut first = installation.worker("first");
    let job = printer(2);
    client.submit(&job).await.expect("the broker takes it");
    let mut events = client.stream(&job.job_id);
    let mut attempts = Vec::new();
    let mut second = None;
    loop {
        let event = soon("an event", events.next()).await.expect("it ends with the result");
        match event.expect("the store runs") {
            OutputEvent::Started { attempt } => attempts.push(attempt),
            OutputEvent::Stdout(_) if second.is_none() => {
                first.signal(Signal::KILL);
                first.ended().await;
                second = Some(installation.worker("second"));
            }
            OutputEvent::Done(result) => {
                assert_eq!(result.attempt, 2);
                break;
            }
            _ => {}
        }
    }
    assert_eq!(attempts, [1, 2]);
}

#[tokio::test]
async fn a_job_that_nobody_wants_to_follow_leaves_no_output_in_the_store() {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services);
    let client = services.client().await;
    let _worker = installation.worker("only");
    let job = Job { stream: false, ..printer(0) };
    client.submit(&job).await.expect("the broker takes it");
    let result = result_of(&client, &job.job_id).await;
    let events: Vec<_> = soon("the end", client.stream(&job.job_id).collect()).await;
    let [Ok(OutputEvent::Done(done))] = &events[..] else { panic!("{events:?}") };
    assert_eq!(**done, result);
    let mut redis = services.redis().await;
    let key = sandfleet_common::names::output_key(&services.prefix, &job.job_id);
    let there: bool =
        redis::cmd("EXISTS").arg(key).query_async(&mut redis).await.expect("answered");
    assert!(!there, "it costs something all the same");
}

#[tokio::test]
async fn a_store_that_is_away_holds_up_neither_the_program_nor_more_than_it_must() {
    let services = Services::fresh();
    let (wire, redis_url) = services.redis_relay().await;
    let installation = Installation::fresh().on(&services).set("STORE_URL", &redis_url);
    let client = services.client().await;
    let _worker = installation.worker("only");
    let mut job = Job::new(
        "python",
        "import time\nprint('begun', flush=True)\nbegin = time.monotonic()\n\
         for _ in range(200): print('x' * 4000, flush=True); time.sleep(0.01)\n\
         print(time.monotonic() - begin < 20)",
    );
    job.stream = true;
    job.limits.wall_time_ms = Some(60_000);
    client.submit(&job).await.expect("the broker takes it");
    let mut events = client.stream(&job.job_id);
    loop {
        match soon("an event", events.next()).await.expect("it goes on").expect("the store runs") {
            OutputEvent::Stdout(_) => break,
            OutputEvent::Done(result) => panic!("it ended too soon: {}", result.message),
            _ => {}
        }
    }
    let before = wire.accepted();
    wire.cut();
    // It tries to come back while the program prints on.
    eventually("its attempts to connect", || async { (wire.accepted() > before).then_some(()) })
        .await;
    wire.mend();
    let result = result_of(&client, &job.job_id).await;
    assert!(crate::stdout(&result).ends_with("True\n"), "its output was held up");
    assert_eq!(crate::stdout(&result).len(), 6 + 200 * 4001 + 5, "the result has all of it");
}

#[tokio::test]
async fn the_command_line_follows_and_ends_like_the_program() {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services);
    let directory = TempDir::new().expect("room for files");
    let script = directory.path().join("it.py").display().to_string();
    let text = "import sys; print('out'); print('err', file=sys.stderr); raise SystemExit(3)";
    fs::write(&script, text).expect("room for a file");
    let mut worker = installation.worker("only");
    worker.ready().await;
    let ran = installation.run(&["submit", &script, "--follow"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (3, "out\n"), "{ran:#?}");
    assert!(ran.stderr.starts_with("err\n"), "{}", ran.stderr);
    assert!(ran.stderr.contains("sandfleet: runtime_error: exit code 3"), "{}", ran.stderr);
}

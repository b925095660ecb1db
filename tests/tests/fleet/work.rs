//! Jobs that go well.

use std::{collections::BTreeSet, fs};

use sandfleet_common::{Encoding, InputFile, Job, Priority, Status, Verdict};
use sandfleet_tests::{Installation, LeakCheck, Services};

use crate::{result_of, sleeper, stdout};

fn job_with_everything() -> Job {
    let mut job = Job::new(
        "python",
        "import os, sys\n\
         open('copy.bin', 'wb').write(open('in.bin', 'rb').read())\n\
         print(sys.argv[1], os.environ['NAME'], sys.stdin.read())",
    );
    job.args = vec!["argument".into()];
    job.env = [("NAME".into(), "variable".into())].into();
    job.stdin = Some("stdin".into());
    let content = Encoding::Base64.encode(&[0, 255, 7]).expect("any bytes");
    job.files = vec![InputFile { name: "in.bin".into(), content, encoding: Encoding::Base64 }];
    job.artifacts = vec!["copy.bin".into()];
    job.metadata = [("course".into(), serde_json::json!({ "number": 7 }))].into();
    job
}

async fn a_job_comes_back_as(backend: &str) {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services).set("SANDBOX_BACKEND", backend);
    let id = services.prefix.clone();
    let leak_check = LeakCheck::before(&installation.test_cgroup, &id).await;
    let mut worker = installation.worker(&id);
    let client = services.client().await;
    let job = job_with_everything();
    client.submit(&job).await.expect("the broker takes it");
    let result = result_of(&client, &job.job_id).await;
    assert_eq!(result.job_id, job.job_id);
    assert_eq!((result.status, result.verdict), (Status::Succeeded, Some(Verdict::Accepted)));
    assert_eq!(stdout(&result), "argument variable stdin\n");
    assert_eq!((result.worker_id.as_str(), result.attempt), (id.as_str(), 1));
    assert_eq!(result.metadata, job.metadata);
    let [copy] = &result.artifacts[..] else { panic!("{:#?}", result.artifacts) };
    assert_eq!(copy.encoding.decode(&copy.content), Ok(vec![0, 255, 7]));
    assert!(result.queued_at.expect("the client says when") <= result.started_at);
    assert_eq!(result.sandbox.expect("what it ran under").backend, backend);
    worker.signal(rustix::process::Signal::TERM);
    assert_eq!(worker.ended().await, 0, "{}", worker.log());
    leak_check.are_gone().await;
}

#[tokio::test]
async fn a_job_comes_back_with_its_result() {
    a_job_comes_back_as("native").await;
}

#[tokio::test]
async fn a_job_comes_back_from_docker_with_its_result() {
    a_job_comes_back_as("docker").await;
}

#[tokio::test]
async fn workers_share_the_load() {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services).set("WORKER_SLOTS", "1");
    let client = services.client().await;
    let mut workers = [installation.worker("left"), installation.worker("right")];
    for worker in &mut workers {
        worker.ready().await;
    }
    let jobs: Vec<Job> = (0..4).map(|_| sleeper(0.7)).collect();
    for outcome in client.submit_batch(&jobs).await {
        outcome.expect("the broker takes it");
    }
    let mut seen = BTreeSet::new();
    for job in &jobs {
        let result = result_of(&client, &job.job_id).await;
        assert_eq!((stdout(&result), result.attempt), ("slept\n", 1));
        seen.insert(result.worker_id);
    }
    assert_eq!(seen, ["left".to_owned(), "right".to_owned()].into());
}

#[tokio::test]
async fn who_waits_goes_before_a_batch() {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services).set("WORKER_SLOTS", "1");
    let client = services.client().await;
    let mut batch: Vec<Job> = (0..6).map(|_| sleeper(0.2)).collect();
    for job in &mut batch {
        job.priority = Priority::Batch;
    }
    for outcome in client.submit_batch(&batch).await {
        outcome.expect("the broker takes it");
    }
    let urgent = Job::new("python", "print('urgent')");
    client.submit(&urgent).await.expect("the broker takes it");
    let _worker = installation.worker("only");
    let urgent = result_of(&client, &urgent.job_id).await;
    let mut before = 0;
    for job in &batch {
        let result = result_of(&client, &job.job_id).await;
        before += usize::from(result.started_at < urgent.started_at);
    }
    // A worker takes a few ahead, never a queue of them.
    assert!(before <= 2, "{before} of a batch went first");
}

#[tokio::test]
async fn a_job_submitted_twice_runs_once() {
    let services = Services::fresh();
    let installation =
        Installation::fresh().on(&services).set("WORKER_SLOTS", "2").set("WORKER_LEASE_MS", "1000");
    let client = services.client().await;
    // Longer than the lease: were it not renewed, the second message would start it again.
    let job = sleeper(2.5);
    client.submit(&job).await.expect("the broker takes it");
    client.submit(&job).await.expect("the broker takes it");
    let (_worker, address) = installation.worker_with_admin("only").await;
    let first = result_of(&client, &job.job_id).await;
    // The client knows that it has its result; another client may not.
    client.submit(&job).await.expect("it is the same job");
    services.push(Priority::Interactive, &sandfleet_common::encode(&job)).await;
    crate::admin::counts(address, "sandfleet_job_duplicates_total", 2).await;
    crate::admin::counts(address, "sandfleet_job_starts_total{language=\"python\"}", 1).await;
    assert_eq!(result_of(&client, &job.job_id).await, first);
}

#[tokio::test]
async fn the_command_line_submits_waits_and_shows() {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services);
    let directory = tempfile::TempDir::new().expect("room for files");
    let path = |name: &str| directory.path().join(name).display().to_string();
    let script = path("it.py");
    fs::write(&script, "open('a.txt', 'w').write('made'); print('printed'); raise SystemExit(3)")
        .expect("room for a file");

    let unknown = installation.run(&["result", "never-submitted"]).await;
    assert_eq!((unknown.code, unknown.stdout.as_str()), (66, ""), "{unknown:#?}");
    assert_eq!(unknown.stderr.lines().count(), 1, "{}", unknown.stderr);

    let submitted = installation.run(&["submit", &script, "--artifact", "*.txt"]).await;
    assert_eq!((submitted.code, submitted.stderr.as_str()), (0, ""));
    let id = submitted.stdout.trim_end();
    let early = installation.run(&["result", id]).await;
    assert_eq!(early.code, 75, "{early:#?}");
    assert!(early.stderr.contains("is queued") && early.stderr.contains("no live workers"));
    let impatient = installation.run(&["result", id, "--wait", "--timeout", "0"]).await;
    assert_eq!(impatient.code, 75, "{impatient:#?}");

    let _worker = installation.worker("only");
    let out = path("out");
    let shown = installation.run(&["result", id, "--wait", "--artifacts", &out]).await;
    assert_eq!((shown.code, shown.stdout.as_str()), (3, "printed\n"), "{shown:#?}");
    assert!(shown.stderr.contains("sandfleet: runtime_error: exit code 3"), "{shown:#?}");
    assert_eq!(fs::read_to_string(format!("{out}/a.txt")).expect("saved"), "made");

    let waited =
        installation.run(&["submit", &script, "--wait", "--json", "--priority", "batch"]).await;
    assert_eq!((waited.code, waited.stderr.as_str()), (3, ""));
    let result = waited.result();
    assert_eq!((stdout(&result), result.exit_code), ("printed\n", Some(3)));
    let named = ["submit", &script, "--job-id", "named", "--wait", "--json"];
    assert_eq!(installation.run(&named).await.result().job_id.as_str(), "named");

    // A message that the broker returns isn't logged: it holds the program.
    let refused = installation.run(&["submit", &script, "--isolation", "gvisor"]).await;
    assert_eq!((refused.code, refused.stderr.lines().count()), (69, 1), "{refused:#?}");

    // A job that asked for no files, two jobs at once, and one that is unknown.
    let shown = installation.run(&["result", "named", "--artifacts", &path("none")]).await;
    assert_eq!((shown.code, shown.stderr.lines().count()), (3, 2), "{shown:#?}");
    assert!(shown.stderr.contains("the job asked for none (--artifact GLOB"), "{shown:#?}");
    let many = installation.run(&["result", id, "named", "nothing", "--artifacts", &out]).await;
    assert_eq!((many.code, many.stdout.as_str()), (3, "printed\nprinted\n"), "{many:#?}");
    assert!(many.stderr.contains(&format!("sandfleet: job {id}: runtime_error: exit code 3")));
    assert!(many.stderr.contains("job nothing is unknown"), "{}", many.stderr);
    assert_eq!(fs::read_to_string(format!("{out}/{id}/a.txt")).expect("saved"), "made");
}

#[tokio::test]
async fn the_command_line_says_in_one_line_what_is_away() {
    let services = Services::fresh();
    let script = tempfile::Builder::new().suffix(".py").tempfile().expect("room for a file");
    let script = script.path().display().to_string();
    for (setting, url, port) in [
        ("QUEUE_URL", "amqp://guest:topsecret@127.0.0.1:1/%2f", "127.0.0.1:1"),
        ("STORE_URL", "redis://fleet:topsecret@127.0.0.1:1/", "127.0.0.1:1"),
    ] {
        let installation = Installation::fresh().on(&services).set(setting, url);
        let ran = installation.run(&["submit", &script]).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (69, ""), "{setting}: {ran:#?}");
        assert_eq!(ran.stderr.lines().count(), 1, "{setting}: {}", ran.stderr);
        assert!(ran.stderr.contains(port), "{setting}: {}", ran.stderr);
        assert!(!ran.stderr.contains("topsecret"), "{setting}: {}", ran.stderr);
        let mut clauses: Vec<&str> = ran.stderr.trim().split(": ").collect();
        let count = clauses.len();
        clauses.sort_unstable();
        clauses.dedup();
        assert_eq!(clauses.len(), count, "a cause is said once: {}", ran.stderr);
    }
}

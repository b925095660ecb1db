//! What operators are told of jobs that ended: a line of the log, an entry of the history, and a job's life in words.

use redis::AsyncCommands;
use sandfleet_common::{EndedJob, Job, Status, Verdict, names};
use sandfleet_tests::{Installation, Services, eventually};

use crate::result_of;

/// What a job of these tests holds and prints, and no operator is shown.
const SECRET: &str = "s3cr3t-of-the-job";

fn job(language: &str, tenant: &str, code: &str) -> Job {
    let mut job = Job::new(language, code);
    job.tenant = Some(tenant.into());
    job
}

/// The entries of the history that `sandfleet jobs` with these arguments lists.
async fn listed(installation: &Installation, arguments: &[&str]) -> Vec<EndedJob> {
    let finished = installation.run(&[&["jobs", "--json"], arguments].concat()).await;
    assert_eq!(finished.code, 0, "{}", finished.stderr);
    let lines = finished.stdout.lines();
    lines.map(|line| serde_json::from_str(line).expect("an entry of the history")).collect()
}

#[tokio::test]
async fn jobs_that_ended_are_listed_the_newest_first_and_have_a_line_in_the_log() {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services).set("WORKER_SLOTS", "1");
    let mut worker = installation.worker("only");
    worker.ready().await;
    let client = services.client().await;
    let accepted = job("python", "acme", &format!("print('{SECRET}')"));
    let failing = job("bash", "beta", &format!("echo {SECRET} >&2; exit 3"));
    let refused = Job::new("klingon", SECRET);
    for job in [&accepted, &failing, &refused] {
        client.submit(job).await.expect("the broker takes it");
        result_of(&client, &job.job_id).await;
    }
    let all = eventually("all three in the history", || async {
        let all = listed(&installation, &[]).await;
        (all.len() == 3).then_some(all)
    })
    .await;
    let ids = |jobs: &[EndedJob]| jobs.iter().map(|it| it.job_id.clone()).collect::<Vec<_>>();
    let [one, two, three] = [&accepted, &failing, &refused].map(|job| job.job_id.clone());
    assert_eq!(ids(&all), [three.clone(), two.clone(), one.clone()]);
    assert_eq!((all[0].status, all[0].verdict), (Status::Rejected, None));
    assert_eq!((all[1].verdict, all[1].attempt), (Some(Verdict::RuntimeError), 1));
    assert_eq!(all[2].tenant.as_deref(), Some("acme"));
    assert!(all[2].cpu_time_ms.is_some() && all[2].worker_id.as_str() == "only", "{:?}", all[2]);

    for (arguments, expected) in [
        (&["--failed"][..], vec![&three, &two]),
        (&["--tenant", "beta"], vec![&two]),
        (&["--language", "python"], vec![&one]),
        (&["--failed", "--language", "python"], vec![]),
        (&["--limit", "2"], vec![&three, &two]),
        (&["--since", "1h"], vec![&three, &two, &one]),
    ] {
        let found = listed(&installation, arguments).await;
        assert_eq!(ids(&found).iter().collect::<Vec<_>>(), expected, "{arguments:?}");
    }
    let table = installation.run(&["jobs"]).await.stdout;
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(table.starts_with("ENDED ") && table.contains("runtime_error  bash"), "{table}");

    let log = worker.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("a job ended")).collect();
    assert_eq!(lines.len(), 3, "{log}");
    for part in
        [one.as_str(), "verdict=\"accepted\"", "language=\"python\"", "tenant=\"acme\"", "run_ms="]
    {
        assert!(lines[0].contains(part), "{part}: {}", lines[0]);
    }
    let mut store = services.redis().await;
    let stream: redis::Value = redis::cmd("XRANGE")
        .arg(names::history_key(&services.prefix))
        .arg("-")
        .arg("+")
        .query_async(&mut store)
        .await
        .expect("the store runs");
    for (place, text) in [("log", log.clone()), ("history", format!("{stream:?}"))] {
        assert!(!text.contains(SECRET), "the {place} tells what only the job may: {text}");
    }

    let told = installation.run(&["result", "--explain", two.as_str()]).await;
    assert_eq!(told.code, 0, "{}", told.stderr);
    for part in [
        "submitted",
        "taken by worker only after",
        "runtime_error",
        "exit code 3",
        "of CPU time",
        "most of its",
    ] {
        assert!(told.stdout.contains(part), "{part}: {}", told.stdout);
    }
    assert!(!told.stdout.contains(SECRET), "{}", told.stdout);
}

#[tokio::test]
async fn a_history_that_cannot_be_written_is_in_no_jobs_way() {
    let services = Services::fresh();
    let key = names::history_key(&services.prefix);
    let mut store = services.redis().await;
    // No stream, so that nothing can be added to it.
    store.set::<_, _, ()>(&key, "in the way").await.expect("the store runs");
    let installation = Installation::fresh().on(&services).set("WORKER_SLOTS", "1");
    let mut worker = installation.worker("only");
    worker.ready().await;
    let client = services.client().await;
    for number in 0..3 {
        let job = Job::new("python", format!("print({number})"));
        client.submit(&job).await.expect("the broker takes it");
        assert_eq!(result_of(&client, &job.job_id).await.verdict, Some(Verdict::Accepted));
    }
    worker.logs("the history of jobs has a gap").await;
    store.del::<_, ()>(&key).await.expect("the store runs");
    let last = Job::new("python", "print('last')");
    client.submit(&last).await.expect("the broker takes it");
    result_of(&client, &last.job_id).await;
    eventually("the next job in the history", || async {
        let all = listed(&installation, &[]).await;
        all.iter().any(|it| it.job_id == last.job_id).then_some(())
    })
    .await;
    let log = worker.log();
    assert_eq!(log.matches("the history of jobs has a gap").count(), 1, "{log}");
}

#[tokio::test]
async fn a_history_has_as_many_jobs_as_it_is_to_keep_and_may_be_turned_off() {
    let services = Services::fresh();
    let store = services.store(&services.redis_url);
    let entry: EndedJob = serde_json::from_value(serde_json::json!({
        "job_id": "a", "status": "rejected", "message": "", "finished_at": "2026-01-02T03:04:05Z", "worker_id": "w",
        "attempt": 0, "timing": { "queue_ms": 0, "setup_ms": 0, "run_ms": 0, "collect_ms": 0 },
    }))
    .expect("an entry");
    for _ in 0..8 {
        store.note_ended(&vec![entry.clone(); 250], 500).await.expect("the store runs");
    }
    let mut redis = services.redis().await;
    let key = names::history_key(&services.prefix);
    let kept: usize =
        redis::cmd("XLEN").arg(&key).query_async(&mut redis).await.expect("the store runs");
    // Redis trims by whole nodes of 100 entries.
    assert!((500..=600).contains(&kept), "{kept}");
    let ttl: i64 = redis.pttl(&key).await.expect("the store runs");
    assert!(ttl > 0, "it never expires");
    // Pages follow one another without a gap or an overlap.
    let operators = services.store(&services.operator.redis_url);
    let (mut before, mut pages) = (None, Vec::new());
    loop {
        let page = operators.history(before.as_deref(), 200).await.expect("the store runs");
        pages.push(page.jobs.len());
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(pages.iter().sum::<usize>(), kept, "{pages:?}");

    redis.del::<_, ()>(&key).await.expect("the store runs");
    let installation = Installation::fresh().on(&services).set("STORE_HISTORY_JOBS", "0");
    let mut worker = installation.worker("only");
    worker.ready().await;
    let client = services.client().await;
    let job = Job::new("python", "print(1)");
    client.submit(&job).await.expect("the broker takes it");
    result_of(&client, &job.job_id).await;
    worker.logs("a job ended").await;
    worker.signal(rustix::process::Signal::TERM);
    assert_eq!(worker.ended().await, 0, "{}", worker.log());
    assert!(!redis.exists::<_, bool>(&key).await.expect("the store runs"));
    let none = installation.run(&["jobs"]).await;
    assert_eq!((none.code, none.stdout.as_str()), (0, ""));
    assert!(none.stderr.contains("store.history_jobs = 0"), "{}", none.stderr);
}

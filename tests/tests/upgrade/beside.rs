//! The release before, built from its commit, in one fleet with today's: `tests/run upgrade`. Without it these tests have no
//! second program, and are ignored.

use rustix::process::Signal;
use sandfleet_common::{Job, Status, Verdict};
use sandfleet_tests::{DEADLINE, Finished, Installation, Services, eventually, setting};

/// Two installations of one fleet, the release before and today's.
struct Both {
    services: Services,
    old: Installation,
    new: Installation,
}

impl Both {
    fn start() -> Self {
        let services = Services::fresh();
        let new = Installation::fresh().on(&services);
        let old = Installation::fresh().on(&services).by(&setting("SANDFLEET_TEST_OLD_BIN"));
        Self { services, old, new }
    }

    /// Both, the one that asks first.
    fn in_turn(&self) -> [(&Installation, &Installation); 2] {
        [(&self.old, &self.new), (&self.new, &self.old)]
    }
}

fn script(text: &str) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().expect("room");
    let file = directory.path().join("it.py");
    std::fs::write(&file, text).expect("room");
    (directory, file.display().to_string())
}

/// The id that `submit` printed.
fn id(submitted: &Finished) -> String {
    assert_eq!(submitted.code, 0, "{submitted:#?}");
    submitted.stdout.trim().to_owned()
}

#[tokio::test]
#[ignore = "needs the release before: tests/run upgrade"]
async fn each_runs_what_the_other_submits_and_reads_what_it_stores() {
    let both = Both::start();
    let (_directory, file) =
        script("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)");
    for (asking, running) in both.in_turn() {
        let mut worker = running.worker("running");
        worker.ready().await;
        let submitted = asking.run(&["submit", &file, "--tenant", "acme", "--wait"]).await;
        assert_eq!((submitted.code, submitted.stdout.as_str()), (3, "out\n"), "{submitted:#?}");
        let followed = asking.run(&["submit", &file, "--follow"]).await;
        assert_eq!(followed.stdout, "out\n", "{followed:#?}");
        let waiting = id(&asking.run(&["submit", &file]).await);
        for reading in [asking, running] {
            let result = reading.run(&["result", &waiting, "--wait"]).await;
            assert_eq!((result.code, result.stdout.as_str()), (3, "out\n"), "{result:#?}");
            let listed = reading.run(&["workers"]).await;
            assert!(listed.stdout.contains("running"), "{listed:#?}");
            let jobs = reading.run(&["jobs", "--json", "--limit", "1"]).await;
            assert_eq!((jobs.code, jobs.stdout.lines().count()), (0, 1), "{jobs:#?}");
        }
        worker.signal(Signal::TERM);
        assert_eq!(worker.ended().await, 0, "{}", worker.log());
    }
}

#[tokio::test]
#[ignore = "needs the release before: tests/run upgrade"]
async fn each_cancels_what_the_other_runs() {
    let both = Both::start();
    let (_directory, file) = script("import time; print('began', flush=True); time.sleep(60)");
    for (asking, running) in both.in_turn() {
        let mut worker = running.worker("running");
        worker.ready().await;
        let job = id(&asking.run(&["submit", &file]).await);
        eventually("it runs", || async {
            asking.run(&["result", &job]).await.stderr.contains("running").then_some(())
        })
        .await;
        let cancelled = asking.run(&["cancel", &job]).await;
        assert_eq!(cancelled.code, 0, "{cancelled:#?}");
        let result = running.run(&["result", &job, "--wait"]).await;
        assert_eq!(result.code, 123, "{result:#?}");
        worker.signal(Signal::TERM);
        assert_eq!(worker.ended().await, 0, "{}", worker.log());
    }
}

/// Forward, and back again.
#[tokio::test]
#[ignore = "needs the release before: tests/run upgrade"]
async fn workers_are_replaced_under_load_and_no_job_is_lost() {
    const JOBS: usize = 150;
    let both = Both::start();
    let client = both.services.client().await;
    for (before, after) in both.in_turn() {
        let mut leaving = before.worker("leaving");
        leaving.ready().await;
        let jobs: Vec<Job> = (0..JOBS)
            .map(|number| {
                Job::new("python", format!("import time; time.sleep(0.05); print({number})"))
            })
            .collect();
        for job in &jobs {
            client.submit(job).await.expect("the broker takes it");
        }
        let mut coming = after.worker("coming");
        coming.ready().await;
        leaving.signal(Signal::TERM);
        assert_eq!(leaving.ended().await, 0, "{}", leaving.log());
        let mut ran_by = std::collections::BTreeMap::<String, usize>::new();
        for (number, job) in jobs.iter().enumerate() {
            let result = client.wait(&job.job_id, DEADLINE).await.expect("a result");
            let verdict = (result.status, result.verdict);
            assert_eq!(verdict, (Status::Succeeded, Some(Verdict::Accepted)), "{result:#?}");
            assert_eq!(result.run.expect("it ran").stdout, format!("{number}\n"));
            *ran_by.entry(result.worker_id.to_string()).or_default() += 1;
        }
        println!("ran by: {ran_by:?}");
        assert_eq!(ran_by.len(), 2, "both took part: {ran_by:?}");
        eventually("no message is left", || async { both.services.is_empty().await.then_some(()) })
            .await;
        coming.signal(Signal::TERM);
        assert_eq!(coming.ended().await, 0, "{}", coming.log());
    }
}

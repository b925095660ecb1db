//! What earlier releases wrote, with today's workers and clients.

use sandfleet_common::{EndedJob, JobResult, JobState};
use sandfleet_tests::{DEADLINE, Installation, Services, eventually};

use crate::release::{Ending, Release};

#[tokio::test]
async fn jobs_that_waited_in_each_release_are_run() {
    for release in Release::all() {
        let services = Services::fresh();
        let installation = Installation::fresh().on(&services).quiet();
        release.restore(&release.waiting, &services).await;
        release.publish(&services).await;
        let client = services.client().await;
        let mut worker = installation.worker("today");
        worker.ready().await;
        for job in release.waiting_jobs() {
            let result = client.wait(&job.id, DEADLINE).await.expect("a result");
            check(&release, job, &result);
        }
        let what = format!("no message is left of {}", release.version);
        eventually(&what, || async { services.is_empty().await.then_some(()) }).await;
    }
}

#[tokio::test]
async fn results_of_each_release_are_read() {
    for release in Release::all() {
        let services = Services::fresh();
        let installation = Installation::fresh().on(&services);
        release.restore(&release.ended, &services).await;
        let client = services.client().await;
        for job in release.ended_jobs() {
            match client.get(&job.id).await.expect("the store runs") {
                JobState::Done(result) => check(&release, job, &result),
                other => panic!("{} of {}: {other:?}", job.what, release.version),
            }
            let id = job.id.to_string();
            let shown = installation.run(&["result", "--json", &id]).await;
            check(&release, job, &shown.result());
            let told = installation.run(&["result", "--explain", &id]).await;
            assert!(
                told.stdout.contains("the result was complete") && told.stderr.is_empty(),
                "{told:#?}"
            );
        }
        let listed = installation.run(&["jobs", "--json"]).await;
        assert_eq!(listed.code, 0, "{listed:#?}");
        let lines = listed.stdout.lines();
        let listed: Vec<EndedJob> =
            lines.map(|line| serde_json::from_str(line).expect("an entry")).collect();
        assert_eq!(listed.len(), release.ended_jobs().count(), "{}", release.version);
        let used = installation.run(&["usage"]).await;
        assert!(used.stdout.contains("acme"), "{used:#?}");
    }
}

fn check(release: &Release, job: &Ending, result: &JobResult) {
    let of = format!("{} of {}", job.what, release.version);
    let stdout = result.run.as_ref().map(|run| run.stdout.clone());
    assert_eq!((result.status, result.verdict), (job.status, job.verdict), "{of}: {result:#?}");
    assert_eq!(stdout, job.stdout, "{of}");
}

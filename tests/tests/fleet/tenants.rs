//! Tenants with a bound on running jobs.

use futures_util::future::join_all;
use sandfleet_common::Job;
use sandfleet_tests::{Installation, Services};

use crate::{result_of, sleeper};

#[tokio::test]
async fn a_tenant_has_as_many_places_as_it_is_granted_in_the_whole_fleet() {
    let services = Services::fresh();
    let installation = Installation::fresh()
        .on(&services)
        .set("WORKER_SLOTS", "2")
        .set("JOBS_MAX_RUNNING_PER_TENANT", "2");
    let client = services.client().await;
    let of = |tenant: Option<&str>, seconds| {
        let mut job = sleeper(seconds);
        job.tenant = tenant.map(str::to_owned);
        job
    };
    let mut jobs: Vec<Job> = (0..8).map(|_| of(Some("greedy"), 0.4)).collect();
    jobs.push(of(Some("modest"), 0.1));
    jobs.push(of(None, 0.1));
    for outcome in client.submit_batch(&jobs).await {
        outcome.expect("the broker takes it");
    }
    let _workers = [installation.worker("left"), installation.worker("right")];
    let results = join_all(jobs.iter().map(|job| result_of(&client, &job.job_id))).await;
    let greedy = &results[..8];
    for one in greedy {
        let beside = greedy
            .iter()
            .filter(|other| {
                other.started_at <= one.started_at && one.started_at < other.finished_at
            })
            .count();
        assert!(beside <= 2, "{beside} ran at {}", one.started_at);
    }
    // Its jobs had to wait, and that cost none of them an attempt.
    assert!(results.iter().all(|result| result.attempt == 1), "{results:#?}");
    let last = greedy.iter().map(|result| result.finished_at).max().expect("eight");
    assert!(
        results[8..].iter().all(|result| result.finished_at < last),
        "others don't wait for it"
    );
}

//! A fleet of worker processes on the real broker and the real store.

mod admin;
mod backend;
mod bad_weather;
mod bench;
mod cancelling;
mod connections;
mod damaged;
mod death;
mod endings;
mod evaluation;
mod exporter;
mod following;
mod history;
mod jobs;
mod kept;
mod logs;
mod malformed;
mod mixed;
mod readiness;
mod refusals;
mod secrets;
mod stopping;
mod stuck;
mod tenants;
mod top;
mod traces;
mod twins;
mod waiting;
mod work;

use std::time::Duration;

use sandfleet_common::{Job, JobId, JobResult, JobState};
use sandfleet_sdk::Client;
use sandfleet_tests::{DEADLINE, eventually};

/// A job that runs for `seconds` and says so at its end.
pub(crate) fn sleeper(seconds: f32) -> Job {
    Job::new("python", format!("import time; time.sleep({seconds}); print('slept')"))
}

/// The result of `job`.
pub(crate) async fn result_of(client: &Client, job: &JobId) -> JobResult {
    client.wait(job, DEADLINE).await.expect("a result")
}

/// Waits until a worker runs `job`.
pub(crate) async fn running(client: &Client, job: &JobId) {
    eventually("a worker that runs the job", || async {
        let state = client.get(job).await.expect("the store runs");
        assert!(!matches!(state, JobState::Done(_)), "it is still to run: {state:?}");
        state.is_running().then_some(())
    })
    .await;
}

/// What a job printed.
pub(crate) fn stdout(result: &JobResult) -> &str {
    &result.run.as_ref().unwrap_or_else(|| panic!("it ran: {result:#?}")).stdout
}

/// Long enough for everything to go wrong in.
pub(crate) const LONG: Duration = Duration::from_secs(60);

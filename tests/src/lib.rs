//! What the tests stand on: real services, a wire that can be cut, and a way to wait.
#![forbid(unsafe_code)]

mod authority;
mod clock;
mod figures;
mod freezer;
mod ground;
mod installation;
mod leftovers;
mod mutations;
mod own_broker;
mod own_redis;
mod page;
mod pair;
mod processes;
mod raw_publisher;
mod relay;
mod services;
mod stuck;

use std::{future::Future, time::Duration};

use jiff::Timestamp;
use sandfleet_common::{JobId, JobResult, Status, Timing};
use tokio::time::{self, Instant};

pub use authority::Authority;
pub use clock::Clock;
pub use figures::{busy_time, median, run_until_stopped};
pub use freezer::Frozen;
pub use ground::Ground;
pub use installation::{Finished, FleetWorker, Installation};
pub use leftovers::{Leftovers, remove_containers};
pub use mutations::{Edit, Mutation};
pub use own_broker::OwnBroker;
pub use own_redis::OwnRedis;
pub use page::page;
pub use pair::{Pair, Worker, claim};
pub use processes::{children_of, file_of};
pub use raw_publisher::RawPublisher;
pub use relay::Relay;
pub use services::{Services, setting};
pub use stuck::Stuck;

/// How long anything may take that should happen at once. Long, for machines that are busy: a
/// test that passes never waits for its end.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until `look` finds something.
///
/// # Panics
/// After [`DEADLINE`], naming `what` was waited for.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "{what}: not within {DEADLINE:?}");
        time::sleep(Duration::from_millis(20)).await;
    }
}

/// Awaits `event`.
///
/// # Panics
/// After [`DEADLINE`], naming `what` was awaited.
pub async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    match time::timeout(DEADLINE, event).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {DEADLINE:?}"),
    }
}

/// A result of `job` that can be told from others by its message.
pub fn result(job: &JobId, message: &str) -> JobResult {
    JobResult {
        job_id: job.clone(),
        status: Status::Succeeded,
        verdict: None,
        message: message.into(),
        exit_code: None,
        signal: None,
        run: None,
        artifacts: Vec::new(),
        artifacts_refused: Vec::new(),
        limits_hit: Vec::new(),
        usage: None,
        timing: Timing::default(),
        queued_at: None,
        started_at: Timestamp::UNIX_EPOCH,
        finished_at: Timestamp::UNIX_EPOCH,
        sandbox: None,
        worker_id: "test".into(),
        attempt: 1,
        security_events: Vec::new(),
        metadata: Default::default(),
    }
}

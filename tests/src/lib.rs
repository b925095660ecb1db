//! What the tests stand on: real services, a wire that can be cut, and a way to wait.
#![forbid(unsafe_code)]

mod backends;
mod chaos_proxy;
mod clock;
mod credentials;
mod freezer;
mod http_get;
mod import_graph;
mod installation;
mod leak_check;
mod messages;
mod mutations;
mod private_broker;
mod private_redis;
mod processes;
mod proxied_url;
mod raw_publisher;
mod services;
mod stats;
mod stuck_queue;
mod test_ca;
mod test_cgroup;
mod trace_collector;

use std::{future::Future, time::Duration};

use jiff::Timestamp;
use sandfleet_common::{JobId, JobResult, Status, Timing};
use tokio::time::{self, Instant};

pub use backends::{Backends, Worker, claim, submitted};
pub use chaos_proxy::ChaosProxy;
pub use clock::Clock;
pub use credentials::{Credentials, Login};
pub use freezer::Frozen;
pub use http_get::http_get;
pub use import_graph::ImportGraph;
pub use installation::{Finished, FleetWorker, Installation};
pub use leak_check::{LeakCheck, remove_containers};
pub use mutations::{Edit, Mutation};
pub use private_broker::PrivateBroker;
pub use private_redis::PrivateRedis;
pub use processes::{children_of, file_of};
pub use raw_publisher::RawPublisher;
pub use services::{Services, setting};
pub use stats::{busy_time, median, run_until_stopped};
pub use stuck_queue::StuckQueue;
pub use test_ca::TestCa;
pub use test_cgroup::TestCgroup;
pub use trace_collector::{Answers, TraceCollector, attribute, hex};

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
        compile: None,
        run: None,
        tests: Vec::new(),
        test_groups: Vec::new(),
        score: None,
        artifacts: Vec::new(),
        artifacts_skipped: Vec::new(),
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
        tenant_proven: None,
        trace_id: None,
        metadata: Default::default(),
    }
}

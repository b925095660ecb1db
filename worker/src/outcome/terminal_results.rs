//! Results of jobs whose program never ran, or not to its end.

use std::time::Duration;

use sandfleet_common::{JobResult, PrintableText, Status, Verdict};
use sandfleet_transport::records::OverBudget;

use super::ResultBuilder;
use crate::{config::budget_unit, queue::Death, sandbox::SandboxError};

/// The job isn't valid, or not here.
pub fn rejected(result_builder: ResultBuilder, message: PrintableText) -> JobResult {
    result_builder.close(Status::Rejected, None, message)
}

/// The job's tenant has used up a budget of the day.
pub fn over_budget(
    result_builder: ResultBuilder,
    account: &str,
    most: u64,
    over: &OverBudget,
) -> JobResult {
    let OverBudget { resource, used, renews_at } = over;
    let (name, size) = budget_unit(*resource);
    let [most, used] = [most, *used].map(|number| number as f64 / size as f64);
    let message = format!(
        "tenant {account} has used up its budget of {most} {name} a day: {used} used; it renews at {renews_at}; submit it again \
         then, or raise jobs.budgets"
    );
    result_builder.close(Status::Rejected, None, message)
}

/// No worker started the job in time.
pub fn expired(result_builder: ResultBuilder, ttl_ms: Option<u64>, limit: Duration) -> JobResult {
    let message = match ttl_ms.map(Duration::from_millis) {
        Some(ttl) if ttl <= limit => format!(
            "not started within ttl_ms = {} of its submission; add workers or raise ttl_ms",
            ttl.as_millis()
        ),
        _ => format!(
            "not started within queue.max_wait_ms = {}, the longest that any job may wait; add \
             workers or raise it",
            limit.as_millis()
        ),
    };
    result_builder.close(Status::Expired, None, message)
}

/// Only other workers could have started the job, and did not in time.
pub fn expired_elsewhere(
    result_builder: ResultBuilder,
    limit: Duration,
    worker: &str,
    refusal: &PrintableText,
) -> JobResult {
    let message = format!(
        "not started within {} ms of its submission by a worker that takes it, such as {worker}; add \
         more of those; here: {refusal}",
        limit.as_millis()
    );
    result_builder.close(Status::Expired, None, message)
}

/// The job was cancelled.
pub fn cancelled(result_builder: ResultBuilder, by: &str) -> JobResult {
    let message = match result_builder.result.attempt {
        0 => format!("cancelled by {by} before it was started"),
        attempt => format!("cancelled by {by} while it ran, in attempt {attempt}"),
    };
    result_builder.close(Status::Cancelled, None, message)
}

/// The broker gave up on the job's message, for one of its reasons.
pub fn dead(result_builder: ResultBuilder, death: &Death) -> JobResult {
    let Death { reason, queue, count } = death;
    match reason.as_str() {
        "expired" => {
            let message = format!("not started before its message expired in queue {queue}");
            result_builder.close(Status::Expired, None, message)
        }
        "delivery_limit" => {
            let message = format!(
                "given up: no worker that took it from queue {queue} kept it long enough to claim \
                 it; see the workers' logs"
            );
            result_builder.close(Status::Error, Some(Verdict::InternalError), message)
        }
        _ => {
            let message =
                format!("given up: the broker took it out of queue {queue} ({reason}, {count}x)");
            result_builder.close(Status::Error, Some(Verdict::InternalError), message)
        }
    }
}

/// The fleet failed the job as often as it may.
pub fn exhausted(result_builder: ResultBuilder, last: Option<&SandboxError>) -> JobResult {
    let attempts = result_builder.result.attempt;
    let reason = match last {
        Some(error) => format!("failed with: {error}"),
        None => "came to no end, so its worker died or lost its connection".into(),
    };
    let message = match attempts {
        1 => format!("given up after one attempt, which {reason}"),
        _ => format!("given up after {attempts} attempts; the last {reason}"),
    };
    result_builder.close(Status::Error, Some(Verdict::InternalError), message)
}

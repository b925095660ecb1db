//! What the spans of a job say: names of closed lists, ids and numbers. Neither code, input nor output, nor any sentence that
//! could quote them.

use std::time::Instant;

use sandfleet_common::{JobResult, Priority, Status};

use crate::{
    hooks::JobFacts,
    labels::Stage,
    queue::{Delivery, settle::Settlement},
    traces::{Timeline, Value, text},
};

/// Notes how a job ended.
pub(super) fn note_result(facts: &JobFacts, result: &JobResult) {
    let timeline = &facts.trace.timeline;
    note_job(facts);
    timeline.describe([
        ("sandfleet.status", Value::Text(result.status.as_str().into())),
        ("sandfleet.attempt", Value::Number(result.attempt.into())),
    ]);
    let verdict = result.verdict.map(|verdict| Value::Text(verdict.as_str().into()));
    timeline.describe(verdict.map(|verdict| ("sandfleet.verdict", verdict)));
    if result.status == Status::Error {
        timeline.fail();
    }
}

/// Notes an attempt that the fleet failed.
pub(super) fn note_retry(facts: &JobFacts, attempt: u32, cause: &'static str) {
    note_job(facts);
    let timeline = &facts.trace.timeline;
    timeline.describe([
        ("sandfleet.attempt", Value::Number(attempt.into())),
        ("sandfleet.retry_cause", Value::Text(cause.into())),
    ]);
    timeline.fail();
}

fn note_job(facts: &JobFacts) {
    let named = [
        ("sandfleet.language", facts.language.as_deref().map(text)),
        ("sandfleet.tenant", facts.tenant.as_deref().map(text)),
        ("sandfleet.priority", facts.priority.map(Priority::as_str).map(text)),
    ];
    let named = named.into_iter().filter_map(|(key, value)| Some((key, value?)));
    facts.trace.timeline.describe(named);
}

/// Notes the stages of a run that began at `begun`.
pub(super) fn note_run(facts: &JobFacts, begun: Instant, result: &JobResult) {
    let Some(run) = &facts.run else { return };
    let number = |number: u64| Value::Number(i64::try_from(number).unwrap_or(i64::MAX));
    let usage = result.usage;
    let attributes = [
        ("sandfleet.exit_code", result.exit_code.map(|code| Value::Number(code.into()))),
        ("sandfleet.kill", run.kill.map(|kill| Value::Text(kill.as_str().into()))),
        ("sandfleet.warm", run.is_warm.map(Value::Truth)),
        ("sandfleet.cpu_ms", usage.map(|usage| number(usage.cpu_time_ms))),
        ("sandfleet.memory_peak_bytes", usage.and_then(|it| it.memory_peak_bytes).map(number)),
    ];
    let attributes = attributes.into_iter().filter_map(|(key, value)| Some((key, value?)));
    let stages = [
        (Stage::Compile, run.compile),
        (Stage::Setup, run.setup),
        (Stage::Run, run.run),
        (Stage::Collect, run.collect),
    ];
    facts.trace.timeline.ran(begun, &stages, attributes.collect());
}

/// Notes what becomes of a delivery.
pub(super) fn note_settlement(timeline: &Timeline, delivery: &Delivery, settlement: &Settlement) {
    timeline.describe([
        ("messaging.operation.type", Value::Text("process".into())),
        ("sandfleet.redelivered", Value::Truth(delivery.is_redelivered)),
        ("sandfleet.settlement", Value::Text(settlement.as_str().into())),
    ]);
}

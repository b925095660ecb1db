//! What a worker counts: each event moves its metrics.

use std::{sync::Arc, time::Duration};

use sandfleet_common::{JobId, JobResult, Priority, Status};

use super::{Metrics, NONE, WARM_RESULTS};
use crate::{
    hooks::{Hooks, JobFacts, RunFacts},
    labels::{
        Call, DeathCause, InterpreterEvent, Leftover, PoolEvent, RetryCause, Service, SpanEnd,
        Stage, Stream, Violation,
    },
};

/// Counts what happens to jobs, and beside them.
#[derive(Clone)]
pub struct MetricsHooks(pub Arc<Metrics>);

impl Hooks for MetricsHooks {
    fn taken(&self, is_redelivered: bool) {
        self.0.handles.deliveries.inc();
        if is_redelivered {
            self.0.handles.redeliveries.inc();
        }
    }

    fn started(&self, _job: &JobId, facts: &JobFacts) {
        self.0.handles.jobs_started.with_label_values(&[self.0.language(facts)]).inc();
        self.0.handles.slots_busy.inc();
        // Its series begin now and not with its first result, which would be no increase then.
        self.0.tenant(facts.tenant.as_deref());
    }

    fn output(&self, _job: &JobId, stream: Stream, bytes: &[u8]) {
        let counter = self.0.handles.output_bytes.with_label_values(&[stream.as_str()]);
        counter.inc_by(bytes.len() as u64);
    }

    fn ended(&self, _job: &JobId, facts: &JobFacts, busy: Duration) {
        let handles = &self.0.handles;
        handles.slots_busy.dec();
        handles.slot_seconds.observe(busy.as_secs_f64());
        let by_language = handles.busy_seconds.with_label_values(&[self.0.language(facts)]);
        by_language.inc_by(busy.as_secs_f64());
    }

    fn stored(&self, result: &JobResult, facts: &JobFacts) {
        self.0.count_result(result, facts);
        self.0.observe_times(facts);
        if let Some(run) = &facts.run {
            self.0.count_run(result, run);
        }
        if let Some(tenant) = self.0.tenant(facts.tenant.as_deref()) {
            let handles = &self.0.handles;
            handles.tenant_results.with_label_values(&[tenant, result.status.as_str()]).inc();
            let ran = facts.run.as_ref().and_then(|run| run.run).unwrap_or_default();
            handles.tenant_seconds.with_label_values(&[tenant]).inc_by(ran.as_secs_f64());
        }
    }

    fn duplicate(&self, _job: &JobId) {
        self.0.handles.job_duplicates.inc();
    }

    fn retried(&self, _job: &JobId, cause: RetryCause) {
        self.0.handles.job_retries.with_label_values(&[cause.as_str()]).inc();
    }

    fn lease_lost(&self, _job: &JobId) {
        self.0.handles.leases_lost.inc();
    }

    fn unreadable(&self, _reason: &str) {
        self.0.handles.unreadable.inc();
    }

    fn twin(&self, _job: &JobId) {
        self.0.handles.twins.inc();
    }

    fn put_off(&self, _job: &JobId) {
        self.0.handles.put_off.inc();
    }

    fn held(&self, _job: &JobId) {
        self.0.handles.held.inc();
    }

    fn postponed(&self, _job: &JobId) {
        self.0.handles.postponed.inc();
    }

    fn dead_letter(&self, cause: DeathCause) {
        self.0.handles.dead_letters.with_label_values(&[cause.as_str()]).inc();
    }

    fn interpreter(&self, event: InterpreterEvent) {
        self.0.handles.interpreters.with_label_values(&[event.as_str()]).inc();
    }

    fn pool(&self, event: PoolEvent) {
        self.0.handles.pool.with_label_values(&[event.as_str()]).inc();
    }

    fn reaped(&self, kind: Leftover, count: usize) {
        self.0.handles.reaped.with_label_values(&[kind.as_str()]).inc_by(count as u64);
    }

    fn called(&self, call: Call, took: Duration, is_ok: bool) {
        let labels = [call.service().as_str(), call.as_str()];
        self.0.handles.call_seconds.with_label_values(&labels).observe(took.as_secs_f64());
        if !is_ok {
            self.0.handles.call_errors.with_label_values(&labels).inc();
        }
    }

    fn trace_ignored(&self, _reason: &str) {
        self.0.handles.traces_ignored.inc();
    }

    fn spans(&self, end: SpanEnd, count: u64) {
        self.0.handles.trace_spans.with_label_values(&[end.as_str()]).inc_by(count);
    }

    fn reconnected(&self, service: Service) {
        self.0.handles.reconnects.with_label_values(&[service.as_str()]).inc();
    }
}

impl Metrics {
    fn count_result(&self, result: &JobResult, facts: &JobFacts) {
        let language = self.language(facts);
        let priority = facts.priority.map_or(NONE, Priority::as_str);
        self.results(result.status, result.verdict, language, priority).inc();
        if result.status == Status::Cancelled {
            self.handles.job_cancellations.inc();
        }
    }

    fn observe_times(&self, facts: &JobFacts) {
        self.observe(Stage::Commit, Some(facts.commit));
        // Producers that don't say when they handed a job over would all count as served at once.
        if let Some(waited) = facts.waited {
            self.observe(Stage::Queue, Some(waited));
            let priority = facts.priority.map_or(NONE, Priority::as_str);
            let total = waited + facts.since.elapsed();
            self.handles.job_seconds.with_label_values(&[priority]).observe(total.as_secs_f64());
        }
    }

    fn observe(&self, stage: Stage, took: Option<Duration>) {
        if let Some(took) = took {
            let stage = self.handles.stage_seconds.with_label_values(&[stage.as_str()]);
            stage.observe(took.as_secs_f64());
        }
    }

    fn count_run(&self, result: &JobResult, run: &RunFacts) {
        let handles = &self.handles;
        self.observe(Stage::Setup, run.setup);
        self.observe(Stage::Compile, run.compile);
        self.observe(Stage::Run, run.run);
        self.observe(Stage::Collect, run.collect);
        if let Some(is_warm) = run.is_warm {
            let how = WARM_RESULTS[usize::from(!is_warm)];
            handles.warm_starts.with_label_values(&[how]).inc();
        }
        if let Some(kill) = run.kill {
            handles.job_kills.with_label_values(&[kill.as_str()]).inc();
        }
        let rules = result.security_events.iter().map(|_| Violation::Other);
        for violation in run.violation.into_iter().chain(rules) {
            handles.security_events.with_label_values(&[violation.as_str()]).inc();
        }
        for hit in &result.limits_hit {
            handles.limits_hit.with_label_values(&[hit.limit.as_str()]).inc();
        }
        if let Some(peak) = result.usage.and_then(|usage| usage.memory_peak_bytes) {
            handles.memory_peak_bytes.observe(peak as f64);
        }
        if let Some(output) = &result.run {
            let cut = [
                (Stream::Stdout, output.stdout_truncated),
                (Stream::Stderr, output.stderr_truncated),
            ];
            for (stream, _) in cut.into_iter().filter(|(_, is_cut)| *is_cut) {
                handles.truncations.with_label_values(&[stream.as_str()]).inc();
            }
        }
        let bytes = result.artifacts.iter().map(|artifact| artifact.size_bytes).sum();
        handles.artifact_bytes.inc_by(bytes);
        handles.artifacts_skipped.inc_by(result.artifacts_skipped.len() as u64);
    }
}

//! Metrics for Prometheus. `table` declares each of them once; `docs/metrics.md` follows from it.

mod table;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use prometheus::{Registry, TextEncoder};
use sandfleet_common::{JobId, JobResult, Status, Verdict};

use crate::hooks::{Hooks, Stream};

use table::{Handles, TABLE};

/// The label of a language that isn't in the catalogue: job input must not make new series.
const OTHER: &str = "other";

/// The label of a result without a verdict.
const NONE: &str = "none";

/// The metrics of one worker.
pub struct Metrics {
    registry: Registry,
    handles: Handles,
    languages: BTreeSet<String>,
}

impl Metrics {
    /// Metrics of a worker with so many slots, whose catalogue has these languages.
    ///
    /// # Errors
    /// If a metric is declared wrongly; the tests would have found it.
    pub fn new(
        slots: usize,
        languages: impl IntoIterator<Item = impl Into<String>>,
    ) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let handles = Handles::register(&registry)?;
        let languages = languages.into_iter().map(Into::into).collect();
        let metrics = Self { registry, handles, languages };
        metrics.handles.slots.set(i64::try_from(slots).unwrap_or(i64::MAX));
        metrics.handles.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        metrics.create_series();
        Ok(metrics)
    }

    /// A series that begins with its first event shows no increase at that event, so that an alert
    /// on the first failure would stay silent: all begin at 0.
    fn create_series(&self) {
        for verdict in Verdict::ALL {
            self.results(verdict.status(), Some(*verdict));
        }
        for status in [Status::Cancelled, Status::Expired, Status::Rejected, Status::Error] {
            self.results(status, None);
        }
        for language in self.languages.iter().map(String::as_str).chain([OTHER]) {
            self.handles.jobs_started.with_label_values(&[language]);
        }
        for stream in [Stream::Stdout, Stream::Stderr] {
            self.handles.output_bytes.with_label_values(&[stream_label(stream)]);
        }
    }

    fn results(&self, status: Status, verdict: Option<Verdict>) -> prometheus::IntCounter {
        let verdict = verdict.map_or(NONE, Verdict::as_str);
        self.handles.job_results.with_label_values(&[status.as_str(), verdict])
    }

    /// Notes whether the component called `component` works.
    pub fn set_up(&self, component: &'static str, up: bool) {
        self.handles.component_up.with_label_values(&[component]).set(up.into());
    }

    /// Notes whether the worker takes jobs.
    pub fn set_ready(&self, ready: bool) {
        self.handles.ready.set(ready.into());
    }

    /// Notes how many slots are taken out now.
    pub fn set_slots_stuck(&self, slots: usize) {
        self.handles.slots_stuck.set(i64::try_from(slots).unwrap_or(i64::MAX));
    }

    /// Notes how many jobs the kernel has killed for want of the host's memory so far.
    pub fn set_host_memory_kills(&self, kills: u64) {
        let counted = &self.handles.host_memory_kills;
        counted.inc_by(kills.saturating_sub(counted.get()));
    }

    /// How many jobs run at present.
    pub fn slots_busy(&self) -> usize {
        usize::try_from(self.handles.slots_busy.get()).unwrap_or(0)
    }

    /// All metrics in Prometheus' text format.
    ///
    /// # Errors
    /// If a metric can't be written as text.
    pub fn render(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// A program ran, so that all its stages took some time.
    fn observe_run(&self, result: &JobResult) {
        let timing = &result.timing;
        self.observe_stage("setup", timing.setup_ms);
        if result.compile.is_some() {
            self.observe_stage("compile", timing.compile_ms);
        }
        self.observe_stage("run", timing.run_ms);
        self.observe_stage("collect", timing.collect_ms);
        if let Some(peak) = result.usage.and_then(|usage| usage.memory_peak_bytes) {
            self.handles.memory_peak_bytes.observe(peak as f64);
        }
        let bytes = result.artifacts.iter().map(|artifact| artifact.size_bytes).sum();
        self.handles.artifact_bytes.inc_by(bytes);
    }

    fn observe_stage(&self, stage: &str, ms: u64) {
        let duration = Duration::from_millis(ms).as_secs_f64();
        self.handles.stage_seconds.with_label_values(&[stage]).observe(duration);
    }
}

fn stream_label(stream: Stream) -> &'static str {
    match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    }
}

/// Counts what happens to jobs.
#[derive(Clone)]
pub struct MetricsHooks(pub Arc<Metrics>);

impl Hooks for MetricsHooks {
    fn taken(&self) {
        self.0.handles.deliveries.inc();
    }

    fn started(&self, _job: &JobId, language: &str) {
        let language = if self.0.languages.contains(language) { language } else { OTHER };
        self.0.handles.jobs_started.with_label_values(&[language]).inc();
        self.0.handles.slots_busy.inc();
    }

    fn output(&self, _job: &JobId, stream: Stream, bytes: &[u8]) {
        let counter = self.0.handles.output_bytes.with_label_values(&[stream_label(stream)]);
        counter.inc_by(bytes.len() as u64);
    }

    fn ended(&self, _job: &JobId, busy: Duration) {
        self.0.handles.slots_busy.dec();
        self.0.handles.slot_seconds.observe(busy.as_secs_f64());
    }

    fn stored(&self, result: &JobResult) {
        self.0.results(result.status, result.verdict).inc();
        // Producers that don't say when they handed a job over would all count as served at once.
        if result.queued_at.is_some() {
            self.0.observe_stage("queue", result.timing.queue_ms);
        }
        if result.verdict.is_some() {
            self.0.observe_run(result);
        }
    }

    fn duplicate(&self, _job: &JobId) {
        self.0.handles.job_duplicates.inc();
    }

    fn retried(&self, _job: &JobId, _reason: &str) {
        self.0.handles.job_retries.inc();
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
}

/// The page `docs/metrics.md`, made from the table of metrics.
pub fn reference() -> String {
    let mut text = "\
<!-- Made by `sandfleet docs metrics`; edit worker/src/metrics/table.rs instead. -->

# Metrics

A worker shows them to Prometheus at `http://<admin.address>/metrics`.

| Metric | Type | Labels | Meaning |
|---|---|---|---|
"
    .to_owned();
    for metric in TABLE {
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        text += &format!(
            "| `{}` | {} | {} | {} |\n",
            metric.name,
            metric.kind,
            labels.join(", "),
            metric.help
        );
    }
    let statuses = Status::ALL.iter().filter(|status| status.is_final()).map(|s| s.as_str());
    text += "\nThe values of labels are closed lists, so that jobs can't make new series:\n\n";
    for (label, values) in [
        ("status", code_list(statuses)),
        ("verdict", code_list(Verdict::ALL.iter().map(|v| v.as_str()).chain([NONE]))),
        ("language", format!("the catalogue's languages, `{OTHER}`")),
        ("stage", code_list(["queue", "compile", "setup", "run", "collect"].into_iter())),
        ("stream", code_list(["stdout", "stderr"].into_iter())),
        ("component", code_list(["broker", "store", "sandbox", "memory"].into_iter())),
    ] {
        text += &format!("- `{label}`: {values}\n");
    }
    text
}

fn code_list(values: impl Iterator<Item = &'static str>) -> String {
    values.map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ")
}

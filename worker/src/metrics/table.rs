//! Every metric, declared once: field, type, name, labels, buckets, what it counts.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, core::Collector,
};

/// What the table says about one metric.
pub(super) struct Declaration {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) labels: &'static [&'static str],
    pub(super) buckets: &'static [f64],
    pub(super) help: &'static str,
}

/// A type of metrics that can be made from its declaration.
trait Metric: Collector + Clone + Sized + 'static {
    const KIND: &'static str;
    fn make(declaration: &Declaration) -> prometheus::Result<Self>;
}

macro_rules! metric_types {
    ($($type:ident, $kind:literal, |$d:ident| $make:expr;)+) => {
        $(impl Metric for $type {
            const KIND: &'static str = $kind;
            fn make($d: &Declaration) -> prometheus::Result<Self> { $make }
        })+
    };
}

metric_types! {
    IntCounter, "counter", |d| IntCounter::with_opts(opts(d));
    IntCounterVec, "counter", |d| IntCounterVec::new(opts(d), d.labels);
    IntGauge, "gauge", |d| IntGauge::with_opts(opts(d));
    IntGaugeVec, "gauge", |d| IntGaugeVec::new(opts(d), d.labels);
    Histogram, "histogram", |d| Histogram::with_opts(histogram_opts(d));
    HistogramVec, "histogram", |d| HistogramVec::new(histogram_opts(d), d.labels);
}

fn opts(declaration: &Declaration) -> Opts {
    Opts::new(declaration.name, declaration.help)
}

fn histogram_opts(declaration: &Declaration) -> HistogramOpts {
    HistogramOpts::from(opts(declaration)).buckets(declaration.buckets.to_vec())
}

/// The buckets that are given, if they are.
const fn only(given: &[&'static [f64]]) -> &'static [f64] {
    match given {
        [buckets] => buckets,
        _ => &[],
    }
}

fn register<T: Metric>(registry: &Registry, declaration: &Declaration) -> prometheus::Result<T> {
    let metric = T::make(declaration)?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

macro_rules! metrics {
    ($($(#[doc = $doc:literal])+ $field:ident: $type:ident = $name:literal
        $(, labels [$($label:literal),+])? $(, buckets $buckets:expr)?;)+
    ) => {
        /// A handle on every metric.
        #[derive(Clone)]
        pub(super) struct Handles { $($(#[doc = $doc])+ pub(super) $field: $type,)+ }

        /// Every metric, in the order of the documentation.
        pub(super) const TABLE: &[Declaration] = &[$(declaration::$field,)+];

        #[allow(non_upper_case_globals, reason = "each is named like the field it belongs to")]
        mod declaration {
            use super::*;
            $(pub(super) const $field: Declaration = Declaration {
                name: $name,
                kind: <$type as Metric>::KIND,
                labels: &[$($($label),+)?],
                buckets: only(&[$($buckets)?]),
                help: concat!($($doc),+).trim_ascii(),
            };)+
        }

        impl Handles {
            /// Makes all metrics known to `registry`.
            pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
                Ok(Self { $($field: register(registry, &declaration::$field)?,)+ })
            }
        }
    };
}

/// From a warm interpreter's half millisecond to the longest job.
const SECONDS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0, 120.0, 300.0, 600.0,
];

/// From a bare interpreter to the largest jobs: 1 MiB, doubled up to 16 GiB.
const BYTES: &[f64] = &{
    let mut bounds = [1_048_576.0; 15];
    let mut at = 1;
    while at < bounds.len() {
        bounds[at] = bounds[at - 1] * 2.0;
        at += 1;
    }
    bounds
};

metrics! {
    /// Deliveries taken from the queue.
    deliveries: IntCounter = "sandfleet_queue_deliveries_total";
    /// Messages without a readable job id or with properties that can't be parsed, which went to the queue of unreadable messages.
    unreadable: IntCounter = "sandfleet_queue_unreadable_total";
    /// Messages with the id of another job, which went to the queue of unreadable messages.
    twins: IntCounter = "sandfleet_queue_twins_total";
    /// Messages that this worker can't take and another live one can, which were put off.
    put_off: IntCounter = "sandfleet_queue_put_off_total";
    /// Jobs that went to the sandbox, by language; a rerun counts again.
    jobs_started: IntCounterVec = "sandfleet_job_starts_total", labels ["language"];
    /// Results stored, by status and verdict.
    job_results: IntCounterVec = "sandfleet_job_results_total", labels ["status", "verdict"];
    /// Jobs that went back into the queue because the fleet failed them.
    job_retries: IntCounter = "sandfleet_job_retries_total";
    /// Deliveries of jobs that had their result already.
    job_duplicates: IntCounter = "sandfleet_job_duplicates_total";
    /// Time that jobs with a result spent in each stage: waiting in the queue, being compiled, being
    /// set up, running, having their output collected. Measured in whole milliseconds.
    stage_seconds: HistogramVec = "sandfleet_job_stage_duration_seconds", labels ["stage"], buckets SECONDS;
    /// The most memory that a job had in use at a time.
    memory_peak_bytes: Histogram = "sandfleet_job_memory_peak_bytes", buckets BYTES;
    /// Bytes that programs printed within their limit.
    output_bytes: IntCounterVec = "sandfleet_job_output_bytes_total", labels ["stream"];
    /// Bytes of the artifacts in stored results.
    artifact_bytes: IntCounter = "sandfleet_job_artifact_bytes_total";
    /// Slots of this worker: jobs it runs at a time.
    slots: IntGauge = "sandfleet_worker_slots";
    /// Slots with a job in them.
    slots_busy: IntGauge = "sandfleet_worker_slots_busy";
    /// Slots that are taken out because what is in them can't be ended.
    slots_stuck: IntGauge = "sandfleet_worker_slots_stuck";
    /// Jobs that the kernel killed because the host had no memory left, and not the job; they are run
    /// again.
    host_memory_kills: IntCounter = "sandfleet_worker_host_memory_kills_total";
    /// Time that jobs held their slot; the rate of its sum is the number of slots in use.
    slot_seconds: Histogram = "sandfleet_slot_busy_seconds", buckets SECONDS;
    /// 1 while the worker takes jobs: all its components work, and it isn't stopping.
    ready: IntGauge = "sandfleet_worker_ready";
    /// 1 if the component works, 0 if it doesn't; looked at every few seconds, and when metrics or readiness are asked for.
    component_up: IntGaugeVec = "sandfleet_component_up", labels ["component"];
    /// Always 1; the label says what runs.
    build_info: IntGaugeVec = "sandfleet_build_info", labels ["version"];
}

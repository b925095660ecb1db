//! Every metric of a worker, declared once: field, type, name, labels, buckets, what it counts. Those of the
//! exporter are in `fleet_table`.

use prometheus::{
    CounterVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
};

use super::declaration::{Declaration, Metric, metrics, only, register};

/// From a warm interpreter's quarter of a millisecond to the longest job.
const SECONDS: &[f64] = &[
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0, 30.0, 60.0, 120.0, 300.0, 600.0,
];

/// From a local socket to a service that is about to be given up.
const CALL_SECONDS: &[f64] =
    &[0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0];

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
    /// Deliveries that the broker had delivered before, to a worker that returned them or was lost.
    redeliveries: IntCounter = "sandfleet_queue_redeliveries_total";
    /// Messages without a readable job id or with properties that can't be parsed, which went to the queue of unreadable messages.
    unreadable: IntCounter = "sandfleet_queue_unreadable_total";
    /// Messages with the id of another job, which went to the queue of unreadable messages.
    twins: IntCounter = "sandfleet_queue_twins_total";
    /// Messages that this worker can't take and another live one can, which were put off.
    put_off: IntCounter = "sandfleet_queue_put_off_total";
    /// Jobs that went to the end of their queue, since as many of their tenant ran as jobs.max_running_per_tenant allows.
    postponed: IntCounter = "sandfleet_queue_postponed_total";
    /// Dead letters that this worker answered, by why the broker or a worker gave them up.
    dead_letters: IntCounterVec = "sandfleet_queue_dead_letters_total", labels ["cause"];
    /// Messages of jobs that an operator's switch holds back, which were put off; each counts once every few seconds.
    held: IntCounter = "sandfleet_queue_held_total";
    /// Switches that an operator has thrown in the fleet and not released: holds.
    holds: IntGauge = "sandfleet_holds";
    /// Jobs that went to the sandbox, by language; a rerun counts again.
    jobs_started: IntCounterVec = "sandfleet_job_starts_total", labels ["language"];
    /// Results stored.
    job_results: IntCounterVec = "sandfleet_job_results_total", labels ["status", "verdict", "language", "priority"];
    /// Jobs that went back into the queue because the fleet failed them. Those of a worker that stops are not counted: it is not scraped any more.
    job_retries: IntCounterVec = "sandfleet_job_retries_total", labels ["cause"];
    /// Deliveries of jobs that had their result already, and results that came second; nothing is stored twice.
    job_duplicates: IntCounter = "sandfleet_job_duplicates_total";
    /// Jobs that were cancelled while they ran, or after their worker had died. One that is cancelled before its start is ended by the client, and no worker sees it.
    job_cancellations: IntCounter = "sandfleet_job_cancellations_total";
    /// Leases of running jobs that could not be renewed before they ended, so that another worker may have started the job too.
    leases_lost: IntCounter = "sandfleet_job_leases_lost_total";
    /// Programs that were killed, by the limit that they exceeded.
    job_kills: IntCounterVec = "sandfleet_job_kills_total", labels ["limit"];
    /// Jobs that reached a limit which refused something and did not end them.
    limits_hit: IntCounterVec = "sandfleet_job_limits_hit_total", labels ["limit"];
    /// Time that jobs with a result spent in each stage. The queue's has the resolution of the store's clock, 1 ms; the others are exact.
    stage_seconds: HistogramVec = "sandfleet_job_stage_duration_seconds", labels ["stage"], buckets SECONDS;
    /// Time from a job's submission to its stored result.
    job_seconds: HistogramVec = "sandfleet_job_duration_seconds", labels ["priority"], buckets SECONDS;
    /// The most memory that a job had in use at a time.
    memory_peak_bytes: Histogram = "sandfleet_job_memory_peak_bytes", buckets BYTES;
    /// Bytes that programs printed within their limit.
    output_bytes: IntCounterVec = "sandfleet_job_output_bytes_total", labels ["stream"];
    /// Streams of output that were cut at output_bytes.
    truncations: IntCounterVec = "sandfleet_job_output_truncations_total", labels ["stream"];
    /// Bytes of the artifacts in stored results.
    artifact_bytes: IntCounter = "sandfleet_job_artifact_bytes_total";
    /// Files that matched a job's globs and were not brought back.
    artifacts_skipped: IntCounter = "sandfleet_job_artifacts_skipped_total";
    /// Seconds that jobs held a slot, by language.
    busy_seconds: CounterVec = "sandfleet_job_slot_seconds_total", labels ["language"];
    /// Results stored by tenant, if admin.metrics_tenants is above 0: the first so many tenants have series of their own.
    tenant_results: IntCounterVec = "sandfleet_tenant_job_results_total", labels ["tenant", "status"];
    /// Seconds that jobs of a tenant ran, under the same setting.
    tenant_seconds: CounterVec = "sandfleet_tenant_run_seconds_total", labels ["tenant"];
    /// What programs did that no honest program does.
    security_events: IntCounterVec = "sandfleet_security_events_total", labels ["kind"];
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
    /// When a worker that is stopping should have ended, as a Unix time; 0 while it isn't stopping.
    drain_deadline: IntGauge = "sandfleet_worker_drain_deadline_timestamp_seconds";
    /// 1 if the component works, 0 if it doesn't; looked at every few seconds, and when metrics or readiness are asked for.
    component_up: IntGaugeVec = "sandfleet_component_up", labels ["component"];
    /// Programs that could start from a warm interpreter, by whether they did.
    warm_starts: IntCounterVec = "sandfleet_warm_starts_total", labels ["result"];
    /// Interpreters that were started ahead, failed to start, or stopped working.
    interpreters: IntCounterVec = "sandfleet_warm_interpreters_total", labels ["event"];
    /// Containers that were started ahead: whether jobs got one, and how many were made or died.
    pool: IntCounterVec = "sandfleet_pool_containers_total", labels ["event"];
    /// What dead workers had left on this host and this worker removed.
    reaped: IntCounterVec = "sandfleet_leftovers_reaped_total", labels ["kind"];
    /// How long a service took to answer. A call that failed counts too.
    call_seconds: HistogramVec = "sandfleet_call_duration_seconds", labels ["service", "call"], buckets CALL_SECONDS;
    /// Calls of a service that failed.
    call_errors: IntCounterVec = "sandfleet_call_errors_total", labels ["service", "call"];
    /// Connections to a service that were made again after one was lost.
    reconnects: IntCounterVec = "sandfleet_reconnects_total", labels ["service"];
    /// 1 while the broker takes no messages from this worker, since it has too little memory or disk.
    broker_blocked: IntGauge = "sandfleet_broker_blocked";
    /// Spans by what became of them; none without tracing.endpoint.
    trace_spans: IntCounterVec = "sandfleet_trace_spans_total", labels ["result"];
    /// Messages whose headers name a trace that can't be read; their jobs ran all the same.
    traces_ignored: IntCounter = "sandfleet_trace_headers_ignored_total";
    /// Lines of the log that were lost, since nothing took them in time or writing them failed.
    log_lines_lost: IntCounter = "sandfleet_log_lines_lost_total";
    /// When the certificate of a configured file ends, as a Unix time; the earliest where a file holds several.
    certificate_expiry: IntGaugeVec = "sandfleet_certificate_expiry_timestamp_seconds", labels ["service", "file"];
    /// Always 1; the labels say what runs.
    build_info: IntGaugeVec = "sandfleet_build_info", labels ["version", "backend", "isolation"];
}

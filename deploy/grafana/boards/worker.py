"""What a single worker does: choose it above."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from .parts import Others, GREEN, RED, YELLOW, above, below, board, heat, language, lines, percentiles, quantile, rate, row, single, worker

CALL = "sandfleet_call_duration_seconds"


def of_workers(expression: str) -> str:
    """Only what workers say of a metric that every process has: All matches any job."""
    return f"({expression} and on (namespace, job, instance) sandfleet_build_info{worker()})"


def make(others: Others) -> Dashboard:
    made = board("sandfleet-worker", "sandfleet / Worker", "What a worker does, what it waits for, and what it costs its host.", others)
    row(
        made,
        "Now",
        single("Ready", f"min(sandfleet_worker_ready{worker()})", "bool_yes_no", below((1, GREEN)),
               "0: one of its components is away, see Components. It takes no jobs meanwhile, and others do."),
        single("Slots", f"sum(sandfleet_worker_slots{worker()})", "short", above(), "Jobs that run at a time. Fewer than configured: the worker runs without root."),
        single("Busy", f"sum(sandfleet_worker_slots_busy{worker()})", "short", above(), "Slots with a job in them now."),
        single("Stuck slots", f"sum(sandfleet_worker_slots_stuck{worker()})", "short", above((1, RED)),
               "Something in them can't be ended, such as a process in the kernel's D state. The worker ends itself when all are; see docs/runbooks.md."),
        single("Memory", f"sum{of_workers('process_resident_memory_bytes' + worker())}", "bytes", above((2e9, YELLOW)),
               "Of the worker itself, without the programs. It does not grow with the number of jobs; if it does, restart it with --drain-after and report it."),
        single("CPU", f"sum{of_workers(rate('process_cpu_seconds_total', worker()))}", "short", above((1, YELLOW)),
               "Processors that the worker itself keeps busy, without the programs."),
        single("Open files", f"max({of_workers('process_open_fds' + worker())} / process_max_fds{worker()})", "percentunit", above((0.7, YELLOW), (0.9, RED)),
               "Near 100 %: raise LimitNOFILE of its unit."),
        single("Up since", f"min(time() - {of_workers('process_start_time_seconds' + worker())})", "s", above(), "A worker that restarts often: see the end of its log for the reason and docs/exit-codes.md."),
    )
    row(
        made,
        "Jobs",
        lines("Started by language", "ops", "Jobs that went to the sandbox; a rerun counts again.",
              (f"sum by (language) ({rate('sandfleet_job_starts_total', language())})", "{{language}}"), stacked=True),
        lines("Results by verdict", "ops", "Stored by these workers. internal_error: see its log.",
              (f"sum by (verdict) ({rate('sandfleet_job_results_total', language())})", "{{verdict}}"), stacked=True),
        percentiles("Slot held", "From claim to the sandbox's end. Its rate of the sum is the number of slots in use.", "sandfleet_slot_busy_seconds", worker()),
        heat("Set-up", "Two bands are warm and cold starts. Slower than before: an overloaded host, or no warm interpreters.",
             "sandfleet_job_stage_duration_seconds", worker(stage='setup')),
        heat("Collect", "Grows with artifacts; else a slow host.", "sandfleet_job_stage_duration_seconds", worker(stage='collect')),
    )
    row(
        made,
        "Started ahead",
        lines("Warm starts", "ops", "miss: the interpreter was not there yet, or its copy failed. Misses that stay: see the worker's log for `no warm interpreter`.",
              (f"sum by (result) ({rate('sandfleet_warm_starts_total', worker())})", "{{result}}")),
        lines("Warm interpreters", "ops", "failed or lost more than now and then: programs start cold. The log says why; sandbox.warm switches it off.",
              (f"sum by (event) ({rate('sandfleet_warm_interpreters_total', worker())})", "{{event}}")),
        lines("Containers started ahead", "ops", "miss: jobs with limits that came only once, or more at a time than wait. died: the host kills them, see its log.",
              (f"sum by (event) ({rate('sandfleet_pool_containers_total', worker())})", "{{event}}")),
    )
    row(
        made,
        "Services",
        lines("Calls, p95", "s", "A service that got slow: get waits for the broker, claim and commit for the store. Each job makes one of each.",
              (quantile(0.95, CALL, worker(), "service, call"), "{{service}} {{call}}")),
        lines("Calls", "ops", "renew without claims: long jobs. get without jobs: idle workers ask, which costs little.",
              (f"sum by (service, call) ({rate(CALL + '_count', worker())})", "{{service}} {{call}}")),
        lines("Failed calls", "ops", "The log has the reason once. Jobs wait meanwhile and none is lost.",
              (f"sum by (service, call) ({rate('sandfleet_call_errors_total', worker())})", "{{service}} {{call}}")),
        lines("Reconnects", "ops", "Connections that were made again. Regular ones: a proxy or firewall cuts idle connections.",
              (f"sum by (service) ({rate('sandfleet_reconnects_total', worker())})", "{{service}}")),
        lines("Components", "short", "1 works, 0 is away. Compare with other workers: all of them is the service, one is its host.",
              (f"min by (component) (sandfleet_component_up{worker()})", "{{component}}")),
        lines("Broker blocked", "short", "1: the broker has too little memory or disk and takes nothing. Free some; see docs/runbooks.md.",
              (f"max(sandfleet_broker_blocked{worker()})", "blocked")),
        lines("Spans", "ops", "dropped, rejected: the collector of tracing.endpoint takes too little. Traces have gaps, and no job waits.",
              (f"sum by (result) ({rate('sandfleet_trace_spans_total', worker())})", "{{result}}")),
        lines("Ignored trace headers", "ops", "A producer sends a malformed traceparent or tracestate. The log names its jobs, with the reason in trace_ignored.",
              (f"sum({rate('sandfleet_trace_headers_ignored_total', worker())})", "ignored")),
        lines("Lost log lines", "ops", "Whatever reads the worker's standard error is too slow, or its disk is full. No job waits for it.",
              (f"sum({rate('sandfleet_log_lines_lost_total', worker())})", "lost")),
    )
    row(
        made,
        "Host",
        lines("Memory by worker", "bytes", "Of the workers themselves. One that grows while others don't: restart it and report it.", (f"sum by (instance) {of_workers('process_resident_memory_bytes' + worker())}", "{{instance}}")),
        lines("Memory of jobs, p95", "bytes", "The most a job had in use. Far below the limit: more slots fit on the host.",
              (quantile(0.95, "sandfleet_job_memory_peak_bytes", worker()), "p95")),
        lines("Kills by the host's kernel", "ops", "The host had no memory left. Lower worker.slots or limits.max.memory_bytes, or raise worker.min_available_bytes.",
              (f"sum({rate('sandfleet_worker_host_memory_kills_total', worker())})", "killed")),
        lines("Leftovers in 1 h", "short", "What dead workers had left. Now and then after a crash; regularly: a worker dies often on this host.",
              (f"sum by (kind) (increase(sandfleet_leftovers_reaped_total{worker()}[1h]))", "{{kind}}")),
        lines("Output", "Bps", "What programs printed within their limits, and the artifacts that were stored.",
              (f"sum by (stream) ({rate('sandfleet_job_output_bytes_total', worker())})", "{{stream}}"),
              (f"sum({rate('sandfleet_job_artifact_bytes_total', worker())})", "artifacts")),
        lines("Drain deadline", "s", "Seconds until a stopping worker should have ended. Negative: the drain is stuck, see docs/runbooks.md.",
              (f"(sandfleet_worker_drain_deadline_timestamp_seconds{worker()} - time()) * (sandfleet_worker_drain_deadline_timestamp_seconds{worker()} > bool 0)", "{{instance}}")),
    )
    return made
